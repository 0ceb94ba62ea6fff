"""What `mvit-np classify` makes of one film besides its sheet: timeline, relevance, a new film."""

from __future__ import annotations

import csv
from argparse import Namespace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..backend import tree as trees
from ..backend.arrays import from_host
from ..backend.outputs import carries, check_free, check_not_read, is_drawn_here, telling, write
from ..backend.plain_text import ENCODING, did_you_mean, plain
from ..data import frames_at, track_of
from ..data.media import is_picture
from ..data.video_write import write_video
from ..model.inspection import class_attention
from ..model.plan import plan
from ..model.relevance import relevance
from ..train import timeline
from ..train.classify import Result, default_normalisation
from ..train.run import Trained
from .arguments import positive

THUMBNAILS, SIDE = 10, 90  # pictures under a timeline, and pixels of their shorter side
SHOWN, LINES = 360, 3  # pixels of the shorter side of an annotated film, classes beneath it
ALONG = 32  # frames of it that are decoded at once
COLUMNS = "start_s,end_s,"  # how the table of a timeline begins


def add(option: Any) -> None:
    """The options, of a parser's `add_argument`."""
    drawn = "draw what speaks for a class too (default: the most probable one)"
    option("--explain", nargs="?", const="", metavar="CLASS", help=drawn)
    annotated = "write the film with that drawn over it, and the answers beneath, as an .mp4"
    option("--video", action="store_true", help=annotated)
    along = "slide the clip over the film: probabilities against time, as a table and a figure"
    option("--timeline", action="store_true", help=along)
    stride = (
        "seconds from one clip of the timeline or of --video to the next (default: half a clip)"
    )
    option("--stride", type=positive, metavar="SECONDS", help=stride)


def targets(path: Path, sheet: Path, arguments: Namespace) -> dict[str, Path]:
    """{what: file to write}. Raises ValueError where one is read or another's, or for a picture."""
    names = {
        "explain": "relevance.png", "video": "annotated.mp4", "timeline": "timeline.png",
        "table": "timeline.csv",
    }  # fmt: skip
    asked = {name for name in names if getattr(arguments, name, None) not in (None, False)}
    asked |= {"table"} if "timeline" in asked else set()
    if is_picture(path) and asked - {"explain"}:
        raise ValueError(
            f"a timeline and an annotated film need a film; {path} is a picture: leave out "
            "--timeline and --video"
        )
    if arguments.stride and not asked & {"timeline", "video"}:
        raise ValueError(
            "a stride is that of the clips of --timeline and --video; neither came: add one, or "
            "leave out --stride"
        )
    found = {name: sheet.parent / f"{path.stem}_{names[name]}" for name in names if name in asked}
    check_not_read(found.values(), [path, Path(arguments.weights)])
    for name, target in found.items():
        check_free(target, _is_timeline if name == "table" else is_drawn_here)
    return found


def _is_timeline(path):
    return carries(path, COLUMNS.encode())


def class_of(result: Result, asked: str | None) -> int:
    """The number of the class asked about, or of the answer. Raises ValueError for another name."""
    if not asked:
        return int(result.probabilities.argmax())
    if asked not in result.labels:
        meant = did_you_mean(asked, result.labels, "mvit-np classify FILE names the likely ones")
        raise ValueError(f"the model has no class {plain(asked)!r}: {meant}")
    return result.labels.index(asked)


def explained(found: Trained, result: Result, index: int, target: Path) -> Path:
    """The figure of what speaks for a class, beside the class token's attention."""
    from .. import visualize

    clip = from_host(result.clip, trees.leaves(found.params)[0])
    config = found.config
    spoken = relevance(found.params, clip, config, [index])[0]
    attention = class_attention(found.params, clip, config)[-1]
    label = result.labels[index]
    figure = visualize.relevance_figure(result, attention, spoken, label, plan(config))
    return visualize.save(figure, target)


def along(
    found: Trained, result: Result, options: dict[str, Any], stride: float | None,
    files: dict[str, Path], index: int,
) -> list[Path]:  # fmt: skip
    """The table and the figure of a timeline, and the annotated film, as far as they are asked for.

    A row of the table is on disk as soon as its clip was seen. Returns what was written.
    """
    if not files.keys() & {"timeline", "video"}:
        return []
    tau, config = options["tau"], found.config
    starts = timeline.window_starts(result.duration, config, tau, stride)
    how = options["normalisation"] or default_normalisation(config)
    every = timeline.windows(found.params, config, result.path, starts, tau, how)
    seen, maps = [], []
    if "table" in files:
        write(files["table"], _line([*COLUMNS.rstrip(",").split(","), *map(plain, result.labels)]))
    for window in tqdm(every, total=len(starts), unit=" clips", dynamic_ncols=True):
        if "table" in files:
            _add(files["table"], window)
        if "video" in files:
            maps.append(timeline.relevance_of(found.params, config, window, index))
        seen.append(window._replace(clip=None))  # of an hour they would fill the memory
    return list(_drawn(found, result, seen, maps, files))


def _add(table, window):
    cells = [f"{window.start:.3f}", f"{window.end:.3f}"]
    cells += [f"{share:.6f}" for share in window.probabilities]
    with telling(table), table.open("a", newline="", **ENCODING) as file:
        file.write(_line(cells))


def _line(cells):
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _drawn(found, result, seen, maps, files):
    from .. import visualize

    edges = np.array([(window.start, window.end) for window in seen])
    shares = np.array([window.probabilities for window in seen])
    if "timeline" in files:
        yield files["table"]
        moments = (np.arange(THUMBNAILS) + 0.5) * edges[-1, 1] / THUMBNAILS
        pictures = frames_at(result.path, moments, cover=(SIDE, SIDE))
        title = f"{plain(result.path.name)}, {visualize.clock(edges[-1, 1], edges[-1, 1])}"
        figure = visualize.timeline_figure(edges, shares, result.labels, pictures, title)
        yield visualize.save(figure, files["timeline"])
    if "video" in files:
        track = track_of(result.path)
        rate = (len(track.times) - 1) / track.times[-1] if len(track.times) > 1 else track.rate
        frames = _annotated(found, result, edges, shares, maps, track)
        write_video(files["video"], frames, rate)
        yield files["video"]


def _annotated(found, result, edges, shares, maps, track):
    """Each frame of the film, with the map of that moment over it and the answers beneath."""
    from ..visualize.annotated import heated, words_strip

    most, middle = max(float(cells.max()) for cells in maps), edges.mean(axis=1)
    strips: dict[int, Any] = {}  # the last one
    with tqdm(total=len(track.times), unit=" frames", dynamic_ncols=True) as bar:
        for first in range(0, len(track.times), ALONG):
            times = track.times[first : first + ALONG]
            frames = frames_at(result.path, times, cover=(SHOWN, SHOWN), track=track)
            seen = timeline.seen_part(frames.shape[1:3], found.config.size_hw)
            for second, frame in zip(times, frames):
                k = int(np.abs(middle - second).argmin())
                if k not in strips:
                    order = np.argsort(-shares[k], kind="stable")[:LINES]
                    lines = [(result.labels[c], float(shares[k, c])) for c in order]
                    strips = {k: words_strip(lines, frame.shape[1])}
                hot = heated(frame, timeline.heat_at(float(second), edges, maps), seen, most)
                yield np.concatenate([hot, strips[k]])
                bar.update()
