"""Random numbers without a state: each draw's generator is made on the spot from whole numbers.

So a run is continued from its step alone, and neither the number of workers nor a kill can change
what is drawn.
"""

from __future__ import annotations

import numpy as np

from ..backend.types import Generator

ORDER, EXAMPLE, MIX, MASKS, MADE, START, FRAMES = range(7)  # the streams


def rng_for(seed: int, stream: int, *numbers: int) -> Generator:
    """The generator of one draw of a stream. Numbers tell it from the other draws of the stream:

    ORDER    of the examples in an epoch: (epoch)
    EXAMPLE  of a crop, colours and so on: (step, slot of the batch)
    MIX      of how two neighbours are mixed: (step, number of the pair)
    MASKS    of what dropout and stochastic depth drop: (step, rank)
    MADE     of the clips of a built-in set: its own numbers
    START    of the parameters that a run starts from: none
    FRAMES   of the order that a test shuffles frames into: none
    """
    return np.random.default_rng([seed, stream, *numbers])
