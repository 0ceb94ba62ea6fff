"""The gradient check itself: every op, layer and model passes it, and no op with a term dropped
from its backward does.
"""

import ast
import importlib
import inspect
import re

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.gradcheck import adjointcheck, gradcheck
from mvit_np.autodiff.report import GradientError
from mvit_np.autodiff.tape import op
from mvit_np.backend import tiles
from mvit_np.studies import gradient_cases as checks

CASES = checks.all_cases()


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def often(case, dtype):
    """Whether the quick tests ask; tests/ops/test_versions.py asks for definitions in float64."""
    whole_model = case.versions == "fast" and case.composed and dtype == "float64"
    return case.versions == "tiles" or whole_model


CHECKS = [
    pytest.param(case, dtype, marks=[] if often(case, dtype) else [pytest.mark.slow])
    for case in CASES
    for dtype in ("float64", "float32")
]


@pytest.mark.parametrize("case, dtype", CHECKS, ids=lambda one: getattr(one, "name", one))
def test_every_gradient(case, dtype):
    assert case.check(dtype).passed


def test_every_op_has_a_case():
    cased = {re.split(r"[ ,]", case.name)[0] for case in checks.op_cases()}
    assert cased == set(ops.__all__) - {"attention_weights"} | {"project", "take_seen"}


# -- a wrong backward is caught --------------------------------------------------------------------


NO_DERIVATIVE = {
    "left -= won",
    "left - won",
}  # max_pool: matters for ties only, where there is no derivative; test_ops has that case


def terms(module):
    """Every place in a module's backwards (and in the helpers they call) where two terms are added
    or subtracted.
    """
    source = inspect.getsource(module)
    helpers = {"softmax_backward", "_summed_to"}
    for function in [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)
    ]:
        if function.name == "backward" or function.name in helpers:
            for node in ast.walk(function):
                summed = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(
                    node.op, (ast.Add, ast.Sub)
                )
                if summed and ast.get_source_segment(source, node) not in NO_DERIVATIVE:
                    yield (
                        node.lineno,
                        node.col_offset,
                        ast.get_source_segment(source, node).replace("\n", " "),
                    )


class Dropped(ast.NodeTransformer):
    """Drops one of the two terms at one place."""

    def __init__(self, line, column, second):
        self.place, self.second = (line, column), second

    def _is_it(self, node):
        return (node.lineno, node.col_offset) == self.place and isinstance(
            node.op, (ast.Add, ast.Sub)
        )

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not self._is_it(node):
            return node
        if self.second:
            return node.left
        return node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)

    def visit_AugAssign(self, node):
        if not self._is_it(node):
            return self.generic_visit(node)
        return ast.Pass() if self.second else ast.Assign([node.target], node.value)


OPS = {name: getattr(ops, name) for name in ops.__all__ if name != "attention_weights"}
# ops that only fast versions call
OF_FAST_VERSIONS = {"project": checks.project, "take_seen": checks.take_seen}


def modules_of(function):
    """Where the definition of an op is written, and its version for NumPy."""
    return {version.__module__ for version in (function, function.versions.get("numpy")) if version}


def places():
    for name in sorted(
        set.union(
            *(modules_of(function) for function in [*OPS.values(), *OF_FAST_VERSIONS.values()])
        )
    ):
        for line, column, text in sorted(set(terms(importlib.import_module(name)))):
            for second in (True, False):
                label = (
                    f"{name.removeprefix('mvit_np.ops.')}: {'second' if second else 'first'} of "
                    f"{text}"
                )
                yield pytest.param(name, line, column, second, id=label)


@pytest.mark.parametrize("name, line, column, second", list(places()))
def test_an_op_with_a_term_dropped_from_its_backward_fails(name, line, column, second, monkeypatch):
    module = importlib.import_module(name)
    tree = ast.fix_missing_locations(
        Dropped(line, column, second).visit(ast.parse(inspect.getsource(module)))
    )
    broken = {"__name__": name, "__package__": name.rpartition(".")[0]}
    mine = [
        public
        for public, function in (OPS | OF_FAST_VERSIONS).items()
        if name in modules_of(function)
    ]
    for function in OPS.values():
        for place, version in function.versions.items():
            # a broken fast version registers itself
            monkeypatch.setitem(function.versions, place, version)
    exec(compile(tree, module.__file__, "exec"), broken)
    for public in mine:
        if public in OF_FAST_VERSIONS:
            monkeypatch.setattr(checks, public, broken[public])
        elif OPS[public].__module__ == name:
            monkeypatch.setattr(ops, public, broken[public])
    monkeypatch.setattr(tiles, "SMALL", 1)  # so that sums have several terms
    monkeypatch.setattr(tiles, "NUMBERS", 16)
    # The cases are built now, with the broken ops in them; one that cannot even run is caught too.
    with pytest.raises((GradientError, ValueError, IndexError, TypeError, UnboundLocalError)):
        for case in checks.op_cases():
            if re.split(r"[ ,]", case.name)[0] in mine:
                case.check("float64")


def found_by_the_command(op_name):
    """Whether `mvit-np check` finds one of the op's cases wrong."""
    mine = [case for case in checks.all_cases() if re.split(r"[ ,]", case.name)[0] == op_name]
    with np.errstate(all="ignore"):
        return not all(
            case.check(dtype, check=False).passed
            for case in mine
            for dtype in ("float64", "float32")
        )


SUMS = {"mlp": 4, "attend": 2, "layer_norm": 2, "cube_conv": 2, "depthwise_conv": 1}


@pytest.mark.parametrize(
    "name, index", [(name, i) for name, count in SUMS.items() for i in range(count)]
)
@pytest.mark.parametrize(
    "kept", ["the last tile", *map(slow, ["all but the last", "all but the first"])]
)
def test_the_command_finds_a_sum_over_tiles_that_loses_some(name, index, kept, monkeypatch):
    total = tiles.total

    def lossy(fun, pieces, *rest):
        lost = {
            "the last tile": pieces[:-1],
            "all but the last": pieces[-1:],
            "all but the first": pieces[:1],
        }[kept]

        def shares(piece):
            made = list(fun(piece))
            made[index] = made[index] * (len(pieces) == 1 or piece not in lost)
            return made

        return total(shares, pieces, *rest)

    assert not found_by_the_command(name)
    monkeypatch.setattr(tiles, "total", lossy)
    assert found_by_the_command(name)


def test_the_command_finds_exponentials_that_leave_the_range_of_float32(monkeypatch):
    monkeypatch.setattr(importlib.import_module("mvit_np.ops.fast.attend"), "SAFE", np.inf)
    assert found_by_the_command("attend")


@pytest.mark.parametrize("case", checks.op_cases(), ids=lambda case: case.name)
@pytest.mark.parametrize("wrong", ["0.1 % too long", "0.001 % too long", "one entry off", "zero"])
def test_every_op_with_a_slightly_wrong_gradient_fails(case, wrong):
    """The same for what has no terms to drop: any one argument's gradient a little off."""
    arrays = case.make(np.random.default_rng(0))
    for position in range(len(arrays)):
        with pytest.raises(GradientError):
            gradcheck(_spoiled(case.fun, len(arrays), position, wrong), *arrays)


def _spoiled(fun, count, position, wrong):
    """`fun` as an op whose gradient for one argument is off."""

    @op
    def spoiled(*arrays):
        from mvit_np.autodiff.tape import vjp

        def first(*x):
            value = fun(*x)
            return value[-1] if isinstance(value, tuple) else value

        value, pull = vjp(first, arrays)

        def backward(dy):
            gradients = pull(dy)
            g = gradients[position].copy()
            index = np.unravel_index(np.abs(g).argmax(), g.shape)
            g *= {"0.1 % too long": 1.001, "0.001 % too long": 1.00001, "zero": 0.0}.get(wrong, 1.0)
            g[index] *= 1.1 if wrong == "one entry off" else 1.0
            return [g if i == position else other for i, other in enumerate(gradients)]

        return value, backward

    return spoiled


# -- the report and the form -----------------------------------------------------------------------


@op
def cube_without_its_two(x):
    return x**3, lambda dy: (3 * x * dy,)  # should be 3 x^2


def test_the_report_names_the_argument_and_shows_both_numbers(rng):
    x, y = rng.standard_normal((2, 3))
    with pytest.raises(GradientError) as error:
        gradcheck(
            lambda tree, z: ops.add(cube_without_its_two(tree["a"]), z), {"a": x}, y, name="sum"
        )
    text = str(error.value)
    assert (
        "DISAGREE" in text
        and "0.a" in text
        and "analytic" in text
        and "numeric" in text
        and "tolerance" in text
    )
    wrong = [line for line in text.splitlines() if "wrong" in line]
    assert any(line.startswith("0.a") for line in wrong) and not any(
        line.startswith("1 ") for line in wrong
    )


def test_full_moves_every_entry_and_finds_the_wrong_one(rng):
    @op
    def square(x):
        def backward(dy):
            g = 2 * x * dy
            g[1, 2] = 0
            return (g,)

        return x * x, backward

    report = gradcheck(square, 1 + rng.random((2, 3)), full=True, check=False)
    assert len(report.checks) == 6
    assert [check.direction for check in report.checks if not check.passed] == ["[1, 2]"]


def test_a_right_gradient_gives_a_report_with_small_errors(rng):
    report = mv.gradcheck(
        lambda x, w: ops.linear(x, w), rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
    )
    assert report.passed and report.worst.error < 1e-9 and "ok" in report.summary()
    assert [check.argument for check in report.checks] == ["0", "1", "all together"]


def test_a_zero_gradient_of_a_small_function_is_caught():
    """autograd's own check passes a zero gradient of 1e-8 x^2."""

    @op
    def small(x):
        return 1e-8 * x * x, lambda dy: (0 * x,)

    with pytest.raises(GradientError):
        gradcheck(small, np.array([1.0, 2.0]))


def test_a_nan_gradient_is_caught():
    @op
    def nan(x):
        return x * 1, lambda dy: (dy * np.nan,)

    with pytest.raises(GradientError):
        gradcheck(nan, np.ones(3))


# so that their norm bends within some hundredths
NEAR = np.array([[0.3, 0.31, 0.33], [-1, -1.02, -1.05]])
GAIN = np.array([1.0, -2, 1])


@pytest.mark.parametrize("shift", [0, 1e4, 5e4])
def test_curvature_is_no_error(shift):
    """The second-order difference is 1e-5 off; the larger the shift, the less rounding lets smaller
    steps say about it.
    """
    report = gradcheck(lambda x: ops.layer_norm(x, GAIN, np.full(3, float(shift))), NEAR)
    assert report.passed and report.worst.step == 1e-4


@pytest.mark.parametrize("wrong", ["0.1 % too long", "0.001 % too long", "one entry off", "zero"])
def test_a_wrong_gradient_is_seen_through_curvature(wrong):
    for position in range(3):
        with pytest.raises(GradientError, match="DISAGREE"):
            gradcheck(_spoiled(ops.layer_norm, 3, position, wrong), NEAR, GAIN, np.zeros(3))


@op
def relu(x):
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


@op
def relu_that_passes_all(x):
    return np.maximum(x, 0), lambda dy: (dy,)


def test_a_kink_is_told_from_an_error():
    x = np.array([0.0, 1.0, -1.0])
    with pytest.raises(GradientError, match="has a kink there.*move the inputs away") as error:
        gradcheck(relu, x)
    assert (
        "wrong" not in str(error.value)
        and "DISAGREE" not in str(error.value)
        and "<-- kink" in str(error.value)
    )
    # a step across it is no error either
    assert gradcheck(relu, x + 1e-3).passed and gradcheck(relu, x + 2e-6).passed
    report = gradcheck(relu_that_passes_all, x, full=True, check=False)
    assert [check.verdict for check in report.checks] == [
        "kink",
        "",
        "wrong",
    ] and "DISAGREE" in str(report)
    report = gradcheck(relu_that_passes_all, x - 1e-3, check=False)
    assert [check.verdict for check in report.checks] == ["wrong"] and not report.passed


def test_a_jump_and_a_steep_slope_are_no_kinks():
    jump = op(lambda x: (x + (x > 0), lambda dy: (dy,)))
    assert gradcheck(jump, np.zeros(1), check=False).worst.verdict == "wrong"
    # forgets the factor
    steep = op(lambda x: (np.tanh(1e4 * x), lambda dy: (dy / np.cosh(1e4 * x) ** 2,)))
    assert gradcheck(steep, np.array([1e-5]), check=False).worst.verdict == "wrong"


def test_a_tie_of_max_pooling_is_a_kink():
    tied = np.array([0.0, 5.0, 5.0, 1.0]).reshape(1, 1, 1, 4, 1, 1)
    report = gradcheck(
        lambda x: ops.max_pool(x, (1, 1, 4), (1, 1, 4), (0, 0, 0)), tied, full=True, check=False
    )
    assert [check.verdict for check in report.checks] == [
        "",
        "kink",
        "kink",
        "",
    ] and not report.passed


def test_a_random_function_is_called_random():
    drawn = np.random.default_rng(0)

    @op
    def draws_anew(x):
        mask = drawn.random(x.shape) < 0.5
        return x * mask, lambda dy: (dy * mask,)

    @op
    def draws_backward(x):
        return 2.0 * x, lambda dy: (dy * 4 * (drawn.random(x.shape) < 0.5),)

    def sentence(check, *args):
        with pytest.raises(GradientError) as error:
            check(*args)
        assert "\n" not in str(error.value) and "contiguous" not in str(error.value)
        return str(error.value)

    for _ in range(20):
        for size in (3, 4, 100):
            assert sentence(gradcheck, draws_anew, np.ones(size)).startswith(
                "draws_anew is random: called again with the same"
            )
    assert sentence(adjointcheck, draws_anew, np.ones(100)).startswith("draws_anew is random")
    assert sentence(gradcheck, draws_backward, np.ones(100)).startswith(
        "the backward of draws_backward is random: called again"
    )


@pytest.mark.parametrize(
    "fault, gradient",
    [
        ("dtype", lambda dy: dy.astype("float64")),
        ("shape", lambda dy: dy[None]),
        ("writes", lambda dy: dy.__imul__(2) / 2),
    ],
)
def test_form_faults_are_named(fault, gradient):
    @op
    def faulty(x):
        return x * 1, lambda dy: (gradient(dy),)

    word = {"dtype": "float64", "shape": r"\(1, 3\)", "writes": "writes into its cotangent"}[fault]
    with pytest.raises(GradientError, match=word):
        gradcheck(faulty, np.ones(3, np.float32))


def test_an_op_that_needs_contiguous_inputs_is_caught():
    @op
    def memory_order(x):
        y = np.frombuffer(x.base.tobytes() if x.base is not None else x.tobytes(), x.dtype)[
            : x.size
        ].reshape(x.shape)
        return y * 1, lambda dy: (dy,)

    with pytest.raises(GradientError, match="non-contiguous"):
        gradcheck(memory_order, np.arange(1.0, 5.0).copy())


def test_adjoint_check():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5, 1, 2))
    assert adjointcheck(lambda x: ops.avg_pool(x, (3, 3, 3), (2, 1, 2), (1, 1, 1)), x) < 1e-12

    @op
    def wrong(x):
        return 2 * x, lambda dy: (dy,)

    with pytest.raises(GradientError):
        adjointcheck(wrong, x)


@pytest.mark.parametrize("args", [(), (np.arange(3),), (np.ones(2, "float16"),)])
def test_what_cannot_be_checked_is_named(args):
    with pytest.raises(TypeError, match="float32 and float64 arrays; came"):
        gradcheck(lambda *x: x, *args)
