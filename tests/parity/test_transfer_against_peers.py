"""Features equal what hooks see in PyTorchVideo's, timm's and torchvision's models, and the files
that these write of models without a head load.
"""

from dataclasses import replace

import numpy as np
import pytest
from draws import CONFIGS, draw_clip, draw_params, relative_error

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.weights import open_model

torch_models = pytest.importorskip(
    "torch_models", reason="parity needs them: pip install torch torchvision"
)
import peer_models  # noqa: E402
import torch  # noqa: E402
from test_layouts_against_peers import HIERA, HIERA_IMAGE, V1, V2_IMAGE  # noqa: E402

SEED = 6


def hooked(modules, model, clip):
    """What these modules put out, tokens (B, N, D) each."""
    seen = []

    def note(module, given, output):
        seen.append((output[0] if isinstance(output, tuple) else output).detach().numpy())

    handles = [module.register_forward_hook(note) for module in modules]
    x = np.moveaxis(clip[:, 0] if clip.shape[1] == 1 else clip, -1, 1).copy()
    with torch.no_grad():
        result = model(torch.from_numpy(x)).numpy()
    for handle in handles:
        handle.remove()
    return seen, result


def assert_maps(found, theirs, cls):
    for ours, tokens in zip(found.maps, theirs, strict=True):
        tokens = tokens[:, cls:].reshape(ours.shape)
        assert relative_error(ours, tokens) < 1e-10


def last_blocks(model, config):
    ends = np.cumsum(config.depths) - 1
    return [model.blocks[end] for end in ends]


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_maps_equal_hooks_in_torchvision(name):
    config = CONFIGS[name]
    model, params = torch_models.build(config), draw_params(config, SEED)
    torch_models.load_params(model, params)
    clip = draw_clip(config, SEED)
    theirs, logits = hooked(last_blocks(model, config), model, clip)
    found = mv.features(params, clip, config)
    assert_maps(found, theirs, config.cls_token)
    scores = found.pooled @ params["head"]["w"] + params["head"]["b"]
    assert relative_error(scores, logits) < 1e-10


def without_head(model, path, key=None):
    """The model's file as torch.save writes it."""
    state = {name: x.float() for name, x in model.state_dict().items()}
    assert not any(name.startswith(("head.proj", "head.fc")) for name in state)
    torch.save({key: state} if key else state, path)
    return model.double()


def test_pytorchvideos_head_none(tmp_path):
    pytest.importorskip("pytorchvideo.models.vision_transformers")
    model = peer_models.pytorchvideo(V1)
    model.load_state_dict({name: x.float().double() for name, x in model.state_dict().items()})
    model.head = None
    without_head(model, tmp_path / "a.pyth", "model_state")
    found = open_model(tmp_path / "a.pyth", like=V1)
    assert found.headless and "it has no head: the one for 5 classes is new" in found.doubts
    params, clip = tree.map(np.float64, found.params), draw_clip(V1, SEED)
    assert not params["head"]["w"].any()
    theirs, tokens = hooked(last_blocks(model, V1), model, clip)
    ours = mv.features(params, clip, found.config)
    assert_maps(ours, theirs, 1)
    pooled = tokens if tokens.ndim == 2 else tokens[:, 0]
    assert relative_error(ours.pooled, pooled) < 1e-10


@pytest.mark.parametrize("config", [V2_IMAGE, replace(V2_IMAGE, cls_token=True)])
def test_timms_num_classes_0(tmp_path, config):
    pytest.importorskip("timm")
    config = replace(config, residual_pooling="all")
    model = peer_models.timm_mvit(config)
    model.load_state_dict({name: x.float().double() for name, x in model.state_dict().items()})
    model.reset_classifier(0)
    without_head(model, tmp_path / "a.pth")
    with pytest.warns(UserWarning, match="it has no head: the one for 7 classes is new"):
        params, found = mv.load(tmp_path / "a.pth", num_classes=7, size=config.size)
    assert found.num_classes == 7
    params, clip = tree.map(np.float64, params), draw_clip(config, SEED)
    theirs, pooled = hooked([stage.blocks[-1] for stage in model.stages], model, clip)
    ours = mv.features(params, clip, replace(found, stride_kv=config.stride_kv))
    assert_maps(ours, theirs, config.cls_token)
    assert relative_error(ours.pooled, pooled) < 1e-10


@pytest.mark.parametrize("config", [HIERA, HIERA_IMAGE])
def test_timms_hiera_num_classes_0(tmp_path, config):
    pytest.importorskip("timm")
    model = peer_models.timm_hiera(config)
    model.load_state_dict({name: x.float().double() for name, x in model.state_dict().items()})
    model.reset_classifier(0)
    without_head(model, tmp_path / "a.pth")
    found = open_model(tmp_path / "a.pth", like=config)
    assert found.headless and found.config == config
    params, clip = tree.map(np.float64, found.params), draw_clip(config, SEED)
    _, pooled = hooked([], model, clip)
    assert relative_error(mv.features(params, clip, config).pooled, pooled) < 1e-10
