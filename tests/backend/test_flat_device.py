"""Steps of training on a device, in one launch over flat arrays: NumPy's numbers, no copies, ready
for a captured graph.
"""

import copy
import ctypes
import math
from functools import partial

import device_double
import gcc_tools
import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.arrays import plain_ops
from mvit_np.backend.cuda.kernels import flat
from mvit_np.train import (
    adamw,
    adamw_state,
    clip_by_norm,
    decays_except,
    ema_update,
    sgd,
    sgd_state,
)
from mvit_np.train.loop import adamw_with
from mvit_np.train.optimizer import adamw_hyperparameters, sgd_hyperparameters

pytestmark = pytest.mark.skipif(not gcc_tools.GCC, reason="needs gcc, which compiles the kernels")
device_double.install()

STEPS = 4
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
STEPPERS = {
    "adamw": (
        adamw,
        adamw_state,
        partial(adamw_hyperparameters, betas=(0.8, 0.95)),
        {"betas": (0.8, 0.95), "weight_decay": 0.3},
    ),
    "sgd": (sgd, sgd_state, sgd_hyperparameters, {"momentum": 0.8, "weight_decay": 0.3}),
    "plain sgd": (
        sgd,
        sgd_state,
        sgd_hyperparameters,
        {"momentum": 0.8, "nesterov": False, "weight_decay": 0.3},
    ),
}
stepper = pytest.mark.parametrize(
    "step_of, begin, numbers, options", STEPPERS.values(), ids=STEPPERS
)


def on_device(tree):
    return trees.map(device_double.from_host, tree)


def agree(host, device, tolerance):
    """Each leaf relative to its largest number."""
    for a, b in zip(
        map(np.asarray, trees.leaves(host)), trees.leaves(mv.to_host(device)), strict=True
    ):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * float(np.abs(a).max(initial=0.0))
        )


def same(a, b):
    trees.map(np.testing.assert_array_equal, mv.to_host(a), mv.to_host(b))


def rate(step):
    return 0.1 / (1 + step)


@pytest.fixture(params=TOLERANCE)
def task(request, rng):
    """Parameters of more leaves than one launch gathers, gradients for some steps, and settings
    that differ among leaves.
    """

    def random(*shape):
        return np.asarray(rng.standard_normal(shape), request.param)

    params = [
        {"w": random(1 + i % 5, i % 7), "b": random(1 + i % 3)} for i in range(flat.LEAVES // 2)
    ]
    params += [{"w": random(37, 41), "g": random(), "pos_embed": random(2 * flat.CHUNK)}, random(1)]
    grads = [trees.map(lambda p: random(*p.shape), params) for _ in range(STEPS)]
    factors = {path: 0.5 ** (i % 4) for i, (path, _) in enumerate(trees.paths(params)) if i % 3}
    return params, grads, {"factors": factors, "decay_mask": decays_except("*1.w")}


@pytest.fixture
def launches(monkeypatch):
    """The names of the kernels launched since this was cleared."""
    names, launch = [], gcc_tools.GccTools.launch

    def recorded(self, kernel, *args):
        names.append(kernel.name)
        return launch(self, kernel, *args)

    monkeypatch.setattr(gcc_tools.GccTools, "launch", recorded)
    return names


@pytest.fixture
def no_transfers():
    """Fails the test where an array crossed between host and device, said or unsaid, since
    `start()`.
    """
    seen = {}

    def start():
        seen["before"] = copy.copy(device_double.transfers)

    def stop():
        assert device_double.transfers == seen["before"]

    yield start, stop


# -- the numbers -----------------------------------------------------------------------------------


@stepper
def test_steps_are_numpys(step_of, begin, numbers, options, task, no_transfers):
    params, grads, settings = task
    there, grads_there = on_device(params), [on_device(g) for g in grads]
    before, (start, stop) = copy.deepcopy((there, grads_there)), no_transfers

    start()
    new, state = there, begin(there)
    for step, g in enumerate(grads_there):
        new, state = step_of(new, g, state, rate(step), **options, **settings)
    stop()

    expected, remembered = params, begin(params)
    for step, g in enumerate(grads):
        expected, remembered = step_of(expected, g, remembered, rate(step), **options, **settings)
    agree([expected, remembered], [new, state], TOLERANCE[str(params[0]["w"].dtype)])
    assert state["step"] == STEPS
    same(before, (there, grads_there))  # what came in is as it was


@pytest.mark.parametrize("limit", [0.5, 1e6, math.inf], ids=["clipped", "not clipped", "no limit"])
def test_clipped_gradients_are_numpys(limit, task, no_transfers, monkeypatch):
    monkeypatch.setattr(flat, "SHARES", 100)  # so that a thread has several squares to add
    _, grads, _ = task
    expected, norm = clip_by_norm(grads[0], limit)
    start, stop = no_transfers
    apart = on_device(grads[0])
    for there in (
        apart,
        trees.flatten(apart)[1](trees.views(flat.joined(trees.leaves(apart)), trees.leaves(apart))),
    ):
        before = copy.deepcopy(there)
        start()
        clipped, norm_there = clip_by_norm(there, limit)
        stop()
        agree([expected, norm], [clipped, norm_there], TOLERANCE[str(norm.dtype)])
        assert norm_there.shape == () and norm_there.dtype == norm.dtype
        same(before, there)


def test_the_average_is_numpys_whatever_the_order_of_keys(task, no_transfers):
    params, grads, _ = task
    there = [
        dict(reversed(part.items())) if isinstance(part, dict) else part
        for part in on_device(grads[0])
    ]
    average, (start, stop) = on_device(params), no_transfers
    start()
    new = ema_update(ema_update(average, there, 0.75), there, 0.5)
    stop()
    agree(
        ema_update(ema_update(params, grads[0], 0.75), grads[0], 0.5),
        new,
        TOLERANCE[str(params[0]["w"].dtype)],
    )
    same(average, params)


@stepper
def test_gradients_may_lie_anyhow(step_of, begin, numbers, options, rng):
    """Transposed, repeated, every other number, of a larger array."""
    params = [rng.standard_normal(shape) for shape in ((4, 3), (2, 5), (6,), (3, 3))]
    wide = rng.standard_normal((12, 12))
    results = []
    for x, here, xp in ((wide, params, np), (on_device(wide), on_device(params), device_double.xp)):
        grads = [x[:3, :4].T, xp.broadcast_to(x[0, :5], (2, 5)), x[0, ::2], x[2:5, 2:5]]
        results.append(step_of(here, grads, begin(here), 0.1, **options)[0])
    agree(*results, 1e-12)


def test_on_plain_ops_no_kernel_runs(task, launches):
    params, grads, settings = task
    there, g = on_device(params), on_device(grads[0])
    results = []
    for _ in range(2):
        clipped, norm = clip_by_norm(g, 1.0)
        new, state = adamw(there, clipped, adamw_state(there), 0.1, **settings)
        results.append([norm, new, state, ema_update(there, new, 0.5)])
        with plain_ops():
            launches.clear()
            clipped, norm = clip_by_norm(g, 1.0)
            new, state = adamw(there, clipped, adamw_state(there), 0.1, **settings)
            results.append([norm, new, state, ema_update(there, new, 0.5)])
        assert launches == []
    agree(mv.to_host(results[1]), results[0], TOLERANCE[str(params[0]["w"].dtype)])


def test_leaves_of_several_dtypes_go_one_by_one(launches, rng):
    grads = {"a": rng.standard_normal(3), "b": rng.standard_normal(2).astype("float32")}
    clipped, _ = clip_by_norm(on_device(grads), 0.5)
    assert [g.dtype for g in trees.leaves(clipped)] == ["float64", "float32"] and not launches
    agree(clip_by_norm(grads, 0.5)[0], clipped, 1e-6)


# -- what lies flat --------------------------------------------------------------------------------


@stepper
def test_the_second_step_finds_its_numbers_flat(
    step_of, begin, numbers, options, task, launches, monkeypatch
):
    monkeypatch.setattr(flat, "_tables", {})
    params, grads, settings = task
    params, name = on_device(params), step_of.__name__
    gather = ["gather_leaves"] * math.ceil(len(trees.leaves(params)) / flat.LEAVES)
    assert len(gather) == 2
    state, average = begin(params), params
    for step, g in enumerate(map(on_device, grads)):
        launches.clear()
        clipped, _ = clip_by_norm(g, 1.0)
        assert launches == [*gather, "sum_squares", "clip_by_norm"]
        launches.clear()
        params, state = step_of(params, clipped, state, rate(step), **options, **settings)
        assert [n for n in launches if n != "write_words"] == [*(gather if step == 0 else []), name]
        # the rate; the first time a table in three parts
        assert launches.count("write_words") == (1 if step else 4)
        launches.clear()
        average = ema_update(average, params, 0.9)
        assert launches == ["write_words", *([] if step else gather), "towards"]
    for tree in (params, clipped, average):
        whole, leaves = flat.memory_of(trees.leaves(tree)), trees.leaves(tree)
        np.testing.assert_array_equal(
            mv.to_host(whole), np.concatenate([mv.to_host(x).reshape(-1) for x in leaves])
        )


def test_views_of_one_array_are_told_from_others():
    x = device_double.from_host(np.arange(24.0))
    a, b, c = x[:6].reshape(2, 3), x[6:6].reshape(0, 2), x[6:8]
    assert (
        flat.memory_of([a, b, c]).shape == (8,)
        and flat.memory_of([c, x[8:]]).data.ptr == c.data.ptr
    )
    assert (
        flat.memory_of([c, b, a]) is None
        and flat.memory_of([a, x[7:9]]) is None
        and flat.memory_of([a, a]) is None
    )
    assert flat.memory_of([a.T, c]) is None and flat.memory_of([x[:6:2], x[6:]]) is None
    assert flat.memory_of([a, c.copy()]) is None
    for leaves in ([a.T, c], [c, b, a], [b], [b, x[::5], b]):
        expected = np.concatenate([mv.to_host(leaf).reshape(-1) for leaf in leaves])
        np.testing.assert_array_equal(mv.to_host(flat.joined(leaves)), expected)
        same(trees.views(flat.joined(leaves), leaves), leaves)


def test_neighbours_in_memory_are_not_one_array():
    """Two allocations that happen to lie side by side, as a pool may hand them out: one may be
    given back before the other.
    """
    numbers = np.arange(8.0)
    halves = [(ctypes.c_char * 32).from_address(numbers.ctypes.data + 32 * i) for i in range(2)]
    leaves = [device_double._new(np.frombuffer(half)) for half in halves]
    assert flat.memory_of(leaves) is None and flat.memory_of(leaves[:1]) is not None
    np.testing.assert_array_equal(mv.to_host(flat.joined(leaves)), numbers)


@pytest.mark.parametrize(
    "count", [1, flat.LEAVES - 1, flat.LEAVES, flat.LEAVES + 1, 2 * flat.LEAVES + 1]
)
def test_any_number_of_leaves_is_gathered(count, rng):
    sizes = rng.integers(0, 2 * flat.CHUNK if count < 10 else 5, count)
    leaves = [
        device_double.from_host(rng.standard_normal(size).astype("float32")) for size in sizes
    ]
    expected = np.concatenate([mv.to_host(leaf) for leaf in leaves])
    np.testing.assert_array_equal(mv.to_host(flat.gathered(leaves)), expected)


def test_a_table_is_one_of_its_sizes_and_settings():
    like = device_double.from_host(np.zeros(1, "float32"))
    # more than one launch writes
    sizes, settings = tuple(range(3, 603)), tuple((i / 7, float(i % 2)) for i in range(600))
    ends, rows = flat.table(like, sizes, settings)
    np.testing.assert_array_equal(mv.to_host(ends), np.cumsum(sizes))
    np.testing.assert_array_equal(mv.to_host(rows), settings)
    assert flat.table(like, sizes, settings)[1] is rows
    assert flat.table(like, sizes, (*settings[:-1], (0.0, 0.0)))[1] is not rows
    assert flat.table(like, (4, *sizes[1:]), settings)[0] is not ends


# -- steps that are not taken ----------------------------------------------------------------------


@stepper
def test_a_number_without_a_gradient_stays_as_it_is(step_of, begin, numbers, options, task):
    params, grads, settings = task
    there = on_device(params)
    _, state = step_of(there, on_device(grads[0]), begin(there), 0.1, **options, **settings)
    before = mv.to_host({name: value for name, value in state.items() if name != "step"})
    missing = copy.deepcopy(grads[1])
    missing[-2]["w"][3, 5] = np.nan
    new, state = step_of(there, on_device(missing), state, 0.1, **options, **settings)
    index = sum(p.size for p in trees.leaves(params[:-2])) + 3 * 41 + 5
    for name, flat_before in before.items():
        assert (mv.to_host(state[name]) == flat_before).nonzero()[0].tolist() == [index]
    gone = [
        (mv.to_host(a) == p).reshape(-1) for a, p in zip(trees.leaves(new), trees.leaves(params))
    ]
    assert np.concatenate(gone).nonzero()[0].tolist() == [index]


@stepper
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_norm_that_is_not_finite_changes_nothing(value, step_of, begin, numbers, options, task):
    params, grads, settings = task
    there = on_device(params)
    there, state = step_of(there, on_device(grads[0]), begin(there), 0.1, **options, **settings)
    kept = copy.deepcopy((there, {name: x for name, x in state.items() if name != "step"}))
    bad = copy.deepcopy(grads[1])
    bad[0]["b"][0] = value
    clipped, norm = clip_by_norm(on_device(bad), 1.0)
    assert not np.isfinite(mv.to_host(norm)) and all(
        np.isnan(mv.to_host(g)).all() for g in trees.leaves(clipped)
    )
    new, state = step_of(there, clipped, state, 0.1, **options, **settings)
    same(kept, (new, {name: x for name, x in state.items() if name != "step"}))


# -- numbers that change from step to step ---------------------------------------------------------


@stepper
def test_what_changes_may_lie_on_the_device(step_of, begin, numbers, options, task, no_transfers):
    """As a captured graph would have it: the very same calls, and between them `fill`."""
    params, grads, settings = task
    there, grads_there = on_device(params), [on_device(g) for g in grads]
    now = device_double.xp.empty(len(numbers(0, 0.1)) + 1, dtype="float64")
    (start, stop), new, state, average = no_transfers, there, begin(there), there
    start()
    for step, g in enumerate(grads_there):
        flat.fill(now, (*numbers(step, rate(step)), 0.9 / (1 + step)))
        new, state = step_of(new, g, state, now[:-1], **options, **settings)
        average = ema_update(average, new, now[-1:])
    stop()
    assert state["step"] == 0

    expected, remembered, mean = there, begin(there), there
    for step, g in enumerate(grads_there):
        expected, remembered = step_of(expected, g, remembered, rate(step), **options, **settings)
        mean = ema_update(mean, expected, 0.9 / (1 + step))
    same((expected, mean), (new, average))
    assert remembered["step"] == STEPS


def test_an_optimizer_says_its_hyperparameters(rng):
    optimizer = adamw_with(0.1, betas=(0.5, 0.75))
    assert optimizer.hyperparameters(1, 0.2) == (0.2, 1 - 0.5**2, 1 - 0.75**2)
    assert adamw_with().hyperparameters(0, 0.2) == pytest.approx((0.2, 0.1, 0.001))
    params = on_device({"w": rng.standard_normal((3, 2))})
    now = device_double.xp.empty(3, dtype="float64")
    flat.fill(now, optimizer.hyperparameters(0, 0.2))
    taken = [
        optimizer.update(params, params, optimizer.init(params), given)[0] for given in (0.2, now)
    ]
    same(*taken)


@pytest.mark.parametrize(
    "now", [np.ones(2), np.ones(3, "float32"), np.ones(6)[::2]], ids=["two", "float32", "apart"]
)
def test_other_arrays_than_a_steps_numbers_are_refused(now, rng):
    params = on_device({"w": rng.standard_normal((3, 2))})
    now = (
        device_double.from_host(now)
        if now.flags.c_contiguous
        else device_double.from_host(np.ones(6))[::2]
    )
    with pytest.raises(
        ValueError, match=f"are 3 float64 numbers in a row; came {now.dtype}"
    ) as error:
        adamw(params, params, adamw_state(params), now)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="are 1 float64 numbers"):
        ema_update(params, params, now)


def test_an_array_of_numbers_needs_a_kernel(rng):
    params = {"w": rng.standard_normal((3, 2))}
    for act in (
        lambda p, now: adamw(p, p, adamw_state(p), now),
        lambda p, now: sgd(p, p, sgd_state(p), now),
        lambda p, now: ema_update(p, p, now),
    ):
        with pytest.raises(TypeError, match=r"for a device's kernels; came shape \(3,\)"):
            act(params, np.ones(3))
        with plain_ops(), pytest.raises(TypeError, match="give a number"):
            act(on_device(params), device_double.from_host(np.ones(3)))


@pytest.mark.parametrize("numbers, dtype", [((1.0, 2.0), "float64"), ((1.0, 2.0, 3.0), "float32")])
def test_numbers_fill_an_array_of_as_many(numbers, dtype):
    with pytest.raises(ValueError, match="fill as many of float64; came"):
        flat.fill(device_double.xp.empty(3, dtype=dtype), numbers)
