"""Parameters on disk: our own files, public checkpoints of five code bases, and the way between."""

from .about import About
from .convert import convert
from .inflate import inflate
from .load import load, open_model, save

__all__ = ["About", "convert", "inflate", "load", "open_model", "save"]
