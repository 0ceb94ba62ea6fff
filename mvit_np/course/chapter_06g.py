"""Exercises of notebook 06, backward passes of one's own: the two halves of a block."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="call-arg"

from __future__ import annotations

import numpy as np

from .. import ops
from .backwards import but, calling, pulled, with_dy
from .chapter_03a import attention
from .chapter_04 import split_heads
from .chapter_04b import ATTENTION_LAYER, pool_heads
from .chapter_05a import MLP_BLOCK
from .chapter_05b import WIDENING_MLP
from .chapter_06a import layer_norm_backward, linear_backward
from .chapter_06d import mlp_backward
from .chapter_06e import attention_backward
from .chapter_06f import pool_heads_backward
from .checker import SPECIFICATION, Exercise


def attention_layer_backward(params, x, thw, heads, stride_q, stride_kv, dy):
    """The gradients of exercise 04.attention_layer: project, pool, attend, project.

    params, x, thw, heads, stride_q, stride_kv: as attention_layer takes them
    dy: (B, 1 + t h w, D')   ->   dparams, dx
    dparams is a dictionary like params: {"qkv": {"w", "b"}, "proj": {"w", "b"}} and, for each of q,
    k, v that is pooled, {"pool_q": {"w"}, "norm_q": {"g", "b"}}.
    Hint: go forward once more, and keep q^, k^, v^, then q, k, v, then z. Your forward
    attention, split_heads and pool_heads are there. Then walk back, with your linear_backward,
    attention_backward for each head, and pool_heads_backward.
    """
    strides = {"q": stride_q, "k": stride_kv, "v": stride_kv}
    hats = dict(zip("qkv", np.split(x @ params["qkv"]["w"] + params["qkv"]["b"], 3, axis=-1)))

    def pool(c):  # what pool_heads takes, for one of q, k, v
        weight, norm = params[f"pool_{c}"]["w"], params[f"norm_{c}"]
        return hats[c], thw, heads, weight, norm["g"], norm["b"], strides[c]

    q, k, v = (
        pool_heads(*pool(c)) if f"pool_{c}" in params else split_heads(hats[c], heads)
        for c in "qkv"
    )
    z = np.stack([attention(q[:, i], k[:, i], v[:, i]) for i in range(heads)], axis=2)

    dz, dw, db = linear_backward(z.reshape(*z.shape[:2], -1), params["proj"]["w"], dy)
    dparams, dz = {"proj": {"w": dw, "b": db}}, split_heads(dz, heads)  # dz: (B, h, n, d)
    each = [attention_backward(q[:, i], k[:, i], v[:, i], dz[:, i]) for i in range(heads)]
    dhats = []
    for c, of_heads in zip("qkv", zip(*each)):
        d = np.stack(of_heads, axis=1)  # (B, h, n, d), the gradient by q, k or v
        if f"pool_{c}" in params:
            d, dw, dg, db = pool_heads_backward(*pool(c), d)
            dparams |= {f"pool_{c}": {"w": dw}, f"norm_{c}": {"g": dg, "b": db}}
        else:
            d = d.swapaxes(1, 2).reshape(hats[c].shape)
        dhats.append(d)
    dx, dw, db = linear_backward(x, params["qkv"]["w"], np.concatenate(dhats, axis=-1))
    return {**dparams, "qkv": {"w": dw, "b": db}}, dx


def mlp_block_backward(x, g, b, w1, b1, w2, b2, dy):
    """The gradients of exercise 05.mlp_block: x + gelu(norm(x) W1 + b1) W2 + b2.

    x, dy: (B, N, D)   g, b: (D,)   w1: (D, H)   b1: (H,)   w2: (H, D)   b2: (D,)
    ->   dx, dg, db, dw1, db1, dw2, db2, each of the shape of what it belongs to
    Hint: x is used twice, so two gradients meet in it. Your mlp_backward and layer_norm_backward;
    eps is 1e-6. ops.layer_norm is given.
    """
    normed = ops.layer_norm(x, g, b)
    dnormed, dw1, db1, dw2, db2 = mlp_backward(normed, w1, b1, w2, b2, dy)
    dx, dg, db = layer_norm_backward(x, g, dnormed, 1e-6)
    return dy + dx, dg, db, dw1, db1, dw2, db2


def widening_mlp_backward(x, g, b, w1, b1, w2, b2, w_skip, b_skip, dy):
    """The gradients of exercise 05.widening_mlp: MLP(norm(x)) + norm(x) W_skip + b_skip.

    x: (B, N, D)   g, b: (D,)   w1: (D, H)   b1: (H,)   w2: (H, E)   b2: (E,)
    w_skip: (D, E)   b_skip: (E,)   dy: (B, N, E)
    ->   dx, dg, db, dw1, db1, dw2, db2, dw_skip, db_skip
    Hint: what is used twice here? Not x. Your mlp_backward, linear_backward and
    layer_norm_backward; eps is 1e-6. ops.layer_norm is given.
    """
    normed = ops.layer_norm(x, g, b)
    dnormed, dw1, db1, dw2, db2 = mlp_backward(normed, w1, b1, w2, b2, dy)
    dskip, dw_skip, db_skip = linear_backward(normed, w_skip, dy)
    dx, dg, db = layer_norm_backward(x, g, dnormed + dskip, 1e-6)
    return dx, dg, db, dw1, db1, dw2, db2, dw_skip, db_skip


# -- the layer of attention ------------------------------------------------------------------------


def _thirds(change):
    """The layer's gradients with other gradients by q^, k^, v^: `change` of the three."""

    def linear(x, w, dy):
        if w.shape[1] > w.shape[0]:  # the projection to queries, keys and values
            dy = np.concatenate(change(*np.split(dy, 3, axis=-1)), axis=-1)
        return linear_backward(x, w, dy)

    return calling(attention_layer_backward, linear_backward=linear)


def _last_left_out(x, w, dy):
    dx, dw, db = linear_backward(x, w, dy)
    return (dy if w.shape[1] == w.shape[0] else dx), dw, db


def _renamed(dparams, *args):
    """The gradients of keys and values, each under the other's name."""
    other = str.maketrans("kv", "vk")
    moved = {name[:-1] + name[-1].translate(other): part for name, part in dparams.items()
             if name[:-1] in ("pool_", "norm_")}  # fmt: skip
    return {**dparams, **moved}


ATTENTION_LAYER_BACKWARD = Exercise(
    attention_layer_backward,
    pulled(ATTENTION_LAYER.reference, (0, 1)),
    with_dy(ATTENTION_LAYER),
    (
        ("the thirds are joined in another order: queries, keys, values",
         _thirds(lambda dq, dk, dv: (dk, dq, dv))),
        ("only the queries' gradient goes back: keys and values are made of x too",
         _thirds(lambda dq, dk, dv: (dq, 0 * dk, 0 * dv))),
        ("the values' gradient does not go back: they are made of x too",
         _thirds(lambda dq, dk, dv: (dq, dk, 0 * dv))),
        ("the last projection is left out on the way back",
         calling(attention_layer_backward, linear_backward=_last_left_out)),
        ("reshape to (B, h, n, d) mixes heads and tokens: use split_heads",
         calling(attention_layer_backward,
                 split_heads=lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1))),
        ("the gradients of the filters of keys and values are exchanged",
         but(attention_layer_backward, 0, _renamed)),
        ("the first projection's shift is missing from the gradients",
         but(attention_layer_backward, 0, lambda dparams, *args: (
             {**dparams, "qkv": {"w": dparams["qkv"]["w"]}}))),
    ),
    returns=("dparams", "dx"),
    level=SPECIFICATION,
)  # fmt: skip

# -- the MLP's half --------------------------------------------------------------------------------


def norm_left_out(x, g, dy, eps):
    return dy, *layer_norm_backward(x, g, dy, eps)[1:]


def _unskipped(dx, x, g, b, w1, b1, w2, b2, dy):
    return dx - dy


def _skip_normed(x, g, b, w1, b1, w2, b2, dy):
    """The skip's gradient goes through the norm, as if the skip began behind it."""

    def norm(x, g, dnormed, eps):
        return layer_norm_backward(x, g, dnormed + dy, eps)

    right = calling(mlp_block_backward, layer_norm_backward=norm)
    dx, *rest = right(x, g, b, w1, b1, w2, b2, dy)
    return dx - dy, *rest


def _mlp_of_x(x, g, b, w1, b1, w2, b2, dy):
    """The MLP's backward is given x where its forward was given the normed x."""

    def mlp(normed, *args):
        return mlp_backward(x, *args)

    return calling(mlp_block_backward, mlp_backward=mlp)(x, g, b, w1, b1, w2, b2, dy)


MLP_BLOCK_BACKWARD = Exercise(
    mlp_block_backward,
    pulled(MLP_BLOCK.reference, range(7)),
    with_dy(MLP_BLOCK),
    (
        ("the skip's gradient is missing in dx: x is used twice, and both gradients are added",
         but(mlp_block_backward, 0, _unskipped)),
        ("only the skip's gradient is in dx: that of the MLP comes on top of it",
         but(mlp_block_backward, 0, lambda dx, *args: args[-1])),
        ("the skip's gradient goes through the norm: the skip starts from x itself", _skip_normed),
        ("the norm is left out on the way back",
         calling(mlp_block_backward, layer_norm_backward=norm_left_out)),
        ("mlp_backward is given x: the MLP was given the normed x", _mlp_of_x),
        ("db and db2 are exchanged: db belongs to the norm",
         lambda *args: (right := mlp_block_backward(*args)) and (
             *right[:2], right[6], *right[3:6], right[2])),
    ),
    returns=("dx", "dg", "db", "dw1", "db1", "dw2", "db2"),
    level=SPECIFICATION,
)  # fmt: skip


def _without(name):
    """The widening MLP's gradients, to which one of two paths brings nothing."""
    right = widening_mlp_backward.__globals__[name]

    def silent(*args):
        dx, *rest = right(*args)
        return (0 * dx, *rest)

    return calling(widening_mlp_backward, **{name: silent})


def _skip_past_the_norm(x, g, b, w1, b1, w2, b2, w_skip, b_skip, dy):
    half = _without("linear_backward")(x, g, b, w1, b1, w2, b2, w_skip, b_skip, dy)
    return half[0] + dy @ w_skip.T, *half[1:]


WIDENING_MLP_BACKWARD = Exercise(
    widening_mlp_backward,
    pulled(WIDENING_MLP.reference, range(9)),
    with_dy(WIDENING_MLP),
    (
        ("the skip brings nothing to x: the normed x is used twice, and both gradients are added",
         _without("linear_backward")),
        ("the MLP brings nothing to x: the normed x is used twice, and both gradients are added",
         _without("mlp_backward")),
        ("the skip's gradient goes past the norm: this skip starts from the normed x",
         _skip_past_the_norm),
        ("the norm is left out on the way back",
         calling(widening_mlp_backward, layer_norm_backward=norm_left_out)),
        ("dw_skip is made of x: the skip was given the normed x",
         but(widening_mlp_backward, 7, lambda _, x, *args: (
             linear_backward(x, args[6], args[-1])[1]))),
        ("the skip's gradients come last: dw_skip, db_skip",
         lambda *args: (right := widening_mlp_backward(*args)) and (
             *right[:3], *right[7:], *right[3:7])),
    ),
    returns=("dx", "dg", "db", "dw1", "db1", "dw2", "db2", "dw_skip", "db_skip"),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (ATTENTION_LAYER_BACKWARD, MLP_BLOCK_BACKWARD, WIDENING_MLP_BACKWARD)
