"""Saving and loading: exact, atomic, and clear about files that are none of ours."""

import dataclasses
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.model.parameters import parameter_shapes
from mvit_np.weights.formats import files
from mvit_np.weights.layouts import state_dicts as layouts

MICRO = mv.preset("mvit_micro")
FORMATS = pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
CONFIGS = [
    MICRO,
    replace(
        MICRO,
        size=(32, 64),
        stride_q=((1, 2, 2), (2, 2, 2)),
        pool="max",
        pool_kernel="s+1",
        stride_kv=None,
    ),
]


@FORMATS
@pytest.mark.parametrize("config", CONFIGS)
def test_round_trip_is_exact(config, suffix, rng, tmp_path):
    params, path = mv.init(config, rng), tmp_path / f"model{suffix}"
    mv.save(path, params, config)
    loaded, same_config = mv.load(path)
    assert same_config == config and hash(same_config) == hash(config)
    trees.map(np.testing.assert_array_equal, params, loaded)
    clip = rng.standard_normal((1, *config.thw, 1)).astype("float32")
    np.testing.assert_array_equal(
        mv.forward(params, clip, config), mv.forward(loaded, clip, config)
    )


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


# -- hostile files ---------------------------------------------------------------------------------


@FORMATS
@pytest.mark.parametrize(
    "field, value",
    [
        ("dim", 64_000_000),
        ("num_classes", 2**32 - 1),
        ("mlp_ratio", 1e9),
        ("size", 2**40),
        ("frames", 2**50),
        ("channels", 2**62),
        ("cube_kernel", [2**40 + 1] * 3),
        ("depths", [10**9, 1]),
        ("eps", 10**400),
    ],
)
def test_a_config_of_a_huge_model_takes_no_memory(field, value, suffix, rng, tmp_path):
    mv.save(tmp_path / f"a{suffix}", mv.init(MICRO, rng), MICRO)
    tensors, metadata = files.read(tmp_path / f"a{suffix}")
    config = json.dumps(json.loads(metadata["config"]) | {field: value})
    files.write(tmp_path / f"b{suffix}", tensors, {"config": config})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"b{suffix}: ") as problem:
            mv.load(tmp_path / f"b{suffix}")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert len(str(problem.value)) < 500


def test_shapes_of_parameters_take_no_memory():
    tracemalloc.start()
    shapes = parameter_shapes(replace(mv.preset("mvitv2_l_40x3"), dim=144 * 10**4))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    assert shapes["norm.g"] == (8 * 144 * 10**4,)
    with pytest.raises(ValueError, match="parameters fit into memory; came an array of shape"):
        parameter_shapes(replace(mv.preset("mvit_b_16x4"), dim=96 * 10**9))


def npy(descr, shape, body):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "descr, shape, body, words",
    [
        ("<U1", "()", b"\xff\xff\xff\x7f", "letters that do not exist"),
        (">U1", "()", b"\x00\x11\x00\x00", "letters that do not exist"),
        ("<U0", "()", b"", ""),
        ("<f4", "(True,)", b"\0" * 4, r"shape \(True,\) of float32 does not fill"),
        ("<f4", "(0, 99999999999999999999)", b"", ""),
    ],
)
def test_an_npz_of_nonsense_is_one_sentence(descr, shape, body, words, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy(descr, shape, body))
    with pytest.raises(ValueError, match=f"a.npz cannot be read: its entry 'a': .*{words}"):
        mv.load(tmp_path / "a.npz")


@pytest.mark.parametrize("start", [2**62, 2**63, 2**64 - 1])
def test_a_zip_that_points_beyond_any_disk_is_one_sentence(start, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy("<f4", "()", b"\0" * 4))
    data = (tmp_path / "a.npz").read_bytes()
    central, end = data.rindex(b"PK\1\2"), data.rindex(b"PK\5\6")
    entry = (
        data[central : central + 30]
        + struct.pack("<H", 12)
        + data[central + 32 : central + 42]
        + b"\xff" * 4
    )
    entry += b"a.npy" + struct.pack("<HHQ", 1, 8, start)
    tail = data[end : end + 12] + struct.pack("<L", len(entry)) + data[end + 16 :]
    (tmp_path / "a.npz").write_bytes(data[:central] + entry + tail)
    with pytest.raises(
        ValueError, match=f"a.npz cannot be read: its entry 'a.npy' begins at byte {start}, behind"
    ):
        mv.load(tmp_path / "a.npz")


@FORMATS
@pytest.mark.parametrize("own", [True, False])
def test_names_of_tensors_reach_no_terminal_raw(own, suffix, tmp_path):
    """A file that clears the screen and says all is fine."""
    for name in ("\x1b[2J\x1b[Hmvit-np: all fine\n", "patch_embed.proj.weight", "a" * 60_000):
        tensors = {name: np.ones(3), f"{name}\x1b]0;x\x07": np.ones(2)}
        files.write(
            tmp_path / f"a{suffix}",
            tensors,
            {"config": json.dumps(dataclasses.asdict(MICRO))} if own else {},
        )
        with pytest.raises(ValueError, match=f"a{suffix}: ") as problem:
            mv.load(tmp_path / f"a{suffix}")
        assert str(problem.value).isprintable() and len(str(problem.value)) < 1100


@pytest.mark.parametrize("config", ["configs/train.yaml", '{"architecture": "mvit"}'])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_config_that_a_script_put_beside_the_weights_is_not_ours(suffix, config, rng, tmp_path):
    params = mv.init(MICRO, rng)
    tensors = layouts.from_params(params, MICRO, "slowfast")
    files.write(
        tmp_path / f"m{suffix}",
        tensors,
        {"config": config},
        key="model" if suffix == ".pth" else None,
    )
    found = mv.load(tmp_path / f"m{suffix}", like=MICRO)
    assert found[1] == MICRO
    trees.map(np.testing.assert_array_equal, found[0], params)
