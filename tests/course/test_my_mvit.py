"""The reader's own model: pieces put together are mv.forward, differentiate, train, and add up in a
file.
"""

import dataclasses
import sys
import textwrap

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import course, ops
from mvit_np.course import _ALL

CONFIG = mv.preset("mvit_micro")
EQUAL = "assembled, its logits and gradients are those of mv.forward"
SOLUTIONS = {piece: _ALL[piece].solution for piece in course.pieces()}


def example(config=CONFIG, dtype=np.float64):
    rng = np.random.default_rng(0)
    params = mv.tree.map(
        lambda p: (p + rng.standard_normal(p.shape) / 10).astype(dtype), mv.init(config, rng)
    )
    return params, rng.standard_normal((2, *config.thw, config.channels)).astype(dtype)


def distance(forward, config=CONFIG):
    params, clip = example(config)
    return np.abs(forward(params, clip, config) - mv.forward(params, clip, config)).max()


# -- put together ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(len(SOLUTIONS) + 1))
def test_after_each_piece_the_whole_is_the_package_s_model(count):
    forward = course.assemble(dict(list(SOLUTIONS.items())[:count]))
    assert distance(forward) < 1e-12


@pytest.mark.parametrize("chapter", ["01", "02", "03", "04", "05"])
def test_after_each_chapter_the_check_says_how_far_it_is(chapter):
    so_far = {name: f for name, f in SOLUTIONS.items() if name[:2] <= chapter}
    result = course.check_model(so_far)
    assert result, result
    assert f"{len(so_far)} of {len(SOLUTIONS)} pieces are yours and right" in str(result)
    assert result.finished == (chapter == "05") == ("stand in" not in str(result))
    assert "its logits and gradients are those of mv.forward, within 1e-12" in str(result)


def test_other_sizes_are_served_too():
    sizes = {"frames": 4, "size": 16, "channels": 2, "dim": 8, "num_classes": 5, "depths": (2, 1)}
    config = dataclasses.replace(CONFIG, **sizes, stride_kv=(2, 2, 2), heads=2)
    assert distance(course.assemble(SOLUTIONS), config) < 1e-12


@pytest.mark.parametrize("name", course.pieces())
def test_the_reader_s_pieces_are_the_ones_that_run(name):
    calls = []

    def noted(*args):
        calls.append(args)
        return SOLUTIONS[name](*args)

    assert distance(course.assemble({name: noted})) < 1e-12 and calls


def test_two_readers_do_not_meet():
    right = course.assemble(SOLUTIONS)
    wrong = course.assemble({"03.softmax": lambda x: 0 * x})
    assert distance(right) < 1e-12 < distance(wrong)
    assert distance(course.assemble({})) < 1e-12


def test_a_piece_of_the_reader_s_or_one_that_does_the_same(tmp_path):
    missing = tmp_path / "my_mvit.py"
    assert course.piece("03.softmax", missing) is SOLUTIONS["03.softmax"]
    assert course.piece("03.softmax", {"03.softmax": np.exp}) is np.exp
    with pytest.raises(ValueError, match="there is no exercise"):
        course.piece("03.nothing", missing)


def test_two_exercises_with_one_function_name_do_not_mix(tmp_path):
    """03.softmax_backward(p, dp) is no piece; 06.softmax_backward(x, dp, scale) is one."""
    first, second = (_ALL[f"{chapter}.softmax_backward"].solution for chapter in ("03", "06"))
    file = tmp_path / "my_mvit.py"
    refused = str(course.keep(file, first))
    assert "06.softmax_backward: the arguments are (x, dp, scale)" in refused and not file.exists()
    assert course.keep(file, second)
    assert course.piece("03.softmax_backward", file) is first
    kept = course.piece("06.softmax_backward", file)
    assert kept is not second and course.check("06.softmax_backward", kept)
    both = {"06.softmax_backward": np.exp, "03.softmax_backward": np.log}
    assert course.piece("06.softmax_backward", both) is np.exp


# -- gradients -------------------------------------------------------------------------------------


def loss_of(forward):
    def loss(params, clip):
        return mv.cross_entropy(forward(params, clip, CONFIG), np.array([0, 1]))

    return mv.value_and_grad(loss)


def test_gradients_through_the_reader_s_functions_are_the_model_s():
    params, clip = example()
    loss, came = loss_of(course.assemble(SOLUTIONS))(params, clip)
    expected_loss, expected = loss_of(mv.forward)(params, clip)
    assert abs(loss - expected_loss) < 1e-12
    for (path, ours), (_, theirs) in zip(mv.tree.paths(came), mv.tree.paths(expected)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12, err_msg=path)


def conv_by_taps(x, weight, stride, padding):
    """Another way: a sum over the filter's entries, each of one strided slice."""
    wide = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)])
    grid = [(n - k) // s + 1 for n, k, s in zip(wide.shape[1:4], weight.shape, stride)]
    y = 0
    for at in np.ndindex(weight.shape[:3]):
        cut = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(at, stride, grid))
        y = y + weight[at] * wide[(slice(None), *cut)]
    return y


def softmax_by_ufuncs(x):
    e = np.exp(np.subtract(x, np.max(x, axis=-1, keepdims=True)))
    return np.divide(e, np.sum(e, axis=-1, keepdims=True))


def attention_by_einsum(q, k, v):
    scores = np.einsum("bqd,bkd->bqk", q, k) / q.shape[-1] ** 0.5
    return np.einsum("bqk,bkd->bqd", softmax_by_ufuncs(scores), v)


def split_heads_by_stack(x, heads):
    return np.stack(np.split(x, heads, axis=-1), axis=1)


def test_other_ways_to_write_a_piece_are_traced_too():
    others = {
        "02.depthwise_conv": conv_by_taps,
        "03.softmax": softmax_by_ufuncs,
        "03.attention": attention_by_einsum,
        "04.split_heads": split_heads_by_stack,
    }
    result = course.check_model(others)
    assert result, result
    assert "4 of 15 pieces are yours and right" in str(result)


def writing_into_an_empty_array(x):
    y = np.empty(x.shape, x.dtype)
    for i in range(len(x)):
        y[i] = ops.softmax(x[i])
    return y


def test_a_piece_that_writes_into_an_array_gets_one_clear_sentence():
    assert course.check("03.softmax", writing_into_an_empty_array)  # right, but not traced
    result = course.check_model({"03.softmax": writing_into_an_empty_array})
    assert not result
    assert "`y[i] = ops.softmax(x[i])` with TypeError: a traced array cannot be copied" in str(
        result
    )
    assert "collect the parts in a list, and join them with np.stack" in str(result)


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_wrong_piece_is_named_and_left_out():
    def softmax(x):
        return np.exp(x) / np.exp(x).sum(axis=0)

    result = course.check_model({"03.softmax": softmax, "05.head": SOLUTIONS["05.head"]}, seed=1)
    assert not result and "03.softmax: not yet" in str(result)
    assert "1 of 15 pieces are yours and right" in str(result) and EQUAL in str(result)


def test_an_unfinished_stub_is_no_mistake():
    def head(params, x):
        token = ...
        return token @ params["head"]["w"]

    result = course.check_model({"05.head": head})
    assert result and not result.finished
    assert "stand in for the other 15; the next is 01.cube_embed" in str(result)


# -- the reader's file -----------------------------------------------------------------------------


def reader_module(tmp_path, name, text):
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    space = {"__name__": name, "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space


def test_right_answers_add_up_in_a_file(tmp_path):
    cells = reader_module(
        tmp_path,
        "cells",
        """
        import numpy as np

        def shifted(x):
            return x - x.max(axis=-1, keepdims=True)

        def softmax(x):
            e = np.exp(shifted(x))
            return e / e.sum(axis=-1, keepdims=True)

        def attention(q, k, v):
            return softmax(q @ k.swapaxes(-1, -2)) @ v

        def split_heads(x, heads):
            split = ...
            return split

        def scores(q, k):
            return q @ k.swapaxes(-1, -2)
        """,
    )
    file = tmp_path / "my_mvit.py"
    result = course.keep(file, *(cells[name] for name in (
        "softmax", "attention", "split_heads", "scores")))  # fmt: skip
    assert not result and f"softmax: right, and kept in {file}" in str(result)
    assert "attention: not kept\n  03.attention: not yet" in str(result)
    assert "split_heads: not kept" in str(result)
    assert "scores: no piece of the model" in str(result)
    text = file.read_text()
    assert text.count("def ") == 2 and "def shifted(x)" in text and "def softmax(x)" in text
    assert "1 of 15 pieces are yours and right" in str(course.check_model(file))

    again = reader_module(
        tmp_path,
        "later",
        """
        from mvit_np import ops

        def softmax(x):
            return ops.softmax(x)
        """,
    )
    assert course.keep(file, again["softmax"])
    assert file.read_text().count("def softmax(x)") == 1
    assert course.check_model(file) and distance(course.assemble(file)) < 1e-12


def test_a_file_of_all_printed_solutions_is_a_whole_model(tmp_path):
    file = tmp_path / "my_mvit.py"
    head = "import numpy as np\nfrom mvit_np import ops, plan"
    file.write_text("\n\n\n".join([head, *map(course.solution, course.pieces())]))
    result = course.check_model(file)
    assert result and result.finished, result
    sys.path.insert(0, str(tmp_path))
    try:
        import my_mvit
    finally:
        sys.path.pop(0)
        sys.modules.pop("my_mvit", None)
    params, clip = example()
    np.testing.assert_allclose(
        my_mvit.forward(params, clip, CONFIG), mv.forward(params, clip, CONFIG), atol=1e-12
    )


@pytest.mark.parametrize("text, told", [("def f(:\n", "line 1 is none")])
def test_a_file_that_is_no_python_is_refused_in_a_sentence(tmp_path, text, told):
    file = tmp_path / "my_mvit.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        course.keep(file, SOLUTIONS["03.softmax"])
