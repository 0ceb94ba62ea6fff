"""Lists of films as other programs write them: each gives the table that the folder gives."""

import csv

import numpy as np
import pytest
from video_tables import SIZES, content, touch

from mvit_np.data.film_part import WHOLE
from mvit_np.data.labels import class_names
from mvit_np.data.video_table import VideoTable

FILMS = {  # name: class; blanks and letters of all kinds in names
    "ape/x.avi": "ape",
    "b ee/1 of 2.mp4": "b ee",
    "b ee/2, the end.mkv": "b ee",
    "Känguru/é; 3.mp4": "Känguru",
}
CLASSES = tuple(sorted(set(FILMS.values())))


@pytest.fixture
def folder(tmp_path):
    touch(tmp_path / "films", *FILMS)
    return tmp_path / "films"


def table_of(path, text, **also):
    path.write_text(text, encoding="utf-8")
    return VideoTable.from_csv(path, **SIZES, **also)


def as_numbers(label):
    return CLASSES.index(label)


def unquoted(rows, separator):
    return "".join(f"{film}{separator}{label}\n" for film, label in rows)


# -- separators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
@pytest.mark.parametrize("titles", [False, True])
def test_what_the_csv_module_writes(folder, separator, titles):
    """Quotes where they are needed, in all dialects; the folder's own table is the truth."""
    expected = content(VideoTable.from_folder(folder, **SIZES))
    with open(folder / "list.txt", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, delimiter=separator)
        lines.writerows([["path", "label"], *FILMS.items()] if titles else FILMS.items())
    found = content(VideoTable.from_csv(folder / "list.txt", **SIZES))
    assert sorted(zip(found[0], found[2])) == sorted(zip(expected[0], expected[2]))
    assert found[1] == expected[1] == CLASSES


@pytest.mark.parametrize("separator", [",", "\t", ";", " ", "   "])
def test_paths_with_separators_and_no_quotes_survive(folder, separator):
    """As SlowFast, PyTorchVideo (which splits at the last blank) and MMAction2 write them."""
    rows = [(film, as_numbers(label)) for film, label in FILMS.items()]
    table = table_of(folder / "list.csv", unquoted(rows, separator), classes=CLASSES)
    expected = VideoTable.from_folder(folder, **SIZES)
    assert sorted(zip(*content(table)[::2])) == sorted(zip(*content(expected)[::2]))


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
def test_whatever_is_in_the_names(tmp_path, rng, separator):
    """PyTorchVideo's rule for lines, `path, label = line.rsplit(separator, 1)`, on random names."""
    for trial in range(30):
        folder = tmp_path / str(trial)
        names = ["".join(rng.choice(list("ab ,;#%é'\"()-_.0"), 7)) for _ in range(3)]
        labels = {f"{name.strip()}.mp4": int(rng.integers(4)) for name in names}
        touch(folder, *labels)
        table = table_of(folder / "l.txt", unquoted(labels.items(), separator))
        found = {path.name: table.classes[k] for (path, _), k in zip(table.rows, table.labels)}
        assert found == {name: str(label) for name, label in labels.items()}


def test_a_data_root(folder, tmp_path):
    """SlowFast's PATH_PREFIX, MMAction2's data_prefix."""
    rows = [(film, as_numbers(label)) for film, label in FILMS.items()]
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "train.csv"
    table = table_of(path, unquoted(rows, " "), classes=CLASSES, root=folder)
    assert {path.resolve() for path, _ in table.rows} == {folder / film for film in FILMS}
    with pytest.raises(FileNotFoundError, match=r"start from .*lists, unless --data_root names"):
        table_of(path, unquoted(rows, " "), classes=CLASSES)
    with pytest.raises(FileNotFoundError, match="none at .*nowhere: check data_root"):
        table_of(path, unquoted(rows, " "), root=tmp_path / "nowhere")


def test_the_separator_that_leads_to_files_is_the_right_one(tmp_path):
    touch(tmp_path, "a, b.mp4", "c, d.mp4", "e; f.mp4")
    rows = [("a, b.mp4", "x y"), ("c, d.mp4", "z")]
    table = table_of(tmp_path / "list.txt", unquoted(rows, ";"))
    assert content(table)[1:] == (("x y", "z"), [0, 1])
    table = table_of(tmp_path / "list.txt", "a, b.mp4 3\nc, d.mp4 0\n")
    assert table.labels.tolist() == [3, 0]
    table = table_of(tmp_path / "list.txt", "e; f.mp4 1\n")
    assert table.labels.tolist() == [1]


def test_paths_alone_are_of_their_folder(folder):
    """UCF101's testlist01.txt."""
    table = table_of(folder / "testlist01.txt", "".join(f"{film}\r\n" for film in FILMS))
    assert {
        path.parent.name: table.classes[k] for (path, _), k in zip(table.rows, table.labels)
    } == {label: label for label in CLASSES}


def test_paths_of_windows(tmp_path):
    touch(tmp_path, "ape/x.avi", "bee/y.avi")
    table = table_of(tmp_path / "list.txt", "ape\\x.avi 0\nbee\\y.avi 1\n")
    assert [path for path, _ in table.rows] == [tmp_path / "ape/x.avi", tmp_path / "bee/y.avi"]


def test_what_is_not_there_is_left_out_whatever_separates(folder):
    rows = [(film, as_numbers(label)) for film, label in FILMS.items()]
    table = table_of(folder / "l.txt", unquoted([*rows, ("gone, really.mp4", 0)], " "))
    assert len(table) == 4
    assert (
        table.notes[0].startswith("1 of the 5 files of ") and "gone, really.mp4" in table.notes[0]
    )


# -- UCF101: numbers from 1, and their names -------------------------------------------------------


def test_the_lists_of_ucf101(tmp_path):
    names = ["ApplyEyeMakeup", "ApplyLipstick", "Archery"]
    films = [f"{name}/v_{name}_g08_c0{k}.avi" for name in names for k in (1, 2)]
    touch(tmp_path / "UCF-101", *films)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("".join(f"{k} {n}\r\n" for k, n in enumerate(names, 1)))
    train = "".join(f"{film} {names.index(film.split('/')[0]) + 1}\r\n" for film in films)
    classes, first = class_names(lists / "classInd.txt")
    assert (classes, first) == (tuple(names), 1)
    how = {"classes": classes, "first_label": first, "root": tmp_path / "UCF-101"}
    table = table_of(lists / "trainlist01.txt", train, **how)
    assert table.labels.tolist() == [0, 0, 1, 1, 2, 2]
    tests = table_of(lists / "testlist01.txt", "".join(f"{film}\r\n" for film in films), **how)
    assert content(tests) == content(table)
    with pytest.raises(ValueError, match="labelled '0', which is none of the 3 classes"):
        table_of(lists / "x.txt", f"{films[0]} 0\n", **how)
    with pytest.raises(ValueError, match="labelled '4', which is none of the 3 classes"):
        table_of(lists / "x.txt", f"{films[0]} 4\n", **how)


def test_labels_from_1_without_a_file_of_classes_are_told_of(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    table = table_of(tmp_path / "l.txt", "a.mp4 1\nb.mp4 2\n")
    assert table.classes == ("0", "1", "2") and "if your labels begin at 1, give" in table.notes[0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ape\nb ee\n", (("ape", "b ee"), 0)),
        ("0 ape\n1 b ee\n", (("ape", "b ee"), 0)),
        ("1,ape\n2,b ee\n", (("ape", "b ee"), 1)),
        ("1 ape\n3 b ee\n", (("1 ape", "3 b ee"), 0)),  # a name that begins with a number
        ("7\n9\n", (("7", "9"), 0)),
    ],
)
def test_files_of_class_names(tmp_path, text, expected):
    (tmp_path / "names.txt").write_text(text)
    assert class_names(tmp_path / "names.txt") == expected


def test_files_of_class_names_that_are_none(tmp_path):
    for text, words in (("", "is empty"), ("a\nb\na\n", "has 'a' twice"), ("a\n\nb\n", "entry 2")):
        (tmp_path / "names.txt").write_text(text)
        with pytest.raises(ValueError, match=words):
            class_names(tmp_path / "names.txt")
    with pytest.raises(FileNotFoundError, match="check the path"):
        class_names(tmp_path / "none.txt")


# -- Kinetics --------------------------------------------------------------------------------------

KINETICS = """label,youtube_id,time_start,time_end,split
abseiling,-3B32lodo2M,59,69,train
"air drumming",0kZ4-dzjVrg,8,18,train
abseiling,4YTwq0-73Y8,33,43,train
zumba,gone_gone_1,1,11,train
"""


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_the_list_of_kinetics(tmp_path, cut, flat):
    rows = list(csv.DictReader(KINETICS.splitlines()))[:3]
    films = []
    for row in rows:
        name = row["youtube_id"]
        if cut:
            name += f"_{int(row['time_start']):06d}_{int(row['time_end']):06d}"
        films.append(
            f"{name}.mp4" if flat else f"train/{row['label'].replace(' ', '_')}/{name}.mkv"
        )
    touch(tmp_path / "videos", *films)
    table = table_of(tmp_path / "kinetics_train.csv", KINETICS, root=tmp_path / "videos")
    assert content(table) == (
        [tmp_path / "videos" / film for film in films], ("abseiling", "air drumming"), [0, 1, 0]
    )  # fmt: skip
    spans = [(float(row["time_start"]), float(row["time_end"])) for row in rows]
    assert table.spans == ((WHOLE,) * 3 if cut else tuple(spans))
    assert "1 of the 4 files" in table.notes[0] and "zumba" in table.notes[1]


# -- parts of films --------------------------------------------------------------------------------


def test_parts_by_their_titles(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    text = "end;video;class;start\n12.5;a.mp4;x;10\n1:02.5;a.mp4;y;12.5\n;b.mp4;x;3\n;b.mp4;y;\n"
    table = table_of(tmp_path / "parts.csv", text)
    inf = np.inf
    assert table.spans == ((10, 12.5), (12.5, 62.5), (3, inf), (0, inf))
    assert content(table)[1:] == (("x", "y"), [0, 1, 0, 1])
    names = [table.name_of(k).removeprefix(f"{tmp_path}/") for k in range(4)]
    assert names == [
        "a.mp4 from 10 to 12.5 s",
        "a.mp4 from 12.5 to 62.5 s",
        "b.mp4 from 3 to inf s",
        "b.mp4",
    ]
    with pytest.raises(ValueError, match="a file is of one class; .*a.mp4 is labelled 'x' and 'y'"):
        table_of(tmp_path / "p.csv", "path,label,start\na.mp4,x,1\na.mp4,y,1.0\n")


@pytest.mark.parametrize(
    "start, end, words",
    [
        ("x", "", "seconds are numbers >= 0; row 2 of .*p.csv has the start 'x': correct it"),
        ("-1", "", "has the start '-1'"),
        ("nan", "", "has the start 'nan'"),
        ("1", "inf", "has the end 'inf'"),
        ("3", "3", "ends after it begins; row 2 of .*p.csv goes from 3 to 3 s: correct it"),
    ],
)
def test_parts_that_are_none(tmp_path, start, end, words):
    touch(tmp_path, "a.mp4")
    with pytest.raises(ValueError, match=words):
        table_of(tmp_path / "p.csv", f"path,label,start,end\na.mp4,x,{start},{end}\n")


def test_rows_of_several_parts_are_told_of(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    table = table_of(tmp_path / "p.csv", "path,label,split\na.mp4,x,train\nb.mp4,y,test\n")
    assert "has rows of several parts (test, train), and all are taken" in table.notes[0]


def test_lists_that_are_none(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "l.csv").write_bytes("a.mp4,x\n".encode("utf-16"))
    with pytest.raises(ValueError, match="l.csv is not text in UTF-8 .*: save it as such"):
        VideoTable.from_csv(tmp_path / "l.csv", **SIZES)
    for text, words in (
        ("a.mp4,x\nb.mp4\n", "row 2 of .*l.csv has 1 column instead of 2: write path,label"),
        ("path;label\na.mp4,x\n", "row 2 of .* has 1 columns instead of 2: write path;label"),
        ("\n \n", "at least one row"),
        ("a.mp4," + "x" * 200_000, r"is not a list of films \(field larger than"),
    ):
        with pytest.raises(ValueError, match=words):
            table_of(tmp_path / "l.csv", text)
