"""Checkpoints of five code bases: names, axes, quirks, what each can hold, and files from one to
the other bit by bit.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.cli import convert as command
from mvit_np.model.parameters import parameter_shapes
from mvit_np.studies.gradient_cases import (
    TINY,
    TINY_HIERA,
    TINY_REV,
    TINY_V2,
    TINY_VIVIT,
    roughened,
)
from mvit_np.weights.convert import convert
from mvit_np.weights.formats import files
from mvit_np.weights.layouts import state_dicts as layouts
from mvit_np.weights.layouts.renames import nested
from mvit_np.weights.load import load, load_with_notes, open_model, save

TINY_IMAGE = replace(
    TINY,
    frames=1,
    cube_kernel=(1, 3, 3),
    cube_stride=(1, 2, 2),
    pool_kernel=(1, 3, 3),
    positions="joint",
)
TINY_V2_IMAGE = replace(
    TINY_V2,
    frames=1,
    cube_kernel=(1, 3, 3),
    cube_stride=(1, 2, 2),
    pool_kernel=(1, 3, 3),
    relative_time=False,
    cls_token=False,
)
TINY_4 = replace(TINY, mlp_ratio=4)
HOLDS = {
    "slowfast": [
        TINY,
        replace(TINY, qkv_bias=False, unpooled_kv=(1,)),
        TINY_V2,
        TINY_IMAGE,
        TINY_V2_IMAGE,
        TINY_HIERA,
    ],
    "slowfast_rev": [TINY_REV, replace(TINY_REV, positions="joint")],
    "pytorchvideo": [
        TINY,
        TINY_IMAGE,
        replace(TINY, pool="max", cls_token=False),
        replace(TINY, positions="joint"),
    ],
    "torchvision": [TINY_4, replace(TINY_V2, mlp_ratio=4), replace(TINY_4, unpooled_kv=(0,))],
    "timm": [
        TINY_V2_IMAGE,
        replace(TINY_V2_IMAGE, expand_in="mlp", depths=(2, 1)),
        replace(TINY_V2_IMAGE, cls_token=True, residual_pooling="all"),
    ],
    "timm_hiera": [TINY_HIERA, replace(TINY_HIERA, positions="joint")],
}
CASES = [(layout, config) for layout, configs in HOLDS.items() for config in configs]
every_case = pytest.mark.parametrize(
    "layout, config", CASES, ids=[f"{layout}-{i}" for i, (layout, _) in enumerate(CASES)]
)


def rough(config):
    return tree.map(lambda p: p.astype(np.float32), roughened(config))


def written(config, layout, **options):
    return layouts.from_params(rough(config), config, layout, **options)


def shapes_of(name, layout, **options):
    """{name: shape} of a preset at full size, without memory."""
    config = mv.preset(name)
    shapes = parameter_shapes(config)
    hollow = nested({path: np.broadcast_to(np.float32(0), shape) for path, shape in shapes.items()})
    tensors = layouts.from_params(hollow, config, layout, **options)
    return {name: x.shape for name, x in tensors.items()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, x in theirs.items():
        np.testing.assert_array_equal(ours[name], x, err_msg=name, strict=True)


def assert_same_params(tensors, others, layout):
    tree.map(
        np.testing.assert_array_equal,
        layouts.to_params(tensors, layout),
        layouts.to_params(others, layout),
    )


# -- names and axes --------------------------------------------------------------------------------


@every_case
def test_there_and_back_is_exact(layout, config):
    params = rough(config)
    tensors = layouts.from_params(params, config, layout)
    assert layouts.recognise(tensors) == layout
    assert all(x.flags.c_contiguous for x in tensors.values())
    back = layouts.to_params(tensors, layout)
    tree.map(np.testing.assert_array_equal, params, back)
    assert_equal(layouts.from_params(back, config, layout), tensors)


@pytest.mark.parametrize(
    "name, count", [("mvit_b_16x4", 313), ("mvitv2_s_16x4", 397), ("mvitv2_t_image", 242)]
)
def test_slowfasts_files_have_so_many_tensors(name, count):
    assert len(shapes_of(name, "slowfast")) == count


def test_slowfasts_names_and_axes_at_full_size():
    video, image = shapes_of("mvitv2_s_16x4", "slowfast"), shapes_of("mvitv2_t_image", "slowfast")
    assert video["patch_embed.proj.weight"] == (96, 3, 3, 7, 7) and image[
        "patch_embed.proj.weight"
    ] == (96, 3, 7, 7)
    assert video["blocks.1.attn.pool_k.weight"] == (96, 1, 3, 3, 3) and image[
        "blocks.1.attn.pool_k.weight"
    ] == (96, 1, 1, 3, 3)
    assert video["cls_token"] == (1, 1, 96) and "cls_token" not in image
    assert video["blocks.1.attn.qkv.weight"] == (3 * 192, 96) and video["blocks.1.proj.weight"] == (
        192,
        96,
    )
    assert video["blocks.0.attn.rel_pos_t"] == (15, 96) and "blocks.0.attn.rel_pos_t" not in image
    assert video["head.projection.weight"] == (400, 768)
    separate = shapes_of("mvit_b_16x4", "slowfast")
    assert separate["pos_embed_spatial"] == (1, 3136, 96) and separate["pos_embed_class"] == (
        1,
        1,
        96,
    )


def test_reversible_names():
    found = shapes_of("rev_mvit_b_16x4", "slowfast")
    assert (
        found["rev_backbone.layers.1.res_proj.weight"] == (192, 96)
        and "rev_backbone.layers.0.res_proj.weight" not in found
    )
    assert found["rev_backbone.layers.0.F.attn.pool_k.weight"] == (96, 1, 3, 3, 3)
    assert found["rev_backbone.layers.15.G.mlp.fc1.weight"] == (3072, 768)
    assert found["norm.weight"] == (1536,) and found["head.projection.weight"] == (400, 1536)
    assert not any(name.endswith("qkv.bias") for name in found)


def test_arrays_compute_the_same_as_in_their_layout(rng):
    """A layer, a cube and a pool at one position, by the definition of each library."""
    params, tensors = rough(TINY), written(TINY, "slowfast")
    x = rng.standard_normal(4)
    close = np.testing.assert_allclose
    close(
        x @ params["blocks"][0]["attn"]["qkv"]["w"],
        tensors["blocks.0.attn.qkv.weight"] @ x,
        rtol=1e-5,
    )
    clip = rng.standard_normal((3, 3, 3, 2))  # t, h, w, channels
    ours = np.einsum("thwc,thwcd->d", clip, params["patch_embed"]["w"])
    close(ours, np.einsum("thwc,dcthw->d", clip, tensors["patch_embed.proj.weight"]), rtol=1e-5)
    heads = rng.standard_normal((3, 3, 3, 4))
    ours = np.einsum("thwd,thwd->d", heads, params["blocks"][0]["attn"]["pool_k"]["w"])
    close(
        ours,
        np.einsum("thwd,dthw->d", heads, tensors["blocks.0.attn.pool_k.weight"][:, 0]),
        rtol=1e-5,
    )


# -- quirks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["slowfast", "pytorchvideo"])
def test_split_and_fused_projections_are_the_same_rows(layout):
    fused, split = written(TINY, layout, split=False), written(TINY, layout, split=True)
    np.testing.assert_array_equal(
        split["blocks.1.attn.k.weight"], fused["blocks.1.attn.qkv.weight"][8:16]
    )
    assert len(split) == len(fused) + 2 * 2 * TINY.depth
    assert_same_params(fused, split, layout)


def with_aliases(tensors):
    aliases = {}
    for name, x in tensors.items():
        for part in ("pool", "norm"):
            for which in "qkv":
                if f".attn.{part}_{which}." in name:
                    aliases[name.replace(f"{part}_{which}", f"_attention_pool_{which}.{part}")] = x
    return tensors | aliases


def test_aliases_are_read_once_and_have_to_agree():
    """PyTorchVideo's main branch: 482 tensors of MViT-B where the weights are 377."""
    tensors = written(TINY, "pytorchvideo")
    both = with_aliases(tensors)
    assert_same_params(tensors, both, "pytorchvideo")
    assert len(with_aliases(shapes_of("mvit_b_16x4", "pytorchvideo"))) == 482
    assert len(with_aliases(shapes_of("mvit_b_16x4", "pytorchvideo", split=False))) == 418

    alias = "blocks.0.attn._attention_pool_k.norm.bias"
    with pytest.raises(
        ValueError, match=f"{alias} and blocks.0.attn.norm_k.bias name one parameter"
    ):
        layouts.to_params(both | {alias: both[alias] + 1}, "pytorchvideo")
    alone = {
        name: x
        for name, x in both.items()
        if ".attn.pool_" not in name and ".attn.norm_" not in name
    }
    tree.map(
        np.testing.assert_array_equal,
        layouts.to_params(tensors, "pytorchvideo"),
        layouts.to_params(alone, "pytorchvideo"),
    )


@pytest.mark.parametrize(
    "prefix",
    ["model.", "module.", "module.model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."],
)
@pytest.mark.parametrize("layout, config", [("slowfast", TINY), ("timm", TINY_V2_IMAGE)])
def test_prefixes_of_wrappers(prefix, layout, config):
    tensors = written(config, layout)
    wrapped = {prefix + name: x for name, x in tensors.items()}
    assert layouts.recognise(wrapped) == layout and layouts.hints(wrapped, layout) == layouts.hints(
        tensors, layout
    )
    assert_same_params(wrapped, tensors, layout)


@pytest.mark.parametrize("flat_cube", [False, True])
@pytest.mark.parametrize("flat_pool", [False, True])
def test_image_models_with_and_without_an_axis_of_time(flat_cube, flat_pool):
    """facebookresearch/mvit has 2-D pools, or 3-D ones of one frame in released files; SlowFast a
    2-D stem and 3-D pools.
    """
    params, tensors = rough(TINY_V2_IMAGE), {}
    for name, x in written(TINY_V2_IMAGE, "slowfast").items():
        if "patch_embed" in name and x.ndim == 4 and not flat_cube:
            x = x[:, :, None]
        tensors[name] = x[:, :, 0] if ".pool_" in name and flat_pool else x
    tree.map(
        np.testing.assert_array_equal,
        params,
        layouts.to_params(tensors, layouts.recognise(tensors)),
    )


def test_timms_blocks_are_counted_by_stage():
    tensors = written(replace(TINY_V2_IMAGE, depths=(2, 3)), "timm")
    assert layouts.hints(tensors, "timm")["depths"] == (2, 3)
    assert tensors["stages.1.blocks.0.shortcut_proj_attn.weight"].shape == (8, 4)
    mlp = written(replace(TINY_V2_IMAGE, depths=(2, 3), expand_in="mlp"), "timm")
    assert mlp["stages.0.blocks.1.shortcut_proj_mlp.weight"].shape == (8, 4)
    gap = {name: x for name, x in tensors.items() if "stages.1.blocks.1." not in name}
    with pytest.raises(ValueError, match="stages.1.blocks.1 is missing"):
        layouts.to_params(gap, "timm")


def test_a_parameter_that_is_there_twice():
    both = written(TINY, "slowfast") | written(TINY, "slowfast", split=True)
    with pytest.raises(ValueError, match="has no blocks.0.attn.q.weight"):
        layouts.to_params(both, "slowfast")
    tensors = written(TINY_V2_IMAGE, "timm")
    name = "stages.1.blocks.0.shortcut_proj_{}.weight"
    with pytest.raises(
        ValueError, match="two tensors are the one parameter stages.1.blocks.0.proj.weight"
    ):
        layouts.to_params(tensors | {name.format("mlp"): tensors[name.format("attn")]}, "timm")


# -- what does not fit -----------------------------------------------------------------------------


@every_case
def test_unused_and_missing_tensors_are_named(layout, config):
    tensors = written(config, layout)
    extra = {f"decoder.{i}.weight": np.ones(2, np.float32) for i in range(5)}
    with pytest.raises(
        ValueError,
        match=r"has no decoder.0.weight, decoder.1.weight, decoder.2.weight and 2 more: ",
    ):
        layouts.to_params(tensors | extra, layout)
    for lost in [name for name in tensors if "norm2" in name or "head" in name]:
        with pytest.raises(ValueError, match=f"also has {lost}"):
            layouts.to_params({name: x for name, x in tensors.items() if name != lost}, layout)


@pytest.mark.parametrize(
    "lost, named",
    [
        (
            "blocks.0.",
            "blocks.0.norm1.weight, blocks.0.norm1.bias, blocks.0.attn.qkv.weight and 8 more",
        ),
        ("blocks.1.attn.norm_q.weight", "blocks.1.attn.norm_q.weight"),
        ("blocks.1.attn.pool_v.weight", "blocks.1.attn.pool_v.weight"),
        ("pos_embed_spatial", "pos_embed_spatial"),
        ("patch_embed.proj.bias", "patch_embed.proj.bias"),
    ],
)
def test_parts_that_belong_together(lost, named):
    tensors = {
        name: x for name, x in written(TINY, "slowfast").items() if not name.startswith(lost)
    }
    with pytest.raises(ValueError, match=f"SlowFast's layout also has {named}"):
        layouts.to_params(tensors, "slowfast")


@pytest.mark.parametrize(
    "name, shape, words",
    [
        ("blocks.0.attn.qkv.weight", (12, 4, 1), "of 2 axes in the models known here; came"),
        ("blocks.0.attn.pool_k.weight", (4, 4, 3, 3, 3), "depthwise"),
        ("patch_embed.proj.weight", (4, 2), "of 4 or 5 axes"),
        ("pos_embed_spatial", (2, 64, 4), "pos_embed_spatial is of 2 or 3 axes"),
        ("norm.weight", (1, 8), "of 1 axes"),
    ],
)
def test_arrays_of_other_axes_are_named(name, shape, words):
    with pytest.raises(ValueError, match=words):
        layouts.to_params(
            written(TINY, "slowfast") | {name: np.ones(shape, np.float32)}, "slowfast"
        )


def test_other_models_are_not_recognised():
    for names in (["conv1.weight", "layer1.0.conv1.weight"], []):
        with pytest.raises(
            ValueError,
            match="no parameters of an MViT as slow.* have them; came (conv1|none at all)",
        ):
            layouts.recognise({name: np.ones(2) for name in names})


@pytest.mark.parametrize(
    "layout, config, words",
    [
        ("torchvision", replace(TINY_4, cls_token=False), "a class token"),
        ("torchvision", replace(TINY_4, positions="joint"), "positions 'separate'"),
        ("torchvision", replace(TINY_4, pool="max"), "convolutions as pools"),
        ("torchvision", TINY, "mlp_ratio 4"),
        ("torchvision", TINY_REV, "one stream"),
        ("pytorchvideo", TINY_V2, "positions 'separate' or 'joint'"),
        (
            "pytorchvideo",
            replace(TINY_V2, positions="joint"),
            "pooled query added to the class row too",
        ),
        ("pytorchvideo", TINY_HIERA, "mask_unit=None"),
        ("timm", TINY_V2, "a single frame"),
        ("timm", TINY_IMAGE, "relative positions in space alone"),
        ("timm", replace(TINY_V2_IMAGE, cls_token=True), "added to the class row too"),
        ("timm", replace(TINY_V2_IMAGE, pool_q_always=False), "pool q, k and v in every block"),
        ("slowfast", replace(TINY, positions="space"), "positions"),
        (
            "slowfast",
            replace(TINY_V2, residual_pooling="all"),
            "no pooled query added to the class row",
        ),
        ("slowfast", replace(TINY, skip="plain"), "skips from the normed input"),
        ("slowfast", TINY_VIVIT, "one encoder"),
    ],
)
def test_what_a_layout_cannot_hold(layout, config, words):
    with pytest.raises(ValueError, match=f"layout is for models with .*{words}.*, unlike this one"):
        layouts.from_params(rough(config), config, layout)


def test_writing_checks_its_arguments():
    params = rough(TINY_4)
    with pytest.raises(ValueError, match="a layout is one of slowfast.*came 'keras'"):
        layouts.from_params(params, TINY_4, "keras")
    with pytest.raises(ValueError, match="q, k and v in one layer, came split=True"):
        layouts.from_params(params, TINY_4, "torchvision", split=True)
    with pytest.raises(ValueError, match="head.w"):
        layouts.from_params(
            {name: x for name, x in params.items() if name != "head"}, TINY_4, "torchvision"
        )


# -- files -----------------------------------------------------------------------------------------

SUFFIX = {"npz": ".npz", "safetensors": ".safetensors"}


@pytest.mark.parametrize("own", ["npz", "safetensors"])
@every_case
def test_foreign_to_ours_and_back_is_the_same_file_bit_by_bit(layout, config, own, tmp_path):
    to = {"slowfast_rev": "slowfast", "timm_hiera": "timm"}.get(layout, layout)
    tensors = written(config, layout)
    source, between, back = tmp_path / "a.pth", tmp_path / f"b{SUFFIX[own]}", tmp_path / "c.pyth"
    files.write(source, tensors, {}, "model_state")
    convert(source, between, like=config)
    assert load(between)[1] == config
    done = convert(between, back, to=to)
    assert (done.source.layout, done.tensors) == ("mvit_np", len(tensors))
    assert_equal(files.read(back)[0], tensors)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_foreign_file_of_ours_says_what_it_is(suffix, tmp_path):
    """With strides that no one would guess."""
    config = replace(TINY, stride_kv=(1, 1, 1), adaptive_kv=False)
    save(tmp_path / "a.npz", rough(config), config)
    for to in ("slowfast", "pytorchvideo"):
        path = tmp_path / f"{to}{suffix}"
        convert(tmp_path / "a.npz", path, to=to)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            params, found = load(path)
        assert found == config
        tree.map(np.testing.assert_array_equal, params, rough(config))
    tensors, metadata = files.read(tmp_path / f"slowfast{suffix}")
    assert json.loads(metadata["mvit_np_config"])["stride_kv"] == [1, 1, 1] and set(metadata) == {
        "mvit_np_config",
        "mvit_np_about",
    }


def test_a_bare_file_is_assumed_with_a_warning(tmp_path):
    files.write(tmp_path / "a.pth", written(TINY_4, "torchvision"))
    with pytest.warns(
        UserWarning, match=r"a.pth: size 16, cube stride .*key-value stride \(1, 8, 8\).*: assumed"
    ):
        params, config = load(tmp_path / "a.pth")
    assert config == replace(TINY_4, stride_kv=(1, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path / "a.pth", like=TINY_4)[1] == TINY_4
        _, config, notes = load_with_notes(tmp_path / "a.pth", stride_kv=(1, 4, 4))
    assert config.stride_kv == (1, 4, 4) and [note.assumed for note in notes] == [True]


def test_half_precision_becomes_single_and_the_model_runs(rng, tmp_path):
    half = {name: x.astype(np.float16) for name, x in written(TINY, "slowfast").items()}
    files.write(tmp_path / "a.pyth", half, {"epoch": 3}, "model_state")
    params, config = load(tmp_path / "a.pyth", like=TINY)
    assert {leaf.dtype for leaf in tree.leaves(params)} == {np.dtype("float32")}
    np.testing.assert_array_equal(params["head"]["w"], half["head.projection.weight"].T)
    assert np.isfinite(
        mv.forward(params, rng.standard_normal((1, *config.thw, 2)).astype("f4"), config)
    ).all()


@pytest.mark.parametrize(
    "spoil, words",
    [
        (
            lambda x: np.where(x == x.max(), np.nan, x).astype("f4"),
            "blocks.1.mlp.fc1.bias holds NaN or infinity",
        ),
        (
            lambda x: np.where(x == x.max(), -np.inf, x).astype("f4"),
            "blocks.1.mlp.fc1.bias holds NaN or infinity",
        ),
        (lambda x: x.astype(np.int32), "blocks.1.mlp.fc1.bias is int32"),
        (lambda x: x[:-1], "blocks.1.mlp.fc1.b has shape"),
    ],
)
def test_numbers_that_are_no_parameters(spoil, words, tmp_path):
    tensors = written(TINY, "slowfast")
    tensors["blocks.1.mlp.fc1.bias"] = spoil(tensors["blocks.1.mlp.fc1.bias"])
    files.write(tmp_path / "a.pth", tensors)
    with pytest.raises(ValueError, match=f"a.pth: .*{words}"):
        load(tmp_path / "a.pth", like=TINY)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_our_own_files(suffix, tmp_path):
    path, params = tmp_path / f"a{suffix}", rough(TINY_VIVIT)
    save(path, params, TINY_VIVIT)
    loaded, config, notes = load_with_notes(path)
    assert (
        config == TINY_VIVIT
        and notes == ()
        and [p for p, _ in tree.paths(loaded)] == [p for p, _ in tree.paths(params)]
    )
    tree.map(np.testing.assert_array_equal, params, loaded)
    assert load(path, like=TINY_VIVIT)[1] == TINY_VIVIT
    with pytest.raises(
        ValueError, match="its config says frames 4, you say 16: leave that to the file"
    ):
        load(path, like="mvit_b_16x4")
    with pytest.raises(ValueError, match="its config says num_classes 3, you say 7"):
        load(path, num_classes=7)


@pytest.mark.parametrize(
    "config, words",
    [
        ("[not json", "damaged"),
        ("[1, 2]", "damaged"),
        ('{"colour": 1}', "damaged"),
        ('{"frames": 0}', "frames is a whole number"),
        ('{"depths": [1000000000]}', "at most 1000 blocks, came 1000000000"),
        ('{"depths": [1000]}', "1000 blocks, and its parameters 2"),
    ],
)
def test_damaged_configs(config, words, tmp_path):
    files.write(tmp_path / "a.npz", dict(tree.paths(rough(TINY))), {"config": config})
    files.write(
        tmp_path / "a.pth", written(TINY, "slowfast"), {"mvit_np_config": config}, "model_state"
    )
    for name in ("a.npz", "a.pth"):
        with pytest.raises(ValueError, match=words):
            load(tmp_path / name)


def test_paths_that_are_no_tree(tmp_path):
    entries, config = dict(tree.paths(rough(TINY))), json.dumps({"depths": [1, 1]})
    for extra in ("head.w.w", "a" + ".a" * 5000):
        files.write(
            tmp_path / "a.safetensors",
            entries | {extra: np.ones(1, np.float32)},
            {"config": config},
        )
        with pytest.raises(ValueError, match="inside another|deeper than any"):
            load(tmp_path / "a.safetensors")


def test_convert_refuses_before_it_writes(tmp_path):
    save(tmp_path / "a.npz", rough(TINY), TINY)
    (tmp_path / "link.npz").symlink_to(tmp_path / "a.npz")
    before = sorted(tmp_path.iterdir())
    for target, options, words in [
        ("a.npz", {}, "not converted into itself"),
        ("link.npz", {}, "not converted into itself"),
        ("b.pth", {}, r"say with to= \(--to\)|give --to"),
        ("b.pth", {"to": "npz"}, "npz is written to .npz; came b.pth"),
        ("b.npz", {"to": "slowfast"}, "slowfast is written to .pth, .pyth, .pt, .safetensors"),
        ("b.npz", {"to": "keras"}, "a target is one of npz"),
        ("b.pth", {"to": "timm"}, "a single frame"),
        ("b.npz", {"inflate": "mean"}, "came alone"),
        ("b.npz", {"into": "mvit_b_16x4"}, "came alone"),
    ]:
        with pytest.raises(ValueError, match=words):
            convert(tmp_path / "a.npz", tmp_path / target, **options)
    with pytest.raises(FileNotFoundError, match="there is none at"):
        convert(tmp_path / "nothing.pth", tmp_path / "b.npz")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ValueError, match="ending in .npz or .safetensors"):
        save(tmp_path / "b.pth", rough(TINY), TINY)


PARTS = {
    "blocks.0.attn.norm_q.num_batches_tracked": "batch norm",
    "norm_stem.weight": "norm behind the cube embedding",
    "rev_backbone.layers.1.pre_q_fuse.fuse_fn.fc1.weight": "layers fuse before queries are pooled",
    "blocks.1.gamma_1": "scales of whole layers",
    "head.projection.projection.0.weight": "a head of several layers",
    "mask_token": "no classifier",
    "decoder_embed.weight": "no classifier",
    "pred_head.transforms.0.0.weight": "no classifier",
    "module.norm_stem.bias": "norm behind the cube embedding",
    "norm_patch_embed.weight": "norm behind the cube embedding",
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_other_models_are_refused_by_name(name, tmp_path):
    prefix = "module." if name.startswith("module.") else ""
    tensors = {prefix + key: x for key, x in written(TINY, "slowfast").items()}
    files.write(tmp_path / "a.pth", tensors | {name: np.array(3)})
    with pytest.raises(
        ValueError, match=rf"a.pth: it has .*{PARTS[name]}.*mvit_np has no such part"
    ):
        load(tmp_path / "a.pth")


# -- the command -----------------------------------------------------------------------------------


def run(*arguments):
    import argparse

    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    parsed = parser.parse_args(["convert", *map(str, arguments)])
    return parsed.run(parsed)


def test_the_command_says_what_it_did(tmp_path, capsys):
    micro = mv.preset("mvit_micro")
    files.write(tmp_path / "in.pth", written(micro, "slowfast"), {}, "model_state")
    assert run(tmp_path / "in.pth", tmp_path / "out.npz") == 0
    text = " ".join(capsys.readouterr().out.split())
    tensors = len(files.read(tmp_path / "in.pth")[0])
    assert f"SlowFast's layout, {tensors} tensors, 0.1 M parameters" in text
    assert (
        "key-value stride (1, 4, 4), " in text
        and ": taken from preset mvit_micro" in text
        and f"out.npz: npz, {tensors} tensors" in text
    )
    assert open_model(tmp_path / "out.npz").config == micro


def test_the_command_inflates(tmp_path, capsys, monkeypatch):
    from mvit_np.model import presets

    known = {
        "picture": presets.Preset("picture", "", TINY_V2_IMAGE),
        "video": presets.Preset("video", "", TINY_V2),
    }
    monkeypatch.setattr(presets, "PRESETS", known)
    save(tmp_path / "in.npz", rough(TINY_V2_IMAGE), TINY_V2_IMAGE)
    assert (
        run(
            tmp_path / "in.npz",
            tmp_path / "out.npz",
            "--inflate",
            "centre",
            "--into",
            "video",
            "--seed",
            5,
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "inflated (centre) into video; drawn with seed 5: cls_token" in lines
    assert open_model(tmp_path / "out.npz").config == TINY_V2
