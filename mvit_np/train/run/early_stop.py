"""When a run has seen enough: so many tests in a row were no better than an earlier one."""

from __future__ import annotations

from collections.abc import Sequence

from ..metrics import Row


def best_test(rows: Sequence[Row]) -> tuple[Row | None, int]:
    """(the row of the best test, the first of equals, or None; how many tests came after it)"""
    tests = [row for row in rows if row["test_accuracy"] is not None]
    if not tests:
        return None, 0
    # As metrics.csv has them: a run that is taken up again reads what the others remember.
    shares = [f"{row['test_accuracy']:.9g}" for row in tests]
    best = max(range(len(tests)), key=lambda k: float(shares[k]))
    return tests[best], len(tests) - 1 - best


def has_seen_enough(rows: Sequence[Row], patience: int) -> bool:
    """Whether the last `patience` tests were no better than the best before them; 0: never."""
    return 0 < patience <= best_test(rows)[1]
