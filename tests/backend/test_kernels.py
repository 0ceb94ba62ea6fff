"""Every fused kernel against the plain op, and the comparison against kernels with a mistake in
them.

The kernels run with all their lanes, as fibers that take turns, from the first job to the last and
the other way round. Each array lies between margins that are NaN and stay so: a read beyond an
array spoils the result, a write is seen.
"""

import ctypes
import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from unittest import mock

import device_double
import gcc_tools
import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds

from mvit_np import ops
from mvit_np.autodiff.tape import vjp
from mvit_np.backend.arrays import register_library
from mvit_np.backend.cuda import kernel as kernel_file
from mvit_np.backend.cuda.kernel import Kernel
from mvit_np.backend.cuda.kernels import (
    bf16,
    column_sums,
    depthwise_conv,
    gelu,
    layer_norm,
    relative_position,
    softmax,
)
from mvit_np.ops.cuda import relative_position as fast_relative
from mvit_np.ops.fast.gelu import gelu_array, gelu_backward
from mvit_np.ops.softmax import softmax_array
from mvit_np.studies.gradient_cases import op_cases

pytestmark = pytest.mark.skipif(
    gcc_tools.GCC is None, reason="kernels are compiled by gcc here, and there is none"
)

NVCC = shutil.which("nvcc")
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}  # of an array's entries, relative to its largest
MARGIN = 1 << 16  # numbers before and behind each array
NANS = [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF]  # as bits
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    1.0,
    -1.0,
    3.4028235e38,
    -3.4028235e38,
    3.39e38,
    1e-40,
    -1e-45,
    1.17549435e-38,
]


# -- tools that look on ----------------------------------------------------------------------------


LANES = """
#include <math.h>
#include <string.h>
#include <tgmath.h>
#include <ucontext.h>
#define DEVICE static inline
#define UNROLL
#define LANES {lanes}
{defines}
{common}
DEVICE T get_t(const T* from) {{ return *from; }}
DEVICE T get_bf16(const bf16* from) {{ return from_bf16(*from); }}
DEVICE void put_t(T* to, T value) {{ *to = value; }}
DEVICE void put_bf16(bf16* to, T value) {{ *to = to_bf16((float)value); }}
#define get(from) _Generic((from), \
    T*: get_t, const T*: get_t, bf16*: get_bf16, const bf16*: get_bf16)(from)
#define put(to, value) _Generic((to), T*: put_t, bf16*: put_bf16)(to, value)

static ucontext_t fibers[LANES], outside;
static char stacks[LANES][1 << 15];
static T shown[2][LANES];  // in turns: a lane may be one question ahead of the others
static int turn[LANES], running;

static const T* shown_by_all(T value) {{
    const int me = running, now = turn[me] ^= 1;
    shown[now][me] = value;
    running = (me + 1) % LANES;
    swapcontext(&fibers[me], &fibers[running]);
    running = me;
    return shown[now];
}}
static T sum_lanes(T value) {{
    const T* all = shown_by_all(value);
    T sum = 0;
    for (int k = 0; k < LANES; k++) sum += all[k];
    return sum;
}}
static T max_lanes(T value) {{
    const T* all = shown_by_all(value);
    for (int k = 0; k < LANES; k++) value = fmax(value, all[k]);
    return value;
}}
{helpers}
STATICS
static long long jobs;
static void run(int lane) {{
    running = lane;
    for (long long job = 0; job < jobs; job++) {{
        const Int i = (Int)(BACKWARDS ? jobs - 1 - job : job);
{body}
    }}
}}
void {name}(GIVEN, long long given_jobs) {{
    STORE
    jobs = given_jobs;
    for (int k = 0; k < LANES; k++) {{
        getcontext(&fibers[k]);
        fibers[k].uc_stack.ss_sp = stacks[k];
        fibers[k].uc_stack.ss_size = sizeof stacks[k];
        fibers[k].uc_link = k + 1 < LANES ? &fibers[k + 1] : &outside;
        turn[k] = 0;
        makecontext(&fibers[k], (void (*)(void))run, 1, k);
    }}
    swapcontext(&outside, &fibers[0]);
}}
"""


def template(kernel):
    """The C in which the kernel has as many lanes as on a device: its parameters are for all fibers
    to see.
    """
    parameters = kernel.parameters.split(", ")
    names = [re.search(r"\w+$", p).group() for p in parameters]
    parts = {
        "STATICS": "\n".join(f"static {p};" for p in parameters),
        "GIVEN": ", ".join(re.sub(r"\w+$", r"given_\g<0>", p) for p in parameters),
        "STORE": " ".join(f"{name} = given_{name};" for name in names),
    }
    return re.sub("STATICS|GIVEN|STORE", lambda found: parts[found.group()], LANES)


class Guarded:
    """The memory that an array spans, copied between two margins."""

    def __init__(self, host):
        low, high = byte_bounds(host)
        self.there = np.frombuffer((ctypes.c_char * (high - low)).from_address(low), host.dtype)
        self.nan = np.uint16(0x7FC1) if host.dtype == "uint16" else np.nan
        self.room = np.full(self.there.size + 2 * MARGIN, self.nan, dtype=host.dtype)
        self.room[MARGIN:-MARGIN] = self.there
        self.pointer = ctypes.c_void_p(self.room[MARGIN:].ctypes.data)

    def give_back(self):
        for margin in (self.room[:MARGIN], self.room[-MARGIN:]):
            np.testing.assert_array_equal(
                margin, self.nan, err_msg="a kernel wrote beyond an array"
            )
        self.there[...] = self.room[MARGIN:-MARGIN]


class GuardedTools(gcc_tools.GccTools):
    """Launches with arrays between margins; `launched` lists what, `wrong` has kernels to take
    instead of others.
    """

    def __init__(self):
        super().__init__(lambda x: x._host)
        self.launched, self.wrong, self.backwards = [], {}, False

    def launch(self, kernel, jobs, args, names):
        self.launched.append((kernel, names))
        kernel = self.wrong.get(kernel, kernel)
        with mock.patch.object(gcc_tools, "C", template(kernel)):
            function = gcc_tools._compiled.__wrapped__(
                kernel, (*names, ("BACKWARDS", int(self.backwards)))
            )
        held = {id(x): Guarded(x._host) for x in args if isinstance(x, device_double.DeviceArray)}
        numbers = {int: ctypes.c_longlong, float: ctypes.c_double}
        function(
            *(held[id(x)].pointer if id(x) in held else numbers[type(x)](x) for x in args),
            ctypes.c_longlong(jobs),
        )
        for array in held.values():
            array.give_back()


@pytest.fixture(scope="module")
def tools():
    """These tools for device arrays, and few threads, so that each has several jobs."""
    guarded, few = GuardedTools(), mock.patch.object
    register_library(
        device_double.DeviceArray,
        device_double.xp,
        device_double.special,
        device_double.from_host,
        guarded,
    )
    with (
        few(layer_norm, "WARPS", 4),
        few(column_sums, "THREADS", 70),
        few(depthwise_conv, "THREADS", 40),
    ):
        with (
            few(relative_position, "THREADS", 100),
            few(relative_position, "LONGEST", 10),
            few(relative_position, "CHUNK", 3),
        ):
            yield guarded
    device_double.install()


# -- what each kernel is compared with: pairs of what it gives and what is right -------------------


def draw(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def on_device(*arrays):
    return [x if x is None else device_double.from_host(x) for x in arrays]


def exact(*arrays):
    return [x if x is None else x.astype("float64") for x in arrays]


def halves(x):
    """Of float32 numbers the upper halves of the nearest that have no lower ones, by looking at
    both neighbours.
    """
    bits = x.view("uint32")
    down = bits & 0xFFFF0000
    below, above, here = (_wide(b) for b in (down, down + np.uint32(0x10000), bits))
    up = np.abs(above - here) - np.abs(here - below)
    odd = (down >> 16 & 1).astype(bool)
    rounded = np.where((up < 0) | (up == 0) & odd, down + np.uint32(0x10000), down)
    return np.where(np.isfinite(x), rounded, down) >> 16


def _wide(bits):
    """The float64 that the bits of a float32 mean, the first infinity being the power of two that
    would come next.
    """
    with np.errstate(invalid="ignore"):  # beyond infinity there is NaN
        number = bits.view("float32").astype("float64")
    return np.where(np.isinf(number), np.copysign(2.0**128, number), number)


def numbers(bits):
    """The float32 numbers that halves are."""
    return (bits.astype("uint32") << 16).view("float32")


def gelu_pairs(rng, dtype, shape=(7, 33), bias=True):
    h, b, dy = (
        rng.uniform(-9, 9, shape).astype(dtype),
        draw(rng, dtype, shape[-1]) if bias else None,
        draw(rng, dtype, *shape),
    )
    h64, b64, dy64 = exact(h, b, dy)
    y, gradients = gelu.gelu(*on_device(h, b)), gelu.gelu_backward(*on_device(h, b, dy))
    yield y, gelu_array(h64.copy(), b64)
    yield from zip(gradients, gelu_backward(h64.copy(), b64, dy64))
    if dtype == "float32":
        yield gelu.gelu(*on_device(h, b), out="bf16"), halves(y.get())
        for got, whole in zip(gelu.gelu_backward(*on_device(h, b, dy), out="bf16"), gradients):
            yield got, halves(whole.get())


def layer_norm_pairs(rng, dtype, count=9, width=37, large=False):
    """large: with a mean whose last digit is a thousandth of the deviation"""
    mean = {"float64": 1e13, "float32": 1e4}[dtype] if large else 3
    x, dy = mean + draw(rng, dtype, count, width), draw(rng, dtype, count, width)
    g, b, eps = draw(rng, dtype, width), draw(rng, dtype, width), 0.1
    y, pull = vjp(lambda *arrays: ops.layer_norm(*arrays, eps), exact(x, g, b))
    yield layer_norm.layer_norm(*on_device(x, g, b), eps), y
    yield from zip(
        layer_norm.layer_norm_backward(*on_device(x, g, dy), eps), pull(dy.astype("float64"))
    )


def softmax_pairs(rng, dtype, shape=(2, 3, 33), scale=0.3, large=False):
    """large: with exponents beyond the range of the dtype, though no further, because their
    rounding is that of P
    """
    size = {"float64": 8000, "float32": 100}[dtype] if large else 1
    s, dp = (size * draw(rng, dtype, *shape)).astype(dtype), draw(rng, dtype, *shape)
    (there,) = on_device(s)
    p = softmax.softmax_rows(there, scale)
    assert p is there, "where S was"
    yield p, softmax_array(scale * s.astype("float64"))
    yield (
        softmax.softmax_rows_backward(*on_device(p.get(), dp), scale),
        _softmax_backward(*exact(p.get(), dp), scale),
    )
    if dtype == "float32":
        low = softmax.softmax_rows(*on_device(s), scale, out="bf16")
        yield low, halves(p.get())
        got = softmax.softmax_rows_backward(low, *on_device(dp), scale)
        yield (
            got,
            halves(softmax.softmax_rows_backward(*on_device(numbers(low.get()), dp), scale).get()),
        )


def _softmax_backward(p, dp, scale):
    return scale * p * (dp - (p * dp).sum(axis=-1, keepdims=True))


def depthwise_conv_pairs(
    rng,
    dtype,
    clips=2,
    grid=(3, 5, 4),
    heads=2,
    d=3,
    kernel=(3, 3, 3),
    stride=(1, 2, 2),
    padding=(1, 1, 1),
    cls=1,
):
    tokens = draw(rng, dtype, clips, cls + int(np.prod(grid)), heads, d)
    tokens[:, :cls] = np.nan
    x, w = tokens[:, cls:].reshape(clips, *grid, heads, d), draw(rng, dtype, *kernel, d)
    y, pull = vjp(lambda x, w: ops.depthwise_conv(x, w, stride, padding), exact(x, w))
    dy = draw(rng, dtype, *y.shape)
    (there,) = on_device(tokens)
    there, w, dy_there = there[:, cls:].reshape(*x.shape), *on_device(w, dy)
    assert depthwise_conv.lies_well(there)
    yield depthwise_conv.depthwise_conv(there, w, y.shape[1:4], stride, padding), y
    yield from zip(
        depthwise_conv.depthwise_conv_backward(there, w, dy_there, stride, padding),
        pull(dy.astype("float64")),
    )


def column_sums_pairs(rng, dtype, count=11, width=33):
    rows = draw(rng, dtype, count, width)
    yield column_sums.column_sums(*on_device(rows, rows)), rows.astype("float64").sum(axis=0)
    low = halves(rows.astype("float32")).astype("uint16")
    yield column_sums.column_sums(*on_device(low, rows)), numbers(low).astype("float64").sum(axis=0)


def bf16_pairs(rng, dtype, count=1000):
    """Of numbers of all sizes, of some that lie in the middle between two, and of special ones:
    float32 numbers always.
    """
    bits = rng.integers(0, 1 << 32, count).astype("uint32")
    bits[: count // 2] = bits[: count // 2] & 0xFFFF0000 | 0x8000 + rng.integers(
        -1, 2, count // 2
    ).astype("uint32")
    special = np.array(SPECIAL, "float32"), np.array(NANS, "uint32").view("float32")
    x = np.concatenate([bits.view("float32"), *special])
    (got,), nan = (bf16.to_bf16(y) for y in on_device(x)), np.isnan(x)
    assert got.dtype == "uint16" and np.isnan(numbers(got.get()[nan])).all()
    yield got[device_double.from_host(np.flatnonzero(~nan))], halves(x[~nan])


def relative_position_pairs(
    rng,
    dtype,
    clips=2,
    thw=(2, 3, 5),
    thw_kv=(2, 11, 3),
    heads=2,
    d=9,
    order=(2, 1, 0),
    lengths=(3, 21, 11),
    cls=1,
):
    """The op, whose rows come from tables, and the kernels' rows by themselves."""
    grids = tuple((axis, thw, thw_kv) for axis in order)
    q = draw(rng, dtype, clips, cls + int(np.prod(thw)), heads, d)
    tables = [draw(rng, dtype, lengths[axis], d) for axis in order]

    def op(q, *tables):
        return ops.relative_query(q, 0.7, grids, *tables)

    y, pull = vjp(op, exact(q, *tables))
    dy = draw(rng, dtype, *y.shape)
    got, pull_there = vjp(op, on_device(q, *tables))
    yield got, y
    yield from zip(pull_there(*on_device(dy)), pull(dy.astype("float64")))
    k = draw(rng, dtype, clips, cls + int(np.prod(thw_kv)), heads, d)
    yield ops.relative_key(*on_device(k), grids), ops.relative_key(k.astype("float64"), grids)
    rows = draw(rng, dtype, sum(thw[axis] * thw_kv[axis] for axis in order), d)
    yield from zip(
        _on_rows(*on_device(q, rows, dy), grids),
        _rows_by_loops(*exact(q, rows, dy), thw, thw_kv, order, cls),
    )


def _on_rows(q, rows, dy, grids):
    return relative_position.relative_query(
        q, rows, grids
    ), *relative_position.relative_query_backward(q, rows, dy, grids)


def _rows_by_loops(q, rows, dy, thw, thw_kv, order, cls):
    y, dq, d_rows = np.zeros(dy.shape), dy[..., : q.shape[3]].copy(), np.zeros(rows.shape)
    y[..., : q.shape[3]] = q
    for token, places in enumerate(np.ndindex(thw), cls):
        start, column = 0, q.shape[3]
        for axis in order:
            for j in range(thw_kv[axis]):
                row = start + places[axis] * thw_kv[axis] + j
                y[:, token, :, column] = q[:, token] @ rows[row]
                dq[:, token] += dy[:, token, :, column, None] * rows[row]
                d_rows[row] += (dy[:, token, :, column, None] * q[:, token]).sum(axis=(0, 1))
                column += 1
            start += thw[axis] * thw_kv[axis]
    return y, dq, d_rows


PAIRS = {  # the first sizes of each are those that find the mistakes further down
    gelu: (
        gelu_pairs,
        [{}, dict(bias=False), dict(shape=(1, 1)), dict(shape=(2, 5, 40)), dict(shape=(70, 3))],
    ),
    layer_norm: (
        layer_norm_pairs,
        [
            {},
            dict(large=True),
            *(
                dict(count=n, width=w)
                for n, w in ((1, 5), (2, 31), (3, 32), (4, 33), (5, 96), (30, 3), (6, 1))
            ),
        ],
    ),
    softmax: (
        softmax_pairs,
        [
            {},
            dict(large=True),
            *(
                dict(shape=s, scale=0.1)
                for s in ((1, 1), (4, 5), (1, 32), (2, 2, 2, 31), (1, 100), (50, 2))
            ),
        ],
    ),
    depthwise_conv: (
        depthwise_conv_pairs,
        [
            {},
            dict(clips=1, grid=(1, 1, 1), heads=1, d=1),
            dict(grid=(2, 7, 9), heads=1, d=5, cls=0),
            dict(grid=(2, 9, 10), kernel=(1, 3, 3), stride=(1, 4, 4), padding=(0, 1, 1)),
            dict(grid=(4, 6, 6), heads=3, kernel=(2, 4, 2), stride=(2, 2, 2), padding=(0, 1, 1)),
            dict(
                grid=(2, 4, 5), heads=1, d=33, kernel=(1, 1, 1), stride=(2, 2, 2), padding=(0, 0, 0)
            ),
            dict(grid=(5, 4, 3), kernel=(3, 1, 2), stride=(1, 1, 1), padding=(1, 0, 0), cls=0),
            dict(
                clips=3, grid=(1, 6, 5), d=40, kernel=(1, 3, 3), stride=(1, 1, 1), padding=(0, 1, 1)
            ),
        ],
    ),
    column_sums: (
        column_sums_pairs,
        [{}, *(dict(count=n, width=w) for n, w in ((1, 1), (1, 40), (64, 3), (9, 100), (200, 1)))],
    ),
    bf16: (bf16_pairs, [{}, dict(count=2)]),
    relative_position: (
        relative_position_pairs,
        [
            {},
            dict(clips=1, thw=(1, 1, 1), thw_kv=(1, 1, 1), heads=1, d=1, lengths=(1, 1, 1), cls=0),
            dict(order=(0,), d=33, lengths=(5, 1, 1)),
            dict(order=(2, 1), d=8, cls=0),
            dict(
                thw=(3, 4, 2), thw_kv=(1, 2, 5), heads=3, d=40, order=(0, 1, 2), lengths=(5, 7, 9)
            ),
            dict(clips=4, thw=(1, 5, 5), order=(1, 2), lengths=(1, 9, 9), d=7, heads=1),
        ],
    ),
}
CASES = [(module, sizes) for module, (_, many) in PAIRS.items() for sizes in many]


def name(module):
    return module.__name__.rsplit(".", 1)[1]


def case_id(value):
    return (
        name(value)
        if hasattr(value, "__name__")
        else " ".join(f"{k}={v}" for k, v in value.items()) or "default"
    )


def compare(module, sizes, dtype):
    for got, expected in PAIRS[module][0](np.random.default_rng(0), dtype, **sizes):
        host = got.get()
        assert host.shape == expected.shape
        if host.dtype == "uint16":
            np.testing.assert_array_equal(host, expected)
        else:
            assert got.dtype == dtype
            largest, off = np.abs(expected).max(initial=0), np.abs(host - expected).max(initial=0)
            assert off <= TOLERANCE[dtype] * largest + 1e-13, f"{off:.3g} off, of {largest:.3g}"


@pytest.mark.parametrize("backwards", [False, True], ids=["first job first", "last job first"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("module, sizes", CASES, ids=case_id)
def test_a_kernel_gives_what_the_plain_op_gives(module, sizes, dtype, backwards, tools):
    with mock.patch.object(tools, "backwards", backwards):
        compare(module, sizes, dtype)


def apart(x):
    """The same numbers in memory that has a gap after each, so that they lie contiguously along no
    axis.
    """
    wide = np.full((*x.shape, 2), np.nan, x.dtype)
    wide[..., 0] = x
    return device_double.from_host(wide)[..., 0]


@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_inputs_may_lie_anyhow(case, tools):
    def last(*arrays):  # of an op that gives several
        y = case.fun(*arrays)
        return y[-1] if isinstance(y, tuple) else y

    arrays = case.make(np.random.default_rng(0))
    (y, pull), (there, pull_there) = vjp(last, arrays), vjp(last, [apart(x) for x in arrays])
    dy = np.cos(y)
    for got, expected in zip([there, *pull_there(apart(dy))], [y, *pull(dy)]):
        np.testing.assert_allclose(got.get(), expected, rtol=1e-10, atol=1e-10)


def test_relative_positions_are_three_launches_and_their_constants_are_kept(rng, tools):
    """One launch forward and two backward, between products; what depends on sizes alone is made
    once.
    """
    grids = tuple((axis, (2, 3, 4), (2, 3, 3)) for axis in (1, 2, 0))
    arrays = [
        draw(rng, "float32", *shape)
        for shape in ((2, 25, 1, 5), (5, 5), (9, 5), (3, 5), (2, 19, 1, 5))
    ]
    made, gemms = [], mock.patch.object(tools, "gemm", wraps=tools.gemm)
    for _ in range(2):
        tools.launched.clear()
        with gemms as calls:
            *arguments, k = on_device(*arrays)
            y, pull = vjp(lambda q, *tables: ops.relative_query(q, 0.5, grids, *tables), arguments)
            pull(y)
            ops.relative_key(k, grids)
        launched = [kernel for kernel, _ in tools.launched]
        assert launched == [
            relative_position.FORWARD,
            relative_position.QUERIES,
            relative_position.ROWS,
        ]
        assert calls.call_count == 2
        made.append(fast_relative._kept.cache_info().misses)
    assert made[0] == made[1]


# -- a kernel with a mistake in it is noticed ------------------------------------------------------


FLIPS = {" + ": " - ", " - ": " + ", " * ": " + ", " += ": " -= ", "continue;": ";"}
FLIPS |= {
    " < ": " <= ",
    " <= ": " < ",
    " >= ": " > ",
    " > ": " >= ",
    " == ": " != ",
    " != ": " == ",
}
NO_MISTAKE = {  # where the flipped text does the same
    "< -> <= in own[k] = d < WIDTH ? q[i * WIDTH + d] : 0;",  # one more, which is not used
    # one more, instead of the first column, which comes later
    "< -> <= in if (d < WIDTH) to[d] = own[k];",
    # 0 is at position 0
    (
        "< -> <= in const T* row1 = rows + (START1 + (rest < 0 ? 0 : rest / AFTER1 % LENGTH1) * "
        "KEYS1) * WIDTH;"
    ),
    "< -> <= in if (from + j < KEYS1) sum[j] += up[j] * x;",  # one more sum, which is not written
    "+ -> - in if (from + j < KEYS1) sum[j] += up[j] * x;",  # several more
}
LEFT_ALONE = [  # from an opening bracket on as far as the one that closes it
    r"for \(",  # else loops would not end
    r"\b(own|sum|dg|db)\[",  # of a thread's own: beyond them there is no margin
]


def kernels(module):
    return {key: value for key, value in vars(module).items() if isinstance(value, Kernel)}


def left_alone(text):
    """The spans of a text in which nothing is flipped: of what is there for each axis, all but the
    second.
    """
    spans = [m.span() for m in re.finditer(r"//.*|^#if [02](?s:.*?)^#endif|^#.*", text, re.M)]
    for found in re.finditer("|".join(LEFT_ALONE), text):
        opening, depth, end = text[found.end() - 1], 1, found.end()
        closing = {"(": ")", "[": "]"}[opening]
        while depth:
            depth += {opening: 1, closing: -1}.get(text[end], 0)
            end += 1
        spans.append((found.start(), end))
    return spans


def mutants(text):
    """(what was done, the text) for one operator after the other."""
    spans = left_alone(text)
    for old, new in FLIPS.items():
        for found in re.finditer(re.escape(old), text):
            start, end = found.span()
            if not any(a < end and start < b for a, b in spans):
                line = text[text.rfind("\n", 0, start) + 1 : text.find("\n", end) % (len(text) + 1)]
                yield (
                    f"{old.strip()} -> {new.strip()} in {line.strip()}",
                    text[:start] + new + text[end:],
                )


def noticed(module, tools):
    try:
        for sizes, backwards in itertools.product(PAIRS[module][1], (False, True)):
            with mock.patch.object(tools, "backwards", backwards), np.errstate(all="ignore"):
                compare(module, sizes, "float64")
    except AssertionError as problem:
        assert not str(problem).startswith("gcc on"), problem
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, key",
    [(m, key) for m in PAIRS for key in kernels(m)],
    ids=lambda x: x if isinstance(x, str) else name(x),
)
def test_a_kernel_with_a_mistake_is_noticed(module, key, tools):
    kernel, unnoticed = getattr(module, key), []
    for part in ("body", "helpers"):
        for what, text in mutants(getattr(kernel, part)):
            with mock.patch.dict(tools.wrong, {kernel: replace(kernel, **{part: text})}):
                if what not in NO_MISTAKE and not noticed(module, tools):
                    unnoticed.append(what)
    assert not unnoticed, "\n".join(unnoticed)


@pytest.mark.parametrize(
    "right, wrong",
    [("+ 0x7fff", "+ 0x8000"), (" + (bits >> 16 & 1)", ""), ("value != value ? 0x7fff : ", "")],
)
def test_a_mistake_in_rounding_is_noticed(right, wrong, tools):
    assert right in kernel_file.COMMON
    with mock.patch.object(kernel_file, "COMMON", kernel_file.COMMON.replace(right, wrong)):
        assert noticed(bf16, tools)


# -- the text is CUDA ------------------------------------------------------------------------------


def in_one_file(launches):
    """The CUDA text of all, each in its own namespace, without what the one before it defined."""
    for n, (kernel, names) in enumerate(launches):
        text = replace(kernel, name=f"{kernel.name}_{n}").source(names)
        yield f"namespace kernel_{n} {{{text}}}"
        yield from (f"#undef {defined}" for defined in re.findall(r"^#define (\w+)", text, re.M))


@pytest.mark.skipif(NVCC is None, reason="needs nvcc, CUDA's compiler")
def test_the_text_is_cuda(tools, tmp_path):
    tools.launched.clear()
    for module, dtype in itertools.product(PAIRS, TOLERANCE):
        compare(module, PAIRS[module][1][0], dtype)
    launches = list(dict.fromkeys(tools.launched))
    assert {kernel for kernel, _ in launches} == {
        k for module in PAIRS for k in kernels(module).values()
    }
    variants = {value for _, names in launches for _, value in names}
    assert {"float", "double", "bf16"} <= variants
    (tmp_path / "kernels.cu").write_text("\n".join(in_one_file(launches)))
    # 177: unused
    flags = [
        "-arch=sm_80",
        "-std=c++17",
        "-Werror",
        "all-warnings",
        "-diag-suppress",
        "177",
        "-ptx",
    ]
    done = subprocess.run(
        [NVCC, *flags, "kernels.cu", "-o", "kernels.ptx"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kernels.ptx").read_text().count(".entry") == len(launches)
