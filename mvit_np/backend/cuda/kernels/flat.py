"""Many arrays as one: the leaves of a tree in one flat array, and what is done to it.

The plain versions are in train/.

Nothing is copied from the host: what a launch has to know, such as where leaves lie, it gets by
value, as a struct. A warp takes CHUNK numbers, looks up whose the first is, and goes on to the next
leaf when it comes to its end.
"""

from __future__ import annotations

import numpy as np

from ...arrays import array_module
from ...tree import views
from ..kernel import Kernel

CHUNK = 256  # numbers that a warp takes
LEAVES = 250  # that a launch gathers, at two numbers each: its parameters have 4096 bytes
WORDS = 2 * LEAVES  # of 8 bytes that a launch writes
SHARES = 1 << 16  # threads that share the squares of a norm, each with a sum of its own

LEAF_AT = """
DEVICE int leaf_at(const long long* ends, int leaves, long long index) {  // the first beyond it
    int low = 0, high = leaves - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (index < ends[middle]) high = middle;
        else low = middle + 1;
    }
    return low;
}
"""


NEXT_LEAF = "while (ends[leaf] <= j) leaf++;"


def for_each_number(text):
    """The body of a kernel that runs `text` for each number j; after NEXT_LEAF `leaf` is its leaf.

    The kernel has 32 lanes, the helper LEAF_AT, and as parameters `ends`, where each leaf ends,
    `leaves`, how many there are, and `size`, the numbers of all. It is launched for chunks of CHUNK
    numbers.
    """
    return f"""
        const Int first = i * CHUNK, count = size - first < CHUNK ? (Int)(size - first) : CHUNK;
        int leaf = leaf_at(ends, (int)leaves, first + lane);
        for (Int k = lane; k < count; k += LANES) {{
            const Int j = first + k;
{text}
        }}
"""


GATHER = Kernel(
    "gather_leaves",
    "const Leaves from, T* flat, long long size",
    "const long long *ends = from.ends, leaves = LEAVES;"
    + for_each_number(
        f"""
            {NEXT_LEAF}
            flat[j] = from.leaf[leaf][j];
        """
    ),
    lanes=32,
    helpers=LEAF_AT + "typedef struct { long long ends[LEAVES]; const T* leaf[LEAVES]; } Leaves;",
)

WRITE = Kernel(
    "write_words",
    "const Words words, long long* to",
    "to[i] = words.at[i];",
    helpers="typedef struct { long long at[WORDS]; } Words;",
)

SQUARES = Kernel(
    "sum_squares",
    "const T* x, T* sums, long long size",
    """
        T sum = 0;
        for (Int j = i; j < size; j += (Int)jobs) sum += x[j] * x[j];
        sums[i] = sum;
    """,
)

CLIP = Kernel(
    "clip_by_norm",
    "const T* x, const T* norm, T* y, double limit",
    """
        const T factor = (T)limit / (*norm + (T)1e-6);
        // what is not finite less itself is NaN
        y[i] = x[i] * ((factor < 1 ? factor : 1) + (*norm - *norm));
    """,
)

TOWARDS = Kernel(
    "towards",
    "const T* x, const T* target, T* y, const double* decay",
    "y[i] = (target[i] - x[i]) * (T)(1 - *decay) + x[i];",
)


def memory_of(leaves):
    """The flat array whose consecutive views the leaves are, or None where they are not."""
    filled = [leaf for leaf in leaves if leaf.size] or leaves[:1]
    first, address = filled[0], filled[0].data.ptr
    for leaf in filled:
        here = leaf.data.ptr == address and leaf.data.mem is first.data.mem
        if not here or not leaf.flags.c_contiguous:
            return None
        address += leaf.nbytes
    size = sum(leaf.size for leaf in filled)
    return array_module(first).lib.stride_tricks.as_strided(first, (size,), (first.itemsize,))


def gathered(leaves):
    """A new flat array of all numbers of the leaves, in order."""
    xp = array_module(leaves[0])
    flat, start = xp.empty(sum(leaf.size for leaf in leaves), dtype=leaves[0].dtype), 0
    for first in range(0, len(leaves), LEAVES):
        some = [xp.ascontiguousarray(leaf) for leaf in leaves[first : first + LEAVES]]
        part = flat[start : start + sum(leaf.size for leaf in some)]
        chunks, names = -(-part.size // CHUNK), {"CHUNK": CHUNK, "LEAVES": LEAVES}
        GATHER(flat, chunks, _leaves_struct(some), part, part.size, **names)
        start += part.size
    return flat


def joined(leaves):
    """All numbers of the leaves in one flat array: theirs, where they lie in one, else new."""
    flat = memory_of(leaves)
    return gathered(leaves) if flat is None else flat


def fill(now, numbers):
    """Write Python numbers into a device's float64 array as arguments of a launch, uncopied."""
    if now.shape != (len(numbers),) or now.dtype != "float64":
        rule = f"{len(numbers)} numbers fill as many of float64"
        raise ValueError(f"{rule}; came {now.dtype} {now.shape}: make one of that size")
    _write(now, now, np.array(numbers, np.float64))


_tables = {}  # kept for good: a captured graph goes on reading them


def table(like, sizes, settings):
    """Where each leaf ends and its settings, one row per leaf, on `like`'s device, for kernels.

    sizes, settings: tuples, of a number and of a tuple of numbers per leaf
    ->   int64 (leaves,) and float64 (leaves, settings)

    Made when first asked for, which must not be while a graph is captured: its kernels run no
    sooner than the graph does.
    """
    key = array_module(like).__name__, like.data.device_id, sizes, settings
    if key not in _tables:
        hosts = np.cumsum(sizes, dtype=np.int64), np.array(settings, np.float64)
        made = tuple(array_module(like).empty(host.shape, dtype=host.dtype) for host in hosts)
        for there, host in zip(made, hosts):
            _write(like, there, host)
        _tables[key] = made
    return _tables[key]


def clipped(leaves, limit):
    """(leaves scaled so that their norm is at most `limit`, or NaN; the norm), as views of one."""
    xp, theirs = array_module(leaves[0]), memory_of(leaves)
    flat = gathered(leaves) if theirs is None else theirs
    into = flat if theirs is None else xp.empty_like(theirs)  # gathered numbers are ours to change
    sums = xp.empty(min(max(flat.size, 1), SHARES), dtype=flat.dtype)
    SQUARES(flat, sums.size, flat, sums, flat.size)
    norm = xp.sqrt(sums.sum())
    CLIP(flat, flat.size, flat, norm, into, float(limit))
    return views(into, leaves), norm


def towards(leaves, targets, decay):
    """decay x leaf + (1 - decay) x target, as views of one new array.   decay: (1,) float64"""
    flat = joined(leaves)
    new = array_module(flat).empty_like(flat)
    TOWARDS(flat, flat.size, flat, joined(targets), new, decay)
    return views(new, leaves)


def _leaves_struct(leaves):
    """A `Leaves` by value: where each ends, and where it would lie from the flat array's start."""
    struct = np.zeros((2, LEAVES), np.int64)
    ends = np.cumsum([leaf.size for leaf in leaves])
    struct[0], struct[0, : len(leaves)] = ends[-1], ends
    starts = ends - [leaf.size for leaf in leaves]
    struct[1, : len(leaves)] = [leaf.data.ptr for leaf in leaves] - starts * leaves[0].itemsize
    return _by_value(struct)


def _write(like, there, host):
    """Write a host array of 8-byte numbers; `like` has a dtype that kernels are compiled for."""
    words, to = host.reshape(-1).view(np.int64), there.reshape(-1)
    for start in range(0, words.size, WORDS):
        some = words[start : start + WORDS]
        WRITE(like, some.size, _by_value(np.resize(some, WORDS)), to[start:], WORDS=WORDS)


def _by_value(numbers):
    """The array as one number of its bytes: CuPy passes only arrays of size one by value."""
    return numbers.reshape(-1).view(f"V{numbers.nbytes}")
