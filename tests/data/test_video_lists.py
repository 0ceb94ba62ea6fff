"""Folders and CSV files as people have them: what is taken, what is left out and said, what is
refused in a sentence.
"""

import os
import sys
from itertools import product

import pytest
from video_tables import SIZES, content, touch

from mvit_np.data.datasets import BrokenExample
from mvit_np.data.media import files_in
from mvit_np.data.video_table import VideoTable

pytest.importorskip("av")


def rows_of(table, folder):
    """{name inside the folder: class}"""
    return {
        str(path.relative_to(folder)): table.classes[label]
        for (path, _), label in zip(table.rows, table.labels)
    }


def csv_table(folder, *lines, **also):
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8", newline="")
    return VideoTable.from_csv(folder / "table.csv", **SIZES, **also)


# -- folders ---------------------------------------------------------------------------------------


def test_folders_inside_a_class_are_looked_into(tmp_path):
    touch(
        tmp_path,
        "a/0.mp4",
        "a/day 2/1.mp4",
        "a/day 2/cut/2.avi",
        "a/.thumbs/3.mp4",
        "a/__MACOSX/4.mp4",
        "b/x/5.mov",
    )
    table = VideoTable.from_folder(tmp_path, **SIZES)
    assert rows_of(table, tmp_path) == {
        "a/0.mp4": "a",
        "a/day 2/1.mp4": "a",
        "a/day 2/cut/2.avi": "a",
        "b/x/5.mov": "b",
    }
    assert table.notes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own")
def test_links_are_followed_and_never_in_a_circle(tmp_path):
    touch(tmp_path, "elsewhere/1.mp4", "data/a/0.mp4", "data/b/2.mp4")
    (tmp_path / "data/a/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/self").symlink_to(tmp_path / "data/b")
    assert set(rows_of(VideoTable.from_folder(tmp_path / "data", **SIZES), tmp_path / "data")) == {
        "a/0.mp4",
        "a/more/1.mp4",
        "b/2.mp4",
    }


ENDINGS = "f4v asf vob mxf m2v 3g2 qt y4m hevc 265 264 ivf divx mts MP4 gif".split()


@pytest.mark.parametrize("ending", ENDINGS)
def test_films_by_any_usual_ending(tmp_path, ending):
    touch(tmp_path, f"a/film.{ending}", "b/film.mp4")
    assert len(VideoTable.from_folder(tmp_path, **SIZES)) == 2


def test_what_is_left_out_is_counted_and_said(tmp_path):
    touch(
        tmp_path,
        "a/0.mp4",
        "a/readme.txt",
        "a/in/sub.srt",
        "b/1.mp4",
        "b/1.json",
        "labels.csv",
        "loose.mp4",
    )
    assert VideoTable.from_folder(tmp_path, **SIZES).notes == (
        f"1 film or picture of {tmp_path} is in no class's folder and left out, such as loose.mp4",
        (
            f"4 files in 4 folders of {tmp_path} are neither film nor picture by the ending and "
            "left out, such as labels.csv"
        ),
    )


def test_a_folder_without_films_stops_nothing_and_moves_no_class(tmp_path):
    touch(
        tmp_path,
        "b/1.mp4",
        "c/2.mp4",
        "__pycache__/x.pyc",
        "__MACOSX/a/0.mp4",
        ".git/y",
        "notes/todo.txt",
    )
    (tmp_path / "a").mkdir()
    table = VideoTable.from_folder(tmp_path, **SIZES)
    assert table.classes == ("b", "c") and table.labels.tolist() == [0, 1]
    assert (
        table.notes[0]
        == f"2 folders of {tmp_path} are no class, as no film or picture is there: a, notes"
    )
    assert "such as notes/todo.txt" in table.notes[1] and len(table.notes) == 2


def test_an_empty_folder_among_numbers(tmp_path):
    touch(tmp_path, "2/a.mp4", "10/b.mp4")
    (tmp_path / "old").mkdir()
    assert VideoTable.from_folder(tmp_path, **SIZES).classes == ("2", "10")


@pytest.mark.parametrize(
    "names", [("train", "val"), ("Training", "Testing"), ("train", "valid", "test"), ("train",)]
)
def test_the_parts_of_a_data_set_are_not_its_classes(tmp_path, names):
    touch(tmp_path, *(f"{part}/{label}/0.mp4" for part, label in product(names, ("ape", "bee"))))
    with pytest.raises(ValueError, match="a data set's folders are its classes") as caught:
        VideoTable.from_folder(tmp_path, **SIZES)
    told = str(caught.value)
    assert f"--data {tmp_path / names[0]}" in told
    assert any(f"--tests {tmp_path / name}" in told for name in names[1:]) or len(names) == 1
    for name in names:
        assert VideoTable.from_folder(tmp_path / name, **SIZES).classes == ("ape", "bee")


def test_a_part_whose_films_lie_in_no_folder_is_no_class_either(tmp_path):
    touch(tmp_path, "train/ape/0.mp4", "train/bee/1.mp4", "val/2.mp4")
    with pytest.raises(ValueError, match="--data .*train --tests .*val"):
        VideoTable.from_folder(tmp_path, **SIZES)


def test_classes_that_are_called_as_parts_are(tmp_path):
    touch(tmp_path, "train/0.mp4", "test/1.mp4")
    assert VideoTable.from_folder(tmp_path, **SIZES).classes == ("test", "train")
    touch(tmp_path, "train/in/2.mp4", "test/in/3.mp4", "bus/in/4.mp4")
    assert VideoTable.from_folder(tmp_path, **SIZES).classes == ("bus", "test", "train")


def test_a_folder_that_may_not_be_looked_into_is_not_passed_over(tmp_path, monkeypatch):
    touch(tmp_path, "a/in/0.mp4", "b/1.mp4")
    original = os.scandir

    def forbidding(path):
        if os.fspath(path) == str(tmp_path / "a/in"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(PermissionError, match="denied"):
        VideoTable.from_folder(tmp_path, **SIZES)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among files")
def test_pipes_are_no_films_and_links_to_nothing_are_told_of(tmp_path, rng):
    touch(tmp_path, "a/0.mp4", "b/1.mp4")
    os.mkfifo(tmp_path / "a/pipe.mp4")
    (tmp_path / "b/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    table = VideoTable.from_folder(tmp_path, **SIZES)
    assert list(rows_of(table, tmp_path)) == ["a/0.mp4", "b/1.mp4", "b/gone.mp4"]
    with pytest.raises(
        BrokenExample, match="gone.mp4 cannot be read: .*there is none at it: check the path"
    ):
        table.clip(2, rng)


def test_files_come_sorted(tmp_path):
    touch(tmp_path, "b/2", "a", "b/1", "c/d/0")
    assert [str(path.relative_to(tmp_path)) for path in files_in(tmp_path)] == [
        "a",
        "b/1",
        "b/2",
        "c/d/0",
    ]


# -- tables ----------------------------------------------------------------------------------------


def test_files_that_are_not_there_are_left_out_and_counted(tmp_path):
    touch(tmp_path, "a.mp4", "c.mp4")
    table = csv_table(tmp_path, "path,label", "a.mp4,x", "b.mp4,x", "c.mp4,y", "d.mp4,z")
    assert content(table)[1:] == (("x", "y"), [0, 1])
    where = tmp_path / "table.csv"
    assert table.notes == (
        f"2 of the 4 files of {where} are not there and left out, such as b.mp4 in row 3",
        f"1 label of {where} is no class, as no file is there: z",
    )


def test_a_table_with_a_nul_is_no_text(tmp_path):
    touch(tmp_path, "a.mp4")
    with pytest.raises(
        ValueError,
        match=r"table.csv is not text in UTF-8 \(it contains NUL\): save it as such",
    ):
        csv_table(tmp_path, "a.mp4,x", "b\0.mp4,x")


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "/".join(["y" * 200] * 30), "a.mp4/b.mp4"])
def test_names_that_no_file_can_have_are_files_that_are_not_there(tmp_path, name):
    touch(tmp_path, "a.mp4", "c.mp4")
    table = csv_table(tmp_path, "a.mp4,x", f"{name},x", "c.mp4,y")
    assert content(table)[1:] == (("x", "y"), [0, 1])
    assert len(table.notes) == 1 and table.notes[0].startswith("1 of the 3 files of ")


def test_rows_without_letters_are_no_rows(tmp_path):
    touch(tmp_path, "a.mp4", "c.mp4")
    table = csv_table(tmp_path, "path,label,note", "a.mp4,x,", ",,", " , , ", "c.mp4,y,good")
    assert content(table)[1:] == (("x", "y"), [0, 1]) and table.notes == ()


def test_numbers_count_whatever_their_zeros(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    assert content(csv_table(tmp_path, "a.mp4,00", "b.mp4,01", "c.mp4,2"))[1:] == (
        ("0", "1", "2"),
        [0, 1, 2],
    )
    assert content(csv_table(tmp_path, "a.mp4,02", "b.mp4,0", classes=("x", "y", "z")))[1:] == (
        ("x", "y", "z"),
        [2, 0],
    )
    touch(tmp_path, "set/00/a.mp4", "set/01/b.mp4")
    assert content(VideoTable.from_folder(tmp_path / "set", **SIZES))[1:] == (("00", "01"), [0, 1])
    assert content(csv_table(tmp_path, "a.mp4,1", classes=("00", "01")))[1:] == (("00", "01"), [1])


@pytest.mark.parametrize("label", ["20240101", "1609459200", "099999999999999999", "5000"])
def test_dates_and_the_like_do_not_count_classes(tmp_path, label):
    touch(tmp_path, "x.mp4", "y.mp4")
    with pytest.raises(
        ValueError,
        match=f"count the classes from 0; .*y.mp4 has {label} in a table of 2 rows: number",
    ):
        csv_table(tmp_path, "x.mp4,0", f"y.mp4,{label}")
    assert csv_table(tmp_path, "x.mp4,d0", f"y.mp4,d{label}").classes == ("d0", f"d{label}")


def test_numbers_too_long_to_count_are_names(tmp_path):
    touch(tmp_path, "x.mp4", "y.mp4")
    assert len(csv_table(tmp_path, "x.mp4,0", f"y.mp4,{'9' * 5000}").classes) == 2


def test_few_films_of_many_classes(tmp_path):
    """As of the test of a data set: the highest number is far above the rows, but not absurdly."""
    touch(tmp_path, "x.mp4")
    table = csv_table(tmp_path, "x.mp4,999")
    assert len(table.classes) == 1000 and table.labels.tolist() == [999]


@pytest.mark.parametrize(
    "label", ["two\nlines", "re\rturn", "esc\x1b[2J", "nul\0", "line\u2028end"]
)
def test_a_name_of_several_lines_is_refused(tmp_path, label):
    touch(tmp_path, "x.mp4")
    with pytest.raises(
        ValueError,
        match="name of a class is one line of text; the label of .*x.mp4 is '.*': correct it",
    ):
        VideoTable([(tmp_path / "x.mp4", label)], **SIZES)
    # Python 3.10 takes no NUL in a table
    with pytest.raises(ValueError, match="one line of text|is not text in UTF-8"):
        csv_table(tmp_path, f'x.mp4,"{label}"')


@pytest.mark.parametrize("name", ["tab\there", "no\u00a0break", "naïve 猫", "d\udce9j\udce0"])
def test_names_that_are_unusual_are_kept(name):
    assert VideoTable([("x.mp4", name)], **SIZES).classes == (name,)


def test_a_file_of_two_classes_is_refused(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(
        ValueError,
        match="a file is of one class; .*a.mp4 is labelled 'x' and 'y': leave one of them out",
    ):
        csv_table(tmp_path, "a.mp4,x", "b.mp4,y", "../" + tmp_path.name + "/a.mp4,y")
    assert len(csv_table(tmp_path, "a.mp4,1", "b.mp4,0", "a.mp4,01")) == 3  # twice the same


def test_one_class_alone_and_classes_without_examples_are_said(tmp_path):
    alone = "every example is of the class x: there is nothing to learn"
    assert VideoTable([("a.mp4", "x"), ("b.mp4", "x")], **SIZES).notes == (alone,)
    touch(tmp_path, "set/x/0.mp4", "set/x/1.mp4")
    assert VideoTable.from_folder(tmp_path / "set", **SIZES).notes == (alone,)
    assert VideoTable([("a.mp4", 1), ("b.mp4", 3)], **SIZES).notes == (
        "2 of the 4 classes have no example, such as 0",
    )
    assert (
        VideoTable([("a.mp4", "x"), ("b.mp4", "y")], **SIZES, classes=("w", "x", "y")).notes == ()
    )


# -- a test set ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("ape", "bee", "cow"), ("0", "1", "2"), ("3", "7", "11")])
def test_a_test_set_may_have_some_of_the_classes(tmp_path, names):
    touch(tmp_path, *(f"train/{name}/0.mp4" for name in names), f"test/{names[2]}/1.mp4")
    (tmp_path / "test" / names[0]).mkdir()  # one of which there is no film yet
    train = VideoTable.from_folder(tmp_path / "train", **SIZES)
    assert train.classes == names
    table = VideoTable.from_folder(tmp_path / "test", **SIZES, classes=train.classes)
    assert table.classes == names and table.labels.tolist() == [2]
    assert content(csv_table(tmp_path, f"test/{names[2]}/1.mp4,{names[2]}", classes=names))[1:] == (
        names,
        [2],
    )
    with pytest.raises(
        ValueError,
        match=rf"labelled '99', which is none of the 3 classes \({', '.join(names)}\): correct",
    ):
        csv_table(tmp_path, f"test/{names[2]}/1.mp4,99", classes=names)
