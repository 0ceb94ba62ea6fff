"""The README keeps its word: its example runs, its table and commands are those of the package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mvit_np as mv

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_and_ends_with_a_passed_gradient_check():
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "gradients agree with finite differences" in done.stdout and "stage" in done.stdout
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "#"))]) <= 8


def preset_rows():
    for name, preset in mv.PRESETS.items():
        account = mv.costs(preset.config)
        yield f"| `{name}` | {account.params:,} | {account.macs / 1e9:.4g} G | {preset.about} |"


def test_the_preset_table_is_computed():
    for row in preset_rows():
        assert row in README, f"README.md lacks the row\n{row}"


def test_presets_have_the_published_counts():
    for preset in mv.PRESETS.values():
        account = mv.costs(preset.config)
        assert preset.params in (None, account.params)
        assert preset.gmacs in (None, round(account.macs / 1e9, 2))


def test_the_ratios_are_those_measured():
    for case in json.loads((ROOT / "docs/performance.json").read_text())["cases"]:
        ours, theirs = case["by"]["mvit_np"], case["by"]["torch"]
        time, memory = (ours[key] / theirs[key] for key in ("median_s", "peak_bytes"))
        assert f"| {case['title']} | {time:.2f} | {memory:.2f} |" in README


def test_its_links_and_commands_exist():
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link
    for file in re.findall(r"`((?:docs|tests)/[\w./]+)`", README):
        assert (ROOT / file).exists(), file
    for command in set(re.findall(r"mvit-np (\w+)", README)):
        done = subprocess.run([sys.executable, "-m", "mvit_np", command, "--help"], capture_output=True, timeout=60)
        assert done.returncode == 0, command
