"""What ops give, in plain loops: the truth that tests hold against them."""

import itertools
import math

import numpy as np


def rows(x):
    """(index, row) of each row along the last axis."""
    return [(i, x[i]) for i in np.ndindex(x.shape[:-1])]


def linear_loop(x, w, b=None):
    y = np.zeros((*x.shape[:-1], w.shape[1]))
    for i, row in rows(x):
        for o in range(w.shape[1]):
            y[i][o] = sum(row[k] * w[k, o] for k in range(len(row))) + (0 if b is None else b[o])
    return y


def gelu_loop(x):
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x.ravel()]).reshape(x.shape)


def softmax_loop(x):
    y = np.zeros_like(x)
    for i, row in rows(x):
        top = max(row)
        total = sum(math.exp(v - top) for v in row)
        y[i] = [math.exp(v - top) / total for v in row]
    return y


def layer_norm_loop(x, g, b, eps=1e-6):
    y = np.zeros_like(x)
    for i, row in rows(x):
        mean = sum(row) / len(row)
        var = sum((v - mean) ** 2 for v in row) / len(row)
        y[i] = [g[k] * (v - mean) / math.sqrt(var + eps) + b[k] for k, v in enumerate(row)]
    return y


def attend_loop(q, k, v, scale):
    z = np.zeros((*q.shape[:3], v.shape[3]))
    for n, i, head in np.ndindex(q.shape[:3]):
        weights = [math.exp(scale * sum(q[n, i, head] * key)) for key in k[n, :, head]]
        z[n, i, head] = sum(w * value for w, value in zip(weights, v[n, :, head])) / sum(weights)
    return z


def window_loop(reduce, shape, x, kernel, stride, padding):
    """y[clip, place] = reduce({position in the kernel: cell of x}), with L_out = floor((L + 2p - k)
    / s) + 1 (Sec. 3.1).
    """
    grid = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.shape[1:4], padding, kernel, stride)]
    y = np.zeros((x.shape[0], *grid, *shape))
    for n, *place in np.ndindex(y.shape[:4]):
        window = {}
        for tap in np.ndindex(*kernel):
            cell = tuple(o * s - p + i for o, s, p, i in zip(place, stride, padding, tap))
            if all(0 <= c < length for c, length in zip(cell, x.shape[1:4])):
                window[tap] = x[(n, *cell)]
        y[(n, *place)] = reduce(window)
    return y


def cube_conv_loop(x, w, b, stride, padding):
    return window_loop(
        lambda window: sum(pixels @ w[tap] for tap, pixels in window.items()) + b,
        w.shape[-1:], x, w.shape[:3], stride, padding,
    )  # fmt: skip


def depthwise_conv_loop(x, w, stride, padding):
    return window_loop(
        lambda window: sum(cell * w[tap] for tap, cell in window.items()),
        x.shape[4:],
        x,
        w.shape[:3],
        stride,
        padding,
    )


def max_pool_loop(x, *geometry):
    return window_loop(
        lambda window: np.max(list(window.values()), axis=0), x.shape[4:], x, *geometry
    )


def avg_pool_loop(x, kernel, *geometry):
    return window_loop(
        lambda window: sum(window.values()) / math.prod(kernel), x.shape[4:], x, kernel, *geometry
    )


def cross_entropy_loop(logits, shares, smoothing=0.0):
    """The mean over clips of -sum_k t_k log p_k, with t the smoothed shares."""
    classes, total = logits.shape[1], 0.0
    for clip, row in enumerate(softmax_loop(logits)):
        for k in range(classes):
            target = (1 - smoothing) * shares[clip][k] + smoothing / classes
            total -= target * math.log(row[k])
    return np.array(total / len(logits))


def project_loop(x, w, b, part):
    d = w.shape[1] // 3
    y = np.zeros((*x.shape[:2], d))
    for n, token, channel in itertools.product(range(len(x)), range(x.shape[1]), range(d)):
        y[n, token, channel] = sum(x[n, token] * w[:, part * d + channel]) + b[part * d + channel]
    return y


def join_class_loop(cls, x):
    return np.stack(
        [np.concatenate([cls[n] if cls.ndim > 1 else cls[None], x[n]]) for n in range(len(x))]
    )


def units_loop(x, thw, unit):
    """Token by token: which unit it lies in, and where inside it."""
    counts = [n // u for n, u in zip(thw, unit)]
    y = np.zeros((len(x) * np.prod(counts), np.prod(unit), *x.shape[2:]))
    for clip, t, h, w in itertools.product(range(len(x)), *map(range, thw)):
        place = np.ravel_multi_index([i // u for i, u in zip((t, h, w), unit)], counts)
        inside = np.ravel_multi_index([i % u for i, u in zip((t, h, w), unit)], unit)
        y[clip * np.prod(counts) + place, inside] = x[clip, np.ravel_multi_index((t, h, w), thw)]
    return y


def mean_loop(x):
    return sum(x[:, i] for i in range(x.shape[1])) / x.shape[1]


def bias_loop(q, tables, thw_q, thw_kv, cls_k):
    """The summand of each logit (MViTv2, Sec. 4.1): q_i . (R_t[..] + R_h[..] + R_w[..]), none to or
    from a class token.

    Distances count in the finer of the two grids; a table of another length is read by linear
    interpolation.
    """
    places_q, places_k = (list(np.ndindex(*thw)) for thw in (thw_q, thw_kv))
    cls_q = q.shape[1] - len(places_q)
    bias = np.zeros((q.shape[0], q.shape[2], q.shape[1], len(places_k) + cls_k))
    for (i, at), (j, to), (axis, table) in itertools.product(
        enumerate(places_q), enumerate(places_k), tables.items()
    ):
        n, m = thw_q[axis], thw_kv[axis]
        row = at[axis] * max(m / n, 1) - to[axis] * max(n / m, 1) + (m - 1) * max(n / m, 1)
        bias[:, :, cls_q + i, cls_k + j] += (
            q[:, cls_q + i] @ resized(table, 2 * max(n, m) - 1)[int(row)]
        )
    return bias


def resized(table, length):
    """Linear interpolation with half-pixel centres, constant beyond the ends."""
    centres = [(i + 0.5) * len(table) / length - 0.5 for i in range(length)]
    return np.array(
        [[np.interp(c, range(len(table)), column) for column in table.T] for c in centres]
    )
