"""The device double refuses what CuPy refuses, raises on hidden transfers, and otherwise computes
as NumPy does.
"""

import copy
import operator
import pickle

import numpy as np
import pytest
import scipy.special
from device_double import DeviceArray, HiddenTransfer, from_host, special, to_host, transfers, xp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
Y = RNG.random((3, 4), dtype=np.float32) + 0.5
INDEX = np.array([2, 0])
HOST_SCALAR = np.array(1.0, np.float32)  # a 0-d array is no scalar


@pytest.fixture
def x():
    return from_host(X)


@pytest.fixture
def i():
    return from_host(INDEX)


def store(array, key, value):
    array[key] = value


def add_in_place(array, other):
    array += other


def same(device_array, host):
    """Value, shape and dtype are NumPy's; NumPy's scalars are 0-d arrays of the device."""
    assert isinstance(device_array, DeviceArray)
    host = np.asarray(host)
    assert (device_array.dtype, device_array.shape) == (host.dtype, host.shape)
    np.testing.assert_array_equal(to_host(device_array), host)


# ----------------------------------------------------------------------------------------- refusals
TYPE_ERRORS = {
    "add": lambda x: x + X,
    "add from the left": lambda x: X + x,
    "add 0-d": lambda x: x + HOST_SCALAR,
    "compare": lambda x: x > X,
    "compare with None": lambda x: operator.eq(x, None),
    "matmul": lambda x: x @ X.T,
    "list": lambda x: x + [1.0] * 4,
    "in place": lambda x: add_in_place(x, X),
    "in place on the host": lambda x: add_in_place(X.copy(), x),
    "ufunc": lambda x: xp.maximum(x, X),
    "ufunc of a host array": lambda x: xp.exp(X),
    "NumPy's ufunc": lambda x: np.exp(x),
    "NumPy's add.at": lambda x: np.add.at(x, (0,), 1.0),
    "out on the host": lambda x: xp.exp(x, out=X.copy()),
    "dot": lambda x: xp.dot(x, X.T),
    "tensordot": lambda x: xp.tensordot(x, X, 2),
    "where branch": lambda x: xp.where(x > 0, x, X),
    "where condition": lambda x: xp.where(X > 0, x, x),
    "where on a scalar": lambda x: xp.where(True, x, x),
    "clip limit": lambda x: xp.clip(x, X, None),
    "concatenate": lambda x: xp.concatenate([x, X]),
    "stack": lambda x: xp.stack([x, X]),
    "sum of a host array": lambda x: xp.sum(X),
    "copyto": lambda x: xp.copyto(x, X),
    "full": lambda x: xp.full((2,), HOST_SCALAR),
    "asarray": lambda x: np.asarray(x),
    "store on the host": lambda x: store(X.copy(), slice(None), x),
    "special of a host array": lambda x: special.erf(X),
    "softmax of a host array": lambda x: special.softmax(X),
    "order=None": lambda x: xp.reshape(x, (4, 3), order=None),
    "sum where=": lambda x: x.sum(where=True),
    "max initial=": lambda x: xp.max(x, initial=0.0),
    "ufunc where=": lambda x: xp.exp(x, where=True),
    "clip min=": lambda x: xp.clip(x, min=0, max=1),
    "einsum out=": lambda x: xp.einsum("ij->i", x, out=xp.zeros(3)),
    "iterate 0-d": lambda x: iter(x.sum()),
    "hash": lambda x: hash(x),
    "add.at int64": lambda x: xp.add.at(
        xp.zeros(3, dtype=xp.int64), from_host(INDEX), from_host(INDEX)
    ),
}


@pytest.mark.parametrize("act", TYPE_ERRORS.values(), ids=TYPE_ERRORS)
def test_refused(act, x):
    with pytest.raises(TypeError):
        act(x)


@pytest.mark.parametrize("value", [X[:2], HOST_SCALAR, [1.0] * 4], ids=["array", "0-d", "list"])
@pytest.mark.parametrize("key", [slice(0, 2), 0, Ellipsis], ids=str)
def test_host_arrays_cannot_be_stored(key, value, x):
    with pytest.raises(ValueError, match="non-scalar"):
        x[key] = value
    with pytest.raises(ValueError, match="non-scalar"):
        x.fill(value)


HIDDEN = {
    "float": lambda x, i: float(x.sum()),
    "int": lambda x, i: int(i[0]),
    "bool": lambda x, i: bool(x[0, 0]),
    "if": lambda x, i: 1 if x[0, 0] > 0 else 0,
    "while all": lambda x, i: not (x > 0).all(),
    "complex": lambda x, i: complex(x[0, 0]),
    "index": lambda x, i: [1, 2, 3][i[0]],
    "range": lambda x, i: range(i[0]),
    "slice bound": lambda x, i: x[: i[0]],
    "shape": lambda x, i: xp.zeros(i[0]),
    "axis": lambda x, i: x.sum(axis=i[1]),
    "item": lambda x, i: x[0, 0].item(),
    "tolist": lambda x, i: x.tolist(),
    "tobytes": lambda x, i: x.tobytes(),
    "str": lambda x, i: str(x),
    "repr": lambda x, i: repr(x),
    "format": lambda x, i: f"{x.sum():.3f}",
    "print": lambda x, i: print(x),
    "in": lambda x, i: 1.0 in x,
    "pickle": lambda x, i: pickle.dumps(x),
    "NumPy index": lambda x, i: x[INDEX],
    "0-d NumPy index": lambda x, i: x[np.array(1)],
    "list index": lambda x, i: x[[0, 1]],
    "mask": lambda x, i: x[x > 0],
    "host mask": lambda x, i: x[X > 0],
    "bool index": lambda x, i: x[True],
    "store under a mask": lambda x, i: store(x, x > 0, 0.0),
    "store under a NumPy index": lambda x, i: store(x, INDEX, 0.0),
    "store a scalar under an index": lambda x, i: store(x, i, 0.0),
    "add a scalar at an index": lambda x, i: xp.add.at(x, i, 1.0),
    "take": lambda x, i: xp.take(x, INDEX, axis=0),
    "take method": lambda x, i: x.take([0, 1]),
    "take_along_axis": lambda x, i: xp.take_along_axis(x, np.zeros((3, 1), int), 1),
    "einsum": lambda x, i: xp.einsum("ij,ij->i", x, X),
    "array of a list": lambda x, i: xp.array([1.0, 2.0]),
    "array of device arrays": lambda x, i: xp.array([x, x]),
    "array of a scalar": lambda x, i: xp.asarray(1.0),
    "asarray of a host array": lambda x, i: xp.asarray(X),
    "where": lambda x, i: xp.where(x > 0),
    "nonzero": lambda x, i: xp.nonzero(x),
    "nonzero method": lambda x, i: x.nonzero(),
    "unique": lambda x, i: xp.unique(i),
    "bincount": lambda x, i: xp.bincount(i),
    "repeat": lambda x, i: xp.repeat(x, from_host(np.array([1, 2, 1])), axis=0),
    "concatenate nine": lambda x, i: xp.concatenate([x] * 9),
    "stack nine": lambda x, i: xp.stack([x] * 9),
    "sliding windows": lambda x, i: xp.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "logsumexp": lambda x, i: special.logsumexp(x, axis=1),
    "log_softmax": lambda x, i: special.log_softmax(x, axis=1),
}


@pytest.mark.parametrize("act", HIDDEN.values(), ids=HIDDEN)
def test_hidden_transfers_raise(act, x, i):
    before = copy.copy(transfers)
    with pytest.raises(HiddenTransfer):
        act(x, i)
    assert transfers.to_host == before.to_host


@pytest.mark.parametrize(
    "name", ["block", "insert", "errstate", "rsqrt", "linalg.svd", "random.choice", "lib.mixins"]
)
def test_what_is_not_listed_is_named(name):
    *path, last = name.split(".")
    space = getattr(xp, *path) if path else xp
    with pytest.raises(AttributeError, match=last):
        getattr(space, last)


@pytest.mark.parametrize(
    "key", [3, -4, from_host(np.array([0, 3]))], ids=["int", "negative", "array"]
)
def test_indices_out_of_range_raise_where_cupy_wraps_around(key, x):
    with pytest.raises(IndexError):
        x[key]


def test_duplicate_indices_in_an_assignment_raise_where_cupy_is_undefined(x):
    with pytest.raises(ValueError, match="duplicate"):
        x[from_host(np.array([1, 1]))] = x[:2]


# -------------------------------------------------------------------------------- the same as NumPy
SAME = {
    "arithmetic": lambda xp, x, y, i: (x + y) * 2 - 1 / y + x**2 // 0.3 % 0.7,
    "reflected": lambda xp, x, y, i: 2.0 - (3 * x) / (1 + 2**y),
    "unary": lambda xp, x, y, i: -abs(x) + +y,
    "bits": lambda xp, x, y, i: ((i & 1) | (i ^ 3)) + ~(i > 0),
    "compare": lambda xp, x, y, i: (x < y) & (x != y) | (x >= 1) ^ (x <= 0.5),
    "matmul": lambda xp, x, y, i: x @ y.T,
    "vector product": lambda xp, x, y, i: x[0] @ y[0],
    "dot": lambda xp, x, y, i: xp.dot(x, y.T),
    "tensordot": lambda xp, x, y, i: xp.tensordot(x, y, axes=((0,), (0,))),
    "einsum": lambda xp, x, y, i: xp.einsum("ij,ij,->i", x, y, 2.0),
    "exp2": lambda xp, x, y, i: xp.exp2(x),
    "log": lambda xp, x, y, i: xp.log(xp.maximum(y, 1)),
    "functions": lambda xp, x, y, i: xp.tanh(xp.sqrt(xp.square(x)) + xp.sign(x) * xp.floor(y)),
    "logic": lambda xp, x, y, i: xp.logical_or(xp.isfinite(x), xp.logical_not(xp.isnan(y))),
    "dtype keyword": lambda xp, x, y, i: xp.add(x, y, dtype=xp.float64),
    "clip": lambda xp, x, y, i: xp.clip(x, -1, None) + x.clip(min=0.0, max=0.5),
    "clip integers": lambda xp, x, y, i: xp.clip(i, 0, 1),
    "where": lambda xp, x, y, i: xp.where(x > 0, x, 0.0) + xp.where(x > y, y, x),
    "sum": lambda xp, x, y, i: x.sum(),
    "sum keepdims": lambda xp, x, y, i: (
        xp.sum(x, -1, keepdims=True) + x.sum(axis=(0, 1), dtype=np.float64)
    ),
    "integer sum": lambda xp, x, y, i: (i > 0).sum() + i.astype(xp.int32).sum(),
    "mean var std": lambda xp, x, y, i: x.mean(0) + xp.var(x, axis=0, ddof=1) + x.std(axis=0),
    "max min prod": lambda xp, x, y, i: x.max(1) * xp.amin(x, axis=1) + y.prod(axis=1),
    "any all": lambda xp, x, y, i: (x > 0).any(0) & xp.all(y > 0, axis=0),
    "argmax": lambda xp, x, y, i: x.argmax(-1) + xp.argmin(x, axis=1),
    "argsort": lambda xp, x, y, i: xp.argsort(-x, axis=-1)[:, :2],
    "cumsum": lambda xp, x, y, i: xp.cumsum(x, axis=1),
    "norm": lambda xp, x, y, i: xp.linalg.norm(x),
    "allclose": lambda xp, x, y, i: xp.allclose(x, y),
    "reshape": lambda xp, x, y, i: (
        xp.reshape(x.reshape(2, -1), (4, 3)) + x.reshape((4, 3)) + x.reshape([4, 3])
    ),
    "transpose": lambda xp, x, y, i: (
        x.transpose(1, 0) + x.T + xp.transpose(x, (1, 0)) + xp.moveaxis(x, 0, 1)
    ),
    "swap": lambda xp, x, y, i: (
        x.swapaxes(0, 1)[None].squeeze(0) + xp.squeeze(xp.expand_dims(x.T, 0), axis=0)
    ),
    "broadcast": lambda xp, x, y, i: (
        xp.broadcast_arrays(x[:1], y)[0] + xp.broadcast_to(x[0], (3, 4))
    ),
    "flip roll tile": lambda xp, x, y, i: (
        xp.flip(x, axis=1) + xp.roll(x, 1, axis=0) + xp.tile(x[:1], (3, 1))
    ),
    "repeat": lambda xp, x, y, i: xp.repeat(x, 2, axis=0) + x.repeat([2, 2, 2], 0),
    "pad": lambda xp, x, y, i: xp.pad(x, ((1, 0), (0, 2)), constant_values=-np.inf),
    "split": lambda xp, x, y, i: xp.split(x, [1, 3], axis=1)[1],
    "concatenate": lambda xp, x, y, i: xp.concatenate([x, y], axis=1),
    "stack": lambda xp, x, y, i: xp.stack((x, y), axis=-1),
    "take": lambda xp, x, y, i: xp.take(x, i, axis=0) + x.take(1, 0),
    "take_along_axis": lambda xp, x, y, i: xp.take_along_axis(
        x, xp.argmax(x, axis=1)[:, None], axis=1
    ),
    "basic index": lambda xp, x, y, i: x[1:, ::2][..., None] * x[-1, 0],
    "array index": lambda xp, x, y, i: x[i] + x[i, :] * x[:, i][0, 0],
    "two array indices": lambda xp, x, y, i: x[i, i],
    "NumPy integer index": lambda xp, x, y, i: x[np.int64(1)],
    "0-d array index": lambda xp, x, y, i: x[i[0]],
    "rows": lambda xp, x, y, i: sum(row * k for k, row in enumerate(x)),
    "creation": lambda xp, x, y, i: (
        xp.zeros((2, 3)) + xp.ones(3) + xp.full((2, 1), 0.5) + xp.arange(3) + xp.eye(2, 3)
    ),
    "linspace": lambda xp, x, y, i: xp.linspace(0, 1, 5, dtype=xp.float32),
    "like": lambda xp, x, y, i: (
        xp.zeros_like(x) + xp.ones_like(x, dtype=xp.float64) + xp.full_like(x, 2)
    ),
    "astype": lambda xp, x, y, i: x.astype(xp.float16) + i[:1].astype(np.float16),
    "contiguous": lambda xp, x, y, i: xp.ascontiguousarray(x.T),
    "strided view": lambda xp, x, y, i: xp.lib.stride_tricks.as_strided(
        x, (3, 2, 2), (*x.strides, x.strides[1])
    ),
}


@pytest.mark.parametrize("compute", SAME.values(), ids=SAME)
def test_computes_what_numpy_does(compute):
    same(compute(xp, from_host(X), from_host(Y), from_host(INDEX)), compute(np, X, Y, INDEX))


@pytest.mark.parametrize("name", ["erf", "ndtr", "softmax"])
def test_special_functions_keep_float32(name, x):
    same(getattr(special, name)(x), getattr(scipy.special, name)(X))


DTYPES = {
    "Python float is weak": (lambda x: x * 2.0, np.float32),
    "Python int is weak": (lambda x: 1 - x, np.float32),
    "NumPy float64 is strong": (lambda x: x * np.float64(1), np.float64),
    "also from the left": (lambda x: np.float64(1) * x, np.float64),
    "also in maximum": (lambda x: xp.maximum(x, np.float64(0)), np.float64),
    "NumPy int64 too": (lambda x: x / np.int64(3), np.float64),
    "NumPy float32 is one of us": (lambda x: np.float32(2) * x, np.float32),
    "comparison with a NumPy scalar": (lambda x: np.float64(0) < x, np.bool_),
    "0-d float64 is strong": (lambda x: x * x.astype(np.float64).sum(), np.float64),
    "0-d float32 times a Python float": (lambda x: x.sum() * 2.0, np.float32),
    "in place keeps": (lambda x: x.__imul__(np.float64(2)), np.float32),
    "where with a Python float": (lambda x: xp.where(x > 0, x, 0.0), np.float32),
    "mean": (lambda x: x.mean(), np.float32),
}


@pytest.mark.parametrize(("compute", "dtype"), DTYPES.values(), ids=DTYPES)
def test_dtypes_follow_numpy_2(compute, dtype, x):
    assert compute(x).dtype == dtype
    assert xp.result_type(x, 1.0) == np.float32


# ---------------------------------------------------------------------------------- views, in place
VIEWS = {
    "slice": lambda x: x[1:, :2],
    "row": lambda x: x[0],
    "element": lambda x: x[0, 0],
    "element of a vector": lambda x: x[0][1],
    "new axis": lambda x: x[:, None],
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "split": lambda x: xp.split(x, 2, axis=1)[1],
    "row in a loop": lambda x: next(iter(x)),
    "asarray": xp.asarray,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_share_memory(view, x):
    part = view(x)
    part += 100
    assert (to_host(x) > 50).sum() == part.size


@pytest.mark.parametrize(
    "part", [lambda x, i: x[i], lambda x, i: x[i[0]], lambda x, i: x.copy(), lambda x, i: +x]
)
def test_copies_do_not(part, x, i):
    part(x, i).fill(100)
    same(x, X)


def test_reductions_are_arrays_that_can_be_changed_in_place(x):
    total = kept = x.sum()
    total += 1
    assert total is kept
    same(kept, X.sum() + 1)


def test_out_and_in_place_return_the_same_object(x):
    out = xp.empty_like(x)
    assert np.isnan(to_host(out)).all()  # whoever reads uninitialised memory should notice
    assert xp.exp(x, out=out) is out
    assert xp.sum(x, axis=0, out=out[0]).shape == (4,)
    assert xp.stack([x, x], out=xp.empty((2, 3, 4), dtype=xp.float32)).dtype == np.float32
    kept = x
    x @= from_host(np.eye(4, dtype=np.float32))  # CuPy has no in-place matmul: this rebinds
    assert x is not kept
    assert xp.asarray(x) is x
    assert xp.array(x) is not x
    assert x.astype(np.float32, copy=False) is x


def test_storing(x, i):
    host = X.copy()
    for array, index, rows in ((x, i, x[:2] * 2), (host, INDEX, host[:2] * 2)):
        array[0] = 3
        array[:, 1] = np.float64(0.5)
        array[1:, 2:] = array[0, 0]
        array[index] = rows
        array[..., -1:] = array[:, :1] + 1
    same(x, host)
    xp.copyto(x, 0.0, where=x < 1)
    same(x, np.where(host < 1, np.float32(0), host))


@pytest.mark.parametrize(
    "twice",
    [lambda i: i, lambda i: (i, slice(None)), lambda i: (i, i)],
    ids=["one", "slice", "two"],
)
def test_add_at_adds_duplicates_under_one_index_or_several(twice, x):
    duplicates, host = np.array([1, 1]), X.copy()
    values = X[:2, :1] if twice(0) != (0, 0) else X[:2, 0]
    np.add.at(host, twice(duplicates), values)
    xp.add.at(x, twice(from_host(duplicates)), from_host(values))
    same(x, host)


# ----------------------------------------------------------------------------------------- the rest
def test_attributes_live_on_the_host(x):
    names = ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides")
    assert [getattr(x, name) for name in names] == [getattr(X, name) for name in names]
    assert (len(x), xp.shape(x), xp.ndim(x), xp.size(x)) == (3, (3, 4), 2, 12)
    assert (x.flags.c_contiguous, x.T.flags.c_contiguous) == (True, False)
    assert (xp.pi, xp.float32, xp.newaxis, xp.ndarray) == (np.pi, np.float32, None, DeviceArray)
    assert not isinstance(x, np.ndarray)


def test_random_numbers_are_made_on_the_device():
    draws = [
        lambda rng: rng.random((2, 3), dtype=np.float32),
        lambda rng: rng.standard_normal(size=5),
        lambda rng: rng.integers(0, 10, size=4),
        lambda rng: rng.random(),
    ]
    device, host = xp.random.default_rng(3), np.random.default_rng(3)
    for draw in draws:
        same(draw(device), draw(host))
    with pytest.raises(AttributeError, match="permutation"):
        device.permutation(3)


def test_a_box_that_asks_to_goes_first(x):
    class Box:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "the box"

    assert x + Box() == "the box"
    with pytest.raises(TypeError):
        x += Box()


def test_only_the_explicit_doors_count_as_transfers():
    start = copy.copy(transfers)
    x, w = from_host(X), from_host(Y[0])
    for _ in range(2):  # a step of gradient descent on |x w - 1|^2
        error = x @ w - 1.0
        w -= 0.1 * (x.T @ error) / error.size
    copy.deepcopy(w)
    assert (transfers.to_device - start.to_device, transfers.to_host - start.to_host) == (2, 0)
    assert isinstance(w.get(), np.ndarray)
    assert transfers.to_host == start.to_host + 1
    before = to_host(w)
    before[...] = 0  # a copy
    assert (w.get() != 0).all()
