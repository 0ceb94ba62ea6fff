"""When a film's frames are shown. A film is read once for this, and again only if it changed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from ..backend.types import Array, FilePath
from .frame_folders import frames_in
from .video_file import RATE, has_settings, opened, packets, rate_of, require_frames

KEPT = 2**23  # numbers in all tracks that are kept, 64 MiB: about 70 hours of film
OVERHEAD = 100  # numbers that a track takes besides its own, about


@dataclass(frozen=True)
class Track:
    """When the frames of a film are shown; `track_of` makes it."""

    times: Array  # (F,) seconds since the first frame, ascending
    duration: float  # seconds from the first frame to the end of the last
    start: float  # seconds on the file's own clock at the first frame
    rate: float  # frames per second by the file's tags
    numbered: bool  # the time stamps are useless: frame k is shown at k / rate
    keys: Array  # (K, 2) where decoding can begin: seconds from the start, stamp to seek

    def __post_init__(self) -> None:
        for array in (self.times, self.keys):
            array.flags.writeable = False  # whoever asks next gets the same


class _Tracks:
    """The tracks of the files asked for last, by the state of each file; for several threads."""

    def __init__(self):
        self._lock, self._tracks, self._size = Lock(), OrderedDict(), 0

    def get(self, state):
        with self._lock:
            if state in self._tracks:
                self._tracks.move_to_end(state)
            return self._tracks.get(state)

    def keep(self, state, track):
        with self._lock:
            if state not in self._tracks:
                self._tracks[state] = track
                self._size += _numbers(track)
            while self._size > KEPT:
                self._size -= _numbers(self._tracks.popitem(last=False)[1])


_TRACKS = _Tracks()


def track_of(
    path: FilePath, frame_rate: float = RATE, read: Callable[[FilePath], Track] | None = None
) -> Track:
    """The `Track` of a video file or a picture, by reading it through once without decoding.

    frame_rate   frames per second of a folder of frames, which does not say
    read         what to get a file's by where it is not remembered; None: `read_track`

    Frames without usable time stamps are taken as equally long. Raises FileNotFoundError, or
    ValueError for what FFmpeg cannot read.
    """
    in_folder = os.path.isdir(path)
    state = (state_of(path), frame_rate if in_folder else None)
    track = _TRACKS.get(state)
    if track is None:
        if in_folder:
            track = regular(len(frames_in(path)), frame_rate)
        else:
            track = (read or read_track)(path)
        _TRACKS.keep(state, track)
    return track


def regular(frames: int, rate: float) -> Track:
    """The `Track` of so many equally long frames."""
    return Track(np.arange(frames) / rate, frames / rate, 0.0, rate, True, np.empty((0, 2)))


def state_of(path: FilePath) -> tuple[str, int, int, int] | None:
    """(whole path, inode, bytes, time of change in ns); None where there is nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns


def _numbers(track):
    return track.times.size + track.keys.size + OVERHEAD


def read_track(path: FilePath) -> Track:
    """As `track_of`, from the file in any case."""
    with opened(path) as (_, container, stream):
        base, rate = float(stream.time_base or 1 / RATE), rate_of(stream)
        stamps = _stamps(packets(container, stream))
    require_frames(stamps, path)
    pts, dts, key, settings = stamps.T
    if _useless(pts, dts):
        return regular(len(pts), rate)

    start = np.nanmin(pts) * base
    times = np.sort(pts[~np.isnan(pts)] * base - start)
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate
    # Seeks go to decoding time: one to the time of showing may land behind a key frame shown late.
    keys = np.column_stack([pts * base - start, np.where(np.isnan(dts), pts, dts)])
    keys = keys[(key > 0) & ~np.isnan(pts)]
    if settings[1:].any():  # a seek would lead past such a change
        keys = keys[:0]
    return Track(times, float(times[-1]) + last, float(start), rate, False, keys)


def _stamps(found):
    """Of the packets of frames that are shown.

    -> (N, 4): times of showing and of decoding, NaN where absent; whether decoding can begin there;
    whether the packet brings settings

    No packet is kept: together they are the file.
    """
    frames = (p for p in found if p is not None and p.size and not p.is_discard)
    rows = ((p.pts, p.dts, p.is_keyframe, has_settings(p)) for p in frames)
    return np.fromiter(rows, dtype=np.dtype((float, 4)))


def _useless(pts, dts):
    """Whether most frames have no time to be shown at, or decoding times go backwards.

    pts, dts: (N,), NaN where absent
    """
    known = pts[~np.isnan(pts)]
    missing = not len(known) or (len(pts) > 1 and 2 * len(np.unique(known)) <= len(pts))
    return bool(missing or (np.diff(dts[~np.isnan(dts)]) < 0).any())
