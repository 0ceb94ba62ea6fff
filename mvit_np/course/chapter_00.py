"""Exercises of notebook 00: how arrays lie in memory, what a tree holds, where a sum stops."""

from __future__ import annotations

from math import prod

import numpy as np

from .checker import INVESTIGATE, SPECIFICATION, Exercise
from .compare import difference


def strides_of(shape, itemsize):
    """How many bytes apart two neighbours along each axis are, for an array in one piece of memory.

    shape: whole numbers   itemsize: bytes per number   ->   as many whole numbers
    stride of axis a = itemsize times the lengths of all axes after a
    Hint: the last axis has the stride itemsize. prod(()) is 1.
    """
    return tuple(itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _reference_strides(shape, itemsize):
    return np.empty(shape, f"V{itemsize}").strides


def _shapes(rng):
    yield (2, 3, 4, 5), 4
    yield (8, 32, 32, 3), 8
    for axes in (3, 5):
        yield tuple(map(int, rng.integers(2, 9, axes))), int(rng.choice((2, 4, 8)))


STRIDES_OF = Exercise(
    strides_of,
    _reference_strides,
    _shapes,
    (
        ("the strides are in numbers: one number has itemsize bytes",
         lambda shape, size: strides_of(shape, 1)),
        ("the axis itself is multiplied too: only those after it are",
         lambda shape, size: tuple(size * prod(shape[a:]) for a in range(len(shape)))),
        ("the axes before it are multiplied, so that the first has the shortest step: the last has",
         lambda shape, size: tuple(size * prod(shape[:a]) for a in range(len(shape)))),
        ("only the next axis is multiplied: all axes after it are",
         lambda shape, size: tuple(size * prod(shape[a + 1 : a + 2]) for a in range(len(shape)))),
        ("the lengths are added: multiply them",
         lambda shape, size: tuple(size * max(sum(shape[a + 1 :]), 1) for a in range(len(shape)))),
    ),
)  # fmt: skip


def channels_last(clips):
    """The pixels of each clip as a list, whose channels are neighbours in memory.

    clips: (B, C, T, H, W)   ->   (B, T H W, C), frame by frame and row by row, in one piece
    Hint: np.moveaxis moves an axis by strides alone, and np.ascontiguousarray writes a copy in
    order.
    """
    moved = np.ascontiguousarray(np.moveaxis(clips, 1, -1))
    return moved.reshape(clips.shape[0], -1, clips.shape[1])


def _clips(rng):
    for shape in ((2, 3, 4, 5, 6), (1, 2, 3, 4, 4), (3, 4, 2, 3, 2)):
        yield (rng.standard_normal(shape),)


def _by_loops(clips):
    """Pixel by pixel."""
    batch, channels, *thw = clips.shape
    y = np.empty((batch, prod(thw), channels), clips.dtype)
    for b in range(batch):
        for n, (t, h, w) in enumerate(np.ndindex(*thw)):
            y[b, n] = clips[b, :, t, h, w]
    return y


def _in_one_piece(value, expected, clips):
    """The right numbers, and their place in memory."""
    if found := difference(value, expected, 1e-12):
        return f"the result {found}"
    if not value.flags.c_contiguous:
        steps = tuple(step // value.itemsize for step in value.strides)
        return f"the channels of a pixel are neighbours in memory: its strides are {steps} numbers"
    return ""


CHANNELS_LAST = Exercise(
    channels_last,
    _by_loops,
    _clips,
    (
        ("nothing was moved in memory: the numbers are right, and those of a pixel lie far apart",
         lambda x: np.moveaxis(x, 1, -1).reshape(x.shape[0], -1, x.shape[1])),
        ("reshape alone gives the right shape and the wrong numbers: move the axis first",
         lambda x: x.reshape(x.shape[0], -1, x.shape[1]).copy()),
        ("the axes are reversed: only the channels move, to the end",
         lambda x: np.ascontiguousarray(x.transpose(0, 4, 3, 2, 1)).reshape(
             x.shape[0], -1, x.shape[1])),
        ("the channels and the columns change places: the channels move to the end",
         lambda x: np.ascontiguousarray(x.swapaxes(1, 4)).reshape(x.shape[0], -1, x.shape[1])),
        ("the channels are in the middle: they are the last axis",
         lambda x: x.reshape(x.shape[0], x.shape[1], -1).copy()),
        ("time, height and width are still axes: they become one list",
         lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1))),
        ("all clips are one list: each has its own",
         lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(-1, x.shape[1])),
    ),
    level=SPECIFICATION,
    judge=_in_one_piece,
)  # fmt: skip


def count_numbers(tree):
    """How many numbers a model has.

    tree: dicts and lists, nested in any way, with arrays as leaves   ->   one whole number
    Hint: a function may call itself, for what a dict or a list holds.
    """
    if isinstance(tree, dict):
        return sum(count_numbers(part) for part in tree.values())
    if isinstance(tree, list):
        return sum(count_numbers(part) for part in tree)
    return tree.size


def _trees(rng):
    a, b, c = (rng.standard_normal(tuple(rng.integers(2, 6, n))) for n in (2, 1, 3))
    yield ({"embed": {"w": a, "b": b}, "blocks": [{"w": c}, {"w": a, "norm": {"g": b}}]},)
    yield ({"head": {"w": a.T, "b": a[0]}, "cls": b},)
    yield ([{"w": c, "inner": [a, [b, {"g": c}]]}, {"b": b}],)


def _leaves(tree):
    """All arrays of a tree, one after the other, without recursion."""
    todo, found = [tree], []
    while todo:
        part = todo.pop()
        if isinstance(part, (dict, list)):
            todo += part.values() if isinstance(part, dict) else part
        else:
            found.append(part)
    return found


def _of_top(tree):
    """The arrays that stand in the outermost dict or list."""
    parts = tree.values() if isinstance(tree, dict) else tree
    return [part for part in parts if isinstance(part, np.ndarray)]


def _without_lists(tree):
    parts = tree.values() if isinstance(tree, dict) else ()
    return tree.size if isinstance(tree, np.ndarray) else sum(map(_without_lists, parts))


COUNT_NUMBERS = Exercise(
    count_numbers,
    lambda tree: sum(leaf.size for leaf in _leaves(tree)),
    _trees,
    (
        ("the arrays are counted: count the numbers in them", lambda tree: len(_leaves(tree))),
        ("the bytes are counted: count the numbers",
         lambda tree: sum(leaf.nbytes for leaf in _leaves(tree))),
        ("what a list holds is left out: blocks are a list", _without_lists),
        ("what an inner dict holds is left out", lambda tree: sum(x.size for x in _of_top(tree))),
        ("the lengths of each array's axes are added: multiply them",
         lambda tree: sum(sum(leaf.shape) for leaf in _leaves(tree))),
        ("only the first axis of each array is counted: multiply all of them",
         lambda tree: sum(len(leaf) for leaf in _leaves(tree))),
    ),
    single=False,
    level=SPECIFICATION,
)  # fmt: skip


def first_lost(dtype, step):
    """The smallest power of two to which `step` can be added without any effect.

    dtype: the name of a floating-point type   step: a power of two   ->   one whole number
    Start from 1 and double. In the dtype, when is n + step == n for the first time?
    Hint: np.dtype(dtype).type makes a number of this type, and so does the sum of two of them.
    """
    number = np.dtype(dtype).type
    n = number(1)
    while n + number(step) != n:
        n = n * number(2)
    return int(n)


def _digits(dtype):
    """How many binary digits follow the first one."""
    return np.finfo(dtype).nmant


def _types(rng):
    yield "float32", 1
    yield "float16", 2
    yield "float64", 1
    for dtype in ("float16", "float32", "float64"):
        yield dtype, int(2 ** rng.integers(1, 4))


FIRST_LOST = Exercise(
    first_lost,
    lambda dtype, step: step * 2 ** (_digits(dtype) + 1),
    _types,
    (
        ("this is half of the right number: there the sum still differs, so double once more",
         lambda dtype, step: step * 2 ** _digits(dtype)),
        ("this is twice the right number: a smaller power of two does not change either",
         lambda dtype, step: step * 2 ** (_digits(dtype) + 2)),
        ("the step is taken as 1: a larger step is lost later",
         lambda dtype, step: 2 ** (_digits(dtype) + 1)),
        ("the sum is made of Python's own numbers, which are float64: make numbers of the dtype",
         lambda dtype, step: step * 2**53),
        ("the step is divided by: a larger step is lost later",
         lambda dtype, step: 2 ** (_digits(dtype) + 1) // step),
        ("this is the last number that changes: the first that does not is the next power",
         lambda dtype, step: step * 2 ** (_digits(dtype) + 1) - step),
    ),
    level=INVESTIGATE,
    finding="1 is lost at 2,048 in float16, at 16,777,216 in float32 and at 9,007,199,254,740,992 "
    "in float64, whose numbers have 11, 24 and 53 binary digits. A float32 counter of clips stops "
    "at 16.8 million.",
)  # fmt: skip

EXERCISES = (STRIDES_OF, CHANNELS_LAST, COUNT_NUMBERS, FIRST_LOST)
