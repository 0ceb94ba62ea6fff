"""Times of several checkouts of this repository, taking turns: `python docs/step_times.py
OLD_FOLDER [NEW_FOLDER ...]`.

For each workload every checkout has a process of its own, and in every round each makes one turn:
the machine's moods are shared out evenly. Printed are medians of seconds a call, and the median of
the ratios to the first checkout, round by round. An idle machine is up to you.
"""

import os
import statistics
import subprocess
import sys

WORKLOADS = [  # preset, batch, a step or a forward pass, calls in a turn, rounds
    ("mvit_b_16x4", 1, "forward", 1, 9),
    ("mvitv2_s_16x4", 1, "forward", 1, 9),
    ("mvit_b_16x4", 1, "step", 1, 5),
    ("mvit_micro", 8, "step", 10, 9),
]
WORKER = """
import sys, time
import numpy as np
import mvit_np as mv
from mvit_np.train import adamw, adamw_state

preset, batch, mode, calls = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rng, config = np.random.default_rng(0), mv.preset(preset)
params = mv.init(config, rng)
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


def started(folder, workload):
    """A process with the package of that checkout, warmed up."""
    environment = os.environ | {"PYTHONPATH": os.path.abspath(folder)}
    command = [sys.executable, "-c", WORKER, *map(str, workload)]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    process.stdout.readline()
    return process


def turn(process):
    """Seconds a call."""
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def main(folders):
    for *workload, rounds in WORKLOADS:
        processes = [started(folder, workload) for folder in folders]
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
