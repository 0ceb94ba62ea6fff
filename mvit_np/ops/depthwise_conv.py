"""Depthwise convolution: the learned pooling P of "conv" models, one small filter a channel, shared by all heads."""

from ..autodiff import op
from ..backend import array_module
from .windows import inside, padded, taps, windows


@op
def depthwise_conv(x, w, stride, padding):
    """Slide one filter per channel.   x: (B, T, H, W, heads, d)   w: (kt, kh, kw, d)   ->   (B, t, h, w, heads, d)

    y = sum over the kernel's taps of w[tap] x[cells of the tap]:  dx adds w[tap] dy back to those cells,
    dw[tap] = the sum of x[cells] dy over clips, cells and heads.
    """
    xp = array_module(x)
    kernel = w.shape[:3]
    y = xp.einsum("bthwijkgd,ijkd->bthwgd", windows(padded(x, padding), kernel, stride), w)

    def backward(dy):
        wide = padded(x, padding)
        dw = xp.einsum("bthwijkgd,bthwgd->ijkd", windows(wide, kernel, stride), dy)
        d_wide = xp.zeros(wide.shape, dtype=x.dtype)
        for tap, cells in taps(kernel, stride, dy.shape[1:4]):
            d_wide[cells] += dy * w[tap]
        return d_wide[inside(padding)], dw, None, None

    return y, backward
