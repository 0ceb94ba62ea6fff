"""A video file -> an array of frames, through PyAV. libswscale shrinks and makes grey, fast.

Files from phones, cameras and the web are often odd: turned by 90 degrees, with frames of unequal
length, with tags that are wrong or absent, cut off, damaged in the middle. Whatever still decodes
is used, at the time at which it was to be shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ..backend.types import Array, FilePath
from .clips import SLACK, covering_size, shown
from .frame_folders import frames_in
from .track import Track, regular, track_of
from .upright import turn_of
from .video_file import RATE, check_size, has_settings, opened, packets, require_frames

JUMP = 1.0  # seconds of film to skip at least, for a seek to pay


def decode(
    path: FilePath, *, height: int | None = None, width: int | None = None, grey: bool = False
) -> Array:
    """All frames of a video file, as stored.   -> (F, H, W, 1 if grey else 3) uint8, RGB

    Of `height` and `width` in pixels, one alone keeps the aspect ratio of the stored pixels, the
    other rounded to an even number; both are taken as they are; neither leaves the size alone.

    Raises FileNotFoundError, or ValueError for what FFmpeg cannot read and for frames of more than
    4 GiB together.
    """
    with opened(path) as (_, container, stream):
        h, w = output_size(stream.height, stream.width, height, width)
        pixels = "gray" if grey else "rgb24"
        frames: list[Array] = []
        for frame in container.decode(stream):
            check_size(len(frames) + 1, h, w, 1 if grey else 3, path)
            frames.append(frame.reformat(w, h, format=pixels).to_ndarray())
        require_frames(frames, path)
    return np.stack(frames).reshape(len(frames), h, w, -1)


def frames_at(
    path: FilePath,
    seconds: Sequence[float] | Array,
    *,
    cover: tuple[int, int] | None = None,
    grey: bool = False,
    track: Track | None = None,
    threads: int = 0,
) -> Array:
    """The frame shown at each moment, upright.

    -> (len(seconds), h, w, 1 if grey else 3) uint8, RGB

    path     of a film or a picture, or of a folder of frames, of which only wanted ones are read
    seconds  since the first frame, in any order; before the first and after the last frame, that
             one is held
    cover    (H, W) in pixels: the smallest size with the picture's aspect ratio that covers it;
             None leaves the size alone
    track    of the file, where it is at hand already
    threads  of the decoder; 0: as many as it likes, which fill the holes of a damaged film in
             another way at every call

    Only frames up to the last wanted one are decoded, only wanted ones are converted, and long
    stretches between them are skipped. What does not decode is left out: the frame before it is
    held. Raises as `track_of` does, and ValueError for frames of more than 4 GiB together.
    """
    track = track or track_of(path)
    last = np.searchsorted(track.times, np.asarray(seconds, dtype=float) + SLACK, side="right") - 1
    moments, which = np.unique(track.times[np.maximum(last, 0)], return_inverse=True)
    wanted = _Wanted(path, moments, which.size, cover, grey, track, threads)
    if os.path.isdir(path):
        pictures = _of_folder(wanted)
    else:
        pictures = _pictures(wanted, seek=True) or _pictures(wanted, seek=False)
    require_frames(pictures, path)
    distinct = np.stack(pictures)
    return distinct.reshape(*distinct.shape[:3], -1)[which.ravel()]


def output_size(
    h: int, w: int, height: int | None = None, width: int | None = None
) -> tuple[int, int]:
    """The picture's (h, w) and what was asked for -> (height, width), all in pixels.

    Raises ValueError for a size below 1.
    """
    for name, asked in (("height", height), ("width", width)):
        if asked is not None and asked < 1:
            raise ValueError(
                f"{name} must be at least 1 pixel, but is {asked}: pass a positive number or None"
            )
    if height is None:
        return (h, w) if width is None else (_even(h * width / w), width)
    return height, width or _even(w * height / h)


def _even(length):
    """-> the nearest even number of pixels, at least 2"""
    return max(2, 2 * round(length / 2))


# -- wanted frames ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    path: FilePath
    moments: np.ndarray  # ascending, each once
    count: int  # of frames that are given back
    cover: tuple[int, int] | None
    grey: bool
    track: Track
    threads: int


def _pictures(wanted, seek):
    """[array of the frame shown at each moment], or None where a seek failed or led behind it."""
    pictures, form = [], None
    with opened(wanted.path) as (av, container, stream):
        stream.codec_context.thread_count = wanted.threads
        groups = _groups(wanted.moments, wanted.track) if seek else [(None, wanted.moments)]
        if groups[0][0] is not None:
            _take_settings(av, container, stream)
        for stamp, group in groups:
            frames = _frames_from(stamp, group[0], av, container, stream, wanted.track)
            if frames is None:
                return None
            for frame in shown(frames, group):
                form = form or _form(frame, stream, wanted)
                pictures.append(_picture(frame, form, wanted.grey))
    return pictures


def _of_folder(wanted):
    """[array of the frame shown at each moment] of a folder of frames."""
    files, how = frames_in(wanted.path), {"cover": wanted.cover, "grey": wanted.grey}
    still = regular(1, wanted.track.rate)
    at = np.searchsorted(wanted.track.times, wanted.moments)
    pictures = [frames_at(files[k], [0.0], track=still, threads=1, **how)[0] for k in at]
    h, w, channels = pictures[0].shape
    check_size(wanted.count, h, w, channels, wanted.path)
    if others := {picture.shape for picture in pictures} - {(h, w, channels)}:
        other_h, other_w, _ = others.pop()
        raise ValueError(
            f"the frames of a film have one size; {wanted.path} has {w} x {h} and "
            f"{other_w} x {other_h}: put each film's into a folder of its own"
        )
    return pictures


def _take_settings(av, container, stream):
    """Give the decoder what the first packet alone brings, such as a palette: a seek skips it."""
    first = next(packets(container, stream), None)
    if first is not None and has_settings(first):
        with suppress(av.error.FFmpegError):
            stream.codec_context.decode(first)


def _frames_from(stamp, moment, av, container, stream, track):
    """As `_timed`, from here or from a seek on; None where that fails or leads behind `moment`."""
    if stamp is None:
        return _timed(av, container, stream, track)
    try:
        container.seek(int(stamp), stream=stream)
    except av.error.FFmpegError:  # a bare row of JPEGs, for instance, has nothing to seek by
        return None
    frames = _timed(av, container, stream, track)
    first = next(frames, (np.inf, None))
    return chain([first], frames) if first[0] <= moment + SLACK else None


def _groups(moments, track):
    """[(time stamp to seek or None, [moments])]: a seek if a key frame is well behind the last."""
    groups: list[tuple[Any, list[float]]] = [(None, [])]
    last = 0.0
    for moment in moments:
        before = track.keys[track.keys[:, 0] <= moment + SLACK]
        if len(before) and before[-1, 0] > last + JUMP:
            groups.append((before[-1, 1], []))
        groups[-1][1].append(moment)
        last = moment
    return [group for group in groups if group[1]]


def _decoded(av, container, stream):
    """The frames in order of showing; packets that do not decode are passed over."""
    for packet in packets(container, stream):
        try:
            frames = stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            continue
        yield from frames


def _timed(av, container, stream, track):
    """(seconds since the first frame, frame) of every frame that decodes, never backwards."""
    base, time = float(stream.time_base or 1 / RATE), -1 / track.rate
    for number, frame in enumerate(_decoded(av, container, stream)):
        if track.numbered:
            time = number / track.rate
        elif frame.pts is None:
            time += 1 / track.rate
        else:
            time = max(time, frame.pts * base - track.start)
        yield time, frame


def _form(frame, stream, wanted):
    """What makes a picture upright, its pixels square: stored (h, w), whether to swap, mirror."""
    aspect = float(stream.sample_aspect_ratio or 1)
    h, w = frame.height, frame.width * (aspect if 0.1 < aspect < 10 else 1)
    swap, down, right = turn_of(frame, wanted.path)
    size = covering_size(w, h, wanted.cover)[::-1] if swap else covering_size(h, w, wanted.cover)
    check_size(wanted.count, *size, 1 if wanted.grey else 3, wanted.path)
    return size, swap, down, right


def _picture(frame, form, grey):
    (h, w), swap, down, right = form
    colours = "gray" if grey else "rgb24"
    picture = frame.reformat(w, h, format=colours, interpolation="BICUBIC").to_ndarray()
    picture = picture.swapaxes(0, 1) if swap else picture
    return picture[:: -1 if down else 1, :: -1 if right else 1]
