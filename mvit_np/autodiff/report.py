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
    kink: bool = False  # the slopes to both sides differ: there is no derivative to compare with

    @property
    def passed(self):
        return self.error <= self.tolerance  # False for nan

    @property
    def verdict(self):
        """What is the matter, or ""."""
        return "" if self.passed else "kink" if self.kink else "wrong"


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
        return max(self.checks, key=lambda c: math.inf if math.isnan(c.error) else c.error)

    @property
    def verdict(self):
        """The result as a sentence, without its subject."""
        found = {check.verdict for check in self.checks}
        if "wrong" in found:
            return "gradients DISAGREE with finite differences"
        if "kink" in found:
            return "has a kink there and so no derivative: move the inputs away and check again"
        return "gradients agree with finite differences"

    def summary(self):
        """The report in one line."""
        word = "ok  " if self.passed else "FAIL"
        checks, worst = f"{len(self.checks):4d} checks", f"worst error {self.worst.error:.1e}"
        return f"{word} {self.name:<28} {self.dtype}  {checks}, {worst}"

    def __str__(self):
        wide = max(len("argument"), *(len(check.argument) for check in self.checks))
        names = "direction     step        analytic         numeric     error tolerance"
        head = f"{'argument':<{wide}}  {names}"
        rows = [
            f"{c.argument:<{wide}}  {c.direction:<12} {c.step:>5.0e} "
            f"{c.analytic:>15.8e} {c.numeric:>15.8e} {c.error:>9.1e} {c.tolerance:>9.0e}"
            f"{c.verdict and f'   <-- {c.verdict}'}"
            for c in self.checks
        ]
        return "\n".join([f"{self.name} ({self.dtype}): {self.verdict}", head, *rows])
