"""Whose files are whose: what a command may write, and what text may reach a terminal."""

import json
import os

import pytest

from mvit_np.backend.outputs import (
    LEDGER,
    carries,
    check_free,
    check_not_read,
    check_own,
    claim,
    make_folder,
    own,
)
from mvit_np.backend.plain_text import plain


def test_a_file_that_is_read_is_not_written(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"film")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.mp4")
    os.link(tmp_path / "a.mp4", tmp_path / "twin.csv")
    for output in (
        tmp_path / "a.mp4",
        tmp_path / "." / "a.mp4",
        tmp_path / "link.csv",
        tmp_path / "twin.csv",
    ):
        with pytest.raises(ValueError, match="is read"):
            check_not_read([tmp_path / "other.csv", output], [tmp_path / "a.mp4"])
    check_not_read([tmp_path / "b.csv"], [tmp_path / "a.mp4"])
    with pytest.raises(ValueError, match="is read"):  # neither is there yet
        check_not_read([tmp_path / "x" / ".." / "c.csv"], [tmp_path / "c.csv"])


def test_links_in_a_circle_are_no_traceback(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    check_not_read([tmp_path / "c"], [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="is there already"):
        check_free(tmp_path / "a", lambda path: True)


def test_a_command_writes_over_its_own_files_alone(tmp_path):
    own(tmp_path / "new", "demo", ["metrics.csv", "model.npz"])
    (tmp_path / "new" / "metrics.csv").write_text("1")
    own(tmp_path / "new", "demo", ["metrics.csv", "curves.png"])  # again
    with pytest.raises(
        ValueError, match=r"new holds metrics.csv, which `mvit-np train` did not write"
    ):
        own(tmp_path / "new", "train", ["metrics.csv"])
    (tmp_path / "recipe.toml").write_text("mine")
    with pytest.raises(ValueError, match="holds recipe.toml"):
        own(tmp_path, "train", ["recipe.toml"])
    # nothing was noted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "recipe.toml"]
    claim(tmp_path, "train", ["recipe.toml"])
    check_own(tmp_path, "train", ["recipe.toml"])


def test_a_dangling_link_is_somebodys(tmp_path):
    (tmp_path / "model.npz").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="holds model.npz"):
        own(tmp_path, "train", ["model.npz"])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", json.dumps({"train": "model.npz"}), json.dumps({"train": [1]}), "[" * 10**5],
)
def test_a_damaged_ledger_vouches_for_nothing(tmp_path, text):
    (tmp_path / LEDGER).write_text(text)
    (tmp_path / "model.npz").write_text("mine")
    with pytest.raises(ValueError, match="holds model.npz"):
        own(tmp_path, "train", ["model.npz"])


def test_a_file_is_ours_by_what_it_carries_near_either_end(tmp_path):
    for place, data in enumerate(
        [b"mark" + bytes(9000), bytes(9000) + b"mark", b"mark", bytes(4090) + b"mark" + bytes(4090)]
    ):
        (tmp_path / str(place)).write_bytes(data)
        assert carries(tmp_path / str(place), b"no", b"mark")
        check_free(tmp_path / str(place), lambda path: carries(path, b"mark"))
    (tmp_path / "far").write_bytes(bytes(9000) + b"mark" + bytes(9000))
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for name in ("far", "dangling", "."):
        with pytest.raises(ValueError, match="is there already, and this command did not write it"):
            check_free(tmp_path / name, lambda path: carries(path, b"mark"))
    check_free(tmp_path / "new", lambda path: False)
    assert not carries(tmp_path / "new", b"") and not carries(tmp_path, b"")


def test_a_folder_is_made_or_refused_at_once(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "c"):
        with pytest.raises(ValueError, match=f"the folder {path} cannot be written"):
            make_folder(path)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("größe 白.mp4", "größe 白.mp4"),
        ("a\x1b[2J\x1b[31mb", r"a\x1b[2J\x1b[31mb"),
        ("a\nmvit-np: all fine", r"a\nmvit-np: all fine"),
        ("d\udce9j\udce0.mp4", r"d\udce9j\udce0.mp4"),
        ("a\u202eb", r"a\u202eb"),
    ],
)
def test_no_text_commands_a_terminal(text, shown):
    assert plain(text) == shown
    plain(text).encode()
