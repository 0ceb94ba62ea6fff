"""From a trained model to one for other data: a part is learned, and nothing else changes."""

import tracemalloc
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import pytest
from draws import CONFIGS, draw_clip, draw_params
from short_runs import SMOKE, finish, flat, same

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.data.datasets import ArrayClips
from mvit_np.train import adamw, adamw_state, fit, layer_factors
from mvit_np.train import run as runs
from mvit_np.train.distributed import Alone
from mvit_np.train.frozen import Part, begin_part, fit_part
from mvit_np.train.loop import Optimizer, adamw_with
from mvit_np.train.run import prepare, probe, run, snapshot, start
from mvit_np.train.run.recipe import changed
from mvit_np.train.run.task import Task, loss_of
from mvit_np.train.run.transfer import before_the_last_stage, transfer_recipe

CONFIG = replace(CONFIGS["v1"], dropout=0.0, drop_path=0.0)
FROZEN = before_the_last_stage(CONFIG)


def loss(params, batch):
    clips, targets = batch
    return mv.cross_entropy(mv.forward(params, clips, CONFIG), targets), None


def batches(count=4):
    labels = np.eye(5)[[0, 3]]
    return [(draw_clip(CONFIG, seed), labels) for seed in range(count)]


def trained_part(frozen, **options):
    """The steps of `fit_part`."""
    params = draw_params(CONFIG, 3)
    part, optimizer = Part(params, frozen), adamw_with()
    options = {"optimizer": optimizer, "guard": lambda *given: "", "clip_norm": 1e9} | options
    state = begin_part(part, params, optimizer, options.get("ema_decay", 0.0))
    return params, list(fit_part(part, loss, batches(), state=state, lr=lambda i: 1e-2, **options))


# -- freeze ----------------------------------------------------------------------------------------


def test_freezing_equals_a_rate_of_zero_on_what_is_frozen():
    params, ours = trained_part(FROZEN)
    is_frozen = {n: any(fnmatchcase(n, p) for p in FROZEN) for n, _ in trees.paths(params)}
    assert 0 < sum(is_frozen.values()) < len(is_frozen)
    zero = {name: 0.0 for name, frozen in is_frozen.items() if frozen}
    update = partial(adamw, weight_decay=0.05, factors=zero)
    options = {"lr": lambda i: 1e-2, "clip_norm": 1e9}
    options["optimizer"] = Optimizer(adamw_state, update)
    theirs = list(fit(loss, params, batches(), **options))
    assert [s.loss for s in ours] == pytest.approx([s.loss for s in theirs], rel=1e-12)
    assert ours[0].loss > ours[-1].loss
    for (name, x), (_, y) in zip(trees.paths(ours[-1].params), trees.paths(theirs[-1].params)):
        np.testing.assert_allclose(x, y, atol=1e-12, err_msg=name)
    for (name, x), (_, y) in zip(trees.paths(params), trees.paths(ours[-1].params)):
        assert np.array_equal(x, y) == is_frozen[name], name


def test_frozen_parts_keep_nothing_and_nothing_is_remembered_of_them():
    params, (clips, targets) = draw_params(CONFIG, 3), batches()[0]

    def kept(frozen):
        """What is in memory when the backward pass begins, less what was there before."""
        part, levels = Part(params, frozen), []

        def noted(p):
            before = tracemalloc.get_traced_memory()[0]
            value = loss(part.whole(p), (clips, targets))[0]
            levels.append(tracemalloc.get_traced_memory()[0] - before)
            return value

        tracemalloc.start()
        for _ in range(2):  # the first fills caches
            mv.value_and_grad(noted)(part.of(params))
        tracemalloc.stop()
        return levels[-1]

    nearly_all = kept(("patch_embed.*",))
    assert kept(FROZEN) < 0.4 * nearly_all and kept(start.ALL_BUT_THE_HEAD) < 0.03 * nearly_all
    _, steps = trained_part(FROZEN)
    part = Part(params, FROZEN)
    count = sum(x.size for x in part.of(params).values())
    assert steps[-1].state.optimizer["exp_avg"].size == count < flat(params).size


def test_the_running_mean_and_the_parts_of_a_batch_work_on_a_part_too():
    params, steps = trained_part(FROZEN, ema_decay=0.5, accumulate=2)
    average = steps[-1].state.average
    np.testing.assert_array_equal(average["patch_embed"]["w"], params["patch_embed"]["w"])
    assert not np.array_equal(average["head"]["w"], params["head"]["w"])
    assert not np.array_equal(average["head"]["w"], steps[-1].params["head"]["w"])


def test_reversible_blocks_may_be_frozen():
    config = mv.MViTConfig(
        frames=2, size=32, num_classes=5, dim=8, depths=(2, 3), stride_kv=(1, 4, 4),
        reversible=True, cls_token=False, skip="plain", expand_in="attention", drop_path=0.0,
    )  # fmt: skip
    params, clip = draw_params(config, 1), draw_clip(config, 1)

    def scores(params):
        return (mv.forward(params, clip, config) ** 2).mean()

    whole = dict(trees.paths(mv.value_and_grad(scores)(params)[1]))
    for frozen in (before_the_last_stage(config), ("blocks.[34].*",)):
        part = Part(params, frozen)
        ours = mv.value_and_grad(lambda p, part=part: scores(part.whole(p)))(part.of(params))[1]
        for name, gradient in ours.items():
            np.testing.assert_allclose(gradient, whole[name], atol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    "frozen, words",
    [
        (("block.1.*",), "none is called block.1.*: did you mean|give such as"),
        (("*",), "something has to be trained, and freeze = \\* leaves no parameter"),
    ],
)
def test_what_cannot_be_frozen(frozen, words):
    with pytest.raises(ValueError, match=words):
        Part(draw_params(CONFIG, 0), frozen)


def test_decay_from_layer_to_layer_equals_a_loop_by_name():
    """Also where a part is frozen: the same factors on what is left."""
    params, depth = draw_params(CONFIG, 3), CONFIG.depth
    grads = trees.map(lambda p: np.cos(p), params)
    for frozen in ((), ("blocks.0.*",)):
        part = Part(params, frozen) if frozen else None
        recipe = changed(SMOKE, {"layer_decay": 0.75, "weight_decay": 0.0, "freeze": frozen})
        optimizer = start.optimizer_of(recipe, params, part)
        given = (params, grads) if part is None else (part.of(params), part.of(grads))
        new, _ = optimizer.update(*given, optimizer.init(given[0]), 0.1)
        for name, x in trees.paths(new):
            before, g = dict(trees.paths(params))[name], dict(trees.paths(grads))[name]
            layer = depth + 1
            if name.startswith(("patch_embed", "cls_token", "pos_embed")):
                layer = 0
            elif name.startswith("blocks."):
                layer = int(name.split(".")[1]) + 1
            lr = 0.1 * 0.75 ** (depth + 1 - layer)
            np.testing.assert_allclose(x, before - lr * g / (np.abs(g) + 1e-8), atol=1e-9)
    assert layer_factors(params, 0.75)["patch_embed.w"] == 0.75 ** (depth + 1)


# -- probe -----------------------------------------------------------------------------------------


def clips_of(count, shape, rng):
    return ArrayClips(
        rng.integers(0, 256, (count, *shape)).astype(np.uint8),
        np.arange(count) % 5,
        tuple("abcde"),
    )


def test_a_probes_gradient_is_the_heads_of_the_whole_model(rng):
    params = draw_params(CONFIG, 3)
    clips, targets = batches()[0]
    recipe = changed(SMOKE, {"smoothing": 0.0})
    vectors = mv.features(params, clips, CONFIG).pooled[:, None, None, None]
    task = Task(CONFIG, None, None, False, of_features=True)
    part = Part(params, start.ALL_BUT_THE_HEAD)
    assert part.trained == {"head.w", "head.b"}

    def of_probe(p):
        return loss_of(recipe, task)(part.whole(p), (vectors, targets, None))[0]

    value, ours = mv.value_and_grad(of_probe)(part.of(params))
    whole, theirs = mv.value_and_grad(lambda p: loss(p, (clips, targets))[0])(params)
    np.testing.assert_allclose(value, whole, rtol=1e-12)
    for leaf in ("w", "b"):
        np.testing.assert_allclose(ours[f"head.{leaf}"], theirs["head"][leaf], atol=1e-13)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small model of other classes than moving_digits has."""
    config = mv.MViTConfig(
        frames=8, size=32, channels=1, num_classes=3, dim=8, depths=(1, 1), stride_kv=(1, 4, 4),
        dropout=0.0,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("source") / "a.npz"
    about = mv.About(("x", "y", "z"), 2.0, "clip")
    mv.save(path, mv.init(config, np.random.default_rng(5)), config, about)
    return path


SMALL = {"data": "moving_digits", "train_clips": 48, "test_clips": 16, "workers": 1}


def recipe_for(source, mode, **changes):
    return transfer_recipe(source, mode, SMALL | changes)


def test_what_the_file_says_is_the_recipe(source):
    recipe = recipe_for(source, "full")
    assert (recipe.tau, recipe.normalise, recipe.layer_decay) == (2.0, "clip", 0.75)
    params, config = mv.load(source)
    job_config = prepare(recipe, source.parent / "never").task.config
    assert job_config == replace(config, num_classes=8)
    assert recipe_for(source, "freeze").freeze[-1] == "blocks.0.*"
    assert recipe_for(source, "probe", lr=0.5, **{"model.drop_path": 0.1}).lr == 0.5
    levels = ((0.1, 0.2, 0.3), 0.5)
    mv.save(source.parent / "b.npz", params, config, mv.About(normalise=levels))
    said = []
    recipe = transfer_recipe(source.parent / "b.npz", "probe", SMALL, say=said.append)
    assert recipe.normalise == levels
    assert said == [f"{source.parent / 'b.npz'} does not say, and it is assumed: tau 4 (--tau)"]


def test_each_mode_is_a_run_like_any_other(source, tmp_path):
    before = mv.load(source)[0]
    for mode in ("probe", "freeze", "full"):
        folder, said = tmp_path / mode, []
        job = prepare(recipe_for(source, mode, epochs=2), folder, say=said.append)
        assert f"{source}: it is for 3 classes, and the data have 8: the head is new" in said
        rows = list(run(job))
        assert rows[-1]["test_accuracy"] is not None
        after, config = mv.load(folder)
        assert config.num_classes == 8
        changed_parts = {
            name.rpartition(".")[0]
            for (name, x), (_, y) in zip(trees.paths(before), trees.paths(after))
            if not np.array_equal(x, y)
        }
        assert ("blocks.1.mlp.fc1" in changed_parts) == (mode != "probe")
        assert ("blocks.0.mlp.fc1" in changed_parts) == (mode == "full")
        assert "head" in changed_parts
        found = runs.trained(folder)
        test = runs.test_of(found)
        assert runs.evaluated(found, test).top1 == rows[-1]["test_accuracy"]


@pytest.mark.parametrize("mode", ["probe", "freeze"])
def test_a_run_that_was_stopped_ends_the_same(source, tmp_path, mode):
    recipe = recipe_for(source, mode, epochs=2, batch=16, lr_batch=16, ema=0.5)
    finish(recipe, tmp_path / "a")
    steps = run(prepare(recipe, tmp_path / "b"), stop=lambda: False)
    next(steps), next(steps), steps.close()
    finish(None if mode == "freeze" else recipe, tmp_path / "b", resume=True)
    rows = finish(
        changed(recipe, {"workers": 0}), tmp_path / "c", stop=iter([0, 0, 1] * 9).__next__
    )
    assert len(rows) < 6
    while len(rows := finish(recipe, tmp_path / "c", resume=True)) == 0:
        pass
    assert same(tmp_path / "a", tmp_path / "b") and same(tmp_path / "a", tmp_path / "c")


def test_features_are_computed_once(source, tmp_path, monkeypatch):
    seen = []
    sound = probe.pooled

    def counted(params, clips, config):
        seen.append(len(clips))
        return sound(params, clips, config)

    monkeypatch.setattr(probe, "pooled", counted)
    recipe = recipe_for(source, "probe", epochs=1)
    stops = iter([False] * 3 + [True] * 100)
    assert not finish(recipe, tmp_path, stop=stops.__next__)  # on the way to the features
    first = sum(seen)
    assert 0 < first < 64 and (tmp_path / "features.npz").is_file()
    finish(recipe, tmp_path, resume=True)
    assert sum(seen) == 64  # 48 to learn from, 16 to test on, and none twice
    finish(None, tmp_path, resume=True)
    assert sum(seen) == 64
    (tmp_path / "features.npz").write_bytes(b"PK damaged")
    finish(None, tmp_path, resume=True)
    assert sum(seen) == 128
    finish(changed(recipe, {"views": "2x1"}), tmp_path / "other")
    assert sum(seen) == 192  # clips in memory are one view each


def test_what_cannot_be_read_is_left_out_of_a_probe(source, tmp_path):
    class Torn(ArrayClips):
        def views(self, index, clips):
            if index % 5 == 2:
                raise probe.BrokenExample(f"clip {index}", "it is torn")
            return super().views(index, clips)

    recipe, said = recipe_for(source, "probe", epochs=1), []
    job = prepare(recipe, tmp_path, say=said.append)
    data = Torn(job.task.train.clips, job.task.train.labels, job.task.train.classes)
    rows = list(run(replace(job, task=replace(job.task, train=data))))
    assert len(rows) == 6 and "clip 2 is left out: it is torn" in said


# -- the head --------------------------------------------------------------------------------------


def head_of(source, tmp_path, theirs, ours):
    params, config = mv.load(source)
    mv.save(tmp_path / "a.npz", params, config, mv.About(theirs, 2.0, "clip"))
    recipe, said = transfer_recipe(tmp_path / "a.npz", "full"), []
    config = replace(config, num_classes=len(ours))
    found = start.parameters(recipe, config, ours, said.append)
    return params["head"], found["head"], [line.partition(": ")[2] for line in said]


@pytest.mark.parametrize(
    "theirs, ours, words",
    [
        (("x", "y", "z"), ("x", "y"), "it is for 3 classes, and the data have 2: the head is new"),
        (
            ("x", "y", "z"),
            ("x", "y", "w"),
            "it has no class w, which is in the data: the head is new",
        ),
    ],
)
def test_a_head_of_other_classes_is_new(source, tmp_path, theirs, ours, words):
    before, after, said = head_of(source, tmp_path, theirs, ours)
    assert said == [words] and not np.array_equal(before["w"][:, :2], after["w"][:, :2])


def test_a_head_of_the_same_classes_follows_their_names(source, tmp_path):
    before, after, said = head_of(source, tmp_path, ("x", "y", "z"), ("z", "x", "y"))
    np.testing.assert_array_equal(after["w"], before["w"][:, [2, 0, 1]])
    assert "its classes come in another order" in said[0]
    for theirs, words in ((("x", "y", "z"), []), (None, ["it does not name its 3 classes"])):
        before, after, said = head_of(source, tmp_path, theirs, ("x", "y", "z"))
        np.testing.assert_array_equal(before["w"], after["w"])
        assert len(said) == len(words) and all(map(str.startswith, said, words))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"probe": True, "cutmix": 1.0}, "a probe learns the head from features"),
        ({"freeze": "block.9", "cutmix": 0.0}, "freeze names parameters, and none is called block"),
        ({"normalise": "0.5,0"}, "normalise is one of video, imagenet, clip, or a mean"),
    ],
)
def test_impossible_choices_are_one_sentence(changes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        prepare(changed(SMOKE, changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_probe_is_one_process(tmp_path):
    two = Alone()
    two.size = 2
    with pytest.raises(ValueError, match="a probe is trained by one process, came 2"):
        prepare(changed(SMOKE, {"probe": True, "cutmix": 0.0}), tmp_path / "out", comm=two)
    with pytest.raises(ValueError, match="a mode is probe, freeze, full; came 'prob'"):
        transfer_recipe("a.npz", "prob")


def test_snapshots_hold_all_parameters_and_what_is_remembered_of_a_part(source, tmp_path):
    finish(recipe_for(source, "freeze", epochs=1), tmp_path)
    state, _ = snapshot.latest(tmp_path / "snapshots")
    assert state["params"].keys() == mv.load(source)[0].keys()
    assert state["optimizer"]["exp_avg"].size < flat(state["params"]).size
