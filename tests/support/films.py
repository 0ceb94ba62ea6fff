"""Films and pictures written for a test; in `counting`, frame k is as bright as k says."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")
STEP = 4  # levels of grey from one frame to the next
PICTURES = {
    "png": ("png", "rgb24"),
    "jpg": ("mjpeg", "yuvj444p"),
    "bmp": ("bmp", "bgr24"),
    "webp": ("libwebp", "yuv420p"),
}
LOSSLESS = {"qp": "0", "g": "12", "keyint_min": "12", "sc_threshold": "0"}


def write_film(
    path, frames, *, rate=10, pts=None, options=(), aspect=None, turn=None, container=()
):
    """Encode (F, H, W, 3) uint8, without loss but for colour; `pts` in ms."""
    with av.open(str(path), "w", options=dict(container)) as file:
        stream = file.add_stream(
            "libx264", rate=rate, height=frames.shape[1], width=frames.shape[2], pix_fmt="yuv444p"
        )
        stream.options = LOSSLESS | dict(options)
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_rotation(turn)
        for k, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[k], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def counting(count, height=32, width=48):
    """A film whose frame k has the level STEP k."""
    return np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None] * STEP, (count, height, width, 3)
    )


def numbers(frames):
    """Which frames of `counting` these are."""
    assert frames.std((1, 2, 3)).max() < 1.5
    return np.round(frames.mean((1, 2, 3)) / STEP).astype(int).tolist()


def shown_at(seconds, times):
    """The definition: the last frame that began by then."""
    return [
        max([k for k, time in enumerate(times) if time <= moment + 1e-3], default=0)
        for moment in seconds
    ]


def write_picture(path, pixels):
    codec, pixel_format = PICTURES[path.suffix[1:]]
    with av.open(str(path), "w", format="image2") as file:
        stream = file.add_stream(
            codec, rate=1, height=pixels.shape[0], width=pixels.shape[1], pix_fmt=pixel_format
        )
        file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path
