"""torch's files against torch itself: what torch.save writes is read bit for bit, and torch.load
reads what is written.
"""

import argparse
import sys
import types
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

from mvit_np import init, load
from mvit_np.studies.gradient_cases import TINY
from mvit_np.weights.formats import files
from mvit_np.weights.layouts import state_dicts as layouts

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

FORMATS = {
    "zip": {},
    "zip, protocol 4": {"pickle_protocol": 4},
    "zip, protocol 5": {"pickle_protocol": 5},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}
DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
every_format = pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)


def tensors():
    torch.manual_seed(0)
    x = torch.randn(4, 6, 2)
    return OrderedDict(
        **{f"a.{dtype}": (8 * torch.randn(2, 3)).to(getattr(torch, dtype)) for dtype in DTYPES},
        bf16=torch.randn(3, 2).to(torch.bfloat16),
        bf16_turned=torch.randn(3, 2).to(torch.bfloat16).t(),
        bf16_0d=torch.tensor(2.5, dtype=torch.bfloat16),
        parameter=torch.nn.Parameter(torch.randn(3)),
        number=torch.tensor(7),
        empty=torch.zeros(0, 3),
        no_rows=torch.zeros(3, 0, 2),
        whole=x,
        turned=x.permute(2, 0, 1),
        cut=x[1::2, :, 1:],
        part=x[2],
        one=x[1:2, :1],
        odd_stride=torch.as_strided(x, (1, 3), (1000, 2)),
    )


def check_same(found, wanted):
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        tensor = tensor.detach()
        truth = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        assert type(found[name]) is np.ndarray and found[name].flags.carray, name
        assert found[name].dtype == truth.dtype and found[name].shape == truth.shape, name
        assert found[name].tobytes() == truth.tobytes(), name


@every_format
def test_what_torch_saves_is_read_exactly(options, tmp_path):
    wanted = tensors()
    torch.save(wanted, tmp_path / "a.pyth", **options)
    found, metadata = files.read(tmp_path / "a.pyth")
    check_same(found, wanted)
    assert metadata == {}


@every_format
def test_a_training_checkpoint_gives_its_model_and_its_scalars(options, tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    assert hasattr(model.state_dict(), "_metadata")  # an attribute of an OrderedDict
    others = {
        "optimizer_state": optimizer.state_dict(), "scaler_state": {}, "shape": torch.Size([2]),
        "dtype": torch.float16, "device": torch.device("cpu"), "betas": (0.9, 0.999),
        "acc": np.float64(3.5), "steps": np.int32(-4),
    }  # fmt: skip
    scalars = {
        "epoch": 3,
        "cfg": "MODEL:\n  größe: 1\n",
        "best": 0.5,
        "done": False,
        "none": None,
        "large": 2**70,
    }
    torch.save(
        {"model_state": model.state_dict(), **others, **scalars}, tmp_path / "a.pyth", **options
    )
    found, metadata = files.read(tmp_path / "a.pyth")
    check_same(found, model.state_dict())
    assert metadata == scalars | {"acc": 3.5, "steps": -4}


@every_format
def test_tensors_of_one_storage_share_memory(options, tmp_path):
    x = torch.arange(12.0)
    torch.save({"all": x, "same": x.view(3, 4), "end": x[8:]}, tmp_path / "a.pth", **options)
    found, _ = files.read(tmp_path / "a.pth")
    found["all"][11] = -1
    assert found["same"][2, 3] == found["end"][3] == -1


@pytest.mark.parametrize("key", [None, "model_state"])
def test_torch_loads_what_is_written(key, tmp_path):
    torch.save(tensors(), tmp_path / "from_torch.pth")
    wanted, _ = files.read(tmp_path / "from_torch.pth")
    metadata = (
        {
            "epoch": -3,
            "large": 2**70,
            "lr": 1e-300,
            "cfg": "größe",
            "done": True,
            "not": False,
            "none": None,
        }
        if key
        else {}
    )
    files.write(tmp_path / "a.pth", wanted, metadata, key=key)
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
        state = loaded.pop(key) if key else loaded
        check_same(wanted, state)
        assert all(
            tensor.is_contiguous() and tensor.data_ptr() % 64 == 0
            for tensor in state.values()
            if tensor.numel()
        )
        assert not key or loaded == metadata
    found, again = files.read(tmp_path / "a.pth")
    check_same(found, state)
    assert again == metadata


def test_a_model_takes_what_is_written(tmp_path):
    model, other = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    files.write(
        tmp_path / "a.pth", {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    )
    other.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True))
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)


def test_equal_weights_are_equal_files(tmp_path):
    for name in ("a.pth", "b.pth"):
        files.write(tmp_path / name, {"w": np.ones((2, 3))})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_files_without_checksums_are_read_and_others_are_checked(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.arange(100.0)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(np.float32(7).tobytes(), np.float32(-7).tobytes()))
    with pytest.raises(ValueError, match="checksum"):
        files.read(path)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(100.0)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    np.testing.assert_array_equal(files.read(path)[0]["w"], np.arange(100))


class Extra:
    pass


@every_format
@pytest.mark.parametrize(
    "tree, words",
    [
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "'w' is complex64"),
        ({"w": torch.zeros(2, dtype=torch.uint16)}, "'w' something a tensor of a dtype"),
        ({"w": torch.ones(2, 2).to_sparse()}, "'w' something a sparse tensor"),
        ({"w": torch.ones(1).expand(3)}, "repeats elements"),
        ({"w": [torch.ones(2)]}, "under 'w' something of type list"),
        ({"model": {3: torch.ones(2)}}, "under '3'"),
        ({"epoch": 3}, "under 'epoch' something of type int"),
        (torch.ones(2), "a Tensor where a dict"),
        ({"w": torch.ones(2), "x": Extra()}, "asks for .*Extra"),
        ({"w": torch.ones(2), "x": np.ones(2)}, "asks for 'numpy"),
        ({"w": torch.ones(2), "x": Counter("ab")}, "asks for 'collections.Counter'"),
    ],
)
def test_what_is_no_state_dict_of_dense_real_tensors_is_named(options, tree, words, tmp_path):
    torch.save(tree, tmp_path / "a.pth", **options)
    with pytest.raises(ValueError, match=words):
        files.read(tmp_path / "a.pth")


class CfgNode(dict):
    """As yacs has it: a dict with attributes of its own."""

    def __init__(self, values):
        super().__init__(values)
        self.__dict__["__deprecated_keys__"] = set()


CfgNode.__module__ = "yacs.config"


@every_format
def test_what_a_script_was_told_is_left_aside(options, tmp_path, monkeypatch):
    """argparse.Namespace as DeiT, MAE and Hiera save it, paths in it, objects of the script's own;
    no class is looked for.
    """
    for name in ("yacs", "yacs.config"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["yacs.config"].CfgNode = CfgNode
    extra = Extra()
    extra.inner = [Extra(), {"a": Extra()}]
    told = argparse.Namespace(
        lr=0.1, out=Path("runs"), device=torch.device("cpu"), seen={1, 2}, more=extra
    )
    cfg = CfgNode({"MVIT": CfgNode({"DEPTH": 2})})
    torch.save(
        {"model": {"w": torch.ones(2)}, "epoch": 3, "args": told, "cfg": cfg, "other": extra},
        tmp_path / "a.pth",
        **options,
    )
    monkeypatch.delattr(argparse, "Namespace")
    monkeypatch.delitem(sys.modules, "yacs.config")
    found, metadata = files.read(tmp_path / "a.pth")
    np.testing.assert_array_equal(found["w"], [1, 1])
    assert metadata == {"epoch": 3, "cfg": {"MVIT": {"DEPTH": 2}}}


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema"])
def test_a_running_mean_beside_the_weights_is_told_of(name, tmp_path):
    tensors = layouts.from_params(init(TINY, np.random.default_rng(0)), TINY, "slowfast")
    state = {key: torch.from_numpy(x) for key, x in tensors.items()}
    torch.save(
        {"state_dict": state, name: {key: 0 * x for key, x in state.items()}}, tmp_path / "a.pth"
    )
    with pytest.warns(
        UserWarning, match=f"holds a running mean of its weights, under {name}, which is not taken"
    ):
        params, _ = load(tmp_path / "a.pth", like=TINY)
    np.testing.assert_array_equal(params["head"]["w"], tensors["head.projection.weight"].T)


def test_a_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match="asks for 'torch.nn.modules.linear.Linear'.*save only the state_dict"
    ):
        files.read(tmp_path / "a.pth")
