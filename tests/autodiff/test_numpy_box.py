"""NumPy's own functions on traced arrays: they are followed, or refused in one sentence."""

import warnings

import numpy as np
import pytest

import mvit_np as mv

ONES = np.ones((1, 6))
TABLE = np.arange(12.0).reshape(2, 6)

FOLLOWED = {
    "concatenate": lambda x: (np.concatenate([x, 2 * x, ONES], axis=0) ** 2).sum(),
    "stack": lambda x: (np.stack([x[0], 2 * x[1], x[0] * x[1]], axis=1) ** 2).sum(),
    "stack of numbers": lambda x: np.stack([x[0, 0] * x[1, 1], x.sum()]).sum(),
    "split": lambda x: sum(k * (p**2).sum() for k, p in enumerate(np.split(x, 3, axis=1))),
    "pad without a mode": lambda x: (np.pad(x, [(1, 1), (0, 2)]) ** 2).sum(),
    "pad and maximum": lambda x: np.maximum(
        np.pad(x, 1, constant_values=-np.inf)[1:3], TABLE[:, :1] / 9
    ).sum(),
    "ufuncs": lambda x: np.sqrt(np.add(np.exp(x), 1)).sum() + np.tanh(x).sum(),
    "an array in front": lambda x: (TABLE * x + np.ones((2, 6)) @ x.T @ x).sum(),
    "a NumPy number in front": lambda x: (np.float64(2) * x * x).sum(),
    "mean and var": lambda x: (
        np.var(x, axis=0) + np.mean(x, axis=-1, keepdims=True) + x.var(axis=-1, keepdims=True)
    ).sum(),
    "max": lambda x: np.max(x, axis=1).sum() + x.max(axis=0, keepdims=True).sum(),
    "tensordot": lambda x: np.tensordot(x, TABLE, 2),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x).sum(),
    "matmul": lambda x: np.matmul(x, x.T).sum(),
    "transpose": lambda x: (
        np.transpose(x.reshape(2, 3, 2), (0, 2, 1)).reshape(2, 6) * TABLE
    ).sum(),
    "transpose of axes": lambda x: (x.reshape(2, 3, 2).transpose(2, 0, 1).ravel() ** 3).sum(),
    "transpose of none": lambda x: (x.transpose() ** 2).sum(),
    "swapaxes and moveaxis": lambda x: (np.moveaxis(np.swapaxes(x, 0, 1), 0, 1) * TABLE).sum(),
    "broadcast_to, more axes": lambda x: (np.broadcast_to(x[0], (4, 1, 6)) ** 2).sum(),
    "where": lambda x: np.where(TABLE > 3, x, 2 * x).sum(),
    "repeat, tile, roll": lambda x: (np.repeat(np.tile(np.roll(x, 1, 1), (2, 1)), 2, 0) ** 2).sum(),
    "expand_dims": lambda x: (np.expand_dims(x, 1) * x).sum(),
    "parts": lambda x: (x[0] * x[1, ::-1] + x[:, None, 1:4, ...][1, 0, 2] * x[-1]).sum() + x[0, 3],
    "parts that overlap": lambda x: sum((k + 1) * (x[:, k : k + 3] ** 2).sum() for k in range(4)),
    "cells that repeat": lambda x: (x[:, [0, 0, 3]] ** 2).sum() + (x[np.array([1, 1])] ** 2).sum(),
    "cells by a mask": lambda x: (x[TABLE > 4] ** 2).sum() + x[True, 0].sum(),
    "rows, one after the other": lambda x: sum((row**2).sum() for row in x),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_numpy_s_own_functions_are_differentiated(name):
    fun, rng, h = FOLLOWED[name], np.random.default_rng(0), 1e-5
    x, direction = rng.standard_normal((2, 2, 6))
    loss, gradient = mv.value_and_grad(fun)(x)
    expected = (fun(x + h * direction) - fun(x - h * direction)) / (2 * h)
    assert loss == pytest.approx(fun(x)) and gradient.shape == x.shape
    assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-7, abs=1e-7)


def written(y, x):
    y[0] = x[0]
    return y.sum()


def added_in_place(y, x):
    y += x
    return y.sum()


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: written(np.empty((2, 6)), x),
        lambda x: written(np.empty_like(x), x),
        lambda x: written(2 * x, x),
        lambda x: added_in_place(np.zeros((2, 6)), x),
        lambda x: np.array([x[0], x[1]]).sum(),
        lambda x: np.asarray(x).sum(),
        lambda x: np.exp(x, out=np.empty((2, 6))).sum(),
    ],
)
def test_a_copy_into_another_array_is_refused_in_a_sentence(fun):
    with pytest.raises(TypeError, match="cannot be copied into another.*np.stack or np.concat"):
        mv.value_and_grad(fun)(TABLE)


@pytest.mark.parametrize(
    "fun, name",
    [
        (lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, axis=1).sum(), "np.sliding"),
        (lambda x: np.add.reduce(x, axis=0).sum(), "np.add.reduce"),
        (lambda x: np.percentile(x, 50), "np.percentile"),
    ],
)
def test_what_has_no_gradient_is_refused_by_its_name(fun, name):
    with pytest.raises(TypeError, match=f"{name}.* has no gradient here: write it with"):
        mv.value_and_grad(fun)(TABLE)


def test_plain_arrays_stay_plain():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(np.stack([TABLE, TABLE])) is np.ndarray and type(np.exp(TABLE)) is np.ndarray
