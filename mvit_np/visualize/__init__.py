"""Figures of a model's sizes, its attention and its training; each docstring says how to read one.

This is the only part of the package that imports matplotlib. No figure touches matplotlib's global
state.
"""

from ..model.inspection import class_attention
from .accuracy_cost import accuracy_cost_figure
from .alt import alt_text
from .attention import attention_figure
from .attention_distance import attention_distance_figure
from .class_sheet import class_sheet_figure
from .confusion import confusion_figure
from .contact_sheet import contact_sheet_figure
from .cost_bars import cost_bars_figure
from .cube_filters import cube_filters_figure
from .curves import curves_figure
from .experiment import experiment_figure
from .graph import graph_figure
from .layer_table import layer_table_figure
from .mistakes import mistakes_figure
from .pooling_attention import pooling_attention_figure
from .pooling_windows import pooling_windows_figure
from .position_similarity import position_similarity_figure
from .relevance import relevance_figure
from .rollout import rollout_figure
from .scaling import scaling_figure
from .stages import stage_figure
from .style import save, theme
from .timeline import clock, timeline_figure
from .training import training_figure

__all__ = [
    "accuracy_cost_figure",
    "alt_text",
    "attention_distance_figure",
    "attention_figure",
    "class_attention",
    "class_sheet_figure",
    "clock",
    "confusion_figure",
    "contact_sheet_figure",
    "cost_bars_figure",
    "cube_filters_figure",
    "curves_figure",
    "experiment_figure",
    "graph_figure",
    "layer_table_figure",
    "mistakes_figure",
    "pooling_attention_figure",
    "pooling_windows_figure",
    "position_similarity_figure",
    "relevance_figure",
    "rollout_figure",
    "save",
    "scaling_figure",
    "stage_figure",
    "theme",
    "timeline_figure",
    "training_figure",
]
