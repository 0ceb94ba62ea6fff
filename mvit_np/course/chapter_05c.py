"""Exercises of notebook 05, third part: a block, the head, and the whole model."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from .. import ops
from ..model.config import MViTConfig
from ..model.forward import evaluate, init
from ..model.layers.block import block as block_of_the_model
from ..model.layers.block import init_block
from ..model.layers.head import head as head_of_the_model
from ..model.layers.head import init_head
from ..model.plan import plan
from ..model.specs import HeadSpec
from .chapter_01 import add_class_and_positions, cube_embed
from .chapter_04 import pooled_skip
from .chapter_04b import SIZES, attention_layer, block_spec, drawn
from .chapter_05a import mlp_block
from .chapter_05b import widening_mlp
from .checker import SPECIFICATION, Exercise


def block(params, x, thw, heads, stride_q, stride_kv):
    """A transformer block: attention, then MLP, each normed before and added to a skip.

    params: {"norm1": {"g", "b"}, "attn", "norm2": {"g", "b"}, "mlp": {"fc1": {"w", "b"}, "fc2"}},
    and "proj": {"w", "b"} where the MLP widens
    x: (B, 1 + T H W, D)   thw: (T, H, W)   stride_q, stride_kv: three numbers each
    ->   (B, 1 + t h w, E)
    x = skip(x) + attention(norm1(x)), with the skip on the queries' grid; then the MLP's half.
    Hint: your attention_layer(params["attn"], ...), pooled_skip, mlp_block and widening_mlp;
    ops.layer_norm(x, g, b).
    """
    normed = ops.layer_norm(x, params["norm1"]["g"], params["norm1"]["b"])
    branch = attention_layer(params["attn"], normed, thw, heads, stride_q, stride_kv)
    x = pooled_skip(x, thw, stride_q) + branch
    norm, fc1, fc2 = params["norm2"], params["mlp"]["fc1"], params["mlp"]["fc2"]
    half = x, norm["g"], norm["b"], fc1["w"], fc1["b"], fc2["w"], fc2["b"]
    if "proj" in params:
        return widening_mlp(*half, params["proj"]["w"], params["proj"]["b"])
    return mlp_block(*half)


def head(params, x):
    """The scores of the classes, from the class token alone: norm, then a linear layer.

    params: {"norm": {"g", "b"}, "head": {"w": (D, K), "b": (K,)}}, and others
    x: (B, 1 + n, D)   ->   (B, K)
    Hint: the class token is x[:, 0]; ops.layer_norm(x, g, b).
    """
    token = ops.layer_norm(x[:, 0], params["norm"]["g"], params["norm"]["b"])
    return token @ params["head"]["w"] + params["head"]["b"]


def forward(params, clip, config):
    """The whole model: clip -> cube embedding -> blocks -> head.

    params: as mv.init(config, rng) makes them   clip: (B, T, H, W, C)   ->   (B, K)
    Hint: your cube_embed, add_class_and_positions, block and head. plan(config) has all sizes:
    embed.stride and embed.padding, and for each of its blocks thw, heads, stride_q, stride_kv.
    """
    sizes, cube = plan(config), params["patch_embed"]
    x = cube_embed(clip, cube["w"], cube["b"], sizes.embed.stride, sizes.embed.padding)
    x = add_class_and_positions(
        x, params["cls_token"], params["pos_embed_class"],
        params["pos_embed_spatial"], params["pos_embed_temporal"],
    )  # fmt: skip
    for s, block_params in zip(sizes.blocks, params["blocks"]):
        x = block(block_params, x, s.thw, s.heads, s.stride_q, s.stride_kv)
    return head(params, x)


# -- block -----------------------------------------------------------------------------------------


def _blocks(rng):
    for sizes, dim_out in zip(SIZES, (12, 6, 12)):
        params = drawn(init_block, block_spec(*sizes, 12, dim_out), rng)
        yield params, rng.standard_normal((2, 1 + prod(sizes[0]), 12)), *sizes


def _reference_block(params, x, thw, heads, stride_q, stride_kv):
    dim_out = params["mlp"]["fc2"]["b"].shape[0]
    return block_of_the_model(
        params, x, block_spec(thw, heads, stride_q, stride_kv, dim_out=dim_out)
    )


def _mlp_half(params, x):
    """The second half alone."""
    norm, fc1, fc2 = params["norm2"], params["mlp"]["fc1"], params["mlp"]["fc2"]
    half = x, norm["g"], norm["b"], fc1["w"], fc1["b"], fc2["w"], fc2["b"]
    if "proj" in params:
        return widening_mlp(*half, params["proj"]["w"], params["proj"]["b"])
    return mlp_block(*half)


def _first_half(change):
    """A block whose first half is `change` of norm, attention layer, pooled skip and x."""

    def wrong(params, x, thw, heads, *strides):
        def norm(x):
            return ops.layer_norm(x, params["norm1"]["g"], params["norm1"]["b"])

        def attend(x):
            return attention_layer(params["attn"], x, thw, heads, *strides)

        return _mlp_half(params, change(norm, attend, lambda x: pooled_skip(x, thw, strides[0]), x))

    return wrong


def _other_norm(params, *rest):
    return block({**params, "norm2": params["norm1"]}, *rest)


BLOCK = Exercise(
    block,
    _reference_block,
    _blocks,
    (
        ("the first skip is missing: x is added to what attention gives",
         _first_half(lambda norm, attend, pool, x: attend(norm(x)))),
        ("the first norm is missing",
         _first_half(lambda norm, attend, pool, x: pool(x) + attend(x))),
        ("the first skip starts from the normed x: it starts from x itself",
         _first_half(lambda norm, attend, pool, x: pool(norm(x)) + attend(norm(x)))),
        ("the norm comes after attention: it comes before",
         _first_half(lambda norm, attend, pool, x: norm(pool(x) + attend(x)))),
        ("attention is missing", _first_half(lambda norm, attend, pool, x: pool(x))),
        ("the MLP's half is missing",
         lambda params, x, thw, heads, *strides: pooled_skip(x, thw, strides[0]) + attention_layer(
             params["attn"], ops.layer_norm(x, params["norm1"]["g"], params["norm1"]["b"]),
             thw, heads, *strides)),
        ("the skip is not pooled, so it does not fit the queries' grid",
         _first_half(lambda norm, attend, pool, x: x + attend(norm(x)))),
        ("norm1 is used twice: the second half has norm2", _other_norm),
    ),
)  # fmt: skip


# -- head ------------------------------------------------------------------------------------------


def _heads(rng):
    for batch, tokens, d, classes in ((2, 5, 6, 3), (3, 4, 4, 4), (1, 9, 8, 2)):
        params = drawn(init_head, HeadSpec(d, classes, True, False, 0.0, 1e-6), rng)
        yield params, rng.standard_normal((batch, tokens, d))


def _reference_head(params, x):
    classes = params["head"]["b"].shape[0]
    return head_of_the_model(params, x, HeadSpec(x.shape[-1], classes, True, False, 0.0, 1e-6))


def _scores(params, token):
    return token @ params["head"]["w"] + params["head"]["b"]


def _norm(params, x):
    return ops.layer_norm(x, params["norm"]["g"], params["norm"]["b"])


HEAD = Exercise(
    head,
    _reference_head,
    _heads,
    (
        ("the norm is missing", lambda p, x: _scores(p, x[:, 0])),
        ("the mean of all tokens is taken: the class token alone is",
         lambda p, x: _scores(p, _norm(p, x).mean(axis=1))),
        ("the mean of all tokens is normed: the class token alone is",
         lambda p, x: _scores(p, _norm(p, x.mean(axis=1)))),
        ("the last token is taken: the class token is the first",
         lambda p, x: _scores(p, _norm(p, x[:, -1]))),
        ("every token gets scores: the class token alone does",
         lambda p, x: _scores(p, _norm(p, x))),
        ("the bias is missing", lambda p, x: _norm(p, x[:, 0]) @ p["head"]["w"]),
        ("probabilities are returned: the scores themselves are asked for",
         lambda p, x: ops.softmax(head(p, x))),
    ),
    level=SPECIFICATION,
)  # fmt: skip


# -- the model -------------------------------------------------------------------------------------

SMALL = MViTConfig(
    frames=4, size=16, channels=2, num_classes=3, dim=4, depths=(1, 1), stride_kv=(1, 2, 2)
)


def _models(rng):
    for config in (SMALL, replace(SMALL, depths=(1, 2), frames=2, channels=1, num_classes=2)):
        params = drawn(lambda config, rng: init(config, rng), config, rng)
        yield params, rng.standard_normal((2, *config.thw, config.channels)), config


def _embedded(change):
    """The model with other parameters before its first block."""
    return lambda params, clip, config: forward({**params, **change(params)}, clip, config)


def _blocks_changed(change):
    return lambda params, clip, config: forward(
        {**params, "blocks": change(params["blocks"])}, clip, config
    )


def _without_last_norm(params, clip, config):
    sizes, cube = plan(config), params["patch_embed"]
    x = cube_embed(clip, cube["w"], cube["b"], sizes.embed.stride, sizes.embed.padding)
    names = "cls_token", "pos_embed_class", "pos_embed_spatial", "pos_embed_temporal"
    x = add_class_and_positions(x, *(params[name] for name in names))
    for s, block_params in zip(sizes.blocks, params["blocks"]):
        x = block(block_params, x, s.thw, s.heads, s.stride_q, s.stride_kv)
    return _scores(params, x[:, 0])


FORWARD = Exercise(
    forward,
    evaluate,
    _models,
    (
        ("the class token's position is missing",
         _embedded(lambda p: {"pos_embed_class": 0 * p["pos_embed_class"]})),
        ("the positions in time are missing",
         _embedded(lambda p: {"pos_embed_temporal": 0 * p["pos_embed_temporal"]})),
        ("the positions in space are missing",
         _embedded(lambda p: {"pos_embed_spatial": 0 * p["pos_embed_spatial"]})),
        ("the cubes' bias is missing",
         _embedded(lambda p: {"patch_embed": p["patch_embed"] | {"b": 0 * p["patch_embed"]["b"]}})),
        ("the last norm is missing: the head norms the class token", _without_last_norm),
        ("the last block is left out", _blocks_changed(lambda blocks: blocks[:-1])),
        ("a block has no MLP: every block has two halves",
         _blocks_changed(lambda blocks: [_silent(blocks[0]), *blocks[1:]])),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def _silent(params):
    """A block whose MLP adds nothing."""
    fc2 = {name: 0 * part for name, part in params["mlp"]["fc2"].items()}
    return {**params, "mlp": {**params["mlp"], "fc2": fc2}}


EXERCISES = (BLOCK, HEAD, FORWARD)
