"""What options accept."""

import argparse

MISTAKES = (ValueError, TypeError, OSError, ImportError)  # that a user made: answered with their sentence alone


def count(text):
    """A whole number >= 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number >= 1, came {text!r}")
    return int(text)
