"""Letters of any script: behind a figure's own font, those of the installed ones that have them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

# These are tried first: they look like Matplotlib's own, and one of them comes with most systems.
FIRST = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Microsoft YaHei", "Malgun Gothic", "PingFang SC", "Hiragino Sans GB", "Noto Sans Arabic",
    "Noto Sans Devanagari", "Noto Sans Symbols", "Noto Emoji", "Symbola", "Arial Unicode MS",
)  # fmt: skip
OF_BOXES = "Last Resort"  # comes with Matplotlib: it has all letters, as boxes
# What changes its neighbours and is not drawn: joiners, marks of direction, forms of emoji.
UNSEEN = {0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0xFE0E, 0xFE0F}


def add_fonts(figure: Figure) -> None:
    """Let each text of a figure fall back on installed fonts for letters that its own lacks.

    Warns in one sentence about letters that no installed font has. Which way a script runs and how
    its letters join is Matplotlib's: from 3.11 on it sets Arabic as it is written, earlier versions
    set the letters one by one from left to right.
    """
    lacking: set[str] = set()
    for text in figure.findobj(Text):
        letters = {ord(letter) for letter in text.get_text()} - UNSEEN - _letters_of(_own(text))
        letters = {letter for letter in letters if letter >= 0x20}
        if letters:
            names, left = _fonts_for(frozenset(letters))
            text.set_fontfamily([*dict.fromkeys([*text.get_fontfamily(), *names])])
            lacking |= set(map(chr, left))
    if lacking:
        some = ", ".join(sorted(lacking)[:5])
        warnings.warn(
            f"no installed font has the letters {some}, and they are drawn as boxes: install one "
            "that has them, such as Noto Sans of their script",
            stacklevel=3,
        )


@contextmanager
def quiet_about_fonts() -> Iterator[None]:
    """No word on each letter that no font has, which is a box, and on bold that stays thin."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from (current )?font")
            yield
    finally:
        logger.setLevel(level)


def _own(text):
    return font_manager.findfont(text.get_fontproperties(), fallback_to_default=True)


@lru_cache(maxsize=64)
def _fonts_for(letters: frozenset[int]) -> tuple[tuple[str, ...], frozenset[int]]:
    """(names of installed fonts that have these letters together, those that none has)"""
    names, lacking = _among(letters)
    if lacking and _add_new_ones():
        names, lacking = _among(letters)
    return names, lacking


def _among(letters):
    names: list[str] = []
    for name, path in _installed():
        if found := letters & _letters_of(path):
            names.append(name)
            letters -= found
        if not letters:
            break
    return tuple(names), letters


@cache
def _add_new_ones() -> int:
    """Fonts installed since Matplotlib made its list, which it keeps for good; how many."""
    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    added = 0
    for path in set(font_manager.findSystemFonts()) - known:
        try:
            manager.addfont(path)
            added += 1
        except (RuntimeError, OSError, ValueError):  # no font that it can read
            continue
    return added


def _installed() -> Iterable[tuple[str, str]]:
    """(name, file) of a plain face of each installed font, those of FIRST first."""
    plain = [f for f in font_manager.fontManager.ttflist if f.style == "normal"]
    plain.sort(key=lambda font: abs(int(_weight(font.weight)) - 400))  # the regular face first
    files: dict[str, str] = {}
    for font in plain:
        if not font.name.startswith(OF_BOXES):
            files.setdefault(font.name, font.fname)
    order = {name: number for number, name in enumerate(FIRST)}
    return sorted(files.items(), key=lambda pair: order.get(pair[0], len(order)))


def _weight(weight):
    return weight if isinstance(weight, int) else font_manager.weight_dict.get(weight, 400)


@cache
def _letters_of(path: str) -> frozenset[int]:
    """The letters that a font has; none for a file of pictures, which cannot be drawn at a size."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (RuntimeError, OSError, ValueError, TypeError):
        return frozenset()
