"""torchvision's MViT with the sizes of one of our plans, and parameters carried over and back.

Written from torchvision's state dict alone: it shares no code with the package's own weight import.
"""

import re
import sys

import numpy as np
import torch

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.model.parameters import parameter_shapes

RENAMED = [
    (r"^patch_embed\b", "conv_proj"),
    (r"^cls_token$", "pos_encoding.class_token"),
    (r"^pos_embed_(\w+)$", r"pos_encoding.\1_pos"),
    (r"\.norm_([qkv])\b", r".pool_\1.norm_act.0"),
    (r"\.pool_([qkv])\.w$", r".pool_\1.pool.w"),
    (r"\.attn\.proj\b", ".attn.project.0"),
    (r"^(blocks\.\d+)\.proj\b", r"\1.project"),
    (r"\.mlp\.fc1\b", ".mlp.0"),
    (r"\.mlp\.fc2\b", ".mlp.3"),
    (r"^head\b", "head.1"),
    (r"\.[wg]$", ".weight"),
    (r"\.b$", ".bias"),
]


def _import_mvit():
    """torchvision's module `mvit`, also where torchvision lacks its compiled part (which MViT does
    without).

    Such a torchvision fails to import over two operators it expects there: declared by hand, they
    satisfy it.
    """
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


mvit = _import_mvit()
# small models on shared cores: threads that wait for each other cost a hundredfold
torch.set_num_threads(1)


def build(config):
    """torchvision's MViT of `config` in evaluation mode, its parameters without memory until
    `load_params`.

    Raises ValueError for what torchvision has no code for.
    """
    _check_known(config)
    p = mv.plan(config)
    with torch.device("meta"):
        model = mvit.MViT(
            spatial_size=config.size_hw,
            temporal_size=config.frames,
            block_setting=[_block_setting(spec) for spec in p.blocks],
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
    return model.eval()


def named(factory):
    """torchvision's own model `factory`, such as "mvit_v1_b", likewise."""
    with torch.device("meta"):
        return getattr(mvit, factory)().eval()


def _check_known(c):
    known = (
        c.pool == "conv"
        and c.cls_token
        and c.skip == "normalised"
        and c.mlp_ratio == 4
        and c.eps == 1e-6
    )
    if not known or c.channels != 3 or c.positions == "joint":
        raise ValueError(f"torchvision's MViT has no such model: {c}")


def _block_setting(spec):
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


def load_params(model, params):
    """Our parameters, in their dtype, become the model's. What ours lack by choice (a bias,
    positions in time) is 0.
    """
    given, wanted = params_to_state(params), model.state_dict()
    lacking = wanted.keys() - given.keys()
    assert given.keys() <= wanted.keys(), (
        f"torchvision lacks {sorted(given.keys() - wanted.keys())}"
    )
    assert all(map(_may_lack, lacking)), f"we lack {sorted(lacking)}"

    dtype = next(iter(given.values())).dtype
    zeros = {name: torch.zeros(wanted[name].shape, dtype=dtype) for name in lacking}
    model.load_state_dict(given | zeros, assign=True)
    return model


def _may_lack(name):
    return re.search(r"qkv\.bias$|rel_pos_t$|pos_encoding\.\w+_pos$", name) is not None


def params_to_state(params):
    """Our parameters (nested dicts) as a torchvision state dict: {name: tensor}."""
    return {
        _name(path): torch.from_numpy(_to_torch(path, leaf)) for path, leaf in tree.paths(params)
    }


def named_gradients(model, config):
    """{our path: gradient in our layout} of a torchvision model after `backward`."""
    grads = {name: p.grad for name, p in model.named_parameters()}
    paths = parameter_shapes(config)
    return {path: _from_torch(path, grads[_name(path)].numpy()) for path in paths}


def _name(path):
    for pattern, replacement in RENAMED:
        path = re.sub(pattern, replacement, path)
    return path


def _to_torch(path, x):
    """(in, out) -> (out, in); pools (kt, kh, kw, d) -> (d, 1, kt, kh, kw); cubes (.., C, D) -> (D,
    C, ..)
    """
    if path.endswith(".w"):
        x = x.transpose({2: (1, 0), 4: (3, 0, 1, 2), 5: (4, 3, 0, 1, 2)}[x.ndim])
        x = x[:, None] if x.ndim == 4 else x
    return np.ascontiguousarray(x)


def _from_torch(path, x):
    """The way back. (A pool's weight has 5 axes in torch, as the cubes' has: its second is 1.)"""
    if not path.endswith(".w"):
        return x
    if x.ndim == 2:
        return x.T
    return x[:, 0].transpose(1, 2, 3, 0) if ".pool_" in path else x.transpose(2, 3, 4, 1, 0)


def logits_of(model, clip):
    """(B, T, H, W, C) -> (B, K), NumPy to NumPy, no gradients."""
    with torch.no_grad():
        return model(_channels_first(clip)).numpy()


def logits_and_gradients(params, clip, config, cotangent):
    """Of torchvision: logits (B, K), and {our path: gradient of sum(logits cotangent)} with the
    "clip"'s.
    """
    model = load_params(build(config), params)
    x = _channels_first(clip).requires_grad_()
    logits = model(x)
    logits.backward(torch.from_numpy(cotangent))
    d_clip = x.grad.movedim(1, -1).numpy()
    return logits.detach().numpy(), named_gradients(model, config) | {"clip": d_clip}


def _channels_first(clip):
    return torch.from_numpy(clip).movedim(-1, 1).contiguous()
