"""Several ranks against one: gradients, parameters, and how a job ends when one of them dies."""

import os
import re
import select
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import device_double
import numpy as np
import pytest
from mpi_tools import MPIEXEC

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.train import distributed
from mvit_np.train.distributed import Alone, Mpi, communicator

ROOT = Path(__file__).parents[2]
LIMIT_S = 10  # in which a job ends after one of its ranks died
START_S = 60  # for starting Python so many times on a busy machine


def slow(*values):
    """A case that starts many processes, and shows what one beside it shows with fewer or by the
    same end.
    """
    return pytest.param(*values, marks=pytest.mark.slow)


def reason_to_skip():
    """mpi4py is imported in a process of its own: importing it starts MPI."""
    if MPIEXEC is None:
        return "no mpiexec here: pip install mpich"
    found = subprocess.run(
        [sys.executable, "-c", "from mpi4py import MPI"], capture_output=True, text=True
    )
    return (
        found.returncode
        and f"no mpi4py here ({found.stderr.strip().splitlines()[-1]}): pip install mpi4py mpich"
    )


SKIP = reason_to_skip()
needs_mpi = pytest.mark.skipif(bool(SKIP), reason=SKIP or "")


def command(ranks, code, *arguments):
    return [MPIEXEC, "-n", str(ranks), sys.executable, "-c", code, *map(str, arguments)]


def environment():
    """Without what an outer mpiexec may have set; root and more ranks than cores are allowed where
    Open MPI asks.
    """
    outer = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))
    }
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed |= {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    threads = {"OPENBLAS_NUM_THREADS": "1", "MVIT_NP_THREADS": "1"}
    return outer | allowed | threads | {"PYTHONPATH": str(ROOT)}


def run(ranks, code, *arguments):
    done = subprocess.run(
        command(ranks, code, *arguments),
        capture_output=True,
        text=True,
        timeout=START_S,
        env=environment(),
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the proof -------------------------------------------------------------------------------------

BATCH = 8
TRAINING = f"""
import sys
from dataclasses import replace
import numpy as np
import mvit_np as mv
from mvit_np import tree as trees
from mvit_np.train import adamw, adamw_state
from mvit_np.train.distributed import communicator

comm = communicator()
rng = np.random.default_rng(0)
config = replace(mv.preset("mvit_micro"), dropout=0.0, drop_path=0.0)
clips = rng.standard_normal(({BATCH}, *config.thw, config.channels))
labels = np.arange({BATCH}) % config.num_classes
mine = slice({BATCH} * comm.rank // comm.size, {BATCH} * (comm.rank + 1) // comm.size)
kept = {{"rank": comm.rank, "size": comm.size, "local_size": comm.local_size}}
for dtype in ("float32", "float64"):
    own = mv.init(config, np.random.default_rng(comm.rank))
    params = comm.broadcast(trees.map(np.dtype(dtype).type, own))  # of rank 0 from here on
    shown = clips[mine].astype(dtype)
    gradient = mv.value_and_grad(
        lambda p: mv.cross_entropy(mv.forward(p, shown, config), labels[mine])
    )
    state = adamw_state(params)
    for step in range(2):
        loss, grads = comm.mean(list(gradient(params)))
        for name, leaves in (("params", params), ("grads", grads)):
            for path, leaf in trees.paths(leaves):
                kept[f"{{dtype}}/{{step}}/{{name}}/{{path}}"] = leaf
        kept[f"{{dtype}}/{{step}}/loss"] = loss
        params, state = adamw(params, grads, state, 1e-3)
comm.barrier()
np.savez(f"{{sys.argv[1]}}/{{comm.rank}}.npz", **kept)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What each of so many ranks saw in two steps, and with 0 one process without MPI: ranks ->
    [arrays by name]
    """

    @cache
    def seen(ranks):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        if ranks:
            run(ranks, TRAINING, folder)
        else:
            subprocess.run(
                [sys.executable, "-c", TRAINING, str(folder)],
                check=True,
                env=environment(),
                cwd="/",
            )
        return [dict(np.load(folder / f"{rank}.npz")) for rank in range(ranks or 1)]

    return seen


def names(arrays, *parts):
    return [name for name in arrays if set(parts) <= set(name.split("/"))]


@needs_mpi
@pytest.mark.parametrize("ranks", [slow(1), 2, slow(4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_the_whole_batchs(trained, ranks, dtype):
    (alone,), together = trained(0), trained(ranks)
    assert [int(one["size"]) for one in together] == [ranks] * ranks
    assert sorted(int(one["rank"]) for one in together) == list(range(ranks))
    for name in names(alone, dtype, "0", "grads") + [f"{dtype}/0/loss"]:
        for one in together:
            assert one[name].dtype == dtype
            np.testing.assert_allclose(one[name], alone[name], rtol=0, atol=1e-6, err_msg=name)


def test_a_share_left_out_would_be_noticed():
    """What the tolerance of 1e-6 means: half the batch has gradients that differ ten thousand times
    as much.
    """
    rng, config = (
        np.random.default_rng(0),
        replace(mv.preset("mvit_micro"), dropout=0.0, drop_path=0.0),
    )
    clips, labels = (
        rng.standard_normal((BATCH, *config.thw, config.channels), dtype="float32"),
        np.arange(BATCH) % 2,
    )
    params = mv.init(config, rng)
    whole, half = (
        mv.value_and_grad(
            lambda p, n=n: mv.cross_entropy(mv.forward(p, clips[:n], config), labels[:n])
        )(params)[1]
        for n in (BATCH, BATCH // 2)
    )
    assert max(np.abs(a - b).max() for a, b in zip(trees.leaves(whole), trees.leaves(half))) > 1e-2


@needs_mpi
@pytest.mark.parametrize("ranks", [2, slow(4)])
def test_all_ranks_hold_the_same_bits(trained, ranks):
    """Parameters after the broadcast and a step, and the gradients: they stay the same."""
    first, *others = trained(ranks)
    expected = mv.init(
        replace(mv.preset("mvit_micro"), dropout=0.0, drop_path=0.0), np.random.default_rng(0)
    )
    for path, leaf in trees.paths(expected):
        np.testing.assert_array_equal(first[f"float32/0/params/{path}"], leaf)
    for one in others:
        for name in names(first, "params") + names(first, "grads"):
            np.testing.assert_array_equal(one[name], first[name], err_msg=name)


@needs_mpi
def test_every_rank_gets_rank_0s_whole_tree():
    """Arrays of any dtype and layout, and what is no array; three ranks, so that the mean is no
    power of two.
    """
    code = """
import numpy as np
from mvit_np.train.distributed import communicator
comm = communicator()
state = None
if comm.rank == 0:
    w = np.arange(6.0).reshape(2, 3).T
    blocks = [{"w": w, "n": np.array(3, "int64")}, (np.zeros((0, 2), "float32"),)]
    state = {"step": 7, "name": "a", "best": None, "blocks": blocks}
state = comm.broadcast(state)
assert (state["step"], state["name"], state["best"]) == (7, "a", None)
assert state["blocks"][0]["w"].tolist() == [[0, 3], [1, 4], [2, 5]]
assert state["blocks"][0]["n"].dtype == "int64"
assert state["blocks"][0]["n"].shape == () and state["blocks"][0]["n"] == 3
assert type(state["blocks"][1]) is tuple and state["blocks"][1][0].shape == (0, 2)

mine = {"a": np.full((2, 2), comm.rank, "float32"), "b": np.float32(comm.rank * 10)}
mean = comm.mean(mine)
assert mean["a"].tolist() == [[1, 1], [1, 1]] and mean["b"] == 10
assert mean["b"].shape == () and mean["a"].dtype == "float32"
assert (mine["a"] == comm.rank).all()
comm.mean({"a": np.ones((3, 3), "float32")})
# no part of what is kept for the next mean
assert mean["a"].tolist() == [[1, 1], [1, 1]] and mean["b"] == 10
assert np.isnan(comm.mean(np.array([np.nan if comm.rank == 1 else 0.0]))).all()
comm.barrier()
if comm.rank == 2:
    print("fine", comm.size, comm.local_size)
"""
    assert run(3, code).split() == ["fine", "3", "3"]


# -- one rank dies ---------------------------------------------------------------------------------

DYING = """
import os, signal, sys, time
import numpy as np
from mvit_np.train.distributed import communicator
comm = communicator()
comm.mean(np.ones(3))
line = f"rank {comm.rank} is process {os.getpid()} at {time.time()}\\n"
os.write(1, line.encode())  # in one piece
comm.barrier()
HOW
while True:
    comm.mean(np.ones(3))
"""
RAISES = "if comm.rank == 2: raise ValueError('the disk is on fire')"
GUARDED = "with comm.guarding():\n    if comm.rank == 2: sys.exit('the disk is on fire')"
KILLED = "if comm.rank == 2: os.kill(os.getpid(), signal.SIGKILL)"
CRASHES = "if comm.rank == 2: os.abort()"


def death(how, ranks=4):
    """(the exit code, stdout, stderr, seconds from the last rank's first words to the end of the
    job).
    """
    job = subprocess.run(
        command(ranks, DYING.replace("HOW", how)),
        capture_output=True,
        text=True,
        timeout=START_S,
        env=environment(),
        cwd="/",
    )
    begun = max(float(seconds) for seconds in re.findall(r"at ([\d.]+)\n", job.stdout))
    return job.returncode, job.stdout, job.stderr, time.time() - begun


@needs_mpi
@pytest.mark.parametrize("how", [RAISES, slow(GUARDED)])
def test_a_rank_that_raises_ends_the_job_by_name(how):
    code, _, said, seconds = death(how)
    assert code != 0 and seconds < LIMIT_S
    assert "rank 2 of 4" in said and "the disk is on fire" in said
    assert "died without a word" not in said


@needs_mpi
@pytest.mark.parametrize("mistakes, traced", [slow("", True), ("(OSError, ValueError)", False)])
def test_a_users_mistake_is_a_sentence_on_many_ranks_too(mistakes, traced):
    mistake = "raise ValueError('a batch is even: change it')"
    _, _, said, _ = death(f"with comm.guarding({mistakes}):\n    if comm.rank == 2: {mistake}")
    assert ("Traceback" in said) == traced and "rank 2 of 4" in said and "ends the job: " in said
    assert "a batch is even: change it" in said


@needs_mpi
@pytest.mark.skipif(
    not hasattr(select, "epoll"),
    reason="no epoll here: mpiexec alone says which process was killed",
)
@pytest.mark.parametrize("how", [KILLED, slow(CRASHES)])
def test_a_rank_that_is_killed_ends_the_job_by_name(how):
    code, out, said, seconds = death(how)
    process = re.search(r"rank 2 is process (\d+)", out)[1]
    assert code != 0 and seconds < LIMIT_S
    # mpiexec names any of the four
    assert f"rank 2 (process {process} on" in said and said.count("died without a word") == 1


@needs_mpi
def test_a_rank_may_leave_early_on_purpose():
    """sys.exit() without a code ends a rank as it should, without a word, when all do so."""
    code = (
        "import sys\nfrom mvit_np.train.distributed import communicator\nwith "
        "communicator().guarding(): sys.exit()"
    )
    done = subprocess.run(
        command(2, code),
        capture_output=True,
        text=True,
        timeout=START_S,
        env=environment(),
        cwd="/",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- without others --------------------------------------------------------------------------------


def test_alone_is_the_same_code_without_mpi(monkeypatch):
    for name in distributed.RANKS:
        monkeypatch.delenv(name, raising=False)
    comm, tree = communicator(), {"w": np.arange(3.0)}
    assert (comm.rank, comm.size, comm.local_size) == (0, 1, 1)
    assert comm.broadcast(tree) is tree and comm.mean(tree) is tree and comm.barrier() is None
    with pytest.raises(KeyError), comm.guarding():
        raise KeyError
    public = {name for name in dir(Mpi) if not name.startswith("_")} | {
        "rank",
        "size",
        "local_size",
    }
    assert public == {name for name in dir(Alone) if not name.startswith("_")}


def test_mpi4py_is_imported_only_when_asked_for():
    code = (
        "import sys, mvit_np.train.distributed as d; d.communicator(); print('mpi4py' in "
        "sys.modules, 'cupyx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
        cwd="/",
    )
    assert done.stdout.split() == ["False", "False"]


def test_what_cannot_be_is_said(monkeypatch):
    with pytest.raises(ValueError, match="'auto', 'alone', 'mpi'; came 'smoke signals'"):
        communicator("smoke signals")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_RANK", "3")
    # not four models, each trained alone
    with pytest.raises(ImportError, match="-m pip install 'mpi4py>="):
        communicator()


def test_ranks_that_do_not_see_each_other_are_refused(monkeypatch):
    """mpiexec of one MPI, mpi4py of another: every rank believes to be alone."""
    for name in distributed.SIZES:
        monkeypatch.delenv(name, raising=False)
    distributed._check_size(4)
    monkeypatch.setenv("PMI_SIZE", "4")
    distributed._check_size(4)
    with pytest.raises(ValueError, match="mpiexec started 4 ranks, but mpi4py sees 1"):
        distributed._check_size(1)


# -- on a device -----------------------------------------------------------------------------------


class Twin:
    """Stands for MPI between two ranks with the same numbers."""

    IN_PLACE = object()

    def Allreduce(self, source, array):
        assert source is self.IN_PLACE and isinstance(array, np.ndarray)
        array += array


def test_gradients_on_a_device_go_through_the_host_in_one_piece(rng):
    device_double.install()
    host = {
        "w": rng.standard_normal((2, 3)).astype("float32"),
        "b": [rng.standard_normal(3).astype("float32")],
    }
    comm = object.__new__(Mpi)  # without the start, which needs mpiexec
    comm.size, comm._mpi, comm._world, comm._flats = 2, Twin, Twin(), {}
    before = vars(device_double.transfers).copy()
    mean = comm.mean(trees.map(device_double.from_host, host))
    moved = {name: count - before[name] for name, count in vars(device_double.transfers).items()}
    trees.map(lambda a, b: np.testing.assert_array_equal(device_double.to_host(a), b), mean, host)
    leaves = len(trees.leaves(host))  # which `from_host` brought there
    assert moved == {name: 0 for name in moved} | {"to_host": 1, "to_device": 1 + leaves}, moved
    assert all(isinstance(leaf, device_double.DeviceArray) for leaf in trees.leaves(mean))


def test_mpi_does_not_broadcast_device_arrays():
    device_double.install()
    with pytest.raises(
        TypeError, match="MPI sends NumPy arrays; came device_double: send mv.to_host of them"
    ):
        distributed._described(device_double.from_host(np.ones(3)))


# -- docs/scaling_ranks.py -------------------------------------------------------------------------


def script(*arguments):
    whole = [sys.executable, str(ROOT / "docs/scaling_ranks.py"), *arguments]
    return subprocess.run(
        whole, capture_output=True, text=True, env=environment(), check=True, timeout=START_S
    ).stdout


def test_the_model_of_many_gpus():
    """A line by hand: 512 clips on 128 GPUs are 4 each, at 2 clips/s 2 s; 2 x 127/128 x 104,152,128
    bytes at 10 GB/s are 20.7 ms, and 254 hops of 10 us are 2.5 ms.
    """
    text = script("--model", "--clips-per-s", "2", "--bandwidth", "10e9", "--latency", "10e-6")
    line = next(line for line in text.splitlines() if line.startswith("| 128 |"))
    gpus, clips, compute, communicated, share, *_ = (
        cell.strip() for cell in line.strip("|").split("|")
    )
    assert (gpus, clips, compute) == ("128", "4", "2.000 s")
    seconds = 2 * 127 / 128 * 26_038_032 * 4 / 10e9 + 2 * 127 * 10e-6
    assert communicated == f"{seconds * 1e3:.1f} ms"
    assert share == f"{100 * seconds / (2 + seconds):.1f} %"


@needs_mpi
def test_the_table_of_few_ranks():
    whole = [
        MPIEXEC,
        "-n",
        "2",
        sys.executable,
        str(ROOT / "docs/scaling_ranks.py"),
        "--steps",
        "2",
    ]
    whole += ["--batch", "4", "--preset", "mvit_micro"]
    done = subprocess.run(whole, capture_output=True, text=True, env=environment(), timeout=START_S)
    assert done.returncode == 0, done.stderr
    assert "| 2 |" in done.stdout and done.stdout.count("| ranks |") == 2
