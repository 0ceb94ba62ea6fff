"""Letters that a figure's own font lacks: an installed font draws them, or a sentence says so."""

import warnings
from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager

from mvit_np import visualize
from mvit_np.visualize import fonts
from mvit_np.visualize.style import new_figure

OURS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def letters_of(name):
    return fonts._letters_of(str(OURS / f"{name}.ttf"))


def figure_of(letter):
    return new_figure(2.0, f"a class called {letter}")


@pytest.fixture
def shipped(monkeypatch):
    """As where no font but Matplotlib's own is installed."""
    few = [font for font in font_manager.fontManager.ttflist if str(OURS) in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", few)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    for function in (fonts._fonts_for, fonts._add_new_ones):
        function.cache_clear()
    yield
    for function in (fonts._fonts_for, fonts._add_new_ones):
        function.cache_clear()


def test_a_letter_is_drawn_by_a_font_that_has_it(shipped, tmp_path):
    letter = max(letters_of("STIXGeneral") - letters_of("DejaVuSans-Bold"))
    figure = figure_of(chr(letter))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visualize.save(figure, tmp_path / "a.png")
    families = figure.texts[0].get_fontfamily()
    behind = [font.fname for font in font_manager.fontManager.ttflist if font.name in families]
    assert any(letter in fonts._letters_of(path) for path in behind)
    assert figure.texts[1].get_fontfamily() == new_figure(2.0, "a").texts[1].get_fontfamily()


def test_letters_that_no_font_has_are_said_in_one_sentence(shipped, tmp_path):
    figure = figure_of("跑步 𒀀")
    with pytest.warns(UserWarning) as said:
        visualize.save(figure, tmp_path / "a.png")
    assert [str(one.message) for one in said] == [
        "no installed font has the letters 步, 跑, 𒀀, and they are drawn as boxes: install one "
        "that has them, such as Noto Sans of their script"
    ]


def test_a_font_that_was_installed_after_matplotlib_made_its_list_is_found(
    shipped, monkeypatch, tmp_path
):
    stix = [font for font in font_manager.fontManager.ttflist if "STIX" in font.name]
    rest = [font for font in font_manager.fontManager.ttflist if "STIX" not in font.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", rest)
    boxes = [font for font in rest if font.name.startswith(fonts.OF_BOXES)]
    files = {font.fname for font in rest} - {font.fname for font in boxes}
    known = {letter for path in files for letter in fonts._letters_of(path)}
    letter = max(letters_of("STIXNonUni") - known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [font.fname for font in stix])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visualize.save(figure_of(chr(letter)), tmp_path / "a.png")


def test_a_file_that_is_no_font_is_passed_over(shipped, monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"nothing")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken)])
    with pytest.warns(UserWarning, match="no installed font has the letters 跑"):
        visualize.save(figure_of("跑"), tmp_path / "a.png")
    assert fonts._letters_of(str(broken)) == frozenset()
