"""What the ops keep for the backward pass, where one can choose between time and memory.

inputs   the arrays that an op was given; what its backward pass needs besides is made again
hidden   the MLPs' hidden layers too, which are the largest of what is made again
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

KEPT = ("inputs", "hidden")

_chosen = contextvars.ContextVar("kept for the backward pass", default="inputs")


@contextmanager
def keep(name: str) -> Iterator[None]:
    """Keep more for the backward pass within the block (of this thread or task alone).

    name   "inputs", as without this, or "hidden": the MLPs' hidden layers are not computed a second
           time. Their memory is 4 bytes for each token and hidden channel, of all blocks together

    Only the fast versions obey it: a definition (`plain_ops`) keeps what it needs, and a
    checkpointed block its inputs alone. Raises ValueError for another name.
    """
    if name not in KEPT:
        raise ValueError(f"what is kept is one of {', '.join(KEPT)}; came {name!r}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def keeps(name: str) -> bool:
    """Whether that is chosen here and now."""
    return _chosen.get() == name
