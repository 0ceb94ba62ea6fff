"""The checker: what it refuses, what it does not say, whom it blames, seeds and hints."""

import numpy as np
import pytest

from mvit_np import course, ops
from mvit_np.course import _ALL

SEEDS = range(5)


def said(name, answer, **how):
    result = course.check(name, answer, **how)
    assert not result
    return str(result)


# -- wrong answers that were taken for right ones --------------------------------------------------


def max_pool_padded_by(number):
    def wrong(x, kernel, stride, padding):
        pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
        wide = np.pad(x, pads, constant_values=number)
        return _ALL["02.max_pool"].solution(wide, kernel, stride, (0, 0, 0))

    return wrong


def skip_padded_by_half_of_the_kernel(x, thw, stride):
    kernel = tuple(s + 1 if s > 1 else 1 for s in stride)
    padding = tuple(k // 2 for k in kernel)
    grid = ops.max_pool(x[:, 1:].reshape(len(x), *thw, x.shape[-1]), kernel, stride, padding)
    return np.concatenate([x[:, :1], grid.reshape(len(x), -1, x.shape[-1])], axis=1)


def skip_on_all_tokens(tokens_in, tokens_q, tokens_kv, dim, dim_out):
    attention = 3 * tokens_in * dim * dim + 2 * tokens_q * tokens_kv * dim + tokens_q * dim * dim
    mlp = tokens_q * 4 * dim * (dim + dim_out)
    return attention + mlp + (tokens_in * dim * dim_out if dim_out != dim else 0)


def attention_that_overflows(q, k, v):
    e = np.exp(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
    return e / e.sum(axis=-1, keepdims=True) @ v


def winner_from_zero(x, dy, kernel, stride):
    """The gradient of a maximum that begins at 0 where it should begin at -inf."""
    dx = np.zeros_like(x)
    for i, d_window in enumerate(dy):
        for channel in range(x.shape[1]):
            best, at = 0, None
            for j in range(i * stride, i * stride + kernel):
                if x[j, channel] > best:
                    best, at = x[j, channel], j
            if at is not None:
                dx[at, channel] += d_window[channel]
    return dx


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name, wrong, likely",
    [
        ("02.max_pool", max_pool_padded_by(-3), "pad with -inf"),
        ("02.max_pool", max_pool_padded_by(-100), None),
        ("04.pooled_skip", skip_padded_by_half_of_the_kernel, "half of the stride: s // 2"),
        ("05.block_macs", skip_on_all_tokens, "the skip widens the pooled tokens"),
        ("03.attention", attention_that_overflows, "exp overflows"),
        ("06.max_pool_backward", winner_from_zero, None),
    ],
)
def test_wrong_answers_that_small_positive_or_even_sizes_hide(name, wrong, likely, seed):
    result = course.check(name, wrong, seed=seed)
    assert not result and (likely is None or likely in result.likely)


# -- what a refusal must not say -------------------------------------------------------------------


def max_over_the_wrong_axes(x, kernel, stride, padding):
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    wide = np.pad(x, pads, constant_values=-np.inf)
    grid = _ALL["01.grid_size"].solution(x.shape[1:4], kernel, stride, padding)
    y = np.empty((len(x), *grid, x.shape[-1]))
    for at in np.ndindex(*grid):
        window = wide[(slice(None), *(slice(s * i, s * i + k)
                                      for s, i, k in zip(stride, at, kernel)))]  # fmt: skip
        y[(slice(None), *at)] = window.max(axis=(2, 3))
    return y


def conv_without_the_axis_of_heads(x, weight, stride, padding):
    window = x[:, : weight.shape[0], : weight.shape[1], : weight.shape[2]]
    return (weight * window).sum(axis=(1, 2, 3))


def positions_of_another_shape(x, cls, pos_class, pos_spatial, pos_temporal):
    x = x + (pos_temporal[:, None] + pos_spatial)
    first = np.broadcast_to(cls + pos_class, (len(x), 1, x.shape[-1]))
    return np.concatenate([first, x], axis=1)


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("02.max_pool", max_over_the_wrong_axes),
        ("02.depthwise_conv", conv_without_the_axis_of_heads),
        ("01.add_class_and_positions", positions_of_another_shape),
    ],
)
def test_keepdims_is_named_only_where_it_is_the_cause(name, wrong):
    message = said(name, wrong)
    assert "broadcast" in message and "keepdims" not in message


def test_keepdims_is_named_where_it_is_the_cause_in_a_helper():
    def normed(x):
        return (x - x.mean(-1)) / np.sqrt(x.var(-1) + 1e-6)

    def mlp_block(x, g, b, w1, b1, w2, b2):
        return x + ops.gelu((g * normed(x) + b) @ w1 + b1) @ w2 + b2

    assert "(is a keepdims=True missing?)" in said("05.mlp_block", mlp_block)


def with_a_small_number(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / (e.sum(axis=-1, keepdims=True) + 1e-8)


def with_another_eps(x, g, b, w1, b1, w2, b2):
    z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x + ops.gelu((g * z + b) @ w1 + b1) @ w2 + b2


@pytest.mark.parametrize(
    "name, wrong", [("03.softmax", with_a_small_number), ("05.mlp_block", with_another_eps)]
)
def test_numbers_that_are_nearly_right_are_shown_apart(name, wrong):
    for seed in SEEDS:
        message = said(name, wrong, seed=seed)
        came, right = message.partition("]: ")[2].split(" is right")[0].split(" where ")
        assert came != right and "times the right number" not in message
        assert "everywhere: the formula is right but for a small number, such as an eps" in message


def test_a_complex_step_is_told_why_it_is_refused():
    def complex_step(f, x, h):
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            moved = x.astype(complex)
            moved[index] += 1j * h
            gradient[index] = f(moved).imag / h
        return gradient

    assert "likely: a complex step needs an f of complex numbers" in said(
        "06.finite_difference", complex_step
    )


def test_patterns_of_wrong_numbers():
    right = _ALL["03.softmax"].solution
    assert "(+0.5 on top of the right number, everywhere)" in said(
        "03.softmax", lambda x: right(x) + 0.5
    )
    assert "(the right numbers, in another order)" in said(
        "03.softmax", lambda x: right(x)[..., ::-1]
    )
    first_row = np.array([[3.0], [1], [1], [1]])
    assert "(all of them at [0, :])" in said("03.softmax", lambda x: right(x) * first_row)
    assert "(none of them at [0, :])" in said(
        "03.softmax", lambda x: right(x) * np.array([[1], [2.0], [3], [4]])
    )


# -- the reader's other functions ------------------------------------------------------------------

READER = """
def softmax(x):
    return {softmax}

def weights_of(q, k):
    return softmax(q @ k.swapaxes(-1, -2) / {scale})

def attention(q, k, v):
    return weights_of(q, k) @ v
"""
RIGHT = "np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)"  # noqa: E501


def reader(softmax=RIGHT, scale="q.shape[-1] ** 0.5"):
    space = {"np": np}
    exec(READER.format(softmax=softmax, scale=scale), space)
    return space


def test_an_answer_that_is_wrong_because_of_another_says_so():
    space = reader(softmax="np.exp(x) / np.exp(x).sum()")
    wrong = space["softmax"]
    message = said("03.attention", space["attention"])
    assert "its own lines are right, but it calls your `softmax`, which is not" in message
    assert 'first: check("03.softmax", softmax)' in message
    assert space["softmax"] is wrong  # it was put back


def test_an_answer_that_calls_another_that_is_not_there_says_which():
    space = reader()
    del space["softmax"]
    message = said("03.attention", space["attention"])
    assert "it calls `softmax`, which is not there: write 03.softmax, or softmax = " in message


def test_of_two_exercises_with_one_function_name_that_of_the_same_chapter_is_missed():
    space = {"np": np, "ops": ops}
    exec(course.solution("06.attention_backward"), space)
    message = said("06.attention_backward", space["attention_backward"])
    assert "it calls `softmax_backward`, which is not there: write 06.softmax_backward" in message


def test_an_answer_that_is_wrong_itself_as_well_is_told_its_own_mistake():
    message = said("03.attention", reader("np.exp(x) / np.exp(x).sum()", "1")["attention"])
    assert "likely: the scale is missing" in message


def test_an_answer_that_is_wrong_alone_blames_nobody():
    message = said("03.attention", reader(scale="1")["attention"])
    assert "likely: the scale is missing" in message and "it calls your" not in message
    assert course.check("03.attention", reader()["attention"])


# -- seeds and steps -------------------------------------------------------------------------------


def test_a_table_of_numbers_does_not_pass():
    """The answers to one seed, looked up by the arguments."""
    seen = {}
    solution = _ALL["02.pool_length"].solution

    def remembered(*sizes):
        return seen.setdefault(sizes, solution(*sizes))

    assert course.check("02.pool_length", remembered, seed=0)
    table = dict(seen)
    assert not course.check("02.pool_length", lambda *sizes: table.get(sizes, 0), seed=1)


@pytest.mark.parametrize("name", course.names())
def test_every_exercise_draws_its_numbers_anew(name):
    def drawn(seed):
        cases = list(_ALL[name].cases(np.random.default_rng(seed)))
        return [x.tolist() if isinstance(x, np.ndarray) else str(x) for args in cases for x in args]

    assert drawn(1) == drawn(1) or name == "06.finite_difference"
    assert any(drawn(0) != drawn(seed) for seed in (1, 2, 3))


def test_a_refusal_names_its_seed_which_draws_the_same_again():
    def wrong(x):
        return 2 * _ALL["03.softmax"].solution(x)

    first = course.check("03.softmax", wrong)
    assert f"; seed={first.seed}" in first.message
    assert str(course.check("03.softmax", wrong, seed=first.seed)) == str(first)
    assert len({course.check("03.softmax", wrong).seed for _ in range(5)}) > 1


def test_hints_come_in_steps():
    def wrong(x, g, dy, eps):
        dx, dg, db = _ALL["06.layer_norm_backward"].solution(x, g, dy, eps)
        return dx, dg.sum() + 0 * dg, db

    texts = [said("06.layer_norm_backward", wrong, seed=3, hints=step) for step in (1, 2, 3, 4)]
    assert "a hint: hints=2 adds what kind" in texts[0] and "dg is off in" in texts[0]
    plain = [text.partition("\n  a hint")[0] for text in texts]
    assert all(short in long for short, long in zip(plain[1:], plain[2:]))
    assert "def layer_norm_backward(" in texts[3] and "a hint:" not in texts[3]
    assert "def layer_norm_backward(" not in texts[2] and "from the derivation:" in texts[2]

    kind = _ALL["06.layer_norm_backward"].mistakes[0]
    where, what = (said("06.layer_norm_backward", kind[1], hints=step) for step in (1, 2))
    assert "likely" not in where and f"likely: {kind[0]}" in what
    line = said("06.layer_norm_backward", kind[1], hints=3)
    assert "dx = r (dz - mean(dz) - z mean(z dz))" in line and "Hint: with" not in line


@pytest.mark.parametrize("hints", [0, 5, "2", True, None])
def test_another_number_of_hints_is_refused(hints):
    with pytest.raises(ValueError, match="hints are given in steps from 1"):
        course.check("03.softmax", np.exp, hints=hints)
