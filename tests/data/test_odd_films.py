"""Films on which readers stumble: palettes, damage, names, sizes that no memory holds; and that
each is read through once.
"""

import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from films import counting, numbers, write_film, write_picture
from video_tables import SIZES

from mvit_np.data import decode, frames_at, track_of, video_file
from mvit_np.data import track as tracks
from mvit_np.data.datasets import BrokenExample
from mvit_np.data.video_table import VideoTable

av = pytest.importorskip("av")


# -- versions of PyAV ------------------------------------------------------------------------------


def test_pyav_is_asked_for_what_its_version_takes(tmp_path, monkeypatch):
    """Up to 18 it has to be told that titles may be in any encoding; 19 does not take the word."""
    path, original, asked = write_film(tmp_path / "film.mkv", counting(3)), av.open, []

    def older(file, mode=None, options=None, metadata_errors="strict"):
        asked.append(metadata_errors)
        return original(file, options=options)

    def newer(file, mode=None, options=None):
        asked.append(None)
        return original(file, options=options)

    for replaced in (older, newer):
        monkeypatch.setattr(av, "open", replaced)
        assert numbers(frames_at(path, [0.2])) == [2]
    assert set(asked) == {"replace", None}


# -- what a seek leads past ------------------------------------------------------------------------


def write_palette(path, codec, shift=0):
    """6 s of 10 frames; frame k has the index k, whose grey in its palette is 4 k + shift x (k //
    20).
    """
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, width=64, height=48, pix_fmt="pal8")
        for k in range(60):
            palette = np.full((256, 4), 255, np.uint8)
            palette[:, 1:] = (np.arange(256) * 4 + shift * (k // 20))[:, None].astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(
                (np.full((48, 64), k, np.uint8), palette), format="pal8"
            )
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


PALETTES = [
    ("film.avi", "rawvideo"),
    ("film.mov", "rawvideo"),
    ("film.mov", "smc"),
    ("film.avi", "msrle"),
    ("film.avi", "zmbv"),
]


@pytest.mark.parametrize("name, codec", PALETTES)
@pytest.mark.parametrize("threads", [0, 1])
def test_a_palette_holds_after_a_seek(tmp_path, name, codec, threads):
    path = write_palette(tmp_path / name, codec)
    for seconds in ([5.0], [2.0, 4.0], [0.0, 5.9]):
        grey = frames_at(path, seconds, threads=threads).mean((1, 2, 3))
        np.testing.assert_allclose(grey, [4 * round(10 * moment) for moment in seconds])


def test_a_palette_that_changes_on_the_way_is_not_led_past(tmp_path):
    path = write_palette(tmp_path / "film.avi", "rawvideo", shift=7)
    with av.open(str(path)) as file:
        assert sum(packet.has_sidedata("palette") for packet in file.demux(video=0)) == 3
    for seconds in ([1.0], [3.0], [5.5]):
        frame = round(10 * seconds[0])
        np.testing.assert_allclose(frames_at(path, seconds).mean(), 4 * frame + 7 * (frame // 20))


def test_no_clip_of_a_film_with_a_palette_is_black(tmp_path):
    table = VideoTable([(write_palette(tmp_path / "film.avi", "rawvideo"), "x")], **SIZES)
    clips = [table.clip(0, np.random.default_rng(seed)) for seed in range(20)]
    # the last frame of a clip is at least the film's second
    assert min(clip[-1].mean() for clip in clips) >= 4


def test_films_without_anything_to_seek_by_are_read_from_the_start(tmp_path):
    path = tmp_path / "film.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=10, height=32, width=48, pix_fmt="yuvj444p")
        for picture in counting(40):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    track = track_of(path)
    assert len(track.times) == 40
    for frame in (3, 35):
        assert numbers(frames_at(path, [track.times[frame]])) == [frame]


# -- damage ----------------------------------------------------------------------------------------


def test_a_packet_of_a_ts_that_changes_its_stream_costs_that_packet(tmp_path, rng):
    """One byte of its number: from there on the film has a stream more than PyAV knows of, on which
    PyAV 17 and 18 stumble.
    """
    path = write_film(tmp_path / "film.ts", np.repeat(counting(50), 4, axis=0), options={"bf": "0"})
    content, packet = bytearray(path.read_bytes()), 188
    starts = [k for k in range(0, len(content), packet) if content[k + 1 : k + 3] == b"\x41\x00"]
    content[starts[150] + 2] = 1
    path.write_bytes(content)
    assert len(track_of(path).times) == 199
    assert numbers(frames_at(path, np.arange(0, 14, 2.0))) == [5 * k for k in range(7)]
    assert VideoTable([(path, "x")], **SIZES).clip(0, rng).shape == (4, 16, 24, 3)


@pytest.mark.parametrize(
    "error",
    [IndexError("list index out of range"), RuntimeError("?"), OSError(5, "Input/output error")],
)
def test_whatever_a_reader_raises_is_told_of_the_one_file(tmp_path, monkeypatch, rng, error):
    path = write_film(tmp_path / "film.mkv", counting(3))
    table = VideoTable([(path, "x")], **SIZES)

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(av, "open", fails)
    with pytest.raises(
        BrokenExample,
        match="film.mkv cannot be read: it is not a video FFmpeg can read .*: check or",
    ):
        table.clip(0, rng)
    with pytest.raises(ValueError, match="film.mkv is not a video FFmpeg can read"):
        frames_at(path, [0])


@pytest.mark.parametrize(
    "error", [MemoryError(), KeyboardInterrupt(), OSError(24, "Too many open files")]
)
def test_what_is_not_the_files_fault_is_not_told_of_it(tmp_path, monkeypatch, rng, error):
    def fails(*_, **__):
        raise error

    table = VideoTable([(write_film(tmp_path / "film.mkv", counting(3)), "x")], **SIZES)
    monkeypatch.setattr(av, "open", fails)
    with pytest.raises((MemoryError, KeyboardInterrupt, ValueError)) as caught:
        table.clip(0, rng)
    assert not isinstance(caught.value, BrokenExample)


def test_a_list_of_other_files_is_no_film(tmp_path):
    """FFmpeg would open whatever such a file names, a pipe too, on which it waits for ever."""
    write_film(tmp_path / "film.mkv", counting(3))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile film.mkv\n")
    with pytest.raises(
        ValueError, match="list.mp4 is a list of other files: give these themselves"
    ):
        frames_at(tmp_path / "list.mp4", [0])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such file names")
def test_a_name_that_is_not_utf_8(tmp_path, rng):
    good, bad = (tmp_path / os.fsdecode(name) for name in (b"d\xe9j\xe0.mkv", b"b\xff.mp4"))
    good.write_bytes(write_film(tmp_path / "film.mkv", counting(3)).read_bytes())
    bad.write_bytes(b"no film")
    assert numbers(frames_at(good, [0.2])) == [2] and len(decode(good)) == 3
    table = VideoTable([(good, "x"), (bad, "x")], **SIZES)
    assert table.clip(0, rng).shape == (4, 16, 24, 3)
    with pytest.raises(BrokenExample) as caught:
        table.clip(1, rng)
    assert caught.value.name == str(bad)


# -- sizes -----------------------------------------------------------------------------------------


def write_gif(path, width, height, frames):
    """A screen of any size in 23 bytes a frame, as each frame changes one pixel of it."""
    header = (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes([0, 0, 0, 255, 255, 255])
    )
    frame = (
        b"\x21\xf9\x04\x04\x05\0\0\0"
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
        + b"\x02\x02\x44\x01\0"
    )
    path.write_bytes(header + frames * frame + b";")
    return path


MEMORY = """
import resource, sys
import numpy as np
from mvit_np.data import frames_at
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    frames_at(sys.argv[1], np.arange(16) / 10, cover=(256, 256))
except ValueError as problem:
    print(problem)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_small_file_with_huge_pictures_is_refused_before_they_are_made(tmp_path):
    path = write_gif(tmp_path / "bomb.gif", 15_000, 15_000, 50)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True, timeout=60
    )
    told, megabytes = run.stdout.splitlines()
    assert (
        "of at most 134 million pixels, and" in told
        and "bomb.gif holds none: check or re-encode it" in told
    )
    assert int(megabytes) < 200  # a single one of these pictures has 900


@pytest.mark.parametrize("h, w", [(4320, 7680), (9000, 12_000), (8192, 8192)])
def test_the_largest_pictures_people_have_are_read(h, w):
    video_file.check_size(1, h, w, 3, "an 8K film, a scan, a dome")


def test_of_large_frames_one_is_decoded_at_a_time(tmp_path, monkeypatch):
    path = write_film(tmp_path / "film.mkv", counting(3))
    for pixels, threads in ((32 * 48, "AUTO"), (32 * 48 - 1, "SLICE")):
        monkeypatch.setattr(video_file, "FRAMES_AT_ONCE", pixels)
        with video_file.opened(path) as (_, _, stream):
            assert stream.thread_type.name == threads
        assert numbers(frames_at(path, [0.1])) == [1]


@pytest.mark.parametrize("cover", [None, (64, 64)])
def test_the_memory_of_frames_is_bounded(tmp_path, monkeypatch, cover):
    path = write_film(tmp_path / "film.mkv", counting(30))
    size = 32 * 48 * 3 if cover is None else 64 * 96 * 3
    monkeypatch.setattr(video_file, "MOST_BYTES", 10 * size)
    assert len(frames_at(path, np.arange(10) / 10, cover=cover)) == 10
    with pytest.raises(
        ValueError, match="GiB at once; 11 of .*film.mkv with .* take more: ask for smaller or for"
    ):
        frames_at(path, np.zeros(11), cover=cover)
    if cover is None:
        assert len(decode(path, height=16)) == 30
        with pytest.raises(ValueError, match="11 of .*film.mkv"):
            decode(path)


def test_a_picture_that_a_cover_would_blow_up_is_refused(tmp_path):
    path = write_picture(tmp_path / "line.png", np.zeros((2, 9000, 3), np.uint8))
    assert frames_at(path, [0]).shape == (1, 2, 9000, 3)
    with pytest.raises(
        ValueError,
        match="at most 134 million pixels; .*line.png has one of 1152000 x 256: make it smaller",
    ):
        frames_at(path, [0], cover=(256, 256))


# -- a film is read through once -------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """Which files were opened to read their tracks."""
    names, original = [], tracks.opened

    def counted(path):
        names.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(tracks, "opened", counted)
    return names


def test_the_second_clip_of_a_film_does_not_read_it_through_again(tmp_path, rng, opened):
    table = VideoTable([(write_film(tmp_path / "film.mkv", counting(40)), "x")], **SIZES)
    for _ in range(5):
        table.clip(0, rng)
    table.views(0, 3)
    assert opened == ["film.mkv"]


def test_a_film_that_changes_is_read_again(tmp_path, opened):
    path = write_film(tmp_path / "film.mkv", counting(40))
    assert len(track_of(path).times) == 40
    write_film(path, counting(30))
    assert len(track_of(path).times) == len(track_of(path).times) == 30
    other = write_film(tmp_path / "other.mkv", counting(20))
    with open(other, "ab") as file:  # as many bytes, and as old
        file.write(bytes(path.stat().st_size - other.stat().st_size))
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)
    assert len(track_of(path).times) == 20
    assert opened == ["film.mkv"] * 3


def test_tracks_are_kept_up_to_a_bound_and_the_last_ones_stay(tmp_path, monkeypatch, opened):
    monkeypatch.setattr(tracks, "_TRACKS", tracks._Tracks())
    monkeypatch.setattr(tracks, "KEPT", 4 * (tracks.OVERHEAD + 3 + 2))  # 3 times and one key
    content = write_film(tmp_path / "film.mkv", counting(3)).read_bytes()
    paths = [tmp_path / f"{k}.mkv" for k in range(6)]
    for path in paths:
        path.write_bytes(content)
        track_of(path)
    assert len(opened) == 6
    for path in paths[:1:-1]:
        track_of(path)
    assert len(opened) == 6
    track_of(paths[0])
    assert opened[6:] == ["0.mkv"]


def test_threads_may_ask_at_once(tmp_path):
    paths = [write_film(tmp_path / f"{k}.mkv", counting(3 + k)) for k in range(5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(track_of, paths * 20))
    assert [len(track.times) for track in found] == [3, 4, 5, 6, 7] * 20
    with pytest.raises(ValueError, match="read-only"):
        found[0].times[0] = 1


def test_no_packet_is_kept(tmp_path, monkeypatch):
    """All packets of a film are as large as the file; of each only its times stay."""
    alive, most, original = [0], [0], tracks.packets

    class Packet:
        def __init__(self, packet):
            self.packet = packet
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __getattr__(self, name):
            return getattr(self.packet, name)

        def __del__(self):
            alive[0] -= 1

    monkeypatch.setattr(
        tracks,
        "packets",
        lambda *arguments: (Packet(p) for p in original(*arguments) if p is not None),
    )
    assert len(track_of(write_film(tmp_path / "film.mkv", counting(50))).times) == 50
    assert 0 < most[0] <= 3 and alive[0] == 0
