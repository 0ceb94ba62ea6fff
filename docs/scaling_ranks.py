"""What several ranks cost: measured on this machine, and a model of many GPUs.

    # a line of each table, for N ranks; N = 1, 2, 4 make the tables
    mpiexec -n N python docs/scaling_ranks.py
    python docs/scaling_ranks.py --model --bandwidth 10e9 --latency 10e-6 --clips-per-s 40

The model: a ring Allreduce of S bytes over n ranks sends 2 (n - 1) / n S bytes through each rank's
link, in 2 (n - 1) hops:

    t = 2 (n - 1) / n  S / bandwidth  +  2 (n - 1) latency

S / n bytes go to the neighbour n - 1 times until each rank holds the sum of one part, and n - 1
times until all hold all. The bandwidth is the slowest link's of the ring, in bytes per second, one
way. A step is compute + t, or, where the sum runs beside the backward pass (two thirds of the
compute), forward + max(backward, t): what overlapping could gain at best.
"""

import argparse
import statistics
import time

import numpy as np

import mvit_np as mv
from mvit_np.model.costs import costs
from mvit_np.train import adamw, adamw_state
from mvit_np.train.distributed import communicator

BACKWARD = 2 / 3  # of the compute of a step
GPUS = (1, 2, 4, 8, 16, 32, 64, 128)


def parameters(preset):
    return costs(mv.preset(preset)).params


# -- the model -------------------------------------------------------------------------------------


def ring_s(size_bytes, ranks, bandwidth, latency):
    """Seconds of a ring Allreduce.

    bandwidth: bytes per second of a link   latency: seconds of a hop
    """
    return 2 * (ranks - 1) / ranks * size_bytes / bandwidth + 2 * (ranks - 1) * latency


def predicted(options):
    """The lines of the model's table: a batch shared out among more and more GPUs."""
    size = 4 * parameters(options.preset)
    link = (
        f"a link carries {options.bandwidth / 1e9:g} GB/s, a hop takes {options.latency * 1e6:g} us"
    )
    yield f"{options.preset}: {size / 1e6:.1f} MB of float32 gradients, batch {options.batch};"
    yield f"a GPU computes {options.clips_per_s:g} clips/s, {link}\n"
    yield (
        "| GPUs | clips each | compute | Allreduce | share "
        "| clips/s | of ideal | overlapped, of ideal |"
    )
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for gpus in GPUS:
        clips = options.batch / gpus
        compute, sent = (
            clips / options.clips_per_s,
            ring_s(size, gpus, options.bandwidth, options.latency),
        )
        apart, together = compute + sent, compute * (1 - BACKWARD) + max(compute * BACKWARD, sent)
        yield (
            f"| {gpus} | {clips:g} | {compute:.3f} s | {1e3 * sent:.1f} ms | "
            f"{100 * sent / apart:.1f} % | {options.batch / apart:.0f} | "
            f"{100 * compute / apart:.1f} % | {100 * compute / together:.1f} % |"
        )


# -- measured --------------------------------------------------------------------------------------


def measured(options, comm):
    """The lines of the two tables for so many ranks as there are. A mean is packing, Allreduce and
    division.
    """
    yield "| ranks | clips each | step | compute | waiting | mean | share of both | clips/s |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    compute, waiting, sent = step_times(options, comm)
    step = compute + waiting + sent
    yield (
        f"| {comm.size} | {options.batch // comm.size} "
        f"| {1e3 * step:.1f} ms | {1e3 * compute:.1f} ms "
        f"| {1e3 * waiting:.2f} ms | {1e3 * sent:.2f} ms "
        f"| {100 * (waiting + sent) / step:.1f} % | {options.batch / step:.0f} |\n"
    )
    yield "| ranks | numbers | bytes | mean | through each rank |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for size in (1, parameters("mvit_micro"), parameters(options.preset)):
        seconds = sum_time(size, comm)
        rate = 2 * (comm.size - 1) / comm.size * 4 * size / seconds  # as a ring would send it
        through = f"{rate / 1e9:.2f} GB/s" if rate else ""
        yield f"| {comm.size} | {size:,} | {4 * size:,} | {1e3 * seconds:.3f} ms | {through} |"


def step_times(options, comm):
    """Seconds of mvit_micro's step that go into compute, into waiting for the slowest rank and into
    the mean; medians.
    """
    rng, config = np.random.default_rng(comm.rank), mv.preset("mvit_micro")
    params, share = comm.broadcast(mv.init(config, rng)), options.batch // comm.size
    clips = rng.standard_normal((share, *config.thw, config.channels), dtype=np.float32)
    labels, state = np.arange(share) % config.num_classes, adamw_state(params)
    gradient = mv.value_and_grad(
        lambda p: mv.cross_entropy(mv.forward(p, clips, config, rng=rng), labels)
    )
    rows = []
    for _ in range(options.steps + 2):
        comm.barrier()
        start = time.perf_counter()
        loss_and_grads = list(gradient(params))
        pulled = time.perf_counter()
        comm.barrier()
        together = time.perf_counter()
        _, grads = comm.mean(loss_and_grads)
        averaged = time.perf_counter()
        params, state = adamw(params, grads, state, 1e-4)
        rows.append(
            (
                pulled - start + time.perf_counter() - averaged,
                together - pulled,
                averaged - together,
            )
        )
    # the first two warm up
    return everywhere(comm, [statistics.median(column) for column in zip(*rows[2:])])


def sum_time(size, comm, repeats=7):
    """Seconds of the mean of a flat float32 array, the median; all ranks begin together."""
    flat, times = np.ones(size, np.float32), []
    for _ in range(repeats + 1):
        comm.barrier()
        start = time.perf_counter()
        comm.mean(flat)
        times.append(time.perf_counter() - start)
    return everywhere(comm, [statistics.median(times[1:])])[0]


def everywhere(comm, numbers):
    """The mean over the ranks."""
    return comm.mean(np.array(numbers)).tolist()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", action="store_true", help="the model of many GPUs instead of measuring"
    )
    parser.add_argument("--preset", default="mvit_s_16x4", help="whose gradients are summed")
    parser.add_argument(
        "--batch", type=int, help="clips of all ranks together; 32 measured, 512 in the model"
    )
    parser.add_argument("--steps", type=int, default=20, help="to take the median of")
    parser.add_argument("--bandwidth", type=float, default=10e9, help="bytes per second of a link")
    parser.add_argument("--latency", type=float, default=10e-6, help="seconds of a hop")
    parser.add_argument("--clips-per-s", type=float, default=10.0, help="that one GPU trains on")
    options = parser.parse_args()
    options.batch = options.batch or (512 if options.model else 32)
    comm = None if options.model else communicator()
    for line in predicted(options) if options.model else measured(options, comm):
        if comm is None or comm.rank == 0:
            print(line, flush=True)


if __name__ == "__main__":
    main()
