"""Every op against a loop that is written without it: value, gradient, dtypes, and the identities
it must obey.

All tests here run twice, on the fast versions and on the definitions.
"""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.special
from op_loops import (
    attend_loop,
    avg_pool_loop,
    bias_loop,
    cross_entropy_loop,
    cube_conv_loop,
    depthwise_conv_loop,
    gelu_loop,
    join_class_loop,
    layer_norm_loop,
    linear_loop,
    max_pool_loop,
    mean_loop,
    project_loop,
    softmax_loop,
    units_loop,
)
from op_results import WINDOWS

from mvit_np import adjointcheck, ops, value_and_grad
from mvit_np.autodiff.tape import vjp
from mvit_np.backend.arrays import plain_ops
from mvit_np.model.specs import PoolSpec
from mvit_np.ops.fast.project import project
from mvit_np.ops.fast.take_seen import on_seen, take_seen
from mvit_np.studies.gradient_cases import op_cases


@pytest.fixture(autouse=True, params=["fast", "plain"])
def versions(request):
    with plain_ops() if request.param == "plain" else nullcontext():
        yield request.param


LABELS = np.array([2, 0, 1])
ONE_HOT = np.eye(4)[LABELS]
SHARES = np.array([[0.7, 0, 0.3, 0], [1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]])
MASK = np.array([0.0, 2.0]).reshape(2, 1, 1)
GRID = (2, 3, 5, 4)  # (B, T, H, W)


# -- all ops alike ---------------------------------------------------------------------------------

SIMPLE = {
    "linear": (ops.linear, linear_loop, [(2, 3, 5), (5, 4), (4,)]),
    "linear without bias": (ops.linear, linear_loop, [(2, 3, 5), (5, 4)]),
    "linear of rows": (ops.linear, linear_loop, [(3, 5), (5, 1), (1,)]),
    "gelu": (ops.gelu, gelu_loop, [(4, 7)]),
    "softmax": (ops.softmax, softmax_loop, [(3, 2, 6)]),
    "layer_norm": (ops.layer_norm, layer_norm_loop, [(2, 5, 6), (6,), (6,)]),
    "layer_norm, eps": (
        lambda x, g, b: ops.layer_norm(x, g, b, 0.5), lambda x, g, b: layer_norm_loop(x, g, b, 0.5),
        [(5, 6), (6,), (6,)],
    ),
    "attend": (
        lambda q, k, v: ops.attend(q, k, v, 0.7), lambda q, k, v: attend_loop(q, k, v, 0.7),
        [(2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2)],
    ),
    "cross_entropy": (
        lambda x: ops.cross_entropy(x, LABELS), lambda x: cross_entropy_loop(x, ONE_HOT), [(3, 4)]
    ),
    "cross_entropy, smoothed": (
        lambda x: ops.cross_entropy(x, LABELS, 0.3),
        lambda x: cross_entropy_loop(x, ONE_HOT, 0.3), [(3, 4)],
    ),
    "cross_entropy, soft targets": (
        lambda x: ops.cross_entropy(x, SHARES.astype(x.dtype)),
        lambda x: cross_entropy_loop(x, SHARES), [(3, 4)],
    ),
    "cross_entropy, soft targets, smoothed": (
        lambda x: ops.cross_entropy(x, SHARES.astype(x.dtype), 0.3),
        lambda x: cross_entropy_loop(x, SHARES, 0.3), [(3, 4)],
    ),
    "reshape": (
        lambda x: ops.reshape(x, (2, 6)), lambda x: np.array(list(x.flat)).reshape(2, 6), [(3, 4)]
    ),
    "split_class, class": (lambda x: ops.split_class(x)[0], lambda x: x[:, :1], [(2, 4, 3)]),
    "split_class, rest": (lambda x: ops.split_class(x)[1], lambda x: x[:, 1:], [(2, 4, 3)]),
    "join_class": (ops.join_class, join_class_loop, [(2, 1, 3), (2, 4, 3)]),
    "join_class, one for all": (ops.join_class, join_class_loop, [(3,), (2, 4, 3)]),
    "split_channels": (lambda x: ops.split_channels(x, 3)[1], lambda x: x[..., 2:4], [(2, 4, 6)]),
    "join_channels": (
        ops.join_channels, lambda x, y: np.append(x, y, axis=2), [(2, 4, 3), (2, 4, 2)]
    ),
    "split_units": (
        lambda x: ops.split_units(x, (2, 4, 6), (1, 2, 3)),
        lambda x: units_loop(x, (2, 4, 6), (1, 2, 3)), [(2, 48, 2)],
    ),
    "join_units": (
        lambda x: ops.join_units(ops.split_units(x, (4, 2, 6), (2, 1, 3)), (4, 2, 6), (2, 1, 3)),
        lambda x: x, [(2, 48, 2)],
    ),
    "first_token": (ops.first_token, lambda x: np.stack([clip[0] for clip in x]), [(2, 4, 3)]),
    "mean_token": (ops.mean_token, mean_loop, [(2, 4, 3)]),
    "add": (ops.add, np.add, [(2, 4, 3), (2, 4, 3)]),
    "add, repeated": (ops.add, np.add, [(4, 3), (2, 1, 3)]),
    "residual": (ops.residual, np.add, [(2, 4, 3), (2, 4, 3)]),
    "residual, masked": (
        lambda x, y: ops.residual(x, y, MASK.astype(x.dtype)),
        lambda x, y: np.stack([x[0], x[1] + 2 * y[1]]), [(2, 4, 3), (2, 4, 3)],
    ),
    "residual, not the first token": (
        lambda x, y: ops.residual(x, y, None, 1),
        lambda x, y: np.concatenate([x[:, :1], x[:, 1:] + y[:, 1:]], axis=1),
        [(2, 4, 2, 3), (2, 4, 2, 3)],
    ),
    "scale by a number": (lambda x: ops.scale(x, 0.5), lambda x: x / 2, [(2, 4, 3)]),
    "scale by a mask": (
        lambda x: ops.scale(x, MASK.astype(x.dtype)), lambda x: np.stack([0 * x[0], 2 * x[1]]),
        [(2, 4, 3)],
    ),
}  # fmt: skip
SIMPLE |= {
    f"project, {i}": (
        lambda x, w, b, i=i: project(x, w, b, 3)[i],
        lambda x, w, b, i=i: project_loop(x, w, b, i),
        [(2, 3, 5), (5, 12), (12,)],
    )
    for i in range(3)
}
SIMPLE["project, the others of other tokens"] = (
    lambda x, w, b, rest: ops.join_channels(*project(x, w, b, 3, rest)[1:]),
    lambda x, w, b, rest: np.concatenate(
        [project_loop(rest, w, b, 1), project_loop(rest, w, b, 2)], axis=-1
    ),
    [(2, 3, 5), (5, 12), (12,), (2, 4, 5)],
)


def windowed(kernel, stride, padding):
    """The four window ops with one geometry, as entries like those of SIMPLE."""
    moves = (stride, padding)
    return {
        "cube_conv": (
            lambda x, w, b: ops.cube_conv(x, w, b, *moves),
            lambda x, w, b: cube_conv_loop(x, w, b, *moves),
            [(*GRID, 2), (*kernel, 2, 3), (3,)],
        ),
        "depthwise_conv": (
            lambda x, w: ops.depthwise_conv(x, w, *moves),
            lambda x, w: depthwise_conv_loop(x, w, *moves),
            [(*GRID, 2, 3), (*kernel, 3)],
        ),
        "max_pool": (
            lambda x: ops.max_pool(x, kernel, *moves), lambda x: max_pool_loop(x, kernel, *moves),
            [(*GRID, 3)],
        ),
        "avg_pool": (
            lambda x: ops.avg_pool(x, kernel, *moves), lambda x: avg_pool_loop(x, kernel, *moves),
            [(*GRID, 2, 1)],
        ),
    }  # fmt: skip


WINDOWED = {
    f"{name}, kernel {geometry[0]} stride {geometry[1]} padding {geometry[2]}": case
    for geometry in WINDOWS
    for name, case in windowed(*geometry).items()
}
ALL = SIMPLE | WINDOWED
every_op = pytest.mark.parametrize(("op", "loop", "shapes"), ALL.values(), ids=ALL)


def draw(shapes, dtype="float64"):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@every_op
def test_value_and_gradient_are_the_loops(op, loop, shapes):
    """Along a random direction of each argument: (loop(x + h u) - loop(x - h u)) / 2h, against
    <gradient, u>.
    """
    rng, h = np.random.default_rng(1), 1e-6
    arrays = draw(shapes)
    np.testing.assert_allclose(op(*arrays), loop(*arrays), rtol=1e-12, atol=1e-13)
    value, pull = vjp(op, arrays)
    dy = rng.standard_normal(value.shape)
    for i, gradient in enumerate(pull(dy)):
        u = rng.standard_normal(arrays[i].shape)
        up, down = (
            loop(*arrays[:i], arrays[i] + sign * h * u, *arrays[i + 1 :]) for sign in (1, -1)
        )
        slope = (dy * (up - down)).sum() / (2 * h)
        assert (gradient * u).sum() == pytest.approx(slope, rel=1e-6, abs=1e-7)


@every_op
def test_dtype_and_shape_go_through_both_ways_and_nothing_is_written_to(op, loop, shapes):
    for dtype in ("float32", "float64"):
        arrays = draw(shapes, dtype)
        value, pull = vjp(op, arrays)
        dy = np.ones_like(value)
        gradients = pull(dy)
        assert value.dtype == dtype
        assert [(g.dtype, g.shape) for g in gradients] == [(a.dtype, a.shape) for a in arrays]
        assert (
            all(np.array_equal(a, b) for a, b in zip(arrays, draw(shapes, dtype)))
            and (dy == 1).all()
        )
        np.testing.assert_allclose(value, loop(*draw(shapes)), rtol=1e-4, atol=1e-5)


LINEAR = {
    "linear": (lambda x: ops.linear(x, W), (3, 5)),
    "cube_conv": (
        lambda x: ops.cube_conv(x, np.ones((3, 3, 2, 2, 3)), np.zeros(3), (1, 2, 2), (1, 1, 0)),
        (*GRID, 2),
    ),
    "depthwise_conv": (
        lambda x: ops.depthwise_conv(x, np.ones((3, 3, 2, 3)), (1, 2, 3), (1, 1, 0)),
        (*GRID, 2, 3),
    ),
    "depthwise_conv, filter": (
        lambda w: ops.depthwise_conv(X, w, (1, 2, 2), (1, 1, 1)),
        (3, 3, 3, 3),
    ),
    "avg_pool": (lambda x: ops.avg_pool(x, (2, 3, 3), (1, 2, 2), (1, 1, 1)), (*GRID, 2)),
    "relative_query": (lambda q: ops.relative_query(q, 0.5, GRIDS, W), (2, 13, 2, 5)),
    "reshape": (lambda x: ops.reshape(x, (2, 6)), (3, 4)),
    "project": (lambda x: project(x, np.ones((3, 12)), np.zeros(12), 3)[1], (2, 4, 3)),
    "take_seen": (lambda x: take_seen(x, (2, 5, 4), (1, 1, 2), (1, 3, 3), (0, 0, 1)), (2, 41, 3)),
    "split_channels": (lambda x: ops.split_channels(x, 3)[1], (2, 4, 6)),
    "split_class": (lambda x: ops.split_class(x)[1], (2, 4, 3)),
    "join_class": (lambda x: ops.join_class(x, np.zeros((2, 4, 3))), (2, 1, 3)),
    "join_channels": (lambda x: ops.join_channels(x, np.zeros((2, 4, 2))), (2, 4, 3)),
    "split_units": (lambda x: ops.split_units(x, (2, 4, 6), (1, 2, 3)), (2, 48, 3)),
    "join_units": (lambda x: ops.join_units(x, (2, 4, 6), (2, 2, 3)), (8, 12, 3)),
    "first_token": (ops.first_token, (2, 4, 3)),
    "mean_token": (ops.mean_token, (2, 4, 3)),
    "add": (lambda x: ops.add(x, np.zeros((2, 1, 3))), (4, 3)),
    "residual": (lambda y: ops.residual(np.zeros((2, 4, 3)), y, MASK), (2, 4, 3)),
    "scale": (lambda x: ops.scale(x, MASK), (2, 4, 3)),
}
W = draw([(5, 5)])[0]
X = draw([(*GRID, 2, 3)])[0]
GRIDS = ((1, (2, 3, 2), (2, 3, 2)),)


@pytest.mark.parametrize(("op", "shape"), LINEAR.values(), ids=LINEAR)
def test_linear_ops_pass_the_adjoint_check(op, shape):
    assert adjointcheck(op, draw([shape])[0]) < 1e-12


@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_an_op_refuses_numbers_of_another_range_or_rounding_in_one_line(case):
    name = case.name.split(",")[0].split()[0]
    for dtype in ("float16", "longdouble", "complex64", "complex128"):
        arrays = [x.astype(dtype) for x in case.make(np.random.default_rng(0))]
        with pytest.raises(
            TypeError, match=f"^({name}|linear) computes in float32 or float64; came .*: convert it"
        ):
            case.fun(*arrays)
        with pytest.raises(
            TypeError, match="^gradients are with respect to float32 and float64 arrays; came"
        ):
            value_and_grad(case.fun, tuple(range(len(arrays))))(*arrays)


# -- identities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_rows_sum_to_one_and_ignore_a_shift(size, dtype):
    x = (size * draw([(4, 7)])[0]).astype(dtype)
    p = ops.softmax(x)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=tolerance)
    assert np.isfinite(p).all() and (p >= 0).all()
    np.testing.assert_allclose(
        ops.softmax(np.round(x) + 64), ops.softmax(np.round(x)), rtol=tolerance
    )


def test_softmax_of_extreme_logits_picks_the_largest():
    np.testing.assert_array_equal(
        ops.softmax(np.array([[-1e4, 0, 1e4], [1e4, 1e4, -1e4]])), [[0, 0, 1], [0.5, 0.5, 0]]
    )


def test_layer_norm_has_mean_0_and_variance_1():
    x = 50 + 3 * draw([(6, 40)])[0]
    y = ops.layer_norm(x, np.ones(40), np.zeros(40))
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=-1), 1, atol=1e-6)


def test_layer_norm_of_a_constant_row_is_its_shift():
    np.testing.assert_array_equal(
        ops.layer_norm(np.full((2, 4), 7.0), np.ones(4), np.arange(4.0)), [np.arange(4.0)] * 2
    )


@pytest.mark.parametrize(
    "mean, spread", [(0, 1), (100, 0), (1000, 0), (1e6, 0), (1000, 1e-3), (-1000, 1e-2), (1e4, 1)]
)
@pytest.mark.parametrize("width", [5, 96, 771])
def test_layer_norm_in_float32_is_that_of_float64_whatever_the_mean(mean, spread, width):
    x, dy = draw([(64, width), (64, width)])
    x, dy = (mean + spread * x).astype("float32"), dy.astype("float32")
    g, b = np.linspace(0.5, 2, width, dtype="float32"), np.ones(width, "float32")
    (y, pull), (exact, exact_pull) = (
        vjp(ops.layer_norm, [a.astype(t) for a in (x, g, b)]) for t in ("float32", "float64")
    )
    tolerance = 2e-6 + 3e-10 * abs(mean)
    assert abs(y - exact).max() < tolerance
    for found, expected in zip(pull(dy), exact_pull(dy.astype("float64"))):
        assert abs(found - expected).max() < tolerance * max(abs(expected).max(), 64)


def test_gelu_in_float32_is_as_near_as_float32_is():
    x = np.concatenate([np.linspace(-40, 40, 400_001), [-1e30, 1e30]]).astype("float32")
    with np.errstate(all="raise", under="ignore"):
        y, pull = vjp(ops.gelu, [x[:-2]])
        ends = ops.gelu(x[-2:])
    exact, wide = scipy.special.ndtr(x[:-2].astype(float)), x[:-2].astype(float)
    slope = exact + wide * np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    assert (abs(y - wide * exact) <= 2e-7 * np.maximum(1, abs(wide))).all()
    assert ends.tolist() == [0, x[-1]]
    assert abs(pull(np.ones_like(y))[0] - slope).max() < 3e-7


@pytest.mark.parametrize(
    "sizes", [(1, 1, 8), (3, 5, 8), (3, 7, 4), (1, 2, 4), (5, 8, 8), (2, 9, 3)], ids=str
)
@pytest.mark.parametrize("cls", [0, 1])
def test_a_pool_of_the_tokens_it_looks_at_is_that_of_all(rng, sizes, cls):
    """The windows that a stride leaves apart, laid side by side: the same cells, the same padding,
    the same result.
    """
    (kt, kh, kw), grid = sizes, (2, 17, 24)
    for kernel, stride in [
        ((1, 3, 3), (1, kh, kw)),
        ((1, kt, 1), (1, kw, 5)),
        ((2, 2, kt), (2, kh, kw)),
        ((3, 1, 2), (1, 8, 3)),
    ]:
        pool = PoolSpec("avg", kernel, stride, grid)
        x = rng.standard_normal((2, cls + math.prod(grid), 3))
        left = take_seen(x, grid, kernel, stride, pool.padding)
        thin = on_seen(pool)
        assert (
            left.shape[1] == cls + math.prod(thin.thw_in) <= x.shape[1]
            and thin.thw_out == pool.thw_out
        )
        for op in (ops.max_pool, ops.avg_pool):  # even kernels may start inside the grid
            some = op(left[:, cls:].reshape(2, *thin.thw_in, 3), kernel, thin.stride, thin.padding)
            every = op(x[:, cls:].reshape(2, *grid, 3), kernel, stride, pool.padding)
            np.testing.assert_array_equal(some, every)
        np.testing.assert_array_equal(left[:, :cls], x[:, :cls])


def test_gelu_of_x_less_that_of_minus_x_is_x():
    x = np.linspace(-8, 8, 101)
    np.testing.assert_allclose(ops.gelu(x) - ops.gelu(-x), x, atol=1e-14)
    np.testing.assert_array_equal(ops.gelu(np.array([-50.0, 0, 50.0])), [0, 0, 50])


def test_attention_to_equal_keys_is_the_mean_of_the_values():
    q, key, v = draw([(2, 5, 3, 4), (2, 1, 3, 4), (2, 6, 3, 2)])
    z = ops.attend(q, np.repeat(key, 6, axis=1), v, 0.5)
    np.testing.assert_allclose(
        z, np.broadcast_to(v.mean(axis=1, keepdims=True), z.shape), atol=1e-14
    )


def test_attention_ignores_the_order_of_keys_and_keeps_heads_and_clips_apart():
    q, k, v = draw([(2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2)])
    z, order = ops.attend(q, k, v, 0.5), np.random.default_rng(0).permutation(6)
    np.testing.assert_allclose(ops.attend(q, k[:, order], v[:, order], 0.5), z, atol=1e-14)
    np.testing.assert_allclose(
        ops.attend(q[1:, :, 2:], k[1:, :, 2:], v[1:, :, 2:], 0.5), z[1:, :, 2:], atol=1e-14
    )


def test_attention_weights_are_those_that_attend_uses():
    q, k, v = draw([(2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2)])
    p = ops.attention_weights(q, k, 0.5)
    assert p.shape == (2, 3, 5, 6)
    np.testing.assert_allclose(
        np.einsum("bhqk,bkhe->bqhe", p, v), ops.attend(q, k, v, 0.5), atol=1e-14
    )


def test_max_pool_ties_go_to_the_first_cell_and_no_gradient_is_lost():
    x = np.zeros((1, 1, 4, 4, 1))
    _, pull = vjp(lambda x: ops.max_pool(x, (1, 2, 2), (1, 2, 2), (0, 0, 0)), [x])
    dx = pull(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2, 1))[0]
    np.testing.assert_array_equal(
        dx[0, 0, ..., 0], [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    )


@pytest.mark.parametrize("geometry", WINDOWS)
def test_max_pool_conserves_the_gradient_where_values_tie(geometry):
    x = np.random.default_rng(0).integers(-1, 2, (*GRID, 3)).astype(float)
    y, pull = vjp(lambda x: ops.max_pool(x, *geometry), [x])
    dy = draw([y.shape])[0]
    np.testing.assert_allclose(pull(dy)[0].sum(axis=(1, 2, 3)), dy.sum(axis=(1, 2, 3)), atol=1e-12)


def test_max_pool_padding_never_wins():
    y = ops.max_pool(np.full((1, 1, 4, 4, 1), -5.0), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2, 1), -5.0))


def test_avg_pool_of_ones_is_one_inside_and_less_where_padding_counts():
    y = ops.avg_pool(np.ones((1, 1, 4, 4, 1)), (1, 3, 3), (1, 2, 2), (0, 1, 1))[0, 0, ..., 0]
    np.testing.assert_allclose(y, [[4 / 9, 6 / 9], [6 / 9, 1]])


def test_cross_entropy_of_uniform_logits_is_log_of_the_classes():
    for smoothing in (0.0, 0.1):
        assert ops.cross_entropy(np.full((3, 7), 1.5), LABELS, smoothing) == pytest.approx(
            math.log(7), rel=1e-14
        )


def test_cross_entropy_smoothed_mixes_the_plain_one_with_the_mean_over_classes():
    logits = draw([(3, 4)])[0]
    uniform = np.mean([ops.cross_entropy(logits, np.full(3, k)) for k in range(4)])
    mixed = 0.8 * ops.cross_entropy(logits, LABELS) + 0.2 * uniform
    assert ops.cross_entropy(logits, LABELS, 0.2) == pytest.approx(mixed, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_extreme_logits_is_finite(dtype):
    logits = np.array([[1e4, -1e4, 0]] * 3, dtype)
    loss, pull = vjp(lambda x: ops.cross_entropy(x, LABELS), [logits])
    gradient = pull(np.ones_like(loss))[0]
    assert loss == pytest.approx((1e4 + 0 + 2e4) / 3)  # labels 2, 0, 1
    np.testing.assert_allclose(
        gradient, np.array([[1, 0, -1], [0, 0, 0], [1, -1, 0]]) / 3, rtol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_of_a_class_that_is_ruled_out_is_that_of_the_others(soft, dtype, smoothing):
    logits = draw([(3, 4)])[0].astype(dtype)
    wider = np.insert(logits, 1, -np.inf, axis=1)
    labels, wider_labels = (
        (SHARES.astype(dtype), np.insert(SHARES, 1, 0, axis=1).astype(dtype))
        if soft
        else (LABELS, [3, 0, 2])
    )
    with np.errstate(all="raise"):
        loss, pull = vjp(
            lambda x: ops.cross_entropy(x, np.asarray(wider_labels), smoothing), [wider]
        )
        gradient = pull(np.ones_like(loss))[0]
    if smoothing:  # which asks for a share of every class
        assert loss == np.inf and np.isfinite(gradient).all() and (gradient[:, 1] < 0).all()
        return
    expected, pull_expected = vjp(lambda x: ops.cross_entropy(x, labels), [logits])
    assert loss.dtype == dtype and loss == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(
        gradient,
        np.insert(pull_expected(np.ones_like(loss))[0], 1, 0, axis=1),
        rtol=1e-5,
        atol=1e-8,
    )


def test_cross_entropy_of_a_true_class_that_is_ruled_out_is_infinite_and_of_no_clips_is_refused():
    assert ops.cross_entropy(np.array([[-np.inf, 0, 1], [0, 0, 0]]), np.array([0, 1])) == np.inf
    for labels in (np.zeros(0, int), np.zeros((0, 3))):
        with pytest.raises(
            ValueError,
            match=(
                r"^a loss is the mean over at least one clip; came none, logits \(0, 3\): pass "
                r"clips$"
            ),
        ):
            ops.cross_entropy(np.zeros((0, 3)), labels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_one_hot_targets_is_that_of_the_labels(dtype):
    logits = draw([(3, 4)])[0].astype(dtype)
    results = []
    for labels in (LABELS, np.eye(4, dtype=dtype)[LABELS]):
        loss, pull = vjp(lambda x, labels=labels: ops.cross_entropy(x, labels, 0.1), [logits])
        results.append([loss, pull(np.ones_like(loss))[0]])
    for a, b in zip(*results):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_array_equal(a, b)


def test_cross_entropy_of_a_mixed_clip_is_the_mixture_of_both_classes():
    logits, others = draw([(3, 4)])[0], np.array([1, 1, 3])
    shares = 0.7 * np.eye(4)[LABELS] + 0.3 * np.eye(4)[others]
    expected = 0.7 * ops.cross_entropy(logits, LABELS) + 0.3 * ops.cross_entropy(logits, others)
    assert ops.cross_entropy(logits, shares) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_soft_targets_is_pytorchs(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, shares = 5 * rng.standard_normal((6, 7)), rng.dirichlet(np.ones(7), 6)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(shares), label_smoothing=smoothing
    )
    expected.backward()
    loss, pull = vjp(lambda x: ops.cross_entropy(x, shares, smoothing), [logits])
    assert float(loss) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(
        pull(np.ones_like(loss))[0], theirs.grad.numpy(), rtol=1e-11, atol=1e-15
    )


@pytest.mark.parametrize(
    "targets, words",
    [
        (np.eye(4)[:3] * 2, "shares of 4 classes.*a sum 1 away from 1"),
        (np.array([[1.5, -0.5, 0, 0]] * 3), "from -0.5 on"),
        (np.full((3, 4), np.nan), "nan"),
        (np.eye(4, dtype="float32")[:3], r"float32 \(3, 4\) for float64 logits"),
        (np.eye(4, dtype=int)[:3], r"one integer per clip, or soft targets.*came int64 \(3, 4\)"),
        (np.eye(5)[:3], r"\(3, 5\) for float64 logits \(3, 4\)"),
        (np.eye(4)[:1], r"\(1, 4\) for"),
    ],
    ids=[
        "sums of 2",
        "a negative share",
        "not a number",
        "another dtype",
        "integers",
        "a class too many",
        "one for all",
    ],
)
def test_soft_targets_that_are_none_are_named_in_one_line(targets, words):
    with pytest.raises(ValueError, match=words) as error:
        ops.cross_entropy(np.zeros((3, 4)), targets)
    assert "\n" not in str(error.value)


# -- relative positions ----------------------------------------------------------------------------

RELATIVE = {
    "same grid": ((2, 3, 2), (2, 3, 2), {1: 5, 2: 3, 0: 3}),
    "coarser keys": ((2, 4, 4), (1, 2, 4), {1: 7, 2: 7, 0: 3}),
    "coarser queries": ((1, 2, 2), (2, 4, 2), {1: 7, 2: 3, 0: 3}),
    "without time": ((2, 3, 2), (2, 3, 2), {1: 5, 2: 3}),
    "tables of other lengths": ((2, 3, 2), (2, 3, 2), {1: 9, 2: 2, 0: 3}),
}


@pytest.mark.parametrize("cls", [0, 1])
@pytest.mark.parametrize(("thw_q", "thw_kv", "lengths"), RELATIVE.values(), ids=RELATIVE)
def test_relative_positions_add_the_tables_rows_to_the_logits(thw_q, thw_kv, lengths, cls):
    scale, heads, d = 0.7, 2, 3
    q, k, *tables = draw([
        (2, cls + math.prod(thw_q), heads, d), (2, cls + math.prod(thw_kv), heads, d),
        *((n, d) for n in lengths.values()),
    ])  # fmt: skip
    grids = tuple((axis, thw_q, thw_kv) for axis in lengths)
    wide_q, wide_k = ops.relative_query(q, scale, grids, *tables), ops.relative_key(k, grids)
    logits = scale * np.einsum("bqhd,bkhd->bhqk", wide_q, wide_k)
    plain = scale * np.einsum("bqhd,bkhd->bhqk", q, k)
    expected = bias_loop(q, dict(zip(lengths, tables)), thw_q, thw_kv, cls)
    np.testing.assert_allclose(logits - plain, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relative_positions_keep_the_dtype_both_ways(dtype):
    q, k, table = draw([(2, 13, 2, 3), (2, 13, 2, 3), (5, 3)], dtype)
    for op, arrays in [
        (lambda q, r: ops.relative_query(q, 0.5, GRIDS, r), [q, table]),
        (lambda k: ops.relative_key(k, GRIDS), [k]),
    ]:
        value, pull = vjp(op, arrays)
        assert {value.dtype, *(g.dtype for g in pull(np.ones_like(value)))} == {np.dtype(dtype)}


def test_relative_positions_gradient_is_the_slope_of_the_loop():
    """The bias is linear in the table R: adding R' moves <dy, bias(R)> by <gradient, R'>."""
    thw_q, thw_kv = (2, 4, 2), (2, 2, 2)
    q, k, table, other = draw([(2, 17, 2, 3), (2, 9, 2, 3), (7, 3), (7, 3)])
    grids = ((1, thw_q, thw_kv),)
    wide_k = ops.relative_key(k, grids)
    wide_q, pull = vjp(lambda q, r: ops.relative_query(q, 1.0, grids, r), [q, table])
    d_logits = draw([(2, 2, 17, 9)])[0]
    gradient = pull(np.einsum("bhqk,bkhd->bqhd", d_logits, wide_k))[1]
    moved = (d_logits * bias_loop(q, {1: other}, thw_q, thw_kv, 1)).sum()
    assert (gradient * other).sum() == pytest.approx(moved, rel=1e-12)
