"""A video file, opened through PyAV: its stream, its packets, and the memory it may ask for."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..backend.install import install
from ..backend.types import FilePath

RATE = 30.0  # frames per second where a file does not say
# A file of some kilobytes can ask for pictures of any size, and each pixel takes up to 16 bytes on
# the way (a GIF's: four frames of it). An 8K film has 33 million, a scan or a photo 100 million.
MOST_PIXELS = 2**27
MOST_BYTES = 2**32  # of the frames that are asked for at once: 23 s of Full HD
LIMITS = {"max_pixels": str(MOST_PIXELS)}  # for FFmpeg, which passes larger pictures over
# Up to these pixels, an 8K film's, several frames are decoded at once; of larger ones each thread
# would hold too much.
FRAMES_AT_ONCE = 2**25
SETTINGS = ("palette", "new_extradata")  # what a packet may bring the decoder beside its picture
LIST_OF_FILES = b"ffconcat"  # how a text begins that FFmpeg would read other files for
NO_HANDLES = (errno.EMFILE, errno.ENFILE)


@contextmanager
def opened(path: FilePath) -> Iterator[tuple[Any, Any, Any]]:
    """-> (module av, container, its main video stream)

    Raises FileNotFoundError, or ValueError for what cannot be read, whatever FFmpeg and PyAV raise
    inside the block.
    """
    av = import_av()
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"decode reads a video file, and there is none at {path}: check the path"
        )
    try:
        with _container(av, path) as container:
            stream = _stream(container, path)
            large = stream.width * stream.height > FRAMES_AT_ONCE
            stream.thread_type = "SLICE" if large else "AUTO"
            stream.codec_context.options = LIMITS
            yield av, container, stream
    except Exception as error:  # a damaged file makes PyAV raise its own, but also an IndexError
        told = isinstance(error, (ValueError, ImportError, MemoryError))
        if told and not isinstance(error, av.error.FFmpegError):
            raise
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(
            f"{path} is not a video FFmpeg can read ({reason}): check or re-encode it"
        ) from error


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets up to where it ends or breaks off, then None: the decoder's rest."""
    try:
        yield from container.demux(stream)
    except Exception as problem:  # FFmpeg's, or an IndexError for a stream that comes up later
        if not is_the_files(problem):
            raise
        yield None


def is_the_files(problem: BaseException) -> bool:
    """Whether an exception tells of a file that cannot be read, not of machine or installation.

    FFmpeg's own "no memory" is the file's: it comes of sizes in damaged headers.
    """
    if isinstance(problem, (MemoryError, ImportError)):
        return False
    return getattr(problem.__cause__ or problem, "errno", None) not in NO_HANDLES


def has_settings(packet: Any) -> bool:
    """Whether a packet brings settings for the decoder, which hold for those after it too."""
    return any(packet.has_sidedata(name) for name in SETTINGS)


def rate_of(stream: Any) -> float:
    """Frames per second by the file's tags, where they are credible."""
    rates = [float(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
    return next((rate for rate in rates if 1 <= rate <= 240), RATE)


def require_frames(frames: Sized, path: FilePath) -> None:
    """Raise ValueError where there are none."""
    if not len(frames):
        raise ValueError(
            f"decode needs at least one frame, of at most {MOST_PIXELS // 10**6} million pixels, "
            f"and {path} holds none: check or re-encode it"
        )


def check_size(frames: int, h: int, w: int, channels: int, path: FilePath) -> None:
    """Raise ValueError where so many frames of such a size are more than is read at once."""
    if h * w > MOST_PIXELS:
        raise ValueError(
            f"pictures have at most {MOST_PIXELS // 10**6} million pixels; "
            f"{path} has one of {w} x {h}: make it smaller"
        )
    if frames * h * w * channels > MOST_BYTES:
        raise ValueError(
            f"frames take at most {MOST_BYTES >> 30} GiB at once; "
            f"{frames} of {path} with {w} x {h} pixels take more: ask for smaller or for fewer ones"
        )


def _container(av, path):
    # "file:" or a colon in the name would say a protocol; "none" or a % a series of pictures.
    name, options = f"file:{Path(path).absolute()}", {"pattern_type": "none"} | LIMITS
    with open(path, "rb") as file:
        if file.read(len(LIST_OF_FILES)) == LIST_OF_FILES:
            raise ValueError(f"{path} is a list of other files: give these themselves")
    try:
        return av.open(name, options=options, metadata_errors="replace")  # titles in any encoding
    except TypeError:  # from PyAV 19 on that is so without being asked for
        return av.open(name, options=options)


def _stream(container, path):
    stream = container.streams.best("video")  # the film, not the cover picture
    if stream is None:
        raise ValueError(
            f"decode needs a video stream, and {path} has none: pass a file with pictures"
        )
    if stream.codec_context is None:
        raise ValueError(f"{path} is encoded in a way this FFmpeg does not know: re-encode it")
    check_size(1, stream.height, stream.width, 1, path)
    return stream


def import_av() -> Any:
    """The module av, imported only when a film is read: the rest of the package does without."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise ImportError(
            f"decode reads video with PyAV, which is not installed: {install('video')}"
        ) from error
    return av
