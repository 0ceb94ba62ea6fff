"""Saving and loading: exact, atomic, and clear about files that are none of ours."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import tree as trees

MICRO = mv.preset("mvit_micro")
FORMATS = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
CONFIGS = [MICRO, replace(MICRO, size=(32, 64), stride_q=((1, 2, 2), (2, 2, 2)), pool="max", pool_kernel="s+1", stride_kv=None)]


@FORMATS
@pytest.mark.parametrize("config", CONFIGS)
def test_round_trip_is_exact(config, suffix, rng, tmp_path):
    params, path = mv.init(config, rng), tmp_path / f"model{suffix}"
    mv.save(path, params, config)
    loaded, same_config = mv.load(path)
    assert same_config == config and hash(same_config) == hash(config)
    trees.map(np.testing.assert_array_equal, params, loaded)
    clip = rng.standard_normal((1, *config.thw, 1)).astype("float32")
    np.testing.assert_array_equal(mv.forward(params, clip, config), mv.forward(loaded, clip, config))


def full_disk(descriptor):
    raise OSError("disk full")


@FORMATS
def test_a_failed_save_leaves_the_old_file_and_no_other(suffix, rng, tmp_path, monkeypatch):
    path, params = tmp_path / f"model{suffix}", mv.init(MICRO, rng)
    mv.save(path, params, MICRO)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        mv.save(path, params, MICRO)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return (eval, ("__import__('builtins').exploded.append(1)",))


def entries(rng):
    import dataclasses

    config = np.array(json.dumps(dataclasses.asdict(MICRO)))
    return dict(trees.paths(mv.init(MICRO, rng))) | {"config": config}


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda e: e.pop("config"), "no model that mv.save wrote"),
        (lambda e: e.pop("head.w"), "head.w, which is missing"),
        (lambda e: e.update(extra=np.ones(2)), "no parameters extra"),
        (lambda e: e.update({"head.w": np.ones((3, 3))}), r"head.w has shape \(64, 2\)"),
        (lambda e: e.update(config=np.array('{"frames": 0}')), "frames is a whole number"),
        (lambda e: e.update(config=np.array('{"colour": 1}')), "no model that mv.save wrote"),
        (lambda e: e.update(config=np.array("[not json")), "no model that mv.save wrote"),
    ],
)
def test_a_file_that_does_not_fit_is_named(spoil, words, rng, tmp_path):
    changed = entries(rng)
    spoil(changed)
    np.savez(tmp_path / "model.npz", **changed)
    with pytest.raises(ValueError, match=words):
        mv.load(tmp_path / "model.npz")


def test_no_pickle_is_executed(rng, tmp_path):
    import builtins

    builtins.exploded = []
    np.savez(tmp_path / "inside.npz", **entries(rng), bomb=np.array([Bomb()], dtype=object))
    (tmp_path / "whole.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("inside.npz", "whole.npz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read: its"):
            mv.load(tmp_path / name)
    assert builtins.exploded == []


def test_truncated_and_missing_files_and_other_endings(rng, tmp_path):
    path = tmp_path / "model.npz"
    mv.save(path, mv.init(MICRO, rng), MICRO)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"{path.name} cannot be read: it"):
            mv.load(path)
    with pytest.raises(FileNotFoundError, match="there is none at"):
        mv.load(tmp_path / "nothing.npz")
    with pytest.raises(ValueError, match="ending in .npz"):
        mv.save(tmp_path / "model.pth", {}, MICRO)
