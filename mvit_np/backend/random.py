"""Random numbers where an array lives."""

from __future__ import annotations

from .arrays import array_module, device_tools
from .cuda.random import PhiloxGenerator, key_of


def default_rng(seed, like):
    """A random generator where `like` lives, so that masks are drawn where they are used.

    On NumPy its own; on a device with tools a `PhiloxGenerator`, whose `random` is all that masks
    need.
    """
    if device_tools(like) is None:
        return array_module(like).random.default_rng(seed)
    return PhiloxGenerator(key_of(seed, like))
