"""SlowFast's own files without their heads, and encoders of MaskFeat, MAE and Hiera's MAE: what is
there is loaded, what is not is new and said, and commands that need a head say so.
"""

import tarfile

import numpy as np
import pytest
from slowfast_files import ARCHIVE

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.cli import main
from mvit_np.weights import open_model
from mvit_np.weights.formats import files
from mvit_np.weights.load import load_with_notes

PREDICTORS = {
    "maskfeat": ["mask_token", "pred_head.transforms.0.weight", "hogs.0.weight_x"],
    "mae": ["mask_token", "decoder_embed.weight", "decoder_pos_embed", "dec_blocks.0.w"],
}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slowfast")
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            (folder / member.name).write_bytes(archive.extractfile(member).read())
    return folder


def encoder(golden, name, path, also=(), gone=("head.",), model="MViT"):
    """A golden file without some names, with others, and with another word for its model."""
    tensors, metadata = files.read(golden / f"{name}.pyth")
    kept = {name: x for name, x in tensors.items() if not name.startswith(gone)}
    assert "MODEL_NAME: MViT" in metadata["cfg"]
    cfg = metadata["cfg"].replace("MODEL_NAME: MViT", f"MODEL_NAME: {model}")
    kept |= {name: np.ones((2, 2), np.float32) for name in also}
    files.write(path, kept, {"cfg": cfg}, "model_state")
    return path


@pytest.mark.parametrize("name, of", [("mvitv2_maskfeat", "maskfeat"), ("vit_mae", "mae")])
def test_encoders_load_and_their_head_is_new(golden, tmp_path, name, of):
    whole, config = mv.load(golden / f"{name}.pyth")
    gone = ("head.", "norm.") if of == "maskfeat" else ("head.",)
    path = encoder(golden, name, tmp_path / "a.pyth", PREDICTORS[of], gone, "MaskMViT")
    found = open_model(path, num_classes=config.num_classes)
    assert found.headless and found.config == config
    same = [name for name in whole if name not in ("head", "norm")]
    for part in same:
        tree.map(np.testing.assert_array_equal, found.params[part], whole[part])
    if of == "maskfeat":
        assert (found.params["norm"]["g"] == 1).all() and not found.params["norm"]["b"].any()
    else:
        tree.map(np.testing.assert_array_equal, found.params["norm"], whole["norm"])
    assert not found.params["head"]["w"].any()
    assert found.new_head in [note.text for note in load_with_notes(path, num_classes=3)[2]]


def test_hieras_mae_has_its_norm_under_another_name(tmp_path):
    config = mv.MViTConfig(
        frames=4, size=32, num_classes=5, dim=8, depths=(1, 2, 2), stride_kv=None, pool="max",
        pool_kernel="s", skip_kernel="s", cls_token=False, mean_before_norm=True,
        mask_unit=(1, 4, 4), expand_in="attention",
    )  # fmt: skip
    params = mv.init(config, np.random.default_rng(0))
    params["norm"] = tree.map(lambda x: x + 0.5, params["norm"])
    mv.save(tmp_path / "a.npz", params, config)
    mv.convert(tmp_path / "a.npz", tmp_path / "a.pth", to="timm")
    tensors, _ = files.read(tmp_path / "a.pth")
    theirs = {n: x for n, x in tensors.items() if not n.startswith("head.fc")}
    theirs = {n.replace("head.norm.", "encoder_norm."): x for n, x in theirs.items()}
    for name in ("mask_token", "decoder_pred.weight", "multi_scale_fusion_heads.0.weight"):
        theirs[name] = np.ones((3, 3), np.float32)
    files.write(tmp_path / "b.pth", {f"module.{n}": x for n, x in theirs.items()})
    found = open_model(tmp_path / "b.pth", like=config)
    assert found.headless and found.layout == "timm_hiera" and found.config == config
    tree.map(np.testing.assert_array_equal, found.params["norm"], params["norm"])


def test_a_head_of_which_a_part_is_missing_is_still_damaged(golden, tmp_path):
    path = encoder(golden, "mvit_conv", tmp_path / "a.pyth", gone=("head.projection.bias",))
    with pytest.raises(ValueError, match="also has head.projection.bias: the file is incomplete"):
        mv.load(path)


def test_what_needs_a_head_says_so(golden, tmp_path, capsys):
    path = encoder(golden, "mvit_conv", tmp_path / "a.pyth")
    with pytest.warns(UserWarning, match="it has no head: the one for 400 classes is new"):
        mv.load(path)
    commands = {
        ("classify", "a.mp4", "--weights", path): "classes are told by a head",
        ("evaluate", path, "--data", "digits"): "classes are told by a head",
        ("convert", path, tmp_path / "a.npz"): "a classifier is converted",
    }
    (tmp_path / "a.mp4").touch()
    for command, words in commands.items():
        assert main([str(word) for word in command]) == 2
        said = capsys.readouterr().err
        assert words in said and "mvit-np finetune" in said and len(said.splitlines()) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"a.pyth", "a.mp4"}
