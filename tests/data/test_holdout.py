"""A test part split off by film, and classes that are drawn equally often."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from video_tables import SIZES, touch

from mvit_np.data.balance import balanced
from mvit_np.data.datasets import ArrayClips
from mvit_np.data.holdout import film_of, held_out
from mvit_np.data.loader import Loader
from mvit_np.data.video_table import VideoTable


def table_of(*rows, **also):
    return VideoTable(rows, **SIZES, **also)


def films_of(table):
    return {path for path, _ in table.rows}


def test_the_share_of_each_class_is_held_out_and_nothing_is_lost(rng):
    counts = {"a": 50, "b": 10, "c": 3, "d": 2}
    rows = [
        (f"root/{label}/{k}.mp4", label) for label, count in counts.items() for k in range(count)
    ]
    table = table_of(*rows)
    train, tests = held_out(table, 0.2, "root")
    assert films_of(train) | films_of(tests) == films_of(table)
    assert not films_of(train) & films_of(tests) and len(train) + len(tests) == len(table)
    out = Counter(table.classes[label] for label in tests.labels)
    assert out == {"a": 10, "b": 2, "c": 1, "d": 1}  # at least one of each, and never all
    assert train.classes == tests.classes == table.classes
    # whatever the order of the rows, and from wherever they are called
    mixed = [rows[k] for k in rng.permutation(len(rows))]
    assert films_of(held_out(table_of(*mixed), 0.2, "root")[1]) == films_of(tests)
    moved = table_of(*((f"/else/where/{path[5:]}", label) for path, label in rows))
    there = {
        path.relative_to("/else/where") for path in films_of(held_out(moved, 0.2, "/else/where")[1])
    }
    assert there == {path.relative_to("root") for path in films_of(tests)}


def test_parts_of_a_film_go_to_one_side(rng):
    """Also where they are of several classes: the brute force below knows nothing of order."""
    for _ in range(20):
        rows = []
        for film in range(12):
            for start in range(rng.integers(1, 6)):
                rows.append((f"{film}.mp4", "abc"[rng.integers(3)], start, start + 1))
        table = table_of(*rows)
        train, tests = held_out(table, 0.3, ".")
        assert not films_of(train) & films_of(tests)
        assert len(train) + len(tests) == len(rows)
        assert set(train.labels) == set(table.labels)  # no class is lost to learning
        assert sorted(zip(train.rows + tests.rows, train.spans + tests.spans)) == sorted(
            zip(table.rows, table.spans)
        )


def test_pieces_of_a_film_by_their_names():
    rows = [
        (f"v_Archery_g{g:02d}_c{c:02d}.avi", "Archery") for g in range(1, 8) for c in range(1, 5)
    ]
    rows += [
        (f"{id_}_{s:06d}_{s + 10:06d}.mp4", "dance")
        for id_ in ("-3B32lodo2M", "0kZ4-dzjVrg", "4YTwq0-73Y8")
        for s in (3, 59)
    ]
    train, tests = held_out(table_of(*rows), 0.3, ".")
    sides = [
        {path.stem[: 13 if path.stem.startswith("v_") else 11] for path in films_of(part)}
        for part in (train, tests)
    ]
    assert not sides[0] & sides[1] and len(sides[1]) == 3
    assert len(tests) == 2 * 4 + 2
    assert film_of(Path("a/v_Archery_g08_c01.avi")) == film_of(Path("b/v_Archery_g08_c04.mkv"))
    assert film_of(Path("a/v 1.5.avi"), Path("a")) == film_of(Path("a/v 1.5.mp4"), Path("a"))
    assert film_of(Path("a/2LKUAbVIeEk_000012_000022.mp4"), Path("a")) == "2LKUAbVIeEk"


def test_frames_of_a_film_that_an_image_model_learns_from(tmp_path):
    touch(
        tmp_path,
        *(
            f"{label}/film {film}/img_{k:03d}.jpg"
            for label in "ab"
            for film in range(4)
            for k in range(5)
        ),
    )
    table = VideoTable.from_folder(tmp_path, 1, 1, None)
    train, tests = held_out(table, 0.25, tmp_path)
    assert len(tests) == 10 and len(train) == 30
    folders = [{path.parent for path in films_of(part)} for part in (train, tests)]
    assert not folders[0] & folders[1] and len(folders[1]) == 2


def test_a_class_of_one_film_is_told_of():
    train, tests = held_out(table_of(("1.mp4", "a"), ("2.mp4", "a"), ("3.mp4", "b")), 0.5, ".")
    assert len(train) == 2 and tests.labels.tolist() == [0]
    assert tests.notes[0] == "1 class is not tested, as no film of it can be spared: b"
    with pytest.raises(
        ValueError, match="has 2 in 2 classes, and none that can be spared: give --tests"
    ):
        held_out(table_of(("1.mp4", "a"), ("3.mp4", "b")), 0.5, ".")


# -- balance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(90, 9, 1), (5, 5, 5), (7, 0, 2), (1,)])
def test_classes_take_turns(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    drawn = balanced(labels, np.random.default_rng(0))
    assert len(drawn) == len(labels)
    often = np.bincount(labels[drawn], minlength=len(counts))
    present = [count for count, there in zip(often, counts) if there]
    assert max(present) - min(present) <= 1
    assert all(not count for count, there in zip(often, counts) if not there)
    for label, there in enumerate(counts):  # none of a class comes again before all others did
        own = np.bincount(drawn[labels[drawn] == label], minlength=len(labels))[labels == label]
        assert not there or own.max() - own.min() <= 1
    kinds = sum(count > 0 for count in counts)
    whole = labels[drawn][: len(labels) // kinds * kinds].reshape(-1, kinds)
    assert all(len(set(turn)) == kinds for turn in whole)


def test_a_loader_balances_and_goes_on_anywhere():
    labels = np.repeat([0, 1, 2], [40, 4, 4])
    data = ArrayClips(np.zeros((48, 1, 2, 2, 1), np.uint8), labels, ("a", "b", "c"))
    options = dict(batch=6, augment=lambda clip, rng: clip.astype(np.float32), balance=True)
    loader = Loader(data, **options, workers=0)
    targets = [targets for _, targets in loader.batches(0, 3 * loader.steps_per_epoch)]
    assert loader.steps_per_epoch == 8 and np.sum(targets, axis=(0, 1)).tolist() == [48] * 3
    threads = Loader(data, **options, workers=2)
    for a, (_, b) in zip(targets[11:], threads.batches(11, 24)):
        np.testing.assert_array_equal(a, b)
    assert loader.names_at(5) == threads.names_at(5)
    plain = Loader(data, **options | {"balance": False}, workers=0)
    assert np.sum([t for _, t in plain.batches(0, 8)], axis=(0, 1)).tolist() == [40, 4, 4]
