"""Snapshots: what comes back is what went in, or a sentence, whatever happens to the process, the
file or the disk.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap

import device_double
import numpy as np
import pytest

from mvit_np.train.run import snapshot
from mvit_np.train.run.snapshot import latest, read, save

device_double.install()

ENTRIES = {
    "HOME": os.environ.get("HOME", ""),
    "PATH": os.environ.get("PATH", ""),
    "OPENBLAS_NUM_THREADS": "1",
}


def state_at(step, size=40):
    """A state in which every number tells the step."""
    params = {
        "head": {"w": np.full((size, 3), step, np.float32)},
        "blocks": [{"g": np.full(5, step, np.float64)}],
    }
    return {
        "step": step,
        "params": params,
        "optimizer": {"step": step, "mean": np.full(9, step)},
        "ema": None,
    }


def same(a, b):
    """Whether two trees are equal in structure, types and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return repr(a) == repr(b)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -- what comes back -------------------------------------------------------------------------------


def test_a_state_comes_back_bit_for_bit(rng, tmp_path):
    wild = np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324, 0.1])
    state = {
        "step": 7,
        "params": {
            "blocks": [{"w": rng.standard_normal((3, 4)), "b": np.float32([1e-45, -0.0])}, {}],
            "none": [],
        },
        "optimizer": [
            {"step": 7, "mean": wild, "square": wild.astype(np.float32)},
            (),
            (1, (2.5, None)),
        ],
        "dtypes": {
            name: np.arange(3).astype(name)
            for name in ("bool", "int8", "uint64", "float16", "int64")
        },
        "odd": {
            "0-d": np.array(3.5),
            "empty": np.zeros((0, 3), np.float32),
            "turned": np.arange(6).reshape(2, 3).T,
        },
        "scalars": [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True)],
        "ema": None,
        "best": float("nan"),
        "recipe": {
            "rate": 0.1 + 0.2,
            "big": 2**70,
            "name": "Größe ∞\n",
            "on": True,
            "least": -float("inf"),
            "": "empty key",
        },
    }
    path = save(tmp_path, state)
    found, said = latest(tmp_path)
    assert same(found, state) and said == [] and same(read(path), state)
    assert all(
        x.flags.c_contiguous and x.flags.writeable
        for x in (found["odd"]["turned"], found["dtypes"]["bool"])
    )


def test_a_file_tells_what_it_is_to_anyone_with_numpy(tmp_path):
    with np.load(
        save(tmp_path, {**state_at(3), "config": {"dim": 96}}), allow_pickle=False
    ) as file:
        text = json.loads(str(file["$snapshot"]))
        assert np.array_equal(file["params.blocks.0.g"], np.full(5, 3.0))
    assert (
        text["version"] == 1
        and text["package"]
        and text["state"]["config"] == {"dim": 96}
        and text["state"]["step"] == 3
    )
    assert text["state"]["params"]["head"] == {"w": {"$array": "params.head.w"}}


def test_device_arrays_come_back_on_the_host(tmp_path):
    save(tmp_path, {"step": 0, "w": device_double.from_host(np.arange(4.0))})
    assert same(latest(tmp_path)[0], {"step": 0, "w": np.arange(4.0)})


@pytest.mark.parametrize(
    "state, keep, error, words",
    [
        ({"w": np.ones(3)}, 3, TypeError, "whole number from 0 on as its 'step'; came None"),
        ({"step": -1}, 3, TypeError, "came -1"),
        ({"step": 2.0}, 3, TypeError, "came 2.0"),
        ([np.ones(3)], 3, TypeError, "'step'"),
        ({"step": 1, "a": {"b": {1, 2}}}, 3, TypeError, "came set at a.b"),
        ({"step": 1, "a": [np.array(["x"])]}, 3, TypeError, "came <U1 at a.0"),
        ({"step": 1, "a": np.array([None])}, 3, TypeError, "came object at a"),
        ({"step": 1, "a": {3: 4}}, 3, TypeError, "came 3 in 'a'"),
        ({"step": 1, "$array": "a"}, 3, TypeError, r"do not begin with \$"),
        ({"step": 1, "a.b": np.ones(1), "a": {"b": np.zeros(1)}}, 3, ValueError, "two are at a.b"),
        ({"step": 1}, 0, ValueError, "came keep=0"),
    ],
)
def test_what_a_snapshot_cannot_hold_is_refused_and_nothing_is_left(
    state, keep, error, words, tmp_path
):
    with pytest.raises(error, match=words):
        save(tmp_path / "run", state, keep=keep)
    assert not (tmp_path / "run").exists()


# -- which are kept --------------------------------------------------------------------------------


def test_the_last_ones_are_kept_and_what_an_earlier_version_marked_as_best(tmp_path):
    folder = tmp_path / "new" / "run"
    for step in range(1, 8):
        path = save(folder, state_at(step), keep=2)
        if step == 4:
            path.rename(folder / "step_00000004.best.npz")
    assert names(folder) == ["step_00000004.best.npz", "step_00000006.npz", "step_00000007.npz"]
    assert latest(folder)[0]["step"] == 7 and latest(folder, best=True)[0]["step"] == 4
    for path in folder.glob("*[67].npz"):
        path.unlink()
    assert latest(folder)[0]["step"] == 4  # it is a snapshot like others


def test_other_files_are_left_alone_and_half_written_ones_are_not(tmp_path):
    for name in ("metrics.csv", "step_12.npz", "step_00000009.txt", ".notes.part"):
        (tmp_path / name).write_text("mine")
    (tmp_path / f".{'0f' * 8}.part").write_bytes(b"half")
    assert latest(tmp_path) == (None, [])
    save(tmp_path, state_at(1), keep=1)
    assert names(tmp_path) == sorted(
        [".notes.part", "metrics.csv", "step_12.npz", "step_00000009.txt", "step_00000001.npz"]
    )


def test_a_folder_without_snapshots_is_a_run_that_begins(tmp_path):
    assert (
        latest(tmp_path / "not there")
        == latest(tmp_path)
        == latest(tmp_path, best=True)
        == (None, [])
    )


# -- damage ----------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    save(tmp_path, state_at(1))
    return save(tmp_path, state_at(2))


def falls_back(path):
    found, said = latest(path.parent)
    return (
        same(found, state_at(1))
        and len(said) == 1
        and path.name in said[0]
        and "the snapshot before it is taken" in said[0]
    )


def test_a_file_cut_short_anywhere_falls_back_and_says_so(two, rng):
    whole = two.read_bytes()
    for size in {
        0,
        1,
        3,
        72,
        73,
        len(whole) - 73,
        len(whole) - 1,
        *rng.integers(0, len(whole), 60),
    }:
        two.write_bytes(whole[:size])
        assert falls_back(two), size
    two.write_bytes(whole)
    assert same(latest(two.parent)[0], state_at(2))


@pytest.mark.skipif(os.name == "nt", reason="pwrite")
def test_every_single_byte_counts(two):
    with open(two, "r+b", buffering=0) as file:
        whole = file.read()
        for position, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ (1 << position % 8)]), position)
            with pytest.raises(ValueError, match="checksum differs"):
                read(two)
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert same(read(two), state_at(2))


def test_bytes_behind_the_end_or_zeros_instead_are_damage_too(two):
    whole = two.read_bytes()
    for damaged in (
        whole + b"\0",
        whole + whole,
        bytes(len(whole)),
        b"garbage",
        whole[: len(whole) // 2] + bytes(len(whole) // 2),
    ):
        two.write_bytes(damaged)
        assert falls_back(two)


def test_what_is_no_file_is_skipped_too(two):
    two.unlink()
    two.mkdir()
    assert falls_back(two)


def test_several_are_skipped_and_the_run_goes_on_over_them(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, state_at(step))
    for step in (20, 30):
        (tmp_path / f"step_000000{step}.npz").write_bytes(b"garbage")
    found, said = latest(tmp_path)
    assert same(found, state_at(10)) and len(said) == 2
    save(tmp_path, state_at(15), keep=1)  # not what is kept of damaged ones that claim to be newer
    assert same(latest(tmp_path)[0], state_at(15))
    save(tmp_path, state_at(20), keep=1)
    save(tmp_path, state_at(30), keep=1)
    assert names(tmp_path) == ["step_00000030.npz"] and same(latest(tmp_path)[0], state_at(30))


def test_a_run_never_begins_anew_over_damaged_snapshots(two):
    for path in two.parent.iterdir():
        path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="no snapshot of the 2 in .* can be read: move them away"):
        latest(two.parent)


def test_a_later_version_is_refused_in_a_sentence(two, monkeypatch):
    monkeypatch.setattr(snapshot, "VERSION", 99)
    future = save(two.parent, state_at(3))
    monkeypatch.undo()
    for reading in (lambda: read(future), lambda: latest(two.parent)):
        with pytest.raises(
            ValueError,
            match=(
                r"step_00000003.npz is a snapshot of version 99 by mvit_np .* up to version 1: upgr"
            ),
        ):
            reading()


def sealed(path, text, **arrays):
    """A file that is whole, whatever it says."""
    np.savez(path, **{"$snapshot": text}, **arrays)
    body = path.read_bytes()
    path.write_bytes(body + b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")


KINDS = {"params": dict, "best": (float, type(None))}
GOOD = {"step": 2, "params": {"w": {"$array": "params.w"}}, "best": None}
HEADER = {"version": 1, "package": "0", "state": GOOD}


@pytest.mark.parametrize(
    "header, words",
    [
        (HEADER | {"state": {"step": 2, "best": None}}, "its params is missing"),
        (HEADER | {"state": GOOD | {"params": [1]}}, "its params is a list"),
        (HEADER | {"state": GOOD | {"best": "0.5"}}, "its best is a str"),
        (HEADER | {"state": {"params": {}, "best": 0.5}}, "its step is missing"),
        (
            HEADER | {"state": GOOD | {"params": {"w": {"$array": "params.b"}}}},
            "names 'params.b', which it does not hold",
        ),
        (HEADER | {"state": GOOD | {"params": {"w": {"$array": ["params.w"]}}}}, "is not whole"),
        (HEADER | {"state": GOOD | {"params": {"w": {"$tuple": 3}}}}, "is not whole"),
        (HEADER | {"state": {"$array": "params.w"}}, "is not whole"),
        (HEADER | {"state": [1, 2]}, "its state is a list"),
        (HEADER | {"version": "1"}, "its version is a str"),
        ({"package": "0", "state": GOOD}, "its version is missing"),
        ([HEADER], "its version is missing"),
        ("no JSON", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
    ],
    ids=str,
)
def test_a_sealed_file_that_lacks_something_is_a_sentence_and_the_one_before_it_is_taken(
    header, words, two
):
    first = {"step": 1, "params": {}, "best": None}
    save(two.parent, first)
    sealed(
        two, header if isinstance(header, str) else json.dumps(header), **{"params.w": np.ones(3)}
    )
    found, said = latest(two.parent, needs=KINDS)
    assert (
        same(found, first)
        and len(said) == 1
        and words in said[0]
        and two.name in said[0]
        and "\n" not in said[0]
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        read(two, KINDS)


def test_a_sealed_file_without_a_text_is_a_sentence(two):
    np.savez(two, w=np.ones(3))
    body = two.read_bytes()
    two.write_bytes(body + b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")
    assert falls_back(two)


def test_the_checksum_is_sha256_of_all_before_it(two):
    body, _, seal = two.read_bytes().rpartition(b"\nsha256 ")
    assert seal == hashlib.sha256(body).hexdigest().encode() + b"\n"


# -- a full disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_a_sentence_and_leaves_what_was(call, two, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(file, *arguments, **keywords):
        file.write(b"half")
        full()

    before = {path: path.read_bytes() for path in two.parent.iterdir()}
    owner, name = (np.lib.format, "write_array") if call == "write" else (os, call)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, half if call == "write" else full)
        with pytest.raises(
            OSError,
            match=r"^step_00000003.npz cannot be written to .*No space left on device.*: make room",
        ) as e:
            save(two.parent, state_at(3), keep=1)
    assert e.value.errno == errno.ENOSPC
    assert before == {path: path.read_bytes() for path in two.parent.iterdir()}
    save(two.parent, state_at(3))
    assert same(latest(two.parent)[0], state_at(3))


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_older_ones_go(
    two, monkeypatch
):
    seen = []
    fsync, replace, unlink = os.fsync, os.replace, type(two).unlink

    def synced(handle):
        seen.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "bytes")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append("name"), replace(*names)))
    monkeypatch.setattr(
        type(two),
        "unlink",
        lambda path, **keywords: (seen.append("gone"), unlink(path, **keywords)),
    )
    save(two.parent, state_at(3), keep=1)
    assert seen == ["bytes", "name", "folder", "gone", "gone"]
    seen.clear()
    save(two.parent / "new" / "run", state_at(1))
    # the names of the new folders too
    assert seen == ["folder", "folder", "bytes", "name", "folder"]


TELL = """
    import numpy as np, sys
    from mvit_np.train.run.snapshot import save, latest
    def attempt(step, size):
        try:
            save(sys.argv[1], {"step": step, "w": np.full(size, step)})
            return "saved"
        except OSError as problem:
            return str(problem)
"""


def run(code, *arguments, before=()):
    """A script's output, in a process of its own."""
    command = [
        *before,
        sys.executable,
        "-c",
        textwrap.dedent(TELL) + textwrap.dedent(code),
        *map(str, arguments),
    ]
    environment = {**os.environ, **ENTRIES, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.skipif(os.name == "nt", reason="POSIX has limits")
def test_a_real_limit_met_at_any_byte(tmp_path):
    """The kernel refuses to let a file grow: at every 97th byte of the file, so within headers,
    arrays and the last records.
    """
    code = """
        import resource
        save(sys.argv[1], {"step": 1, "w": np.full(300, 1)})
        whole = len(open(sys.argv[1] + "/step_00000001.npz", "rb").read())
        said = set()
        for size in range(0, whole, 97):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            said.add(attempt(2, 300))
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole, resource.RLIM_INFINITY))
        print(*said, attempt(3, 300), sep="\\n")
    """
    result = run(code, tmp_path)
    refused, saved = result.stdout.splitlines()
    assert (
        refused.startswith("step_00000002.npz cannot be written to")
        and "File too large" in refused
        and saved == "saved"
    )
    assert names(tmp_path) == ["step_00000001.npz", "step_00000003.npz"]


def test_a_real_full_disk(tmp_path):
    """A file system of 256 KiB, mounted where nobody else sees it."""
    before = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=256k t "$0" && exec "$@"',
    ]
    if (
        not shutil.which("unshare")
        or subprocess.run([*before, tmp_path, "true"], capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    code = """
        import os
        attempts = attempt(1, 4000), attempt(2, 100_000), attempt(3, 30_000)
        print(*attempts, *sorted(os.listdir(sys.argv[1])), sep="\\n")
        print(latest(sys.argv[1])[0]["w"].sum(), attempt(4, 4000))
    """
    saved, full, too, *files, after = run(
        code, tmp_path, before=[*before, tmp_path]
    ).stdout.splitlines()
    assert saved == "saved" and after == "4000 saved" and files == ["step_00000001.npz"]
    assert "step_00000002.npz cannot be written" in full and "No space left on device" in full
    assert too.replace("step_00000003", "step_00000002") == full


# -- a process that is killed ----------------------------------------------------------------------

KILLED = """
    import os, random, signal, struct, time

    def whole(state):
        return all((x == state["step"]).all() for x in state["w"])

    def child(folder, pipe):
        state, _ = latest(folder)
        step = state["step"] if state else 0
        while True:
            step += 1
            save(folder, {"step": step, "w": [np.full(n, step) for n in (1, 3000, 20)]}, keep=2)
            os.write(pipe, struct.pack("q", step))

    folder, dice = sys.argv[1], random.Random(0)
    for kill in range(20):
        out, pipe = os.pipe()
        if not (pid := os.fork()):
            child(folder, pipe)
        os.close(pipe)
        told = os.read(out, 8)  # it has begun
        time.sleep(dice.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(out, 1 << 16):
            told = more
        os.close(out)
        told, (state, said) = struct.unpack("q", told[-8:])[0], latest(folder)
        files = os.listdir(folder)
        parts = sum(name.endswith(".part") for name in files)
        print(told, state["step"], whole(state), len(said), len(files), parts)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_20_moments_nothing_that_was_saved_is_lost(tmp_path):
    lines = run(KILLED, tmp_path).stdout.splitlines()
    assert len(lines) == 20
    for line in lines:
        told, found, whole, skipped, files, half = line.split()
        assert int(found) - int(told) in (0, 1), (
            "never older than what was reported, and at most the one that was not yet"
        )
        assert whole == "True" and skipped == "0" and int(half) <= 1 and int(files) <= 2 + 2
