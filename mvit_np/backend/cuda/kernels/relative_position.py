"""Relative positions: a query's columns, and their gradients (plain: ops/relative_position.py).

`grids` is as there. `rows` are the tables' rows that the columns take, over the scale: those of an
axis after those of the one before, of its first position for all keys, then of its second, so the
row START + position KEYS + j. They are multiplied in the dtype of q whatever the precision of
products is, because no matrix unit does it.
"""

import math

from ...arrays import array_module
from ..kernel import Kernel

THREADS = 1 << 17  # or more that share the queries in the gradient of the rows, with own sums
LONGEST = 256  # queries that one of them adds up, or fewer
CHUNK = 16  # columns whose sums it keeps at a time


def _each_axis(text):
    """The text once for each axis there is, @ being its number among them."""
    return "".join(f"\n#if @ < AXES{text}\n#endif\n".replace("@", str(n)) for n in range(3))


FORWARD = Kernel(
    "relative_query",
    "const T* q, const T* rows, T* y",
    """
        const Int rest = i % (TOKENS * HEADS) - CLS * HEADS;  // below 0: a class token
        T* to = y + i * (WIDTH + COLUMNS);
        T own[OWN], kept = 0;
        UNROLL
        for (int k = 0; k < OWN; k++) {
            const int d = lane + k * LANES;
            own[k] = d < WIDTH ? q[i * WIDTH + d] : 0;
            if (d < WIDTH) to[d] = own[k];
        }
        int c = 0;
    """
    + _each_axis("""
        const T* row@ = rows + (START@ + (rest < 0 ? 0 : rest / AFTER@ % LENGTH@) * KEYS@) * WIDTH;
        for (int j = 0; j < KEYS@; j++, c++) {
            T sum = 0;
            UNROLL
            for (int k = 0; k < OWN; k++) {
                const int d = lane + k * LANES;
                if (d < WIDTH) sum += own[k] * row@[j * WIDTH + d];
            }
            sum = sum_lanes(sum);  // for class tokens too: all lanes of a job take part
            if (c % LANES == lane) kept = rest < 0 ? 0 : sum;
            if ((c % LANES == LANES - 1 || c == COLUMNS - 1) && lane <= c % LANES)
                to[WIDTH + c - c % LANES + lane] = kept;
        }"""),
    lanes=8,  # a warp adds up four queries at a time
)

QUERIES = Kernel(
    "relative_query_dq",
    "const T* dy, const T* rows, T* dq",
    """
        const int d = i % WIDTH;
        const Int rest = i / WIDTH % (TOKENS * HEADS) - CLS * HEADS;
        const T* up = dy + i / WIDTH * (WIDTH + COLUMNS);
        T sum = up[d];
        if (rest >= 0) {"""
    + _each_axis("""
            const T* row@ = rows + (START@ + rest / AFTER@ % LENGTH@ * KEYS@) * WIDTH + d;
            for (int j = 0; j < KEYS@; j++) sum += up[WIDTH + COLUMN@ + j] * row@[j * WIDTH];""")
    + """
        }
        dq[i] = sum;
    """,
)

ROWS = Kernel(
    "relative_query_rows",
    "const T* q, const T* dy, T* sums, long long clips",
    """
        const int d = i % WIDTH, group = i / WIDTH % GROUPS;
        const Int share = i / WIDTH / GROUPS, shares = (Int)(jobs / WIDTH / GROUPS);
    """
    + _each_axis("""
        const int own@ = group - FIRST@;
        if (own@ >= 0 && own@ < LENGTH@ * CHUNKS@) {
            const int position = own@ / CHUNKS@, from = own@ % CHUNKS@ * CHUNK@;
            T sum[CHUNK@];
            UNROLL
            for (int j = 0; j < CHUNK@; j++) sum[j] = 0;
            for (Int o = share; o < clips * (BEFORE@ * AFTER@); o += shares) {
                const Int line = o / AFTER@, clip = line / BEFORE@;
                const Int token = (line % BEFORE@ * LENGTH@ + position) * AFTER@ + o % AFTER@;
                const Int at = clip * (TOKENS * HEADS) + CLS * HEADS + token;
                const T x = q[at * WIDTH + d];
                const T* up = dy + at * (WIDTH + COLUMNS) + WIDTH + COLUMN@ + from;
                UNROLL
                for (int j = 0; j < CHUNK@; j++)
                    if (from + j < KEYS@) sum[j] += up[j] * x;
            }
            const Int row = share * TAKEN + START@ + position * KEYS@ + from;
            UNROLL
            for (int j = 0; j < CHUNK@; j++)
                if (from + j < KEYS@) sums[(row + j) * WIDTH + d] = sum[j];
        }"""),
)


def relative_query(q, rows, grids):
    """q: (B, N, h, d), contiguous   rows: (R, d)   ->   (B, N, h, d + M)"""
    sizes = _sizes(q, grids)
    y = array_module(q).empty((*q.shape[:3], q.shape[3] + sizes["COLUMNS"]), dtype=q.dtype)
    own = f"(({q.shape[3]} + LANES - 1) / LANES)"
    FORWARD(q, math.prod(q.shape[:3]), q, rows, y, **sizes, OWN=own)
    return y


def relative_query_backward(q, rows, dy, grids):
    """dq like q, and d_rows like rows"""
    xp, sizes = array_module(q), _sizes(q, grids)
    dq = xp.empty(q.shape, dtype=q.dtype)
    QUERIES(q, q.size, dy, rows, dq, **sizes)
    threads, queries = sizes["GROUPS"] * q.shape[3], math.prod(q.shape[:3])
    longest = queries // min(thw[axis] for axis, thw, _ in grids) // LONGEST
    # The sums of all shares are together no larger than q.
    shares = max(1, min(max(THREADS // threads, longest), queries // rows.shape[0]))
    sums = xp.empty((shares, *rows.shape), dtype=q.dtype)
    ROWS(q, shares * threads, q, dy, sums, q.shape[0], **sizes)
    return dq, sums.sum(axis=0)


def _sizes(q, grids):
    """What the kernels know when they are compiled: of all axes together, and of each."""
    (_, tokens, heads, width), thw = q.shape, grids[0][1]
    start = column = first = 0
    sizes = {"WIDTH": width, "HEADS": heads, "TOKENS": tokens}
    sizes |= {"CLS": tokens - math.prod(thw), "AXES": len(grids)}
    for n, (axis, _, thw_kv) in enumerate(grids):
        keys, chunks = thw_kv[axis], -(-thw_kv[axis] // CHUNK)
        sizes |= {f"START{n}": start, f"COLUMN{n}": column, f"FIRST{n}": first}
        after = math.prod(thw[axis + 1 :]) * heads
        sizes |= {f"LENGTH{n}": thw[axis], f"KEYS{n}": keys}
        sizes |= {f"CHUNKS{n}": chunks, f"CHUNK{n}": -(-keys // chunks)}
        sizes |= {f"BEFORE{n}": math.prod(thw[:axis]), f"AFTER{n}": after}
        start, column, first = start + thw[axis] * keys, column + keys, first + thw[axis] * chunks
    return sizes | {"TAKEN": start, "COLUMNS": column, "GROUPS": first}
