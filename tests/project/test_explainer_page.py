"""docs/explainer.html in headless Chromium: its model is the one of NumPy, it needs nothing but
itself, and all of it works by keyboard.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from explainer_page import (
    DOCS,
    config_text,
    differences,
    held,
    with_random_weights,
)

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.train.demo import vit_beside
from mvit_np.train.run import prepare, run
from mvit_np.train.run.recipe import RECIPES, changed
from mvit_np.visualize.explainer import LARGEST, folder, page
from mvit_np.visualize.explainer.source_lines import op_lines

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((folder / "js").rglob("*.js"))
MICRO = mv.preset("mvit_micro")
AXE = next(
    filter(
        Path.is_file,
        [
            Path(os.environ.get("AXE", "/nowhere")),
            ROOT / "node_modules" / "axe-core" / "axe.min.js",
        ],
    ),
    None,
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture
def opened(browser):
    """The page of docs/, paused, with nothing done to it yet."""
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    return browser


def clips(config, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *config.thw, config.channels), dtype=np.float32)


# -- the numbers -----------------------------------------------------------------------------------


@needs_chromium
@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_its_numbers_are_those_of_numpy(opened, count):
    _, params, config = held(DOCS.read_text())
    worst = differences(opened, params, config, clips(config, count))
    assert {"logits", "blocks.0.attention", "blocks.3.output", "class attention 2"} <= set(worst)
    assert max(worst.values()) < 1e-4, worst


# In the order of the options they switch: what `small` and other recipes may change in a model.
OTHERS = {
    "eight classes": {"num_classes": 8},
    "colours, joint positions": {"channels": 3, "positions": "joint"},
    "max pooling, plain skip": {"pool": "max", "skip": "plain"},
    "average pooling, no class token": {"pool": "avg", "cls_token": False, "skip": "none"},
    "as MViTv2": {
        "expand_in": "attention", "pool_q_always": True, "residual_pooling": "tokens",
        "positions": "space",
    },
    "no pooling, one width": {"stride_q": (1, 1, 1), "stride_kv": None, "expand": False},
    "a wide clip, kernels by stride": {"size": (32, 48), "frames": 4, "pool_kernel": "s+1"},
}  # fmt: skip


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_models_run_too(browser, name, tmp_path):
    text = with_random_weights(replace(MICRO, **OTHERS[name]))
    path = tmp_path / "page.html"
    path.write_text(text)
    browser.open(path.as_uri())
    _, params, config = held(text)
    worst = differences(browser, params, config, clips(config, 2))
    assert max(worst.values()) < 1e-4, worst
    assert not browser.errors


def bills():
    """Configs as the switches make them, and the ViT beside them."""
    for queries in (True, False):
        for keys in (True, False):
            for channels in (True, False):
                strides = {} if queries else {"stride_q": (1, 1, 1)}
                pools = {} if keys else {"stride_kv": None}
                widths = {} if channels else {"expand": False}
                yield [queries, keys, channels], replace(MICRO, **strides, **pools, **widths)
    yield "vit", vit_beside(MICRO)


@needs_chromium
def test_the_bill_is_that_of_costs(opened):
    for switches, config in bills():
        theirs = opened.run(
            f"""(() => {{
            const config = {config_text(MICRO)}, on = {json.dumps(switches)};
            const [queries, keys, channels] = on;
            const other = on === "vit" ? mvit.vitBeside(config)
              : mvit.changed(config, {{ queries, keys, channels }});
            const plan = mvit.plan(other);
            return {{ macs: mvit.macs(plan), blocks: plan.blocks, embed: plan.embed }};
        }})()"""
        )
        p, account = mv.plan(config), mv.costs(config)
        assert theirs["macs"] == [line.macs for line in account.lines], switches
        assert tuple(theirs["embed"]["thw"]) == p.embed.thw
        assert len(theirs["blocks"]) == len(p.blocks)
        for said, block in zip(theirs["blocks"], p.blocks):
            for name in ("dim_in", "dim_attn", "dim_out", "dim_mlp", "heads", "head_dim", "stage",
                         "tokens_in", "tokens_q", "tokens_kv"):  # fmt: skip
                assert said[name] == getattr(block, name), (switches, block.index, name)
            assert (tuple(said["thw_q"]), tuple(said["thw_kv"])) == (block.thw_q, block.thw_kv)


@needs_chromium
def test_the_switches_show_the_bill_of_a_random_model(opened):
    opened.run("document.getElementById('pool-keys').click()")
    assert opened.run("document.getElementById('random-note').hidden") is False
    macs = mv.costs(replace(MICRO, stride_kv=None)).macs
    shown = opened.run("document.getElementById('costs').innerText")
    assert f"{macs / 1e6:.2f} M" in shown and f"{mv.costs(MICRO).macs / 1e6:.2f} M" in shown
    assert f"{mv.costs(MICRO).params:,}" in shown and not opened.errors


def focus(browser, name):
    browser.run(f"document.getElementById('{name}').focus()")


# -- the input -------------------------------------------------------------------------------------


def settle(browser, **settings):
    """Set controls, and let 30 frames pass at once; the share of answers that are right."""
    for name, value in settings.items():
        kind = "checked" if isinstance(value, bool) else "value"
        browser.run(
            f"""(() => {{ const control = document.getElementById('{name}');
            control.{kind} = {json.dumps(value)};
            control.dispatchEvent(new Event('input', {{ bubbles: true }})) }})()"""
        )
    browser.run("for (let i = 0; i < 30; i++) mvit.later()")
    right = browser.run("mvit.state.history.map(([, right]) => right)")
    return sum(filter(None, right)) / len(right) if None not in right else None


@pytest.mark.slow
@needs_chromium
def test_the_answer_follows_the_street_and_falls_to_a_coins_when_shuffled(opened):
    assert settle(opened, direction=0) > 0.9
    assert settle(opened, reversed=True) > 0.9
    assert settle(opened, reversed=False, direction=180) > 0.9
    assert settle(opened, mirrored=True) > 0.9
    assert settle(opened, mirrored=False, shuffled=True) < 0.85
    assert settle(opened, shuffled=False, frozen=True) is None
    assert not opened.errors


@needs_chromium
@pytest.mark.slow
def test_every_source_gives_frames_and_the_camera_is_asked_for_politely(opened):
    for source in ("plane", "bars", "blobs", "drawing", "street", "file", "camera"):
        settle(opened, source=source)
        clip = opened.run("[...mvit.state.clip]")
        assert len(clip) == 8 * 32 * 32 and min(clip) >= -0.5 and max(clip) <= 1.5
        if source not in ("file", "camera"):
            assert np.std(clip) > 0.05, source
    opened.wait("document.getElementById('source-note').textContent.includes('amera')")
    assert not opened.errors


def film_going_left(path):
    """Two seconds of a pattern that goes left, fast enough for the page's small pictures."""
    av = pytest.importorskip("av", reason="needs PyAV: pip install '.[video]'")
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (8, 80)), np.ones((32, 32))).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=25, width=256, height=256, pix_fmt="yuv420p")
        stream.bit_rate = 2_000_000
        for k in range(50):
            picture = np.repeat(blocks[:, 6 * k : 6 * k + 256, None], 3, axis=2)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@needs_chromium
@pytest.mark.slow
def test_a_film_of_ones_own_is_answered(browser, tmp_path):
    film = film_going_left(tmp_path / "film.webm")
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    browser.run(
        """(() => { const source = document.getElementById('source'); source.value = 'file';
        source.dispatchEvent(new Event('input')) })()"""
    )
    browser.give_file("#file", film)
    browser.wait("document.getElementById('source-note').textContent.includes('file is shown')")
    browser.run("document.getElementById('play').click()")
    browser.wait("mvit.state.history.length >= 40")
    left = browser.run("mvit.state.history.map(([scores]) => scores[0])")
    assert np.mean(np.array(left) > 0.5) > 0.6
    assert not browser.errors


@needs_chromium
@pytest.mark.slow
def test_the_camera_gives_frames_that_change(browser):
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    browser.run(
        """(() => { const source = document.getElementById('source'); source.value = 'camera';
        source.dispatchEvent(new Event('input')) })()"""
    )
    browser.wait("document.getElementById('source-note').textContent.includes('camera is on')")
    browser.run("document.getElementById('play').click()")
    browser.wait("mvit.state.history.length >= 12")
    clip = np.array(browser.run("[...mvit.state.clip]")).reshape(8, -1)
    assert abs(clip[0] - clip[-1]).max() > 0.01
    assert not browser.errors


@needs_chromium
def test_a_blob_is_drawn_dragged_and_moved_by_key(opened):
    settle(opened, source="drawing", speed=0)
    place = "[...mvit.state.source.place]"
    x, y, w = opened.run(
        """(() => { const pad = document.getElementById('pad'); pad.scrollIntoView();
        const { x, y, width } = pad.getBoundingClientRect(); return [x, y, width] })()"""
    )
    opened.drag((x + w / 4, y + w / 2), (x + 3 * w / 4, y + w / 2))
    right, down = opened.run(place)
    assert abs(right - 16) < 2 and abs(down) < 1
    focus(opened, "pad-left")
    opened.press("Enter")
    assert opened.run(place)[0] == pytest.approx(right - 2)
    ink = opened.run("mvit.state.source.ink.reduce((a, b) => a + b)")
    focus(opened, "pad-stamp")
    opened.press("Enter")
    assert opened.run("mvit.state.source.ink.reduce((a, b) => a + b)") > ink
    assert not opened.errors


@needs_chromium
@pytest.mark.parametrize("panel", ["frames", "windows", "stages"])
def test_a_click_chooses_a_token(opened, panel):
    opened.run("document.getElementById('block').selectedIndex = 0")
    x, y = opened.run(
        f"""(() => {{ const canvas = document.querySelector('#{panel} canvas, canvas#{panel}');
        canvas.scrollIntoView({{ block: "center" }});
        const {{ x, y, height }} = canvas.getBoundingClientRect(); return [x + 8, y + 30] }})()"""
    )
    opened.click(x, y)
    chosen = opened.run(
        "['t', 'h', 'w'].map((axis) => +document.getElementById(`token-${axis}`).value)"
    )
    assert chosen[0] == 1 and chosen[2] == 1 and chosen != [3, 5, 5]
    assert not opened.errors


# -- the page --------------------------------------------------------------------------------------

CONTROLS = "button, select, input:not([type=radio]), input[type=radio]:checked, a[href]"
VISIBLE = f"""[...document.querySelectorAll('{CONTROLS}')]
  .filter((node) => node.checkVisibility() && !node.disabled && !node.closest('dialog'))
  .map((node) => node.id || node.textContent || node.value)"""
FOCUSED = "(({ id, textContent, value }) => id || textContent || value)(document.activeElement)"


@needs_chromium
def test_tab_reaches_every_control(opened):
    wanted, reached = set(opened.run(VISIBLE)), set()
    for _ in range(2 * len(wanted)):
        opened.press("Tab")
        reached.add(opened.run(FOCUSED))
    assert wanted - reached == set()


@pytest.mark.slow
@needs_chromium
def test_keys_do_all_that_a_mouse_does(opened):
    text = "document.getElementById('{}').textContent"
    for name in ("direction", "speed", "angle", "contrast", "noise"):
        focus(opened, name)
        opened.press("Home")
        low = opened.run(text.format(f"{name}-value"))
        opened.press("End")
        assert opened.run(text.format(f"{name}-value")) != low, name
    for name in ("shuffled", "reversed", "mirrored", "frozen"):
        focus(opened, name)
        opened.press(" ")
        assert opened.run(f"mvit.state.order.{name}") is True
        assert opened.run(text.format("verdict"))
        opened.press(" ")
    for name, action in (("pool-queries", " "), ("pool-keys", " "), ("grow-channels", " ")):
        focus(opened, name)
        opened.press(action)
        assert opened.run("mvit.state.model !== mvit.state.trained")
        opened.press(action)
    assert opened.run("mvit.state.model === mvit.state.trained")
    focus(opened, "token-h")
    before = opened.run(text.format("frames-caption"))
    opened.press("ArrowUp")
    assert opened.run(text.format("frames-caption")) != before
    focus(opened, "key")
    before = opened.run(text.format("key-value"))
    opened.press("ArrowRight")
    assert opened.run(text.format("key-value")) != before
    focus(opened, "block")
    opened.press("End")
    assert "block 4" in opened.run(text.format("attention-caption"))
    assert not opened.errors


@needs_chromium
def test_one_steps_through_a_block_forwards_and_backwards_by_key(opened):
    opened.run("document.querySelector('#step-list input').focus()")
    seen = [opened.run("document.getElementById('step-code').textContent")]
    for _ in range(12):
        opened.press("ArrowRight")
        seen.append(opened.run("document.getElementById('step-code').textContent"))
    assert opened.run("document.getElementById('step-on').disabled") is True
    opened.press("ArrowLeft")
    assert opened.run("document.getElementById('step-code').textContent") == seen[-2]
    opened.run("document.activeElement.blur()")
    opened.press(",")
    assert opened.run("document.getElementById('step-code').textContent") == seen[-3]
    lines = op_lines()
    assert lines["layer_norm"] in seen[0] and lines["attention_weights"] in "\n".join(seen)
    assert not opened.errors


@pytest.mark.slow
@needs_chromium
def test_the_tour_has_ten_steps_and_gives_the_focus_back(opened):
    focus(opened, "start-tour")
    opened.press("Enter")
    titles = []
    for number in range(1, 11):
        said = opened.run("document.getElementById('tour-count').textContent")
        assert said == f"Step {number} of 10"
        titles.append(opened.run("document.getElementById('tour-title').textContent"))
        focus(opened, "tour-on")
        if number < 10:
            opened.press("Enter")
    assert len(set(titles)) == 10
    opened.press("Escape")
    assert opened.run("document.getElementById('tour').hidden") is True
    assert opened.run("document.activeElement.id") == "start-tour"
    opened.press("?")
    assert opened.run("document.getElementById('help').open") is True
    opened.press("Escape")
    assert opened.run("document.getElementById('help').open") is False
    assert not opened.errors


@needs_chromium
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_it_fits_its_screen_and_asks_for_nothing(browser, size):
    browser.open(DOCS.as_uri(), *size, phone=size[0] < 500)
    browser.wait("mvit.state.time > 3")
    assert browser.run("document.documentElement.scrollWidth") <= size[0]
    assert not browser.errors
    assert [url for url in browser.requests if not url.startswith("data:")] == [DOCS.as_uri()]


@needs_chromium
def test_who_wants_less_motion_gets_a_paused_page(browser):
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    assert browser.run("mvit.state.playing") is False
    assert "The answer" in browser.run("document.getElementById('spoken').textContent")


@needs_chromium
@pytest.mark.slow
@pytest.mark.skipif(AXE is None, reason="needs axe: npm install --no-save axe-core, or AXE=FILE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(browser, scheme, width):
    browser.open(DOCS.as_uri(), width, 900, prefers_color_scheme=scheme)
    browser.run("document.getElementById('play').click()")
    browser.run("document.getElementById('start-tour').click()")
    browser.run(AXE.read_text() + "; 0")
    found = browser.run("axe.run(document, {}).then((result) => result.violations)")
    told = [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in found]
    assert not told


# -- the file --------------------------------------------------------------------------------------


def test_the_page_in_docs_is_what_the_sources_make():
    text = DOCS.read_text()
    about, params, config = held(text)
    kept = ("classes", "normalise", "tau", "note")
    again = page(params, config, *(about[name] for name in kept))
    assert text == again, "write it again: python docs/live_page.py --renew"
    assert len(text.encode()) < LARGEST and "street" in about["note"]


def test_it_loads_nothing_from_elsewhere():
    text = re.sub(r'<script type="text/plain".*?</script>', "", DOCS.read_text(), flags=re.S)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|WebSocket|importScripts", text)
    assert not re.search(r"<(script|img|link)[^>]*(src|href)=\"(?!data:)", text)


def test_scripts_are_small_and_have_the_names_of_the_ops():
    for path in SCRIPTS:
        lines = path.read_text().splitlines()
        assert len(lines) <= 260 and max(map(len, lines)) <= 100, path.name
    both = "".join((folder / "js" / name).read_text() for name in ("ops.js", "windows.js"))
    named = set(re.findall(r"^export function ([a-z]+(?:_[a-z]+)*)\(", both, re.M))
    helpers = {"out_grid", "attention_scores"}
    assert {"cube_conv", "attend", "depthwise_conv", "max_pool", "linear", "layer_norm"} <= named
    assert named - helpers <= set(mv.ops.__all__)


def test_the_python_beside_the_steps_is_that_of_the_ops():
    lines = op_lines()
    assert lines["linear"].splitlines()[0] == "y = x @ w if b is None else x @ w + b"
    assert lines["attend"].endswith("return heads_first(p @ v)")
    assert not any("backward" in text or '"""' in text for text in lines.values())


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.npz"
    mv.save(path, mv.init(MICRO, np.random.default_rng(0)), MICRO)
    return path


def test_the_command_writes_a_page_and_not_over_other_files(model, tmp_path, capsys):
    out = tmp_path / "page.html"
    command = [
        "explainer",
        "--model",
        str(model),
        "--out",
        str(out),
        "--note",
        "Trained by </hand>",
    ]
    assert main(command) == 0 and main(command) == 0
    assert "94,882 parameters. Trained by </hand>" in capsys.readouterr().out
    about, params, config = held(out.read_text())
    assert config == MICRO and about["note"].endswith("Trained by </hand>")
    out.write_text("mine")
    assert main(command) == 2 and out.read_text() == "mine"
    assert "this command did not write it" in capsys.readouterr().err


@pytest.mark.slow
def test_the_folder_of_a_run_is_taken_and_tested(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install '.[data]'")
    recipe = changed(RECIPES["smoke"], {"epochs": 0.25})
    list(run(prepare(recipe, tmp_path / "run")))
    out = tmp_path / "page.html"
    command = ["explainer", "--model", str(tmp_path / "run"), "--out", str(out)]
    assert main([*command, "--data", "moving_digits"]) == 0
    assert "test clips of moving_digits" in capsys.readouterr().out
    about, _, config = held(out.read_text())
    assert about["classes"][:2] == ["right", "down right"] and config.num_classes == 8
    assert about["normalise"] == "clip"


@pytest.mark.parametrize(
    "field, words",
    [
        ({"positions": "relative"}, "came positions = 'relative'"),
        ({"dim": 64, "depths": (1, 2, 3)}, "take a smaller model"),
    ],
)
def test_a_model_that_the_page_cannot_run_is_named(tmp_path, capsys, field, words):
    config = replace(MICRO, **field)
    mv.save(tmp_path / "model.npz", mv.init(config, np.random.default_rng(0)), config)
    out = tmp_path / "page.html"
    assert main(["explainer", "--model", str(tmp_path / "model.npz"), "--out", str(out)]) == 2
    assert words in capsys.readouterr().err and not out.exists()
