"""What an op gives, forwards and backwards, and the windows that tests of window ops share."""

import numpy as np

from mvit_np.autodiff.tape import vjp

# (kernel, stride, padding): plain, the model's, even kernels, overlapping in part, gaps,
# one window, stride beyond the grid
WINDOWS = [
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((3, 3, 3), (1, 2, 2), (1, 1, 1)),
    ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
    ((2, 4, 2), (2, 2, 1), (1, 2, 1)),
    ((1, 2, 1), (2, 3, 3), (0, 0, 0)),
    ((3, 5, 4), (1, 1, 1), (0, 0, 0)),
    ((1, 3, 3), (1, 8, 8), (0, 1, 1)),
    ((3, 1, 2), (1, 1, 2), (0, 0, 1)),
]


def results(fun, arrays):
    """Values and, for random but fixed cotangents, the gradients by all arrays."""
    value, found = fun(*arrays), []
    for i, y in enumerate(value if isinstance(value, tuple) else [value]):
        dy = (
            np.random.default_rng(i).standard_normal(y.shape, y.dtype)
            if y.ndim
            else np.ones_like(y)
        )
        _, pull = vjp(lambda *x, i=i: fun(*x)[i] if isinstance(value, tuple) else fun(*x), arrays)
        found += [y, *pull(dy)]
    return found


def assert_near(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1))
