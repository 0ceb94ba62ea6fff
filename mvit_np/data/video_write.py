"""Frames -> an .mp4 file, through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ..backend.outputs import DRAWN, replacing, telling
from ..backend.types import Array, FilePath
from .video_file import import_av

CODECS = ("libx264", "mpeg4")  # the first that this FFmpeg has


def write_video(path: FilePath, frames: Iterable[Array], rate: float) -> None:
    """Write frames of one size as `path`, whole or not at all.

    frames   (H, W, 3) uint8 each, RGB; an odd last line or column is left out
    rate     frames per second

    Raises OSError in one sentence where it cannot be written, ValueError without frames, and
    whatever making the frames raises.
    """
    av = import_av()
    codec = next(name for name in CODECS if name in av.codecs_available)
    with telling(path), replacing(path) as file, av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = DRAWN.decode()
        stream = None
        for frame in frames:
            h, w = (2 * (n // 2) for n in frame.shape[:2])
            if stream is None:
                per_second = Fraction(rate).limit_denominator(10_000)
                stream = container.add_stream(codec, rate=per_second, height=h, width=w)
                stream.pix_fmt = "yuv420p"
            picture = av.VideoFrame.from_ndarray(frame[:h, :w].copy(), format="rgb24")
            container.mux(stream.encode(picture))
        if stream is None:
            raise ValueError(f"a film has at least one frame; {path} would have none")
        container.mux(stream.encode())
