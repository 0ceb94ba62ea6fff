"""Results as cells of text: each function gives a table's head and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...model.text_table import digits, percent
from . import runtimes

Cells = tuple[list[str], list[list[str]]]  # head, rows
Found = Mapping[str, Any]  # of JSON
FLOPS = 2  # to a multiply-add
LEAST = 0.005  # share of the whole from which on an op has a line of its own
SUMMED = "calls", "seconds", "floor_s"
AGREE = 1e-4  # of logits: a peer that is further off computes something else
LIBRARIES = {"torch": "PyTorch", "torchvision": "torchvision", **runtimes.TITLES}
TITLES = LIBRARIES | {"plain": "plain definitions"}


def case_table(case: Found, roof: Found) -> Cells:
    """A line for each of mvit_np and its peers, then one of our ratio to each (ours / theirs)."""
    head = ["", "median", "quartiles", "clips/s", "GFLOP/s", "of roof", "peak memory"]
    named = {who: "plain definitions" if who == "plain" else who for who in case["by"]}
    rows = [[named[who], *case_cells(case, found, roof)] for who, found in case["by"].items()]
    for who in [who for who in case["by"] if who != "mvit_np"]:
        time, memory = (ratio(case, what, who) for what in ("median_s", "peak_bytes"))
        rows.append([f"ratio to {named[who]}", time, "", "", "", "", memory])
    return head, rows


def case_cells(case: Found, found: Found, roof: Found) -> list[str]:
    """Median, quartiles, clips/s, GFLOP/s, share of the roof, peak memory."""
    flops_per_s = FLOPS * case["macs"] / found["median_s"]
    speed = [digits(case["workload"]["batch"] / found["median_s"]), digits(flops_per_s / 1e9)]
    return [
        seconds(found["median_s"]),
        span(found),
        *speed,
        percent(flops_per_s / roof["flops_per_s"]),
        size_of(found["peak_bytes"]),
    ]


def ratio(case: Found, what: str, peer: str = "torch", who: str = "mvit_np") -> str:
    """Of who to a peer, such as 0.87; "" without the peer."""
    by = case["by"]
    return f"{by[who][what] / by[peer][what]:.2f}" if peer in by else ""


def disagreement(case: Found, by: Found) -> str | None:
    """A sentence where a peer's logits are not ours, else None."""
    off = {who: found.get("logits_off", 0.0) for who, found in by.items()}
    if not (differing := [who for who in off if not off[who] <= AGREE]):  # so is NaN
        return None
    listed = " and ".join(f"{TITLES[who]} by {off[who]:.1e}" for who in differing)
    return (
        f"{case['title']}: logits differ from ours in {listed}, more than {AGREE:.0e} of their "
        "norm, so these times are not of the same function"
    )


def accuracy_table(accuracy: Sequence[Found]) -> Cells:
    """Relative errors in float32."""
    whos = list(accuracy[0]["by"])
    columns = [(part, who) for part in ("logits", "gradients") for who in whos]
    head = ["", *(f"{part}, {who}" for part, who in columns)]
    return head, [
        [row["title"], *(f"{row['by'][who][part]:.1e}" for part, who in columns)]
        for row in accuracy
    ]


def profile_table(profile: Found) -> Cells:
    """An op and phase a line, longest first, the least together; what is between; the whole."""
    wall, (*ops, rest) = profile["wall_s"], profile["rows"]
    small = [row for row in ops if row["seconds"] < LEAST * wall]
    shown = ops[: len(ops) - len(small)]
    if small:
        sums = {name: _sum(small, name) for name in SUMMED}
        shown.append({"op": f"{len(small)} more", "phase": ""} | sums)
    rows = [_profile_row(row, wall) for row in (*shown, rest)]
    floor = _sum(ops, "floor_s")
    total = ["total", "", digits(1e3 * wall), percent(1), digits(1e3 * floor), digits(wall / floor)]
    return ["op", "calls", "ms", "share", "floor, ms", "times its floor"], [*rows, total]


def _sum(rows, name):
    return sum(row[name] for row in rows)


def _profile_row(row, wall):
    floor = row["floor_s"]
    name = f"{row['op']} {row['phase']}" if row["phase"] == "backward" else row["op"]
    calls = "" if row["calls"] is None else f"{row['calls']:g}"
    cells = [name, calls, digits(1e3 * row["seconds"]), percent(row["seconds"] / wall, 1)]
    return cells + ([digits(1e3 * floor), digits(row["seconds"] / floor)] if floor else ["", ""])


def scaling_table(points: Sequence[Found]) -> Cells:
    """A point a line: multiply-adds and memory as counted, time and peak memory as measured."""
    modes = [mode for mode in ("forward", "step") if mode in points[0]]
    head = ["frames", "pixels", "G mult-adds"]
    head += [f"{mode}, {what}" for mode in modes for what in ("s", "GFLOP/s", "GB")]
    return [*head, "GB kept, counted"], [_scaling_row(point, modes) for point in points]


def _scaling_row(point, modes):
    cells = [str(point["frames"]), str(point["size"]), digits(point["macs"] / 1e9)]
    for mode in modes:
        found, flops = point[mode], FLOPS * point["macs"] * (3 if mode == "step" else 1)
        cells += [digits(found["median_s"]), digits(flops / found["median_s"] / 1e9)]
        cells.append(f"{found['peak_bytes'] / 1e9:.2f}")
    return [*cells, f"{point['kept_bytes'] / 1e9:.2f}"]


def machine_line(results: Found) -> str:
    """What ran where."""
    m = results["machine"]
    memory = f", {m['memory_bytes'] / 2**30:.1f} GiB" if m["memory_bytes"] else ""
    peers = "".join(f", {title} {m[name]}" for name, title in LIBRARIES.items() if name in m)
    return (
        f"{m['cpu']}, {count(m['cores'], 'core')}{memory}, {m['system']}; Python {m['python']}, "
        f"NumPy {m['numpy']} with {m['blas']}{peers}; {count(results['threads'], 'thread')}; "
        f"{m['date']}"
    )


def roof_line(results: Found) -> str:
    """What the machine can do."""
    roof = results["roof"]
    return (
        f"roof: {roof['flops_per_s'] / 1e9:.0f} GFLOP/s in {roof['dtype']} products of large "
        f"matrices, {roof['bytes_per_s'] / 1e9:.1f} GB/s in copies"
    )


def count(number: int, thing: str) -> str:
    """2 cores"""
    return f"{number} {thing}{'s' * (number != 1)}"


def seconds(value: float) -> str:
    """1.234 s or 56.7 ms"""
    return f"{value:.3f} s" if value >= 0.9995 else f"{digits(1e3 * value)} ms"


def span(found: Found) -> str:
    """The quartiles in the unit that the median has: 1.230-1.250"""
    low, high = found["low_s"], found["high_s"]
    if found["median_s"] >= 0.9995:
        return f"{low:.3f}-{high:.3f}"
    return f"{digits(1e3 * low)}-{digits(1e3 * high)}"


def size_of(count: float) -> str:
    """3.21 GB or 56 MB"""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
