"""A part of a film, from one second to another, or all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..backend.types import Array, FilePath
from .clips import SLACK
from .track import Track

WHOLE = (0.0, math.inf)
# Seconds by which a film may be longer than the part that it was cut to: cutters keep whole frames.
CUT = 0.5


@dataclass(frozen=True)
class FilmPart:
    """What clips are cut from."""

    start: float  # seconds since the film's first frame
    duration: float  # seconds
    times: Array  # (F,) seconds since the film's first frame at which its frames begin

    def in_film(self, seconds: Array) -> Array:
        """Seconds since the part's start -> since the film's first frame, any shape.

        What lies behind the part's end becomes the beginning of its last frame, which is so held.
        """
        return np.minimum(self.start + seconds, self.times[-1])


def part_of(track: Track, span: tuple[float, float], path: FilePath) -> FilmPart:
    """The `FilmPart` from span[0] to span[1] seconds of the film at `path`.

    A film that is no longer than the part is the part already: it was cut out, as those of Kinetics
    are, whose list has the seconds of the uncut film. Raises ValueError where the part begins
    behind the film's end.
    """
    start, end = span
    if end < math.inf and track.duration <= end - start + CUT:
        return FilmPart(0.0, track.duration, track.times)
    if start >= track.duration:
        raise ValueError(
            f"a part lies in its film; {path} ends at {track.duration:.1f} s, and the part begins "
            f"at {start:g} s: check its seconds"
        )
    first, last = np.searchsorted(track.times, [start + SLACK, end - SLACK]).tolist()
    first = max(first - 1, 0)
    return FilmPart(
        start, min(end, track.duration) - start, track.times[first : max(last, first + 1)]
    )
