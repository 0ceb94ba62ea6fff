"""The reader's own way back: every pass against finite differences, and the whole in three ways."""

import dataclasses
from functools import partial

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import course, ops
from mvit_np.backend import tree as trees
from mvit_np.course import _ALL
from mvit_np.course.own_tape import Node, record

CONFIG = mv.preset("mvit_micro")
PASSES = {name[3:]: _ALL[name].solution for name in course.pieces(backward=True)}
FORWARD = {name[3:]: _ALL[name].solution for name in course.names()}
MENDED = [name for name in course.names("06") if name.startswith("06.mend_")]


# -- each pass against finite differences ----------------------------------------------------------

# The forward function of each pass, and which of its arguments have gradients.
GRADIENTS = {
    "gelu_backward": (ops.gelu, (0,)),
    "mlp_backward": (FORWARD["mlp"], range(5)),
    "attention_backward": (FORWARD["attention"], range(3)),
    "depthwise_conv_backward": (FORWARD["depthwise_conv"], (0, 1)),
    "pooled_skip_backward": (FORWARD["pooled_skip"], (0,)),
    "pool_heads_backward": (FORWARD["pool_heads"], (0, 3, 4, 5)),
    "attention_layer_backward": (FORWARD["attention_layer"], (0, 1)),
    "mlp_block_backward": (FORWARD["mlp_block"], range(7)),
    "widening_mlp_backward": (FORWARD["widening_mlp"], range(9)),
    "block_backward": (FORWARD["block"], (0, 1)),
    "head_backward": (FORWARD["head"], (0, 1)),
    "cube_embed_backward": (FORWARD["cube_embed"], (1, 2)),
    "add_class_and_positions_backward": (FORWARD["add_class_and_positions"], range(5)),
    "backward": (FORWARD["forward"], (0,)),
}


def slope_along(f, x, direction, h=1e-5):
    """The derivative of a number f(x) along a direction, by central differences; x is a tree."""
    ahead, behind = (trees.map(lambda a, d, s=s: a + s * d, x, direction) for s in (h, -h))
    return (f(ahead) - f(behind)) / (2 * h)


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_pass_is_the_derivative_of_its_forward(name):
    forward, by = GRADIENTS[name]
    rng = np.random.default_rng(5)
    *args, dy = next(iter(_ALL[f"06.{name}"].cases(rng)))
    found = PASSES[name](*args, dy)
    for place, gradient in zip(by, found if len(by) > 1 else (found,), strict=True):
        direction = trees.map(lambda a: rng.standard_normal(a.shape), args[place])

        def f(x, place=place):
            return (dy * forward(*args[:place], x, *args[place + 1 :])).sum()

        expected = slope_along(f, args[place], direction)
        parts = trees.map(lambda g, d: (g * d).sum(), gradient, direction)
        assert abs(sum(trees.leaves(parts)) - expected) < 1e-6 * max(1, abs(expected)), place


def test_the_loss_s_gradient_is_its_derivative():
    rng = np.random.default_rng(6)
    logits, labels = rng.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    direction = rng.standard_normal((4, 3))

    def loss(x):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(4), labels]).mean()

    found = (PASSES["cross_entropy_backward"](logits, labels) * direction).sum()
    assert abs(found - slope_along(loss, logits, direction)) < 1e-8


# -- other ways to write a pass --------------------------------------------------------------------


def attention_by_jacobian(q, k, v, dy):
    scale = q.shape[-1] ** -0.5
    p = ops.softmax(np.einsum("bqd,bkd->bqk", q, k) * scale)
    jacobian = p[..., None] * (np.eye(p.shape[-1], dtype=p.dtype) - p[..., None, :])
    ds = np.einsum("bqij,bqj->bqi", jacobian, np.einsum("bqe,bke->bqk", dy, v)) * scale
    return (
        np.einsum("bqk,bkd->bqd", ds, k),
        np.einsum("bqk,bqd->bkd", ds, q),
        np.einsum("bqk,bqe->bke", p, dy),
    )


def conv_by_windows(x, weight, stride, padding, dy):
    wide = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)])
    dwide, dweight = np.zeros_like(wide), np.zeros_like(weight)
    for place in np.ndindex(dy.shape[1:4]):
        starts = np.multiply(place, stride)
        window = (slice(None), *(slice(a, a + n) for a, n in zip(starts, weight.shape)))
        d = dy[(slice(None), *place)][:, None, None, None]  # (B, 1, 1, 1, heads, d)
        dwide[window] += weight[:, :, :, None] * d
        dweight += (wide[window] * d).sum(axis=(0, 4))
    cut = tuple(slice(p, n - p) for p, n in zip(padding, wide.shape[1:4]))
    return [dwide[(slice(None), *cut)], dweight]


def cubes_by_sliding_windows(clip, weight, bias, stride, padding, dy):
    wide = np.pad(clip, ((0, 0), *((p, p) for p in padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[:3], axis=(1, 2, 3))
    cubes = windows[:, :: stride[0], :: stride[1], :: stride[2]]  # (B, t, h, w, C, kt, kh, kw)
    d = dy.reshape(*cubes.shape[:4], -1)
    return np.einsum("bthwcijk,bthwd->ijkcd", cubes, d), dy.sum((0, 1))


def tape_by_counting(end, leaves, dy):
    """A node is passed on as soon as all its uses have come; no recursion."""
    uses, todo, seen = {}, [end], {end}
    while todo:
        for parent in todo.pop().parents:
            uses[parent] = uses.get(parent, 0) + 1
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    total, ready = {end: dy}, [end]
    while ready:
        node = ready.pop()
        for parent, came in zip(node.parents, node.pull(total[node]) if node.parents else []):
            total[parent] = total.get(parent, 0) + came
            uses[parent] -= 1
            if not uses[parent]:
                ready.append(parent)
    return [total[leaf] if leaf in total else np.zeros(leaf.shape) for leaf in leaves]


def gelu_by_erf(u, dy):
    from scipy.special import erf

    return dy * (0.5 * (1 + erf(u / 2**0.5)) + u * np.exp(-u * u / 2) / (2 * np.pi) ** 0.5)


def loss_by_adding_at(logits, labels):
    p = ops.softmax(logits)
    np.subtract.at(p, (np.arange(len(p)), labels), 1)
    return p / len(p)


@pytest.mark.parametrize(
    "name, other",
    [
        ("attention_backward", attention_by_jacobian),
        ("depthwise_conv_backward", conv_by_windows),
        ("cube_embed_backward", cubes_by_sliding_windows),
        ("tape_gradients", tape_by_counting),
        ("gelu_backward", gelu_by_erf),
        ("cross_entropy_backward", loss_by_adding_at),
    ],
)
def test_other_ways_to_write_a_pass_are_right_too(name, other):
    result = course.check(f"06.{name}", other)
    assert result, result


def lookup_by_add_at(table, index, dy):
    dtable = np.zeros_like(table)
    np.add.at(dtable, index, dy)
    return dtable


def test_a_lookup_is_mended_in_more_than_one_way():
    assert course.check("06.mend_lookup", lookup_by_add_at)


# -- the whole, in three ways ----------------------------------------------------------------------


def example(config):
    rng = np.random.default_rng(0)
    params = mv.tree.map(lambda p: p + rng.standard_normal(p.shape) / 10, mv.init(config, rng))
    return params, rng.standard_normal((3, *config.thw, config.channels)), np.array([0, 1, 1])


def package(params, clip, labels, config):
    def loss(params):
        return mv.cross_entropy(mv.forward(params, clip, config), labels)

    return mv.value_and_grad(loss)(params)


def off(config, answers, way):
    """How far a way's loss and gradients are from the package's."""
    params, clip, labels = example(config)
    loss, came = course.gradients(answers, way)(params, clip, labels, config)
    expected, right = package(params, clip, labels, config)
    gaps = mv.tree.map(lambda a, b: float(np.abs(a - b).max()), right, came)
    return max([abs(float(loss - expected)), *mv.tree.leaves(gaps)])


@pytest.mark.parametrize("way", course.WAYS)
def test_the_printed_solutions_have_the_package_s_gradients(way):
    assert off(CONFIG, {}, way) < 1e-12
    sizes = {"frames": 4, "size": 16, "channels": 2, "dim": 8, "num_classes": 5, "depths": (2, 1)}
    other = dataclasses.replace(CONFIG, **sizes, stride_kv=(2, 2, 2), heads=2)
    assert off(other, {}, way) < 1e-12


@pytest.mark.parametrize("way", course.WAYS[1:])
def test_both_ways_of_one_s_own_do_without_autograd(way, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("autograd was asked")

    gradients = course.gradients({}, way)
    params, clip, labels = example(CONFIG)
    from mvit_np.course import ways

    monkeypatch.setattr(ways, "vjp", refuse)
    assert gradients(params, clip, labels, CONFIG)[1]["head"]["w"].shape == (64, 2)


ONLY_BACKWARD, ONLY_TAPE = {"backward", "block_backward"}, {"tape_gradients"}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("way", course.WAYS[1:])
def test_the_reader_s_passes_are_the_ones_that_run(name, way):
    calls = []

    def noted(*args):
        calls.append(args)
        return PASSES[name](*args)

    assert off(CONFIG, {f"06.{name}": noted}, way) < 1e-12
    assert bool(calls) == (name not in (ONLY_TAPE if way == "backward" else ONLY_BACKWARD) - {
        "gelu_backward"})  # fmt: skip


def test_another_way_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="by autograd, backward, tape; came 'own': name one"):
        course.gradients({}, "own")


# -- on the tape -----------------------------------------------------------------------------------

BLOCK = """
from mvit_np.ops import layer_norm


def norm(p, x):
    return layer_norm(x, p["g"], p["b"])


def block(params, x, thw, heads, stride_q, stride_kv):
    normed = norm(params["norm1"], x)
    branch = attention_layer(params["attn"], normed, thw, heads, stride_q, stride_kv)
    x = branch + pooled_skip(x, thw, stride_q)
    return second_half(params, x)


def second_half(params, x):
    fc1, fc2 = params["mlp"].values()
    half = x, *params["norm2"].values(), *fc1.values(), *fc2.values()
    if "proj" in params:
        return widening_mlp(*half, *params["proj"].values())
    return mlp_block(*half)
"""


def a_model_with(tmp_path, block):
    """A file of all printed solutions, but for a block of one's own, and of the tape's loop."""
    file = tmp_path / "my_mvit.py"
    head = "import numpy as np\nfrom mvit_np import ops, plan"
    names = [name for name in course.pieces() if name != "05.block"]
    file.write_text(
        "\n\n\n".join([head, *map(course.solution, [*names, "06.tape_gradients"]), block])
    )
    return file


def test_a_block_in_functions_of_one_s_own_is_recorded_too(tmp_path):
    file = a_model_with(tmp_path, BLOCK)
    assert off(CONFIG, file, "tape") < 1e-12
    result = course.check_model(file)
    assert result and "15 of 15 pieces are yours and right" in str(result)


def test_what_a_tape_does_not_know_is_told_in_a_sentence(tmp_path):
    text = BLOCK.replace("    return layer_norm", "    x = x - 0 * x.mean()\n    return layer_norm")
    file = a_model_with(tmp_path, text)
    assert off(CONFIG, file, "backward") < 1e-12
    result = course.check_model(file)
    assert not result
    assert "on your tape, the function stops at line" in str(result), result
    assert "a node of the tape has a .value, a .shape, and sums, and no .mean" in str(result), (
        result
    )


def test_a_node_knows_what_it_was_made_of():
    x, y = Node(np.ones(2)), Node(np.ones(2))
    total = x + y + np.ones(2)
    assert [parent.name for parent in total.parents] == ["sum"]
    assert total.parents[0].parents == [x, y] and (total.value == 3).all()
    assert isinstance(record(np.exp, lambda x, dy: dy, (0,), np.ones(2)), np.ndarray)
    assert (np.ones(2) + x).shape == (2,)


# -- my_mvit.py ------------------------------------------------------------------------------------


def test_the_check_says_how_far_the_way_back_is():
    some = {f"06.{name}": PASSES[name] for name in ("gelu_backward", "mlp_backward")}
    result = course.check_model(some)
    assert result, result
    text = str(result)
    assert "the way back: 2 of 19 backward passes are yours and right" in text
    assert "solutions stand in for the other 17; the next is 06.linear_backward" in text
    for whose in ("by your backward passes, its", "on your tape, its"):
        assert f"{whose} logits and gradients are those of mv.forward, within 1e-12" in text
    assert "the way back" not in str(course.check_model({}))


def test_a_wrong_pass_is_named():
    wrong = {"06.gelu_backward": lambda u, dy: dy * (u > 0)}
    result = course.check_model(wrong)
    assert not result and "likely: this is the slope of a ReLU" in str(result)


def test_passes_are_kept(tmp_path):
    file = tmp_path / "my_mvit.py"
    names = "linear_backward", "gelu_backward", "mlp_backward"
    result = course.keep(file, *(PASSES[name] for name in names))
    assert result and file.read_text().count("def ") == 3
    assert "3 of 19" in str(course.check_model(file))


# -- trees of gradients ----------------------------------------------------------------------------


def changed(change):
    def wrong(params, x, dy):
        dparams, dx = PASSES["head_backward"](params, x, dy)
        return change(dparams), dx

    return wrong


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda d: {"norm": d["norm"]}, 'dparams lacks "head"'),
        (lambda d: {**d, "more": 1}, "dparams has 'more', which is not asked for"),
        (lambda d: d["norm"]["g"], "dparams is of type ndarray: return a dictionary"),
        (lambda d: {**d, "norm": {**d["norm"], "b": 2 * d["norm"]["b"]}}, "at norm.b is off in"),
        (lambda d: {**d, "head": {"w": d["head"]["w"].T, "b": ...}}, "still missing: dparams"),
    ],
)
def test_gradients_in_dictionaries_are_told_by_their_place(change, told):
    assert told in str(course.check("06.head_backward", changed(change)))


# -- planted bugs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MENDED)
def test_what_is_given_has_a_bug_and_is_no_answer_yet(name):
    exercise = _ALL[name]
    result = course.check(name, exercise.given)
    assert not result and not result.finished
    assert "mv.gradcheck says which gradient is wrong" in str(result)
    text = course.statement(name)
    assert text.count(f"def {name[3:]}(") == 1 and exercise.given.__name__ not in text


def test_there_are_five_of_them():
    assert len(MENDED) == 5


def test_gradcheck_finds_the_bugs():
    rng = np.random.default_rng(0)

    @mv.autodiff.tape.op
    def pair(q, w, k):
        return q @ w @ k.T, partial(_ALL["06.mend_bilinear"].given, q, w, k)

    arrays = [rng.standard_normal(shape) for shape in ((4, 3), (3, 3), (5, 3))]
    report = str(mv.gradcheck(pair, *arrays, check=False))
    wrong = [line.split()[0] for line in report.splitlines() if "<-- wrong" in line]
    assert wrong == ["1", "all"], report
