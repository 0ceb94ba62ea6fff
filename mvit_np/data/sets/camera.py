"""A camera moves over a photo: which of eight ways? Sideways, up, down, nearer, farther, turning.

photo -> halved -> a region (the left for training, the right for the test)
-> a pose in the middle of the clip -> eight paths.

A pose is a position, a scale and an angle. All eight paths of a scene run through the same pose in
the middle. Angles come from the full circle, and every path is walked both ways, so that the frames
of a clip without their order fit two classes equally. Where the pose shows too little to tell (sky,
the dark behind the flower), another is drawn. What is left to a single frame: at the ends of a clip
the scale hints at zooms, as what comes nearer starts a bit farther away than what pans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...backend.types import Array, Generator
from .samples import LabelledClips, photos

# Where the content of the picture goes, as the viewer sees it.
CLASSES = ("left", "right", "up", "down", "nearer", "farther", "clockwise", "anticlockwise")
FRAMES, SIZE = 8, 32  # of a clip; pixels per side
BORDER = 0.55  # of a photo's width is for training
SCALES = 0.75, 1.5  # pixels of the halved photo a pixel of the clip, in the middle of the clip
PAN = 1.0, 2.5  # pixels of the clip a frame
ZOOM = 0.035, 0.065  # natural logarithm of the scale, a frame
TURN = np.radians(3), np.radians(6)  # a frame
REACH = SIZE / 2**0.5 + PAN[1] * FRAMES / 2  # pixels from the middle that any way gets to
# The first of each pair of classes: which part of a pose changes, to which side, how fast. A camera
# that goes right sees the content go left, and a smaller scale is nearer.
WAYS = (1, 1, PAN), (0, 1, PAN), (2, -1, ZOOM), (3, -1, TURN)
CLEAR = 4.0  # of 255 per pixel, the least `texture`: a clip of a blue sky has no answer
TRIES = 8  # poses drawn for each one taken: in the darkest region every fourth is clear
TOGETHER = 32  # scenes sampled at once, to bound the memory


def camera(
    rngs: Sequence[Generator], train: int = 4096, test: int = 1024
) -> tuple[LabelledClips, ...]:
    """The clips of the set.

    -> train, test, each clips (N, 8, 32, 32, 3) uint8, labels (N,) int64, all classes equally often

    No pixel of a photo is in both.
    """
    halved = [_halved(photo) for photo in photos()]
    borders = [round(BORDER * photo.shape[1]) for photo in halved]
    regions = (
        [photo[:, :border] for photo, border in zip(halved, borders)],
        [photo[:, border:] for photo, border in zip(halved, borders)],
    )
    parts = zip(rngs, regions, (train, test))
    return tuple(_filmed(rng, region, clips // len(CLASSES)) for rng, region, clips in parts)


def _halved(photo):
    """(H, W, C) uint8 -> (H // 2, W // 2, C) float32, means of 2 x 2 pixels: smooth enough here."""
    h, w = photo.shape[0] // 2, photo.shape[1] // 2
    return photo[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).mean((1, 3), dtype=np.float32)


def _filmed(rng, regions, scenes):
    """Scenes from each region in turn, each in eight ways.

    -> clips (8 scenes, F, S, S, C), labels (8 scenes,)
    """
    clips = np.empty((scenes, len(CLASSES), FRAMES, SIZE, SIZE, regions[0].shape[-1]), np.uint8)
    for which, region in enumerate(regions):
        for start in range(which, scenes, TOGETHER * len(regions)):
            chosen = slice(start, min(start + TOGETHER * len(regions), scenes), len(regions))
            poses = _clear_poses(rng, region, len(range(scenes)[chosen]))
            forth = _frames(region, poses, _paths(rng, len(poses)))
            clips[chosen, ::2] = forth
            clips[chosen, 1::2] = forth[:, :, ::-1]  # a path walked back is the next class
    return clips.reshape(-1, *clips.shape[2:]), np.tile(np.arange(len(CLASSES)), scenes)


def _clear_poses(rng, region, count):
    """Poses from which something is to be seen, or where too few are, others too.

    -> (count, 4), see `_poses`
    """
    poses = _poses(rng, region, TRIES * (count + TRIES))
    middles = _frames(region, poses, np.zeros((len(poses), 1, 1, 4)))[:, 0, 0]
    return poses[np.argsort(texture(middles) < CLEAR, kind="stable")[:count]]


def _poses(rng, region, count):
    """In the middle of clips.

    -> (count, 4): down and right in the region, logarithm of the scale, angle
    """
    scale = rng.uniform(*np.log(SCALES), count)
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = REACH * np.exp(scale)[:, None]
    room = np.array(region.shape[:2]) - 1 - 2 * reach
    return np.column_stack([reach + rng.uniform(size=(count, 2)) * room, scale, angle])


def _paths(rng, count):
    """The four ways of the even classes.

    -> (count, 4, F, 4): how far down, right, logarithm of the scale and angle change
    """
    time = np.arange(FRAMES) - (FRAMES - 1) / 2
    paths = np.zeros((count, 4, FRAMES, 4))
    for way, (axis, sign, speeds) in enumerate(WAYS):
        paths[:, way, :, axis] = sign * rng.uniform(*speeds, (count, 1)) * time
    return paths


def _frames(region, poses, paths):
    """What the camera sees.   poses (N, 4), paths (N, P, F, 4) -> (N, P, F, S, S, C) uint8"""
    poses = poses[:, None, None, :, None, None]
    paths = paths[..., None, None]  # (N, P, F, 4, 1, 1)
    scale = np.exp(poses[..., 2, :, :] + paths[..., 2, :, :])
    angle = poses[..., 3, :, :] + paths[..., 3, :, :]
    across = np.arange(SIZE) - (SIZE - 1) / 2
    down, right = paths[..., 0, :, :] + across[:, None], paths[..., 1, :, :] + across
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    below = poses[..., 0, :, :] + sine * right + cosine * down  # in the region
    beside = poses[..., 1, :, :] + cosine * right - sine * down
    return sampled(region, below, beside)


def texture(pictures: Array) -> Array:
    """How much a picture changes along the direction in which it changes least.

    (N, S, S, C) -> (N,), of 255 per pixel

    The root of the lower eigenvalue of the mean of gradient times gradient: 0 for an even sky and
    for a straight edge, which do not show where they go.
    """
    down, right = np.gradient(pictures.mean(-1), axis=(1, 2))
    yy, xx, xy = ((a * b).mean((1, 2)) for a, b in ((down, down), (right, right), (down, right)))
    lower = (yy + xx) / 2 - np.hypot((yy - xx) / 2, xy)
    return np.sqrt(np.maximum(lower, 0))


def sampled(photo: Array, down: Array, right: Array) -> Array:
    """The photo between its pixels, linearly along both axes.

    (H, W, C) float32, (...), (...) -> (..., C) uint8

    down, right  pixels from the centre of the top left one; from 0 to below H - 1 and W - 1
    """
    width, pixels = photo.shape[1], photo.reshape(-1, photo.shape[-1])
    top, left = down.astype(np.int64), right.astype(np.int64)
    below = (down - top)[..., None].astype(np.float32)
    beside = (right - left)[..., None].astype(np.float32)
    at = top * width + left
    upper = pixels[at] + beside * (pixels[at + 1] - pixels[at])
    lower = pixels[at + width] + beside * (pixels[at + width + 1] - pixels[at + width])
    return np.round(upper + below * (lower - upper)).astype(np.uint8)
