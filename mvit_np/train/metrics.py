"""metrics.csv: a row per step, written at once, and read again even if it was damaged."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from ..backend.outputs import telling, write
from ..backend.types import FilePath

METRICS = "metrics.csv"
FIELDS = (
    "step", "epoch", "seconds", "loss", "accuracy", "learning_rate", "gradient_norm", "clips_per_s",
    "test_accuracy", "test_top5", "test_loss",
)  # fmt: skip
SINCE = {"test_loss"}  # what the files of earlier versions lack
# {name of FIELDS: number}; a name that is missing, or None, is an empty cell.
Row: TypeAlias = dict[str, Any]


class Metrics:
    """metrics.csv: a row per step, handed to the system at once.

    Raises OSError in one sentence where the disk is full.

    folder  of the run; None where another rank writes
    steps   of the snapshot that the run goes on from: rows of later steps go, for those steps are
            done again
    """

    def __init__(self, folder: FilePath | None, steps: int = 0) -> None:
        self.rows: list[Row] = []
        self._file: TextIO | None = None
        if folder is not None:
            self._path = Path(folder) / METRICS
            self.rows = [row for row in read_rows(self._path) if row["step"] <= steps]
            self._begin()

    def _begin(self):
        write(self._path, _lines([FIELDS, *map(_cells, self.rows)]))
        self._file = open(self._path, "a", newline="", encoding="utf-8")

    def _drop(self, file):
        """Let go of the file with what of a row did not fit into it: closing it would try again."""
        self._file = None
        with suppress(OSError):
            file.close()

    def add(self, row: Row) -> None:
        """Write the row of one more step."""
        self.rows.append(row)
        if file := self._file:
            with telling(self._path):
                try:
                    file.write(_lines([_cells(row)]))
                    file.flush()
                except OSError:
                    self._drop(file)
                    raise

    def complete(self, results: Row) -> None:
        """Add these cells to the last row."""
        if self._file:
            self.rows[-1] |= results
            self._file.close()
            self._begin()

    def sync(self) -> None:
        """All rows are on the disk when this returns: before a snapshot that stands for them."""
        if self._file:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file: nothing more comes."""
        if self._file:
            self._file.close()


def read_rows(path: FilePath) -> list[Row]:
    """The whole rows of a metrics.csv as numbers, None for an empty cell; [] where no file is."""
    if not Path(path).is_file():
        return []
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    # The last row may be cut off.
    lines = [line.split(",") for line in text[: text.rfind("\n") + 1].split("\n")]
    # A power cut may leave NULs anywhere.
    columns = lines[0] if set(FIELDS) - SINCE <= set(lines[0]) else FIELDS
    return [numbers for cells in lines if (numbers := _numbers(columns, cells))]


def _numbers(columns, cells):
    """The row as numbers, or None where it is damaged, or is the line of titles."""
    try:
        row = dict(zip(columns, cells, strict=True))
        return {name: _number(name, row.get(name, "")) for name in FIELDS}
    except ValueError:
        return None


def _number(name, text):
    return int(text) if name == "step" else float(text) if text else None


def _cells(row):
    return [_cell(row.get(name)) for name in FIELDS]


def _cell(value):
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _lines(rows):
    return "".join(",".join(row) + "\n" for row in rows)
