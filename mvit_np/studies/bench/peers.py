"""PyTorch beside us: torchvision's MViT with our sizes. The only file that imports torch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend.install import pip_install
from ...backend.types import Array, Params
from ...model.config import MViTConfig
from ...model.plan import plan
from ...train import decays
from ...weights.layouts import names
from ...weights.layouts import state_dicts as layouts
from ...weights.layouts.limits import check_holds
from .workloads import RATE, WEIGHT_DECAY, Workload, examples

LAYOUT = "torchvision"


def versions() -> dict[str, str]:
    """{"torch": ..., "torchvision": ...}. Raises ImportError where they are not installed."""
    torch, _ = _libraries()
    return {"torch": torch.__version__, "torchvision": sys.modules["torchvision"].__version__}


def torch_module() -> Any:
    """PyTorch itself. Raises ImportError where it or torchvision is not installed."""
    return _libraries()[0]


def available() -> bool:
    """Whether PyTorch and torchvision are installed."""
    try:
        return bool(versions())
    except ImportError:
        return False


def torch_call(workload: Workload, threads: int, params: Params | None = None) -> Callable[[], Any]:
    """The workload's call in PyTorch eager, on so many threads, as `workloads.mvit_call` is ours.

    params   ours, which the model gets a copy of; None: its own random ones
    Raises ValueError for a model that torchvision has no code for, ImportError where it is not
    installed.
    """
    torch, _ = _libraries()
    torch.set_num_threads(threads)
    model = build(workload.config, params).to(getattr(torch, workload.dtype))
    clips, labels = examples(workload)
    clips, labels = _channels_first(torch, clips), torch.from_numpy(labels)
    if workload.mode == "forward":
        return _forward(torch, model.eval(), clips)
    model = model.train()
    if workload.checkpoint:
        model = _checkpointed(torch, model)
    return _step(torch, model, clips, labels)


def export(workload: Workload, params: Params, path: str) -> None:
    """Write torchvision's model with `params` (ours) to `path` as ONNX, for the workload's batch.

    Clips are (B, C, T, H, W). Raises ImportError where onnx and onnxscript are not installed.
    """
    torch, _ = _libraries()
    model = build(workload.config, params).eval()
    clips = _channels_first(torch, examples(workload)[0])
    # by torch.export: OpenVINO and ONNX Runtime both refuse what the older exporter makes of it
    torch.onnx.export(model, (clips,), path, dynamo=True, verbose=False)


def logits_and_gradients(
    params: Params, clips: Array, labels: Array, config: MViTConfig, threads: int
) -> tuple[Array, Params]:
    """Logits (B, K) and gradients by our parameters, in our layout.

    Of the cross-entropy in evaluation.
    """
    torch, _ = _libraries()
    torch.set_num_threads(threads)
    model = build(config, params).to(torch.from_numpy(clips).dtype).eval()
    logits = model(_channels_first(torch, clips))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return logits.detach().numpy(), layouts.to_params(grads, LAYOUT)


def build(config: MViTConfig, params: Params | None = None) -> Any:
    """torchvision's MViT of our `config`, with a copy of `params` (ours) where given."""
    torch, mvit = _libraries()
    check_known(config)
    p = plan(config)
    model = mvit.MViT(
        spatial_size=config.size_hw,
        temporal_size=config.frames,
        block_setting=[_block_setting(mvit, spec) for spec in p.blocks],
        residual_pool=config.residual_pooling is not None,
        residual_with_cls_embed=config.residual_pooling == "all",
        rel_pos_embed=config.positions == "relative",
        proj_after_attn=config.expand_in == "attention",
        dropout=config.dropout,
        stochastic_depth_prob=config.drop_path,
        num_classes=config.num_classes,
        patch_embed_kernel=p.embed.kernel,
        patch_embed_stride=p.embed.stride,
        patch_embed_padding=p.embed.padding,
    )
    if config.channels != 3:  # torchvision has no option for it
        sizes = p.embed.kernel, p.embed.stride, p.embed.padding
        model.conv_proj = torch.nn.Conv3d(config.channels, p.embed.dim, *sizes)
    if params is not None:
        state = layouts.from_params(params, config, LAYOUT)
        model.to(torch.from_numpy(np.empty(0, params["head"]["w"].dtype)).dtype)
        model.load_state_dict({name: torch.from_numpy(x) for name, x in state.items()})
    return model


def check_known(config: MViTConfig) -> None:
    """Raise ValueError where torchvision has no code for such a model."""
    try:
        check_holds(config, LAYOUT, "torchvision's")
    except ValueError as problem:
        rule = str(problem).partition(", unlike")[0]
        raise ValueError(
            f"torch has no model to compare this one with ({rule}): leave out --against"
        ) from None


def _block_setting(mvit, spec):
    """A pool that does not exist is an empty list to torchvision."""
    q, kv = spec.pool_q, spec.pool_kv
    return mvit.MSBlockConfig(
        num_heads=spec.heads,
        input_channels=spec.dim_in,
        output_channels=spec.dim_out,
        kernel_q=list(q.kernel) if q else [],
        kernel_kv=list(kv.kernel) if kv else [],
        stride_q=list(q.stride) if q else [],
        stride_kv=list(kv.stride) if kv else [],
    )


def _forward(torch, model, clips):
    def call():
        with torch.inference_mode():
            return model(clips)

    return call


def _step(torch, model, clips, labels):
    updates = optimizer(torch, model)

    def call():
        updates.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(clips), labels)
        loss.backward()
        updates.step()
        return loss.item()

    return call


def optimizer(torch: Any, model: Any, weight_decay: float = WEIGHT_DECAY, **settings: Any) -> Any:
    """AdamW by PyTorch's settings on the model's parameters; those decay that decay with us."""
    groups: dict[bool, list[Any]] = {True: [], False: []}
    for name, p in model.named_parameters():
        ours = names.to_ours(LAYOUT, name)
        assert ours, f"no parameter of ours is {name}"
        groups[decays(ours[0], p)].append(p)
    decayed = [
        {"params": group, "weight_decay": weight_decay * decay} for decay, group in groups.items()
    ]
    return torch.optim.AdamW(decayed, lr=RATE, **settings)


def _checkpointed(torch, model):
    from torch.utils.checkpoint import checkpoint

    for block in model.blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return model


def _channels_first(torch, clips):
    return torch.from_numpy(clips).movedim(-1, 1).contiguous()


@functools.cache
def _libraries():
    """torch and torchvision's module `mvit`."""
    try:
        import torch

        return torch, _import_mvit(torch)
    except ImportError:
        raise ImportError(
            "a comparison with torch needs PyTorch and torchvision: "
            f"{pip_install('torch', 'torchvision')}"
        ) from None


def _import_mvit(torch):
    """Also where torchvision lacks its compiled part: the two operators it misses are declared."""
    try:
        from torchvision.models.video import mvit
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.models.video import mvit

        mvit.declared_operators = library  # they last as long as it does
    return mvit
