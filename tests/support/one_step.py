"""One training step written out, for comparing devices: loss, clipped gradients, AdamW."""

import mvit_np as mv
from mvit_np.train import adamw, adamw_state, clip_by_norm


def one_step(config, params, clip, labels, eps=1e-8):
    """All that a step computes, as one tree."""
    loss, grads = mv.value_and_grad(
        lambda p: mv.cross_entropy(mv.forward(p, clip, config), labels, 0.1)
    )(params)
    grads, norm = clip_by_norm(grads, 1.0)
    new, _ = adamw(params, grads, adamw_state(params), 1e-3, eps=eps)
    return {"loss": loss, "norm": norm, "grads": grads, "params": new}
