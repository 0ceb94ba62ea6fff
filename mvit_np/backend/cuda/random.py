"""Random numbers on a device by counting: Philox-4x32-10 (Salmon et al. 2011).

Ten rounds of two multiplications turn a counter (four words of 32 bits) and a key (two) into four
words that look random. So each thread makes its own numbers, and nothing is kept between them. The
counter is (low word of the job, high word, number of the draw, 0). The key is that of a step. It
lies on the device, so that a captured graph finds another one at each replay.
"""

from __future__ import annotations

import math

import numpy as np

from ..arrays import array_module
from .kernel import Kernel

ARGUMENTS = "unsigned* key, long long low, long long high"
KEY = Kernel("masks_key", ARGUMENTS, "key[0] = (unsigned)low; key[1] = (unsigned)high;")

PHILOX = """
DEVICE unsigned high(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
// x: the counter, then what it becomes
DEVICE void philox(unsigned* x, unsigned key0, unsigned key1) {
    for (int r = 0; r < 10; r++) {
        const unsigned high0 = high(0xD2511F53u, x[0]), low0 = 0xD2511F53u * x[0];
        const unsigned high1 = high(0xCD9E8D57u, x[2]), low1 = 0xCD9E8D57u * x[2];
        x[0] = high1 ^ x[1] ^ key0;
        x[1] = low1;
        x[2] = high0 ^ x[3] ^ key1;
        x[3] = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}
"""

UNIFORM = Kernel(
    "masks_uniform",
    "const unsigned* key, T* y, long long draw, long long count",
    """
        unsigned x[4] = {(unsigned)i, (unsigned)((unsigned long long)i >> 32), (unsigned)draw, 0};
        philox(x, key[0], key[1]);
        for (int k = 0; k < 4; k++)
            if (4 * (long long)i + k < count)
                y[4 * (long long)i + k] = (x[k] >> 8) * (T)5.9604644775390625e-8;  // 2^-24
    """,
    helpers=PHILOX,
)


class PhiloxGenerator:
    """A generator of uniform numbers, made where used. Of one key, two draw the same.

    key   (2,) uint32 on a device, as `key_of` makes it; whoever writes another into it changes what
          is drawn from then on

    A recorded graph draws from the key alone: each step wants a generator that has not drawn yet.
    """

    def __init__(self, key):
        self.key, self._draws = key, 0

    @property
    def spent(self):
        """Whether it has drawn."""
        return self._draws > 0

    def spend(self):
        """Let it count as having drawn: a graph has drawn instead of it."""
        self._draws += 1

    def random(self, shape=(), dtype="float32"):
        """Multiples of 2^-24 in [0, 1).   -> `shape`, float32 alone; the next draw gives others"""
        if np.dtype(dtype) != np.float32:
            raise TypeError(
                f"masks are drawn in float32 on a device; came {dtype}: convert what is drawn"
            )
        y = array_module(self.key).empty(shape, dtype="float32")
        UNIFORM(y, math.ceil(y.size / 4), self.key, y, self._draws, y.size)
        self._draws += 1
        return y


def key_of(seed, like):
    """The key of a seed, a whole number or several, on the device of `like`.   -> (2,) uint32"""
    key = array_module(like).empty(2, dtype="uint32")
    _write(key, seed)
    return key


def _write(key, seed):
    low, high = np.random.SeedSequence(seed).generate_state(2).tolist()
    KEY(array_module(key).empty(0, dtype="float32"), 1, key, low, high)
