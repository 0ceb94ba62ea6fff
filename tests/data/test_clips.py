"""What to sample and how it comes out of files, against loops and films in which frame k is as
bright as k says.
"""

import json
import struct
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from films import PICTURES, counting, numbers, shown_at, write_film, write_picture
from PIL import Image, ImageOps

from mvit_np.data import (
    clip_times,
    clips,
    cover_of,
    crop_corners,
    cut,
    frames_at,
    labels_for,
    normalise,
    track_of,
    video,
    video_file,
)
from mvit_np.data import track as tracks

av = pytest.importorskip("av")


# -- which moments, which crops --------------------------------------------------------------------


@pytest.mark.parametrize(
    "duration, frames, tau, clips",
    [(10, 16, 4, 5), (10, 32, 3, 1), (3.3, 8, 1, 4), (60, 64, 3, 10)],
)
def test_clips_are_uniform_over_the_film(duration, frames, tau, clips):
    times = clip_times(duration, frames, tau, clips)
    room = duration - frames * tau / 30
    for c in range(clips):
        start = room * c / (clips - 1) if clips > 1 else room / 2
        for t in range(frames):
            assert times[c, t] == pytest.approx(start + t * tau / 30)
    assert times.min() >= 0 and times.max() < duration


def test_short_films_and_clips_of_one_frame():
    times = clip_times(1.0, 16, 4, 3)  # a clip is 2.1 s
    np.testing.assert_allclose(times, [[4 * t / 30 for t in range(16)]] * 3)
    np.testing.assert_allclose(clip_times(10, 1, 4, 5), [[1], [3], [5], [7], [9]])


@pytest.mark.parametrize("wrong", [{"duration": 0}, {"tau": 0}, {"clips": 0}, {"fps": -1}])
def test_clip_times_refuse_nonsense(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} is above 0; came {value}"):
        clip_times(**{"duration": 10, "frames": 16, "tau": 4, "clips": 5} | wrong)


def test_crops_lie_along_the_longer_side():
    assert crop_corners((256, 455), (224, 224), 3) == [(16, 0), (16, 116), (16, 231)]
    assert crop_corners((455, 256), (224, 224), 3) == [(0, 16), (116, 16), (231, 16)]
    assert crop_corners((256, 455), (224, 224), 1) == [(16, 116)]
    assert crop_corners((256, 256), (224, 224), 2) == [(16, 0), (16, 32)]
    assert crop_corners((224, 224), (224, 224), 3) == [(0, 0)] * 3
    with pytest.raises(ValueError, match="fits into its picture"):
        crop_corners((200, 300), (224, 224), 1)
    with pytest.raises(ValueError, match="at least one crop; came 0"):
        crop_corners((256, 256), (224, 224), 0)


def test_the_short_side_is_256_for_224_and_every_crop_fits():
    assert cover_of((224, 224)) == (256, 256)
    for shape in [(720, 1280), (1280, 720), (17, 900), (480, 480)]:
        assert min(clips.covering_size(*shape, (256, 256))) == 256
    for size in [(224, 320), (320, 224), (32, 32), (312, 312)]:
        for shape in [(720, 1280), (1280, 720), (33, 35)]:
            h, w = clips.covering_size(*shape, cover_of(size))
            assert (
                h >= size[0]
                and w >= size[1]
                and h / w == pytest.approx(shape[0] / shape[1], rel=0.03)
            )
    assert clips.covering_size(720, 1280) == (720, 1280)


def test_cut_takes_what_the_corner_says(rng):
    frames = rng.integers(0, 255, (2, 9, 11, 3))
    np.testing.assert_array_equal(cut(frames, (2, 3), (4, 5)), frames[:, 2:6, 3:8])


def test_normalisations(rng):
    frames = rng.integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        normalise(frames), (frames / 255 - 0.45) / 0.225, rtol=1e-5, atol=1e-6
    )
    truth = (frames / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(
        normalise(frames, "imagenet", "float64"), truth, rtol=1e-5, atol=1e-6
    )
    own = normalise(frames, "clip")
    assert (
        abs(own.mean()) < 1e-5
        and own.std() == pytest.approx(1, abs=1e-4)
        and own.dtype == np.float32
    )
    assert np.isfinite(normalise(np.zeros((1, 2, 2, 1), np.uint8), "clip")).all()
    assert normalise(frames[..., :1], "imagenet").shape == (2, 5, 6, 1)
    with pytest.raises(ValueError, match="one of video, imagenet, clip.*; came 'none'"):
        normalise(frames, "none")


# -- films -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("b_frames", ["0", "2"])
@pytest.mark.parametrize(
    "name", ["film.mp4", "film.mkv", "film.ts", "film.mov", "film.avi", "film.h264", "film.flv"]
)
def test_the_frames_shown_come_out_of_every_container(tmp_path, rng, name, b_frames):
    """Raw .h264 has no time stamps and AVI lacks some; five seconds with a key frame every 1.2 are
    long enough for seeks.
    """
    path = write_film(tmp_path / name, counting(50), options={"bf": b_frames})
    track = track_of(path)
    assert len(track.times) == 50 and track.duration == pytest.approx(5, abs=0.11)
    for seconds in (
        rng.uniform(0, 5, 12),
        np.array([4.83]),
        np.array([2.31, 4.99, -1.0, 0.0, 77.0]),
    ):
        assert numbers(frames_at(path, seconds)) == shown_at(seconds, np.arange(50) / 10)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_frames_of_unequal_length(tmp_path, rng, name):
    pts = np.cumsum([0, *rng.choice([20, 33, 40, 250, 900], 39)]).tolist()
    path = write_film(tmp_path / name, counting(40), pts=pts, options={"bf": "2"})
    track, times = track_of(path), np.array(pts) / 1000
    np.testing.assert_allclose(track.times, times, atol=1e-3)
    seconds = np.concatenate([rng.uniform(0, times[-1], 30), times])
    assert numbers(frames_at(path, seconds)) == shown_at(seconds, times)


def test_time_starts_with_the_first_frame(tmp_path):
    path = write_film(tmp_path / "late.mkv", counting(10), pts=list(range(5000, 6000, 100)))
    assert track_of(path).times[0] == 0 and track_of(path).duration == pytest.approx(1)
    assert numbers(frames_at(path, [0, 0.45, 0.9])) == [0, 4, 9]


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    path = write_film(tmp_path / "film.mp4", counting(60))
    decoded, original = [], video._decoded

    def counted(*arguments):
        for frame in original(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video, "_decoded", counted)
    assert numbers(frames_at(path, [4.95, 0.15])) == [49, 1]
    assert len(decoded) <= 3 + 12 + 1  # to frame 2; from key frame 48 to frame 50


def test_a_seek_that_leads_too_far_is_made_good(tmp_path):
    path = write_film(tmp_path / "film.mp4", counting(60))
    track = track_of(path)
    track = replace(
        track, keys=np.column_stack([track.keys[:, 0], np.full(len(track.keys), track.keys[-1, 1])])
    )
    assert numbers(frames_at(path, [0.2, 1.9, 3.1], track=track)) == [2, 19, 31]


@pytest.mark.parametrize(
    "name, container", [("cut.mkv", {}), ("cut.mp4", {"movflags": "faststart"}), ("cut.ts", {})]
)
def test_a_film_cut_off_is_used_as_far_as_it_goes(tmp_path, rng, name, container):
    noise = rng.integers(0, 30, (40, 32, 48, 3), dtype=np.uint8)  # so that each frame has its bytes
    path = write_film(tmp_path / name, noise, container=container)
    whole = video.decode(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    assert 15 < len(track_of(path).times) < 30
    frames = frames_at(path, np.arange(50) / 10)
    np.testing.assert_array_equal(frames[:15], whole[:15])
    np.testing.assert_array_equal(frames[-1], frames[30])


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_a_damaged_packet_in_the_middle_costs_no_other_group_of_frames(tmp_path, rng, name):
    path = write_film(tmp_path / name, rng.integers(0, 30, (48, 32, 48, 3), dtype=np.uint8))
    whole = video.decode(path)
    with av.open(str(path)) as file:
        packet = [(p.pos, p.size) for p in file.demux(video=0) if p.size][18]
    content = bytearray(path.read_bytes())
    content[packet[0] + 12 : packet[0] + packet[1] - 4] = bytes(packet[1] - 16)
    path.write_bytes(content)
    frames = frames_at(path, np.arange(48) / 10)
    for good in (slice(0, 12), slice(24, 48)):
        np.testing.assert_array_equal(frames[good], whole[good])


def test_packets_that_raise_are_passed_over(tmp_path, monkeypatch):
    path = write_film(tmp_path / "film.mkv", counting(20), options={"g": "1"})
    original = video.packets

    def damaged(*arguments):
        for k, packet in enumerate(original(*arguments)):
            yield av.Packet(b"no frame at all") if k == 7 else packet

    track = track_of(path)
    monkeypatch.setattr(video, "packets", damaged)
    assert numbers(frames_at(path, np.arange(20) / 10, track=track)) == [
        *range(7),
        6,
        *range(8, 20),
    ]


@pytest.mark.parametrize(
    "error",
    [av.error.InvalidDataError(1, "the disk is scratched"), IndexError("list index out of range")],
)
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_a_file_that_fails_in_the_middle_is_used_up_to_there(
    tmp_path, monkeypatch, b_frames, error
):
    path = write_film(tmp_path / "film.mkv", counting(20), options={"bf": b_frames})
    original = video_file.opened

    @contextmanager
    def failing(path):
        def demux(stream):
            yield from islice(container.demux(stream), 10)
            raise error

        with original(path) as (module, container, stream):
            yield module, SimpleNamespace(demux=demux, seek=container.seek), stream

    for module in (tracks, video):
        monkeypatch.setattr(module, "opened", failing)
    count = len(track_of(path).times)
    assert count == 10 and numbers(frames_at(path, np.arange(7) / 10)) == [*range(7)]
    assert numbers(frames_at(path, [5]))[0] >= 9


def test_frames_before_an_edit_lists_start_are_not_shown(tmp_path):
    """As a phone trims a film: the first half second stays in the file, for the decoder's sake
    only.
    """
    container = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    path = write_film(
        tmp_path / "trimmed.mp4",
        counting(20),
        pts=list(range(-500, 1500, 100)),
        container=container,
    )
    assert len(track_of(path).times) == 15 and track_of(path).duration == pytest.approx(
        1.5, abs=1e-3
    )
    assert numbers(frames_at(path, [0, 0.25, 1.4])) == [5, 7, 19]


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV cannot write rotations"
)
@pytest.mark.parametrize("quarters", [0, 1, 2, -1])
def test_films_of_turned_phones_stand_upright(tmp_path, rng, quarters):
    """The tag says how far to turn the picture counter-clockwise."""
    small = rng.integers(0, 256, (1, 4, 6, 3), dtype=np.uint8)
    frames = np.repeat(small.repeat(8, 1).repeat(8, 2), 3, axis=0)
    stored = write_film(tmp_path / "stored.mp4", frames)
    turned = write_film(tmp_path / "turned.mp4", frames, turn=90 * quarters)
    plain = frames_at(stored, [0.1])[0]
    np.testing.assert_array_equal(frames_at(turned, [0.1])[0], np.rot90(plain, quarters))
    shape = frames_at(turned, [0.1], cover=(16, 16)).shape
    assert shape == ((1, 24, 16, 3) if quarters % 2 else (1, 16, 24, 3))


@pytest.mark.parametrize(
    "a, b, c, d", [s for x in (1, -1) for y in (1, -1) for s in ((x, 0, 0, y), (0, x, y, 0))]
)
def test_all_eight_display_matrices(rng, a, b, c, d):
    """x' = a x + c y, y' = b x + d y, pixel by pixel; the frame is one of PyAV's as far as it is
    used.
    """
    pixels = rng.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    matrix = (np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14]) << 16).astype(np.int32)
    kept = SimpleNamespace(to_ndarray=lambda: pixels)
    frame = SimpleNamespace(
        height=3,
        width=5,
        side_data={"DISPLAYMATRIX": matrix.tobytes()},
        reformat=lambda *_, **__: kept,
    )
    wanted = SimpleNamespace(cover=None, grey=False, count=1, path="a picture")
    form = video._form(frame, SimpleNamespace(sample_aspect_ratio=None), wanted)
    found = video._picture(frame, form, grey=False)
    colours = {(a * x + c * y, b * x + d * y): pixels[y, x] for y in range(3) for x in range(5)}
    left, upper = (min(position[i] for position in colours) for i in (0, 1))
    for (x, y), colour in colours.items():
        np.testing.assert_array_equal(found[y - upper, x - left], colour)
    assert form[0] == (3, 5)


def test_pixels_that_are_not_square(tmp_path):
    path = write_film(tmp_path / "wide.mkv", counting(3), aspect=Fraction(2, 1))
    assert frames_at(path, [0], cover=(16, 16)).shape == (1, 16, 48, 3)
    assert frames_at(path, [0]).shape == (1, 32, 96, 3)


def test_sizes_colours_and_grey(tmp_path):
    red = np.zeros((2, 32, 48, 3), np.uint8)
    red[..., 0] = 255
    path = write_film(tmp_path / "red.mp4", red)
    np.testing.assert_allclose(
        frames_at(path, [0], cover=(20, 20))[0].mean((0, 1)), [255, 0, 0], atol=4
    )
    grey = frames_at(path, [0, 0], cover=(20, 20), grey=True)
    assert grey.shape == (2, 20, 30, 1) and grey.mean() == pytest.approx(0.299 * 255, abs=3)


@pytest.mark.parametrize("name", ["12:30.mkv", "series%03d.png", "ünïcode film.mkv", "no_suffix"])
def test_any_file_name(tmp_path, monkeypatch, name):
    """FFmpeg takes a colon for a protocol and % for a series of pictures."""
    monkeypatch.chdir(tmp_path)
    if name.endswith(".png"):
        content = write_picture(tmp_path / "picture.png", counting(3)[2]).read_bytes()
        write_picture(tmp_path / "series000.png", counting(1)[0])
    else:
        content = write_film(tmp_path / "film.mkv", counting(3)).read_bytes()
    (tmp_path / name).write_bytes(content)
    assert numbers(frames_at(name, [0.2])) == [2]


def test_tags_in_no_known_encoding(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "TITLETITLE"
        stream = file.add_stream("libx264", rate=10, height=32, width=48, pix_fmt="yuv420p")
        file.mux(stream.encode(av.VideoFrame.from_ndarray(counting(1)[0], format="rgb24")))
        file.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"TITLETITLE", b"\xff\xfe\xe4ITLETI\xfc"))
    assert numbers(frames_at(path, [0])) == [0]


def test_time_stamps_that_cannot_be_used_are_recognised():
    def useless(stamps):
        return tracks._useless(*np.array(stamps, dtype=float).T)

    steady = [(k, k) for k in range(10)]
    assert (
        not useless(steady)
        and not useless([(0, 0), (4, 1), (2, 2), (6, 3)])
        and not useless([(0, None)])
    )
    assert useless([(None, k) for k in range(10)])
    assert useless([(0, 0)] * 10)
    assert useless(steady + steady)  # the clock starts again
    assert not useless([(None, 0), *steady])


@pytest.mark.parametrize(
    "rates, rate",
    [((None, None), 30), ((Fraction(90000), Fraction(25)), 25), ((Fraction(10), None), 10)],
)
def test_incredible_rates_are_not_believed(rates, rate):
    assert video_file.rate_of(SimpleNamespace(guessed_rate=rates[0], average_rate=rates[1])) == rate


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_picture_is_a_film_of_one_frame(tmp_path, suffix):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:15], pixels[15:, 20:] = (200, 40, 40), (20, 20, 160)
    path = write_picture(tmp_path / f"picture.{suffix}", pixels)
    assert len(track_of(path).times) == 1
    frames = frames_at(path, [0, 3])
    assert frames.shape == (2, 30, 40, 3)
    for corner in (np.s_[:, 4:11, 4:16], np.s_[:, 19:26, 4:16], np.s_[:, 19:26, 24:36]):
        np.testing.assert_allclose(
            frames[corner].mean((0, 1, 2)), pixels[corner[1:]].mean((0, 1)), atol=6
        )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_of_turned_phones_stand_upright(tmp_path, orientation):
    """EXIF's orientations as Pillow lays them down; 6 is a phone held upright, 2, 4, 5 and 7 are
    mirrored.
    """
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24] = 255
    path = write_picture(tmp_path / "photo.jpg", pixels)
    plain, content = frames_at(path, [0])[0], path.read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)  # the tag, a short, one of them
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    path.write_bytes(
        content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    )
    picture = Image.fromarray(plain)
    picture.getexif().update(Image.open(path).getexif())
    np.testing.assert_array_equal(
        frames_at(path, [0])[0], np.asarray(ImageOps.exif_transpose(picture))
    )


def test_files_that_hold_no_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match="none at .*nowhere.mp4: check the path"):
        track_of(tmp_path / "nowhere.mp4")
    for name, content in {
        "empty.mp4": b"",
        "text.mkv": b"hello\n" * 99,
        "text.png": b"hello\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*: check or re-encode it"):
            frames_at(tmp_path / name, [0])


# -- labels ----------------------------------------------------------------------------------------


def test_the_labels_in_the_package():
    kinetics, imagenet = labels_for(400), labels_for(1000)
    assert len(set(kinetics)) == 400 and len(set(imagenet)) == 1000
    assert (
        list(kinetics) == sorted(kinetics)
        and kinetics[0] == "abseiling"
        and kinetics[-1] == "zumba"
    )
    assert imagenet[0] == "tench" and imagenet[1] == "goldfish" and imagenet[-1] == "toilet tissue"
    assert labels_for(3) == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize(
    "name, content",
    [
        ("names.txt", "a b\nc\nd\n\n"),
        ("names.json", json.dumps(["a b", "c", "d"])),
        ("names.json", json.dumps({"c": 1, '"a b"': 0, "d": 2})),
        ("names.json", json.dumps({"2": "d", "0": "a b", "1": "c"})),
        ("names.json", json.dumps({"0": ["n01", "a b"], "1": ["n02", "c"], "2": ["n03", "d"]})),
    ],
)
def test_labels_from_a_file(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert labels_for(3, tmp_path / name) == ("a b", "c", "d")


def test_two_classes_may_have_one_name(tmp_path):
    """As in ImageNet's usual list: the crane that flies and the one that lifts."""
    (tmp_path / "names.json").write_text(
        json.dumps({"0": ["n02012849", "crane"], "1": ["n03126707", "crane"], "2": ["n1", "a"]})
    )
    assert labels_for(3, tmp_path / "names.json") == ("crane", "crane", "a")


def test_names_that_are_not_utf_8_come_back_as_they_were_written(tmp_path):
    names = ("d\udce9j\udce0", "猫", "c")
    (tmp_path / "classes.txt").write_text(
        "\n".join(names), encoding="utf-8", errors="surrogateescape"
    )
    assert labels_for(3, tmp_path / "classes.txt") == names


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("names.txt", "a\nb\n", "each of the model's 3 classes; .*names.txt names 2"),
        ("names.txt", "a\n\nb\n", "entry 2 of .*names.txt is: fill it in"),
        ("names.json", "{", "one class per line, a JSON list"),
        (
            "names.json",
            "7",
            "a JSON list or .*names.json is not .*neither a list nor names with their indices",
        ),
        ("names.json", '{"a": 0, "b": 0, "c": 1}', "two names have one index"),
        (
            "names.json",
            '{"a": 1, "b": 2, "c": 3}',
            "names.json is not .*without gaps, and 0 is missing",
        ),
        (
            "names.json",
            '{"0": "a", "1": "b", "3": "c"}',
            "names.json is not .*without gaps, and 2 is missing",
        ),
        (
            "names.json",
            '{"a": "0", "b": "1", "c": "2"}',
            "names.json is not .*without gaps, and 0 is missing",
        ),
        (
            "names.json",
            '{"0": ["n1", "a"], "1": [], "2": "c"}',
            "a JSON list or .*names.json is not .*no name",
        ),
        (
            "names.json",
            '{"0": "a", "1": [{"b": 1}], "2": "c"}',
            "a JSON list or .*names.json is not .*no name",
        ),
        ("names.json", '["a", ["b"], []]', "a JSON list or .*names.json is not .*no name"),
        ("names.json", '["a", null, "c"]', "a JSON list or .*names.json is not .*None is no name"),
        ("names.json", "[" * 100_000, "a JSON list or .*names.json is not .*recursion"),
        ("names.json", '{"0":' * 100_000, "a JSON list or .*names.json is not .*recursion"),
        (
            "names.json",
            r'["a", "b\nc", "d"]',
            r"one line of text; entry 2 of .*names.json is 'b\\nc': correct it",
        ),
        (
            "names.json",
            r'["a", "b", "\u001b[2J"]',
            r"one line of text; entry 3 of .*names.json is '\\x1b\[2J'",
        ),
        ("names.txt", "a\nb\x1b]0;x\x07\nc\n", "one line of text; entry 2 of .*names.txt"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        labels_for(3, tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none at"):
        labels_for(3, tmp_path / "nowhere")
