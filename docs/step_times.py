"""Seconds of MViT-B's and MViTv2-S's forward pass, MViT-B's step and mvit_micro's, with the package as a checkout has it.

For commits of the past: copy this file out of the tree, then for each of them `git checkout COMMIT` and, in the root,
`PYTHONPATH=. python step_times.py`. Medians; an idle machine is up to you.
"""

import statistics
import time

import numpy as np

import mvit_np as mv
from mvit_np.train import adamw, adamw_state


def seconds(call, turns):
    """The median of some calls, after one to warm up."""
    call()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def workload(preset, batch):
    """A forward pass and a training step, as functions of no arguments."""
    rng, config = np.random.default_rng(0), mv.preset(preset)
    params = mv.init(config, rng)
    clips = rng.standard_normal((batch, *config.thw, config.channels), dtype=np.float32)
    labels, state = np.arange(batch) % config.num_classes, adamw_state(params)
    gradient = mv.value_and_grad(lambda p: mv.cross_entropy(mv.forward(p, clips, config, rng=rng), labels))
    return lambda: mv.forward(params, clips, config), lambda: adamw(params, gradient(params)[1], state, 1e-4)


if __name__ == "__main__":
    forward, step = workload("mvit_b_16x4", 1)
    second, _ = workload("mvitv2_s_16x4", 1)
    _, micro = workload("mvit_micro", 8)
    times = [f"{seconds(forward, 7):.2f} s", f"{seconds(second, 7):.2f} s", f"{seconds(step, 5):.2f} s"]
    print(", ".join([*times, f"{1000 * seconds(micro, 100):.1f} ms"]))
