"""The classification loss."""

import numpy as np

from ..autodiff.tape import op
from ..backend.arrays import array_module, is_array
from ..backend.types import Array
from .softmax import softmax_array

SUM_IS_OFF = 1e-3  # a row of soft targets from 1: far above rounding, far below a mistake


@op
def cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0):
    """Mean of -sum_k t_k log softmax(logits)_k.

    logits: (B, K)   labels: (B,) or (B, K)   ->   a scalar

    The target t is 1 at the label, an integer in [0, K); or it is what `labels` say, if they are
    soft: (B, K) of the logits' dtype, shares of the classes, whose sum is 1 per clip. With label
    smoothing e it becomes (1 - e) t + e / K.

    dlogits = (softmax(logits) - t) / B

    A logit of -inf rules its class out: the loss is finite where t is 0 there, else infinite.
    Raises ValueError for no clips and for labels that are neither (what labels on a device hold is
    not looked at: that would wait for the device).
    """
    xp = array_module(logits)
    _check_labels(logits, labels)
    if not 0 <= smoothing < 1:
        rule = "label smoothing is a share in [0, 1)"
        raise ValueError(f"{rule}, came {smoothing}: the paper's is 0.1")
    count, classes = logits.shape
    target = labels
    if labels.ndim == 1:
        target = (labels[:, None] == xp.arange(classes)).astype(logits.dtype)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    log_p = xp.where(target == 0, 0, log_p)  # it may be -inf there, and 0 x inf is no number
    loss = (target * log_p * (-1 / count)).sum()

    def backward(dy):
        return (softmax_array(logits) - target) * (dy * (1 / count)), None

    return loss, backward


def _check_labels(logits, labels):
    if not is_array(labels):
        rule = "labels are an array of integers, or of soft targets"
        raise TypeError(f"{rule}; came {type(labels).__name__}: use numpy.asarray(labels)")
    if logits.shape[:1] == (0,):
        rule = "a loss is the mean over at least one clip"
        raise ValueError(f"{rule}; came none, logits {logits.shape}: pass clips")
    hard = labels.dtype.kind in "iu" and labels.shape == logits.shape[:1]
    soft = labels.dtype == logits.dtype and labels.shape == logits.shape
    if logits.ndim != 2 or not (hard or soft):
        raise ValueError(
            "labels are one integer per clip, or soft targets like the logits; "
            f"came {labels.dtype} {labels.shape} for {logits.dtype} logits {logits.shape}: "
            "give integers (B,), or shares (B, K) of the logits' dtype"
        )
    if isinstance(labels, np.ndarray) and labels.size:
        (_check_range if hard else _check_shares)(labels, logits.shape[1])


def _check_range(labels, classes):
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels lie in [0, {classes}), the model's classes; "
            f"came {labels.min()} to {labels.max()}: "
            "renumber the labels or give the config more num_classes"
        )


def _check_shares(targets, classes):
    least, off = targets.min(), abs(targets.sum(axis=1) - 1).max()
    if not (least >= 0 and off <= SUM_IS_OFF):
        raise ValueError(
            f"soft targets are shares of {classes} classes, none below 0 and their sum 1; "
            f"came shares from {least:.3g} on and a sum {off:.3g} away from 1: "
            "divide each row by its sum"
        )
