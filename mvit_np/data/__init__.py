"""Real video: a decoder, the clips and the class names of a test, films at hand, and a task that only motion can solve."""

from .clips import NORMALISATIONS, clip_times, cover_of, crop_corners, cut, normalise
from .films import film_paths
from .labels import labels_for
from .motion import LABELS, MotionClips, four_ways, load_motion, shifts, shots, shuffle_frames
from .video import Track, decode, frames_at, track_of

__all__ = [
    "LABELS",
    "MotionClips",
    "NORMALISATIONS",
    "Track",
    "clip_times",
    "cover_of",
    "crop_corners",
    "cut",
    "decode",
    "film_paths",
    "four_ways",
    "frames_at",
    "labels_for",
    "load_motion",
    "normalise",
    "shifts",
    "shots",
    "shuffle_frames",
    "track_of",
]
