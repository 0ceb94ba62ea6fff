"""The pictures of notebooks are stored with words, and in the colours of both themes."""

import base64
import io
import sys
from pathlib import Path

import pytest

needs = "needs jupytext, nbclient and ipykernel: pip install '.[notebooks]'"
for library in ("jupytext", "nbclient", "ipykernel"):
    pytest.importorskip(library, reason=needs)

import nbformat  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "notebooks"))
import pictures  # noqa: E402
import refresh  # noqa: E402

sys.path.pop(0)

NOTEBOOK = """# %%
# %matplotlib inline
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2)
left.plot([1, 3, 2], label="ours")
left.set(title="It falls", xlabel="step", ylabel="loss")
left.legend()
right.imshow([[0, 1]])
right.set_title("Weights of $q_i$")
figure.suptitle("Two panels")
dark = small = COLOURS = DARK = Dark = {}  # names of a notebook are its own
plt.show()

# %%
1 + 1
"""


def opened(base64_text):
    return Image.open(io.BytesIO(base64.b64decode(base64_text))).convert("RGB")


def test_a_figure_is_stored_with_words_and_in_dark_colours(tmp_path):
    (tmp_path / "00_a.py").write_text(NOTEBOOK)
    first, second = refresh.storable(refresh.executed(tmp_path / "00_a.py")).cells
    assert (first.execution_count, second.execution_count) == (1, 2)
    (output,) = first.outputs
    assert output.metadata["image/png"]["alt"] == (
        "Two panels. Curves: It falls, loss against step, for ours. Map: Weights of q_i."
    )
    light, dark = opened(output.data["image/png"]), opened(output.data[pictures.DARK])
    assert light.size == dark.size
    assert light.getpixel((0, 0)) == (255, 255, 255) and max(dark.getpixel((0, 0))) < 40
    nbformat.validate(nbformat.v4.new_notebook(cells=[first, second]))


def test_a_palette_changes_no_colour_that_an_eye_would_tell_apart():
    rng = np.random.default_rng(0)
    smooth = np.stack(np.meshgrid(np.linspace(0, 255, 300), [40, 200], np.arange(3)), -1)[..., 0]
    few = rng.integers(0, 256, (40, 3))[rng.integers(0, 40, (60, 300))]
    picture = np.concatenate([few, np.repeat(smooth.astype(int), 10, 0)]).astype("uint8")
    picture[5, 5] = (255, 0, 255)  # a single dot
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "png")
    found = np.asarray(opened(pictures.in_text(pictures.small(png.getvalue()))))
    assert np.abs(found.astype(int) - picture).max() <= 8
