"""Results of `suite.run` as cells of text: each function gives a table's head and its rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ....model.text_table import digits, percent
from ..tables import FLOPS, Cells, Found, count, seconds, size_of, span
from .curves import gap
from .plan import COMPILED, GRAPH, MVIT, TORCH

# Ours / PyTorch's: of a step's time and memory, beside PyTorch eager; of a graph's time at batch 1,
# beside PyTorch compiled.
AIM = 1.0
LOST = "-"  # instead of what could not be measured


def case_table(case: Found, roofs: Found) -> Cells:
    """A line for each who took turns: time, speed, memory; what failed says why."""
    head = ["", "median", "quartiles", "clips/s", "TFLOP/s", "of roof", "memory", "reserved"]
    return head, [[who, *_who_cells(case, found, roofs)] for who, found in case["by"].items()]


def _who_cells(case, found, roofs):
    if "failed" in found:
        return [found["failed"], *[""] * 6]
    sizes = [size_of(found["peak_bytes"]), size_of(found["reserved_bytes"])]
    rate = digits(case["batch"] / found["median_s"])
    return [seconds(found["median_s"]), span(found), rate, *_speed(case, found, roofs), *sizes]


def _speed(case, found, roofs):
    """TFLOP/s, and their share of what products of large matrices reach in the same precision."""
    if "median_s" not in found:
        return [LOST, LOST]
    flops_per_s = FLOPS * case["macs"] / found["median_s"]
    return [digits(flops_per_s / 1e12), percent(flops_per_s / roofs[case["precision"]])]


def newest(name: str, found: Found, roofs: Found) -> Cells:
    """The table of one part: of a list of that name, one of its results."""
    if name == "cases":
        return case_table(found, roofs)
    return kernel_table(found["rows"]) if name == "kernels" else curve_table(found)


def time_table(cases: Sequence[Found], roofs: Found) -> Cells:
    """A case a line: ours, launched one by one and as a graph, and PyTorch eager if asked for."""
    against = any(TORCH in case["by"] for case in cases)
    head = ["", MVIT, "quartiles", "as a graph"]
    head += ["torch", "quartiles", "ratio", "graph's", "wanted"] * against
    head += ["clips/s", "TFLOP/s", "of roof", *["torch's", "of roof"] * against]
    return head, [_time_row(case, roofs, against) for case in cases]


def _time_row(case, roofs, against):
    by = case["by"]
    mvit, graph, torch = (by.get(who, {}) for who in (MVIT, GRAPH, TORCH))
    cells = [case["title"], _median(mvit), _quartiles(mvit), _median(graph)]
    if against:
        cells += [_median(torch), _quartiles(torch)]
        cells += [_bold(_ratio(by, who, TORCH)) for who in (MVIT, GRAPH)]
        cells.append(f"{AIM:g}" if case["mode"] == "step" else "")
    timed = [found for found in (mvit, graph) if "median_s" in found]
    best: Found = min(timed, key=lambda found: found["median_s"], default={})
    speed = [digits(case["batch"] / best["median_s"]) if best else LOST, *_speed(case, best, roofs)]
    return cells + speed + (_speed(case, torch, roofs) if against else [])


def memory_table(cases: Sequence[Found]) -> Cells:
    """The most that was in use, and what was taken from the device for it."""
    against = any(TORCH in case["by"] for case in cases)
    whos = [MVIT, GRAPH, *[TORCH] * against]
    head = ["", *(cell for who in whos for cell in (who, "reserved"))]
    head += ["ratio", "graph's", "wanted"] * against
    return head, [_memory_row(case, whos, against) for case in cases]


def _memory_row(case, whos, against):
    by, cells = case["by"], [case["title"]]
    for who, name in itertools.product(whos, ("peak_bytes", "reserved_bytes")):
        cells.append(size_of(by[who][name]) if name in by.get(who, {}) else LOST)
    if against:
        cells += [_bold(_ratio(by, who, TORCH, "peak_bytes")) for who in (MVIT, GRAPH)]
        cells.append(f"{AIM:g}" if case["mode"] == "step" else "")
    return cells


def graph_table(cases: Sequence[Found]) -> Cells:
    """What a graph gains: time launched one by one over time as a graph, by batch."""
    batches = sorted({case["batch"] for case in cases})
    models: dict[str, dict[int, str]] = {_model(case): {} for case in cases}
    for case in cases:
        models[_model(case)][case["batch"]] = _ratio(case["by"], MVIT, GRAPH)
    rows = [[model, *(row.get(n, "") for n in batches)] for model, row in models.items()]
    return ["", *(f"batch {n}" for n in batches)], rows


def _model(case):
    return f"{case['preset']} {case['mode']}, {case['precision']}" + ", masks" * case["masks"]


def compiled_table(cases: Sequence[Found]) -> Cells:
    """Ours as a graph beside PyTorch compiled."""
    head = ["", "as a graph", "quartiles", "torch compiled", "quartiles", "ratio", "wanted"]
    head += ["memory", "torch's"]
    return head, [_compiled_row(case) for case in cases]


def _compiled_row(case):
    both = [case["by"].get(who, {}) for who in (GRAPH, COMPILED)]
    aim = f"{AIM:g}" if (case["mode"], case["batch"]) == ("step", 1) else ""
    times = [cell for found in both for cell in (_median(found), _quartiles(found))]
    sizes = [size_of(found["peak_bytes"]) if "peak_bytes" in found else LOST for found in both]
    return [case["title"], *times, _bold(_ratio(case["by"], GRAPH, COMPILED)), aim, *sizes]


def kernel_table(rows: Sequence[Found]) -> Cells:
    """An op and phase a line: its time in a step both ways, and the worst ratio of its shapes."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for row in rows:
        groups.setdefault((row["op"], row["phase"]), []).append(row)
    head = ["op", "calls", "with kernels", "plain arrays", "ratio", "worst ratio", "kernels"]
    made = [
        (_total(group, "kernels_s"), _kernel_row(op, phase, group))
        for (op, phase), group in groups.items()
    ]
    return head, [row for _, row in sorted(made, key=lambda pair: -(pair[0] or 0))]


def _kernel_row(op, phase, group):
    fused, plain = _total(group, "kernels_s"), _total(group, "plain_s")
    ratios = [
        row["kernels_s"] / row["plain_s"] for row in group if row["kernels_s"] and row["plain_s"]
    ]
    if fused and plain:
        whole = _bold(f"{fused / plain:.2f}")
    else:
        whole = next(row["failed"] for row in group if row["failed"])
    title = f"{op} {phase}" if phase == "backward" else op
    times = [_ms(fused), _ms(plain), whole, f"{max(ratios):.2f}" if ratios else LOST]
    names = sorted({name for row in group for name in row["kernels"]})
    return [title, str(sum(row["calls"] for row in group)), *times, ", ".join(names)]


def _total(group, name):
    """Seconds in a step; None where some of it could not be measured."""
    if any(row[name] is None for row in group):
        return None
    return sum(row["calls"] * row[name] for row in group)


def _ms(value):
    return LOST if value is None else f"{digits(1e3 * value)} ms"


def curve_table(found: Found) -> Cells:
    """Losses on the way, and how far each curve is from that of float32."""
    steps, by = found["steps"], found["by"]
    at = sorted({0, *(steps * i // 4 - 1 for i in (1, 2, 3, 4))} - {-1})
    rows = []
    for name, losses in by.items():
        distance = percent(gap(losses, by["float32"]), 2) if "float32" in by else LOST
        last = "" if name == "float32" else distance
        rows.append([name, *(f"{losses[i]:.4f}" for i in at), last])
    rows += [[name, *[why] * bool(at), *[""] * len(at)] for name, why in found["failed"].items()]
    return ["", *(f"step {i + 1}" for i in at), "distance"], rows


def card_line(results: Found) -> str:
    """What ran where."""
    card, host, peers = results["card"], results["host"], results.get("peers")
    driver = f"driver {card['driver']} " if card["driver"] else "driver "
    torch = ""
    if peers:
        torch = f", PyTorch {peers['torch']} with CUDA {peers['torch_cuda']}"
        torch += f", torchvision {peers['torchvision']}"
    return (
        f"{card['card']}, {card['memory_bytes'] / 2**30:.0f} GiB, "
        f"{count(card['multiprocessors'], 'multiprocessor')}, compute {card['compute']}; "
        f"{driver}for CUDA {card['driver_cuda']}; CuPy {card['cupy']} with CUDA {card['cuda']}"
        f"{torch}; {host['cpu']}, {count(host['cores'], 'core')}, "
        f"Python {host['python']}, NumPy {host['numpy']}; {host['date']}"
    )


def roof_line(results: Found) -> str:
    """What the device can do."""
    roofs = results["roofs"]
    names = ("float32", "tf32", "bf16")
    rates = ", ".join(f"{digits(roofs[name] / 1e12)} in {name}" for name in names)
    copies = f"copies at {roofs['bytes_per_s'] / 1e12:.2f} TB/s"
    return f"roofs: products of large matrices at {rates} (TFLOP/s), {copies}"


def spread(cases: Sequence[Found]) -> dict[str, float]:
    """{precision: the largest difference between the logits of those who took turns}

    The difference is that of their root mean squares, as a share.
    """
    largest: dict[str, float] = {}
    for case in cases:
        sizes = [found["size"] for found in case["by"].values() if found.get("size")]
        if case["mode"] == "forward" and len(sizes) > 1:
            precision, difference = case["precision"], max(sizes) / min(sizes) - 1
            largest[precision] = max(largest.get(precision, 0.0), difference)
    return largest


def _ratio(by, who, other, what="median_s"):
    """Such as 0.87."""
    pair = [by.get(name, {}).get(what) for name in (who, other)]
    return f"{pair[0] / pair[1]:.2f}" if all(pair) else LOST


def _bold(text):
    return text if text == LOST else f"**{text}**"


def _median(found):
    return seconds(found["median_s"]) if "median_s" in found else found.get("failed", LOST)


def _quartiles(found):
    return span(found) if "median_s" in found else ""
