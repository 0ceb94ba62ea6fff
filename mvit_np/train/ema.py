"""An average of the parameters along the way (exponential moving average), which often scores better than the last ones."""

from __future__ import annotations

from .. import tree as trees


def ema_update(average, params, decay):
    """decay x average + (1 - decay) x params, as a new tree; begin with the parameters themselves as the average.

    Raises ValueError where the trees or their shapes differ, and for a decay outside [0, 1].
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"the average keeps a share in [0, 1] of itself a step, came {decay}: such as 0.999")

    def mean(a, p):
        if a.shape != p.shape:
            raise ValueError(f"the average has its parameters' shapes; came {a.shape} for {p.shape}: begin with the parameters")
        new = p - a
        new *= 1 - decay
        new += a  # where a and p agree, so does the average, to the last bit
        return new

    return trees.map(mean, average, params)


def ema_decay(step, decay):
    """The decay of update `step` (from 0): smaller at first, (1 + step) / (10 + step), so that the start is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))
