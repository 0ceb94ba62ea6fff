"""Products in tf32 and bf16: how numbers are rounded, who is asked to, and how far off a model then
is.

With p bits of mantissa a rounded number is at most 2^-p off, relatively, and 0.42 x 2^-p in the
root mean square over mantissas, which is 2^-9.2 in bf16 and 2^-12.2 in tf32. Roundings are as good
as random: k in a row make sqrt(k) times as much.
"""

import math
import struct
import threading
from dataclasses import replace

import device_double
import gcc_tools
import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import vjp
from mvit_np.backend import precision, tiles
from mvit_np.backend import tree as trees
from mvit_np.backend.precision import PRECISIONS, operand, rounded, use_precision
from mvit_np.ops.attend import heads_first
from mvit_np.ops.fast.project import project
from mvit_np.train.run import prepare, run
from mvit_np.train.run.recipe import RECIPES, changed

device_double.install()

LOW = ["tf32", "bf16"]
# With queries pooled, the skip is max-pooled, and where roundings let another cell win gradients
# jump: so without.
MVIT = replace(mv.preset("mvit_micro"), num_classes=10, stride_q=(1, 1, 1))
V2 = replace(
    MVIT, positions="relative", pool_q_always=True, residual_pooling="tokens", expand_in="attention"
)
MODELS = {"MViT": MVIT, "MViTv2": V2}

needs_gcc = pytest.mark.skipif(gcc_tools.GCC is None, reason="the double has no tools without gcc")


# -- rounding --------------------------------------------------------------------------------------


def samples(bits):
    """float32 numbers of all sizes, many in the middle between two rounded ones, or next to it; no
    NaN.
    """
    rng, drop = np.random.default_rng(0), 24 - bits
    raw = rng.integers(0, 1 << 32, 6000).astype("uint32")
    middle = (raw[:3000] >> drop << drop) + np.uint32(1 << (drop - 1))
    raw[:3000] = middle + rng.integers(-1, 2, 3000).astype("uint32")
    special = np.array([0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0x3F800000], "uint32")
    x = np.concatenate([raw, special, special | 0x80000000]).view("float32")
    return x[~np.isnan(x)]


def rounded_by_hand(number, bits):
    """A float32 number rounded to so many bits, as a float32's bits; Python's `round` takes ties to
    even.
    """
    if math.isinf(number):
        return struct.unpack("<I", struct.pack("<f", number))[0]
    _, exponent = math.frexp(number)
    unit = math.ldexp(1.0, max(exponent, -125) - bits)  # denormal numbers have one unit in common
    nearest = math.copysign(round(number / unit) * unit, number)
    if abs(nearest) >= 2.0**128:
        nearest = math.copysign(math.inf, number)
    return struct.unpack("<I", struct.pack("<f", nearest))[0]


@pytest.mark.parametrize("name", LOW)
def test_rounding_is_to_the_nearest_with_ties_to_even(name):
    x, bits = samples(PRECISIONS[name]), PRECISIONS[name]
    expected = np.array([rounded_by_hand(number, bits) for number in x.tolist()], "uint32")
    np.testing.assert_array_equal(rounded(x, bits).view("uint32"), expected)


def test_bf16_is_what_torch_rounds_to():
    torch = pytest.importorskip("torch")
    x = samples(PRECISIONS["bf16"])
    expected = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(
        rounded(x, PRECISIONS["bf16"]).view("uint32"), expected.view("uint32")
    )


@pytest.mark.parametrize("name", LOW)
def test_not_a_number_stays_that(name):
    of_all_kinds = np.array(
        [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], "uint32"
    ).view("float32")
    assert np.isnan(rounded(of_all_kinds, PRECISIONS[name])).all()


@pytest.mark.parametrize("name", LOW)
def test_rounding_twice_is_rounding_once(name):
    once = rounded(samples(PRECISIONS[name]), PRECISIONS[name])
    np.testing.assert_array_equal(
        rounded(once, PRECISIONS[name]).view("uint32"), once.view("uint32")
    )


@pytest.mark.parametrize("name", LOW)
def test_the_error_of_a_rounding_is_the_one_said_above(name, rng):
    x, bits = np.exp2(rng.uniform(-20, 20, 100000)).astype("float32"), PRECISIONS[name]
    off = np.abs(rounded(x, bits) / x.astype("float64") - 1)
    assert off.max() <= 2.0**-bits and rms_of_rounding(name) == pytest.approx(
        np.sqrt((off**2).mean()), rel=0.02
    )


def rms_of_rounding(name):
    """Of numbers x in [1, 2) the error is uniform in +-2^-p, and the mean of 1 / x^2 is 3 / (8 log
    2).
    """
    return math.sqrt(3 / (8 * math.log(2)) / 3) * 2.0 ** -PRECISIONS[name]


# -- who is asked ----------------------------------------------------------------------------------


def test_precisions_nest():
    assert precision.precision() == "float32"
    with use_precision("bf16"):
        with use_precision("tf32"):
            assert precision.precision() == "tf32"
            with use_precision("float32"):
                assert precision.precision() == "float32"
        assert precision.precision() == "bf16"
        with pytest.raises(KeyError), use_precision("tf32"):
            raise KeyError
        assert precision.precision() == "bf16"
    assert precision.precision() == "float32"


def test_a_thread_has_its_own():
    seen, both = {}, threading.Barrier(2)

    def look(name):
        seen[name, "before"] = precision.precision()
        with use_precision(name):
            both.wait()
            seen[name] = precision.precision()
            both.wait()

    with use_precision("bf16"):
        others = [threading.Thread(target=look, args=(name,)) for name in ("tf32", "float32")]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()
        assert precision.precision() == "bf16"
    assert seen == {
        ("tf32", "before"): "float32",
        ("float32", "before"): "float32",
        "tf32": "tf32",
        "float32": "float32",
    }


@pytest.mark.parametrize("name", ["fp16", "BF16", "", None, 16])
def test_an_unknown_name_is_one_sentence(name):
    with pytest.raises(
        ValueError, match="a precision is one of float32, tf32, bf16; came"
    ) as error:
        with use_precision(name):
            pass
    assert repr(name) in str(error.value) and "\n" not in str(error.value)
    assert precision.precision() == "float32"


def test_threads_that_help_with_tiles_round_too(rng, monkeypatch):
    monkeypatch.setattr(tiles, "SMALL", 1)
    q, k, v = (rng.standard_normal((2, 40, 3, 8)).astype("float32") for _ in range(3))

    def low(threads):
        with tiles.use_threads(threads), use_precision("bf16"):
            return ops.attend(q, k, v, 0.5)

    np.testing.assert_allclose(low(4), low(1), rtol=0, atol=1e-5)
    assert np.abs(low(4) - ops.attend(q, k, v, 0.5)).max() > 1e-4


def test_an_operand_is_rounded_only_where_it_is_float32(rng):
    x = rng.standard_normal((6, 8)).astype("float32")
    before = x.copy()
    assert operand(x) is x
    for name in LOW:
        with use_precision(name):
            np.testing.assert_array_equal(operand(x), rounded(x, PRECISIONS[name]))
            np.testing.assert_array_equal(operand(x.T[::2]), rounded(x, PRECISIONS[name]).T[::2])
            double = x.astype("float64")
            assert operand(x).dtype == "float32" and operand(double) is double
    np.testing.assert_array_equal(x, before)


@needs_gcc
def test_a_device_keeps_bf16_factors_as_halves_and_leaves_tf32_to_its_units(rng):
    x = device_double.from_host(rng.standard_normal((6, 8)).astype("float32"))
    double = x.astype("float64")
    with use_precision("bf16"):
        assert operand(x).dtype == "uint16" and operand(double) is double
        whole = (operand(x.T).get().astype("uint32") << 16).view("float32")
    np.testing.assert_array_equal(whole, rounded(x.get(), 8).T)
    with use_precision("tf32"):
        assert operand(x) is x


# -- models ----------------------------------------------------------------------------------------


def task(config, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    params = trees.map(
        lambda p: (p + 0.05 * rng.standard_normal(p.shape)).astype(dtype), mv.init(config, rng)
    )
    return (
        params,
        rng.standard_normal((4, *config.thw, config.channels)).astype(dtype),
        np.arange(4),
    )


def logits_and_gradients(config, params, clip, labels, name="float32"):
    def loss(params):
        logits = mv.forward(params, clip, config)
        return mv.cross_entropy(logits, labels), logits

    with use_precision(name):
        (_, logits), gradients = mv.value_and_grad(loss, has_aux=True)(params)
    return mv.to_host(logits), mv.to_host(gradients)


def apart(a, b):
    """|a - b| / |b| of all arrays of two trees together."""
    pairs = [
        (x.astype("float64"), y.astype("float64")) for x, y in zip(trees.leaves(a), trees.leaves(b))
    ]
    return math.sqrt(
        sum(((x - y) ** 2).sum() for x, y in pairs) / sum((y**2).sum() for _, y in pairs)
    )


def factors(config):
    """How many factors of products there are in a row: two each of embedding, head, and in a block
    q k v, Q K', P V, the projection, both of the MLP, and three of relative positions.
    """
    return 2 * (2 + sum(config.depths) * (6 + 3 * (config.positions == "relative")))


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_off_by_its_roundings(model, name):
    """At least by those of the head, at most as if those of all products in a row went undiminished
    to the logits.

    Backward each product is two, whose factors are rounded as well: three times as many.
    """
    config = MODELS[model]
    exact, low = (logits_and_gradients(config, *task(config), which) for which in ("float32", name))
    for a, b, most in zip(low, exact, (factors(config), 3 * factors(config))):
        assert math.sqrt(2) <= apart(a, b) / rms_of_rounding(name) <= math.sqrt(most)


@pytest.mark.parametrize("model", MODELS)
def test_three_bits_are_a_factor_of_eight(model):
    config = MODELS[model]
    exact, tf32, bf16 = (logits_and_gradients(config, *task(config), name) for name in PRECISIONS)
    for a, b, c in zip(bf16, tf32, exact):
        assert 4 <= apart(a, c) / apart(b, c) <= 16


def test_float64_is_never_rounded():
    config, arrays = V2, task(V2, dtype="float64")
    for name in LOW:
        for a, b in zip(
            *(
                trees.leaves(list(logits_and_gradients(config, *arrays, which)))
                for which in ("float32", name)
            )
        ):
            np.testing.assert_array_equal(a, b)


# -- a device --------------------------------------------------------------------------------------


def on_device(tree):
    return trees.map(device_double.from_host, tree)


@needs_gcc
@pytest.mark.parametrize("model", MODELS)
def test_a_device_rounds_as_numpy_does(model):
    """The same factors are rounded but for the weights P of attention (on NumPy before they are
    divided by their sum) and what makes the columns of relative positions (on a device nothing). So
    the one is as far from float32 as the other, and they are no further from each other than if no
    rounding were the same: the root of the sum of both squares.
    """
    config, (params, clip, labels) = MODELS[model], task(MODELS[model])
    exact, host = (
        logits_and_gradients(config, params, clip, labels, name) for name in ("float32", "bf16")
    )
    there = logits_and_gradients(config, *map(on_device, (params, clip, labels)), "bf16")
    for a, b, c in zip(there, host, exact):
        assert 1 / 2 <= apart(a, c) / apart(b, c) <= 2
        assert apart(a, b) <= math.hypot(apart(a, c), apart(b, c))


def both(fun, *arrays, dy=None):
    """Value and gradients in bf16, on the device and on NumPy."""
    for put in (device_double.from_host, np.asarray):
        with use_precision("bf16"):
            y, pull = vjp(fun, [put(x) for x in arrays])
            yield trees.leaves(mv.to_host([y, *pull(put(dy))]))


def draw(rng, *shapes):
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


# ops whose factors are rounded on both: sums differ by their order, and gelu's last digit may turn
# a rounding
SAME = {
    "linear": (
        lambda x, w, b: ops.linear(x, w, b),
        [(3, 40, 24), (24, 16), (16,), (3, 40, 16)],
        1e-6,
    ),
    "project": (
        lambda x, w, b: ops.add(*project(x, w, b, 2)),
        [(3, 40, 24), (24, 32), (32,), (3, 40, 16)],
        1e-6,
    ),
    "mlp": (ops.mlp, [(3, 40, 24), (24, 48), (48,), (48, 16), (16,), (3, 40, 16)], 2**-12),
    "cube_conv": (
        lambda x, w, b: ops.cube_conv(x, w, b, (1, 2, 2), (1, 1, 1)),
        [(2, 4, 8, 8, 3), (3, 3, 3, 3, 16), (16,), (2, 4, 4, 4, 16)],
        1e-6,
    ),
}


@needs_gcc
@pytest.mark.parametrize("name", SAME)
def test_an_op_rounds_the_same_factors_on_a_device(name, rng):
    fun, shapes, most = SAME[name]
    *arrays, dy = draw(rng, *shapes)
    there, host = both(fun, *arrays, dy=dy)
    for a, b in zip(there, host):
        assert apart(a, b) <= most
    y = fun(*arrays)
    assert apart(there[0], y) > rms_of_rounding("bf16") / 2, "nothing was rounded"


@needs_gcc
def test_attention_on_a_device_is_off_by_the_rounding_of_its_weights(rng):
    """At most u = 2^-8 for each rounding that the other does not do. In Z: of P on both sides. In
    dV: of P and dZ on both sides. In dS = scale P (dP - mean of dP): of dZ on both sides, of P in
    front and in the mean, of dS itself on both sides.
    """
    scale, u = 0.25, 1.02 * 2.0**-8  # a little more, for second-order terms and sums
    q, k, v, dz = draw(rng, (2, 30, 3, 16), (2, 20, 3, 16), (2, 20, 3, 16), (2, 30, 3, 16))
    there, host = both(lambda q, k, v: ops.attend(q, k, v, scale), q, k, v, dy=dz)

    p = ops.attention_weights(q, k, scale)
    q, k, v, dz = (np.abs(heads_first(x)) for x in (q, k, v, dz))
    dp = dz @ v.swapaxes(-1, -2)
    mean = (p * dp).sum(axis=-1, keepdims=True)
    ds = scale * p * (5 * dp + 6 * mean)
    most = [2 * p @ v, ds @ k, ds.swapaxes(-1, -2) @ q, 4 * p.swapaxes(-1, -2) @ dz]
    for a, b, bound in zip(there, host, most):
        off = np.abs(heads_first(a) - heads_first(b))
        assert (off <= u * bound).all() and off.max() > 1e-5


@needs_gcc
def test_relative_positions_on_a_device_are_not_rounded(rng):
    grids = tuple((axis, (2, 4, 3), (2, 2, 3)) for axis in (1, 2, 0))
    q, *tables, dy = draw(rng, (2, 25, 2, 16), (7, 16), (5, 16), (3, 16), (2, 25, 2, 23))
    there, host = both(
        lambda q, *tables: ops.relative_query(q, 0.25, grids, *tables), q, *tables, dy=dy
    )
    y, pull = vjp(lambda q, *tables: ops.relative_query(q, 0.25, grids, *tables), [q, *tables])
    for a, b, c in zip(there, host, trees.leaves([y, *pull(dy)])):
        assert apart(a, c) < 1e-6 and rms_of_rounding("bf16") / 4 < apart(
            b, c
        ) < 2 * rms_of_rounding("bf16")


@pytest.mark.slow
def test_loss_curves_of_200_steps_agree(tmp_path):
    """The means of 20 steps lie within a tenth of the way that the loss goes, in the last 60 steps.

    Before, it leaves a plateau, and when it does so is a matter of rounding, and so of the machine.
    (tests/gpu has the same on a device.)
    """
    recipe = changed(
        RECIPES["small"],
        {"epochs": 200 / 128, "test_every": 100, "model.dropout": 0, "model.drop_path": 0},
    )
    curves = {}
    for name in PRECISIONS:
        rows = run(prepare(changed(recipe, {"precision": name}), tmp_path / name))
        curves[name] = np.array([row["loss"] for row in rows]).reshape(-1, 20).mean(1)
        print(f"{name:8}", *(f"{loss:.3f}" for loss in curves[name]))  # shown by -rP
    exact = curves.pop("float32")
    assert len(exact) == 10 and exact[-1] < 0.7 * exact[0]
    for rough in curves.values():
        assert (rough != exact).any()
        assert np.abs(rough - exact)[7:].max() < 0.1 * (exact[0] - exact[-1])
