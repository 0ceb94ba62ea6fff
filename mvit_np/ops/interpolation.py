"""Position tables at another length, as matrices: row i weighs old entries into the new entry i.

Both are PyTorch's `interpolate` with align_corners=False: cells whose centres lie at i + 1/2.
"""


def linear_matrix(xp, length, new_length):
    """Linear interpolation between the two nearest centres.   -> (new_length, length)"""
    centre = xp.clip(_centres(xp, length, new_length), 0, length - 1)
    return xp.maximum(1 - abs(centre[:, None] - xp.arange(length)), 0)


def cubic_matrix(xp, length, new_length):
    """(new_length, length): cubic convolution over the four nearest centres; edges repeat."""
    centre = _centres(xp, length, new_length)[:, None]
    taps = xp.floor(centre) + xp.arange(-1, 3)
    hits = xp.clip(taps, 0, length - 1)[..., None] == xp.arange(length)
    return (_cubic(xp, abs(centre - taps))[..., None] * hits).sum(axis=1)


def _centres(xp, length, new_length):
    return (xp.arange(new_length) + 0.5) * (length / new_length) - 0.5


def _cubic(xp, d, a=-0.75):
    """Keys' kernel of the distance d >= 0, with PyTorch's a."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return xp.where(d <= 1, near, xp.where(d < 2, far, 0))
