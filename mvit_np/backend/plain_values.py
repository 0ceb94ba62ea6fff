"""Values as a user gives them, or as JSON and TOML have them."""

from __future__ import annotations

import math
import sys


def is_whole(value, least=-math.inf):
    """Whether it is a whole number (True and False are none), of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value):
    """Whether it is a number that a float can hold, neither NaN nor infinite nor a bool."""
    return (is_whole(value) or isinstance(value, float)) and abs(value) <= sys.float_info.max


def tuples(value):
    """The same with a tuple for each list: JSON and TOML have lists alone."""
    if isinstance(value, dict):
        return {name: tuples(inside) for name, inside in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, (list, tuple)) else value
