"""Exercises of notebook 06, backward passes of one's own: the head and the embedding."""

from __future__ import annotations

import numpy as np

from .. import ops
from .backwards import but, calling, pulled, with_dy
from .chapter_01 import ADD_CLASS_AND_POSITIONS, CUBE_EMBED
from .chapter_05c import HEAD
from .chapter_06a import layer_norm_backward, linear_backward
from .chapter_06g import norm_left_out
from .checker import SPECIFICATION, Exercise


def head_backward(params, x, dy):
    """The gradients of exercise 05.head, the norm and linear layer of the class token.

    params: {"norm": {"g", "b"}, "head": {"w": (D, K), "b": (K,)}}   x: (B, 1 + n, D)   dy: (B, K)
    ->   dparams, dx
    dparams is a dictionary with "norm" and "head", whatever else params holds. dx has all tokens.
    Hint: your linear_backward and layer_norm_backward; eps is 1e-6. ops.layer_norm is given. What
    is the gradient by a token that the scores were not made of?
    """
    norm, linear = params["norm"], params["head"]
    token = ops.layer_norm(x[:, 0], norm["g"], norm["b"])
    dtoken, dw, db = linear_backward(token, linear["w"], dy)
    dfirst, dg, dshift = layer_norm_backward(x[:, 0], norm["g"], dtoken, 1e-6)
    dx = np.zeros_like(x)
    dx[:, 0] = dfirst
    return {"norm": {"g": dg, "b": dshift}, "head": {"w": dw, "b": db}}, dx


def cube_embed_backward(clip, weight, bias, stride, padding, dy):
    """The gradients of exercise 01.cube_embed by its weights. The clip is not learned.

    clip: (B, T, H, W, C)   weight: (kt, kh, kw, C, D)   bias: (D,)   stride, padding: three numbers
    dy: (B, t h w, D)   ->   dweight, dbias
    Each token is its cube of pixels times the weights, plus the bias.
    Hint: it is a linear layer whose rows are cubes. Loop over the tokens;
    np.tensordot(cubes, d, (0, 0)) sums over the clips.
    """
    kernel, (pt, ph, pw) = weight.shape[:3], padding
    clip = np.pad(clip, ((0, 0), (pt, pt), (ph, ph), (pw, pw), (0, 0)))
    grid = ((n - k) // s + 1 for n, k, s in zip(clip.shape[1:4], kernel, stride))
    dweight = np.zeros_like(weight)
    for token, place in enumerate(np.ndindex(*grid)):
        starts = np.multiply(place, stride)
        frames, rows, columns = (slice(at, at + n) for at, n in zip(starts, kernel))
        dweight += np.tensordot(clip[:, frames, rows, columns], dy[:, token], (0, 0))
    return dweight, dy.sum(axis=(0, 1))


def add_class_and_positions_backward(x, cls, pos_class, pos_spatial, pos_temporal, dy):
    """The gradients of exercise 01.add_class_and_positions by all that it adds.

    x: (B, t h w, D), frame by frame   cls, pos_class: (D,)   pos_spatial: (h w, D)
    pos_temporal: (t, D)   dy: (B, 1 + t h w, D)
    ->   dx, dcls, dpos_class, dpos_spatial, dpos_temporal, of the shapes of what they belong to
    Hint: to repeat an array on the way forward is to sum its gradient on the way back. Which tokens
    was each position added to?
    """
    dclass, dx = dy[:, 0].sum(axis=0), dy[:, 1:]
    dpositions = dx.reshape(len(x), len(pos_temporal), len(pos_spatial), -1)  # (B, t, h w, D)
    return dx, dclass, dclass, dpositions.sum(axis=(0, 1)), dpositions.sum(axis=(0, 2))


# -- head ------------------------------------------------------------------------------------------


def _to_all_tokens(dx, params, x, dy):
    return np.zeros_like(x) + dx[:, :1] / x.shape[1]


HEAD_BACKWARD = Exercise(
    head_backward,
    pulled(HEAD.reference, (0, 1)),
    with_dy(HEAD),
    (
        ("dx has the class token alone: it is as long as x, and zero at the other tokens",
         but(head_backward, 1, lambda dx, *args: dx[:, 0])),
        ("every token has a gradient, as for a mean: the scores were made of the class token",
         but(head_backward, 1, _to_all_tokens)),
        ("the gradient is put at the last token: the class token is the first",
         but(head_backward, 1, lambda dx, *args: dx[:, ::-1])),
        ("the norm is left out on the way back",
         calling(head_backward, layer_norm_backward=norm_left_out)),
        ("the linear layer's gradient is made of x: the layer was given the normed token",
         but(head_backward, 0, lambda dparams, params, x, dy: {
             **dparams, "head": {**dparams["head"], "w": x[:, 0].T @ dy}})),
    ),
    returns=("dparams", "dx"),
)  # fmt: skip

# -- cubes -----------------------------------------------------------------------------------------


def _given(change):
    """The gradient by the weights, of other clips, strides or cotangents."""

    def wrong(clip, weight, bias, stride, padding, dy):
        return cube_embed_backward(*change(clip, weight, bias, stride, padding, dy))

    return wrong


def _unpadded(clip, weight, bias, stride, padding, dy):
    wide = [(0, 0), *((p, p) for p in padding), (0, 0)]
    return np.pad(clip, wide, mode="edge"), weight, bias, stride, (0, 0, 0), dy


CUBE_EMBED_BACKWARD = Exercise(
    cube_embed_backward,
    pulled(CUBE_EMBED.reference, (1, 2)),
    with_dy(CUBE_EMBED),
    (
        ("the padding repeats the edge: it is zeros", _given(_unpadded)),
        ("the tokens are listed width first: they come frame by frame and row by row",
         _given(lambda clip, weight, bias, stride, padding, dy: (
             clip.swapaxes(1, 3), weight, bias, stride, padding, dy))),
        ("dweight is mirrored: its first entry met the cube's first pixel",
         but(cube_embed_backward, 0, lambda dweight, *args: dweight[::-1, ::-1, ::-1])),
        ("dweight is a sum over all tokens; yours is their mean",
         but(cube_embed_backward, 0, lambda dweight, *args: dweight / args[-1][..., 0].size)),
        ("dbias is a sum over all tokens; yours is their mean",
         but(cube_embed_backward, 1, lambda dbias, *args: dbias / args[-1][..., 0].size)),
        ("dbias has one number per channel: sum over clips and tokens",
         but(cube_embed_backward, 1, lambda dbias, *args: args[-1].sum(axis=0))),
        ("dbias is a sum over the pixels too: the bias is added once per cube",
         but(cube_embed_backward, 1, lambda dbias, clip, weight, *rest: (
             dbias * weight[..., 0].size))),
    ),
    returns=("dweight", "dbias"),
)  # fmt: skip

# -- class token and positions ---------------------------------------------------------------------


def _grid(pos_spatial, pos_temporal, dy):
    return dy[:, 1:].reshape(len(dy), len(pos_temporal), len(pos_spatial), -1)


def _frames_innermost(x, cls, pos_class, pos_spatial, pos_temporal, dy):
    right = add_class_and_positions_backward(x, cls, pos_class, pos_spatial, pos_temporal, dy)
    grid = dy[:, 1:].reshape(len(dy), len(pos_spatial), len(pos_temporal), -1)
    return *right[:3], grid.sum(axis=(0, 2)), grid.sum(axis=(0, 1))


def _positions_but(place, change):
    """One gradient that is `change` of what arrives at the grid of tokens, (B, t, h w, D)."""
    return but(add_class_and_positions_backward, place, lambda _, *args: change(_grid(*args[3:])))


ADD_CLASS_AND_POSITIONS_BACKWARD = Exercise(
    add_class_and_positions_backward,
    pulled(ADD_CLASS_AND_POSITIONS.reference, range(5)),
    with_dy(ADD_CLASS_AND_POSITIONS),
    (
        ("the tokens run through a frame first: (t, h w), not (h w, t)", _frames_innermost),
        ("dcls is summed over the clips: all of them got the same class token",
         but(add_class_and_positions_backward, 1, lambda dcls, *args: args[-1][:, 0])),
        ("dcls is the sum over the clips; yours is their mean",
         but(add_class_and_positions_backward, 1, lambda dcls, x, *args: dcls / len(x))),
        ("dcls is taken at every token: the class token is the first",
         but(add_class_and_positions_backward, 1, lambda dcls, *args: args[-1].sum(axis=(0, 1)))),
        ("a position in space was added in every frame of every clip: sum over the frames too",
         _positions_but(3, lambda grid: grid[:, 0].sum(axis=0))),
        ("dpos_spatial is a sum; yours is a mean over the frames",
         _positions_but(3, lambda grid: grid.mean(axis=1).sum(axis=0))),
        ("a position in time was added to every cell of its frame: sum over the cells too",
         _positions_but(4, lambda grid: grid[:, :, 0].sum(axis=0))),
        ("dpos_temporal is a sum; yours is a mean over the cells",
         _positions_but(4, lambda grid: grid.mean(axis=2).sum(axis=0))),
        ("dx has no class token: dy[:, 1:]",
         but(add_class_and_positions_backward, 0, lambda dx, *args: args[-1])),
    ),
    returns=("dx", "dcls", "dpos_class", "dpos_spatial", "dpos_temporal"),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (CUBE_EMBED_BACKWARD, ADD_CLASS_AND_POSITIONS_BACKWARD, HEAD_BACKWARD)
