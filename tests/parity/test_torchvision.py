"""mvit_np is the same function as torchvision's MViT, and has the same gradients.

What each test measures it prints: `python -m pytest tests/parity -rP` (add `-m full_size` for
gradients at full size).
"""

import numpy as np
import pytest
from draws import (
    CONFIGS,
    draw_clip,
    draw_cotangent,
    draw_params,
    gradient_errors,
    logits_and_gradients,
    relative_error,
)

import mvit_np as mv

torch_models = pytest.importorskip(
    "torch_models", reason="parity needs them: pip install torch torchvision"
)

V1_B = mv.preset("mvit_b_16x4")
V2_S = mv.MViTConfig(
    pool_q_always=True, positions="relative", residual_pooling="tokens", expand_in="attention"
)
SEED = 1


@pytest.mark.parametrize("name", CONFIGS)
def test_small_models_agree_in_logits_and_every_gradient(name):
    config = CONFIGS[name]
    clip, cotangent = draw_clip(config, SEED), draw_cotangent(config, SEED)
    assert_same_in_float64(draw_params(config, SEED), clip, config, cotangent)


@pytest.mark.slow
@pytest.mark.parametrize(
    "factory, config, bound",
    [("mvit_v1_b", V1_B, 3e-6), ("mvit_v2_s", V2_S, 5e-6)],
    ids=["v1_b", "v2_s"],
)
def test_full_size_logits_agree_in_float32(factory, config, bound):
    params = draw_params(config, SEED, np.float32)
    clip = draw_clip(config, SEED, batch=1, dtype=np.float32)

    logits = mv.forward(params, clip, config)
    assert logits.dtype == np.float32
    theirs = torch_models.load_params(torch_models.named(factory), params)
    error = relative_error(logits, torch_models.logits_of(theirs, clip))
    print(f"{factory}, float32: logits {error:.1e} apart")
    assert error <= bound, f"logits differ by {error:.1e} of the largest"


@pytest.mark.full_size
@pytest.mark.parametrize("config", [V1_B, V2_S], ids=["v1_b", "v2_s"])
def test_full_size_gradients_agree_in_float64(config):
    """In float64, because in float32 the skip's max pooling picks other cells among near equals:
    torch is then 1e-3 off from itself in float64.
    """
    clip, cotangent = draw_clip(config, SEED, batch=1), draw_cotangent(config, SEED, batch=1)
    assert_same_in_float64(draw_params(config, SEED), clip, config, cotangent)


@pytest.mark.parametrize(
    "factory, config, params",
    [("mvit_v1_b", V1_B, 36_610_672), ("mvit_v2_s", V2_S, 34_537_744)],
    ids=["v1_b", "v2_s"],
)
def test_our_plan_makes_their_model(factory, config, params):
    ours, theirs = torch_models.build(config), torch_models.named(factory)
    assert str(ours) == str(theirs)  # every layer with its kernel, stride and width
    assert mv.costs(config).params == sum(p.numel() for p in theirs.parameters()) == params


@pytest.mark.parametrize("name", CONFIGS)
def test_small_models_have_no_trivial_gradient(name):
    """So the comparison above says something about every tensor, but those with gradient 0 in
    theory: a shift of all keys, and what moves only the last block's grid tokens, of which none is
    read.
    """
    config = CONFIGS[name]
    clip, cotangent = draw_clip(config, SEED), draw_cotangent(config, SEED)
    _, grads = logits_and_gradients(draw_params(config, SEED), clip, config, cotangent)

    last = f"blocks.{sum(config.depths) - 1}.attn."
    largest = max(np.abs(g).max() for g in grads.values())
    silent = {path for path, g in grads.items() if np.abs(g).max() < 1e-5 * largest}
    assert all(
        path.endswith("norm_k.b") or path.startswith((last + "pool_q", last + "rel_pos"))
        for path in silent
    )


def assert_same_in_float64(params, clip, config, cotangent):
    ours, our_grads = logits_and_gradients(params, clip, config, cotangent)
    theirs, their_grads = torch_models.logits_and_gradients(params, clip, config, cotangent)
    assert ours.dtype == theirs.dtype == np.float64

    errors = gradient_errors(our_grads, their_grads)
    worst = max(errors, key=errors.get)
    print(
        f"float64: logits {relative_error(ours, theirs):.1e} apart, gradients at most "
        f"{errors[worst]:.1e} ({worst})"
    )
    assert relative_error(ours, theirs) <= 1e-9
    assert errors[worst] <= 1e-9, (
        f"the gradient of {worst} differs by {errors[worst]:.1e} of its largest entry"
    )
