"""The softmax in attention and its backward, one warp per row of scores (plain: ops/attend.py)."""

from ...arrays import array_module
from ..kernel import Kernel

FORWARD = Kernel(
    "softmax_rows",
    "const T* s, OUT* p, double scale",
    """
        const T *row = s + i * KEYS, times = (T)(scale * 1.4426950408889634);
        T top = -INFINITY, sum = 0;
        for (int j = lane; j < KEYS; j += LANES) top = fmax(top, row[j] * times);
        top = max_lanes(top);
        for (int j = lane; j < KEYS; j += LANES) sum += exp2(row[j] * times - top);
        sum = 1 / sum_lanes(sum);
        for (int j = lane; j < KEYS; j += LANES)
            put(&p[i * KEYS + j], exp2(row[j] * times - top) * sum);
    """,
    lanes=32,
)

BACKWARD = Kernel(
    "softmax_rows_backward",
    "const OUT* p, const T* dp, OUT* ds, double scale",
    """
        const OUT* weight = p + i * KEYS;
        const T* up = dp + i * KEYS;
        T mean = 0;
        for (int j = lane; j < KEYS; j += LANES) mean += get(&weight[j]) * up[j];
        mean = sum_lanes(mean);
        for (int j = lane; j < KEYS; j += LANES)
            put(&ds[i * KEYS + j], (T)scale * get(&weight[j]) * (up[j] - mean));
    """,
    lanes=32,
)


def softmax_rows(s, scale, out="T"):
    """softmax(scale S), where S was unless `out` is "bf16".

    s: (..., K), contiguous   ->   the same
    """
    p = _into(s, out)
    FORWARD(s, s.size // s.shape[-1], s, p, float(scale), OUT=out, KEYS=s.shape[-1])
    return p


def softmax_rows_backward(p, dp, scale):
    """dS = scale P (dP - rowsum(P dP)), where dP was unless P is bf16.

    p, dp: (..., K)   ->   the same, like p
    """
    out = "bf16" if p.dtype == "uint16" else "T"
    ds = _into(dp, out)
    BACKWARD(dp, dp.size // dp.shape[-1], p, dp, ds, float(scale), OUT=out, KEYS=dp.shape[-1])
    return ds


def _into(x, out):
    return array_module(x).empty(x.shape, dtype="uint16") if out == "bf16" else x
