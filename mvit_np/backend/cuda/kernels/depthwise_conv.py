"""Depthwise convolution, all taps at once, a thread per number (plain: ops/depthwise_conv.py)."""

import math

from ...arrays import array_module
from ..kernel import Kernel

THREADS = 1 << 17  # that share the outputs in the gradient of the filters, each with own sums

INDICES = """
        const int c = i % C, d = c % D;
        Int rest = i / C;
        const int w = rest % {0}W; rest /= {0}W;
        const int h = rest % {0}H; rest /= {0}H;
        const int t = rest % {0}T;
        const Int clip = rest / {0}T;
"""

FORWARD = Kernel(
    "depthwise_conv",
    "const T* x, const T* filters, T* y, long long clip_stride",
    INDICES.format("OUT_")
    + """
        const T* from = x + clip * clip_stride + c;
        T sum = 0;
        for (int a = 0; a < KT; a++) {
            const int ct = t * ST + a - PT;
            if (ct < 0 || ct >= IN_T) continue;
            for (int b = 0; b < KH; b++) {
                const int ch = h * SH + b - PH;
                if (ch < 0 || ch >= IN_H) continue;
                for (int e = 0; e < KW; e++) {
                    const int cw = w * SW + e - PW;
                    if (cw < 0 || cw >= IN_W) continue;
                    const T weight = filters[((a * KH + b) * KW + e) * D + d];
                    sum += from[(((Int)ct * IN_H + ch) * IN_W + cw) * C] * weight;
                }
            }
        }
        y[i] = sum;
    """,
    clip_stride=True,
)

CELLS = Kernel(
    "depthwise_conv_dx",
    "const T* dy, const T* filters, T* dx",
    INDICES.format("IN_")
    + """
        const T* from = dy + clip * ((Int)OUT_T * OUT_H * OUT_W * C) + c;
        T sum = 0;
        for (int a = 0; a < KT; a++) {  // the windows whose tap a falls on this cell
            const int wt = t + PT - a;
            if (wt < 0 || wt % ST || wt / ST >= OUT_T) continue;
            for (int b = 0; b < KH; b++) {
                const int wh = h + PH - b;
                if (wh < 0 || wh % SH || wh / SH >= OUT_H) continue;
                for (int e = 0; e < KW; e++) {
                    const int ww = w + PW - e;
                    if (ww < 0 || ww % SW || ww / SW >= OUT_W) continue;
                    sum += from[(((Int)(wt / ST) * OUT_H + wh / SH) * OUT_W + ww / SW) * C]
                           * filters[((a * KH + b) * KW + e) * D + d];
                }
            }
        }
        dx[i] = sum;
    """,
)

FILTERS = Kernel(
    "depthwise_conv_dw",
    "const T* x, const T* dy, T* sums, long long clip_stride, long long outputs",
    """
        const int c = i % C;
        T sum[KT * KH * KW];
        UNROLL
        for (int tap = 0; tap < KT * KH * KW; tap++) sum[tap] = 0;
        for (Int o = i / C; o < outputs; o += (Int)(jobs / C)) {
            Int rest = o;
            const int w = rest % OUT_W; rest /= OUT_W;
            const int h = rest % OUT_H; rest /= OUT_H;
            const int t = rest % OUT_T;
            const T *from = x + (rest / OUT_T) * clip_stride + c, up = dy[o * C + c];
            UNROLL
            for (int a = 0; a < KT; a++) {
                const int ct = t * ST + a - PT;
                UNROLL
                for (int b = 0; b < KH; b++) {
                    const int ch = h * SH + b - PH;
                    UNROLL
                    for (int e = 0; e < KW; e++) {
                        const int cw = w * SW + e - PW;
                        if (ct >= 0 && ct < IN_T && ch >= 0 && ch < IN_H && cw >= 0 && cw < IN_W)
                            sum[(a * KH + b) * KW + e] +=
                                up * from[(((Int)ct * IN_H + ch) * IN_W + cw) * C];
                    }
                }
            }
        }
        UNROLL
        for (int tap = 0; tap < KT * KH * KW; tap++)
            sums[(i / C * (KT * KH * KW) + tap) * C + c] = sum[tap];
    """,
    clip_stride=True,
)


def depthwise_conv(x, w, grid, stride, padding):
    """x: (B, T, H, W, heads, d)   w: (kt, kh, kw, d)   ->   (B, *grid, heads, d)

    Each clip of x lies in one piece (`lies_well`); between clips there may be gaps.
    """
    w, y = _in_order(w), array_module(x).empty((x.shape[0], *grid, *x.shape[4:]), dtype=x.dtype)
    FORWARD(x, y.size, x, w, y, _clip_stride(x), **_sizes(x, w, y, stride, padding))
    return y


def depthwise_conv_backward(x, w, dy, stride, padding):
    """dx like x, and dw like w"""
    xp, w, dy = array_module(x), _in_order(w), _in_order(dy)
    sizes = _sizes(x, w, dy, stride, padding)
    dx = xp.empty(x.shape, dtype=x.dtype)
    CELLS(x, dx.size, dy, w, dx, **sizes)
    channels, taps = sizes["C"], math.prod(w.shape[:3])
    outputs = dy.size // channels
    shares = max(1, min(outputs, THREADS // channels))
    sums = xp.empty((shares, taps, *x.shape[4:]), dtype=x.dtype)
    FILTERS(x, shares * channels, x, dy, sums, _clip_stride(x), outputs, **sizes)
    return dx, sums.sum(axis=(0, 2)).reshape(w.shape)


def _in_order(x):
    return array_module(x).ascontiguousarray(x)


def lies_well(x):
    """Whether the clips of x (B, T, H, W, heads, d) are each contiguous."""
    return x[0].flags.c_contiguous


def _clip_stride(x):
    """Numbers from one clip to the next."""
    return x.strides[0] // x.itemsize if x.shape[0] > 1 else 0


def _sizes(x, w, y, stride, padding):
    sizes = {"C": math.prod(x.shape[4:]), "D": w.shape[3]}
    grids = {"IN_": x.shape[1:], "OUT_": y.shape[1:]}
    for prefix, lengths in {"K": w.shape, "S": stride, "P": padding, **grids}.items():
        sizes |= {f"{prefix}{axis}": length for axis, length in zip("THW", lengths)}
    return sizes
