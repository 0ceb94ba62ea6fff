"""Films decoded once: their frames, small as a model wants them, in a folder that all runs share.

An entry is a file of uint8 that is mapped into memory, so a clip costs the reading of its frames.
It is called after a fingerprint of the film and after how the film was decoded: a film that changed
is decoded anew, and threads, ranks and runs find what any of them has decoded. An entry is whole or
not there, so nobody has to wait for anybody. Nothing is ever deleted: to make room, delete the
folder.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..backend.outputs import make_folder, replacing, write
from ..backend.plain_text import plain
from ..backend.types import Array, FilePath
from .clips import SLACK
from .frame_folders import frames_in
from .track import Track, read_track, state_of, track_of
from .video import frames_at
from .video_file import RATE

TAG = "CACHEDIR.TAG"  # the usual name; programs that make backups leave such a folder out
TAGGED = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Frames of films that mvit_np has decoded. The folder may be deleted at any time.\n"
)
VERSION = 1  # of what an entry holds
LOOKED_AT = 2**16  # bytes of a film's beginning and end
LARGEST = 2**29  # bytes of an entry: 512 MiB, made in memory at once


class FrameCache:
    """The frames of films in a folder, up to a number of gigabytes; for several threads.

    What `frames_at` and `track` give is what `video.frames_at` and `track_of` give, bit for bit, of
    a film that decodes without errors. A film whose frames would take more than half a gigabyte is
    decoded every time, and so are those that come when the folder is full, which a warning says
    once.

    Raises ValueError for a folder that cannot be written, or that holds other files than a cache's.
    """

    def __init__(self, folder: FilePath, gigabytes: float = 20.0) -> None:
        self._folder, self._bytes, self._said = Path(folder), gigabytes * 1e9, set[str]()
        self._names: dict[Any, str] = {}  # {state of a film: its fingerprint}
        self._busy: dict[str, Lock] = defaultdict(Lock)  # one thread makes an entry
        make_folder(folder)
        if not (self._folder / TAG).is_file():
            if others := [path.name for path in self._folder.iterdir() if path.name[0] != "."]:
                raise ValueError(
                    f"a cache has a folder of its own; {folder} holds {plain(others[0])}: "
                    "give a new or an empty one"
                )
            write(self._folder / TAG, TAGGED)

    def track(self, path: FilePath, frame_rate: float = RATE) -> Track:
        """As `track_of`; an hour of film is read through once, not once per process."""
        return track_of(path, frame_rate, self._read_track)

    def _read_track(self, path):
        entry = self._folder / f"{self._fingerprint(path)}.npz"
        with self._busy[entry.name]:
            found = _loaded(_track_in, entry)
            if found is None:
                found = read_track(path)
                self._keep(entry, lambda file: _save_track(file, found), found.times.nbytes)
            return found

    def frames_at(
        self, path: FilePath, seconds: Array, cover: tuple[int, int] | None, grey: bool,
        track: Track,
    ) -> Array:  # fmt: skip
        """As `video.frames_at` with one thread."""
        moments = np.unique(track.times)
        frames = self._frames(path, moments, cover, grey, track)
        if frames is None:
            return frames_at(path, seconds, cover=cover, grey=grey, track=track, threads=1)
        shown = np.searchsorted(moments, np.asarray(seconds, dtype=float) + SLACK, side="right") - 1
        return frames[np.maximum(shown, 0)]

    def _frames(self, path, moments, cover, grey, track):
        """All frames, mapped into memory; None where they are not kept."""
        how = f"{'grey' if grey else 'rgb'}-{'x'.join(map(str, cover or ('whole',)))}"
        entry = self._folder / f"{self._fingerprint(path)}-{how}.npy"
        with self._busy[entry.name]:
            found = _loaded(_frames_in, entry)
            if found is not None or entry.name in self._said:
                return found
            options = {"cover": cover, "grey": grey, "track": track, "threads": 1}
            size = frames_at(path, moments[:1], **options).nbytes * len(moments)
            if size > LARGEST or not self._has_room(size):
                self._said.add(entry.name)  # it is not tried again
                return None
            frames = frames_at(path, moments, **options)
            self._keep(entry, lambda file: np.save(file, frames, allow_pickle=False), size)
            return frames

    def _fingerprint(self, path):
        state = state_of(path)
        if state not in self._names:
            self._names[state] = _fingerprint(path, state)
        return self._names[state]

    def _has_room(self, size):
        there = sum(file.stat().st_size for file in os.scandir(self._folder))
        if there + size > self._bytes:
            self._say(
                f"the cache {plain(self._folder)} is full ({self._bytes / 1e9:g} GB), and what it "
                "lacks is decoded every time: give more with --cache_gb, or delete the folder"
            )
        return there + size <= self._bytes

    def _keep(self, entry, save, size):
        """Write an entry. A disk that is full or read-only is said once, and is no error."""
        try:
            if self._has_room(size):
                with replacing(entry) as file:
                    save(file)
        except OSError as problem:
            why = problem.strerror or problem
            self._say(f"the cache {plain(self._folder)} cannot be written ({why}): it is not used")

    def _say(self, sentence):
        if sentence not in self._said:
            self._said.add(sentence)
            warnings.warn(sentence, stacklevel=2)


def _fingerprint(path, state):
    """By size, time of change, and the bytes at both ends; of a folder by those of its frames."""
    if state is None:
        return "absent"
    _, _, size, changed = state
    found = hashlib.blake2b(f"{VERSION} {size} {changed}".encode(), digest_size=16)
    if os.path.isdir(path):
        for frame in map(state_of, frames_in(path)):
            found.update(repr(frame and (os.path.basename(frame[0]), *frame[2:])).encode())
        return found.hexdigest()
    with open(path, "rb") as file:
        found.update(file.read(LOOKED_AT))
        file.seek(max(size - LOOKED_AT, 0))
        found.update(file.read(LOOKED_AT))
    return found.hexdigest()


def _loaded(load, entry):
    """What an entry holds; None where there is none, or one that a power cut damaged."""
    try:
        return load(entry)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _frames_in(entry):
    return np.load(entry, mmap_mode="r", allow_pickle=False)


def _track_in(entry):
    with np.load(entry, allow_pickle=False) as found:
        duration, start, rate, numbered = found["numbers"].tolist()
        return Track(found["times"], duration, start, rate, bool(numbered), found["keys"])


def _save_track(file, track):
    numbers = [track.duration, track.start, track.rate, track.numbered]
    np.savez(file, times=track.times, keys=track.keys, numbers=np.array(numbers))
