"""Films that are decoded once: what comes out of the cache is what decoding gives."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from films import counting, write_film, write_picture
from PIL import Image

from mvit_np.data import VideoTable
from mvit_np.data import frame_cache as caches
from mvit_np.data.frame_cache import FrameCache
from mvit_np.data.track import track_of
from mvit_np.data.video import frames_at

COVERS = [(18, 18), None]


def noisy(count=20, height=24, width=34):
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


def variable(path):
    return write_film(
        path, noisy(12), pts=[0, 40, 90, 300, 310, 320, 700, 705, 900, 1000, 1100, 2000]
    )


def animated(path):
    first, *rest = (Image.fromarray(frame) for frame in noisy(5))
    first.save(path, save_all=True, append_images=rest, duration=[50, 200, 90, 40, 100])
    return path


FILMS = {
    "plain.mp4": lambda path: write_film(path, noisy()),
    "variable.mkv": variable,
    "turned.mp4": lambda path: write_film(path, noisy(8), turn=90),
    "one.mp4": lambda path: write_film(path, noisy(1)),
    "wide.mp4": lambda path: write_film(path, noisy(6), aspect=2),
    "a.gif": animated,
    "picture ä.png": lambda path: write_picture(path, noisy()[0]),
}


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "film.mp4", counting(30))


@pytest.fixture
def decoded(monkeypatch):
    """How many calls of the decoder there were."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(args[0])
        return frames_at(*args, **kwargs)

    monkeypatch.setattr(caches, "frames_at", counted)
    return calls


def entries(cache):
    return sorted(path for path in cache.iterdir() if path.suffix in (".npy", ".npz"))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("name", FILMS)
def test_the_frames_are_those_of_decoding_to_the_bit(name, cover, grey, tmp_path, rng):
    path = FILMS[name](tmp_path / name)
    track = track_of(path)
    for _ in range(2):  # made, then found by another process
        cache = FrameCache(tmp_path / "cache")
        ours = cache._read_track(path)
        for field in ("times", "keys", "duration", "start", "rate", "numbered"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(track, field))
        seconds = rng.uniform(-0.5, track.duration + 0.5, 9)
        found = cache.frames_at(path, seconds, cover, grey, ours)
        right = frames_at(path, seconds, cover=cover, grey=grey, threads=1)
        assert type(found) is np.ndarray and found.dtype == np.uint8
        np.testing.assert_array_equal(found, right)


def test_a_film_is_decoded_once_for_all_tables_threads_and_processes(film, tmp_path, decoded):
    cache = tmp_path / "cache"
    table = VideoTable([(film, "a"), (film, "a")], 4, 3, (18, 18), cache=FrameCache(cache))
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda k: table.clip(0, np.random.default_rng(k)), range(8)))
    assert len(decoded) == 2  # the first frame, to know the size, and all
    again = replace(table, cache=FrameCache(cache))
    second = [again.clip(1, np.random.default_rng(k)) for k in range(8)]
    plain = replace(table, cache=None)
    right = [plain.clip(0, np.random.default_rng(k)) for k in range(8)]
    np.testing.assert_array_equal(first, right)
    np.testing.assert_array_equal(second, right)
    np.testing.assert_array_equal(again.views(0, 3), plain.views(0, 3))
    assert len(decoded) == 2


@pytest.mark.parametrize("touched", [False, True], ids=["other bytes", "other time"])
def test_a_film_that_changed_is_decoded_anew(film, tmp_path, touched):
    cache = FrameCache(tmp_path / "cache")
    cache.frames_at(film, [0.0], None, True, cache.track(film))
    if touched:
        os.utime(film, (0, 0))
    else:
        write_film(film, counting(30)[::-1])
    found = cache.frames_at(film, [0.0, 1.0], None, True, cache.track(film))
    np.testing.assert_array_equal(found, frames_at(film, [0.0, 1.0], grey=True, threads=1))
    assert len(entries(tmp_path / "cache")) == 4


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_an_entry_that_was_cut_off_is_made_anew(film, tmp_path, left):
    folder = tmp_path / "cache"
    cache = FrameCache(folder)
    cache.frames_at(film, [0.0], None, False, cache.track(film))
    whole = {path: path.read_bytes() for path in entries(folder)}
    for path in whole:
        path.write_bytes(path.read_bytes()[:left])
    cache = FrameCache(folder)
    found = cache.frames_at(film, [0.7], None, False, cache._read_track(film))
    np.testing.assert_array_equal(found, frames_at(film, [0.7], threads=1))
    assert {path: path.stat().st_size for path in entries(folder)} == {
        path: len(text) for path, text in whole.items()
    }


def test_no_pickle_is_read(film, tmp_path):
    folder = tmp_path / "cache"
    cache = FrameCache(folder)
    cache.frames_at(film, [0.0], None, False, cache.track(film))
    evil = np.empty(1, dtype=object)
    evil[0] = FrameCache
    np.save(next(folder.glob("*.npy")), evil, allow_pickle=True)
    found = FrameCache(folder).frames_at(film, [0.0], None, False, track_of(film))
    np.testing.assert_array_equal(found, frames_at(film, [0.0], threads=1))


def test_the_bound_holds_and_is_said_once(tmp_path, decoded):
    films = [write_film(tmp_path / f"{k}.mp4", counting(30)) for k in range(3)]
    frames = 30 * 32 * 48 * 3
    cache = FrameCache(tmp_path / "cache", (1.5 * frames) / 1e9)
    with pytest.warns(UserWarning, match="is full .* --cache_gb, or delete the folder") as said:
        for _ in range(2):
            for film in films:
                found = cache.frames_at(film, [0.5], None, False, cache.track(film))
                np.testing.assert_array_equal(found, frames_at(film, [0.5], threads=1))
    assert len(said) == 1 and len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert sum(path.stat().st_size for path in entries(tmp_path / "cache")) < 1.5 * frames


def test_a_film_of_too_many_frames_is_decoded_every_time(film, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "LARGEST", 1000)
    cache = FrameCache(tmp_path / "cache")
    for _ in range(2):
        found = cache.frames_at(film, [0.5], None, False, cache.track(film))
        np.testing.assert_array_equal(found, frames_at(film, [0.5], threads=1))
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_folder_of_others_is_refused_and_nothing_in_it_is_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds mine.txt: give a new or an empty one"):
        FrameCache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    cache = tmp_path / "cache"
    FrameCache(cache)
    (cache / "note.txt").write_text("mine")
    FrameCache(cache)
    assert (cache / "note.txt").read_text() == "mine"


def test_a_disk_that_is_full_is_said_and_no_error(film, tmp_path, monkeypatch):
    cache = FrameCache(tmp_path / "cache")

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caches, "replacing", full)
    with pytest.warns(UserWarning, match="cannot be written .No space left on device.") as said:
        found = cache.frames_at(film, [0.5], None, False, cache.track(film))
    np.testing.assert_array_equal(found, frames_at(film, [0.5], threads=1))
    assert len(said) == 1


@pytest.mark.slow
def test_processes_that_decode_at_once_find_whole_entries(tmp_path):
    films = [str(write_film(tmp_path / f"{k}.mp4", noisy())) for k in range(4)]
    code = (
        "import sys, numpy as np\n"
        "from mvit_np.data.frame_cache import FrameCache\n"
        "cache = FrameCache(sys.argv[1])\n"
        "sums = [cache.frames_at(f, [0.0, 0.9], None, False, cache.track(f)).sum()\n"
        "        for f in sys.argv[2:]]\n"
        "print(sums)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), *films]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {rank.communicate()[0] for rank in ranks}
    assert said == {f"{[int(frames_at(f, [0.0, 0.9], threads=1).sum()) for f in films]}\n"} or (
        len(said) == 1
    )
    assert len(entries(tmp_path / "cache")) == 8


def test_a_run_is_the_same_with_it_and_makes_it_where_it_is_asked_to(tmp_path, monkeypatch):
    from short_runs import SMOKE, finish, flat

    import mvit_np as mv

    for label in ("left", "right"):
        (tmp_path / "films" / label).mkdir(parents=True)
        for k in range(2):
            write_film(tmp_path / "films" / label / f"{k}.mp4", noisy(40, 36, 36) // (k + 1))
    films = {"data": str(tmp_path / "films"), "epochs": 2.0, "batch": 4}
    plain = replace(SMOKE, **films)
    monkeypatch.chdir(tmp_path)
    finish(plain, tmp_path / "plain")
    finish(replace(plain, cache="frames"), tmp_path / "cached")
    assert len(list((tmp_path / "frames").glob("*.npy"))) == 4
    for name in ("plain", "cached"):
        assert (tmp_path / name / "model.npz").exists()
    ours, theirs = (flat(mv.load(tmp_path / name)[0]) for name in ("plain", "cached"))
    np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "frames").rename(tmp_path / "elsewhere")  # as where the run came from there
    monkeypatch.setattr(caches, "make_folder", lambda path: pytest.fail(f"made {path}"))
    found = mv.evaluate(tmp_path / "cached", data=plain.data, say=list)
    assert found.top1 == mv.evaluate(tmp_path / "plain", data=plain.data, say=list).top1
    monkeypatch.undo()
    inside = replace(plain, cache=str(tmp_path / "films" / "cache"))
    with pytest.raises(ValueError, match="nothing is written among the data"):
        finish(inside, tmp_path / "inside")


def test_a_folder_of_frames_and_a_part_of_a_film_come_out_alike(tmp_path, film):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(noisy(12), 1):
        Image.fromarray(frame).save(folder / f"img_{number:05d}.png")
    rows = [(folder, "a"), (film, "b", 0.5, 2.0)]
    options = {"frames": 4, "tau": 3, "cover_hw": (18, 18), "frame_rate": 10.0}
    plain = VideoTable(rows, **options)
    for turn in range(2):
        table = VideoTable(rows, **options, cache=FrameCache(tmp_path / "cache"))
        for index in (0, 1):
            ours, right = (t.clip(index, np.random.default_rng(turn)) for t in (table, plain))
            np.testing.assert_array_equal(ours, right)
            np.testing.assert_array_equal(table.views(index, 3), plain.views(index, 3))
    Image.fromarray(noisy()[-1]).save(folder / "img_00003.png")  # other bytes, as many frames
    again = VideoTable(rows, **options, cache=FrameCache(tmp_path / "cache"))
    np.testing.assert_array_equal(again.views(0, 3), plain.views(0, 3))
