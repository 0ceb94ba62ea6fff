"""The config inside SlowFast's checkpoints: read field by field, refused by name, never a reason
for a traceback.
"""

import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import yaml

import mvit_np as mv
from mvit_np.data import normalise
from mvit_np.studies.gradient_cases import TINY, TINY_REV, roughened
from mvit_np.weights import open_model
from mvit_np.weights.formats import files
from mvit_np.weights.formats.yaml_text import parsed
from mvit_np.weights.layouts import state_dicts as layouts
from mvit_np.weights.load import load_with_notes

SMALL = replace(TINY, channels=3)
SAID = {  # of SMALL
    "DATA": {"NUM_FRAMES": 4, "TRAIN_CROP_SIZE": 16, "SAMPLING_RATE": 2},
    "MODEL": {"MODEL_NAME": "MViT", "NUM_CLASSES": 3},
    "MVIT": {
        "DEPTH": 2, "EMBED_DIM": 4, "MLP_RATIO": 2.0, "DROPPATH_RATE": 0.2, "SEP_POS_EMBED": True,
        "PATCH_KERNEL": [3, 3, 3], "PATCH_STRIDE": [2, 2, 2], "PATCH_PADDING": [1, 1, 1],
        "DIM_MUL": [[1, 2.0]], "HEAD_MUL": [[1, 2.0]], "POOL_Q_STRIDE": [[1, 1, 2, 2]],
        "POOL_KV_STRIDE_ADAPTIVE": [1, 2, 2], "POOL_KVQ_KERNEL": [3, 3, 3],
    },
}  # fmt: skip


def with_said(**fields):
    """SAID with other fields, given as MVIT__DEPTH=3; None takes one away."""
    said = {section: dict(values) for section, values in SAID.items()}
    for name, value in fields.items():
        *sections, last = name.split("__")
        node = said
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return said


def saved(path, cfg, config=SMALL, tensors=None):
    tensors = tensors or layouts.from_params(roughened(config), config, "slowfast")
    files.write(
        path, tensors, {"cfg": yaml.safe_dump(cfg) if isinstance(cfg, dict) else cfg}, "model_state"
    )
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pyth"


def quietly(path, **told):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return mv.load(path, **told)


def test_the_config_inside_is_the_models(path):
    assert quietly(saved(path, SAID))[1] == SMALL
    assert open_model(path).about == mv.About(tau=2.0, normalise="video")
    _, _, (note,) = load_with_notes(path)
    assert not note.assumed and "the one inside the file" in str(note)


def test_a_config_that_is_a_dict_counts_as_its_text_does(path):
    torch = pytest.importorskip("torch")
    state = {
        name: torch.from_numpy(x)
        for name, x in layouts.from_params(roughened(SMALL), SMALL, "slowfast").items()
    }
    torch.save({"model_state": state, "cfg": SAID}, path)
    assert quietly(path)[1] == SMALL


def test_a_preset_written_as_slowfast_writes_it():
    """By every second letter of its table: stages, strides and kernels of MViTv2-L, 48 blocks."""
    from mvit_np.weights.configs import slowfast_config

    starts = {2: 2, 8: 2, 44: 2}
    said = with_said(
        DATA__NUM_FRAMES=40, DATA__TRAIN_CROP_SIZE=312, DATA__SAMPLING_RATE=3,
        MVIT__DEPTH=48, MVIT__EMBED_DIM=144, MVIT__NUM_HEADS=2, MVIT__MLP_RATIO=4.0,
        MVIT__DROPPATH_RATE=0.75, MVIT__PATCH_KERNEL="(3, 7, 7)",
        MVIT__PATCH_STRIDE="(2, 4, 4)", MVIT__PATCH_PADDING="(1, 3, 3)",
        MVIT__DIM_MUL=[[i, 2.0] for i in starts], MVIT__HEAD_MUL=[[i, 2.0] for i in starts],
        MVIT__POOL_Q_STRIDE=[[i, 1, starts.get(i, 1), starts.get(i, 1)] for i in range(48)],
        MVIT__POOL_KV_STRIDE_ADAPTIVE=[1, 8, 8], MVIT__USE_ABS_POS=False,
        MVIT__REL_POS_SPATIAL=True, MVIT__REL_POS_TEMPORAL=True,
        MVIT__RESIDUAL_POOLING=True, MVIT__DIM_MUL_IN_ATT=True,
    )  # fmt: skip
    found, _ = slowfast_config.read({"cfg": yaml.safe_dump(said)}, "slowfast")
    assert replace(mv.MViTConfig(uneven=True), **found.fields) == mv.preset("mvitv2_l_40x3")


def test_strides_and_kernels_in_the_words_of_2021(path):
    """MVIT_B_16x4's first release: a list for each, and no pools of keys in the last stage."""
    tensors = layouts.from_params(
        roughened(replace(SMALL, unpooled_kv=(1,))), replace(SMALL, unpooled_kv=(1,)), "slowfast"
    )
    said = with_said(
        MVIT__POOL_KV_STRIDE=[[0, 1, 2, 2], [1, 1, 1, 1]],
        MVIT__POOL_KV_KERNEL=[[0, 3, 3, 3], [1, 1, 1, 1]],
        MVIT__POOL_Q_KERNEL=[[1, 3, 3, 3]],
    )
    for name in ("POOL_KVQ_KERNEL", "POOL_KV_STRIDE_ADAPTIVE"):
        del said["MVIT"][name]
    assert quietly(saved(path, said, tensors=tensors))[1] == replace(SMALL, unpooled_kv=(1,))


def test_other_classes_and_channels_than_it_says_are_the_files(path):
    assert quietly(saved(path, with_said(MODEL__NUM_CLASSES=400)))[1] == SMALL


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("MVIT__POOL_FIRST", True, "pooling before q, k and v are projected"),
        ("DETECTION__ENABLE", True, "a head that classifies boxes"),
        ("MVIT__NORM_STEM", True, "a norm behind the cube embedding"),
        ("MVIT__NORM", "batchnorm", "norms of another type"),
        ("MVIT__MODE", "conv_unshared", "pools of another type"),
        ("MODEL__MODEL_NAME", "MaskMViT", "a model that is no MViT for classes"),
        ("CONTRASTIVE__NUM_MLP_LAYERS", 3, "a head of several layers"),
        ("MVIT__REL_POS_SPATIAL", True, "absolute and relative positions together"),
        ("MVIT__REL_POS_TEMPORAL", True, "relative positions in time alone"),
        ("MVIT__USE_FIXED_SINCOS_POS", True, "fixed positions without a table"),
        ("MVIT__PATCH_PADDING", [2, 4, 4], "another padding than"),
        ("MVIT__DEPTH", 2_000_000_000, "more blocks than any model has"),
        ("MVIT__DIM_MUL", [[1, 3.0]], "widths that do not double"),
        ("MVIT__DIM_MUL", [[2, 2.0]], "widths that do not double"),
        ("MVIT__HEAD_MUL", [], "heads that do not double with the width"),
        (
            "MVIT__POOL_Q_STRIDE",
            [[0, 1, 2, 2]],
            "queries pooled elsewhere than where a stage begins",
        ),
        (
            "MVIT__POOL_Q_STRIDE",
            [[0, 1, 1, 1]],
            "queries pooled in some blocks where that shrinks nothing",
        ),
        ("MVIT__POOL_Q_STRIDE", [[1, 2]], r"something else than \[block, strides\]"),
        ("MVIT__POOL_KV_STRIDE_ADAPTIVE", [0, 0], "something else than strides"),
    ],
)
def test_what_mvit_np_has_not_is_refused_by_its_name(name, value, words, path):
    with pytest.raises(
        ValueError,
        match=rf"a.pyth: its config asks for {words}.*\({name.replace('__', '.')} .*does not have",
    ):
        mv.load(saved(path, with_said(**{name: value})), like=SMALL)  # whatever the caller says


def test_key_strides_of_no_rule_are_refused(path):
    said = with_said(
        MVIT__POOL_KV_STRIDE_ADAPTIVE=None, MVIT__POOL_KV_STRIDE=[[0, 1, 2, 2], [1, 1, 4, 4]]
    )
    with pytest.raises(ValueError, match="key-value strides that follow neither"):
        mv.load(saved(path, said))


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("PRE_Q_FUSION", "concat_linear_2", "fused otherwise than by their mean"),
        ("RES_PATH", "max", "skips that are pooled otherwise"),
        ("RESPATH_FUSE", "avg", "streams that end otherwise"),
        ("BUFFER_LAYERS", [], "other stages than its widths"),
    ],
)
def test_reversible_models_of_another_kind_are_refused(name, value, words, path):
    rev = {"ENABLE": True, "BUFFER_LAYERS": [1]}
    config = replace(TINY_REV, channels=3, depths=(1, 1), drop_path=0.2)
    assert quietly(saved(path, with_said(MVIT__REV=rev, MVIT__QKV_BIAS=False), config))[1] == config
    with pytest.raises(ValueError, match=rf"{words}.*\(MVIT.REV.{name} "):
        mv.load(saved(path, with_said(MVIT__REV=rev | {name: value}), config))


DAMAGED = [
    "MVIT: [", "MVIT: {a: &x [1], b: *x}", "[" * 50_000, "MVIT: {DEPTH: many}",
    "MVIT: {QKV_BIAS: 1}", "MVIT: !!int ''", "MVIT: {DIM_MUL: [[0.5, 2]]}",
    "MVIT: {MLP_RATIO: .nan}", "MVIT: {DEPTH: 1" + "0" * 400 + "}", "a: b\n" * 100_000,
    "MVIT: !!python/object/apply:os.system [ls]", "", "MVIT: {POOL_Q_STRIDE: 3}",
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_config_that_cannot_be_read_is_said_and_shapes_decide(text, path):
    start = time.monotonic()
    with pytest.warns(
        UserWarning, match="config inside cannot be read .*assumed, as shapes do not tell"
    ):
        assert mv.load(saved(path, text))[1].dim == 4
    assert time.monotonic() - start < 3


def test_what_is_no_config_of_theirs_is_left_alone(path):
    for text in ("MODEL: {WIDTH: 3}", "a: 1"):
        with pytest.warns(UserWarning, match="assumed, as shapes do not tell"):
            mv.load(saved(path, text))
        assert not any("cannot be read" in str(note) for note in open_model(path).notes)


def test_a_config_of_another_model_than_its_tensors_names_what_differs(path):
    for said, words in (
        (with_said(MVIT__EMBED_DIM=64_000_000), "parameter patch_embed.w has shape"),
        (with_said(DATA__NUM_FRAMES=8), "parameter pos_embed_temporal has shape"),
        (with_said(MVIT__DEPTH=3), "3 blocks, and there are 2"),
        (with_said(MVIT__NUM_HEADS=3), "heads divide the width"),
    ):
        with pytest.raises(
            ValueError,
            match=rf"config inside and its parameters are of two models .*{words}.*give like=",
        ):
            mv.load(saved(path, said))
        assert load_with_notes(path, like=SMALL)[1] == SMALL


def test_the_caller_counts_before_the_file_and_both_are_told(path):
    saved(path, SAID)
    assert quietly(path, like=SMALL)[1] == quietly(path, stride_kv=(1, 2, 2))[1] == SMALL
    assert quietly(path, dropout=0.1, drop_path=0.0)[1] == replace(
        SMALL, dropout=0.1, drop_path=0.0
    )
    other = replace(SMALL, stride_kv=(1, 1, 1))
    for told in ({"like": other}, {"stride_kv": (1, 1, 1)}):
        with pytest.warns(
            UserWarning,
            match=r"config inside says stride_kv \(1, 2, 2\); what you say is taken instead",
        ):
            assert mv.load(path, **told)[1] == other


def test_another_pool_than_the_files_leaves_its_keys_pooled(path):
    config = replace(SMALL, pool="max")
    saved(path, SAID, config)  # whose config says convolutions
    with pytest.warns(UserWarning, match="config inside says pool conv; what you say is taken"):
        assert mv.load(path, pool="max")[1] == config
    with pytest.raises(ValueError, match="depths is a tuple of block counts"):
        mv.load(path, depths=2)


def test_words_that_nobody_knows_and_classes_that_go_together_are_told(path):
    with pytest.warns(UserWarning, match="its config has NEW_TRICK, which mvit_np does not know"):
        mv.load(saved(path, with_said(MVIT__NEW_TRICK=True)))
    with pytest.warns(UserWarning, match="classes do not exclude each other .sigmoid"):
        mv.load(saved(path, with_said(MODEL__HEAD_ACT="sigmoid")))
    _, _, notes = load_with_notes(saved(path, with_said(MVIT__DROPOUT_RATE=0.1)))
    assert "dropout inside blocks (0.1) is for training" in str(notes[-1]) and not notes[-1].assumed


# -- colours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset, reverse, turned", [
    ("kinetics", False, False), ("kinetics", True, True),
    ("ssv2", True, False), ("ssv2", False, True),
    ("charades", True, False), ("ptvssv2", False, True), ("imagenet", True, False),
])  # fmt: skip
def test_models_that_were_shown_blue_first_get_red_first(dataset, reverse, turned, path):
    """Something-Something and Charades are read by OpenCV, blue first, and REVERSE_INPUT_CHANNEL
    turns that back.
    """
    said = with_said(DATA__REVERSE_INPUT_CHANNEL=reverse, TRAIN__DATASET=dataset)
    params, _ = quietly(saved(path, said))
    wanted = roughened(SMALL)["patch_embed"]["w"]
    np.testing.assert_array_equal(
        params["patch_embed"]["w"], wanted[:, :, :, ::-1] if turned else wanted
    )


def test_normalisation_and_tau_follow_the_data_set(path):
    levels = {"DATA__MEAN": [0.1, 0.2, 0.3], "DATA__STD": [0.4, 0.5, 0.6]}
    for fields, about in (
        ({"DATA__TARGET_FPS": 15}, mv.About(tau=4.0, normalise="video")),
        (levels, mv.About(tau=2.0, normalise=((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))),
        (levels | {"TRAIN__DATASET": "ssv2", "DATA__REVERSE_INPUT_CHANNEL": True},
         mv.About(normalise=((0.3, 0.2, 0.1), (0.6, 0.5, 0.4)))),
        ({"DATA__MEAN": [0.5] * 3, "DATA__STD": [0.25] * 3},
         mv.About(tau=2.0, normalise=(0.5, 0.25))),
        ({"DATA__STD": [0.0] * 3}, mv.About(tau=2.0)),
    ):  # fmt: skip
        assert open_model(saved(path, with_said(**fields))).about == about
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    given = normalise(pixels, ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    np.testing.assert_allclose(given, (pixels / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6], rtol=1e-6)


# -- YAML ------------------------------------------------------------------------------------------


def test_yaml_as_it_is_dumped_is_read_as_it_was():
    assert (
        parsed(yaml.safe_dump(SAID)) == SAID
        and parsed(yaml.safe_dump(SAID, default_flow_style=True)) == SAID
    )


def test_without_its_library_a_sentence_says_which(path, monkeypatch):
    saved(path, SAID)
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(ImportError, match="needs the package PyYAML"):
        mv.load(path)
