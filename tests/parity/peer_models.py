"""PyTorchVideo's and timm's models with the sizes of one of our configs, in float64 with weights of
which none is trivial.

It shares no code with the package's own layouts: what a model computes is compared, not how its
weights are named.
"""

import numpy as np
import torch
import torch_models  # first: it makes torchvision importable where that lacks its compiled part  # noqa: F401
from draws import draw

import mvit_np as mv

SEED = 4


def pytorchvideo(config):
    """`create_multiscale_vision_transformers` of a v1 config."""
    from pytorchvideo.models.vision_transformers import create_multiscale_vision_transformers

    p = mv.plan(config)
    flat = config.frames == 1
    axes = slice(1, 3) if flat else slice(0, 3)  # an image model has 2-D cubes
    starts = [
        spec.index
        for spec in p.blocks
        if spec.index and p.blocks[spec.index - 1].stage != spec.stage
    ]
    kernel = None if config.pool_kernel == "s+1" else list(config.pool_kernel)
    model = create_multiscale_vision_transformers(
        spatial_size=config.size_hw,
        temporal_size=config.frames,
        cls_embed_on=config.cls_token,
        sep_pos_embed=config.positions == "separate",
        depth=config.depth,
        input_channels=config.channels,
        patch_embed_dim=config.dim,
        conv_patch_embed_kernel=p.embed.kernel[axes],
        conv_patch_embed_stride=p.embed.stride[axes],
        conv_patch_embed_padding=p.embed.padding[axes],
        use_2d_patch=flat,
        num_heads=config.heads,
        qkv_bias=config.qkv_bias,
        pooling_mode=config.pool,
        embed_dim_mul=[[i, 2.0] for i in starts],
        atten_head_mul=[[i, 2.0] for i in starts],
        pool_q_stride_size=[[i, *p.blocks[i].stride_q] for i in starts],
        pool_kv_stride_size=[[spec.index, *spec.stride_kv] for spec in p.blocks if spec.pool_kv],
        pool_kvq_kernel=kernel,
        head_num_classes=config.num_classes,
    )
    # the release leaves the pools' norms at torch's 1e-5; its main branch has 1e-6, as SlowFast
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config.eps
    return rough(model)


def timm_mvit(config):
    """`MultiScaleVit` of an image config with relative positions."""
    from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

    settings = MultiScaleVitCfg(
        depths=config.depths,
        embed_dim=config.dim,
        num_heads=config.heads,
        expand_attn=config.expand_in == "attention",
        qkv_bias=config.qkv_bias,
        use_cls_token=config.cls_token,
        kernel_qkv=config.pool_kernel[1:],
        stride_q=((1, 1), *[stride[1:] for stride in config.transitions]),
        stride_kv_adaptive=config.stride_kv[1:],
    )
    model = MultiScaleVit(
        settings, img_size=config.size_hw, in_chans=config.channels, num_classes=config.num_classes
    )
    return rough(model)


def timm_hiera(config):
    """timm's `Hiera` of pictures or clips."""
    from timm.models.hiera import Hiera

    p = mv.plan(config)
    axes = slice(1, 3) if config.frames == 1 else slice(0, 3)
    stages = len(config.depths)
    model = Hiera(
        img_size=config.thw[axes],
        in_chans=config.channels,
        embed_dim=config.dim,
        num_heads=config.heads,
        num_classes=config.num_classes,
        stages=config.depths,
        q_pool=stages - 1,
        q_stride=config.transitions[0][axes],
        mask_unit_size=config.mask_unit[axes],
        mask_unit_attn=tuple(stage < config.mask_unit_stages for stage in range(stages)),
        patch_kernel=p.embed.kernel[axes],
        patch_stride=p.embed.stride[axes],
        patch_padding=p.embed.padding[axes],
        sep_pos_embed=config.positions == "separate",
    )
    return rough(model)


def state_of(model):
    """{name: array} of a model's state dict."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def logits_and_input_gradient(model, clip, cotangent):
    """(B, K), and the gradient of sum(logits cotangent) by the clip.

    clip: (B, T, H, W, C), of one frame for image models
    """
    flat = clip.shape[1] == 1
    x = torch.from_numpy(np.moveaxis(clip[:, 0] if flat else clip, -1, 1).copy()).requires_grad_()
    logits = model(x)
    logits.backward(torch.from_numpy(cotangent))
    gradient = np.moveaxis(x.grad.numpy(), 1, -1)
    return logits.detach().numpy(), gradient[:, None] if flat else gradient


def rough(model):
    """Every bias, norm, token and table away from its neutral start; weights such that logits are
    of order 1.
    """
    model = model.double().eval()
    for name, tensor in model.state_dict().items():
        x = draw(SEED, name, tuple(tensor.shape))
        matrix = tensor.ndim > 1 and name.endswith("weight")
        gain = np.prod(tensor.shape[1:]) ** -0.5 if matrix else 0.2
        tensor.copy_(torch.from_numpy(gain * x + (tensor.ndim == 1 and name.endswith("weight"))))
    return model
