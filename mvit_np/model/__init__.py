"""The lesson: what one chooses, what follows from it, the layers and the whole model."""
