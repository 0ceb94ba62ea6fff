"""Exercises of notebook 06, backward passes of one's own: a whole block, and the whole model."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="call-arg, var-annotated"

from __future__ import annotations

from .. import ops
from ..model.forward import forward
from ..model.plan import plan
from .backwards import but, calling, pulled, with_dy
from .chapter_01 import add_class_and_positions, cube_embed
from .chapter_04 import pooled_skip
from .chapter_04b import attention_layer
from .chapter_05c import BLOCK, FORWARD, block
from .chapter_06a import layer_norm_backward
from .chapter_06f import pooled_skip_backward
from .chapter_06g import (
    attention_layer_backward,
    mlp_block_backward,
    norm_left_out,
    widening_mlp_backward,
)
from .chapter_06h import add_class_and_positions_backward, cube_embed_backward, head_backward
from .checker import SPECIFICATION, Exercise


def block_backward(params, x, thw, heads, stride_q, stride_kv, dy):
    """The gradients of a whole transformer block, exercise 05.block.

    params, x, thw, heads, stride_q, stride_kv: as block takes them   dy: (B, 1 + t h w, E)
    ->   dparams, dx
    dparams is a dictionary like params: "norm1", "attn", "norm2", "mlp" and, where the block
    widens, "proj".
    Hint: the MLP's half needs its own input, so first go forward through attention and skip, with
    your attention_layer and pooled_skip. Then use your mlp_block_backward or widening_mlp_backward,
    attention_layer_backward, layer_norm_backward and pooled_skip_backward.
    """
    norm1, norm2 = params["norm1"], params["norm2"]
    fc1, fc2 = params["mlp"]["fc1"], params["mlp"]["fc2"]
    sizes = thw, heads, stride_q, stride_kv
    normed = ops.layer_norm(x, norm1["g"], norm1["b"])
    middle = pooled_skip(x, thw, stride_q) + attention_layer(params["attn"], normed, *sizes)

    half = middle, norm2["g"], norm2["b"], fc1["w"], fc1["b"], fc2["w"], fc2["b"]
    if "proj" in params:
        proj = params["proj"]["w"], params["proj"]["b"]
        dmiddle, dg, db, dw1, db1, dw2, db2, *dproj = widening_mlp_backward(*half, *proj, dy)
        dparams = {"proj": dict(zip("wb", dproj))}
    else:
        dmiddle, dg, db, dw1, db1, dw2, db2 = mlp_block_backward(*half, dy)
        dparams = {}
    dparams["norm2"] = {"g": dg, "b": db}
    dparams["mlp"] = {"fc1": {"w": dw1, "b": db1}, "fc2": {"w": dw2, "b": db2}}

    dparams["attn"], dnormed = attention_layer_backward(params["attn"], normed, *sizes, dmiddle)
    dx, dg, db = layer_norm_backward(x, norm1["g"], dnormed, 1e-6)
    dparams["norm1"] = {"g": dg, "b": db}
    return dparams, dx + pooled_skip_backward(x, thw, stride_q, dmiddle)


def backward(params, clip, config, dy):
    """The gradients of the whole model, exercise 05.forward, by its parameters.

    params, clip, config: as forward takes them   dy: (B, K), by the scores   ->   dparams
    dparams is a dictionary like params: "patch_embed", "cls_token", "pos_embed_class",
    "pos_embed_spatial", "pos_embed_temporal", a list "blocks", "norm" and "head".
    Hint: a block's backward needs the input of the block, so go forward first and keep the inputs.
    Use your cube_embed, add_class_and_positions and block, then head_backward, block_backward,
    add_class_and_positions_backward and cube_embed_backward.
    """
    sizes, cube = plan(config), params["patch_embed"]
    pixels = clip, cube["w"], cube["b"], sizes.embed.stride, sizes.embed.padding
    names = "cls_token", "pos_embed_class", "pos_embed_spatial", "pos_embed_temporal"
    added = [params[name] for name in names]
    tokens = cube_embed(*pixels)
    x, steps = add_class_and_positions(tokens, *added), []
    for s, block_params in zip(sizes.blocks, params["blocks"]):
        steps.append((block_params, x, s.thw, s.heads, s.stride_q, s.stride_kv))
        x = block(*steps[-1])

    dparams, dx = head_backward(params, x, dy)
    dblocks = []
    for step in reversed(steps):
        dblock, dx = block_backward(*step, dx)
        dblocks.insert(0, dblock)
    dtokens, *dadded = add_class_and_positions_backward(tokens, *added, dx)
    dw, db = cube_embed_backward(*pixels, dtokens)
    dembed = {"patch_embed": {"w": dw, "b": db}, **dict(zip(names, dadded))}
    return {**dembed, "blocks": dblocks, **dparams}


# -- a block ---------------------------------------------------------------------------------------


def _nothing(name):
    """A block's gradients, to which one path brings nothing; `name` is its backward."""
    right = block_backward.__globals__[name]

    def silent(*args):
        found = right(*args)
        return (found[0], 0 * found[1]) if isinstance(found, tuple) else 0 * found

    return calling(block_backward, **{name: silent})


def _attention_of_x(params, x, *rest):
    """The layer's backward is given x where its forward was given the normed x."""

    def layer(attn, normed, *args):
        return attention_layer_backward(attn, x, *args)

    return calling(block_backward, attention_layer_backward=layer)(params, x, *rest)


BLOCK_BACKWARD = Exercise(
    block_backward,
    pulled(BLOCK.reference, (0, 1)),
    with_dy(BLOCK),
    (
        ("the skip's gradient is missing in dx: x is used twice, and both gradients are added",
         _nothing("pooled_skip_backward")),
        ("only the skip's gradient is in dx: that of attention comes on top of it",
         _nothing("attention_layer_backward")),
        ("the first norm is left out on the way back",
         calling(block_backward, layer_norm_backward=norm_left_out)),
        ("the MLP's half is given attention's result alone: it was given the sum with the skip",
         calling(block_backward, pooled_skip=lambda *args: 0 * pooled_skip(*args))),
        ("the MLP's half is given the skip alone: it was given the sum with attention's result",
         calling(block_backward, attention_layer=lambda *args: 0 * attention_layer(*args))),
        ("attention's backward is given x: attention was given the normed x", _attention_of_x),
        ("the gradients of the two norms are exchanged",
         but(block_backward, 0, lambda dparams, *args: (
             {**dparams, "norm1": dparams["norm2"], "norm2": dparams["norm1"]}))),
    ),
    returns=("dparams", "dx"),
    level=SPECIFICATION,
)  # fmt: skip

# -- the model -------------------------------------------------------------------------------------


def _reference(params, clip, config, dy):
    return pulled(lambda params: forward(params, clip, config), (0,))(params, dy)


def _reversed(dparams, *args):
    return {**dparams, "blocks": dparams["blocks"][::-1]}


def _stopped(block_params, x, *rest):
    dblock, dx = block_backward(block_params, x, *rest)
    return dblock, 0 * dx


def _same_start(params, clip, config, dy):
    """Every block is given the head's gradient by its tokens, not what the next block gives."""
    last = []

    def each(*args):
        *step, dx = args
        last.append(dx if not last else last[0])
        return block_backward(*step, last[-1])

    return calling(backward, block_backward=each)(params, clip, config, dy)


def _one(change):
    return lambda *args: change(backward(*args), *args)


BACKWARD = Exercise(
    backward,
    _reference,
    with_dy(FORWARD),
    (
        ("the blocks' gradients are in the order in which they were found: the first block first",
         _one(_reversed)),
        ("the gradient stops at the last block: what arrives at its tokens goes on",
         calling(backward, block_backward=_stopped)),
        ("every block is given what came to the last one: pass on what the next block gives",
         _same_start),
        ("the class token's position has no gradient: it was added to the class token",
         _one(lambda d, *args: {**d, "pos_embed_class": 0 * d["pos_embed_class"]})),
        ("the cubes' gradient is missing",
         _one(lambda d, *args: {name: part for name, part in d.items() if name != "patch_embed"})),
        ("the positions in space and in time are exchanged",
         _one(lambda d, *args: {**d, "pos_embed_spatial": d["pos_embed_temporal"],
                                "pos_embed_temporal": d["pos_embed_spatial"]})),
    ),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (BLOCK_BACKWARD, BACKWARD)
