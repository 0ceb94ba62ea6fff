"""Parameters on disk: our own files, the public checkpoints of five code bases, and the way between them."""

from .convert import convert
from .inflate import inflate
from .load import load, save

__all__ = ["convert", "inflate", "load", "save"]
