"""A reader's own model is trained by gradients through its own lines."""

import dataclasses

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import cli, course
from mvit_np.data.sets.motion import MotionClips
from mvit_np.studies.own_model import GOAL, train_own

SMALL = dataclasses.replace(
    mv.preset("mvit_micro"), frames=4, size=16, dim=8, depths=(1, 1), stride_kv=(1, 2, 2)
)


def moving_bars(count, rng):
    """Clips of a bar that moves to the left (0) or to the right (1)."""
    labels = rng.integers(0, 2, count)
    clips = 0.1 * rng.standard_normal((count, 4, 16, 16, 1))
    for clip, label, start in zip(clips, labels, rng.integers(0, 16, count)):
        for frame in range(4):
            clip[frame, :, (start + (2 * label - 1) * 2 * frame) % 16] += 2
    return clips.astype(np.float32), labels


def bars(rng):
    train, test = moving_bars(480, rng), moving_bars(100, rng)
    nowhere = np.zeros(0, int)
    return MotionClips(*train, nowhere, *test, nowhere, ("bars",))


def test_the_printed_solutions_put_together_learn():
    steps = []
    trained = train_own(
        course.assemble({}),
        bars(np.random.default_rng(0)),
        SMALL,
        60,
        on_step=lambda *s: steps.append(s),
    )
    assert trained.accuracy >= GOAL and np.mean(trained.losses[-5:]) < 0.3 < trained.losses[0]
    assert steps == list(enumerate(trained.losses))
    assert {p.dtype for p in mv.tree.leaves(trained.params)} == {np.dtype(np.float32)}


def test_a_model_that_is_blind_to_time_does_not():
    def head(params, x):
        return course.piece("05.head", {})(params, 0 * x)

    blind = course.assemble({"05.head": head})
    assert train_own(blind, bars(np.random.default_rng(0)), SMALL, 10).accuracy < 0.7


@pytest.mark.slow
def test_the_three_ways_make_the_same_steps():
    clips = bars(np.random.default_rng(0))
    losses = {
        way: train_own(
            course.assemble({}), clips, SMALL, 10, gradients=course.gradients({}, way)
        ).losses
        for way in course.WAYS
    }
    plain = train_own(course.assemble({}), clips, SMALL, 10).losses
    for way in course.WAYS:
        np.testing.assert_allclose(losses[way], plain, rtol=0, atol=1e-4, err_msg=way)


def answers(tmp_path):
    file = tmp_path / "my_mvit.py"
    head = "import numpy as np\nfrom mvit_np import ops, plan"
    names = [*course.pieces(), *course.pieces(backward=True)]
    file.write_text("\n\n\n".join([head, *map(course.solution, names)]))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("way", course.WAYS)
def test_on_the_real_films(tmp_path, capsys, way):
    pytest.importorskip("av")
    assert cli.main(["course", "train", str(answers(tmp_path)), "--gradients", way]) == 0
    shown = capsys.readouterr().out
    assert "15 of 15 pieces are yours and right" in shown
    assert "19 of 19 backward passes are yours and right" in shown
    accuracy = shown.splitlines()[-1].split("shots")[1].partition("after")[0]
    assert float(accuracy.strip().rstrip("%")) >= 90


def test_a_wrong_piece_is_told_before_any_training(tmp_path, capsys):
    file = answers(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("x[:, 0]", "x[:, -1]"))
    assert cli.main(["course", "train", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "05.head: not yet" in shown and "the class token is the first" in shown
    assert "accuracy" not in shown


def test_a_wrong_backward_pass_is_told_before_any_training(tmp_path, capsys):
    file = answers(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("return dy * (ndtr(u) + u * density)", "return dy * ndtr(u)"))
    assert cli.main(["course", "train", str(file), "--gradients", "backward"]) == 1
    shown = capsys.readouterr().out
    assert "06.gelu_backward: not yet" in shown and "Phi depends on u too" in shown
    assert "its own lines are right, but it calls your `gelu_backward`" in shown
    assert "accuracy" not in shown


def test_another_way_is_refused_by_the_command(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["course", "train", str(answers(tmp_path)), "--gradients", "magic"])
    assert "invalid choice: 'magic'" in capsys.readouterr().err
    assert cli.course.WAYS == course.WAYS


@pytest.mark.parametrize(
    "text, told",
    [
        (None, "there is no"),
        ("x = 1 / 0\n", "stops at line 1 with ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "stops at line 2 with SystemExit: 3"),
        ("def f(:\n", "is no Python at line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence(tmp_path, capsys, text, told):
    file = tmp_path / "my_mvit.py"
    if text is not None:
        file.write_text(text)
    assert cli.main(["course", "train", str(file)]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
