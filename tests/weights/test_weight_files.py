"""Weight files without torch: exact round trips against NumPy's and safetensors' own readers, and
hostile files refused.
"""

import math
import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from mvit_np.weights.formats import files

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]


def arrays(rng):
    """Every dtype, no axis, no element, and axes in another order."""
    plain = {f"a.{dtype}": (8 * rng.standard_normal((2, 3))).astype(dtype) for dtype in DTYPES}
    x = rng.standard_normal((4, 6, 2)).astype("float32")
    return plain | {
        "0-d": np.array(2.5, "float32"),
        "empty": np.zeros((0, 3)),
        "turned": x.T,
        "cut": x[::2, 1:, 0],
        "big": x.astype(">f4"),
    }


def check_equal(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
        assert (
            found[name].dtype == array.dtype.newbyteorder("=") and found[name].shape == array.shape
        )
        assert type(found[name]) is np.ndarray and found[name].flags.carray


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pyth", ".pt"])
def test_round_trip_is_exact_and_the_name_does_not_matter(suffix, rng, tmp_path):
    wanted, path = arrays(rng), tmp_path / f"weights{suffix}"
    key = "model_state" if suffix.startswith(".p") else None
    files.write(path, wanted, {"config": "größe: 3\n"}, key=key)
    found, metadata = files.read(path.rename(tmp_path / "no_suffix"))
    check_equal(found, wanted)
    assert metadata == {"config": "größe: 3\n"}
    # safetensors has an order of its own
    assert suffix == ".safetensors" or list(found) == list(wanted)


def test_other_libraries_read_what_is_written_and_the_other_way_round(rng, tmp_path):
    wanted = arrays(rng)
    files.write(tmp_path / "a.npz", wanted, {"config": "x"})
    with np.load(tmp_path / "a.npz") as file:
        check_equal({name: file[name] for name in wanted}, wanted)
        assert file["config"] == "x"
    files.write(tmp_path / "a.safetensors", wanted, {"config": "x"})
    check_equal(safetensors.numpy.load_file(tmp_path / "a.safetensors"), wanted)

    np.savez(
        tmp_path / "b.npz",
        **wanted,
        config=np.array("x"),
        fortran=np.asfortranarray(wanted["a.float32"]),
    )
    found, metadata = files.read(tmp_path / "b.npz")
    check_equal(found, wanted | {"fortran": wanted["a.float32"]})
    assert metadata == {"config": "x"}
    safetensors.numpy.save_file(
        {k: np.array(v, order="C") for k, v in wanted.items()},
        tmp_path / "b.safetensors",
        {"config": "x"},
    )
    found, metadata = files.read(tmp_path / "b.safetensors")
    check_equal(found, wanted)
    assert metadata == {"config": "x"}


def test_a_safetensors_whose_length_begins_like_a_pickle(tmp_path):
    """Its first byte is the lowest of its header's length, 128 in one of 32 files."""
    for padding in range(0, 512, 8):
        files.write(tmp_path / "a.safetensors", {"w": np.ones(2)}, {"text": "x" * padding})
        if (tmp_path / "a.safetensors").read_bytes()[0] == 0x80:
            break
    check_equal(files.read(tmp_path / "a.safetensors")[0], {"w": np.ones(2)})
    assert padding < 504


def test_bfloat16_is_widened_exactly(tmp_path):
    values = np.array([1.0, -2.5, 3.0e38, 1e-40, np.inf, np.nan, -0.0], "float32")
    halves = (values.view("uint32") >> 16).astype("<u2")
    header = b'{"w":{"dtype":"BF16","shape":[7],"data_offsets":[0,14]}}'
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header + halves.tobytes())
    found, _ = files.read(tmp_path / "a")
    np.testing.assert_array_equal(found["w"].view("uint32"), halves.astype("uint32") << 16)
    assert found["w"].dtype == np.float32


@pytest.mark.parametrize(
    "name, tensors, metadata, key, words",
    [
        ("a.bin", {}, {}, None, "written to .npz, .safetensors"),
        ("a.npz", {"w": np.zeros(2, complex)}, {}, None, "w is complex128"),
        ("a.npz", {"w": np.array([object()])}, {}, None, "w is object"),
        ("a.pth", {"w": np.zeros(2, "uint16")}, {}, None, "w is uint16"),
        ("a.safetensors", {"w": np.array(["x"])}, {}, None, "w is <?U?"),
        ("a.npz", {"w": np.zeros(2)}, {"w": "x"}, None, "both a tensor and metadata"),
        ("a.npz", {3: np.zeros(2)}, {}, None, "tensors have names; came 3"),
        ("a.safetensors", {}, {"epoch": 3}, None, "metadata of strings"),
        ("a.npz", {}, {}, "model_state", "no key"),
        ("a.pth", {}, {"epoch": 3}, None, "cannot hold metadata"),
        ("a.pth", {}, {"epoch": [3]}, "model", "'epoch' is of type list"),
        ("a.pth", {}, {"model": "v1"}, "model", "metadata has it too"),
        ("a.pth", {}, {"big": 1 << 3000}, "model", "at most 254 bytes; came one of 376"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_left(
    name, tensors, metadata, key, words, tmp_path
):
    with pytest.raises(ValueError, match=words):
        files.write(tmp_path / name, tensors, metadata, key=key)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_other(broken, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    files.write(path, {"w": np.ones(3)})
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, broken, full_disk)
    with pytest.raises(OSError, match="disk full"):
        files.write(path, {"w": np.zeros(3)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file_and_a_missing_folder_is_named(tmp_path):
    old = os.umask(0o027)
    try:
        files.write(tmp_path / "a.npz", {"w": np.ones(3)})
    finally:
        os.umask(old)
    assert os.name == "nt" or (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError, match="no folder"):
        files.write(tmp_path / "none" / "a.npz", {})
    with pytest.raises(FileNotFoundError, match="there is none at"):
        files.read(tmp_path / "none.npz")


# ---- hostile and damaged files


def check_refused(path, words):
    """ValueError with the path and these words, within 64 MB and five seconds."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ValueError, match=words) as caught:
            files.read(path)
        assert tracemalloc.get_traced_memory()[1] < 64e6 and time.process_time() - start < 5
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value) and len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_a_file_cut_short_anywhere_is_refused(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    files.write(path, {"w": np.arange(12.0), "b": np.ones((2, 2), "float32")})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read"):
            files.read(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_random_damage_is_an_error_or_another_array_and_never_worse(suffix, tmp_path):
    path, draw = tmp_path / f"a{suffix}", random.Random(0)
    files.write(path, {"w": np.arange(12.0), "b": np.ones((2, 2), "float32")})
    whole = path.read_bytes()
    for _ in range(300):
        spoilt = bytearray(whole)
        for _ in range(draw.choice([1, 2, 4])):
            spoilt[draw.randrange(len(spoilt))] = draw.choice(
                [0, 1, 0x28, 0x7F, 0xFF, draw.randrange(256)]
            )
        path.write_bytes(spoilt)
        try:
            files.read(path)
        except ValueError:
            pass


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "none of torch.save"),
        (b"<!doctype html><p>not found", "check what was downloaded"),
        (bytes(257) + b"ustar" + bytes(300), "a tar"),
        (b"\xff" * 8 + b"{", "none of torch.save"),
        (b"\x40" + bytes(7) + b"{" + b"[" * 100, "damaged"),
        (b"\x1e" + bytes(7) + b'{"w":{"dtype":"F99","shape":[]', "damaged"),
        (pickle.dumps([1, 2, 3]), "not one that torch.save writes"),
        (b"PK\3\4" + bytes(200), "no end"),
    ],
)
def test_what_is_no_weight_file_is_refused(content, words, tmp_path):
    (tmp_path / "a").write_bytes(content)
    check_refused(tmp_path / "a", words)


def zipped(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def npy(shape, data=b"", dtype="<f4"):
    header = (
        f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode()
        + b"\n"
    )
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "data, words",
    [
        (npy((2**40, 2**30)), "does not fill"),
        (npy((-2, -2), bytes(16)), "does not fill"),
        (npy((3,), bytes(8)), "does not fill"),
        (npy((1,), bytes(8), "|O"), "never unpickled"),
        (npy((1,), bytes(8), "<c8"), "neither numbers"),
        (npy((2,), bytes(8), "<U1"), "neither numbers"),
        (npy("-" * 90 + "1"), "'w'"),
        (npy("(" * 90), "'w'"),
        (npy("__import__('os')"), "'w'"),
        (b"no array", "'w'"),
    ],
)
def test_a_hostile_npy_is_refused(data, words, tmp_path):
    check_refused(zipped(tmp_path / "a.npz", [("w.npy", data)]), words)


def test_a_hostile_zip_is_refused(tmp_path):
    bomb = [("w.npy", npy((2**22,), bytes(2**24)))]
    check_refused(zipped(tmp_path / "bomb.npz", bomb, zipfile.ZIP_DEFLATED), "compressed")
    one = npy((2,), bytes(8))
    with pytest.warns(UserWarning, match="Duplicate"):
        check_refused(
            zipped(tmp_path / "twice.npz", [("w.npy", one), ("w.npy", one)]), "two entries"
        )
    whole = zipped(tmp_path / "a.npz", [("v.npy", one), ("w.npy", one)]).read_bytes()
    first, second, size = whole.index(b"PK\1\2"), whole.rindex(b"PK\1\2"), len(one)
    spoilt = {
        "overlaps": whole[: first + 20]
        + struct.pack("<2L", size + 9, size + 9)
        + whole[first + 28 :],
        "is not where": whole[: second + 42]
        + whole[first + 42 : first + 46]
        + whole[second + 46 :],
        "more than the file": whole[: second + 20]
        + struct.pack("<2L", 2**31, 2**31)
        + whole[second + 28 :],
        "compressed or encrypted": whole[: first + 8] + b"\1" + whole[first + 9 :],
        "checksum": whole.replace(bytes(8), b"\1" + bytes(7), 1),
        "does not fit the file": whole[:-12] + b"\xff\xff" + whole[-10:],
        "no end": whole + b"behind",
    }
    for words, content in spoilt.items():
        (tmp_path / "a.npz").write_bytes(content)
        check_refused(tmp_path / "a.npz", words)


# ---- torch's files, written by hand opcode by opcode


def name_of(name):
    return b"c%s\n%s\n" % tuple(name.encode().rsplit(b".", 1))


def text(s):
    return b"X" + struct.pack("<L", len(s.encode())) + s.encode()


def number(n):
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def storage(numel=4, dtype="torch.FloatStorage", key="0", view=b""):
    return (
        tuple_of(text("storage"), name_of(dtype), text(key), text("cpu"), number(numel), view)
        + b"Q"
    )


def tensor(size=(4,), stride=(1,), offset=0, of=None):
    dims = [tuple_of(*map(number, numbers)) for numbers in (size, stride)]
    arguments = tuple_of(
        of or storage(), number(offset), *dims, b"\x89", name_of("collections.OrderedDict") + b")R"
    )
    return name_of("torch._utils._rebuild_tensor_v2") + arguments + b"R"


def state(value, name="w"):
    return b"\x80\2}" + text(name) + value + b"s."


FOUR = np.arange(4, dtype="<f4").tobytes()


def torch_zip(path, pickled, storages={"0": FOUR}, root="archive", more=()):  # noqa: B006
    entries = [
        (f"{root}/data.pkl", pickled),
        *((f"{root}/data/{key}", data) for key, data in storages.items()),
    ]
    return zipped(path, [*entries, *more])


def test_the_handmade_file_is_right_before_it_is_spoilt(tmp_path):
    found, metadata = files.read(torch_zip(tmp_path / "a.pth", state(tensor((2, 2), (1, 2)))))
    np.testing.assert_array_equal(found["w"], [[0, 2], [1, 3]])
    assert metadata == {} and found["w"].dtype == np.float32 and found["w"].flags.carray


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_no_function_is_ever_called(tmp_path):
    mark = tmp_path / "mark"
    calls = [
        (Calls(os.system, f"touch {mark}"), "system"),
        (Calls(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (Calls(getattr, Calls, "call"), "getattr"),
        (Calls(open, str(mark), "w"), "open"),
        (Calls(np.load, str(mark)), "numpy"),
    ]
    for protocol in (2, 4):
        for call, words in calls:
            for pickled in (
                pickle.dumps(call, protocol),
                pickle.dumps({"w": np.float64(1), "epoch": call}, protocol),
            ):
                (tmp_path / "legacy.pth").write_bytes(pickled)
                check_refused(tmp_path / "legacy.pth", f"asks for .*{words}.*nothing was run")
                check_refused(
                    torch_zip(tmp_path / "a.pth", pickled), f"asks for .*{words}.*nothing was run"
                )
    assert not mark.exists()


ORDERED = name_of("collections.OrderedDict")


@pytest.mark.parametrize(
    "value, words",
    [
        (ORDERED + tuple_of(number(3)) + b"R", "calls something with 1 arguments"),
        (ORDERED + b"]R", "a list where a tuple"),
        (name_of("torch.FloatStorage") + b")R", "which is no function"),
        (text("os.system") + b")R", "a str where a Name"),
        (tensor() + b"}b", "sets attributes"),
        (ORDERED + b"}b", "sets attributes"),
        (b")" + b"}b", "sets attributes"),
        (ORDERED + b")\x81", "NEWOBJ"),
        (ORDERED + b")}\x92", "NEWOBJ_EX"),
        (b"(ios\nsystem\n", "INST"),
        (b"(" + ORDERED + b"o", "OBJ"),
        (b"\x82\1", "EXT1"),
        (b"Pid\n", "PERSID"),
        (b"\x97", "NEXT_BUFFER"),
        (b"h\x07", "what it never put"),
        (b"0" * 5, "POP"),
        (b"t", "what it never put"),
        (b"\x85" * 9, "what it never put"),
        (text("torch._utils") + b"K\1\x93", "a int where a str"),
        (text("os") + text("system") + b"\x93", "asks for 'os.system'"),
        (b"cos\x20system x\ny\n", "asks for"),
        (b"Q", "a str where a tuple"),
        (tuple_of(text("module"), ORDERED, text("a"), text("b"), number(0)) + b"Q", "no storage"),
        (
            tuple_of(text("storage"), text("torch.FloatStorage"), text("0"), text("cpu"), number(4))
            + b"Q",
            "a str where a Name",
        ),
        (storage(dtype="torch.storage.TypedStorage"), "unknown dtype"),
        (storage(dtype="torch.StringStorage"), "asks for"),
        (storage(-1), "negative, huge"),
        (storage(), "of type Storage"),
        (storage(view=tuple_of(text("1"), number(2), number(3))), "reaches outside"),
        (
            name_of("torch._utils._rebuild_parameter") + tuple_of(b"}", b"\x88", b"}") + b"R",
            "a dict where",
        ),
        (
            name_of("torch._utils._rebuild_tensor_v2") + tuple_of(tensor(), *[b"K\0))"]) + b"R",
            "a Tensor where a Storage",
        ),
        (name_of("torch._utils._rebuild_tensor_v2") + b")R", "calls something with 0 arguments"),
        (tensor((2, 2), (1,)), "2 sizes and 1 strides"),
        (tensor((1,) * 65, (1,) * 65), "at most 64"),
        (tensor((4,), (-1,), offset=3), "negative, huge"),
        (tensor((-1, -4), (1, 1)), "negative, huge"),
        (tensor((4,), (1,), offset=-1), "negative, huge"),
        (tensor((2**62,), (1,)), "negative, huge"),
        (tensor((2**61, 2**61, 2**61), (0, 0, 0)), "or repeats elements"),
        (tensor((2**40,), (0,)), "or repeats elements"),
        (tensor((2**40,), (1,), of=storage(2**40)), "more than 4 times the file"),
        (tensor((5,), (0,)), "or repeats elements"),
        (tensor((2,), (4,)), "reaches element 4 in a storage of 4"),
        (tensor((1,), (1,), offset=4), "reaches element 4 in a storage of 4"),
        (tensor((2, 2), (1, 2**61)), "reaches element"),
        (tensor((5,), (1,), of=storage(5)), "16 bytes, too few for 5 x float32"),
        (
            tensor((3,), (1,), of=storage(4, "torch.DoubleStorage")),
            "16 bytes, too few for 4 x float64",
        ),
        (tensor(of=storage(key="7")), "storage '7' is not in the file"),
        (tensor(of=storage(key="../data.pkl")), "is not in the file"),
        (tensor(of=storage(2, "torch.ComplexFloatStorage")), "complex64"),
        (name_of("torch._utils._rebuild_qtensor") + b")R", "'w' something a quantized tensor"),
        (b"K\3", "of type int"),
        (b"}", "of type dict"),
        (b"X\xff\xff\xff\x7f", "pickle is damaged"),
        (b"\x8d" + b"\xff" * 8, "pickle is damaged"),
        (b"}})s", "key of type dict"),
        (name_of("numpy.dtype") + tuple_of(text("O8")) + b"R", "no number"),
        (
            name_of("_codecs.encode") + tuple_of(text("x" * 99), text("latin1")) + b"R",
            "encodes text",
        ),
        (name_of("_codecs.encode") + tuple_of(text("x"), text("zlib")) + b"R", "encodes text"),
        (
            name_of("numpy.core.multiarray.scalar") + tuple_of(text("f8"), text("x")) + b"R",
            "a str where",
        ),
    ],
)
def test_a_hostile_pickle_is_refused(value, words, tmp_path):
    check_refused(torch_zip(tmp_path / "a.pth", state(value)), words)


def test_pickles_that_would_explode_stay_small(tmp_path):
    path = tmp_path / "a.pth"
    # each pair twice the one before: 2 ** 60 leaves to who follows it
    laughs = b")" + b"q\0h\0\x86" * 60
    check_refused(torch_zip(path, state(b"}" + laughs + b"K\1s")), "key of type tuple")
    check_refused(torch_zip(path, state(laughs)), "of type tuple")
    check_refused(torch_zip(path, state(b"}" * 900_000)), "over 800000 opcodes")
    check_refused(torch_zip(path, state(b"]" + b"]" * 100_000 + b"a" * 100_000)), "of type list")
    check_refused(torch_zip(path, state(b")" + b"\x85" * 100_000)), "of type tuple")
    check_refused(torch_zip(path, b"\x80\2." + bytes(17 << 20)), "describe any model")
    shared = (
        b"}("
        + text("v0")
        + tensor((4096,), (1,), of=storage(4096))
        + b"q\0"
        + b"".join(text(f"v{n}") + b"h\0" for n in range(1, 1000))
        + b"u"
    )
    check_refused(
        torch_zip(path, b"\x80\2" + shared + b".", {"0": bytes(4 * 4096)}),
        "more than 4 times the file",
    )
    far = b"r\xff\xff\xff\x7f"  # to memo index 2 ** 31, which makes the C unpickler allocate
    tracemalloc.start()
    found, _ = files.read(torch_zip(path, state(tensor() + far)))
    assert tracemalloc.get_traced_memory()[1] < 20e6 and list(found) == ["w"]
    tracemalloc.stop()


def test_a_torch_zip_of_another_layout_is_refused(tmp_path):
    path, right = tmp_path / "a.pth", state(tensor())
    check_refused(zipped(path, [("readme", b"x")]), "not torch's")
    check_refused(torch_zip(path, right, more=[("other/data.pkl", right)]), "not torch's")
    check_refused(torch_zip(path, right, more=[("archive/constants.pkl", b"x")]), "TorchScript")
    check_refused(torch_zip(path, right, more=[("archive/byteorder", b"big")]), "big-endian")
    check_refused(
        zipped(path, [("a/data.pkl", right), ("a/data/0", FOUR)], zipfile.ZIP_DEFLATED),
        "compressed",
    )
    check_refused(torch_zip(path, b"\x80\2" + tensor() + b"."), "a Tensor where a dict")
    check_refused(torch_zip(path, b"\x80\2}K\3" + tensor() + b"s."), "under '3'")


LEGACY = b"".join([
    pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2),
    pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2),
])  # fmt: skip


def legacy(pickled, keys=("0",), numel=4, data=FOUR):
    return LEGACY + pickled + pickle.dumps(list(keys), 2) + struct.pack("<q", numel) + data


def test_the_format_of_before_torch_1_6(tmp_path):
    path = tmp_path / "a.pth"
    view = storage(view=tuple_of(text("view"), number(1), number(3)))  # elements 1 to 3 of the four
    for pickled, wanted in [
        (state(tensor()), [0, 1, 2, 3]),
        (state(tensor((2,), (1,), 1, view)), [2, 3]),
    ]:
        path.write_bytes(legacy(pickled))
        np.testing.assert_array_equal(files.read(path)[0]["w"], wanted)
    whole = legacy(state(tensor()))
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read"):
            files.read(path)
    spoilt = {
        "reaches element": legacy(state(tensor((3,), (1,), 1, view))),
        "names one twice": legacy(state(tensor()), ["0", "0"]),
        "that no tensor has": legacy(state(tensor()), ["1"]),
        "is not in the file": legacy(state(tensor()), []),
        "has -1 elements; the pickle says 4": legacy(state(tensor()), numel=-1),
        "cut short": legacy(state(tensor(of=storage(2**60))), numel=2**60),
        "big-endian": whole.replace(b"\x88", b"\x89", 1),
        "asks for": LEGACY + pickle.dumps(Calls(os.system, "true"), 2),
    }
    for words, content in spoilt.items():
        path.write_bytes(content)
        check_refused(path, words)


@pytest.mark.parametrize(
    "keys",
    [("model_state",), ("state_dict",), ("model",), ("module",), ("state_dict", "model"), ()],
)
def test_where_checkpoints_keep_the_state_dict(keys, tmp_path):
    value = state(tensor())[2:-1]
    for key in reversed(keys):
        value = (
            b"}"
            + text("epoch")
            + b"K\3s"
            + text(key)
            + value
            + b"s"
            + text("note")
            + b"Ns"
            + text("optimizer")
            + b"]s"
        )
    found, metadata = files.read(torch_zip(tmp_path / "a.pth", b"\x80\2" + value + b"."))
    assert list(found) == ["w"] and metadata == ({"epoch": 3, "note": None} if keys else {})


def test_storages_that_no_tensor_of_the_state_dict_has_are_not_read(tmp_path):
    pickled = (
        b"\x80\2}" + text("model_state") + state(tensor())[2:-1] + b"s" + text("optimizer_state")
    )
    pickled += tensor((2**24,), (1,), of=storage(2**24, key="1")) + b"s."
    path = torch_zip(tmp_path / "a.pth", pickled, {"0": FOUR, "1": bytes(2**26)})
    tracemalloc.start()
    found, _ = files.read(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22 and math.prod(found["w"].shape) == 4
    tracemalloc.stop()
