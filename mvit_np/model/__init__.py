"""The lesson: what one chooses, what follows from it, the layers and the whole model."""

from . import fast  # noqa: F401  (it registers the faster versions)
