"""Strided-batched products against NumPy: any shapes and strides, as few calls as there can be, and
nothing copied.
"""

from unittest import mock

import device_double
import gcc_tools
import numpy as np
import pytest

from mvit_np.backend.arrays import device_tools
from mvit_np.backend.cuda.gemm import strided_batches
from mvit_np.backend.matmul import matmul
from mvit_np.backend.precision import use_precision

pytestmark = pytest.mark.skipif(gcc_tools.GCC is None, reason="the double has no tools without gcc")

device_double.install()

TOLERANCE = {"float64": 1e-13, "float32": 1e-5}


def there(host):
    """A device array with the same strides: the view as it is, of memory on the device."""
    return device_double._new(host)


def drawn(rng, shape, dtype="float64"):
    if dtype == "uint16":
        return (rng.standard_normal(shape).astype("float32").view("uint32") >> 16).astype("uint16")
    return rng.standard_normal(shape).astype(dtype)


def numbers(x):
    return (x.astype("uint32") << 16).view("float32") if x.dtype == "uint16" else x


@pytest.fixture
def calls():
    """The calls of `gemm` since the test began, and no array may be copied."""
    made, tools = [], device_tools(there(np.ones(1)))

    def gemm(*args, **given):
        made.append(args)
        return type(tools).gemm(tools, *args, **given)

    def refuse(self):
        raise AssertionError(f"copied {self.shape} with strides {self.strides}")

    with (
        mock.patch.object(tools, "gemm", gemm),
        mock.patch.object(device_double.DeviceArray, "copy", refuse),
    ):
        yield made


def agree(a, b, out=None, add=False):
    """The product on the device against NumPy's, written where `out` lies."""
    expected = numbers(a) @ numbers(b) + (out if add else 0)
    got = matmul(there(a), there(b), out=None if out is None else there(out), add=add).get()
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(
        got, expected, rtol=0, atol=TOLERANCE[str(got.dtype)] * (a.shape[-1] + 1) * 10
    )


# -- anything --------------------------------------------------------------------------------------


def laid_out(rng, leading, rows, columns, dtype, for_result=False):
    """An array of that shape, lying in memory in one of many ways."""
    kinds = ["plain", "slice", "heads first"] + (
        [] if for_result else ["swapped", "swapped slice", "every other", "backwards"]
    )
    kind = kinds[rng.integers(len(kinds))]
    if kind == "swapped":
        return drawn(rng, (*leading, columns, rows), dtype).swapaxes(-1, -2)
    if kind == "slice":
        return drawn(rng, (*leading, rows + 2, columns + 5), dtype)[
            ..., 1 : rows + 1, 3 : columns + 3
        ]
    if kind == "swapped slice":
        return drawn(rng, (*leading, columns + 2, rows + 5), dtype)[
            ..., 1 : columns + 1, 3 : rows + 3
        ].swapaxes(-1, -2)
    if kind == "every other":
        return drawn(rng, (*leading, 2 * rows, 3 * columns), dtype)[..., ::2, ::3]
    if kind == "backwards":
        return drawn(rng, (*leading, rows, columns), dtype)[..., ::-1, ::-1]
    if kind == "heads first" and leading:
        return drawn(rng, (*leading[:-1], rows, leading[-1], columns), dtype).swapaxes(-2, -3)
    return drawn(rng, (*leading, rows, columns), dtype)


def factor(rng, leading, rows, columns, dtype):
    """The same, with some of the leading axes repeated: left away, of length 1, or of no stride."""
    own = [1 if rng.random() < 0.2 else n for n in leading]
    x = laid_out(
        rng, own[rng.integers(len(own) + 1) if rng.random() < 0.2 else 0 :], rows, columns, dtype
    )
    return np.broadcast_to(x, (*leading, rows, columns)) if rng.random() < 0.2 else x


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16"])
@pytest.mark.parametrize("seed", range(150))
def test_a_product_of_whatever_lies_anyhow_is_numpys(seed, dtype):
    rng = np.random.default_rng(seed)
    leading = tuple(rng.choice([1, 2, 3, 4], rng.integers(4)).tolist())
    i, j, k = rng.choice([1, 1, 2, 3, 5, 8], 3).tolist()
    a, b = factor(rng, leading, i, j, dtype), factor(rng, leading, j, k, dtype)
    agree(a, b)
    out = laid_out(rng, leading, i, k, "float32" if dtype == "uint16" else dtype, for_result=True)
    for add in (False, True):
        agree(np.broadcast_to(a, (*leading, i, j)), b, out, add)


def test_only_the_view_is_written(rng):
    whole = np.zeros((2, 5, 9))
    matmul(
        there(rng.standard_normal((2, 3, 4))),
        there(rng.standard_normal((2, 4, 5))),
        out=there(whole[:, 1:4, 2:7]),
    )
    assert np.count_nonzero(whole[:, 1:4, 2:7]) == 30 and np.count_nonzero(whole) == 30


@pytest.mark.parametrize(
    "i, j, k, leading",
    [(0, 3, 2, ()), (3, 2, 0, (2,)), (3, 2, 4, (0,)), (3, 0, 2, ()), (2, 0, 3, (4,))],
)
def test_empty_factors(i, j, k, leading, rng):
    a, b = rng.standard_normal((*leading, i, j)), rng.standard_normal((*leading, j, k))
    agree(a, b)
    agree(a, b, out=rng.standard_normal((*leading, i, k)), add=True)


# -- as few calls as there can be, and no copies ---------------------------------------------------


def test_a_product_of_matrices_is_one_call(rng, calls):
    x, w, dy = drawn(rng, (50, 6)), drawn(rng, (6, 12)), drawn(rng, (50, 4))
    agree(x, w)
    agree(x, w[:, 3:7])  # a part of the weights that are stored side by side
    agree(dy, w[:, 3:7].T)
    agree(x.T, dy)
    agree(x[:, 1:4].T, dy, out=drawn(rng, (6, 12))[1:4, 3:7])
    assert len(calls) == 5 and all(count == 1 for *_, count in calls)


@pytest.mark.parametrize(
    "shape", [(3, 7, 1, 4), (1, 7, 3, 4), (1, 7, 1, 4), (3, 1, 2, 4), (1, 1, 1, 1)]
)
def test_heads_are_one_call_where_they_lie_evenly(shape, rng, calls):
    """Where there is one head, or one clip, or one token: (B, N, h, d) as (B, h, N, d)."""
    q, k = (drawn(rng, shape).swapaxes(1, 2) for _ in range(2))
    agree(q, k.swapaxes(-1, -2))
    assert len(calls) == 1 and calls[0][-1] == shape[0] * shape[2]


@pytest.mark.parametrize("clips, heads", [(2, 5), (5, 2), (3, 3)])
def test_heads_are_else_as_many_calls_as_the_shorter_axis_is_long(clips, heads, rng, calls):
    q, k = (drawn(rng, (clips, n, heads, 4)).swapaxes(1, 2) for n in (7, 6))
    agree(q, k.swapaxes(-1, -2))  # scores
    z = drawn(rng, (clips, 7, heads, 4)).swapaxes(1, 2)
    agree(drawn(rng, (clips, heads, 7, 6)), k, out=z)  # what is attended to
    agree(drawn(rng, (clips, heads, 7, 6)).swapaxes(-1, -2), q)  # a gradient of keys
    assert len(calls) == 3 * min(clips, heads) and {call[-1] for call in calls} == {
        max(clips, heads)
    }


def test_leading_axes_that_lie_evenly_are_one(rng, calls):
    agree(drawn(rng, (2, 3, 4, 5, 6)), drawn(rng, (2, 3, 4, 6, 2)))
    agree(drawn(rng, (2, 3, 4, 5, 6)), drawn(rng, (6, 2)))  # a factor for all
    agree(drawn(rng, (2, 1, 5, 6)), drawn(rng, (2, 1, 6, 2)).swapaxes(0, 1).swapaxes(0, 1))
    agree(np.broadcast_to(drawn(rng, (5, 6)), (2, 3, 5, 6)), drawn(rng, (2, 3, 6, 2)))
    assert [call[-1] for call in calls] == [24, 24, 2, 6]


def test_a_factor_repeated_along_one_of_two_axes_is_a_call_for_each_of_the_shorter(rng, calls):
    agree(drawn(rng, (2, 3, 5, 6)), drawn(rng, (3, 6, 2)))
    assert [call[-1] for call in calls] == [3, 3]


def test_what_lies_in_no_order_is_copied(rng, calls):
    with pytest.raises(AssertionError, match="copied"):
        agree(drawn(rng, (4, 10))[:, ::2], drawn(rng, (5, 3)))


def test_bf16_factors_give_float32(rng, calls):
    agree(drawn(rng, (2, 5, 6), "uint16"), drawn(rng, (2, 4, 6), "uint16").swapaxes(1, 2))
    ((*_, out, _, _),) = calls
    assert out.array.dtype == "float32"


@pytest.mark.parametrize(
    "chosen, exact, tf32", [("tf32", False, True), ("tf32", True, False), ("bf16", False, False)]
)
def test_tf32_is_asked_for_where_it_is_chosen_unless_numbers_are_only_picked(
    chosen, exact, tf32, rng
):
    tools, a = device_tools(there(np.ones(1))), drawn(rng, (3, 3), "float32")
    with use_precision(chosen), mock.patch.object(tools, "gemm") as gemm:
        matmul(there(a), there(a), exact=exact)
    assert [call.kwargs["tf32"] for call in gemm.mock_calls] == [tf32]


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a, b, out",
    [
        ((2, 3), (4, 5), (2, 5)),
        ((2, 3), (3, 5), (5, 2)),
        ((3, 2, 3), (3, 5), (2, 2, 5)),
        ((2, 3), (4, 3, 5), (2, 2, 5)),
        ((2, 2, 3), (3, 5), (2, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_one_sentence(a, b, out):
    with pytest.raises(ValueError, match="shapes do not fit a product: .* by .* into") as error:
        list(strided_batches(*(there(np.ones(shape)) for shape in (a, b, out))))
    assert "\n" not in str(error.value)


def test_a_result_whose_rows_do_not_lie_in_order_is_one_sentence():
    a = there(np.ones((3, 3)))
    for out in (np.ones((3, 3)).T, np.ones((3, 6))[:, ::2]):
        with pytest.raises(ValueError, match="rows that lie in order; came strides"):
            list(strided_batches(a, a, there(out)))
