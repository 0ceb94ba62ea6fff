"""The learning rate over a run."""

from __future__ import annotations

import math


def warmup_cosine(
    step: int, steps: int, peak: float, warmup: int = 0, start: float = 0.0, end: float = 0.0
) -> float:
    """The rate of `step` (from 0) of `steps`: linear up to `peak`, then half a cosine to `end`.

    1. first step           0                     start + (peak - start) / warmup
    2. end of the warm-up   warmup - 1            peak
    3. the cosine begins    warmup                peak
    4. middle of it         (warmup + steps) / 2  (peak + end) / 2
    5. last step            steps - 1             a little above end: it still has to learn
    6. later ones           steps, ...            end

    The paper's (Sec. D.1): peak 1.6e-3 x batch / 512, 30 of 200 epochs of warm-up, end a hundredth
    of the peak.
    """
    if step < warmup:
        return start + (peak - start) * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
