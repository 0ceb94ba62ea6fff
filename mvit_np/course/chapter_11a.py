"""Exercises of notebooks 11 to 11c, first part: a grid of threads, and when arithmetic counts."""

from __future__ import annotations

from fractions import Fraction

from .checker import INVESTIGATE, Exercise


def jobs_of_thread(block, thread, blocks, threads, lanes, jobs):
    """The jobs that one thread of a grid takes, in order.

    block: which of `blocks` blocks   thread: which of the block's `threads` threads
    lanes: how many threads, side by side, share a job   jobs: how many jobs there are
    ->   the numbers of this thread's jobs, a tuple or list

    number = block * threads + thread
    first job = number // lanes, for neighbours share a job
    step = blocks * threads // lanes, as many jobs as the grid takes at once
    After each job a thread goes on by `step`, as long as there are jobs. All numbers count from 0.
    Hint: range(start, stop, step) leaves `stop` itself out.
    """
    number = block * threads + thread
    first = number // lanes
    step = blocks * threads // lanes
    return tuple(range(first, jobs, step))


def _reference_jobs(block, thread, blocks, threads, lanes, jobs):
    """By dealing the jobs out to all groups of lanes in turn, as cards are dealt."""
    groups = [(b, t // lanes) for b in range(blocks) for t in range(0, threads, lanes)]
    hands: dict[tuple[int, int], list[int]] = {group: [] for group in groups}
    for job in range(jobs):
        hands[groups[job % len(groups)]].append(job)
    return tuple(hands[block, thread // lanes])


def _grids(rng):
    yield 1, 37, 3, 64, 4, 250
    yield 2, 9, 4, 16, 2, 2 * 32 + 20  # the third job of this thread would be number 84
    lanes = 2 ** int(rng.integers(0, 4))
    blocks, groups = map(int, rng.integers(2, 6, 2))
    block, thread = int(rng.integers(1, blocks)), int(rng.integers(1, groups * lanes))
    jobs = 2 * blocks * groups * lanes + int(rng.integers(1, 50))
    yield block, thread, blocks, groups * lanes, lanes, jobs


def _taken(number=None, first=None, step=None, stop=lambda jobs: jobs):
    """The jobs with another number of the thread, another first job, step or end."""

    def wrong(block, thread, blocks, threads, lanes, jobs):
        sizes = dict(block=block, thread=thread, blocks=blocks, threads=threads, lanes=lanes)
        own = number(**sizes) if number else block * threads + thread
        begin = first(own, lanes) if first else own // lanes
        by = step(**sizes) if step else blocks * threads // lanes
        return tuple(range(begin, stop(jobs), by))

    return wrong


def _side_by_side(block, thread, blocks, threads, lanes, jobs):
    group, groups = (block * threads + thread) // lanes, blocks * threads // lanes
    each = -(-jobs // groups)
    return tuple(range(group * each, min((group + 1) * each, jobs)))


JOBS_OF_THREAD = Exercise(
    jobs_of_thread,
    _reference_jobs,
    _grids,
    (
        ("the threads of the blocks before are not counted: number = block * threads + thread",
         _taken(number=lambda thread, **_: thread)),
        ("a block has `threads` threads, not `blocks`: number = block * threads + thread",
         _taken(number=lambda block, thread, blocks, **_: block * blocks + thread)),
        ("neighbours share a job: the first job is number // lanes",
         _taken(first=lambda number, lanes: number)),
        ("this is the lane, number % lanes: the job is number // lanes",
         _taken(first=lambda number, lanes: number % lanes)),
        ("the step is that of threads: the grid takes blocks * threads // lanes jobs at once",
         _taken(step=lambda blocks, threads, **_: blocks * threads)),
        ("the step is that of one block: all blocks work at the same time",
         _taken(step=lambda threads, lanes, **_: threads // lanes)),
        ("the thread takes jobs side by side: neighbours are to read neighbouring numbers, so its "
         "jobs are a step apart",
         _side_by_side),
        ("the thread takes one job alone: it goes on while there are any",
         lambda *sizes: jobs_of_thread(*sizes)[:1]),
        ("the last job is number jobs - 1: numbers count from 0",
         _taken(stop=lambda jobs: jobs + 1)),
    ),
)  # fmt: skip


# -- when arithmetic is the limit ------------------------------------------------------------------


def rows_to_fill(inputs, outputs, number_bytes, corner):
    """From how many rows on a linear layer is limited by arithmetic and no longer by memory.

    inputs, outputs: sizes of the layer   number_bytes: of each number, 4 for float32
    corner: operations per byte at which the two roofs of the machine meet, a whole number
    ->   the smallest number of rows, or 0 where no number of rows is enough

    The layer multiplies (rows, inputs) by (inputs, outputs). A multiply-add is two operations. Both
    factors are read once, and the result is written once; a bias does not count. Arithmetic is the
    limit where there are at least `corner` operations per byte. Which value does the
    number of operations per byte approach when there are more and more rows?
    Hint: multiply by the bytes, and you have a linear inequality in the number of rows. Use whole
    numbers only: -(-a // b) is a / b rounded up.
    """
    gain = 2 * inputs * outputs - corner * number_bytes * (inputs + outputs)  # per row
    matrix = corner * number_bytes * inputs * outputs
    return -(-matrix // gain) if gain > 0 else 0


def _reference_rows(inputs, outputs, number_bytes, corner):
    """By doubling and halving, on the operations per byte themselves."""

    def enough(rows):
        numbers = rows * inputs + inputs * outputs + rows * outputs
        return Fraction(2 * rows * inputs * outputs, number_bytes * numbers) >= corner

    above = 1
    while not enough(above):
        above *= 2
        if above > 2**80:
            return 0
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def _layers(rng):
    yield 768, 3072, 4, 101
    yield 96, 96, 4, 103
    yield 96, 384, 2, 13
    yield 64, 64, 4, 8
    inputs, outputs = (32 * int(n) for n in rng.integers(2, 30, 2))
    yield inputs, outputs, 2, int(rng.integers(3, 15))
    yield 64, 64, 4, int(rng.integers(20, 90))


def _filled(ops=2, read=1, matrix=1, written=1, number_bytes=None, up=True, never=True):
    """The rows with other counts of operations or bytes."""

    def wrong(inputs, outputs, size, corner):
        size = number_bytes or size
        gain = ops * inputs * outputs - corner * size * (read * inputs + written * outputs)
        wanted = matrix * corner * size * inputs * outputs
        if gain <= 0 and (never or not gain):
            return 0
        return -(-wanted // gain) if up else wanted // gain

    return wrong


ROWS_TO_FILL = Exercise(
    rows_to_fill,
    _reference_rows,
    _layers,
    (
        ("a multiply-add is two operations", _filled(ops=1)),
        ("the bytes of the result are missing", _filled(written=0)),
        ("the bytes of the rows that come in are missing", _filled(read=0)),
        ("the bytes of the rows are missing: only those of the matrix are there",
         _filled(read=0, written=0)),
        ("numbers are counted, not bytes", _filled(number_bytes=1)),
        ("a number has number_bytes bytes, not always 4", _filled(number_bytes=4)),
        ("the number of rows is rounded down: then arithmetic is not the limit yet",
         _filled(up=False)),
        ("where no number of rows is enough the answer is 0", _filled(never=False)),
    ),
    level=INVESTIGATE,
    finding="With more and more rows there are 2 I O / (I + O) operations per number at most. A "
    "layer of 96 by 96 has 24 per byte in float32, however many tokens there are.",
)  # fmt: skip

EXERCISES = (JOBS_OF_THREAD, ROWS_TO_FILL)
