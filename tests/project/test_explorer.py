"""docs/explorer.html in headless Chromium: its numbers are those of `costs`, and it needs nothing
but itself.
"""

import html
import itertools
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from mvit_np import MViTConfig, costs, plan, preset

PAGE = Path(__file__).parents[2] / "docs" / "explorer.html"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)
B = {
    "frames": 16,
    "size": 224,
    "cube_t": 2,
    "cube_s": 4,
    "dim": 96,
    "heads": 1,
    "d1": 1,
    "d2": 2,
    "d3": 11,
    "d4": 2,
}
B |= {"q_t": 1, "q_s": 2, "kv_t": 1, "kv_s": 8}
CHOICES = {
    "frames": [4, 8, 16, 32, 64], "size": [96, 160, 224, 288, 320, 448],
    "cube_t": [1, 2, 4], "cube_s": [2, 4, 8, 16],
    "dim": [32, 64, 96, 160, 768], "heads": [1, 2, 4],
    "d1": [1, 3, 16], "d2": [0, 1, 5], "d3": [0, 2, 11], "d4": [0, 1, 3],
    "q_t": [1, 2], "q_s": [1, 2, 4], "kv_t": [1, 2, 4], "kv_s": [1, 2, 4, 8, 16],
}  # fmt: skip


def drawn(count):
    """Choices that make a model: no grid is smaller than the stride that pools it."""
    rng, found = np.random.default_rng(0), []
    while len(found) < count:
        choice = {name: int(rng.choice(values)) for name, values in CHOICES.items()}
        with suppress(ValueError):
            configs(choice)
            found.append(choice)
    return found


def shown(choice):
    """The page's document after its script has run."""
    address = f"{PAGE.as_uri()}#{urlencode(choice)}"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=2000",
        "--dump-dom",
        address,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def numbers(document):
    return json.loads(html.unescape(re.search(r'id="numbers">(.*?)</script>', document)[1]))


def configs(c):
    """The page's two models as configs."""
    depths = tuple(itertools.takewhile(bool, (c["d1"], c["d2"], c["d3"], c["d4"])))
    edge, clip = 2 * c["cube_s"] - 1, {"frames": c["frames"], "size": c["size"], "uneven": True}
    mvit = MViTConfig(
        cube_kernel=(3, edge, edge), cube_stride=(c["cube_t"], c["cube_s"], c["cube_s"]),
        dim=c["dim"], heads=c["heads"], depths=depths,
        stride_q=(c["q_t"], c["q_s"], c["q_s"]), stride_kv=(c["kv_t"], c["kv_s"], c["kv_s"]),
        **clip,
    )  # fmt: skip
    cube = (c["cube_t"], 16, 16)
    return mvit, replace(preset("vit_b_8f"), cube_kernel=cube, cube_stride=cube, **clip)


@needs_chromium
@pytest.mark.parametrize("models", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_its_numbers_are_those_of_costs(models):
    choices = [B, *drawn(models - 1)]
    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(lambda choice: numbers(shown(choice)), choices))
    for choice, page in zip(choices, pages):
        assert page["config"] == choice
        for config, said in zip(configs(choice), (page["mvit"], page["vit"])):
            account, p = costs(config), plan(config)
            assert (said["total"]["macs"], said["total"]["params"]) == (
                account.macs,
                account.params,
            )
            assert said["total"]["attention"] == account.attention_bytes
            for index, stage in enumerate(said["stages"]):
                lines = [line for line in account.lines if line.stage == index]
                last = [b for b in p.blocks if b.stage == index][-1]
                assert (stage["macs"], stage["params"]) == (
                    sum(s.macs for s in lines),
                    sum(s.params for s in lines),
                )
                assert (tuple(stage["thw"]), stage["tokens"], stage["keys"]) == (
                    last.thw_q,
                    last.tokens_q,
                    last.tokens_kv,
                )
                assert (stage["channels"], stage["heads"]) == (last.dim_attn, last.heads)


@needs_chromium
def test_the_models_of_the_papers_table_are_said_in_words():
    document = shown(B)
    assert "70.6 G multiply-adds, 36.6 M parameters" in document and "2.6 times fewer" in document
    assert document.count("<svg") == 1 and document.count('<div class="control">') == len(CHOICES)


@needs_chromium
def test_what_cannot_be_built_is_said():
    choice = B | {"size": 96, "cube_s": 8, "q_s": 4}
    with pytest.raises(ValueError, match="height 3 and the stride is 4"):
        configs(choice)
    assert "Stage 3 pools 3 rows with stride 4: such a model cannot be built." in shown(choice)


def test_it_needs_no_network_and_names_every_slider():
    text = PAGE.read_text()
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|XMLHttp", text)
    assert 'lang="en"' in text and 'aria-live="polite"' in text and '<label for="${key}">' in text


@needs_chromium
def test_on_a_phone_the_answer_stays_in_sight_while_a_slider_moves(tmp_path):
    measure = """<script>{
    const slider = byId("kv_s");
    const first = byId("answer").getBoundingClientRect().bottom;
    slider.scrollIntoView({ block: "end" });
    slider.value = 1;
    slider.dispatchEvent(new Event("input"));
    const { top, bottom } = byId("answer").getBoundingClientRect();
    document.title = [innerWidth, first, top, bottom, slider.getBoundingClientRect().top].join();
    }</script>"""
    page = tmp_path / "explorer.html"
    page.write_text(PAGE.read_text().replace("</body>", f"{measure}</body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,844"]
    command += ["--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    width, first, top, bottom, slider = map(
        float, re.search("<title>(.*?)</title>", shown)[1].split(",")
    )
    assert width <= 500 and first < 500 and top == 0
    assert bottom < slider < 844 and bottom < 844 / 4
