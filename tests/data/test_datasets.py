"""Data sets: tables against the files they were made from, clips against films in which frame k is
as bright as k says.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("av")
from films import counting, numbers, shown_at, write_film, write_picture
from video_tables import SIZES, content, touch

from mvit_np.data import clip_times
from mvit_np.data.clips import random_times
from mvit_np.data.datasets import ArrayClips, BrokenExample
from mvit_np.data.video_table import VideoTable

# -- tables ----------------------------------------------------------------------------------------


def test_a_folder_becomes_a_table(tmp_path):
    touch(
        tmp_path,
        "b ee/2.MKV",
        "b ee/1.mp4",
        "ape/x.avi",
        "b ee/notes.txt",
        "b ee/.1.mp4",
        ".cache/y.mp4",
        "labels.csv",
    )
    table = VideoTable.from_folder(tmp_path, **SIZES)
    files = [tmp_path / name for name in ("ape/x.avi", "b ee/1.mp4", "b ee/2.MKV")]
    assert content(table) == (files, ("ape", "b ee"), [0, 1, 1])
    assert len(table) == 3 and table.labels.dtype == np.int64 and table.name_of(1) == str(files[1])
    assert not table.direction_sensitive
    assert VideoTable.from_folder(tmp_path, **SIZES, direction_sensitive=True).direction_sensitive


@pytest.mark.parametrize(
    "lines",
    [
        ["ape/x.avi,ape", "b ee/1.mp4,b ee", "b ee/2.mkv,b ee"],
        ["path,label", "ape/x.avi,ape", "", "b ee/1.mp4, b ee ", '"b ee/2.mkv","b ee"'],
        [
            "split,Label,PATH",
            "train,ape,ape/x.avi",
            "train,b ee,b ee/1.mp4",
            "train,b ee,b ee/2.mkv",
        ],
        ["\ufeffape/x.avi,ape", "FOLDER/b ee/1.mp4,b ee", "b ee/../b ee/2.mkv,b ee"],
    ],
)
def test_a_csv_file_gives_the_same_table_as_the_folder(tmp_path, monkeypatch, lines):
    touch(tmp_path, "b ee/2.mkv", "b ee/1.mp4", "ape/x.avi")
    (tmp_path / "table.csv").write_text(
        "\r\n".join(lines).replace("FOLDER", str(tmp_path)), encoding="utf-8"
    )
    expected = content(VideoTable.from_folder(tmp_path, **SIZES))
    assert content(VideoTable.from_csv(tmp_path / "table.csv", **SIZES)) == expected
    monkeypatch.chdir(tmp_path.parent)  # paths start from the file's folder, wherever one stands
    assert content(VideoTable.from_csv(f"{tmp_path.name}/table.csv", **SIZES)) == expected


def test_labels_that_are_numbers(tmp_path):
    touch(tmp_path, *(f"{k}/film.mp4" for k in range(11)))
    table = VideoTable.from_folder(tmp_path, **SIZES)
    assert table.classes == tuple(
        "0 1 2 3 4 5 6 7 8 9 10".split()
    ) and table.labels.tolist() == list(range(11))
    (tmp_path / "table.csv").write_text("".join(f"{k}/film.mp4,{k}\n" for k in range(11)))
    assert content(VideoTable.from_csv(tmp_path / "table.csv", **SIZES)) == content(table)
    rows = [("a.mp4", 2), ("b.mp4", np.int64(0))]
    assert content(VideoTable(rows, **SIZES))[1:] == (("0", "1", "2"), [2, 0])
    assert content(VideoTable(rows, **SIZES, classes=["x", "y", "z"]))[1:] == (
        ("x", "y", "z"),
        [2, 0],
    )
    with pytest.raises(ValueError, match="labelled '3', which is none of the 3 classes"):
        VideoTable([("a.mp4", 3)], **SIZES, classes=["x", "y", "z"])
    # classes called by numbers that do not count from 0: a number is a name
    assert VideoTable([("a.mp4", 5)], **SIZES, classes=("1", "5")).labels.tolist() == [1]
    with pytest.raises(ValueError, match="'0', which is none of the 2 classes"):
        VideoTable([("a.mp4", 0)], **SIZES, classes=("1", "5"))


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is none at .*nowhere: check the path"):
        VideoTable.from_folder(tmp_path / "nowhere", **SIZES)
    touch(tmp_path, "film.mp4")
    with pytest.raises(
        ValueError,
        match="holds no class's folder: put films into .*/class_name/, or list them in a text",
    ):
        VideoTable.from_folder(tmp_path, **SIZES)
    touch(tmp_path, "ape/film.txt", "bee/deeper/.film.mp4")
    with pytest.raises(
        ValueError,
        match="holds folders, but no film or picture in them by its ending: put some into them",
    ):
        VideoTable.from_folder(tmp_path, **SIZES)


@pytest.mark.parametrize(
    "lines, words",
    [
        ([], "at least one row"),
        (["path,label"], "at least one row"),
        (
            ["c.mp4,x", "b.mp4,x"],
            r"none that .*table.csv names is there, such as c.mp4 in row 1: .*from .*path,label\)$",
        ),
        (["a.mp4"], "row 1 of .*table.csv has 1 column instead of 2: write path,label"),
        (
            ["path,label,split", "a.mp4,x"],
            "row 2 of .*table.csv has 2 columns instead of 3: write path,label,split",
        ),
        (["a.mp4,"], "row 1 of .*table.csv has an empty label: fill it in"),
        ([",x"], "row 1 of .*table.csv has an empty path: fill it in"),
        (["a.mp4,3", "a.mp4,-1"], "count the classes from 0; .*a.mp4 has -1"),
    ],
)
def test_csv_files_that_are_no_table(tmp_path, lines, words):
    touch(tmp_path, "a.mp4")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        VideoTable.from_csv(tmp_path / "table.csv", **SIZES)


def test_files_that_are_no_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match="none at .*nowhere.csv: check the path"):
        VideoTable.from_csv(tmp_path / "nowhere.csv", **SIZES)
    (tmp_path / "table.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="table.csv is not text in UTF-8"):
        VideoTable.from_csv(tmp_path / "table.csv", **SIZES)


@pytest.mark.parametrize(
    "names, sizes, words",
    [
        (["a.mp4"], {"frames": 0}, "frames are a whole number above 0; came 0"),
        (["a.mp4"], {"tau": 0}, "tau is above 0; came 0"),
        (["a.mp4"], {"cover_hw": (0, 5)}, r"cover_hw is \(H, W\) in pixels or None; came \(0, 5\)"),
        (
            ["a.png"],
            {},
            (
                r"a picture is one frame, the model's clips are 4; .* a.png: take an image model "
                r"\(frames=1\)"
            ),
        ),
        (
            ["a.mp4", "b.jpg", "c.png"],
            {"frames": 1},
            "1 films such as a.mp4 and 2 pictures such as b.jpg: make two tables",
        ),
    ],
)
def test_tables_that_cannot_be(names, sizes, words):
    with pytest.raises(ValueError, match=words):
        VideoTable([(name, "x") for name in names], **SIZES | sizes)


# -- clips of films --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [30, 10])
def test_clips_are_t_x_tau_from_a_random_start(tmp_path, rate):
    """60 frames, whose numbers can be read off them. A clip of 4 x 3 is 0.4 s: 12 frames at 30 a
    second, 4 at 10.
    """
    path = write_film(tmp_path / "film.mp4", counting(60), rate=rate)
    table, starts = VideoTable([(path, "x")], **SIZES), set()
    for seed in range(40):
        clip = table.clip(0, np.random.default_rng(seed))
        assert clip.shape == (4, 16, 24, 3) and clip.dtype == np.uint8
        start = np.random.default_rng(seed).uniform() * (60 / rate - 0.4)
        assert numbers(clip) == shown_at([start + 0.1 * t for t in range(4)], np.arange(60) / rate)
        starts.add(numbers(clip)[0])
        if rate == 30:
            assert np.diff(numbers(clip)).tolist() == [3, 3, 3]
    assert len(starts) > 20 and min(starts) < 6 and max(starts) > 60 - 12 * rate / 30 - 6


def test_start_times_are_spread_evenly(rng):
    times = np.array([random_times(10.0, 16, 4, rng) for _ in range(2000)])
    np.testing.assert_allclose(np.diff(times), 4 / 30)
    room = 10 - 16 * 4 / 30
    assert times.min() >= 0 and times.max() < 10
    np.testing.assert_allclose(
        np.quantile(times[:, 0], [0.25, 0.5, 0.75]), np.array([0.25, 0.5, 0.75]) * room, atol=0.4
    )


def test_in_a_short_film_the_last_frame_is_held(tmp_path, rng):
    # 0.3 s for a clip of 0.8
    table = VideoTable([(write_film(tmp_path / "film.mp4", counting(3)), "x")], 4, 6, None)
    assert numbers(table.clip(0, rng)) == [0, 2, 2, 2]
    assert numbers(table.views(0, 5)[0]) == [0, 2, 2, 2] and len(table.views(0, 5)) == 1


def test_views_are_uniform_in_time(tmp_path):
    table = VideoTable([(write_film(tmp_path / "film.mp4", counting(60)), "x")], **SIZES, grey=True)
    views = table.views(0, 3)
    assert views.shape == (3, 4, 16, 24, 1) and views.dtype == np.uint8
    for view, times in zip(views, clip_times(6.0, 4, 3, 3)):
        assert numbers(view) == shown_at(times, np.arange(60) / 10)


def test_single_frames_of_a_film_and_pictures(tmp_path, rng):
    film = VideoTable([(write_film(tmp_path / "film.mp4", counting(60)), "x")], 1, 4, (16, 16))
    assert film.clip(0, rng).shape == (1, 16, 24, 3)
    assert numbers(film.views(0, 3)[:, 0]) == [10, 30, 50]  # the middles of thirds
    for name, level in {"a/1.png": 10, "b/2.png": 20}.items():
        (tmp_path / "pictures" / name).parent.mkdir(parents=True)
        write_picture(tmp_path / "pictures" / name, counting(level + 1)[-1])
    pictures = VideoTable.from_folder(tmp_path / "pictures", 1, 1, (16, 16))
    assert [numbers(pictures.clip(k, rng)) for k in range(2)] == [[10], [20]]
    assert pictures.views(1, 5).shape == (1, 1, 16, 24, 3)


def test_broken_files_are_told_from_other_trouble(tmp_path, monkeypatch, rng):
    write_film(tmp_path / "good.mp4", counting(3))
    (tmp_path / "text.mp4").write_text("no film\n" * 99)
    table = VideoTable(
        [(tmp_path / name, "x") for name in ("good.mp4", "text.mp4", "gone.mp4")], **SIZES
    )
    for index, name in (1, "text.mp4"), (2, "gone.mp4"):
        for ask, how in ((table.clip, rng), (table.views, 2)):
            with pytest.raises(BrokenExample, match=name) as caught:
                ask(index, how)
            assert caught.value.name == str(tmp_path / name) and "check" in caught.value.reason

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install"):
        table.clip(0, rng)


def test_a_damaged_film_gives_the_same_clips_at_every_call(tmp_path, rng):
    """Where parts of frames are missing the decoder makes them up, from whatever its other threads
    have finished by then.
    """
    noise = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    frames = np.stack([noise[k : k + 144, 2 * k : 2 * k + 176] for k in range(48)])
    path = write_film(
        tmp_path / "film.mp4",
        frames,
        options={"qp": "30", "g": "48", "keyint_min": "48", "bf": "2"},
    )
    content = bytearray(path.read_bytes())
    for start in rng.integers(len(content) // 4, len(content) // 4 * 3, 10):
        content[start : start + 100] = rng.bytes(100)
    path.write_bytes(content)
    table = VideoTable([(path, "x")], 8, 16, (144, 144))
    with ThreadPoolExecutor(3) as pool:
        found = {
            clip.tobytes()
            for clip in pool.map(lambda _: table.clip(0, np.random.default_rng(0)), range(8))
        }
    assert len(found) == 1


# -- clips in memory -------------------------------------------------------------------------------


def test_clips_in_memory(rng):
    clips = rng.integers(0, 256, (5, 2, 4, 6, 3), dtype=np.uint8)
    data = ArrayClips(
        clips, [0, 1, 2, 1, 0], ["a", "b", "c"], direction_sensitive=True, title="digit"
    )
    assert len(data) == 5 and data.classes == ("a", "b", "c") and data.direction_sensitive
    assert data.labels.tolist() == [0, 1, 2, 1, 0] and data.labels.dtype == np.int64
    np.testing.assert_array_equal(data.clip(3, rng), clips[3])
    np.testing.assert_array_equal(data.views(3, 7), clips[3:4])
    assert data.name_of(3) == "digit 3"


@pytest.mark.parametrize(
    "clips, labels, words",
    [
        (np.zeros((2, 1, 4, 4, 1)), [0, 1], "clips in memory are uint8, 0 to 255; came float64"),
        (
            np.zeros((2, 4, 4, 1), np.uint8),
            [0, 1],
            r"\(N, T, H, W, C\) .*came \(2, 4, 4, 1\): give a picture the axis T = 1",
        ),
        (np.zeros((0, 1, 4, 4, 1), np.uint8), [], "with N above 0"),
        (np.zeros((2, 1, 4, 4, 1), np.uint8), [0.0, 1.0], "labels are whole numbers; came float64"),
        (np.zeros((2, 1, 4, 4, 1), np.uint8), [0], r"a label for each of the 2 clips; came \(1,\)"),
        (np.zeros((2, 1, 4, 4, 1), np.uint8), [0, 2], "indices of the 2 classes; came 0 to 2"),
        (np.zeros((2, 1, 4, 4, 1), np.uint8), [-1, 0], "indices of the 2 classes; came -1 to 0"),
    ],
)
def test_clips_in_memory_that_do_not_fit(clips, labels, words):
    with pytest.raises((TypeError, ValueError), match=words):
        ArrayClips(clips, labels, ("a", "b"))
