"""Figures of a model's sizes, its attention and its training. Each function's docstring says how to read its figure.

This is the only part of the package that imports matplotlib. No figure touches matplotlib's global state.
"""

from .attention import attention_figure, class_attention
from .contact_sheet import contact_sheet_figure
from .pooling_attention import pooling_attention_figure
from .scaling import scaling_figure
from .stages import stage_figure
from .style import save
from .training import training_figure

__all__ = [
    "attention_figure",
    "class_attention",
    "contact_sheet_figure",
    "pooling_attention_figure",
    "save",
    "scaling_figure",
    "stage_figure",
    "training_figure",
]
