"""Tiles: they cover everything once, run on the threads asked for, and no result depends on how the
work was cut.
"""

import contextvars
import importlib
import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest import mock

import device_double
import numpy as np
import pytest
import threadpoolctl
from op_results import assert_near, results

from mvit_np import forward, init, ops, preset, value_and_grad
from mvit_np.backend import blas, tiles, tree
from mvit_np.backend.elementwise import elementwise
from mvit_np.studies.gradient_cases import TINY, TINY_V2, Case, normals
from mvit_np.train import adamw, adamw_state, clip_by_norm

needs_blas = pytest.mark.skipif(
    not blas.libraries(), reason="threadpoolctl knows no BLAS here, so one thread runs all tiles"
)


@pytest.fixture
def cut(monkeypatch):
    """Even the smallest arrays are cut into many tiles."""
    monkeypatch.setattr(tiles, "SMALL", 1)
    monkeypatch.setattr(tiles, "NUMBERS", 16)


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (7,), (97,), (1, 1), (3, 5), (5, 41), (1, 3, 50), (5, 4, 7), (2, 1, 33)]
)
def test_blocks_cover_each_index_once_and_are_small(shape, cut, monkeypatch):
    for width, asked in itertools.product([1, 3, 5, 9, 10, 16, 99], [1, 2, 3, 7]):
        monkeypatch.setattr(tiles, "SHARE", asked)
        blocks = tiles.blocks(np.empty(0), shape, width)
        seen = np.zeros(shape, int)
        for block in blocks:
            seen[block] += 1
        assert (seen == 1).all() and len(blocks) >= min(asked, seen.size)
        assert len(shape) > 1 or len(blocks) % asked == 0 or len(blocks) == shape[0]
        sizes = [seen[block].size for block in blocks]
        assert min(sizes) > 0 and max(sizes) * width <= max(width, tiles.NUMBERS), (
            width,
            asked,
            sizes,
        )


def test_little_work_and_a_device_array_are_one_block(monkeypatch):
    monkeypatch.setattr(tiles, "SMALL", 100)
    monkeypatch.setattr(tiles, "NUMBERS", 10)
    device_double.install()
    x, there = np.empty((33, 3)), device_double.from_host(np.ones((97, 5), np.float32))
    assert tiles.rows(x, 3) == [slice(0, 33)] and tiles.rows(x[:1], 3, work=99) == [slice(0, 1)]
    assert len(tiles.rows(x, 3, work=4)) >= 10 and len(tiles.blocks(x, (33, 4))) >= 4
    assert tiles.rows(there, 5, 1e9) == [slice(0, 97)]
    assert tiles.blocks(there, (97, 5), 1e9) == [(slice(0, 97), slice(0, 5))]
    assert (device_double.to_host(elementwise(device_double.xp.add, there, there)[0]) == 2).all()


def pieces_and_threads(count, pieces=50, wait=0):
    """What a run took, and the threads it was on; `wait` pieces wait for each other, so they need
    as many threads.
    """
    done, together = [], threading.Barrier(wait or 1)

    def tile(i):
        if i < wait:
            together.wait(20)
        done.append((i, threading.get_ident()))

    with tiles.use_threads(count):
        tiles.run(tile, range(pieces))
    return sorted(i for i, _ in done), {ident for _, ident in done}


@needs_blas
@pytest.mark.parametrize("count", [2, 3, 5])
def test_run_takes_each_piece_once_on_all_threads(count):
    done, idents = pieces_and_threads(count, wait=count)
    assert done == list(range(50)) and len(idents) == count and threading.get_ident() in idents
    for alone in (pieces_and_threads(1), pieces_and_threads(count, pieces=1)):
        assert alone[1] == {threading.get_ident()}


@needs_blas
@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("who", ["caller", "helper"])
def test_an_exception_is_raised_after_all_have_stopped(who, problem):
    main, together, begun, ended = threading.get_ident(), threading.Barrier(2), [], []

    def tile(i):
        begun.append(i)
        if i < 2:
            together.wait(20)
            if (threading.get_ident() == main) == (who == "caller"):
                raise problem("this one")
        time.sleep(0.05)
        ended.append(i)

    with tiles.use_threads(2), pytest.raises(problem, match="this one"):
        tiles.run(tile, range(9))
    assert len(begun) == len(ended) + 1 and (len(ended) == 1 if who == "caller" else ended)
    assert pieces_and_threads(2, wait=2)[0] == list(range(50))


@needs_blas
def test_within_a_tile_settings_hold_and_a_run_stays_in_its_thread(two_blas_threads):
    together, mine, found = threading.Barrier(3), contextvars.ContextVar("mine"), []

    def tile(_):
        together.wait(20)
        alone = pieces_and_threads(4) == (list(range(50)), {threading.get_ident()})
        found.append(
            (
                alone,
                tiles.threads(),
                blas_threads(),
                tiles._chosen.get(),
                np.geterr()["divide"],
                mine.get(),
            )
        )

    mine.set("word")
    with tiles.use_threads(3), np.errstate(divide="raise"):
        tiles.run(tile, range(3))
        assert tiles.threads() == 3 and blas_threads() == {2}
    assert found == [(True, 1, {1}, 3, "raise", "word")] * 3


def late_first(index, share):
    """The share of a piece; the first pieces are the last to be done."""
    time.sleep(0.02 if index < 2 else 0)
    return share


def test_total_is_the_sum_and_has_the_same_bits_on_any_number_of_threads(rng, cut):
    x, found = rng.standard_normal((41, 3), np.float32), []
    pieces = list(enumerate(tiles.rows(x, 3)))

    def shares(piece):
        return late_first(piece[0], (x[piece[1]].sum(axis=0), x[piece[1]].T @ x[piece[1]]))

    for count in (1, 1, 2, 3, 50):
        with tiles.use_threads(count):
            found.append(tiles.total(shares, pieces, (x[0], x[:3])))
    assert_near(found[0], [x.sum(axis=0), x.T @ x], 1e-6)
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other))
    backwards = tiles.total(shares, pieces[::-1], (x[0], x[:3]))
    assert any((a != b).any() for a, b in zip(found[0], backwards))  # the order does matter


def test_total_puts_shares_in_their_places_and_raises_what_a_piece_raises(rng, cut):
    x = rng.standard_normal((5, 4))

    def negative(at):
        if x[at].max() > 1e3:
            raise OverflowError("this one")
        return (-x[at],)

    with tiles.use_threads(3):
        pieces = tiles.blocks(x, x.shape)
        assert (
            len(pieces) == 4 and (tiles.total(negative, pieces, (x,), lambda at: at)[0] == -x).all()
        )
        x[1, 1] = 1e9
        with pytest.raises(OverflowError, match="this one"):
            tiles.total(negative, pieces, (x,), lambda at: at)


@pytest.mark.parametrize("shape", [(), (1,), (7, 5), (3, 1, 11), (0, 4)])
def test_elementwise_is_the_plain_function(shape, rng, cut):
    # y: not contiguous
    x, y = np.asarray(rng.standard_normal(shape)), rng.standard_normal((*shape[::-1], 2))[..., 0].T
    with tiles.use_threads(3):
        plus, times = elementwise(
            lambda x, y, a, b: (np.add(x, y, out=a), np.multiply(x, y, out=b)), x, y, outputs=2
        )
    assert plus.shape == shape and np.array_equal(plus, x + y) and np.array_equal(times, x * y)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "2", None])
def test_use_threads_refuses(count):
    with pytest.raises(
        ValueError,
        match="^threads are a whole number of at least 1; use_threads says .+: give 1, 2",
    ):
        tiles.use_threads(count).__enter__()


@needs_blas
def test_use_threads_nests_is_put_back_and_is_this_threads_alone():
    default = tiles.threads()
    with pytest.raises(KeyError), ThreadPoolExecutor(1) as other, tiles.use_threads(default + 1):
        with tiles.use_threads(default + 2):
            assert tiles.threads() == default + 2
        assert (tiles.threads(), other.submit(tiles.threads).result()) == (default + 1, default)
        raise KeyError
    assert tiles.threads() == default


def python(code, **environment):
    """A process of its own, that can import this file; one that hangs raises TimeoutExpired."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30
    )


@needs_blas
@pytest.mark.parametrize("said", ["5", "0", "many", "1.5", "-2"])
def test_the_environment_says_how_many(said):
    ended = python(
        "from mvit_np.backend import tiles; print(tiles.threads())", MVIT_NP_THREADS=said
    )
    problem = ended.stderr.strip().split("\n")[-1].replace("'", "")
    sentence = (
        "ValueError: threads are a whole number of at least 1; the environments MVIT_NP_THREADS "
        f"says {said}: give 1"
    )
    assert ended.stdout == "5\n" if said == "5" else problem.startswith(sentence)


def blas_threads():
    return {library.num_threads for library in blas.libraries()}


def set_blas(counts):
    """As nobody in particular: from 3.8 on threadpoolctl obeys only the first thread to set
    OpenBLAS, until that is cleared.
    """
    forget = getattr(
        threadpoolctl.OpenBLASController, "clear_controlling_thread", lambda force: None
    )
    forget(force=True)
    for library, count in zip(blas.libraries(), counts):
        library.set_num_threads(count)
    forget(force=True)


@pytest.fixture
def two_blas_threads():
    before = [library.num_threads for library in blas.libraries()]
    set_blas([2] * len(before))
    yield
    set_blas(before)


def blas_is_held():
    """Whether BLAS has one thread inside blocks, also nested ones, and what it had, which was 2,
    after an exception.
    """
    with pytest.raises(KeyError), blas.one_blas_thread():
        with blas.one_blas_thread():
            inside = blas_threads()
        inside |= blas_threads()
        raise KeyError
    return inside == {1} and blas_threads() == {2}


@needs_blas
def test_one_blas_thread_in_whichever_thread(two_blas_threads):
    with ThreadPoolExecutor(1) as other:
        assert [blas_is_held(), other.submit(blas_is_held).result(), blas_is_held()] == [True] * 3


@needs_blas
def test_one_blas_thread_overlaps_in_two_threads(two_blas_threads):
    first, second = blas.one_blas_thread(), blas.one_blas_thread()
    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b:
        steps = (
            (a, first.__enter__),
            (b, second.__enter__),
            (a, first.__exit__, *[None] * 3),
            (b, second.__exit__, *[None] * 3),
        )
        assert [(thread.submit(*step).result(), blas_threads())[1] for thread, *step in steps] == [
            {1},
            {1},
            {1},
            {2},
        ]


def test_without_a_known_blas_one_thread_does_it(monkeypatch, cut):
    monkeypatch.setattr(blas, "libraries", lambda: [])
    with tiles.use_threads(3), blas.one_blas_thread():
        assert (
            tiles.threads() == 1
            and Case("linear", ops.linear, normals((7, 5), (5, 3), (3,))).check().passed
        )


def product_on_three_threads():
    x, w = np.random.default_rng(0).standard_normal((2, 301, 301))
    assert len(pieces_and_threads(3, wait=3)[1]) == 3
    with tiles.use_threads(3):
        return ops.linear(x, w)


def child_is_well(expected):
    signal.alarm(25)  # a deadlock ends the child, too
    return (
        blas_threads() == {2}
        and blas_is_held()
        and np.array_equal(product_on_three_threads(), expected)
    )


def fork(holder, how):
    """In a process of its own: forks with the pool in use and BLAS held by nobody, by this thread
    or by another.
    """
    expected, block, other = (
        product_on_three_threads(),
        blas.one_blas_thread(),
        ThreadPoolExecutor(1),
    )
    set_blas([2] * len(blas.libraries()))
    if holder != "nobody":
        block.__enter__() if holder == "this thread" else other.submit(block.__enter__).result()
    if how == "multiprocessing":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map_async(child_is_well, [expected] * 4).get(25) == [True] * 4
    elif child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        well = child_is_well(expected)
        if holder == "this thread":
            block.__exit__(None, None, None)
        os._exit(0 if well and blas_is_held() else 1)


@needs_blas
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    "holder", ["nobody", "another thread", pytest.param("this thread", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "how", ["by hand", pytest.param("multiprocessing", marks=pytest.mark.slow)]
)
def test_a_forked_child_computes_the_same(holder, how):
    ended = python(f"import test_tiles; test_tiles.fork({holder!r}, {how!r})")
    assert ended.returncode == 0, ended.stderr


def test_a_thread_may_outlive_the_main_thread():
    late = (
        "(time.sleep(0.5), tiles.use_threads(3).__enter__(), "
        "print(ops.gelu(numpy.zeros(2**18)).sum()))"
    )
    start = f"threading.Thread(target=lambda: {late}).start()"
    code = (
        "import numpy, threading, time\nfrom mvit_np import ops\nfrom mvit_np.backend import "
        f"tiles\n{start}"
    )
    ended = python(code)
    assert ended.stdout == "0.0\n", ended.stderr


def test_user_threads_at_once_get_what_one_gets_alone(rng):
    x, w = rng.standard_normal((1031, 256), np.float32), rng.standard_normal((256, 128), np.float32)
    qkv, together = rng.standard_normal((3, 1, 301, 3, 64), np.float32), threading.Barrier(4)

    def forward(times):
        with tiles.use_threads(3):
            return [
                array for _ in range(times) for array in (ops.linear(x, w), ops.attend(*qkv, 0.125))
            ]

    alone = forward(1)
    with ThreadPoolExecutor(4) as users:
        for found in users.map(lambda _: together.wait(20) + 1 and forward(5), range(4)):
            assert len(found) == 10 and all(np.array_equal(a, b) for a, b in zip(found, alone * 5))


MODELS = {
    "small": (replace(TINY, depths=(1, 2)), {"SMALL": 1, "NUMBERS": 16}),
    "small MViTv2": (replace(TINY_V2, relative_time=False), {"SMALL": 1, "NUMBERS": 16}),
    "mvit_micro": (preset("mvit_micro"), {"SMALL": 1 << 12, "NUMBERS": 1 << 10}),
}


def three_steps(config, count):
    """The parameters after three steps on so many threads, and then the scores of a batch larger
    than that of training.
    """
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((7, *config.thw, config.channels), np.float32)
    params, labels = init(config, rng), np.arange(4) % config.num_classes
    with tiles.use_threads(count):
        state = adamw_state(params)
        loss = value_and_grad(
            lambda p, masks: ops.cross_entropy(
                forward(p, clips[:4], config, rng=masks), labels, 0.1
            )
        )
        for step in range(3):
            grads, norm = clip_by_norm(loss(params, np.random.default_rng(step))[1], 1.0)
            params, state = adamw(params, grads, state, 1e-2)
        return [*tree.leaves(params), norm, forward(params, clips, config)]


@needs_blas
@pytest.mark.parametrize(
    "config, sizes",
    [
        pytest.param(*some, marks=[] if name == "small" else [pytest.mark.slow])
        for name, some in MODELS.items()
    ],
    ids=MODELS,
)
def test_training_has_the_same_bits_on_any_number_of_threads(
    config, sizes, monkeypatch, two_blas_threads
):
    monkeypatch.setattr(tiles, "run", watched := mock.Mock(side_effect=tiles.run))
    for name, value in sizes.items():
        monkeypatch.setattr(tiles, name, value)
    alone, *others = [three_steps(config, count) for count in (1, 2, 3)]
    # there was something to share out
    assert max(len(pieces) for (_, pieces), _ in watched.call_args_list) > 4
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(alone, other))


@pytest.mark.parametrize("shift, scale", [(1000, 0.5), (-1000, 0.5), (0, 300)])
def test_attend_with_huge_logits_is_the_loop_and_ignores_what_they_share(shift, scale, rng):
    q, k, v = rng.standard_normal((3, 2, 7, 3, 4))
    one, expected = np.ones((2, 7, 3, 1)), np.empty_like(v)
    moved = [np.append(q, one, axis=3), np.append(k, one * shift / scale, axis=3), v]
    for b, i, h in np.ndindex(2, 7, 3):
        s = scale * (moved[1][b, :, h] @ moved[0][b, i, h])
        p = np.exp(s - s.max())
        expected[b, i, h] = p @ v[b, :, h] / p.sum()
    y, dq, dk, dv = results(lambda *x: ops.attend(*x, scale), moved)
    assert_near([y], [expected], 1e-11)
    assert_near(
        [y, dq[..., :4], dk[..., :4], dv],
        results(lambda *x: ops.attend(*x, scale), [q, k, v]),
        1e-11,
    )
    single = results(lambda *x: ops.attend(*x, scale), [x.astype(np.float32) for x in moved])
    assert_near(single[:1], [expected], 2e-3)
    assert all(np.isfinite(x).all() for x in single)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize(
    "share, other_limit", [(0.999, 0), (1.001, math.inf)], ids=["just under", "just above"]
)
def test_both_ways_of_attend_agree_at_the_limit(
    share, other_limit, dtype, tolerance, rng, monkeypatch
):
    module = importlib.import_module("mvit_np.ops.fast.attend")
    q, k, v = rng.standard_normal((3, 2, 7, 3, 4)).astype(dtype)
    # the longest: the bound is reached, on both sides
    q[0, 0, 0], k[0, 0, 0], k[0, 1, 0] = 9, 9, -9
    scale = module.SAFE * share * math.log(2) / (81 * 4)
    one = results(lambda *x: ops.attend(*x, scale), [q, k, v])
    monkeypatch.setattr(module, "SAFE", other_limit)
    other = results(lambda *x: ops.attend(*x, scale), [q, k, v])
    assert_near(one, other, tolerance)
    assert any((a != b).any() for a, b in zip(one, other))  # so these were two ways
