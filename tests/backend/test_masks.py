"""Masks on a device: Philox's published numbers, a few lines of Python that count alike, and what
training relies on.
"""

import copy

import device_double
import numpy as np
import pytest
from gcc_tools import GCC

from mvit_np.backend.arrays import memory, plain_ops, to_host
from mvit_np.backend.cuda.kernel import Kernel
from mvit_np.backend.cuda.random import PHILOX, PhiloxGenerator, key_of
from mvit_np.backend.random import default_rng
from mvit_np.model.layers.stochastic import dropout

device_double.install()
needs_gcc = pytest.mark.skipif(not GCC, reason="kernels of the double are compiled by gcc")
HERE = device_double.from_host(np.zeros(1, np.float32))

# Random123's known answers for philox4x32-10 (kat_vectors): counter, key, result
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
PARAMETERS = "const unsigned* key, const unsigned* counter, unsigned* y, T* like"
WORDS = Kernel("philox_words", PARAMETERS, """
    for (int k = 0; k < 4; k++) y[k] = counter[k];
    philox(y, key[0], key[1]);
""", helpers=PHILOX)  # fmt: skip


def words(text):
    return [int(word, 16) for word in text.split()]


def philox(counter, key):
    """Four words of 32 bits, as the paper writes it."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second >> 32) ^ b ^ k, second % 2**32, (first >> 32) ^ d ^ m, first % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def masks(seed=0):
    return default_rng(seed, HERE)


@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_pythons_philox_gives_the_published_numbers(counter, key, result):
    assert philox(words(counter), words(key)) == words(result)


@needs_gcc
@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_the_kernels_philox_gives_the_published_numbers(counter, key, result):
    there = [
        device_double.from_host(np.array(words(text), np.uint32)) for text in (key, counter, result)
    ]
    WORDS(HERE, 1, *there[:2], (y := device_double.xp.zeros(4, dtype="uint32")), HERE)
    assert to_host(y).tolist() == words(result)


@needs_gcc
@pytest.mark.parametrize("seed", [7, [3, 4, 0, 1]])
@pytest.mark.parametrize("shape", [(), (3,), (8, 1, 1), (5, 7)])
def test_a_draw_is_the_counters_numbers(seed, shape):
    key, rng = np.random.SeedSequence(seed).generate_state(2).tolist(), masks(seed)
    for draw in range(3):
        found, size = to_host(rng.random(shape)), int(np.prod(shape))
        expected = [
            word for job in range(-(-size // 4)) for word in philox([job, 0, draw, 0], key)
        ][:size]
        assert found.shape == shape and found.dtype == np.float32
        assert found.ravel().tolist() == [(word >> 8) / 2**24 for word in expected]


@needs_gcc
def test_numbers_are_uniform_and_those_of_steps_and_draws_apart():
    count, draws = 1 << 16, []
    for step in range(4):
        rng = masks([0, 3, step, 0])
        draws += [to_host(rng.random(count)) for _ in range(3)]
    x = np.stack(draws).astype(np.float64)
    assert 0 <= x.min() and x.max() < 1
    np.testing.assert_allclose(x.mean(axis=1), 1 / 2, atol=5 / np.sqrt(12 * count))
    np.testing.assert_allclose(x.var(axis=1), 1 / 12, rtol=0.02)
    assert np.abs(np.corrcoef(x) - np.eye(len(x))).max() < 5 / np.sqrt(count)
    tens = [np.bincount((row * 10).astype(int), minlength=10) for row in x]
    assert np.abs(np.array(tens) - count / 10).max() < 6 * np.sqrt(count / 10)
    assert len({row.tobytes() for row in x}) == len(x)
    assert len(np.unique(x[:, :64])) > x[:, :64].size - 3  # of 2^24 values some meet by chance


@needs_gcc
def test_the_same_key_draws_the_same():
    first, again, other = (to_host(masks(seed).random(9)).tolist() for seed in (1, 1, 2))
    assert first == again != other


@needs_gcc
def test_a_key_that_is_written_into_the_place_of_another_counts_from_then_on():
    """As a captured graph needs it: it holds the place of the key, and each replay begins with the
    first draw.
    """
    place = key_of(1, HERE)
    place[...] = key_of(2, HERE)
    assert (
        to_host(PhiloxGenerator(place).random(9)).tolist() == to_host(masks(2).random(9)).tolist()
    )


@needs_gcc
def test_nothing_crosses_between_host_and_device():
    x = device_double.from_host(np.ones((64, 100), np.float32))
    before = copy.copy(device_double.transfers)
    y = dropout(x, 0.25, default_rng([0, 1, 2], x))
    assert device_double.transfers == before
    kept = to_host(y)
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.75], rtol=1e-6)
    assert abs((kept == 0).mean() - 0.25) < 0.03


@needs_gcc
def test_other_numbers_than_float32_are_refused():
    with pytest.raises(TypeError, match="masks are drawn in float32 on a device; came float64"):
        masks().random(3, dtype="float64")


def test_elsewhere_a_generator_is_the_librarys_own():
    assert isinstance(default_rng(0, np.zeros(1)), np.random.Generator)
    with plain_ops():
        drawn = default_rng(5, HERE).random(4, dtype="float32")
    np.testing.assert_array_equal(
        to_host(drawn), np.random.default_rng(5).random(4, dtype="float32")
    )


def test_numpy_does_not_count_its_memory():
    assert memory(np.zeros(1)) is None
