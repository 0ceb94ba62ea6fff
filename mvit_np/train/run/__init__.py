"""From a recipe to a trained model and its tests: where training, data and models meet."""

from .job import Job, prepare
from .run import run
from .trained import Trained, evaluated, test_of, trained

__all__ = ["Job", "Trained", "evaluated", "prepare", "run", "test_of", "trained"]
