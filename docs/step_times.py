"""Times of several checkouts of this repository, taking turns: `python docs/step_times.py
OLD_FOLDER [NEW_FOLDER ...]`.

For each workload every checkout has a process of its own, which loads the parameters from a file,
and in every round each makes one turn: the machine's moods are shared out evenly. Printed are
medians of seconds per call, and the median of the ratios to the first checkout, round by round. An
idle machine is up to you.
"""

import os
import statistics
import subprocess
import sys
import tempfile

WORKLOADS = [  # preset, batch, a step or a forward pass, calls in a turn, rounds
    ("mvit_b_16x4", 1, "forward", 1, 9),
    ("mvit_b_16x4", 4, "forward", 1, 5),
    ("mvitv2_s_16x4", 1, "forward", 1, 9),
    ("mvit_b_16x4", 1, "step", 1, 5),
    ("mvitv2_s_16x4", 1, "step", 1, 5),
    ("mvit_b_16_image", 8, "forward", 1, 9),
    ("mvit_micro", 8, "step", 10, 9),
]
WRITER = """
import sys
import numpy as np
import mvit_np as mv

config = mv.preset(sys.argv[1])
mv.save(sys.argv[2], mv.init(config, np.random.default_rng(0)), config)
"""
WORKER = """
import sys, time
import numpy as np
import mvit_np as mv
from mvit_np.train import adamw, adamw_state

preset, batch, mode, calls = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rng = np.random.default_rng(0)
params, config = mv.load(sys.argv[5])
clips = rng.standard_normal((batch, *config.thw, config.channels), dtype=np.float32)
labels, state = np.arange(batch) % config.num_classes, adamw_state(params)
gradient = mv.value_and_grad(
    lambda p: mv.cross_entropy(mv.forward(p, clips, config, rng=rng), labels)
)

def call():
    if mode == "forward":
        return mv.forward(params, clips, config)
    return adamw(params, gradient(params)[1], state, 1e-4)

call(), call()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    print((time.perf_counter() - start) / calls, flush=True)
"""


def written(folder, preset, file):
    """The file, in which the package of that checkout has stored parameters of a preset."""
    environment = os.environ | {"PYTHONPATH": os.path.abspath(folder)}
    subprocess.run([sys.executable, "-c", WRITER, preset, file], env=environment, check=True)
    return file


def started(folder, workload, file):
    """A process with the package of that checkout, warmed up."""
    environment = os.environ | {"PYTHONPATH": os.path.abspath(folder)}
    command = [sys.executable, "-c", WORKER, *map(str, workload), file]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    process.stdout.readline()
    return process


def turn(process):
    """Seconds per call."""
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def main(folders):
    with tempfile.TemporaryDirectory() as there:
        for *workload, rounds in WORKLOADS:
            file = written(folders[0], workload[0], f"{there}/{workload[0]}.npz")
            compare(folders, workload, rounds, file)


def compare(folders, workload, rounds, file):
    """Print a line per checkout."""
    processes = [started(folder, workload, file) for folder in folders]
    seconds = [[turn(process) for process in processes] for _ in range(rounds)]
    for process in processes:
        process.stdin.close()
    for folder, times in zip(folders, zip(*seconds)):
        ratio = statistics.median(mine / line[0] for mine, line in zip(times, seconds))
        print(
            (
                f"{' '.join(map(str, workload[:3])):26} {folder:40} "
                f"{statistics.median(times):8.4f} s {ratio:6.2f}"
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
