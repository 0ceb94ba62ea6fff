"""Optimisers, decay by layer and by path, averages and accumulated gradients against PyTorch, and
against loops.
"""

import copy
import math
import tracemalloc

import device_double
import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.backend import tree as trees
from mvit_np.studies import gradient_cases as checks
from mvit_np.train import flat_state as flat
from mvit_np.train.accumulate import accumulated
from mvit_np.train.decay import decays, decays_except, layer_factors
from mvit_np.train.ema import ema_decay, ema_update
from mvit_np.train.optimizer import adamw, adamw_state, sgd, sgd_state
from mvit_np.train.schedule import warmup_cosine

device_double.install()

STEPS = 5


def on_device(tree):
    return trees.map(device_double.from_host, tree)


@pytest.fixture
def task(rng):
    """Parameters of several shapes, gradients for some steps, and factors for some of the
    parameters.
    """
    params = {
        "embed": {"w": rng.standard_normal((2, 3, 4)), "b": rng.standard_normal(4)},
        "pos_embed": rng.standard_normal((5, 2)),
    }
    params["blocks"] = [
        {"w": rng.standard_normal((6, 5)), "g": rng.standard_normal(())} for _ in range(2)
    ]
    grads = [
        trees.map(lambda p: np.asarray(rng.standard_normal(p.shape)), params) for _ in range(STEPS)
    ]
    return (
        trees.map(np.asarray, params),
        grads,
        {"embed.w": 0.25, "blocks.0.w": 0.5, "blocks.0.g": 0.5},
    )


def rate(step):
    return 0.1 / (1 + step)


def ours(step_of, state, params, grads, **options):
    for step, g in enumerate(grads):
        params, state = step_of(params, g, state, rate(step), **options)
    return params, state


def theirs(optimizer, params, grads, decay, factors, mask):
    """PyTorch's, with a parameter group for each array."""
    torch = pytest.importorskip("torch")
    tensors = {path: torch.nn.Parameter(torch.tensor(p)) for path, p in trees.paths(params)}
    groups = [
        {
            "params": [tensors[path]],
            "weight_decay": decay if mask(path, p) else 0.0,
            "factor": factors.get(path, 1.0),
        }
        for path, p in trees.paths(params)
    ]
    run = optimizer(torch.optim)(groups)
    for step, g in enumerate(grads):
        for group in run.param_groups:
            group["lr"] = rate(step) * group["factor"]
        for path, one in trees.paths(g):
            tensors[path].grad = torch.tensor(one)
        run.step()
    return {path: tensor.detach().numpy() for path, tensor in tensors.items()}


def same_as(expected, params):
    for path, p in trees.paths(params):
        np.testing.assert_allclose(p, expected[path], rtol=1e-12, atol=1e-12, err_msg=path)


@pytest.fixture(params=[0, 12, 1 << 15], ids=["each alone", "mixed", "all joined"])
def joined_below(request, monkeypatch):
    """Small leaves are updated together: none, some of them in a row, all."""
    monkeypatch.setattr(flat, "SMALL", request.param)


# -- optimisers ------------------------------------------------------------------------------------

MASKS = {
    "usual": decays,
    "less": decays_except("blocks.1.*", "embed.?"),
    "all": lambda path, p: True,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_adamw_is_pytorchs_with_parameter_groups(mask, task, joined_below):
    params, grads, factors = task
    options = {"betas": (0.8, 0.95), "weight_decay": 0.3, "factors": factors, "decay_mask": mask}
    new, _ = ours(adamw, adamw_state(params), params, grads, **options)
    same_as(
        theirs(
            lambda optim: lambda groups: optim.AdamW(groups, betas=(0.8, 0.95)),
            params,
            grads,
            0.3,
            factors,
            mask,
        ),
        new,
    )


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("nesterov", [True, False], ids=["nesterov", "plain"])
def test_sgd_is_pytorchs_with_parameter_groups(nesterov, mask, task, joined_below):
    params, grads, factors = task
    options = {
        "momentum": 0.8,
        "nesterov": nesterov,
        "weight_decay": 0.3,
        "factors": factors,
        "decay_mask": mask,
    }
    new, _ = ours(sgd, sgd_state(params), params, grads, **options)

    def peer(optim):
        return lambda groups: optim.SGD(groups, lr=1.0, momentum=0.8, nesterov=nesterov)

    same_as(theirs(peer, params, grads, 0.3, factors, mask), new)


def test_gradient_descent_by_hand():
    """One number, three steps: v is 1, 1.5, then 1.75 with momentum 1/2 and a gradient of 1."""
    params = grads = {"x": np.ones(1)}
    new, state = params, sgd_state(params)
    for _ in range(3):
        new, state = sgd(new, grads, state, 0.1, momentum=0.5, nesterov=False)
    assert new["x"][0] == pytest.approx(1 - 0.1 * (1 + 1.5 + 1.75)) and state["velocity"][0] == 1.75
    assert sgd(params, grads, sgd_state(params), 0.1, momentum=0.5)[0]["x"][0] == pytest.approx(
        1 - 0.1 * (1 + 0.5)
    )


STEPPERS = {"adamw": (adamw, adamw_state), "sgd": (sgd, sgd_state)}


@pytest.mark.parametrize("step_of, begin", STEPPERS.values(), ids=STEPPERS)
def test_steps_keep_their_hands_off_and_their_dtype(step_of, begin, task, joined_below):
    params, grads, factors = trees.map(np.float32, task[:2]) + task[2:]
    params, grads = (
        trees.map(lambda x: np.asarray(x, "float32"), tree) for tree in (params, grads)
    )
    before = copy.deepcopy((params, grads))
    new, state = ours(step_of, begin(params), params, grads, factors=factors)
    trees.map(np.testing.assert_array_equal, before, (params, grads))
    assert {str(x.dtype) for x in trees.leaves([new, state]) if isinstance(x, np.ndarray)} == {
        "float32"
    }
    assert trees.map(np.shape, new) == trees.map(np.shape, params) and state["step"] == STEPS


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_state_lies_in_the_trees_order_whatever_decays_and_wherever(mask, task, joined_below):
    """So what was written in one run can be read in another, with other settings or on a device."""
    params, grads, factors = task
    expected = np.concatenate([np.ravel(g) for g in trees.leaves(grads[0])])
    for moved in (lambda tree: tree, on_device):
        here = moved(params)
        _, state = sgd(
            here,
            moved(grads[0]),
            sgd_state(here),
            0.1,
            weight_decay=0.0,
            factors=factors,
            decay_mask=mask,
        )
        np.testing.assert_array_equal(mv.to_host(state["velocity"]), expected)
        _, state = adamw(
            here,
            moved(grads[0]),
            adamw_state(here),
            0.1,
            betas=(0.0, 0.0),
            factors=factors,
            decay_mask=mask,
        )
        np.testing.assert_array_equal(mv.to_host(state["exp_avg"]), expected)


@pytest.mark.parametrize("step_of, begin", STEPPERS.values(), ids=STEPPERS)
def test_steps_on_a_device_give_the_hosts_numbers_and_move_nothing(step_of, begin, task):
    params, grads, factors = task
    there, grads_there = on_device(params), on_device(grads)
    before = copy.copy(device_double.transfers)
    new, _ = ours(step_of, begin(there), there, grads_there, factors=factors)
    assert device_double.transfers == before
    expected, _ = ours(step_of, begin(params), params, grads, factors=factors)
    trees.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), expected, mv.to_host(new))


@pytest.mark.parametrize("step_of, begin", STEPPERS.values(), ids=STEPPERS)
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p, g, s: (p, g | {"pos_embed": g["pos_embed"].T}, s), r"\(2, 5\) for \(5, 2\)"),
        (lambda p, g, s: (p, {"embed": g["embed"]}, s), "only one of the two has .blocks.0.g"),
        (
            lambda p, g, s: (p, g, {"rate": 0, "speed": s}),
            "the state has no step and no .*only rate, speed: begin with",
        ),
        (
            lambda p, g, s: (p, g, {k: v if k == "step" else v[1:] for k, v in s.items()}),
            "is of 99 numbers, the.*are 100",
        ),
        (
            lambda p, g, s: (
                p,
                g,
                {k: v if k == "step" else v.astype("float32") for k, v in s.items()},
            ),
            "state is float32",
        ),
    ],
    ids=["a shape", "a part", "another optimiser's state", "a number too few", "a dtype"],
)
def test_what_does_not_belong_together_is_refused(step_of, begin, change, words, task):
    params, grads, state = change(task[0], task[1][0], begin(task[0]))
    with pytest.raises(ValueError, match=words) as error:
        step_of(params, grads, state, 0.1)
    assert "\n" not in str(error.value)


def test_a_factor_of_no_parameter_is_refused(task):
    with pytest.raises(ValueError, match="there is no parameter 'head.w'"):
        adamw(task[0], task[1][0], adamw_state(task[0]), 0.1, factors={"head.w": 0.5})


# -- rates by layer, masks by path -----------------------------------------------------------------


def test_rates_fall_from_block_to_block_towards_the_input():
    config = mv.preset("mvit_micro")
    params = mv.init(config, np.random.default_rng(0))
    factors = layer_factors(params, 0.5)
    assert list(factors) == [path for path, _ in trees.paths(params)] and sum(config.depths) == 4
    by_part = {
        "head": 1.0,
        "norm": 1.0,
        "blocks.3": 1 / 2,
        "blocks.2": 1 / 4,
        "blocks.1": 1 / 8,
        "blocks.0": 1 / 16,
    }
    by_part |= dict.fromkeys(
        ("patch_embed", "cls_token", "pos_embed_spatial", "pos_embed_temporal", "pos_embed_class"),
        1 / 32,
    )
    for path, factor in factors.items():
        assert [factor] == [
            share for part, share in by_part.items() if f"{path}.".startswith(f"{part}.")
        ]
    assert set(layer_factors(params, 1.0).values()) == {1.0}


def test_the_bridge_between_space_and_time_learns_at_the_full_rate():
    params = mv.init(checks.TINY_VIVIT, np.random.default_rng(0))
    factors = layer_factors(params, 0.5)
    assert {share for path, share in factors.items() if path.startswith("bridge.")} == {1.0}
    assert len(params["blocks"]) == 3 and factors["blocks.2.mlp.fc1.w"] == 0.5


@pytest.mark.parametrize(
    "params, decay, words",
    [({"blocks": []}, 0.0, r"\(0, 1\]"), ({"w": 1}, 0.5, "came w: pass a model's")],
)
def test_layers_that_cannot_be_counted(params, decay, words):
    with pytest.raises(ValueError, match=words):
        layer_factors(params, decay)


def test_a_mask_spares_what_a_pattern_says():
    params = mv.init(mv.preset("mvit_micro"), np.random.default_rng(0))
    mask = decays_except("head.*", "blocks.*.pool_?.w")
    spared = {path for path, p in trees.paths(params) if decays(path, p) and not mask(path, p)}
    pools = {path for path, _ in trees.paths(params) if ".pool_" in path}
    assert pools and spared == {"head.w"} | pools
    assert not any(mask(path, p) for path, p in trees.paths(params) if not decays(path, p))


# -- the rate over a run ---------------------------------------------------------------------------

CASES = {
    "1. first step": (0, 0.1 + 0.9 / 4),
    "2. end of the warm-up": (3, 1.0),
    "3. the cosine begins": (4, 1.0),
    "4. middle of it": (8, (1.0 + 0.01) / 2),
    "5. last step": (11, 0.01 + 0.99 * (1 + math.cos(math.pi * 7 / 8)) / 2),
    "6. later ones": (12, 0.01),
    "6. much later ones": (500, 0.01),
}


@pytest.mark.parametrize("step, expected", CASES.values(), ids=CASES)
def test_warmup_cosine_case(step, expected):
    assert warmup_cosine(step, 12, peak=1.0, warmup=4, start=0.1, end=0.01) == pytest.approx(
        expected, rel=1e-14
    )


# -- averages of parameters ------------------------------------------------------------------------


def test_the_average_is_the_weighted_sum_of_all_that_was(task):
    """a_n = d^n p_0 + (1 - d) sum_i d^(n - i) p_i, for parameters that move."""
    path, decay = [task[0], *task[1]], 0.7
    average = path[0]
    kept = copy.deepcopy(path)
    for params in path[1:]:
        average = ema_update(average, params, decay)
    n = len(path) - 1
    for index, leaf in enumerate(trees.leaves(average)):
        terms = [
            decay ** (n - i) * (1 - decay if i else 1) * trees.leaves(p)[index]
            for i, p in enumerate(path)
        ]
        np.testing.assert_allclose(leaf, sum(terms), rtol=1e-12)
    trees.map(np.testing.assert_array_equal, path, kept)


def test_an_average_of_what_stands_still_stands_still(rng):
    params = {"w": rng.standard_normal(1000).astype("float32")}
    new = ema_update(params, params, 0.9999)
    np.testing.assert_array_equal(new["w"], params["w"])
    assert new["w"].dtype == np.float32 and new["w"] is not params["w"]


def test_a_warm_start_forgets_the_first_parameters():
    shares = [ema_decay(step, 0.99) for step in range(1000)]
    assert shares[0] == 0.1 and shares[1] == 2 / 11 and shares[-1] == 0.99
    assert shares.index(0.99) == 890  # (1 + 890) / (10 + 890) = 0.99
    first, others = 1.0, 0.0
    for share in shares[:100]:
        first, others = first * share, others * share + 1 - share
    # without the warm start: 0.37
    assert first == pytest.approx(1 / math.comb(109, 9)) and others == pytest.approx(1)


def test_an_average_on_a_device(task):
    there = on_device(task[0]), on_device(task[1][0])
    before = copy.copy(device_double.transfers)
    new = ema_update(*there, 0.9)
    assert device_double.transfers == before
    trees.map(np.testing.assert_array_equal, mv.to_host(new), ema_update(task[0], task[1][0], 0.9))


@pytest.mark.parametrize(
    "decay, shape, words", [(1.5, 3, r"share in \[0, 1\]"), (0.9, 1, r"\(3,\) for \(1,\)")]
)
def test_averages_that_make_no_sense(decay, shape, words):
    with pytest.raises(ValueError, match=words):
        ema_update({"w": np.ones(3)}, {"w": np.ones(shape)}, decay)


# -- accumulated gradients -------------------------------------------------------------------------


def model_loss(params, batch):
    clips, targets = batch["clips"], batch["targets"]
    logits = mv.forward(params, clips, checks.TINY)
    loss = ops.cross_entropy(logits, targets, 0.1)
    return loss, {
        "logits": logits,
        "labels": targets,
        "clips": clips.shape[0],
        "names": batch["names"],
        "none": None,
    }


def model_task(rng, clips):
    batch = {
        "clips": rng.standard_normal((clips, 4, 16, 16, 2)),
        "targets": rng.dirichlet(np.ones(3), clips),
    }
    return checks.roughened(checks.TINY), batch | {"names": ("a", "b")}


@pytest.mark.parametrize("clips, parts", [(6, 2), (7, 3), (5, 5), (4, 1)])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(clips, parts, rng):
    """Also where the parts are unequal: 7 clips are 2, 2 and 3."""
    params, batch = model_task(rng, clips)
    gradient = mv.value_and_grad(model_loss, has_aux=True)
    (value, aux), grads = gradient(params, batch)
    (value_of_parts, aux_of_parts), grads_of_parts = accumulated(gradient, parts)(params, batch)
    assert float(value_of_parts) == pytest.approx(float(value), rel=1e-13)
    largest = max(np.abs(g).max() for g in trees.leaves(grads))
    trees.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13 * largest),
        grads_of_parts,
        grads,
    )
    np.testing.assert_allclose(aux_of_parts["logits"], aux["logits"], rtol=1e-11)
    np.testing.assert_array_equal(aux_of_parts["labels"], batch["targets"])
    sizes = [clips * (i + 1) // parts - clips * i // parts for i in range(parts)]
    # a number is averaged as the loss is
    assert aux_of_parts["clips"] == pytest.approx(sum(n * n for n in sizes) / clips)
    assert aux_of_parts["names"] == ("a", "b") and aux_of_parts["none"] is None


def test_without_aux_the_value_is_the_loss(rng):
    params, batch = model_task(rng, 4)
    gradient = mv.value_and_grad(lambda p, b: model_loss(p, b)[0])
    (value, grads), (expected, others) = (
        accumulated(gradient, 2)(params, batch),
        gradient(params, batch),
    )
    assert float(value) == pytest.approx(float(expected), rel=1e-13)
    trees.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13), grads, others)


def test_leaves_that_share_one_gradient_are_added_once():
    params = {"a": np.zeros(2), "b": np.zeros(2)}
    shared = np.array([1.0, 2.0])
    gradient = accumulated(lambda params, batch: (batch.mean(), {"a": shared, "b": shared}), 3)
    for _ in range(2):
        value, grads = gradient(params, np.arange(4.0))
        assert value == 1.5
        np.testing.assert_allclose([grads["a"], grads["b"]], [shared, shared])
        np.testing.assert_array_equal(shared, [1, 2])


def test_accumulation_needs_a_parts_memory_and_one_gradient():
    """Activations are 8 arrays of 1 MiB for a whole batch of 8, the gradient is 1 MiB."""
    mebibyte = 1 << 20

    def gradient(params, batch):
        activations = np.ones((len(batch), mebibyte), np.uint8)
        return activations.mean(), {"w": np.ones(mebibyte // 8)}

    def peak(call):
        tracemalloc.start()
        call({"w": np.ones(1)}, np.zeros(8))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most / mebibyte

    assert peak(gradient) > 8
    # one clip's activations or a temporary array, its gradient, and the sum
    assert peak(accumulated(gradient, 8)) < 3.6


def test_accumulation_on_a_device_moves_nothing(rng):
    params, batch = model_task(rng, 9)
    # more than CuPy joins without a table
    gradient = accumulated(mv.value_and_grad(model_loss, has_aux=True), 9)
    there = (
        on_device(params),
        batch | on_device({"clips": batch["clips"], "targets": batch["targets"]}),
    )
    before = copy.copy(device_double.transfers)
    (value, aux), grads = gradient(*there)
    assert device_double.transfers == before
    (expected, expected_aux), expected_grads = gradient(params, batch)
    assert float(mv.to_host(value)) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(mv.to_host(aux["logits"]), expected_aux["logits"], rtol=1e-9)
    trees.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        expected_grads,
        mv.to_host(grads),
    )


@pytest.mark.parametrize("parts", [0, -1, 2.0, True, "2"])
def test_parts_are_a_whole_number(parts):
    with pytest.raises(ValueError, match="whole number of parts, at least 1; came"):
        accumulated(None, parts)


@pytest.mark.parametrize(
    "batch, words",
    [
        ((np.zeros(3), np.zeros(2)), "one length, the number of clips; came 2, 3"),
        ({"names": ["a", "b"]}, "came none"),
        (np.zeros((3, 2)), "3 clips cannot be cut into 4 parts"),
    ],
)
def test_batches_that_cannot_be_cut(batch, words):
    with pytest.raises(ValueError, match=words):
        accumulated(lambda params, batch: (0.0, params), 4)({"w": np.zeros(1)}, batch)
