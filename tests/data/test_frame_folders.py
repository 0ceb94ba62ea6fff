"""Films that come as folders of pictures, against the pictures themselves and against the same
film as one file; and parts of films.
"""

import numpy as np
import pytest

pytest.importorskip("av")
from films import counting, numbers, shown_at, write_film, write_picture
from PIL import Image
from video_tables import SIZES, content, touch

from mvit_np.data import frames_at, track_of
from mvit_np.data.datasets import BrokenExample
from mvit_np.data.frame_folders import frames_in, ordered, size_of
from mvit_np.data.video_table import VideoTable


def write_frames(folder, count, name="img_{:05d}.png", first=1):
    folder.mkdir(parents=True)
    for k, frame in enumerate(counting(count)):
        write_picture(folder / name.format(k + first), frame)
    return folder


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("{}.jpg", "frame {} of x.png", "v1_{}.jpeg", "img_{:05d}.webp"):
        names = [name.format(k) for k in (9, 10, 2, 100)]
        found = [path.name for path in ordered([tmp_path / name for name in names])]
        assert found == [name.format(k) for k in (2, 9, 10, 100)]


@pytest.mark.parametrize(
    "names",
    [
        ["img_1.jpg"],  # one alone is a picture
        ["a1.jpg", "b2.jpg"],  # called differently
        ["cover.jpg", "img_1.jpg", "img_2.jpg"],
        ["img_1.jpg", "img_01.jpg"],  # a number twice
        ["img_1.jpg", "img_2.jpg", "film.mp4"],
        [],
    ],
)
def test_pictures_that_are_no_film(tmp_path, names):
    touch(tmp_path / "x", *names)
    (tmp_path / "x").mkdir(exist_ok=True)
    assert ordered((tmp_path / "x").iterdir()) == []
    with pytest.raises(
        ValueError, match="pictures that are called alike but for a number; .*/x do"
    ):
        frames_in(tmp_path / "x")


def test_optical_flow_and_other_files_beside_the_frames_do_not_count(tmp_path):
    touch(tmp_path, *(f"{n}_0000{k}.jpg" for n in ("img", "flow_x", "flow_y") for k in (1, 2)))
    touch(tmp_path, "readme.txt", ".DS_Store", "._img_00001.jpg")
    assert [path.name for path in frames_in(tmp_path)] == ["img_00001.jpg", "img_00002.jpg"]


@pytest.mark.parametrize("rate", [30, 12.5])
def test_a_folder_is_the_film_that_its_frames_are(tmp_path, rng, rate):
    folder = write_frames(tmp_path / "film", 40, "{}.png")
    film = write_film(
        tmp_path / "film.mkv", counting(40), pts=[round(1000 * k / rate) for k in range(40)]
    )
    track = track_of(folder, rate)
    np.testing.assert_allclose(track.times, track_of(film).times, atol=1e-3)
    assert track.duration == pytest.approx(40 / rate)
    tables = [VideoTable([(path, "x")], **SIZES, frame_rate=rate) for path in (folder, film)]
    for seed in range(5):
        clips = [table.clip(0, np.random.default_rng(seed)) for table in tables]
        assert numbers(clips[0]) == numbers(clips[1]) and clips[0].shape == clips[1].shape
    assert [numbers(view) for view in tables[0].views(0, 3)] == [
        numbers(view) for view in tables[1].views(0, 3)
    ]
    seconds = rng.uniform(-0.1, 40 / rate + 0.5, 20)
    found = frames_at(folder, seconds, track=track, grey=True)
    assert found.shape == (20, 32, 48, 1) and numbers(found) == shown_at(seconds, track.times)


def test_frames_come_as_pillow_has_them(tmp_path, rng):
    frames = rng.integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{k}.png")
    np.testing.assert_array_equal(frames_at(tmp_path, [0, 1 / 30, 2 / 30]), frames)
    assert size_of(tmp_path) == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_new_frame_is_noticed_and_so_is_another_rate(tmp_path):
    folder = write_frames(tmp_path / "f", 3)
    assert len(track_of(folder).times) == 3 and track_of(folder, 10).duration == 0.3
    write_picture(folder / "img_00004.png", counting(4)[-1])
    assert len(track_of(folder).times) == 4 and track_of(folder).duration == pytest.approx(4 / 30)


def test_class_folders_of_films_of_frames(tmp_path):
    names = [f"{film}/img_0000{k}.jpg" for film in ("ape/v 1", "bee/v_2") for k in (1, 2, 3)]
    touch(tmp_path, *names, "bee/film.mp4")
    table = VideoTable.from_folder(tmp_path, **SIZES)
    films = [tmp_path / name for name in ("ape/v 1", "bee/film.mp4", "bee/v_2")]
    assert content(table) == (films, ("ape", "bee"), [0, 1, 1]) and table.notes == ()
    (tmp_path / "bee/film.mp4").unlink()
    stills = VideoTable.from_folder(tmp_path, 1, 1, None)  # an image model learns from pictures
    assert [path for path, _ in stills.rows] == [tmp_path / name for name in names]


def test_pictures_beside_each_other_in_a_class_are_single_ones(tmp_path):
    """However a camera calls them."""
    touch(tmp_path, "ape/IMG_0001.jpg", "ape/IMG_0002.jpg", "bee/IMG_0003.jpg")
    assert len(VideoTable.from_folder(tmp_path, 1, 1, None)) == 3
    with pytest.raises(ValueError, match="take an image model .* a folder of numbered frames"):
        VideoTable.from_folder(tmp_path, **SIZES)


def test_the_rawframe_lists_of_mmaction2(tmp_path):
    """`frame_directory total_frames label`, and with the first frame's offset."""
    for film in ("some/directory-1", "some/di rec 2"):
        write_frames(tmp_path / film, 30)
    path = tmp_path / "list.txt"
    path.write_text("some/directory-1 30 1\nsome/di rec 2 30 0\n")
    table = VideoTable.from_csv(path, **SIZES)
    assert [str(path.relative_to(tmp_path)) for path, _ in table.rows] == [
        "some/directory-1", "some/di rec 2"
    ]  # fmt: skip
    assert table.labels.tolist() == [1, 0]
    path.write_text("some/directory-1 10 15 1\nsome/di rec 2 0 12 0\n")
    table = VideoTable.from_csv(path, **SIZES, frame_rate=10)
    assert table.spans == ((1.0, 2.5), (0.0, 1.2))
    seen = {k for seed in range(40) for k in numbers(table.clip(0, np.random.default_rng(seed)))}
    assert set(range(10, 24)) <= seen <= set(range(10, 25))
    assert numbers(table.views(1, 1)[0]) == [4, 5, 6, 7]  # 0.4 s in the middle of 1.2


def test_frames_that_are_broken_or_of_several_sizes(tmp_path, rng):
    folder = write_frames(tmp_path / "f", 3)
    (folder / "img_00002.png").write_bytes(b"")
    table = VideoTable([(folder, "x")], 3, 1, None)
    with pytest.raises(BrokenExample, match="f cannot be read: .*img_00002.png"):
        table.clip(0, rng)
    write_picture(folder / "img_00002.png", counting(1, 16, 16)[0])
    with pytest.raises(
        BrokenExample, match="frames of a film have one size; it has 48 x 32 and 16"
    ):
        table.clip(0, rng)


# -- parts of films --------------------------------------------------------------------------------


def test_clips_of_a_part_stay_inside(tmp_path):
    film = write_film(tmp_path / "film.mp4", counting(60), rate=10)
    table = VideoTable([(film, "x", 2, 4.5), (film, "y", 4.5, 6)], **SIZES)
    for row, (first, last) in enumerate([(20, 45), (45, 60)]):
        clips = [table.clip(row, np.random.default_rng(seed)) for seed in range(40)]
        seen = {k for clip in clips for k in numbers(clip)}
        assert set(range(first, last - 1)) <= seen <= set(range(first, last))
    views = table.views(0, 2)
    assert [numbers(view) for view in views] == [[20, 21, 22, 23], [41, 42, 43, 44]]
    table = VideoTable([(film, "x", 4, float("inf")), (film, "y", 0, 2)], **SIZES)
    assert [numbers(view)[0] for view in table.views(0, 2)] == [40, 56]
    assert [numbers(view)[-1] for view in table.views(1, 2)] == [3, 19]


def test_of_a_part_shorter_than_a_clip_the_last_frame_is_held(tmp_path, rng):
    film = write_film(tmp_path / "film.mp4", counting(60), rate=10)
    table = VideoTable([(film, "x", 2, 2.2), (film, "x", 3.01, 3.02)], **SIZES)
    assert numbers(table.clip(0, rng)) == [20, 21, 21, 21]
    assert [numbers(view) for view in table.views(0, 3)] == [[20, 21, 21, 21]]
    assert numbers(table.clip(1, rng)) == [30] * 4


def test_a_film_as_long_as_its_part_is_the_part(tmp_path):
    film = write_film(tmp_path / "cut.mp4", counting(61), rate=10)
    table = VideoTable([(film, "x", 59, 65)], **SIZES)
    assert numbers(table.views(0, 2)[1]) == [57, 58, 59, 60]


def test_a_part_behind_the_end_is_a_broken_example(tmp_path, rng):
    film = write_film(tmp_path / "film.mp4", counting(60), rate=10)
    table = VideoTable([(film, "x", 7, 9)], **SIZES)
    with pytest.raises(
        BrokenExample, match="from 7 to 9 s cannot be read: .*it ends at 6.0 s, and"
    ):
        table.clip(0, rng)
