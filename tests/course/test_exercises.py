"""The exercises: solutions pass, every known mistake is called by its name, and whatever else is
handed in is told well.
"""

import inspect
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import mvit_np as mv
from mvit_np import course as exercises
from mvit_np import ops
from mvit_np.course import _ALL

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks" / "exercises").glob("[0-9]*.py"))
MISTAKES = [
    pytest.param(name, message, wrong, id=f"{name}: {message}")
    for name, exercise in _ALL.items()
    for message, wrong in exercise.mistakes
]


def line(message):
    return f"\n  likely: {message}\n"


def pairs_of(ours, theirs):
    """The arrays or numbers at the same place of two answers, which may be trees of them."""
    if isinstance(theirs, list) and isinstance(theirs[0], (int, list)):
        return [(np.asarray(ours), np.asarray(theirs))]  # whole numbers in rows
    pairs = []
    mv.tree.map(lambda *pair: pairs.append(pair), ours, theirs)
    return pairs


# -- the exercises themselves ----------------------------------------------------------------------


def test_there_are_three_or_more_for_each_notebook():
    for chapter in {name[:2] for name in exercises.names()}:
        assert len(exercises.names(f"{chapter}.")) >= 3, chapter
    assert "03.softmax_backward" in exercises.names("03")
    assert exercises.names() == sorted(exercises.names(), key=lambda name: name[:2])


@pytest.mark.parametrize("name", exercises.names())
def test_the_solution_passes_as_it_is_printed(name):
    namespace = {"np": np, "ops": ops, "prod": prod, "replace": replace}
    namespace |= {"MViTConfig": mv.MViTConfig, "plan": mv.plan, "costs": mv.costs}
    known = [*exercises.pieces(), *exercises.pieces(backward=True)]
    namespace |= {piece[3:]: _ALL[piece].solution for piece in known}
    exec(exercises.solution(name), namespace)
    result = exercises.check(name, namespace[name[3:]])
    assert result, result
    assert str(result).startswith(f"{name}: correct, tried with\n")


def test_what_a_solution_calls_of_the_package_is_shown_with_it():
    shown = {name: exercise.shown for name, exercise in _ALL.items() if exercise.shown}
    assert set(shown) == {
        "01.grid_size",
        "03.softmax",
        "06.linear_backward",
        "06.layer_norm_backward",
    }
    for name, functions in shown.items():
        text = exercises.solution(name)
        for function in functions:
            own = inspect.getsource(function).splitlines()
            assert "\n".join(f"# {line}".rstrip() for line in own) in text


@pytest.mark.parametrize("name", exercises.names())
def test_statements_give_signature_shapes_and_a_hint(name):
    text = exercises.statement(name)
    assert (
        text.startswith(f"{name} ({exercises.exercise(name).level})\n\n{name[3:]}(")
        and "->" in text
        and "Hint: " in text
    )


@pytest.mark.parametrize("name", exercises.names())
def test_solutions_agree_with_the_package_on_other_inputs(name):
    exercise = _ALL[name]
    for args in exercise.cases(np.random.default_rng(7)):
        if exercise.judge:
            expected = exercise.reference(*args)
            assert exercise.judge(exercise.solution(*args), expected, *args) == ""
            assert exercise.judge(expected, expected, *args) == ""
            continue
        for ours, theirs in pairs_of(exercise.solution(*args), exercise.reference(*args)):
            np.testing.assert_allclose(
                ours, theirs, rtol=0, atol=exercise.tolerance * max(1, np.abs(theirs).max())
            )


@pytest.mark.parametrize("name, message, wrong", MISTAKES)
def test_every_known_mistake_is_called_by_its_name(name, message, wrong):
    result = exercises.check(name, wrong)
    assert not result and not result.passed
    assert line(message) in result.message
    others = [line(other) for other, _ in _ALL[name].mistakes if other != message]
    assert not any(other in result.message for other in others)


def test_there_are_five_known_mistakes_or_more_to_each():
    assert all(
        len({message for message, _ in exercise.mistakes}) >= 5 for exercise in _ALL.values()
    )


# -- against truths that the package has no part in ------------------------------------------------


def slope(f, x, dy, h=1e-5):
    """<dy, f> differentiated by every entry of x."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        result[index] = (dy * (f(x + step) - f(x - step))).sum() / (2 * h)
    return result


def windows_max(x, kernel, stride):
    starts = range(0, len(x) - kernel + 1, stride)
    return np.stack([x[i : i + kernel].max(axis=0) for i in starts])


def normed(x, g, b, eps):
    return g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + b


def test_backward_solutions_agree_with_finite_differences():
    rng = np.random.default_rng(3)
    x, w, dy, dx = (
        rng.standard_normal(shape) for shape in ((2, 3, 4), (4, 5), (2, 3, 5), (2, 3, 4))
    )
    g, zero = rng.standard_normal(4), np.zeros(4)
    softmax, solve = (
        scipy.special.softmax,
        {name[3:]: _ALL[name].solution for name in exercises.names("06")},
    )
    near = dict(rtol=0, atol=1e-8)

    found = solve["linear_backward"](x, w, dy)
    np.testing.assert_allclose(found[0], slope(lambda x: x @ w, x, dy), **near)
    np.testing.assert_allclose(found[1], slope(lambda w: x @ w, w, dy), **near)
    np.testing.assert_allclose(found[2], slope(lambda b: x @ w + b, np.zeros(5), dy), **near)

    found = _ALL["03.softmax_backward"].solution(softmax(x, axis=-1), dx)
    np.testing.assert_allclose(found, slope(lambda x: softmax(x, axis=-1), x, dx), **near)
    found = solve["softmax_backward"](x, dx, 1.3)
    np.testing.assert_allclose(found, slope(lambda x: softmax(1.3 * x, axis=-1), x, dx), **near)

    found = solve["layer_norm_backward"](x, g, dx, 0.01)
    np.testing.assert_allclose(found[0], slope(lambda x: normed(x, g, zero, 0.01), x, dx), **near)
    np.testing.assert_allclose(found[1], slope(lambda g: normed(x, g, zero, 0.01), g, dx), **near)
    np.testing.assert_allclose(found[2], slope(lambda b: normed(x, g, b, 0.01), zero, dx), **near)

    tokens, d_windows = rng.standard_normal((9, 3)), rng.standard_normal((4, 3))
    expected = slope(lambda x: windows_max(x, 3, 2), tokens, d_windows)
    np.testing.assert_allclose(
        solve["max_pool_backward"](tokens, d_windows, 3, 2), expected, **near
    )

    found = solve["finite_difference"](lambda x: float((x**3).sum()), x, 1e-4)
    np.testing.assert_allclose(found, 3 * x**2, rtol=0, atol=1e-7)


def windows_that_fit(length, kernel, stride, padding):
    starts = range(-padding, length + padding - kernel + 1, stride)
    return len(starts)


def test_grids_have_as_many_cells_as_windows_fit():
    for sizes in _ALL["01.grid_size"].cases(np.random.default_rng(0)):
        found = _ALL["01.grid_size"].solution(*sizes)
        assert found == tuple(map(windows_that_fit, *sizes))


def test_the_counts_add_up_to_the_model_s():
    config = replace(mv.preset("mvit_b_16x4"), pool="max")
    sizes = [
        (s.tokens_in, s.tokens_q, s.tokens_kv, s.dim_attn, s.dim_out)
        for s in mv.plan(config).blocks
    ]
    counted = sum(_ALL["05.block_macs"].solution(*each) for each in sizes)
    lines = mv.costs(config).lines
    assert counted == sum(line.macs for line in lines[1:-1])


def test_following_next_stage_gives_mvit_b():
    stage = ((8, 56, 56), 96, 1, (1, 8, 8))
    for _ in range(3):
        thw, dim, heads, stride_kv = stage
        stage = _ALL["05.next_stage"].solution(thw, dim, heads, (1, 2, 2), stride_kv)
    assert stage == ((8, 7, 7), 768, 8, (1, 1, 1))


# -- what else students hand in --------------------------------------------------------------------


def said(name, answer):
    result = exercises.check(name, answer)
    assert not result and str(result) == repr(result) == result.message
    return result.message


def right_softmax(x):
    return scipy.special.softmax(x, axis=-1)


def test_a_right_answer_written_otherwise():
    assert exercises.check("03.softmax", right_softmax)
    assert exercises.check(
        "01.grid_size", lambda *sizes: list(_ALL["01.grid_size"].solution(*sizes))
    )
    # with padding k // 2 the grid is rounded up
    assert exercises.check("02.pool_length", lambda n, k, s: np.int64(-(-n // s)))


def test_wrong_shape():
    said_shape = said("03.softmax", lambda x: right_softmax(x)[..., :-1])
    assert (
        "has shape (4, 3) where (4, 4) is right" in said_shape
        and "x.shape=(4, 4) (float64)" in said_shape
    )
    flipped = said(
        "03.attention", lambda q, k, v: _ALL["03.attention"].solution(q, k, v).swapaxes(1, 2)
    )
    assert "has shape (2, 4, 5) where (2, 5, 4) is right: its last two axes are swapped" in flipped


def test_wrong_type():
    assert "is a list of 4: return a NumPy array of shape (4, 4)" in said(
        "03.softmax", lambda x: right_softmax(x).tolist()
    )
    assert "is a single number, 1.5" in said("03.softmax", lambda x: 1.5)
    assert "is of type str" in said("02.pool_length", lambda n, k, s: "7")
    assert "is 7 where (3, 12, 11) is right" in said("01.grid_size", lambda *sizes: 7)
    assert "has dtype int64 where float64 is right" in said(
        "03.softmax", lambda x: np.zeros(x.shape, np.int64)
    )
    floats = said("02.pool_length", lambda n, k, s: float(-(-n // s)))
    assert "the right number but not a whole one (int)" in floats


def test_wrong_dtype():
    message = said(
        "03.attention",
        lambda q, k, v: right_softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])) @ v,
    )
    assert (
        "has dtype float64 where float32 went in" in message
        and "np.sqrt" in message
        and "(float32)" in message
    )


def test_wrong_numbers_that_no_list_foresees():
    assert "(the sign, everywhere)" in said("03.softmax", lambda x: -right_softmax(x))
    assert "(1.5 times the right number, everywhere)" in said(
        "03.softmax", lambda x: 1.5 * right_softmax(x)
    )
    assert "(the last two axes are swapped)" in said(
        "03.softmax", lambda x: right_softmax(x).swapaxes(-1, -2)
    )
    assert "does exp overflow" in said("03.softmax", lambda x: right_softmax(x) / np.zeros_like(x))

    def one_wrong(x):
        p = right_softmax(x)
        p[1, 2] += 1
        return p

    assert "is off in 1 of 16 entries, most at [1, 2]: 1." in said("03.softmax", one_wrong)


def test_an_exception_is_told_with_its_line():
    def failing(x):
        total = x.sum(axis=7)
        return x / total

    message = said("03.softmax", failing)
    assert "`total = x.sum(axis=7)` with AxisError" in message and "at line " in message


def test_an_exception_that_is_a_known_mistake_is_called_by_its_name():
    message = said("04.pooling_attention", _ALL["04.pooling_attention"].mistakes[5][1])
    assert "likely: the values are not pooled" in message and "ValueError" in message


def test_a_lost_axis_that_broadcasting_refuses():
    def without_keepdims(q, k, v):
        scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
        e = np.exp(scores - scores.max(-1, keepdims=True))
        return e / e.sum(axis=-1) @ v

    assert "(is a keepdims=True missing?)" in said("03.attention", without_keepdims)


def test_no_exception_but_the_user_s_own_interrupt_escapes():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exercises.check("03.softmax", interrupted)


ODD = [
    0,
    -1.5,
    True,
    "text",
    b"",
    {},
    [],
    (),
    [[1], [1, 2]],
    object(),
    np.exp,
    np.array(3.0),
    np.array([None]),
    np.zeros(0),
]
ODD += [
    np.ma.masked_all((4, 4)),
    np.full((4, 4), np.nan),
    np.ones((4, 4), complex),
    np.ones((4, 4), bool),
    10**400,
]
ODD += [
    (np.ones(1),) * 3,
    (1, "2", 3),
    (float("nan"),) * 3,
    np.float32(1),
    range(3),
    (..., 1),
    np.array("x"),
    1j,
]


# The cases of these are large, and one checker looks at the answers to all exercises.
LARGE = {
    "01.cube_embed", "02.depthwise_conv", "04.pooling_attention", "06.max_pool_backward",
    "06.attention_layer_backward", "06.block_backward", "06.backward", "06.pool_heads_backward",
    "04.attention_layer", "04.pool_heads", "05.block", "05.forward", "07.growth",
    "07.design_pyramid",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else [])
        for name in exercises.names()
    ],
)
def test_whatever_comes_back_is_told_and_raises_nothing(name):
    for odd in ODD:
        message = said(name, lambda *args, odd=odd: odd)
        assert message.startswith(f"{name}: not yet\n  ") or "nothing yet, still missing" in message

    def endless(*args):
        return endless(*args)

    assert "RecursionError" in said(name, endless)


def test_writing_into_an_input():
    def in_place(p, dp):
        dp -= (p * dp).sum(-1, keepdims=True)
        return p * dp

    assert "writes into its input dp: work on a copy" in said("03.softmax_backward", in_place)


def test_several_results():
    message = said("06.linear_backward", lambda x, w, dy: dy @ w.T)
    assert "return dx, dw, db, a tuple of 3; an array of shape (2, 3, 4) came" in message
    assert "a tuple of 2 came" in said("06.linear_backward", lambda x, w, dy: (x, w))
    right = _ALL["06.linear_backward"].solution
    message = said("06.linear_backward", lambda x, w, dy: (right(x, w, dy)[0], w[:2], dy))
    assert "\n  dw has shape (2, 4) where (4, 4) is right" in message


def test_the_first_of_several_mistakes_is_named():
    def wrong(x, w, dy):
        rows, d_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return dy @ w.T, rows.T @ d_rows / len(rows), d_rows.sum()

    assert "likely: dW is a sum over rows; yours is their mean\n  dw is off" in said(
        "06.linear_backward", wrong
    )


def test_two_mistakes_at_once_are_named_by_one_of_them():
    """Over the wrong axis, and overflowing: the axis shows in most inputs."""
    message = said("03.softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=0, keepdims=True))
    assert "likely: the sum runs over the first axis" in message


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda x: None, "nothing yet, the function returns None"),
        (lambda x: ..., "nothing yet, the function returns `...`"),
        (lambda x: np.exp(...), "nothing yet, a `...` is still in"),
    ],
)
def test_nothing_yet(answer, told):
    assert told in said("03.softmax", answer)
    assert "\n" not in said("03.softmax", answer)


def test_nothing_yet_in_parts():
    def begun(x, w, dy):
        dw = ...
        return dy @ w.T, dw, None

    assert "nothing yet, still missing: dw, db" in said("06.linear_backward", begun)

    def unwritten(x):
        raise NotImplementedError

    assert "nothing yet" in said("03.softmax", unwritten)


def test_no_function_and_the_wrong_arguments():
    assert "hand over the function itself" in said("03.softmax", np.ones(3))
    message = said("03.softmax_backward", lambda p: p)
    assert "the arguments are (p, dp), in this order; yours takes (p)" in message


@pytest.mark.parametrize(
    "name, told",
    [
        ("softmax_backward", "near it are 03.softmax_backward, 06.softmax_backward"),
        ("03.sofmax", "03.softmax"),
        ("zzz", "none is near it"),
        ("", "none is near it"),
        (None, "none is near it"),
    ],
)
def test_an_unknown_name(name, told):
    for ask in (
        exercises.statement,
        exercises.solution,
        lambda name: exercises.check(name, np.exp),
    ):
        with pytest.raises(ValueError, match="there is no exercise") as refused:
            ask(name)
        assert told in str(refused.value) and "names() lists all" in str(refused.value)


def test_the_package_does_not_load_its_exercises():
    code = "import mvit_np, sys; print('mvit_np.course' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


# -- the notebooks ---------------------------------------------------------------------------------


def trains(path):
    """Slow is the notebook whose last cells train the reader's model in three ways."""
    return [pytest.mark.slow] if path.stem == "06c_backward" else []


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=trains(path), id=path.stem) for path in NOTEBOOKS]
)
def test_notebooks_begin_every_exercise_and_solve_none(path):
    stubs, text = runpy.run_path(str(path)), path.read_text()
    begun = re.findall(r'exercises\.check\("(.*?)"', text)
    assert begun and {name[:2] for name in begun} == {path.stem[:2]}
    for name in begun:
        assert (
            f'exercises.check("{name}", {name[3:]})' in text
            and f'print(exercises.solution("{name}"))' in text
        )
        assert "nothing yet" in str(exercises.check(name, stubs[name[3:]]))


def test_there_is_a_notebook_for_each_chapter():
    assert {path.stem[:2] for path in NOTEBOOKS} == {name[:2] for name in exercises.names()}


def test_every_exercise_stands_in_one_notebook():
    texts = "".join(path.read_text() for path in NOTEBOOKS)
    assert all(texts.count(f'exercises.check("{name}",') == 1 for name in exercises.names())
