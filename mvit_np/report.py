"""What a gradient check found, as a table that a student can read."""

from __future__ import annotations

import math
from dataclasses import dataclass


class GradientError(AssertionError):
    """A gradient disagrees with finite differences; the message is the report."""


@dataclass(frozen=True)
class Check:
    """One line of the report: `argument` moved along `direction`."""

    argument: str
    direction: str
    step: float
    analytic: float
    numeric: float
    error: float
    tolerance: float

    @property
    def passed(self):
        return self.error <= self.tolerance  # False for nan


@dataclass(frozen=True)
class Report:
    """All lines of one gradient check; print it."""

    name: str
    dtype: str
    checks: tuple[Check, ...]

    @property
    def passed(self):
        return all(check.passed for check in self.checks)

    @property
    def worst(self):
        return max(self.checks, key=lambda check: math.inf if math.isnan(check.error) else check.error)

    def summary(self):
        """The report in one line."""
        word = "ok  " if self.passed else "FAIL"
        return f"{word} {self.name:<28} {self.dtype}  {len(self.checks):4d} checks, worst error {self.worst.error:.1e}"

    def __str__(self):
        wide = max(len("argument"), *(len(check.argument) for check in self.checks))
        head = f"{'argument':<{wide}}  direction     step        analytic         numeric     error tolerance"
        rows = [
            f"{c.argument:<{wide}}  {c.direction:<12} {c.step:>5.0e} {c.analytic:>15.8e} {c.numeric:>15.8e} {c.error:>9.1e} "
            f"{c.tolerance:>9.0e}{'' if c.passed else '   <-- wrong'}"
            for c in self.checks
        ]
        verdict = "gradients agree" if self.passed else "gradients DISAGREE"
        return "\n".join([f"{self.name} ({self.dtype}): {verdict} with finite differences", head, *rows])
