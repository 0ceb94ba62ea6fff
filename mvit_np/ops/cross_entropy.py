"""The classification loss."""

import numpy as np

from ..autodiff import op
from ..backend import array_module, is_array
from .softmax import softmax_array


@op
def cross_entropy(logits, labels, smoothing=0.0):
    """Mean of -sum_k t_k log softmax(logits)_k.   logits: (B, K)   labels: (B,) integers in [0, K)   ->   a scalar

    The target t is 1 at the label, or with label smoothing e it is 1 - e + e / K there and e / K elsewhere.
    dlogits = (softmax(logits) - t) / B.  Raises ValueError for labels that are no such integers (the range of labels on a
    device is not looked at: that would wait for the device).
    """
    xp = array_module(logits)
    _check_labels(logits, labels)
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing is a share in [0, 1), came {smoothing}: the paper's is 0.1")
    count, classes = logits.shape
    target = (labels[:, None] == xp.arange(classes)).astype(logits.dtype)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    loss = (target * log_p).sum() * (-1 / count)

    def backward(dy):
        return (softmax_array(logits) - target) * (dy * (1 / count)), None

    return loss, backward


def _check_labels(logits, labels):
    if not is_array(labels):
        raise TypeError(f"labels are an integer array; came {type(labels).__name__}: use numpy.asarray(labels)")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels are one integer a clip; came {labels.dtype} {labels.shape} for logits {logits.shape}: give shape (B,)"
        )
    classes = logits.shape[1]
    if isinstance(labels, np.ndarray) and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels lie in [0, {classes}), the model's classes; came {labels.min()} to {labels.max()}: "
            "renumber the labels or give the config more num_classes"
        )
