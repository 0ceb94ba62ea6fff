"""What stands for a pickle's names: functions for plain data's, for all others the name alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Name:
    """A known name that stands for nothing but itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """A name that is not known, or an object of a class of that name. Nothing of it was made."""

    name: str


def refuse(stranger: Stranger) -> NoReturn:
    """Raise ValueError for a name where nobody can do without what it stands for."""
    came = f"its pickle asks for {stranger.name[:80]!r}, which no tensor needs (nothing was run)"
    raise ValueError(f"{came}: save only the state_dict")


def the(wanted: type[Wanted], value: Any) -> Wanted:
    """The value. Raises ValueError where it is not of the wanted type."""
    if isinstance(value, Stranger):
        refuse(value)
    if not isinstance(value, wanted):
        raise ValueError(
            f"its pickle has a {type(value).__name__} where a {wanted.__name__} belongs"
        )
    return value


def arguments_of(arguments: tuple, fewest: int, most: int) -> tuple:
    """The arguments of a call, filled up with None. Raises ValueError for too few or too many."""
    if not fewest <= len(arguments) <= most:
        raise ValueError(
            f"its pickle calls something with {len(arguments)} arguments, where {fewest} to {most} "
            "belong"
        )
    return (*arguments, *[None] * (most - len(arguments)))


# ---- the names that plain data needs: functions of the arguments, each bounded whatever they are


def _dict(arguments):
    arguments_of(arguments, 0, 0)
    return {}


def _encoded(arguments):
    """The bytes of a NumPy number, which protocol 2 writes as latin-1 text."""
    text, encoding = arguments_of(arguments, 2, 2)
    if the(str, encoding) != "latin1" or len(the(str, text)) > 16:
        raise ValueError("its pickle encodes text that is no NumPy number")
    return text.encode("latin1")


def _dtype(arguments):
    code = the(str, arguments_of(arguments, 1, 3)[0])
    if code not in "f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1".split():
        raise ValueError("its pickle has a NumPy dtype that is no number")
    return np.dtype(f"<{code}")


def _scalar(arguments):
    dtype, data = arguments_of(arguments, 2, 2)
    if len(the(bytes, data)) != the(np.dtype, dtype).itemsize:
        raise ValueError("its pickle has a NumPy number of too few or too many bytes")
    return np.frombuffer(data, dtype)[0].item()


def _aside(what):
    """Beside weights these are of no use."""
    return lambda arguments: Name(what)


MODULES = ("pathlib", "pathlib._local")
PATHS = [f"{module}.{system}Path" for module in MODULES for system in ("Posix", "Windows")]
DICTS = ("yacs.config.CfgNode", "fvcore.common.config.CfgNode")
PLAIN = {
    **dict.fromkeys(PATHS, _aside("a path")),
    **dict.fromkeys(("__builtin__.set", "builtins.set"), _aside("a set")),
    "collections.OrderedDict": _dict,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
}
