"""Checkpoints that SlowFast and facebookresearch/mvit wrote themselves: the config inside makes the
same function of them.
"""

import tarfile
import warnings

import numpy as np
import pytest
from draws import relative_error
from slowfast_files import ARCHIVE, CASES, CASES_OF_PICTURES, clip_of

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.weights import open_model

NAMES = [*CASES, *CASES_OF_PICTURES]


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """(folder of the checkpoints, {name: logits})"""
    folder = tmp_path_factory.mktemp("slowfast")
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            (folder / member.name).write_bytes(archive.extractfile(member).read())
    with np.load(folder / "logits.npz") as table:
        return folder, {name: table[name] for name in table.files}


@pytest.mark.parametrize("name", NAMES)
def test_their_files_give_their_logits_without_a_word(name, golden):
    folder, logits = golden
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params, config = mv.load(folder / f"{name}.pyth")
    clip = clip_of(name, config.frames, config.size)
    ours = mv.forward(tree.map(np.float64, params), clip, config)[0]
    assert relative_error(ours, logits[name]) < 1e-12


def test_they_say_how_clips_are_made(golden):
    folder, _ = golden
    for name, about in {
        "mvit_conv": mv.About(tau=3.0, normalise="video"),
        # Something-Something: frames spread over the film
        "mvitv2_flat_time": mv.About(tau=None, normalise="video"),
        "mvitv2_picture": mv.About(tau=1.0, normalise="imagenet"),
        "fb": mv.About(tau=1.0, normalise="imagenet"),
    }.items():
        assert open_model(folder / f"{name}.pyth").about == about
