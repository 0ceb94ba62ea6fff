"""What a page by `mvit-np explainer` holds, and its model's answers in a browser and in NumPy."""

import base64
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

import mvit_np as mv
from mvit_np.model.inspection import class_attention, last_blocks
from mvit_np.visualize.explainer import page

DOCS = Path(__file__).parents[2] / "docs" / "explainer.html"


def part(text, name):
    return re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', text, re.S)[1]


def tuples(value):
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def held(text):
    """(about, params, config) of a page."""
    about = json.loads(part(text, "about"))
    config = mv.MViTConfig(**{name: tuples(value) for name, value in about["config"].items()})
    numbers = np.frombuffer(base64.b64decode(part(text, "weights")), "<f4")
    leaves, start = [], 0
    for _, shape in about["arrays"]:
        size = int(np.prod(shape))
        leaves.append(numbers[start : start + size].reshape(shape))
        start += size
    like = mv.init(config, np.random.default_rng(0))
    assert [path for path, _ in mv.tree.paths(like)] == [path for path, _ in about["arrays"]]
    feed = iter(leaves)
    return about, mv.tree.map(lambda leaf: next(feed), like), config


def with_random_weights(config, seed=0):
    """A page of a model that nobody trained; its weights are large, so that each of them counts."""
    rng = np.random.default_rng(seed)
    params = mv.tree.map(
        lambda p: (p + 0.1 * rng.standard_normal(p.shape)).astype(np.float32), mv.init(config, rng)
    )
    classes = tuple(f"class {i}" for i in range(config.num_classes))
    return page(params, config, classes, note="Random weights.")


def sent(array):
    """JavaScript for a Float32Array of these numbers."""
    text = base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
    return f"new Float32Array(Uint8Array.from(atob('{text}'), c => c.charCodeAt(0)).buffer)"


def in_browser(browser, clip):
    """{name: numbers} of a forward pass of the page's model on one clip (T, H, W, C)."""
    return browser.run(
        f"""(() => {{
        const {{ forward, lastBlocks, classShares, state }} = mvit, model = state.trained;
        const found = {{ logits: [...forward(model, {sent(clip)})] }};
        const before = state.model;
        state.model = model;
        for (const block of model.plan.blocks) {{
          const kept = (name) => [...model.space.get(`blocks.${{block.index}}.${{name}}`).data];
          found[`blocks.${{block.index}}.output`] = kept("output");
          found[`blocks.${{block.index}}.attention`] = kept("attention");
        }}
        for (const block of lastBlocks(model.plan))
          found[`class attention ${{block.stage}}`] = [...classShares(block)];
        state.model = before;
        return found;
    }})()"""
    )


def in_numpy(params, config, clip):
    """The same by mvit_np, by the plain definitions."""
    found = {}
    with mv.plain_ops():
        found["logits"] = mv.forward(params, clip[None], config, hook=found.__setitem__)[0]
        for stage, shares in class_attention(params, clip[None], config):
            found[f"class attention {stage}"] = shares
    found.pop("embedding")
    return {name: np.asarray(array).reshape(-1) for name, array in found.items()}


def differences(browser, params, config, clips):
    """{name: the largest difference over the clips}, the names being those of `in_numpy`."""
    worst = {}
    for clip in clips:
        theirs = in_browser(browser, clip)
        for name, ours in in_numpy(params, config, clip).items():
            there = np.array(theirs[name])
            assert there.shape == ours.shape, name
            worst[name] = max(worst.get(name, 0), float(abs(there - ours).max()))
    return worst


def stage_names(config):
    """{"stage 1": the name of its last block's output, ...}"""
    return {
        f"stage {b.stage + 1}": f"blocks.{b.index}.output" for b in last_blocks(mv.plan(config))
    }


def config_text(config):
    return json.dumps(asdict(config))
