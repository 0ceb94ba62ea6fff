"""A street that is drawn: a scene to show, where the frames of a film must not be stored."""

from __future__ import annotations

import numpy as np

from ...backend.types import Array, Generator

SKY, ROAD, GLASS = (150, 190, 230), (90, 90, 95), (40, 50, 70)
SHIRT, LEGS, SKIN = (225, 50, 40), (30, 30, 60), (235, 190, 160)
GROUND = 0.82  # of the height: where the road begins
BREADTH, HEIGHT = (0.3, 0.6), (0.4, 0.8)  # of a house, relative to the picture's height
WALKER = 0.42  # how tall a person is, likewise


def drawn_street(
    rng: Generator,
    size: tuple[int, int] = (32, 32),
    frames: int = 8,
    pan: int = 2,
    walk: tuple[int, int] | None = None,
) -> Array:
    """Frames of a street with houses; the camera may turn, and somebody may walk along.

    rng    draws the houses and their windows
    size   (height, width) in pixels
    pan    pixels that the whole picture goes to the right from frame to frame; negative to the left
    walk   (column in the first frame, pixels to the right per frame) of somebody who walks; None
           for an empty street

    -> (frames, height, width, 3) uint8
    """
    high, wide = size
    picture = _houses(rng, high, wide + abs(pan) * (frames - 1))
    first = max(pan, 0) * (frames - 1)
    starts = [first - pan * t for t in range(frames)]
    clip = np.stack([picture[:, start : start + wide] for start in starts])
    if walk is not None:
        for t, frame in enumerate(clip):
            _person(frame, walk[0] + walk[1] * t)
    return clip


def _houses(rng, high, wide):
    """(high, wide, 3) the whole street, side by side from left to right."""
    picture, ground = np.empty((high, wide, 3), np.uint8), round(GROUND * high)
    picture[:], picture[ground:] = SKY, ROAD
    left = 0
    while left < wide:
        broad, tall = (round(high * rng.uniform(*ends)) for ends in (BREADTH, HEIGHT))
        _house(picture[ground - tall : ground, left : left + broad], rng, high)
        left += broad
    return picture


def _house(wall, rng, high):
    """Paint a wall of rough plaster with rows of windows, some of them lit."""
    shade = rng.uniform(80, 200, 3) + rng.uniform(-15, 15, wall.shape[:2])[..., None]
    wall[:] = shade.round()
    pitch = max(high // 7, 4)
    pane = pitch // 2
    for row in range(pane, len(wall) - pane, pitch):
        for column in range(pane // 2 + 1, wall.shape[1] - pane, pitch):
            lit = rng.random() < 0.3
            wall[row : row + pane, column : column + pane] = (250, 230, 140) if lit else GLASS


def _person(frame, left):
    """Paint somebody whose left side is at a column; what is outside of the picture is left out."""
    high, wide = frame.shape[:2]
    tall, feet = round(WALKER * high), round((GROUND + 0.1) * high)
    broad, head, hip = max(tall // 3, 2), feet - tall, feet - tall // 2
    columns = slice(max(left, 0), max(left + broad, 0))
    middle = slice(max(left + broad // 4, 0), max(left + broad - broad // 4, 0))
    frame[head : head + tall // 4, middle] = SKIN
    frame[head + tall // 4 : hip, columns] = SHIRT
    frame[hip:feet, middle] = LEGS
