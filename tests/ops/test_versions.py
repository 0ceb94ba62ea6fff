"""The fast version of every op is its definition to rounding, in however many tiles, and whole
models are too.
"""

from dataclasses import replace

import numpy as np
import pytest
from op_results import WINDOWS, assert_near, results

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import op, value_and_grad, vjp
from mvit_np.autodiff.versions import composed, fast
from mvit_np.backend import tiles, tree
from mvit_np.backend.arrays import plain, plain_ops
from mvit_np.studies.gradient_cases import (
    TINY,
    TINY_HIERA,
    TINY_REV,
    TINY_V2,
    TINY_VIVIT,
    Case,
    distinct,
    normals,
    op_cases,
    roughened,
)  # fmt: skip


@pytest.fixture
def cut(monkeypatch):
    """Even the smallest arrays are cut into many tiles."""
    monkeypatch.setattr(tiles, "SMALL", 1)
    monkeypatch.setattr(tiles, "NUMBERS", 16)


TILED = (
    "linear",
    "project",
    "gelu",
    "mlp",
    "attend",
    "layer_norm",
    "cube_conv",
    "depthwise_conv",
    "max_pool",
    "residual",
)


def window_cases():
    for kernel, *at in WINDOWS[1:]:
        x, filters, cubes = (
            (3, 3, 7, 5, 2, 3),
            (*kernel, 3),
            normals((3, 3, 7, 5, 3), (*kernel, 3, 5), (5,)),
        )
        yield Case(
            f"max_pool {kernel, *at}",
            lambda x, k=kernel, at=at: ops.max_pool(x, k, *at),
            distinct(*x),
        )
        yield Case(f"cube_conv {kernel, *at}", lambda *x, at=at: ops.cube_conv(*x, *at), cubes)
        yield Case(
            f"depthwise_conv {kernel, *at}",
            lambda *x, at=at: ops.depthwise_conv(*x, *at),
            normals(x, filters),
        )


@pytest.mark.parametrize("case", [*op_cases(), *window_cases()], ids=lambda case: case.name)
def test_every_version_gives_the_same_and_passes_its_check(case, monkeypatch, request):
    arrays, longest, run = case.make(np.random.default_rng(0)), [0], tiles.run
    strided = (
        [np.stack([x, x], axis=-1)[..., 0] for x in arrays],
        [np.pad(x, 1)[(slice(1, -1),) * x.ndim] for x in arrays],
    )
    with plain_ops():
        plainly = results(case.fun, arrays)
        assert case.check().passed
    with tiles.use_threads(1):
        whole = results(case.fun, arrays)
    assert_near(whole, plainly)
    request.getfixturevalue("cut")
    monkeypatch.setattr(
        tiles,
        "run",
        lambda fun, pieces, *work: (longest.append(len(pieces)), run(fun, pieces, *work)),
    )
    for count in (1, 2, 3):
        with tiles.use_threads(count):
            found, again, *others = (results(case.fun, x) for x in (arrays, arrays, *strided))
            assert all(np.array_equal(a, b) for a, b in zip(found, again))
        for each in (found, *others):
            assert_near(each, whole)
    assert case.check().passed
    assert max(longest) > 1 or not case.name.startswith(TILED)  # they were cut


FAMILY = {
    "MViT": TINY,
    "MViTv2": TINY_V2,
    "Rev-MViT": TINY_REV,
    "Hiera": TINY_HIERA,
    "ViViT": TINY_VIVIT,
}
FAMILY["MViT, strides beyond the kernels"] = replace(TINY, size=32, stride_kv=(1, 8, 8))
FAMILY["mean, max pooling"] = replace(TINY, cls_token=False, pool="max", pool_kernel="s+1")
FAMILY["average pooling"] = replace(TINY, pool="avg")


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
def test_a_model_plain_and_fast_is_the_same(config, dtype, tolerance, cut):
    rng = np.random.default_rng(0)
    params = tree.map(lambda x: x.astype(dtype), roughened(config))
    clip = rng.standard_normal((2, *config.thw, config.channels)).astype(dtype)
    found = []

    def loss(params, clip):
        scores = mv.forward(params, clip, config, rng=np.random.default_rng(1))
        return mv.cross_entropy(scores, np.array([0, 2]))

    for context in (tiles.use_threads(2), plain_ops()):
        with context:
            (value, grads), logits = (
                value_and_grad(loss, (0, 1))(params, clip),
                mv.forward(params, clip, config),
            )
        found.append([logits, value, *tree.leaves(list(grads))])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


# -- the switch ------------------------------------------------------------------------------------


def doubled(name):
    """An op, and a composed function, that say which version ran."""
    ran = []

    @op
    def twice(x):
        ran.append("definition")
        return 2 * x, lambda dy: (2 * dy,)

    @composed
    def four_times(x):
        ran.append("composition")
        return twice(twice(x))

    @fast(twice, on="numpy")
    def fast_twice(x):
        ran.append("fast")
        return x + x, lambda dy: (dy + dy,)

    @fast(four_times, on="numpy")
    @op
    def at_once(x):
        ran.append("at once")
        return 4 * x, lambda dy: (4 * dy,)

    return {"twice": twice, "four_times": four_times}[name], ran


@pytest.mark.parametrize("name, sooner, plainly, factor", [
    ("twice", ["fast"], ["definition"], 2),
    ("four_times", ["at once"], ["composition", "definition", "definition"], 4),
])  # fmt: skip
def test_a_version_runs_where_it_is_registered_but_not_within_plain_ops(
    name, sooner, plainly, factor
):
    function, ran = doubled(name)
    for expected in (sooner, plainly, sooner):
        ran.clear()
        if expected is plainly:
            with plain_ops():
                assert plain() and function(np.ones(2)).tolist() == [factor] * 2
        else:
            assert not plain() and function(np.ones(2)).tolist() == [factor] * 2
        assert ran == expected
    value, pull = vjp(function, [np.ones(2)])
    assert pull(np.ones(2))[0].tolist() == [factor] * 2 and ran == sooner * 2


def test_plain_ops_end_with_their_block_and_are_this_threads_alone():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as other, pytest.raises(KeyError), mv.plain_ops():
        assert plain() and not other.submit(plain).result()
        raise KeyError
    assert not plain()


def test_the_environment_asks_for_plain_ops_and_a_word_it_does_not_know_is_an_error(run_python):
    asked = "from mvit_np.backend.arrays import plain; print(plain())"
    assert run_python(asked, MVIT_NP_OPS="plain").stdout == "True\n"
    assert (
        run_python(asked, MVIT_NP_OPS="fast").stdout
        == run_python(asked, MVIT_NP_OPS="").stdout
        == "False\n"
    )
    sentence = "MVIT_NP_OPS is 'plain', 'fast' or nothing; the environment says 'quick'"
    assert sentence in run_python(asked, MVIT_NP_OPS="quick").stderr
