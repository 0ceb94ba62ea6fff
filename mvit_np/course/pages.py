"""Pages of docs that go with a working copy: the words of the course, and its symbols."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = "glossary.md", "notation.md"
INSIDE = Path(__file__).parent / "docs"  # in a wheel
CLONE = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)*)docs/([\w/.]+)\)")
ON_PAGE = re.compile(r"\[([^\]]+)\]\(([^)]+)\)|<a href=[^>]+>([^<]+)</a>")


def pages() -> dict[str, str]:
    """{path in a working copy: text}, with links that lead to the copy's own files."""
    place = INSIDE if INSIDE.is_dir() else CLONE
    there = [place / name for name in PAGES if (place / name).is_file()]
    return {f"docs/{path.name}": _of_page(path.read_text(encoding="utf-8")) for path in there}


def within(text: str) -> str:
    """A notebook's text with links to a working copy's docs; those to other pages are words."""

    def led(link):
        words, up, page = link.groups()
        return f"[{words}]({up.removeprefix('../')}docs/{page})" if page in PAGES else words

    return LINK.sub(led, text)


def _of_page(text):
    def led(link):
        words, target, plain = link.groups()
        if target and (target in PAGES or "://" in target):
            return link[0]
        if target and target.startswith("notebooks/"):
            return f"[{words}](../{target.removeprefix('notebooks/')})"
        return words or plain

    return ON_PAGE.sub(led, text)
