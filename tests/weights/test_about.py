"""What a file says of its model besides the config: names of classes, tau, normalisation; and the
folder of a run as a file.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.model.presets import PRESETS, Preset
from mvit_np.train.run import snapshot
from mvit_np.weights import open_model
from mvit_np.weights.formats import files
from mvit_np.weights.layouts import state_dicts as layouts
from mvit_np.weights.load import BEST, MODEL

MICRO = mv.preset("mvit_micro")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ABOUTS = [
    mv.About(),
    mv.About(("cat", "caf\u00e9 \udce9"), 3.0, "video"),
    mv.About(None, 0.5, (0.45, 0.225)),
    mv.About(normalise=IMAGENET),
]
SUFFIXES = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])


@SUFFIXES
@pytest.mark.parametrize("about", ABOUTS, ids=range(len(ABOUTS)))
def test_a_file_keeps_what_is_said_about_its_model(about, suffix, rng, tmp_path):
    mv.save(tmp_path / f"a{suffix}", mv.init(MICRO, rng), MICRO, about)
    found = open_model(tmp_path / f"a{suffix}").about
    assert found == about and hash(found) == hash(about)


@pytest.mark.parametrize(
    "to, suffix",
    [
        ("npz", ".npz"),
        ("safetensors", ".safetensors"),
        ("slowfast", ".pyth"),
        ("pytorchvideo", ".safetensors"),
    ],
)
def test_convert_takes_it_along_and_back(to, suffix, rng, tmp_path):
    about = ABOUTS[1]
    mv.save(tmp_path / "a.npz", mv.init(MICRO, rng), MICRO, about)
    mv.convert(tmp_path / "a.npz", tmp_path / f"b{suffix}", to=to)
    mv.convert(tmp_path / f"b{suffix}", tmp_path / "c.npz")
    assert (
        open_model(tmp_path / f"b{suffix}").about == open_model(tmp_path / "c.npz").about == about
    )


def test_a_video_model_has_the_tau_of_its_preset_and_the_rest_of_its_image_model(
    rng, tmp_path, monkeypatch
):
    video = replace(MICRO, positions="joint", pool_kernel=(1, 3, 3))
    image = replace(video, frames=1, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4))
    monkeypatch.setitem(PRESETS, "tiny", Preset("tiny", "", video, tau=3.0))
    mv.save(tmp_path / "a.npz", mv.init(image, rng), image, mv.About(("a", "b"), 1.0, "clip"))
    for into, tau in (("tiny", 3.0), (video, None)):
        mv.convert(tmp_path / "a.npz", tmp_path / "b.npz", inflate="centre", into=into, rng=rng)
        assert open_model(tmp_path / "b.npz").about == mv.About(("a", "b"), tau, "clip")


@SUFFIXES
def test_a_file_of_before_says_nothing(suffix, rng, tmp_path):
    mv.save(tmp_path / f"a{suffix}", mv.init(MICRO, rng), MICRO)
    tensors, metadata = files.read(tmp_path / f"a{suffix}")
    files.write(tmp_path / f"b{suffix}", tensors, {"config": metadata["config"]})
    assert open_model(tmp_path / f"b{suffix}").about == mv.About()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"classes": "cat dog"}, "classes is a tuple of names"),
        ({"classes": ("cat", 3)}, "classes is a tuple of names"),
        ({"tau": 0}, "tau is a number above 0"),
        ({"tau": float("nan")}, "tau is a number above 0"),
        ({"tau": True}, "tau is a number above 0"),
        ({"normalise": (0.45,)}, r"normalise is a name, or \(mean, deviation\)"),
        ({"normalise": (0.45, 0.0)}, "deviations above 0"),
        ({"normalise": (0.45, ())}, "deviations above 0"),
        ({"normalise": (0.45, ("a", "b"))}, "deviations above 0"),
    ],
)
def test_nonsense_is_refused_and_so_is_a_file_that_says_it(fields, words, rng, tmp_path):
    with pytest.raises(ValueError, match=words):
        mv.About(**fields)
    mv.save(tmp_path / "a.npz", mv.init(MICRO, rng), MICRO)
    tensors, metadata = files.read(tmp_path / "a.npz")
    for text in (json.dumps(fields), "{", "[1]", '{"colour": 1}', "[" * 100_000):
        files.write(tmp_path / "b.npz", tensors, {"config": metadata["config"], "about": text})
        with pytest.raises(
            ValueError, match="b.npz: what it says about its classes and clips is damaged"
        ):
            mv.load(tmp_path / "b.npz")


def test_a_field_that_no_config_has_is_named(rng, tmp_path):
    mv.save(tmp_path / "a.npz", mv.init(MICRO, rng), MICRO)
    with pytest.raises(TypeError, match="MViTConfig has no field colour"):
        mv.load(tmp_path / "a.npz", colour=3)


def test_every_class_has_a_name(rng, tmp_path):
    with pytest.raises(ValueError, match="came 3 names for 2 classes"):
        mv.save(tmp_path / "a.npz", mv.init(MICRO, rng), MICRO, mv.About(("a", "b", "c")))
    assert not (tmp_path / "a.npz").exists()


def test_tau_of_a_public_checkpoint_is_that_of_its_preset(rng, tmp_path, monkeypatch):
    """ "32x3" is 32 frames, each 3 after the one before."""
    for frames, tau in ((32, 3.0), (16, 4.0)):
        name, config = f"micro_{frames}x{tau:.0f}", replace(MICRO, frames=frames)
        monkeypatch.setitem(PRESETS, name, Preset(name, "", config, tau=tau))
        files.write(
            tmp_path / "a.pth", layouts.from_params(mv.init(config, rng), config, "slowfast")
        )
        assert (
            open_model(tmp_path / "a.pth").about
            == open_model(tmp_path / "a.pth", like=name).about
            == mv.About(tau=tau)
        )
        # nobody said which it is
        assert open_model(tmp_path / "a.pth", like=config).about == mv.About()


@pytest.mark.parametrize("name", PRESETS)
def test_tau_of_presets_is_in_their_names(name):
    """The `x3` of `32x3`; ViT-B is 8x8 (Table 3a), ViViT has every second frame (its Sec. 4.1), a
    picture has no next frame.
    """
    after = name.partition("x")[2].partition("_")[0]
    known = {
        "vit_b_8f": 8,
        "vivit_l": 2,
        "vivit_l_fe": 2,
        "vivit_b_fe": 2,
        "mvit_micro": 4,
        "hiera_b_16x224": 4,
    }
    assert PRESETS[name].tau == (
        1 if PRESETS[name].config.frames == 1 else known.get(name) or float(after)
    )


# -- the folder of a run ---------------------------------------------------------------------------


def head(params):
    return params["head"]["b"].tolist()


def saved(path, value, rng):
    params = mv.init(MICRO, rng)
    params["head"]["b"][:] = value
    mv.save(path, params, MICRO, mv.About(tau=value))


def test_a_folder_of_a_run_is_its_model(rng, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no model.npz and no best.npz"):
        mv.load(tmp_path)
    saved(tmp_path / BEST, 2, rng)
    assert head(mv.load(tmp_path)[0]) == [2, 2]  # the run has not come to its end
    saved(tmp_path / MODEL, 1, rng)
    assert head(mv.load(tmp_path)[0]) == head(mv.load(str(tmp_path))[0]) == [1, 1]
    assert (
        head(mv.load(tmp_path, best=True)[0]) == [2, 2]
        and open_model(tmp_path, best=True).about.tau == 2
    )
    (tmp_path / BEST).unlink()
    with pytest.raises(FileNotFoundError, match="has no best.npz: give the folder of a run"):
        mv.load(tmp_path, best=True)
    with pytest.raises(
        ValueError, match="best model is in the folder of a run, and .*model.npz is no folder"
    ):
        mv.load(tmp_path / MODEL, best=True)


def test_a_folder_is_converted_too(rng, tmp_path):
    saved(tmp_path / MODEL, 1, rng)
    saved(tmp_path / BEST, 2, rng)
    assert mv.convert(tmp_path, tmp_path / "a.safetensors").source.about == mv.About(tau=1)
    assert mv.convert(tmp_path, tmp_path / "b.safetensors", best=True).source.about == mv.About(
        tau=2
    )
    with pytest.raises(ValueError, match="not converted into itself"):
        mv.convert(tmp_path, tmp_path / MODEL)


def test_a_snapshot_is_called_one(rng, tmp_path):
    path = snapshot.save(tmp_path, {"step": 3, "params": mv.init(MICRO, rng)})
    with pytest.raises(
        ValueError, match="it is a snapshot of a run, .* give the folder of the run"
    ):
        mv.load(path)


def test_what_is_read_is_written_again_without_a_word(rng, tmp_path):
    """A model of our own never warns."""
    config = replace(MICRO, pool="max", mean_before_norm=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mv.save(tmp_path / "a.npz", mv.init(config, rng), config, ABOUTS[1])
        params, found = mv.load(tmp_path / "a.npz")
    assert found == config
    trees.map(np.testing.assert_array_equal, params, mv.load(tmp_path / "a.npz")[0])
