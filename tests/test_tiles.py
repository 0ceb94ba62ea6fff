"""Tiles: they cover everything once, run on the threads asked for, and no result depends on how the work was cut."""

import contextvars
import importlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import device_double
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mvit_np import checks, ops, tiles
from mvit_np.autodiff import vjp
from mvit_np.checks import Case, normals

attend = importlib.import_module("mvit_np.ops.attend")  # the module; `ops.attend` is the function

needs_blas = pytest.mark.skipif(not tiles._blas(), reason="threadpoolctl knows no BLAS here, so one thread runs all tiles")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def cut_small(monkeypatch):
    """Even the smallest arrays are cut into many tiles."""
    monkeypatch.setattr(tiles, "SMALL", 1)
    monkeypatch.setattr(tiles, "NUMBERS", 16)


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(2, user_api="blas"):
        yield


def blas_threads():
    known = {library.filepath for library in tiles._blas()}
    return {library["num_threads"] for library in threadpool_info() if library["filepath"] in known}


# -- cutting ----------------------------------------------------------------------------------------------------------

SHAPES = [(1,), (2,), (7,), (97,), (1, 1), (3, 5), (5, 41), (1, 3, 50), (5, 4, 7), (2, 1, 33)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [1, 3, 5, 9, 16, 99])
def test_blocks_cover_each_index_once(shape, width, count, cut_small):
    with tiles.use_threads(count):
        blocks = tiles.blocks(np.empty(0), shape, width)
        count = tiles.threads()
    seen = np.zeros(shape, int)
    for block in blocks:
        seen[block] += 1
        assert seen[block].size > 0
    assert (seen == 1).all()
    assert len(blocks) >= min(count, math.prod(shape))
    if len(shape) == 1:
        assert len(blocks) % count == 0 or len(blocks) == shape[0]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_hold_no_more_than_numbers(shape, count, cut_small):
    for width in (1, 3, 5, 9, 10, 16, 99):
        with tiles.use_threads(count):
            sizes = [width * math.prod(at.stop - at.start for at in block) for block in tiles.blocks(np.empty(0), shape, width)]
        assert max(sizes) <= max(width, tiles.NUMBERS)


def test_rows_are_the_blocks_of_the_first_axis(cut_small):
    x = np.zeros((97, 3))
    for at in tiles.rows(x, 3):
        x[at] += 1
    assert (x == 1).all() and len(tiles.rows(x, 3)) > 1


def test_little_work_is_one_block(monkeypatch):
    monkeypatch.setattr(tiles, "SMALL", 100)
    monkeypatch.setattr(tiles, "NUMBERS", 10)
    x = np.empty((33, 3))
    assert tiles.rows(x, 3) == [slice(0, 33)] and tiles.rows(x[:1], 3, work=99) == [slice(0, 1)]
    assert tiles.blocks(x, (33, 3)) == [(slice(0, 33), slice(0, 3))]
    assert len(tiles.rows(x, 3, work=4)) >= 10 and len(tiles.blocks(x, (33, 4))) >= 14


def test_a_device_array_is_one_block(cut_small):
    device_double.install()
    x = device_double.from_host(np.ones((97, 5), np.float32))
    assert tiles.rows(x, 5, 1e9) == [slice(0, 97)]
    assert tiles.blocks(x, (97, 5), 1e9) == [(slice(0, 97), slice(0, 5))]
    (y,) = tiles.elementwise(device_double.xp.add, x, x)
    assert (device_double.to_host(y) == 2).all()


# -- running ----------------------------------------------------------------------------------------------------------


@needs_blas
@pytest.mark.parametrize("count", [2, 3, 5])
def test_run_takes_each_piece_once_on_all_threads(count):
    done, idents, together = [], set(), threading.Barrier(count)

    def tile(i):
        if i < count:
            together.wait(20)  # breaks unless so many threads are here at once
        idents.add(threading.get_ident())
        done.append(i)

    with tiles.use_threads(count):
        tiles.run(tile, range(50))
    assert sorted(done) == list(range(50))
    assert len(idents) == count and threading.get_ident() in idents


def test_little_work_and_one_thread_stay_here():
    def idents(count, **work):
        seen = set()
        with tiles.use_threads(count):
            tiles.run(lambda _: (time.sleep(0.001), seen.add(threading.get_ident())), range(20), **work)
        return seen

    assert idents(3, work=tiles.SMALL - 1) == idents(1) == {threading.get_ident()}


@needs_blas
def test_a_run_within_a_tile_stays_in_its_thread():
    together, inner = threading.Barrier(2), []

    def tile(i):
        together.wait(20)
        here = threading.get_ident()
        assert tiles.threads() == 1
        tiles.run(lambda _: inner.append(threading.get_ident() == here), range(10))

    with tiles.use_threads(2):
        tiles.run(tile, range(4))
        assert tiles.threads() == 2
    assert len(inner) == 40 and all(inner)


class Stop(BaseException):
    """Such as KeyboardInterrupt, which no `except Exception` sees."""


@needs_blas
@pytest.mark.parametrize("problem", [ValueError, Stop])
@pytest.mark.parametrize("who", ["caller", "helper"])
def test_an_exception_is_raised_after_all_have_stopped(who, problem):
    main, together, active, done = threading.get_ident(), threading.Barrier(2), set(), []

    def tile(i):
        active.add(i)
        try:
            if i < 2:
                together.wait(20)
                if (threading.get_ident() == main) == (who == "caller"):
                    raise problem("this one")
                time.sleep(0.1)
        finally:
            active.remove(i)
        done.append(i)

    with tiles.use_threads(2):
        with pytest.raises(problem, match="this one"):
            tiles.run(tile, range(9))
        assert not active and (len(done) == 1 if who == "caller" else done)
        test_run_takes_each_piece_once_on_all_threads(2)


@needs_blas
def test_settings_hold_on_all_threads():
    together, mine, found = threading.Barrier(3), contextvars.ContextVar("mine"), []

    def tile(i):
        together.wait(20)
        found.append((np.geterr()["divide"], mine.get(), tiles._chosen.get()))
        with pytest.raises(FloatingPointError):
            np.ones(1) / np.zeros(1)

    mine.set("word")
    with tiles.use_threads(3), np.errstate(divide="raise"):
        tiles.run(tile, range(3))
    assert found == [("raise", "word", 3)] * 3


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_total_is_the_sum_and_repeatable(count, cut_small, rng):
    x = rng.standard_normal((41, 3))
    like = np.empty(3), np.empty((3, 3), np.float64)

    def add(at, sums, squares):
        sums += x[at].sum(axis=0)
        squares += x[at].T @ x[at]

    with tiles.use_threads(count):
        runs = [tiles.total(add, tiles.rows(x, 3), like) for _ in range(4)]
    np.testing.assert_allclose(runs[0][0], x.sum(axis=0), rtol=0, atol=1e-13)
    np.testing.assert_allclose(runs[0][1], x.T @ x, rtol=0, atol=1e-12)
    assert all(np.array_equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.parametrize("shape", [(), (1,), (7, 5), (3, 1, 11), (0, 4)])
def test_elementwise_is_the_plain_function(shape, cut_small, rng):
    x, y = rng.standard_normal((2, *shape)), rng.standard_normal((*shape[::-1], 2))[..., 0].T  # y is not contiguous

    def both(x, y, plus, times):
        np.add(x, y, out=plus)
        np.multiply(x, y, out=times)

    with tiles.use_threads(3):
        plus, times = tiles.elementwise(both, x[0] if shape else np.asarray(x[0]), y, outputs=2)
    assert plus.shape == times.shape == shape
    assert np.array_equal(plus, x[0] + y) and np.array_equal(times, x[0] * y)


# -- how many threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "2", None])
def test_use_threads_refuses(count):
    with pytest.raises(
        ValueError, match=r"^threads are a whole number of at least 1; use_threads says .*: give [^.]*\.*[^.]*$"
    ):
        with tiles.use_threads(count):
            pass


@needs_blas
def test_use_threads_nests_is_put_back_and_is_this_threads_alone():
    default = tiles.threads()
    with pytest.raises(KeyError):
        with tiles.use_threads(default + 1):
            with tiles.use_threads(default + 2):
                assert tiles.threads() == default + 2
            assert tiles.threads() == default + 1
            with ThreadPoolExecutor(1) as other:
                assert other.submit(tiles.threads).result() == default
            raise KeyError
    assert tiles.threads() == default


def python(code, timeout=30, **environment):
    """A process of its own; a deadlock in it is a TimeoutExpired here."""
    path = os.pathsep.join(filter(None, [os.path.dirname(os.path.dirname(tiles.__file__)), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=timeout)


@needs_blas
@pytest.mark.parametrize("said", ["5", "0", "many", "1.5", "-2"])
def test_the_environment_says_how_many(said):
    ended = python("from mvit_np import tiles; print(tiles.threads())", MVIT_NP_THREADS=said)
    if said == "5":
        assert ended.stdout.split() == ["5"]
    else:
        last = ended.stderr.strip().splitlines()[-1]
        assert ended.returncode and last.startswith("ValueError: threads are a whole number")
        assert "MVIT_NP_THREADS" in last and repr(said).strip("'") in last


# -- BLAS's own threads -----------------------------------------------------------------------------------------------


@needs_blas
def test_one_blas_thread_is_put_back(two_blas_threads):
    assert blas_threads() == {2}
    with pytest.raises(KeyError):
        with tiles.one_blas_thread():
            with tiles.one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
            raise KeyError
    assert blas_threads() == {2}


@needs_blas
def test_one_blas_thread_overlaps_in_two_threads(two_blas_threads):
    first, second = tiles.one_blas_thread(), tiles.one_blas_thread()
    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b:
        for thread, step, held in [(a, first.__enter__, 1), (b, second.__enter__, 1), (a, first.__exit__, 1)]:
            thread.submit(step, *(None,) * 3 * (step == first.__exit__)).result()
            assert blas_threads() == {held}
        b.submit(second.__exit__, None, None, None).result()
    assert blas_threads() == {2}


@needs_blas
def test_tiles_run_with_one_blas_thread(two_blas_threads):
    found = []
    with tiles.use_threads(2):
        tiles.run(lambda _: found.append(blas_threads()), range(3))
    assert found == [{1}] * 3 and blas_threads() == {2}


def test_without_a_known_blas_one_thread_does_it(monkeypatch, cut_small, rng):
    x, w = rng.standard_normal((37, 5)), rng.standard_normal((5, 3))
    monkeypatch.setattr(tiles, "_blas", lambda: [])
    with tiles.use_threads(3), tiles.one_blas_thread():
        assert tiles.threads() == 1
        np.testing.assert_allclose(ops.linear(x, w), x @ w, rtol=0, atol=1e-13)
        assert Case("linear", ops.linear, normals((7, 5), (5, 3), (3,))).check().passed


# -- forks and the caller's own threads -------------------------------------------------------------------------------

FORK = """
import multiprocessing, os, signal, sys, threading
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from mvit_np import ops, tiles

tiles.SMALL, tiles.NUMBERS = 1, 4096
x, w = np.random.default_rng(0).standard_normal((2, 301, 301))
threadpool_limits(2)
held, over = threading.Event(), threading.Event()

def all_three():
    together = threading.Barrier(3)
    tiles.run(lambda _: together.wait(20), range(3))

def hold():
    with tiles.one_blas_thread():
        held.set()
        over.wait(25)

def child(_=0):
    signal.alarm(25)  # a deadlock ends the child, too
    blas = {library["num_threads"] for library in threadpool_info()}
    with tiles.use_threads(3):
        all_three()
        return np.array_equal(ops.linear(x, w), expected) and blas == {2}

with tiles.use_threads(3):
    all_three()
    expected = ops.linear(x, w)
"""

FORKS = {
    "after the pool was used": "pass",
    "while another thread holds BLAS": "threading.Thread(target=hold, daemon=True).start(); held.wait(20)",
    "by the thread that holds BLAS": "block = tiles.one_blas_thread(); block.__enter__()",
}
FORK_BY_HAND = """
pid = os.fork()
if pid == 0:
    os._exit(0 if child() and {left} else 1)
over.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
FORK_POOL = """
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(child, range(4)).get(25) == [True] * 4
"""


@needs_blas
@needs_fork
@pytest.mark.parametrize("when", FORKS)
@pytest.mark.parametrize("how", ["by hand", "multiprocessing"])
def test_a_forked_child_computes_the_same(when, how):
    ended = python(FORK + FORKS[when] + (FORK_BY_HAND.format(left=True) if how == "by hand" else FORK_POOL))
    assert ended.returncode == 0, ended.stderr
