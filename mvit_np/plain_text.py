"""Text that others wrote (names of files, of classes, of tensors), made fit for a terminal, a table or a title."""

from __future__ import annotations


def plain(text):
    """The text on one line, with whatever does not print (escape sequences, line breaks, halves of characters) spelled out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))
