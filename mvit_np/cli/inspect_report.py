"""What `mvit-np inspect` says: the numbers, as text, and a table with a row per example."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ..backend.plain_text import NAMED, are, many, plain
from ..data.survey import Seen, same_films
from ..model.text_table import aligned

COLUMNS = (
    "part", "path", "class", "start", "end", "seconds", "frames", "rate", "width", "height",
    "bytes", "same_bytes_as", "problem",
)  # fmt: skip
LISTED = 10  # of a kind of thing that is named
MOST_CLASSES = 30  # that each have a line


def summary_of(
    seen: list[Seen], twins: list[list[Seen]], classes: Iterable[str], clip_s: float
) -> dict[str, Any]:
    """The numbers about all examples, as plain values.

    twins    as `same_bytes` gives them
    clip_s   seconds of a clip, below which a film is called short; 0: none is
    """
    good = [one for one in seen if not one.problem]
    moving = [one for one in good if one.rate]
    parts = {part: [one for one in seen if one.part == part] for part in ("train", "tests")}
    counted = {part: Counter(one.label for one in found) for part, found in parts.items()}
    return {
        "examples": {part: len(found) for part, found in parts.items()},
        "films": {part: len({one.path for one in found}) for part, found in parts.items()},
        "classes": {
            name: {part: counts[name] for part, counts in counted.items()} for name in classes
        },
        "seconds": _spread([one.seconds for one in moving]),
        "frame_rates": _counted(f"{one.rate:.4g}" for one in moving),
        "sizes": _counted(f"{one.width} x {one.height}" for one in good),
        "unreadable": {str(one.path): one.problem for one in seen if one.problem},
        "clip_seconds": round(clip_s, 3),
        "shorter_than_a_clip": [str(one.path) for one in moving if one.seconds < clip_s],
        "same_bytes": [
            [{"path": str(one.path), "part": one.part, "class": one.label} for one in group]
            for group in twins
        ],
        "same_film_in_both_parts": [[str(a.path), str(b.path)] for a, b in same_films(seen)],
    }


def _spread(seconds):
    if not seconds:
        return None
    found = {"min": min(seconds), "median": median(seconds), "max": max(seconds)}
    return {name: round(value, 3) for name, value in found.items()}


def _counted(things):
    return dict(Counter(things).most_common())


def table_of(seen: list[Seen], twins: list[list[Seen]]) -> str:
    """A row per example, as CSV."""
    first = {one.path: group[0].path for group in twins for one in group[1:]}
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(COLUMNS)
    for one in seen:
        whole = (one.start, one.end) == (0, float("inf"))
        span = ("", "") if whole else (f"{one.start:g}", f"{one.end:g}")
        read = (f"{one.seconds:.3f}", one.frames, f"{one.rate:.4g}", one.width, one.height)
        sizes = ("",) * 6 if one.problem else (*read, one.bytes)
        twin = first.get(one.path, "")
        lines.writerow([one.part, one.path, one.label, *span, *sizes, twin, plain(one.problem)])
    return text.getvalue()


# -- as text ---------------------------------------------------------------------------------------


def report(summary: dict[str, Any], name: str) -> str:
    """The numbers for somebody who reads them."""
    train, tests = (summary["examples"][part] for part in ("train", "tests"))
    films = sum(summary["films"].values())
    beside = f", {tests} more to test on" if tests else ""
    lines = [
        f"{plain(name)}: {train} examples{beside}; {films} files; "
        f"{many(summary['classes'], 'class', 'classes')}",
        "",
        *_class_lines(summary["classes"], tests),
        "",
    ]
    if spread := summary["seconds"]:
        lines.append("seconds      " + ", ".join(f"{k} {v:g}" for k, v in spread.items()))
    lines += [f"{title:13}{_most(summary[key])}" for title, key in KINDS if summary[key]]
    lines += ["", *_problems(summary)]
    return "\n".join(lines).rstrip()


KINDS = (("sizes", "sizes"), ("frames per s", "frame_rates"))


def _most(counts):
    shown = [f"{thing} ({count})" for thing, count in list(counts.items())[:5]]
    more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
    return ", ".join(shown) + more


def _class_lines(classes, tests):
    """The classes with most and with fewest examples, where there are too many to name all."""
    by_count = sorted(classes.items(), key=lambda item: -item[1]["train"])
    rows = [
        (plain(name)[:40], str(n["train"]), *([str(n["tests"])] if tests else []))
        for name, n in (by_count if len(by_count) > MOST_CLASSES else classes.items())
    ]
    head = ("class", "examples", *(["to test on"] if tests else []))
    if len(rows) > MOST_CLASSES:
        left = len(rows) - 2 * LISTED
        gap = (f"... {left} classes between ...", *[""] * (len(head) - 1))
        rows = [*rows[:LISTED], gap, *rows[-LISTED:]]
    return aligned([head, *rows], left=1)


def _problems(summary):
    """A paragraph per kind of thing that one may want to mend."""
    broken = [f"{path}: {why}" for path, why in summary["unreadable"].items()]
    yield from _listed(broken, "cannot be read", "all files can be read")
    clip = f"shorter than a clip of {summary['clip_seconds']:g} s"
    short = summary["shorter_than_a_clip"]
    if summary["seconds"]:
        said = f"{are(short)} {clip}: the last frame is held"
        yield from _listed(short, said, f"no film is {clip}")
    twins = [_of_group(group) for group in summary["same_bytes"]]
    yield from _listed(
        twins, f"{are(twins)} there more than once, byte by byte", "no file is double"
    )
    if summary["examples"]["tests"]:
        pairs = [" and ".join(pair) for pair in summary["same_film_in_both_parts"]]
        said = f"to test on {are(pairs)} probably among those to learn from, under the same name"
        yield from _listed(pairs, said, "no film is in both parts under the same name")


def _of_group(group: Sequence[dict[str, str]]) -> str:
    """Some paths, with what tells them apart where they are of several classes or parts."""
    told = [key for key in ("class", "part") if len({one[key] for one in group}) > 1]
    named = [
        one["path"] + (f" ({', '.join(one[key] for key in told)})" if told else "")
        for one in group[:NAMED]
    ]
    more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
    return " = ".join(named) + more


def _listed(things, said, none):
    if not things:
        return [none]
    more = [f"  and {len(things) - LISTED} more"] if len(things) > LISTED else []
    shown = [f"  {plain(thing)}" for thing in things[:LISTED]]
    return [f"{many(things, 'film')} {said}:", *shown, *more]
