"""GELU with the bias of the layer before it, in one pass.   (the plain version: ops/gelu.py)"""

from ...arrays import array_module
from ..kernel import Kernel

PHI = "DEVICE T phi(T x) { return (T)0.5 * erfc(x * (T)-0.70710678118654752); }"

FORWARD = Kernel(
    "gelu",
    "const T* h, const T* b, OUT* y",
    """
        const T x = h[i] + BIAS;
        put(&y[i], x * phi(x));
    """,
    helpers=PHI,
)

BACKWARD = Kernel(
    "gelu_backward",
    "const T* h, const T* b, const T* dy, OUT* y, OUT* dx",
    """
        const T x = h[i] + BIAS, p = phi(x), up = dy[i];
        put(&y[i], x * p);
        put(&dx[i], up * (p + x * exp((T)-0.5 * x * x) * (T)0.39894228040143268));
    """,
    helpers=PHI,
)


def gelu(h, b=None, out="T"):
    """gelu(h + b).

    h: (..., H)   b: (H,) or None   ->   (..., H)   out: "T", or "bf16" for a product's factor

    With a b it may be where h was.
    """
    h, b = _in_order(h, b)
    y = _like(h, out) if b is h or out != "T" else h
    FORWARD(h, h.size, h, b, y, OUT=out, BIAS=_bias(b, h))
    return y


def gelu_backward(h, b, dy, out="T"):
    """gelu(h + b), and dy gelu'(h + b). With a b they may be where h and dy were."""
    in_place = b is not None and out == "T"
    (h, b), dy = _in_order(h, b), array_module(h).ascontiguousarray(dy)
    y, dx = (h, dy) if in_place else (_like(h, out), _like(h, out))
    BACKWARD(h, h.size, h, b, dy, y, dx, OUT=out, BIAS=_bias(b, h))
    return y, dx


def _in_order(h, b):
    """Both contiguous; without a bias h stands in for it."""
    h = array_module(h).ascontiguousarray(h)
    return h, h if b is None else array_module(b).ascontiguousarray(b)


def _bias(b, h):
    return "0" if b is h else f"b[i % {b.size}]"


def _like(x, out):
    return array_module(x).empty(x.shape, dtype="uint16" if out == "bf16" else x.dtype)
