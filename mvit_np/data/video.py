"""A video file -> an array of frames, through PyAV. Shrinking and greying are left to libswscale, fast at both."""

from pathlib import Path

import numpy as np


def decode(path, *, height=None, width=None, grey=False):
    """All frames of a video file.   -> (F, H, W, 1 if grey else 3) uint8, RGB

    Of `height` and `width` in pixels, one alone keeps the aspect ratio of the stored pixels, the other rounded to an
    even number; both are taken as they are; neither leaves the size alone.
    """
    av = _import_av()
    if not Path(path).is_file():
        raise FileNotFoundError(f"decode reads a video file, and there is none at {path}: check the path")
    try:
        frames = _read(av, path, height, width, "gray" if grey else "rgb24")
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is not a video FFmpeg can read ({error.strerror}): check or re-encode it") from error
    return frames.reshape(*frames.shape[:3], -1)


def _import_av():
    """-> the module av, imported only when a film is read: the rest of the package does without it."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise ImportError("decode reads video with PyAV, which is not installed: pip install 'mvit-np[video]'") from error
    return av


def _read(av, path, height, width, pixels):
    """-> (F, H, W) or (F, H, W, 3) uint8, in the libswscale format `pixels`"""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"decode needs a video stream, and {path} has none: pass a file with pictures")

        stream = container.streams.video[0]
        stream.thread_type = "AUTO"  # frames in parallel, not just the slices of one
        h, w = output_size(stream.height, stream.width, height, width)
        frames = [frame.reformat(w, h, format=pixels).to_ndarray() for frame in container.decode(stream)]

    if not frames:
        raise ValueError(f"decode needs at least one frame, and {path} holds none: check or re-encode it")
    return np.stack(frames)


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
