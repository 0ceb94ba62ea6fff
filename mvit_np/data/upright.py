"""How a decoded picture is laid down so that it is upright: by a film's tags or a photo's EXIF."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.types import FilePath

# Ways to lay a picture down: (swap the axes, then mirror top and bottom, mirror left and right)
AS_IT_IS = (False, False, False)
# Turns by 0, 90, 180 and 270 degrees, counter-clockwise.
QUARTERS = AS_IT_IS, (True, True, False), (False, True, True), (True, False, True)
ORIENTATION = 0x0112  # the tag of EXIF
ORIENTATIONS: dict[Any, tuple[bool, bool, bool]] = {  # by the number in a picture's EXIF data
    2: (False, False, True), 3: QUARTERS[2], 4: (False, True, False), 5: (True, False, False),
    6: QUARTERS[3], 7: (True, True, True), 8: QUARTERS[1],
}  # fmt: skip


def turn_of(frame: Any, path: FilePath) -> tuple[bool, bool, bool]:
    """(swap the axes, then mirror top and bottom, mirror left and right) to lay a picture down.

    The nearest of eight ways to the display matrix, x' = a x + c y and y' = b x + d y.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 stumbles over the EXIF data of a phone's JPEG
        return _turn_by_exif(frame, path)
    if matrix is None:
        return AS_IT_IS
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)


def _turn_by_exif(frame, path):
    """The same as Pillow reads it; of a film of such pictures by PyAV's angle."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return ORIENTATIONS.get(picture.getexif().get(ORIENTATION), AS_IT_IS)
    except OSError:
        return QUARTERS[round(frame.rotation / 90) % 4]
