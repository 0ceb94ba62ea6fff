"""The exercises of chapters 00, 07 and 08 and the investigations, solved in other valid ways."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import scipy.stats

import mvit_np as mv
from mvit_np import course


def channels_by_einsum(clips):
    moved = np.einsum("bcthw->bthwc", clips).copy()
    return moved.reshape(len(moved), -1, moved.shape[-1])


def numbers_by_paths(tree):
    return sum(leaf.size for leaf in mv.tree.leaves(tree))


def lost_by_arrays(dtype, step):
    powers = 2.0 ** np.arange(1, 60 if dtype == "float64" else 15 if dtype == "float16" else 30)
    typed = powers.astype(dtype)
    return int(powers[(typed + typed.dtype.type(step) == typed).argmax()])


def reads_by_windows(n, kernel, stride, padding):
    cells = np.arange(-padding, n + padding)
    windows = np.lib.stride_tricks.sliding_window_view(cells, kernel)[::stride]
    counts = [np.int64((windows == cell).sum()) for cell in range(n)]
    return [min(counts), max(counts)]


def cells_by_formula(kernels, strides):
    return 1 + sum((k - 1) * math.prod(strides[:i]) for i, k in enumerate(kernels))


def attend(q, k, v):
    weights = scipy.special.softmax(np.einsum("bqd,bkd->bqk", q, k) / q.shape[-1] ** 0.5, axis=-1)
    return np.einsum("bqk,bkd->bqd", weights, v)


def order_by_take(q, k, v, order):
    z, (kk, vv, qq) = attend(q, k, v), (np.take(x, order, axis=1) for x in (k, v, q))
    changes = attend(q, kk, vv) - z, attend(q, kk, v) - z, attend(qq, k, v) - z[:, list(order)]
    return np.array([max(change.max(), -change.min()) for change in changes])


def error_by_windows(q, k, v, strides):
    def pooled(x, s):
        windows = np.lib.stride_tricks.sliding_window_view(x, s, axis=1)[:, ::s]
        return windows.mean(axis=-1)

    full = attend(q, k, v)
    gaps = [attend(q, pooled(k, s), pooled(v, s)) - full for s in strides]
    return np.array([np.linalg.norm(gap) / np.linalg.norm(full) for gap in gaps])


def shares_from_names(config):
    lines = [line for line in mv.costs(config).lines if line.name.startswith("block")]
    ends = np.cumsum(config.depths)
    macs = [sum(line.macs for line in lines[e - d : e]) for e, d in zip(ends, config.depths)]
    return np.array(macs) / sum(macs)


def growth_by_lists(config, frames):
    macs = [mv.costs(replace(config, frames=n)).macs for n in frames]
    pairs = zip(macs, macs[1:], frames, frames[1:])
    return np.array([math.log(b / a) / math.log(g / f) for a, b, f, g in pairs])


def four_stages(frames, size, macs, tokens, channels, blocks):
    return mv.MViTConfig(
        frames=frames, size=size, dim=channels // 8, heads=2, pool="max",
        depths=(2, blocks - 4, 1, 1), cube_kernel=(1, 5, 5), positions="none",
    )  # fmt: skip


def version_2(frames, size, macs, tokens, channels, blocks):
    """As MViTv2 does it: the attention widens, keys and values are pooled more."""
    return mv.MViTConfig(
        frames=frames, size=size, dim=channels // 8, depths=(1, 1, blocks - 2, 1),
        expand_in="attention", pool_q_always=True, residual_pooling="tokens",
    )  # fmt: skip


def gradient_by_exp(z, y):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.einsum("bk,b->bk", e, 1 / e.sum(axis=1)) / len(z) - y / len(z)


def rates_by_list(steps, warmup, peak):
    up = [peak * (i + 1) / warmup for i in range(warmup)]
    down = [peak * math.cos(math.pi * i / (steps - warmup) / 2) ** 2 for i in range(steps - warmup)]
    return np.array(up + down)


def adamw_in_another_order(p, g, m, v, t, rate, decay):
    p = p * (1 - rate * decay)
    m, v = m + 0.1 * (g - m), v + 0.001 * (g**2 - v)
    return [p - rate * m / (1 - 0.9**t) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8), m, v]


def accuracy_by_take(guess, clips, labels, orders):
    shown = [range(clips.shape[1]), *orders]
    return np.array([float(np.mean(guess(np.take(clips, o, axis=1)) == labels)) for o in shown])


def ablation_by_sorting(results, high, low):
    found = {}
    for run in results["runs"]:
        found.setdefault(run["variant"], []).append(100 * run["accuracy"]["in order"])
    a, b = (np.array(found[name], np.float64) for name in (high, low))
    spread = math.sqrt((a.std(ddof=1) ** 2 + b.std(ddof=1) ** 2) / 2)
    return np.array([a.mean(), b.mean(), a.mean() - b.mean(), max(1.0, 2 * spread)])


OTHER_WAYS = {
    "00.strides_of": [
        lambda shape, size: np.empty(shape, f"S{size}").strides,
        lambda shape, size: [size * int(np.prod(shape[a + 1 :])) for a in range(len(shape))],
    ],
    "00.channels_last": [
        channels_by_einsum,
        lambda x: x.transpose(0, 2, 3, 4, 1).reshape(len(x), -1, x.shape[1]).copy(),
    ],
    "00.count_numbers": [numbers_by_paths],
    "00.first_lost": [
        lambda dtype, step: int(2 * step / float(np.finfo(dtype).eps)),
        lost_by_arrays,
    ],
    "01.times_read": [reads_by_windows],
    "02.cells_seen": [cells_by_formula, lambda k, s: np.int64(cells_by_formula(k, s))],
    "03.order_of_tokens": [order_by_take],
    "04.pooling_error": [error_by_windows],
    "05.stage_shares": [shares_from_names],
    "07.attention_share": [
        lambda n, d: 2 * n**2 * d / (12 * n * d**2 + 2 * n**2 * d),
        lambda n, d: 1 / (1 + 6 * d / n),
    ],
    "07.predict_macs": [lambda config: sum(line.macs for line in mv.costs(config).lines)],
    "07.growth": [growth_by_lists],
    "07.design_pyramid": [four_stages, version_2],
    "08.cross_entropy_gradient": [gradient_by_exp],
    "08.rates": [rates_by_list],
    "08.adamw_step": [adamw_in_another_order],
    "08.accuracy_by_order": [accuracy_by_take],
    "08.coin_flips": [
        lambda right, n: scipy.stats.binom.sf(np.array(right) - 1, n, 0.5),
        lambda right, n: np.array(
            [sum(math.comb(n, k) for k in range(r, n + 1)) / 2**n for r in right]
        ),
    ],
    "08.own_ablation": [ablation_by_sorting],
}
WAYS = [
    pytest.param(name, way, id=f"{name} {number}")
    for name, ways in OTHER_WAYS.items()
    for number, way in enumerate(ways)
]


@pytest.mark.parametrize("name, way", WAYS)
def test_other_valid_ways_are_accepted(name, way):
    for seed in range(3):
        result = course.check(name, way, seed=seed)
        assert result, result


@pytest.mark.parametrize("name", OTHER_WAYS)
def test_an_answer_typed_in_from_one_check_fails_in_the_next(name):
    """What was right for the numbers of one seed, whatever comes in."""
    exercise = course.exercise(name)
    known = [exercise.reference(*args) for args in exercise.cases(np.random.default_rng(1))]
    calls = iter(known)
    assert not course.check(name, lambda *args: next(calls, known[-1]), seed=2)
