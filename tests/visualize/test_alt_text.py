"""What a figure shows, in words; and that words of a dark figure can be read."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import mvit_np as mv
from mvit_np import visualize
from mvit_np.visualize import alt_text, dark


def panels(count=1, **layout):
    figure = Figure(layout="constrained", **layout)
    FigureCanvasAgg(figure)
    return figure, np.ravel(figure.subplots(1, count))


def test_a_single_panel_is_its_title_axes_and_legend():
    figure, (axes,) = panels()
    axes.plot([1, 2], label="MViT")
    axes.plot([2, 1], label="ViT")
    axes.set(title="It learns", xlabel="step", ylabel="loss")
    axes.legend()
    assert alt_text(figure) == "Curves: It learns, loss against step, for MViT, ViT."


def test_each_kind_of_panel_has_its_word_and_an_empty_one_has_none():
    figure, axes = panels(5)
    axes[0].plot([1, 2])
    axes[1].bar([1], [2])
    axes[2].imshow([[1]])
    axes[3].scatter([1], [2])
    for panel, title in zip(axes, "abcde"):
        panel.set_title(title)
    figure.suptitle("All kinds?")
    assert alt_text(figure) == "All kinds? Curves: a. Bars: b. Map: c. Points: d."


def test_neighbours_of_a_kind_share_its_word():
    figure, axes = panels(3)
    for panel, title in zip(axes, ("frame 0", "frame 2", "")):
        panel.imshow([[1]])
        panel.set_title(title)
    assert alt_text(figure) == "Maps: frame 0; frame 2."


def test_panels_that_say_the_same_are_said_once_and_formulas_without_their_signs():
    figure, axes = panels(2)
    for panel in axes:
        panel.plot([1])
        panel.set_xlabel(r"$\mathrm{d}_{k}$ of $q$")
    figure.suptitle("Two\nlines")
    assert alt_text(figure) == "Two lines. Curves: d_k of q."


def test_a_drawing_says_its_words_and_long_ones_end_with_an_ellipsis():
    figure, (axes,) = panels()
    axes.text(0, 0, "tokens")
    axes.text(0, 1, "keys")
    assert alt_text(figure) == "Drawing: with the words tokens, keys."
    axes.text(0, 0, " keys ")  # said once
    assert alt_text(figure) == "Drawing: with the words tokens, keys."
    for number in range(200):
        axes.text(0, 0, f"word {number}")
    assert len(alt_text(figure)) <= 600 and alt_text(figure).endswith(" …")


def test_the_package_s_figures_begin_with_their_message():
    plans = [mv.plan(mv.preset(name)) for name in ("mvit_b_16x4", "vit_b_8f")]
    words = alt_text(visualize.stage_figure(*plans))
    assert words.startswith("Tokens") or words.split(".")[0], words
    assert "$" not in words and "\n" not in words


# -- dark ------------------------------------------------------------------------------------------


def test_words_on_something_light_stay_dark_and_others_become_light():
    figure, (axes,) = panels()
    axes.imshow([[0.0, 1.0]], cmap="gray")
    axes.set(xlim=(-0.5, 1.5))
    on_black, on_white = (axes.text(x, 0, "word", color="#222222", ha="center") for x in (0, 1))
    title = axes.set_title("title")
    (line,) = axes.plot([0, 1], [0.2, 0.2], color="#222222")
    dark.darken(figure)
    assert to_hex(on_white.get_color()) == "#222222"
    assert to_hex(on_black.get_color()) == to_hex(title.get_color()) == dark.LIGHT.lower()
    assert to_hex(line.get_color()) == "#222222"  # it lies over the image


def test_a_second_time_changes_nothing():
    figure, (axes,) = panels()
    axes.bar([1, 2], [1, 2], color="#F0E442")
    axes.text(1, 0.5, "in a bar", color="#222222", ha="center")
    dark.darken(figure)
    once = [text.get_color() for text in axes.texts]
    dark.darken(figure)
    assert [text.get_color() for text in axes.texts] == once
    assert to_hex(once[0]) == "#222222"


@pytest.mark.parametrize(
    "one, other, wanted", [((0, 0, 0), (1, 1, 1), 21), ((1, 1, 1),) * 2 + (1,)]
)
def test_contrast_is_that_of_wcag(one, other, wanted):
    assert dark._contrast(one, other) == pytest.approx(wanted)
