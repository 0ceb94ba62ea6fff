"""Matrix products for the ops: NumPy's, or cuBLAS without copies, in the precision chosen."""

from __future__ import annotations

from .arrays import array_module, device_tools
from .cuda.gemm import strided_batches
from .precision import operand, precision

__all__ = ["matmul", "operand"]


def matmul(a, b, out=None, add=False, exact=False):
    """a b, or out += a b.

    a: (..., I, J)   b: (..., J, K)   ->   (..., I, K), the leading axes broadcast

    a and b are arrays as `operand` gives them, or with `exact` as they are, for products that only
    pick numbers. On a device views with their last two axes swapped cost no copy. There TypeError
    is raised for factors of two dtypes.
    """
    tools = device_tools(a)
    if tools is None:
        return array_module(a).matmul(a, b, out=out) if not add else _added(out, a @ b)
    if a.dtype != b.dtype:
        rule = f"a product's factors have one dtype; came {a.dtype} and {b.dtype}"
        raise TypeError(f"{rule}: go forward and backward in the same precision")
    if out is None:
        xp = array_module(a)
        dtype = "float32" if a.dtype == "uint16" else a.dtype
        leading = xp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = xp.empty((*leading, a.shape[-2], b.shape[-1]), dtype=dtype)
    for call in strided_batches(a, b, out):
        tools.gemm(*call, add=add, tf32=precision() == "tf32" and not exact)
    return out


def _added(out, more):
    out += more
    return out
