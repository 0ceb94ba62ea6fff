"""A video file -> an array of frames, through PyAV. Shrinking and greying are left to libswscale, fast at both.

Files from phones, cameras and the web are often odd: turned by 90 degrees, with frames of unequal length, with tags that are
wrong or absent, cut off, damaged in the middle. Whatever still decodes is used, at the time at which it was to be shown.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from .clips import SLACK, covering_size, shown

JUMP = 1.0  # seconds of film to skip at least, for a seek to pay
RATE = 30.0  # frames a second where a file does not say
# Turns by 0, 90, 180, 270 degrees counter-clockwise: (swap the axes, mirror top and bottom, mirror left and right)
QUARTERS = (False, False, False), (True, True, False), (False, True, True), (True, False, True)


def decode(path, *, height=None, width=None, grey=False):
    """All frames of a video file, as stored.   -> (F, H, W, 1 if grey else 3) uint8, RGB

    Of `height` and `width` in pixels, one alone keeps the aspect ratio of the stored pixels, the other rounded to an
    even number; both are taken as they are; neither leaves the size alone.
    """
    with _opened(path) as (_, container, stream):
        h, w = output_size(stream.height, stream.width, height, width)
        pixels = "gray" if grey else "rgb24"
        frames = [frame.reformat(w, h, format=pixels).to_ndarray() for frame in container.decode(stream)]
        _require_frames(frames, path)
    return np.stack(frames).reshape(len(frames), h, w, -1)


@dataclass(frozen=True)
class Track:
    """When the frames of a film are shown; `track_of` makes it."""

    times: np.ndarray  # (F,) seconds since the first frame, ascending
    duration: float  # seconds from the first frame to the end of the last
    start: float  # seconds on the file's own clock at the first frame
    rate: float  # frames a second by the file's tags
    numbered: bool  # the time stamps are useless: frame k is shown at k / rate
    keys: np.ndarray  # (K, 2): where decoding can begin, seconds since the first frame and the time stamp to seek


def track_of(path):
    """The `Track` of a video file or a picture, by reading it through once without decoding.

    Frames without usable time stamps are taken as equally long. Raises FileNotFoundError, or ValueError for what FFmpeg
    cannot read.
    """
    with _opened(path) as (av, container, stream):
        packets = [p for p in _packets(av, container, stream) if p is not None and p.size and not p.is_discard]
        base, rate = float(stream.time_base or 1 / RATE), _rate(stream)
        stamps = [(p.pts, p.dts, p.is_keyframe) for p in packets]
    _require_frames(stamps, path)
    if _useless(stamps):
        times = np.arange(len(stamps)) / rate
        return Track(times, len(stamps) / rate, 0.0, rate, True, np.empty((0, 2)))

    start = min(pts for pts, _, _ in stamps if pts is not None) * base
    times = np.sort([pts * base - start for pts, _, _ in stamps if pts is not None])
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate
    # Seeks go to decoding time: a seek to the time of showing may land behind a key frame that is shown late.
    keys = [(pts * base - start, pts if dts is None else dts) for pts, dts, key in stamps if key and pts is not None]
    return Track(times, times[-1] + last, start, rate, False, np.array(keys, dtype=float).reshape(-1, 2))


def frames_at(path, seconds, *, cover=None, grey=False, track=None, threads=0):
    """The frame shown at each moment, upright.   -> (len(seconds), h, w, 1 if grey else 3) uint8, RGB

    seconds  since the first frame, in any order; before the first and after the last frame, that one is held
    cover    (H, W) in pixels: the smallest size with the picture's aspect ratio that covers it; None leaves the size alone
    track    of the file, where it is at hand already
    threads  of the decoder; 0: as many as it likes, which fill the holes of a damaged film in another way at every call

    Only frames up to the last wanted one are decoded, only wanted ones are converted, and long stretches between them are
    skipped. What does not decode is left out: the frame before it is held. Raises as `track_of` does.
    """
    track = track or track_of(path)
    last = np.searchsorted(track.times, np.asarray(seconds, dtype=float) + SLACK, side="right") - 1
    moments, places = np.unique(track.times[np.maximum(last, 0)], return_inverse=True)
    wanted = path, moments, cover, "gray" if grey else "rgb24", track, threads
    pictures = _pictures(*wanted, seek=True) or _pictures(*wanted, seek=False)
    _require_frames(pictures, path)
    distinct = np.stack(pictures)
    return distinct.reshape(*distinct.shape[:3], -1)[places.ravel()]


def output_size(h, w, height=None, width=None):
    """The picture's (h, w) and what was asked for -> (height, width), all in pixels."""
    for name, asked in (("height", height), ("width", width)):
        if asked is not None and asked < 1:
            raise ValueError(f"{name} must be at least 1 pixel, but is {asked}: pass a positive number or None")
    if height is None and width is None:
        return h, w
    return height or _even(h * width / w), width or _even(w * height / h)


def _even(length):
    """-> the nearest even number of pixels, at least 2"""
    return max(2, 2 * round(length / 2))


# -- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path):
    """-> (module av, container, its main video stream); what FFmpeg says inside becomes a ValueError."""
    av = _import_av()
    if not Path(path).is_file():
        raise FileNotFoundError(f"decode reads a video file, and there is none at {path}: check the path")
    try:
        # "file:" or a colon in the name would say a protocol; "none" or a % would say a series of pictures; titles and
        # the like may be in any encoding.
        name, options = f"file:{Path(path).absolute()}", {"pattern_type": "none"}
        with av.open(name, options=options, metadata_errors="replace") as container:
            stream = container.streams.best("video")  # the film, not the cover picture
            if stream is None:
                raise ValueError(f"decode needs a video stream, and {path} has none: pass a file with pictures")
            if stream.codec_context is None:
                raise ValueError(f"{path} is encoded in a way this FFmpeg does not know: re-encode it")
            stream.thread_type = "AUTO"  # frames in parallel, not just the slices of one
            yield av, container, stream
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is not a video FFmpeg can read ({error.strerror}): check or re-encode it") from error


def _import_av():
    """-> the module av, imported only when a film is read: the rest of the package does without it."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise ImportError("decode reads video with PyAV, which is not installed: pip install 'mvit-np[video]'") from error
    return av


def _require_frames(frames, path):
    if not frames:
        raise ValueError(f"decode needs at least one frame, and {path} holds none: check or re-encode it")


def _packets(av, container, stream):
    """The stream's packets up to the end or to where the file breaks off, then None: the decoder gives what it has left."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        yield None


def _rate(stream):
    """Frames a second by the file's tags, where they are credible."""
    rates = [float(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
    return next((rate for rate in rates if 1 <= rate <= 240), RATE)


def _useless(stamps):
    """Whether most frames have no time to be shown at, or decoding times go backwards."""
    pts = [pts for pts, _, _ in stamps if pts is not None]
    dts = [dts for _, dts, _ in stamps if dts is not None]
    missing = not pts or (len(stamps) > 1 and 2 * len(set(pts)) <= len(stamps))
    return missing or any(later < earlier for earlier, later in pairwise(dts))


# -- wanted frames ----------------------------------------------------------------------------------------------------


def _pictures(path, moments, cover, pixels, track, threads, seek):
    """[array of the frame shown at each moment], or None where a seek led behind the moment it was for."""
    pictures, form = [], None
    with _opened(path) as (av, container, stream):
        stream.codec_context.thread_count = threads
        for stamp, group in _groups(moments, track) if seek else [(None, moments)]:
            frames = _timed(av, container, stream, track)
            if stamp is not None:
                container.seek(int(stamp), stream=stream)
                first = next(frames, (np.inf, None))
                if first[0] > group[0] + SLACK:
                    return None
                frames = chain([first], frames)
            for frame in shown(frames, group):
                form = form or _form(frame, stream, cover)
                pictures.append(_picture(frame, form, pixels))
    return pictures


def _groups(moments, track):
    """[(time stamp to seek or None, [moments])], with a seek where a key frame lies well behind the last wanted frame."""
    groups, last = [(None, [])], 0.0
    for moment in moments:
        before = track.keys[track.keys[:, 0] <= moment + SLACK]
        if len(before) and before[-1, 0] > last + JUMP:
            groups.append((before[-1, 1], []))
        groups[-1][1].append(moment)
        last = moment
    return [group for group in groups if group[1]]


def _decoded(av, container, stream):
    """The frames in order of showing; packets that do not decode are passed over."""
    for packet in _packets(av, container, stream):
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


def _form(frame, stream, cover):
    """What makes an upright picture of square pixels: (height, width) stored, then whether to swap axes and mirror each."""
    aspect = float(stream.sample_aspect_ratio or 1)
    h, w = frame.height, frame.width * (aspect if 0.1 < aspect < 10 else 1)
    swap, down, right = _turn(frame)
    size = covering_size(w, h, cover)[::-1] if swap else covering_size(h, w, cover)
    return size, swap, down, right


def _turn(frame):
    """From the display matrix, x' = a x + c y and y' = b x + d y, to the nearest of the eight ways to lay a picture down:
    (swap the axes, then mirror top and bottom, mirror left and right)"""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 stumbles over the EXIF data of a phone's JPEG, but has the angle
        return QUARTERS[round(frame.rotation / 90) % 4]
    if matrix is None:
        return QUARTERS[0]
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)


def _picture(frame, form, pixels):
    (h, w), swap, down, right = form
    picture = frame.reformat(w, h, format=pixels, interpolation="BICUBIC").to_ndarray()
    picture = picture.swapaxes(0, 1) if swap else picture
    return picture[:: -1 if down else 1, :: -1 if right else 1]
