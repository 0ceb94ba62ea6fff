"""What docs/live.md shows: `python docs/live_page.py` takes the screenshots of
docs/explainer.html, measures its numbers and writes both into docs/. It needs Chromium.

With `--speed` it only prints how many answers per second the page gives, on an idle machine. With
`--renew` it only writes docs/explainer.html again, with the same model and today's sources.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from browser import Browser  # noqa: E402
from explainer_page import DOCS, differences, held  # noqa: E402

import mvit_np as mv  # noqa: E402
from mvit_np.data.sets.motion import load_motion, normalised  # noqa: E402
from mvit_np.visualize.explainer import page  # noqa: E402

PAGE, FIGURES = ROOT / "docs" / "live.md", ROOT / "docs" / "figures"
MARKS = "<!-- measured -->\n", "<!-- end -->\n"
CLIPS = 20
COLOURS, WIDEST = 256, 960  # of a picture, so that it is small

SCREENS = {  # name: (width, height, phone, scheme, what is done before)
    "desktop": (1440, 900, False, "light", {}),
    "laptop_dark": (1024, 768, False, "dark", {}),
    "tablet": (768, 1024, False, "light", {"direction": 180}),
    "phone_dark": (390, 844, True, "dark", {}),
}
PANELS = {  # name: (panel, scheme, what is done before)
    "shuffled": ("#answer-panel", "light", {"shuffled": True}),
    "stages": ("#stages-panel", "light", {}),
    "windows": ("#windows-panel", "light", {"key": 6}),
    "attention": ("#attention-panel", "light", {}),
    "steps": ("#steps-panel", "dark", {"step": 5}),
    "bill": ("#bill", "light", {"pool-keys": False}),
    "tour": (None, "light", {"start-tour": None}),
}


def opened(browser, width, height, phone, scheme, settings):
    """The page in such a window, after sixty answers and some settings."""
    media = {"prefers_color_scheme": scheme, "prefers_reduced_motion": "reduce"}
    browser.open(DOCS.as_uri(), width, height, phone, **media)
    for name, value in settings.items():
        choose(browser, name, value)
    browser.run("for (let i = 0; i < 60; i++) mvit.later()")
    browser.run("document.getElementById('next-frame').click()")


def choose(browser, name, value):
    control = f"document.getElementById('{name}')"
    if name == "step":
        control = f"document.querySelectorAll('#step-list input')[{value}]"
    if isinstance(value, bool) or value is None or name == "step":
        browser.run(f"{control}.click()")
    else:
        set_value = f"{control}.value = {value}"
        browser.run(f"{set_value}; {control}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def keep(name, png):
    """A picture of at most WIDEST pixels, with few colours."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    small = picture.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
    path = FIGURES / f"explainer_{name}.png"
    small.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}, {path.stat().st_size / 1e3:.0f} kB")


def take_pictures(browser):
    for name, how in SCREENS.items():
        opened(browser, *how)
        keep(name, browser.picture())
    for name, (panel, scheme, settings) in PANELS.items():
        opened(browser, 1440, 900, False, scheme, settings)
        keep(name, browser.picture(panel))


# -- numbers ---------------------------------------------------------------------------------------


def answers_per_second(browser, seconds=5):
    """Of the model alone, one after another."""
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    return browser.run(
        f"""(() => {{
        const {{ embed }} = mvit.state.model.plan, model = mvit.state.model;
        const clip = new Float32Array(embed.thw_in.reduce((a, b) => a * b, embed.channels));
        for (let i = 0; i < 30; i++) mvit.forward(model, clip);
        const start = performance.now();
        let count = 0;
        for (; performance.now() - start < {1000 * seconds}; count++) mvit.forward(model, clip);
        return 1000 * count / (performance.now() - start);
    }})()"""
    )


def table_of_differences(browser, params, config):
    clips = np.random.default_rng(0).standard_normal(
        (CLIPS, *config.thw, config.channels), dtype=np.float32
    )
    browser.open(DOCS.as_uri(), prefers_reduced_motion="reduce")
    yield f"| what, over {CLIPS} clips | largest difference from NumPy |\n|---|---:|\n"
    for name, worst in sorted(differences(browser, params, config, clips).items()):
        yield f"| {name} | {worst:.1e} |\n"


def hands(params, config, clips, radius, speed, count=300):
    """The share of right answers where a flat disc moves before a still picture, with some noise.

    clips: (N, T, H, W, 1), whose first frames are what stands still   radius: pixels
    speed: pixels per frame
    """
    rng, size = np.random.default_rng(0), config.size
    y, x = np.mgrid[:size, :size].astype(np.float32)
    made, labels = np.empty((count, *config.thw), np.float32), rng.integers(2, size=count)
    for clip, label in zip(made, labels):
        back, tone = clips[rng.integers(len(clips)), 0, ..., 0], rng.choice([-1.5, 1.5])
        down, right = rng.uniform(8, 24), rng.uniform(12, 20)
        for t, frame in enumerate(clip):
            now = right + (1 if label else -1) * speed * (t - (config.frames - 1) / 2)
            cover = 1 / (1 + np.exp((np.hypot(x - now, y - down) - radius) / 0.7))
            frame[:] = (1 - cover) * back + cover * tone
    made += 0.1 * rng.standard_normal(made.shape, dtype=np.float32)
    logits = mv.predict(params, normalised(made)[..., None], config)
    return float((logits.argmax(1) == labels).mean())


def table_of_hands(params, config):
    clips, speeds = load_motion().test_clips, (0.25, 0.5, 1, 2)
    yield "\n| width of the hand | " + " | ".join(f"{s} pixels per frame" for s in speeds) + " |\n"
    yield "|---|" + len(speeds) * "---:|" + "\n"
    for radius in (12, 8, 5, 3):
        shares = [f"{hands(params, config, clips, radius, speed):.0%}" for speed in speeds]
        yield f"| {2 * radius} of {config.size} pixels | {' | '.join(shares)} |\n"


def measured(browser):
    """The lines between the marks of docs/live.md."""
    _, params, config = held(DOCS.read_text())
    yield "".join(table_of_differences(browser, params, config))
    rate = answers_per_second(browser)
    yield f"\nThe page gives {rate:.0f} answers per second on one core, when nothing is drawn.\n"
    yield from table_of_hands(params, config)


def renew():
    about, params, config = held(DOCS.read_text())
    kept = (about[name] for name in ("classes", "normalise", "tau", "note"))
    DOCS.write_text(page(params, config, *kept))


def main():
    parser = argparse.ArgumentParser(description="Screenshots and measurements of the live page.")
    option = parser.add_mutually_exclusive_group().add_argument
    option("--speed", action="store_true", help="measure the speed alone, and print it")
    option("--renew", action="store_true", help="write the page again with the model in it")
    asked = parser.parse_args()
    if asked.renew:
        renew()
        return
    with Browser() as browser:
        if asked.speed:
            print(f"{answers_per_second(browser):.1f} answers per second")
            return
        take_pictures(browser)
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        text = "".join(measured(browser))
        print(text)
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
