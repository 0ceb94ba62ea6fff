"""What a model costs, counted: multiply-adds in a forward pass, and the memory that it keeps."""

import gc
import math
import tracemalloc

import numpy as np

from mvit_np import cross_entropy, forward, init
from mvit_np.autodiff.hooks import watching
from mvit_np.autodiff.tape import vjp
from mvit_np.backend import tiles, tree


def clips(config, batch):
    return np.random.default_rng(0).standard_normal(
        (batch, *config.thw, config.channels), dtype="float32"
    )


COUNTED = {  # multiply-adds of one call, from the shapes of its arrays
    "linear": lambda y, x, w, *_: y.size * w.shape[0],
    "project": lambda y, x, w, *_: sum(part.size for part in y) * w.shape[0],
    "mlp": lambda y, x, w1, b1, w2, *_: x.size // w1.shape[0] * (w1.size + w2.size),
    "cube_conv": lambda y, x, w, *_: y.size * math.prod(w.shape[:4]),
    "depthwise_conv": lambda y, x, w, *_: y.size * math.prod(w.shape[:3]),
    "attend": lambda y, q, k, v, *_: 2 * math.prod(q.shape[:3]) * k.shape[1] * v.shape[3],
    "relative_query": lambda y, q, scale, grids, *tables: sum(
        q.shape[0] * math.prod(thw_q) * q.shape[2] * thw_kv[axis] * q.shape[3]
        for axis, thw_q, thw_kv in grids
    ),
}


def counted_macs(config, batch):
    """Multiply-adds of a forward pass, from the shapes of its arrays."""
    counts = []

    def seen(name, phase, seconds, args, static, result):
        if name in COUNTED:
            counts.append(COUNTED[name](result[0], *args))

    with watching(seen):
        forward(init(config, np.random.default_rng(0)), clips(config, batch), config)
    return sum(counts)


def kept_bytes(config, batch):
    """Memory alive after a traced forward pass: the clips and what the backward pass will need."""
    leaves, rebuild = tree.flatten(init(config, np.random.default_rng(0)))
    labels = np.zeros(batch, int)
    forward(rebuild(leaves), clips(config, batch), config)  # what a thread keeps to compute in
    tracemalloc.start()
    x = clips(config, batch)
    with tiles.use_threads(1):  # a thread that waits for its next tile still holds the last one
        _, pull = vjp(lambda *p: cross_entropy(forward(rebuild(p), x, config), labels), leaves)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept if pull else None  # `pull` holds the tape until here
