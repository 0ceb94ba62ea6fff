"""Chapters 09 to 11: answers written in other ways pass, and solutions hold beside other truths."""

import math
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import course, ops

SEEDS = range(3)


def solution(name):
    return course.exercise(name).solution


# -- other ways ------------------------------------------------------------------------------------


def rollout_of_one_row(weights):
    row = np.zeros(weights.shape[-1], weights.dtype)
    row[0] = 1
    for block in weights[::-1]:
        row = row @ (block.mean(axis=0) + np.eye(len(row), dtype=row.dtype)) / 2
    return row


def distance_by_einsum(weights, thw, pixels):
    places = np.stack(np.meshgrid(*map(np.arange, thw), indexing="ij"), -1).reshape(-1, 3)
    steps = (places[:, None] - places)[..., 1:] * np.array(pixels)
    far = np.linalg.norm(steps, axis=-1).astype(weights.dtype)
    grid = weights[..., 1:, 1:]
    found = np.einsum("bhqk,qk,bhq->h", grid, far, 1 / grid.sum(-1))
    return (found / (len(weights) * len(far))).astype(weights.dtype)


def similarity_by_loops(table, thw):
    t, cells = thw[0], thw[1] * thw[2]
    space = [sum(table[1 + a * cells + i] for a in range(t)) for i in range(cells)]
    time = [sum(table[1 + a * cells + i] for i in range(cells)) for a in range(t)]

    def cosines(rows):
        return np.array([[x @ y / math.sqrt((x @ x) * (y @ y)) for y in rows] for x in rows],
                        table.dtype)  # fmt: skip

    return cosines(space), cosines(time)


def back_by_slices(weights, thw, motion):
    t, h, w = thw
    down, right = motion
    grid = weights[:, :, 1:, 1:]
    grid = grid / grid.sum(-1, keepdims=True)
    grid = grid.reshape(*grid.shape[:2], *thw, *thw)
    found = []
    for a in range(1, t):
        for i in range(max(down, 0), min(h, h + down)):
            for j in range(max(right, 0), min(w, w + right)):
                found.append(grid[:, :, a, i, j, a - 1, i - down, j - right])
    return np.mean(found, axis=(0, 1)) * weights.dtype.type(math.prod(thw))


def rows_by_a_list(n_q, n_k):
    fine = max(n_q, n_k)
    first = -((n_k - 1) * (fine // n_k))
    return [[i * (fine // n_q) - j * (fine // n_k) - first for j in range(n_k)] for i in range(n_q)]


def scores_by_one_hot(q, k, r_t, r_h, r_w, thw_q, thw_k):
    grids = tuple((axis, thw_q, thw_k) for axis in range(3))
    long_q = ops.relative_query(q[None, :, None], 1.0, grids, r_t, r_h, r_w)[0, :, 0]
    long_k = ops.relative_key(k[None, :, None], grids)[0, :, 0]
    d = q.shape[1]
    return q @ k.T * d**-0.5 + long_q[:, d:] @ long_k[:, d:].T


def residual_by_einsum(q, k, v):
    shares = ops.softmax(np.einsum("bhqd,bhkd->bhqk", q, k) * q.shape[-1] ** -0.5)
    z = np.einsum("bhqk,bhkd->bhqd", shares, v)
    z[:, :, 1:] += q[:, :, 1:]
    return z


def saves_by_lists_of_layers(tokens, dim):
    def total(mlp_out, first_in, norm):
        old = [(dim, 4 * dim), (4 * dim, mlp_out)]
        new = [(first_in, 6 * dim), (dim, 2 * dim)]  # queries, keys and values; the skip
        layers = old + new
        return (sum(tokens * a * b for a, b in layers),
                sum(a * b + b for a, b in layers) + 2 * norm)  # fmt: skip

    one, two = total(2 * dim, 2 * dim, 2 * dim), total(dim, dim, dim)
    return one[0] - two[0], one[1] - two[1]


def jobs_one_by_one(block, thread, blocks, threads, lanes, jobs):
    group, taken = (block * threads + thread) // lanes, []
    while group < jobs:
        taken.append(group)
        group += blocks * threads // lanes
    return np.array(taken)


def product_by_frexp(x, w, bits):
    def short(numbers):
        mantissa, exponent = np.frexp(numbers)  # mantissas from 1/2 to 1
        return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)

    return np.einsum("nd,de->ne", short(x), short(w))


def scaling_by_lists(gradient, scale):
    half = [np.float16(number) for number in gradient * scale]
    if any(math.isinf(number) for number in half):
        return np.zeros(len(half), np.float32), scale // 2
    return np.array([np.float32(number) / scale for number in half], np.float32), np.int64(scale)


def rows_by_fractions(inputs, outputs, number_bytes, corner):
    per_number = 2 * inputs * outputs / number_bytes
    if per_number <= corner * (inputs + outputs):
        return 0
    return math.ceil(corner * inputs * outputs / (per_number - corner * (inputs + outputs)) - 1e-9)


OTHER_WAYS = {
    "09.rollout": rollout_of_one_row,
    "09.attention_distance": distance_by_einsum,
    "09.position_similarity": similarity_by_loops,
    "09.looks_back": back_by_slices,
    "10.relative_rows": rows_by_a_list,
    "10.relative_scores": scores_by_one_hot,
    "10.residual_pooling": residual_by_einsum,
    "10.widening_saves": saves_by_lists_of_layers,
    "11.jobs_of_thread": jobs_one_by_one,
    "11.rounded_product": product_by_frexp,
    "11.loss_scaling": scaling_by_lists,
    "11.rows_to_fill": rows_by_fractions,
}


@pytest.mark.parametrize("name", OTHER_WAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_other_ways_pass(name, seed):
    result = course.check(name, OTHER_WAYS[name], seed=seed)
    assert result, result


@pytest.mark.parametrize("name", OTHER_WAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_mistake_is_named_whatever_is_drawn(name, seed):
    for message, wrong in course.exercise(name).mistakes:
        assert course.check(name, wrong, seed=seed).likely == message


@pytest.mark.parametrize("chapter", ["09", "10", "11"])
def test_a_chapter_has_all_levels(chapter):
    assert {course.exercise(name).level for name in course.names(chapter)} == set(course.LEVELS)


# -- other truths ----------------------------------------------------------------------------------


def test_what_the_three_transitions_save_is_what_the_accounts_of_mvit_b_say():
    v1 = mv.preset("mvit_b_16x4")
    later = replace(v1, expand_in="attention")
    blocks = mv.plan(v1).blocks
    last = [a for a, b in zip(blocks, blocks[1:]) if a.stage != b.stage]
    saved = [solution("10.widening_saves")(block.tokens_q, block.dim_in) for block in last]
    assert len(saved) == 3
    assert sum(macs for macs, _ in saved) == mv.costs(v1).macs - mv.costs(later).macs
    assert sum(params for _, params in saved) == mv.costs(v1).params - mv.costs(later).params


def test_threads_take_each_job_once_for_each_lane():
    blocks, threads, lanes, jobs = 3, 8, 4, 29
    grid = [(block, thread) for block in range(blocks) for thread in range(threads)]
    jobs_of, taken = solution("11.jobs_of_thread"), []
    for at in grid:
        taken += jobs_of(*at, blocks, threads, lanes, jobs)
    assert sorted(taken) == sorted(lanes * list(range(jobs)))


def test_a_head_that_looks_back_along_the_motion_and_one_that_prefers_nothing():
    thw, (down, right) = (3, 4, 4), (1, -1)
    count = math.prod(thw)
    weights = np.full((1, 2, 1 + count, 1 + count), 1 / (1 + count))
    for a, i, j in np.ndindex(thw):
        if a and i >= down and j - right < thw[2]:
            row = weights[0, 1, 1 + np.ravel_multi_index((a, i, j), thw)]
            row[:] = 0
            row[1 + np.ravel_multi_index((a - 1, i - down, j - right), thw)] = 1
    found = solution("09.looks_back")(weights, thw, (down, right))
    np.testing.assert_allclose(found, [1, count])


def test_a_layer_of_96_channels_never_reaches_the_corner_of_tf32():
    rows = solution("11.rows_to_fill")
    assert rows(96, 384, 4, 103) == 0
    assert rows(384, 1536, 4, 103) == 626 == rows(384, 1536, 2, 206)
