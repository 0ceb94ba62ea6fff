"""Layer normalisation: one warp per row, read from memory once (plain: ops/layer_norm.py)."""

from ...arrays import array_module
from ..kernel import Kernel

WARPS = 2112  # that share the rows in the backward pass, each with own sums for dg and db
ROWS = 4  # of a warp at least: its sums are two rows long

MOMENTS = """
DEVICE T mean_of(const T* row, T less, int lane) {  // of the row's numbers less that one
    T sum = 0;
    for (int j = lane; j < WIDTH; j += LANES) sum += row[j] - less;
    return sum_lanes(sum) / WIDTH;
}
DEVICE T over_deviation(const T* row, T mean, T rest, T eps, int lane) {  // 1 / sqrt(var + eps)
    T sum = 0;
    for (int j = lane; j < WIDTH; j += LANES) {
        const T off = row[j] - mean - rest;
        sum += off * off;
    }
    return 1 / sqrt(sum_lanes(sum) / WIDTH + eps);
}
"""

FORWARD = Kernel(
    "layer_norm",
    "const T* x, const T* g, const T* b, T* y, double eps",
    """
        const T* row = x + i * WIDTH;
        const T mean = mean_of(row, 0, lane);
        const T rest = mean_of(row, mean, lane);  // what rounding left of the mean
        const T r = over_deviation(row, mean, rest, (T)eps, lane);
        for (int j = lane; j < WIDTH; j += LANES)
            y[i * WIDTH + j] = g[j] * ((row[j] - mean - rest) * r) + b[j];
    """,
    lanes=32,
    helpers=MOMENTS,
)

BACKWARD = Kernel(
    "layer_norm_backward",
    "const T* x, const T* g, const T* dy, T* dx, T* sums, double eps, long long rows",
    """
        T dg[OWN], db[OWN];  // of the columns lane, lane + LANES, ...
        UNROLL
        for (int k = 0; k < OWN; k++) dg[k] = db[k] = 0;
        for (Int r = i; r < rows; r += (Int)jobs) {
            const T *row = x + r * WIDTH, *up = dy + r * WIDTH;
            const T mean = mean_of(row, 0, lane), rest = mean_of(row, mean, lane);
            const T over = over_deviation(row, mean, rest, (T)eps, lane);
            T sum_dz = 0, sum_z_dz = 0;
            UNROLL
            for (int k = 0; k < OWN; k++) {
                const int j = lane + k * LANES;
                if (j < WIDTH) {
                    const T z = (row[j] - mean - rest) * over, dz = g[j] * up[j];
                    sum_dz += dz;
                    sum_z_dz += z * dz;
                    dg[k] += z * up[j];
                    db[k] += up[j];
                }
            }
            sum_dz = sum_lanes(sum_dz) / WIDTH;
            sum_z_dz = sum_lanes(sum_z_dz) / WIDTH;
            for (int j = lane; j < WIDTH; j += LANES) {
                const T z = (row[j] - mean - rest) * over;
                dx[r * WIDTH + j] = over * (g[j] * up[j] - sum_dz - z * sum_z_dz);
            }
        }
        UNROLL
        for (int k = 0; k < OWN; k++) {
            const int j = lane + k * LANES;
            if (j < WIDTH) {
                sums[(2 * i) * WIDTH + j] = dg[k];
                sums[(2 * i + 1) * WIDTH + j] = db[k];
            }
        }
    """,
    lanes=32,
    helpers=MOMENTS,
)


def layer_norm(rows, g, b, eps):
    """(N, D) -> (N, D)"""
    g, b = (array_module(x).ascontiguousarray(x) for x in (g, b))
    y = array_module(rows).empty(rows.shape, dtype=rows.dtype)
    FORWARD(rows, rows.shape[0], rows, g, b, y, float(eps), WIDTH=rows.shape[1])
    return y


def layer_norm_backward(rows, g, dy, eps):
    """dx (N, D), dg (D,) and db (D,)"""
    xp, (count, width) = array_module(rows), rows.shape
    g = xp.ascontiguousarray(g)
    dx, warps = xp.empty(rows.shape, dtype=rows.dtype), min(-(-count // ROWS), WARPS)
    sums = xp.empty((warps, 2, width), dtype=rows.dtype)
    own = f"(({width} + LANES - 1) / LANES)"
    BACKWARD(rows, warps, rows, g, dy, dx, sums, float(eps), count, WIDTH=width, OWN=own)
    dg, db = sums.sum(axis=0)
    return dx, dg, db
