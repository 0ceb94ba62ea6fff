"""The order of an epoch's examples: each once, or each class equally often."""

from __future__ import annotations

import numpy as np

from ..backend.types import Array, Generator


def balanced(labels: Array, rng: Generator) -> Array:
    """As many examples as there are, of every class equally often, in turns.   (N,) -> (N,) indices

    Where N is no multiple of the number of classes that have examples, some come once more than
    others. In a turn each class comes once, in an order drawn anew; so neighbours are of different
    classes, mostly. Of a class with more examples than turns some are left out, others in each
    epoch; one with fewer begins its own again, in another order.
    """
    classes = np.unique(labels)
    turns = -(-len(labels) // len(classes))
    columns = []
    for label in classes:
        own = np.flatnonzero(labels == label)
        rounds = -(-turns // len(own))
        columns.append(np.concatenate([rng.permutation(own) for _ in range(rounds)])[:turns])
    return rng.permuted(np.stack(columns, axis=1), axis=1).ravel()[: len(labels)]
