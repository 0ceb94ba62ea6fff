"""Single ops against torch.nn.functional in float64: values and the gradients of every array."""

import numpy as np
import pytest
from draws import draw, relative_error

from mvit_np import ops
from mvit_np.autodiff.tape import vjp
from mvit_np.ops.interpolation import cubic_matrix, linear_matrix
from mvit_np.ops.relative_position import relative_index

torch = pytest.importorskip("torch", reason="parity with torch needs it: pip install torch")
F = torch.nn.functional

THW = (3, 7, 6)
WINDOWS = [  # kernel, stride
    ((3, 3, 3), (1, 1, 1)),
    ((3, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (2, 4, 4)),
    ((1, 3, 3), (1, 8, 8)),
    ((1, 5, 5), (1, 2, 2)),
    ((1, 1, 1), (1, 2, 2)),
]


def compare(ours, theirs, *arrays):
    """`ours` on NumPy arrays and `theirs` on the same as tensors: value, and gradients for a random
    cotangent.
    """
    value, pull = vjp(ours, arrays)
    tensors = [torch.from_numpy(x).requires_grad_() for x in arrays]
    expected = theirs(*tensors)
    assert relative_error(value, expected.detach().numpy()) <= 1e-12

    cotangent = np.asarray(draw(0, "cotangent", value.shape))
    expected.backward(torch.from_numpy(cotangent))
    for gradient, tensor in zip(pull(cotangent), tensors):
        assert relative_error(gradient, tensor.grad.numpy()) <= 1e-12


def half(kernel):
    return tuple(k // 2 for k in kernel)


def first(x):
    """Channels before the grid: (B, T, H, W, C) -> (B, C, T, H, W)"""
    return x.movedim(-1, 1)


def last(x):
    """And back."""
    return x.movedim(1, -1)


def heads_as_batch(x):
    """(B, T, H, W, h, d) -> (B h, d, T, H, W): one filter serves all heads."""
    return x.permute(0, 4, 5, 1, 2, 3).flatten(0, 1)


def heads_back(x, batch):
    return x.unflatten(0, (batch, -1)).permute(0, 3, 4, 5, 1, 2)


@pytest.mark.parametrize(
    "kernel, stride, padding",
    [
        ((3, 7, 7), (2, 4, 4), (1, 3, 3)),
        ((1, 4, 4), (1, 4, 4), (0, 0, 0)),
        ((2, 3, 4), (1, 2, 3), (0, 1, 2)),
    ],
)
def test_cube_conv(kernel, stride, padding):
    x, w, b = draw(1, "x", (2, 4, 13, 12, 3)), draw(1, "w", (*kernel, 3, 5)), draw(1, "b", 5)
    compare(
        lambda x, w, b: ops.cube_conv(x, w, b, stride, padding),
        lambda x, w, b: last(F.conv3d(first(x), w.permute(4, 3, 0, 1, 2), b, stride, padding)),
        *(x, w, b),
    )


@pytest.mark.parametrize("kernel, stride", WINDOWS)
def test_depthwise_conv(kernel, stride):
    heads, width, padding = 2, 4, half(kernel)

    def theirs(x, w):
        y = F.conv3d(
            heads_as_batch(x), w.permute(3, 0, 1, 2)[:, None], None, stride, padding, groups=width
        )
        return heads_back(y, len(x))

    x, w = draw(2, "x", (2, *THW, heads, width)), draw(2, "w", (*kernel, width))
    compare(lambda x, w: ops.depthwise_conv(x, w, stride, padding), theirs, x, w)


@pytest.mark.parametrize("kernel, stride", WINDOWS)
def test_max_pool(kernel, stride):
    padding = half(kernel)
    compare(
        lambda x: ops.max_pool(x, kernel, stride, padding),
        lambda x: last(F.max_pool3d(first(x), kernel, stride, padding)),
        draw(3, "x", (2, *THW, 5)),
    )


@pytest.mark.parametrize("kernel, stride", WINDOWS)
def test_avg_pool(kernel, stride):
    padding = half(kernel)
    compare(
        lambda x: ops.avg_pool(x, kernel, stride, padding),
        lambda x: last(F.avg_pool3d(first(x), kernel, stride, padding)),
        draw(4, "x", (2, *THW, 5)),
    )


def test_layer_norm():
    x, g, b = 3 + draw(5, "x", (2, 7, 6)), draw(5, "g", 6), draw(5, "b", 6)
    compare(
        lambda x, g, b: ops.layer_norm(x, g, b, 1e-6),
        lambda x, g, b: F.layer_norm(x, (6,), g, b, 1e-6),
        *(x, g, b),
    )


def test_gelu():
    compare(ops.gelu, F.gelu, 3 * draw(6, "x", (5, 40)))


def test_softmax():
    compare(ops.softmax, lambda x: x.softmax(-1), 30 * draw(7, "x", (4, 9)))


def test_attend():
    q, k, v = draw(8, "q", (2, 10, 3, 4)), draw(8, "k", (2, 6, 3, 4)), draw(8, "v", (2, 6, 3, 4))

    def theirs(*qkv):
        q, k, v = (x.transpose(1, 2) for x in qkv)
        return F.scaled_dot_product_attention(q, k, v, scale=0.5).transpose(1, 2)

    compare(lambda q, k, v: ops.attend(q, k, v, 0.5), theirs, q, k, v)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
    labels = np.array([0, 6, 3, 3])
    compare(
        lambda logits: ops.cross_entropy(logits, labels, smoothing),
        lambda logits: F.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=smoothing),
        5 * draw(9, "logits", (4, 7)),
    )


def test_relative_index_is_the_released_one():
    """Where sizes are no multiples of each other, the rounding of float32 decides the row: of all
    pairs of sizes below 40, and of MViTv2-L's at 312 pixels.
    """
    below_40 = [(q + 1, k + 1) for q, k in np.ndindex(39, 39)]
    for q, k in [*below_40, (78, 10), (39, 20), (39, 10), (10, 78)]:
        distance = torch.arange(q)[:, None] * max(k / q, 1.0) - torch.arange(k)[None, :] * max(
            q / k, 1.0
        )
        distance += (k - 1) * max(q / k, 1.0)
        np.testing.assert_array_equal(
            relative_index(np, q, k), distance.long().numpy(), err_msg=f"{q} x {k}"
        )


@pytest.mark.parametrize(
    "length, new_length", [(37, 39), (17, 19), (13, 27), (27, 13), (1, 3), (5, 1), (7, 7)]
)
def test_tables_are_interpolated_as_torch_does(length, new_length):
    table = torch.from_numpy(draw(10, "table", (length, 4)))
    linear = F.interpolate(table.T[None], size=new_length, mode="linear")[0].T
    assert (
        relative_error(linear_matrix(np, length, new_length) @ table.numpy(), linear.numpy())
        <= 1e-14
    )
    # two equal columns, which stay as they are
    grid = table.T[None, :, :, None].expand(1, 4, length, 2)
    cubic = F.interpolate(grid, size=(new_length, 2), mode="bicubic")[0, :, :, 0].T
    assert (
        relative_error(cubic_matrix(np, length, new_length) @ table.numpy(), cubic.numpy()) <= 1e-14
    )
