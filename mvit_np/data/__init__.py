"""Data: films and built-in sets, what training does to a clip, and batches made in advance."""

from .clips import NORMALISATIONS, clip_times, cover_of, crop_corners, cut, normalise
from .datasets import ArrayClips, BrokenExample, Dataset
from .draws import EXAMPLE, MASKS, MIX, ORDER, rng_for
from .frame_cache import FrameCache
from .holdout import held_out
from .labels import class_names, labels_for
from .loader import Loader
from .mixing import mix, soft
from .sets.builtin import BUILTIN, builtin
from .sets.drawn_street import drawn_street
from .sets.films import film_paths
from .sets.motion import LABELS, MotionClips, four_ways, load_motion, shifts, shots, shuffle_frames
from .survey import Seen, survey
from .track import Track, track_of
from .transforms import centre_crop, flip, random_erasing, random_flip, random_resized_crop
from .video import decode, frames_at
from .video_table import VideoTable

FilmTable, draw = VideoTable, rng_for  # their former names

__all__ = [
    "ArrayClips",
    "BUILTIN",
    "BrokenExample",
    "Dataset",
    "EXAMPLE",
    "FilmTable",
    "FrameCache",
    "LABELS",
    "Loader",
    "MASKS",
    "MIX",
    "MotionClips",
    "NORMALISATIONS",
    "ORDER",
    "Seen",
    "Track",
    "VideoTable",
    "builtin",
    "centre_crop",
    "class_names",
    "clip_times",
    "cover_of",
    "crop_corners",
    "cut",
    "decode",
    "draw",
    "drawn_street",
    "film_paths",
    "flip",
    "four_ways",
    "frames_at",
    "held_out",
    "labels_for",
    "load_motion",
    "mix",
    "normalise",
    "random_erasing",
    "random_flip",
    "random_resized_crop",
    "rng_for",
    "shifts",
    "shots",
    "shuffle_frames",
    "soft",
    "survey",
    "track_of",
]
