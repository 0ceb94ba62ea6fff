"""Real video to learn from: films at hand, a decoder, and a task that only motion can solve."""

from .films import film_paths
from .motion import LABELS, MotionClips, four_ways, load_motion, shifts, shots, shuffle_frames
from .video import decode

__all__ = [
    "LABELS",
    "MotionClips",
    "decode",
    "film_paths",
    "four_ways",
    "load_motion",
    "shifts",
    "shots",
    "shuffle_frames",
]
