"""Batches against a loop that says what is in them, whatever the threads, the ranks, the step begun
at, and what breaks.
"""

import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest

from mvit_np import data
from mvit_np.data.datasets import ArrayClips, BrokenExample
from mvit_np.data.loader import TRIES, Loader, run_ahead
from mvit_np.data.mixing import mix
from mvit_np.data.rand_augment import rand_augment
from mvit_np.data.transforms import random_erasing, random_flip, random_resized_crop
from mvit_np.data.video_table import VideoTable

N, CLASSES = 26, 3
PLAIN = {"batch": 8, "seed": 5}


def numbered(count=N):
    """Clip k is full of the number k, and of class k mod 3."""
    clips = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None, None], (count, 2, 3, 4, 1)
    )
    return ArrayClips(clips, np.arange(count) % CLASSES, ("a", "b", "c"))


def noisy(clip, rng):
    """The number before the point, what was drawn behind it."""
    return (clip + rng.uniform(0, 0.9, clip.shape)).astype(np.float32)


def jittery(clip, rng):
    """The same, finished at any time and in any order."""
    time.sleep(np.random.default_rng().uniform(0, 0.004))
    return noisy(clip, rng)


def swap_some(clips, targets, rng_of_pair):
    """Half and half, for pairs that draw it."""
    for pair in range(len(clips) // 2):
        two = slice(2 * pair, 2 * pair + 2)
        share = np.float32(rng_of_pair(pair).uniform())
        clips[two] = share * clips[two] + (1 - share) * clips[two][::-1]
        targets[two] = share * targets[two] + (1 - share) * targets[two][::-1]
    return clips, targets


class Breaking:
    """A data set some of whose examples cannot be read; counts what is asked of it."""

    def __init__(self, data, broken=(), error=BrokenExample):
        self.data, self.broken, self.error, self.asked = data, set(broken), error, 0
        self.classes, self.labels, self.name_of = data.classes, data.labels, data.name_of

    def __len__(self):
        return len(self.data)

    def clip(self, index, rng):
        self.asked += 1
        if index in self.broken:
            rng.uniform()
            raise self.error(self.name_of(index), f"{self.name_of(index)} is empty")
        return self.data.clip(index, rng)


def run(data=None, steps=(0, 7), **options):
    return list(Loader(data or numbered(), **PLAIN | {"augment": noisy} | options).batches(*steps))


def content(batches):
    """All their bytes."""
    return [tuple((x.dtype.str, x.shape, x.tobytes()) for x in batch) for batch in batches]


def indices(clips):
    """Which clips of `numbered` these are."""
    return np.floor(clips[:, 0, 0, 0, 0]).astype(int).tolist()


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("mvit-np")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not threads()


# -- what is in a batch ----------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_what_the_definition_says(workers, repeats):
    chosen = 8 // repeats
    per_epoch = N // chosen
    for step, (clips, targets) in enumerate(run(steps=(0, 9), repeats=repeats, workers=workers)):
        order = np.random.default_rng([5, 0, step // per_epoch]).permutation(N)
        for slot in range(8):
            index = order[step % per_epoch * chosen + slot % chosen]
            truth = noisy(np.full((2, 3, 4, 1), index), np.random.default_rng([5, 1, step, slot]))
            assert clips.dtype == targets.dtype == np.float32
            np.testing.assert_array_equal(clips[slot], truth)
            np.testing.assert_array_equal(targets[slot], np.arange(CLASSES) == index % CLASSES)


def test_each_epoch_has_every_example_once_in_a_new_order():
    loader = Loader(numbered(24), augment=noisy, **PLAIN)
    assert loader.steps_per_epoch == 3
    epochs = [
        sum((indices(clips) for clips, _ in loader.batches(3 * e, 3 * e + 3)), []) for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    other = Loader(numbered(24), augment=noisy, batch=8, seed=6)
    assert indices(next(other.batches(0, 1))[0]) != epochs[0][:8]


@pytest.mark.parametrize("repeats", [2, 4])
def test_repeats_of_an_example_differ_and_are_no_neighbours(repeats):
    for clips, _ in run(repeats=repeats):
        found = indices(clips)
        assert all(found.count(index) == repeats for index in found)
        assert all(a != b for a, b in zip(found[::2], found[1::2]))
        assert len({clip.tobytes() for clip in clips}) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs_are_mixed_by_draws_of_their_step_and_place(workers):
    plain, mixed = run(workers=workers), run(workers=workers, mix=swap_some)
    for step, (clips, targets) in enumerate(plain):
        for pair in range(4):
            share = np.random.default_rng([5, 2, step, pair]).uniform()
            for one, other in ((2 * pair, 2 * pair + 1), (2 * pair + 1, 2 * pair)):
                truth = share * clips[one] + (1 - share) * clips[other]
                np.testing.assert_allclose(mixed[step][0][one], truth, rtol=1e-5)
                np.testing.assert_allclose(
                    mixed[step][1][one],
                    share * targets[one] + (1 - share) * targets[other],
                    rtol=1e-5,
                )


@pytest.mark.parametrize("mix", [None, swap_some])
def test_the_number_of_workers_changes_no_byte(mix):
    data = Breaking(numbered(), broken=(3, 4, 25))
    runs = [
        run(data, augment=jittery, mix=mix, workers=n, on_broken=lambda *_: None) for n in (0, 1, 3)
    ]
    assert len(runs[0]) == 7 and content(runs[0]) == content(runs[1]) == content(runs[2])


def test_nor_does_it_with_the_whole_recipe(rng):
    clips = rng.integers(0, 256, (8, 2, 40, 50, 3), dtype=np.uint8)
    data = ArrayClips(clips, np.arange(8) % CLASSES, ("a", "b", "c"))

    def augment(clip, rng):
        clip = random_flip(random_resized_crop(clip, (24, 24), rng), rng)
        return random_erasing(rand_augment(clip, rng).astype(np.float32) / 255, rng, p=0.5)

    runs = [content(run(data, (0, 4), augment=augment, mix=mix, workers=n)) for n in (0, 1, 3)]
    assert runs[0] == runs[1] == runs[2] and len(set(runs[0])) == 4


@pytest.mark.parametrize("workers", [0, 3])
def test_a_run_may_begin_at_any_step(workers):
    whole = content(run(steps=(0, 11), workers=workers, mix=swap_some))
    for first in (1, 3, 10, 11):
        assert content(run(steps=(first, 11), workers=workers, mix=swap_some)) == whole[first:]


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_parts_of_all_ranks_are_the_whole_batch(ranks, repeats):
    whole = run(mix=swap_some, repeats=repeats)
    parts = [
        run(mix=swap_some, repeats=repeats, shard=(rank, ranks), workers=rank)
        for rank in range(ranks)
    ]
    for step, batch in enumerate(whole):
        joined = [np.concatenate(pieces) for pieces in zip(*(part[step] for part in parts))]
        assert content([joined]) == content([batch])


def test_former_names_are_still_there():
    assert data.FilmTable is data.VideoTable and data.draw is data.rng_for
    assert {"FilmTable", "VideoTable", "draw", "rng_for"} <= set(data.__all__)


def test_the_state_of_numpys_own_generator_plays_no_part():
    np.random.seed(1)
    first = content(run())
    np.random.seed(2)
    assert content(run()) == first


# -- broken examples -------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_broken_examples_are_reported_once_and_replaced_by_the_next(workers):
    """Neighbours too, and the last one, whose next is the first; over several epochs."""
    data, said = Breaking(numbered(), broken=(7, 8, 9, 25)), []
    loader = Loader(
        data, augment=jittery, **PLAIN, workers=workers, on_broken=lambda *words: said.append(words)
    )
    names = []
    for step, (clips, targets) in enumerate(loader.batches(0, 15)):
        order = np.random.default_rng([5, 0, step // 3]).permutation(N)[step % 3 * 8 :][:8]
        expected = [{7: 10, 8: 10, 9: 10, 25: 0}.get(index, index) for index in order.tolist()]
        assert indices(clips) == expected
        assert targets.argmax(1).tolist() == [index % CLASSES for index in expected]
        names.append(loader.names_at(step))
        assert names[-1] == tuple(f"clip {index}" for index in expected)
        for slot, index in enumerate(expected):  # what the broken one drew is undone
            truth = noisy(np.full((2, 3, 4, 1), index), np.random.default_rng([5, 1, step, slot]))
            np.testing.assert_array_equal(clips[slot], truth)
    assert sorted(said) == sorted((f"clip {k}", f"clip {k} is empty") for k in (7, 8, 9, 25))


def test_reports_come_to_the_thread_that_trains_in_the_order_of_the_batches():
    def said(workers):
        found = []
        data = Breaking(numbered(), broken=range(0, N, 2))
        run(
            data,
            augment=jittery,
            workers=workers,
            on_broken=lambda *words: found.append((words, threading.current_thread())),
        )
        return found

    assert said(0) == said(3)
    assert {thread for _, thread in said(3)} == {threading.current_thread()}


def test_without_a_listener_a_warning_is_given():
    with pytest.warns(UserWarning, match="clip 3 is left out: clip 3 is empty") as caught:
        run(Breaking(numbered(8), broken=(3,)))
    assert len(caught) == 1


def test_a_name_commands_no_terminal(tmp_path):
    data = VideoTable(
        [(tmp_path / "\x1b[2Jgone.mp4", "x"), (tmp_path / "line\nbreak.mp4", "x")], 4, 4, None
    )
    loader = Loader(Breaking(numbered(2), broken=()), batch=1, augment=noisy)
    with pytest.warns(UserWarning) as caught:
        for index in range(2):
            loader._hand_over(None, None, [BrokenExample(data.name_of(index), "there is none")])
    for warning, name in zip(caught, (r"\x1b[2Jgone.mp4", r"line\nbreak.mp4")):
        assert str(warning.message) == f"{tmp_path / name} is left out: there is none"


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_if_all_are_broken_there_is_one_error(workers):
    said = []
    with pytest.raises(
        ValueError, match=r"of 26, 26 in a row cannot, the first as clip \d+ is empty: check where"
    ):
        run(
            Breaking(numbered(), broken=range(N)),
            workers=workers,
            on_broken=lambda *words: said.append(words),
        )
    assert not said


def test_the_search_for_one_that_works_ends():
    clips = np.broadcast_to(np.zeros((1, 1, 1, 1, 1), np.uint8), (100_000, 1, 1, 1, 1))
    data = Breaking(ArrayClips(clips, np.zeros(100_000, int), ("a",)), broken=range(100_000))
    with pytest.raises(ValueError, match=f"of 100000, {TRIES} in a row cannot"):
        run(data, workers=0)
    assert data.asked == TRIES


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files(tmp_path, workers):
    """Through the decoder: two that are no film, one after the other, and one that is gone."""
    pytest.importorskip("av")
    from films import counting, numbers, write_film

    from mvit_np.data.video_table import VideoTable

    for k in range(8):
        (tmp_path / "abcd"[k // 2]).mkdir(exist_ok=True)
        write_film(tmp_path / "abcd"[k // 2] / f"{k}.mp4", counting(10 + k)[-1:].repeat(12, 0))
    table, said = VideoTable.from_folder(tmp_path, 2, 3, (16, 16)), []
    (tmp_path / "a/1.mp4").write_bytes(bytes(999))
    (tmp_path / "b/2.mp4").write_bytes(b"")
    (tmp_path / "d/7.mp4").unlink()

    def augment(clip, rng):
        return clip.astype(np.float32)

    loader = Loader(
        table,
        batch=4,
        augment=augment,
        workers=workers,
        on_broken=lambda *words: said.append(words),
    )
    for step, (clips, targets) in enumerate(loader.batches(0, 4)):
        order = np.random.default_rng([0, 0, step // 2]).permutation(8)[step % 2 * 4 :][:4]
        expected = [{1: 3, 2: 3, 7: 0}.get(index, index) for index in order.tolist()]
        assert [numbers(clip) for clip in clips] == [[9 + index] * 2 for index in expected]
        assert targets.argmax(1).tolist() == [index // 2 for index in expected]
    assert sorted(name for name, _ in said) == [
        str(tmp_path / name) for name in ("a/1.mp4", "b/2.mp4", "d/7.mp4")
    ]
    assert all("check" in reason for _, reason in said)


# -- running ahead ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_it_runs_ahead_by_so_many_batches_and_no_more(ahead):
    data = Breaking(numbered())
    loader = Loader(data, augment=noisy, **PLAIN, workers=3, ahead=ahead)
    for step, _ in enumerate(loader.batches(0, 12)):
        expected = 8 * min(step + 1 + ahead, 12)
        deadline = time.monotonic() + 5
        while data.asked < expected and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert data.asked == expected


def test_without_workers_nothing_is_made_before_it_is_asked_for():
    data = Breaking(numbered())
    for step, _ in enumerate(Loader(data, augment=noisy, **PLAIN, workers=0).batches(0, 4)):
        assert data.asked == 8 * (step + 1) and not threads()


def test_batches_that_were_taken_are_not_kept():
    """Clips alive: those ahead, those in hand (twice, while the next is fetched), and one for each
    thread.
    """
    alive, most, lock = 0, 0, threading.Lock()

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            with lock:
                alive -= 1

    def augment(clip, rng):
        nonlocal alive, most
        made = noisy(clip, rng).view(Counted)
        with lock:
            alive += 1
            most = max(most, alive)
        return made

    run_out = Loader(numbered(), augment=augment, **PLAIN, workers=3, ahead=2).batches(0, 40)
    for _ in run_out:
        time.sleep(0.001)
    assert alive == 0 and most <= 8 * (2 + 1) + 3


@pytest.mark.parametrize("way", ["close", "forget", "error"])
def test_threads_end_when_the_batches_are_abandoned(way):
    batches = Loader(numbered(), augment=jittery, **PLAIN, workers=3).batches(0, 1000)
    next(batches)
    assert 1 <= len(threads()) <= 4
    if way == "close":
        batches.close()
    elif way == "forget":
        del batches
    else:
        with pytest.raises(ZeroDivisionError):
            batches.throw(ZeroDivisionError())
    assert not threads()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_other_errors_reach_the_caller(workers):
    def augment(clip, rng):
        if clip[0, 0, 0, 0] == 11:
            raise KeyError("a fault of the program")
        return jittery(clip, rng)

    with pytest.raises(KeyError, match="a fault of the program"):
        run(augment=augment, workers=workers)
    assert not threads()
    with pytest.raises(RuntimeError, match="clip 3"):
        run(Breaking(numbered(), broken=(3,), error=RuntimeError), workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_clips_that_make_no_batch(workers):
    def grows(clip, rng):
        return np.ones((1 + int(clip.max()), 2, 2, 1), np.float32)

    with pytest.raises(
        ValueError, match=r"clips of a batch have one size; came \(\d+, 2, 2, 1\) after \(\d+, 2, 2"
    ):
        run(augment=grows, workers=workers)
    with pytest.raises(
        TypeError, match="augment gives float32; came uint8: end it with a normalisation"
    ):
        run(augment=lambda clip, rng: clip, workers=workers)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch": 0}, "batch is a whole number of at least 1; came 0"),
        ({"batch": 8.0}, "batch is a whole number of at least 1; came 8.0"),
        ({"workers": -1}, "workers is a whole number of at least 0; came -1"),
        ({"ahead": 0}, "ahead is a whole number of at least 1; came 0"),
        ({"seed": -1}, "seed is a whole number of at least 0; came -1"),
        ({"repeats": 3}, "a batch is shared out evenly; came 8 clips for 1 ranks and 3 repeats"),
        ({"shard": (0, 3)}, "a batch is shared out evenly; came 8 clips for 3 ranks and 1 repeats"),
        ({"shard": (2, 2)}, r"rank from 0 to ranks - 1; came \(2, 2\)"),
        (
            {"shard": (0, 8), "mix": swap_some},
            "neighbours are mixed in pairs; a rank has 1 clips: take an even number",
        ),
        ({"batch": 30}, "a batch has 30 different examples, the data set 26: take a smaller batch"),
    ],
)
def test_sizes_that_do_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        Loader(numbered(), **PLAIN | {"augment": noisy} | options)


def test_run_ahead_keeps_the_order_of_its_items():
    from concurrent.futures import ThreadPoolExecutor

    def slow(x):
        time.sleep(0.002 * (x % 3))
        return x * x

    with ThreadPoolExecutor(3) as pool:
        assert list(run_ahead(partial(pool.submit, slow), range(20), 4)) == [
            x * x for x in range(20)
        ]
        assert list(run_ahead(partial(pool.submit, slow), [], 4)) == []


def test_several_runs_of_one_loader_at_once():
    loader = Loader(numbered(), augment=jittery, **PLAIN, workers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = list(zip(loader.batches(0, 5), loader.batches(0, 5)))
    assert content(a for a, _ in pairs) == content(b for _, b in pairs)
