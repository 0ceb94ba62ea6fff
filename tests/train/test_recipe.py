"""Recipes: the paper's numbers, the way from a file and a command line and back, and what is said
about mistakes.
"""

import dataclasses
import json

import pytest

from mvit_np.train.run.recipe import RECIPES, Recipe, from_plain
from mvit_np.train.run.recipe_changes import MAY_DIFFER, changed, differing
from mvit_np.train.run.run_folder import resolve
from mvit_np.train.run.toml_text import to_toml


def test_the_papers_recipe_is_section_d1():
    """Field by field, from a summary of the paper's Sec. D.1: Kinetics, 128 GPUs of 4 clips."""
    paper = {
        "model": "mvit_b_16x4", "epochs": 200, "warmup": 30, "batch": 512, "lr": 1.6e-3,
        "lr_batch": 512, "end_lr": 1.6e-5, "optimizer": "adamw", "weight_decay": 0.05,
        "smoothing": 0.1, "mixup": 0.8, "switch": 0.5, "mix_p": 1.0, "erasing": 0.25,
        "rand_layers": 4, "rand_magnitude": 7, "rand_p": 0.5, "crop_area": (0.08, 1.0), "flip": 0.5,
        "repeats": 2, "tau": 4, "views": (5, 1), "ema": 0.0, "layer_decay": 1.0,
    }  # fmt: skip
    for name, value in paper.items():
        assert getattr(RECIPES["paper"], name) == value, name
    from mvit_np import preset

    config = preset(RECIPES["paper"].model)
    assert (config.dropout, config.drop_path) == (0.5, 0.2) and not RECIPES["paper"].model_fields


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_files(name, tmp_path):
    recipe = RECIPES[name]
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe
    assert from_plain(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


OTHERS = {
    "model": "mvit_s_16x4", "weights": 'a "file"\\n\t.npz', "data": "street", "tests": "t.csv",
    "data_root": "films", "classes": "names.txt", "holdout": 0.2, "balance": True,
    "frame_rate": 25.0, "train_clips": 8, "test_clips": 9, "tau": 3.0, "normalise": "clip",
    "directed": True,
    "crop_area": None, "crop_aspect": (1.0, 1.0), "flip": 0.0, "rand_layers": 0,
    "rand_magnitude": 9.0, "rand_deviation": 0.0, "rand_p": 0.1, "erasing": 0.0, "repeats": 1,
    "mixup": 0.0, "cutmix": 0.0, "switch": 1.0, "mix_p": 0.5, "smoothing": 0.0, "epochs": 0.5,
    "batch": 8, "accumulate": 2, "optimizer": "sgd", "lr": 0.1, "lr_batch": 8, "start_lr": 0.0,
    "end_lr": 0.0, "warmup": 0.0, "betas": (0.8, 0.9), "epsilon": 1e-6, "momentum": 0.8,
    "nesterov": False, "weight_decay": 0.0, "no_decay": ("head.*", "blocks.0.*"),
    "freeze": ("blocks.?.*",), "probe": True, "layer_decay": 0.75,
    "clip_norm": 5.0, "ema": 0.99, "non_finite": "skip", "checkpoint": True,
    "keep_hidden": True, "test_every": 1.0, "patience": 2, "views": (1, 3),
    "seed": 7, "device": "cuda:1", "precision": "bf16",
    "graph": True, "cache": "frames", "cache_gb": 0.5,
    "workers": 0, "ahead": 1, "save_steps": 5, "save_minutes": 0.0, "keep": 1,
}  # fmt: skip


def spelled(value):
    """As one types it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def test_every_field_can_be_given_on_the_command_line_and_in_a_file(tmp_path):
    names = {f.name for f in dataclasses.fields(Recipe)} - {"model_fields"}
    assert set(OTHERS) == names
    # they exclude each other
    for left_out in (("graph", "freeze", "holdout"), ("accumulate", "probe", "tests")):
        others = {name: value for name, value in OTHERS.items() if name not in left_out}
        recipe = changed(
            RECIPES["paper"],
            {name.replace("_", "-"): spelled(value) for name, value in others.items()},
        )
        for name, value in others.items():
            assert getattr(recipe, name) == value and type(getattr(recipe, name)) is type(value), (
                name
            )
            assert value != getattr(RECIPES["paper"], name), f"{name}: the test changes nothing"
        (tmp_path / "r.toml").write_text(to_toml(recipe))
        assert Recipe.from_toml(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    "text, value", [("5x3", (5, 3)), ("5", (5, 1)), ("5,3", (5, 3)), ("(2, 3)", (2, 3))]
)
def test_views_as_people_write_them(text, value):
    assert changed(Recipe(), {"views": text}).views == value


def test_a_file_builds_on_a_recipe_and_the_command_line_has_the_last_word(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text(
        'recipe = "small"\nlr = 1e-4\nbatch = 64\n[model]\ndrop_path = 0.3\ndepths = [1, 1]\n'
    )
    recipe = Recipe.from_toml(file, {"batch": "16", "model.drop_path": "0.25"})
    assert (recipe.data, recipe.lr, recipe.batch) == (RECIPES["small"].data, 1e-4, 16)
    assert recipe.model == "mvit_micro" and recipe.model_fields == {
        "drop_path": 0.25,
        "depths": (1, 1),
    }


def test_another_preset_comes_without_the_fields_of_the_one_before():
    assert RECIPES["smoke"].model_fields
    assert changed(RECIPES["smoke"], {"model": "mvit_b_16x4"}).model_fields == {}
    kept = changed(RECIPES["smoke"], {"model": "mvit_b_16x4", "model.drop-path": "0.1"})
    assert kept.model_fields == {"drop_path": 0.1}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"lerning_rate": "1"}, "no field 'lerning_rate'"),
        ({"weight_decy": "1"}, "did you mean 'weight_decay'"),
        ({"mixp": "1"}, "did you mean 'mixup'"),
        ({"epochs": "-3"}, "epochs is a number above 0, came -3.0"),
        ({"epochs": "many"}, "epochs is a number above 0, came 'many'"),
        ({"epochs": "nan"}, "came 'nan'"),
        ({"batch": "1.5"}, "batch is a whole number >= 1, came 1.5"),
        ({"batch": "true"}, "batch is a whole number >= 1, came True"),
        ({"flip": "1.5"}, r"flip is a share in \[0, 1\], came 1.5"),
        ({"ema": "1"}, r"ema is a share in \[0, 1\)"),
        ({"optimizer": "adam"}, "optimizer is one of adamw, sgd, came 'adam'"),
        ({"views": "5x"}, "views is clips x crops"),
        ({"crop_area": "0.5,2"}, "crop_area is two shares"),
        ({"betas": "0.9"}, "betas is two shares"),
        ({"nesterov": "perhaps"}, "nesterov is true or false, came 'perhaps'"),
        ({"batch": "9", "repeats": "2"}, "repeats divide the batch, came 2 for 9"),
        ({"batch": "9", "repeats": "1"}, "mixed in pairs, came a batch of 9"),
        ({"layer_decay": "0"}, r"layer_decay is a share in \(0, 1\]"),
        ({"rand_magnitude": "11"}, r"rand_magnitude is a number in \[0, 10\], came 11"),
        ({"batch": "8", "accumulate": "9"}, "a part holds a clip, came 9 parts of 8"),
        ({"lr": "1e-9"}, "lr is the peak, came 1e-09"),
        ({"precision": "fp16"}, "precision is one of float32, tf32, bf16, came 'fp16'"),
        (
            {"graph": "true"},
            "a graph is replayed by a GPU, came graph = true for device cpu: give graph = false",
        ),
        (
            {"graph": "true", "device": "cuda", "accumulate": "4"},
            "a graph holds a batch in one part, came 4",
        ),
    ],
)
def test_a_mistake_is_one_sentence(changes, words):
    with pytest.raises(ValueError, match=words) as mistake:
        Recipe.from_toml(None, changes)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("lr = ", "is no TOML"),
        ("ls = 1\n", "r.toml: a recipe has no field 'ls': did you mean 'lr'"),
        ("[optimiser]\nrate = 1\n", "no field 'optimiser': did you mean 'optimizer'"),
        ("epochs = [1]\n", "epochs is a number above 0, came"),
        ("model = 3\n", "model is text, came 3"),
        ("recipe = -1\n", "there is no recipe -1: they are paper"),
        ("recipe = 0\n", "there is no recipe 0"),
        ('recipe = ""\n', "there is no recipe ''"),
        ("[recipe]\nrate = 1\n", "there is no recipe {'rate': 1}"),
        ("[[model]]\ndim = 8\n", "model is text, came"),
        (f"model = {'[' * 100_000}\n", "is no TOML"),
        (f"epochs = 1{'0' * 5000}\n", "is no TOML"),
        (f"epochs = 1{'0' * 400}\n", "epochs is a number above 0, came 1000"),
        ("warmup = 1e308\n", "warmup is a number >= 0, came 1e.308"),
        ('views = "\u00b2x3"\n', "views is clips x crops"),
        ("model_fields = 3\n", "model_fields is a table, came 3"),
        ("seed = nan\n", "seed is a whole number >= 0, came nan"),
        ('data = "a\0b"\n', "is no TOML"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(text, words, tmp_path):
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as mistake:
        Recipe.from_toml(tmp_path / "r.toml")
    assert (
        "r.toml" in str(mistake.value)
        and len(str(mistake.value)) < 500
        and str(mistake.value).isprintable()
    )
    with pytest.raises(FileNotFoundError, match="none at"):
        Recipe.from_toml(tmp_path / "other.toml")


@pytest.mark.parametrize("text", ["(" * 100_000, "{[]: 1}", "1" * 5000, "\0", "-" * 100_000])
def test_what_is_no_value_on_a_command_line_is_one_sentence(text):
    with pytest.raises(ValueError, match="lr is a number above 0, came") as mistake:
        Recipe.from_toml(None, {"lr": text})
    assert len(str(mistake.value)) < 500


def test_frames_are_as_far_apart_as_the_model_wants_them_unless_somebody_says(tmp_path):
    """32x3 is 32 frames, every third."""
    assert (Recipe().tau, Recipe(model="mvit_b_32x3").tau, RECIPES["small"].tau) == (4, 3, 4)
    assert Recipe.from_toml(None, {"model": "mvitv2_l_40x3"}, base="paper").tau == 3
    assert changed(Recipe(model="mvit_b_32x3"), {"model": "mvit_b_16x4"}).tau == 4
    assert changed(Recipe(), {"model": "mvit_b_32x3", "tau": "2"}).tau == 2
    assert changed(Recipe(tau=2), {"epochs": 3}).tau == 2
    file = tmp_path / "r.toml"
    file.write_text('tau = 2\nrecipe = "small"\n')
    assert Recipe.from_toml(file).tau == Recipe.from_toml(file, {"model": "mvit_b_32x3"}).tau == 2
    file.write_text(to_toml(Recipe(model="mvit_b_64x3")))
    assert "\ntau = 3.0\n" in file.read_text() and Recipe.from_toml(file).tau == 3


def test_a_name_that_is_not_utf_8_survives_a_file(tmp_path):
    recipe = Recipe(data="d\udce9j\u00e0/\x7f\x1b", tests="\udcff")
    (tmp_path / "r.toml").write_text(to_toml(recipe), encoding="utf-8", errors="surrogateescape")
    assert Recipe.from_toml(tmp_path / "r.toml") == recipe


def test_whole_paths_start_from_a_folder_or_from_here(tmp_path, monkeypatch):
    there, here, said = tmp_path / "there", tmp_path / "here", []
    for folder in (there / "a", here / "a", here / "b"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    recipe = resolve(
        Recipe(data="a", tests="b", weights=str(tmp_path / "w.npz")), there, said.append
    )
    assert (recipe.data, recipe.tests, recipe.weights) == (
        str(there / "a"),
        str(here / "b"),
        str(tmp_path / "w.npz"),
    )
    assert len(said) == 1 and "there is no b" in said[0]
    assert resolve(Recipe(data="digits", tests="c"), there).tests == str(there / "c")
    assert resolve(Recipe(data="digits"), there).data == "digits" and resolve(
        Recipe(data="a")
    ).data == str(here / "a")


def test_what_may_differ_when_a_run_goes_on():
    recipe = RECIPES["small"]
    assert (
        differing(recipe, changed(recipe, {"workers": "7", "keep": "1", "save_steps": "3"})) == []
    )
    assert differing(recipe, changed(recipe, {"workers": "7", "lr": "1e-4"})) == ["lr"]
    assert differing(recipe, changed(recipe, {"device": "cuda", "graph": "true"})) == []
    assert differing(recipe, changed(recipe, {"precision": "bf16"})) == ["precision"]
    assert "seed" not in MAY_DIFFER and "batch" not in MAY_DIFFER
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.lr = 1.0


def test_the_gpus_recipe_is_of_a_model_with_two_million_parameters_on_larger_clips():
    from mvit_np import costs
    from mvit_np.data import BUILTIN
    from mvit_np.train.run.task import model_config

    recipe = RECIPES["gpu"]
    config = model_config(recipe, num_classes=len(BUILTIN[recipe.data].classes))
    assert (config.thw, config.channels) == ((8, 64, 64), 1) and costs(config).params == 2_994_056
    assert (recipe.device, recipe.graph, recipe.precision) == ("cuda", True, "tf32")


def test_recipes_by_name(tmp_path):
    (tmp_path / "r.toml").write_text('recipe = "paper"\n')
    assert Recipe.from_toml(tmp_path / "r.toml") == RECIPES["paper"]
    assert Recipe.from_toml(tmp_path / "r.toml", base="small") == RECIPES["small"]
    with pytest.raises(ValueError, match="no recipe 'smal': did you mean 'small'"):
        Recipe.from_toml(base="smal")


def test_a_file_and_a_command_line_may_use_the_earlier_names_of_the_learning_rate(tmp_path):
    (tmp_path / "r.toml").write_text('recipe = "small"\nrate = 1e-4\nend_rate = 1e-6\n')
    recipe = Recipe.from_toml(tmp_path / "r.toml", {"rate-batch": "16"})
    assert (recipe.lr, recipe.end_lr, recipe.lr_batch) == (1e-4, 1e-6, 16)
    fields = dataclasses.asdict(RECIPES["small"])
    assert (
        from_plain({"rate" if name == "lr" else name: value for name, value in fields.items()})
        == RECIPES["small"]
    )
    with pytest.raises(ValueError, match="rate is called lr now, and both came: give lr alone"):
        changed(recipe, {"rate": "1e-3", "lr": "1e-4"})
