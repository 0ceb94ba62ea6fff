"""The README keeps its word: its example runs, its tables and commands are those of the package.

`python tests/project/test_readme.py` writes the numbers of lines anew.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mvit_np as mv

ROOT = Path(__file__).parents[2]
PACKAGE = Path(mv.__file__).parent  # which may be installed elsewhere
README = (ROOT / "README.md").read_text()


def test_the_example_runs_and_ends_with_a_passed_gradient_check():
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "gradients agree with finite differences" in done.stdout and "stage" in done.stdout
    assert (
        len([line for line in code.splitlines() if line and not line.startswith(("import", "#"))])
        <= 8
    )


# -- what to read ----------------------------------------------------------------------------------

# Of model/ and ops/: what a mistake is answered, what is printed, data, counts, looks inside, and
# what is faster.
BESIDE_THE_LESSON = """
    model/validation model/text_table model/presets model/account model/costs model/fast
    model/passes model/features
    model/inspection model/relevance model/position_similarity model/resize model/paper
    model/__init__ model/layers/__init__ ops/__init__
""".split()
AT_MOST = 2500  # lines


def files_of(cell):
    """Of "`model/`: `specs`, `plan`": model/specs.py, model/plan.py."""
    folder, files = "", []
    for name in re.findall("`([^`]+)`", cell):
        if name.endswith("/"):
            folder = name
        else:
            files.append(f"{folder}{name}.py")
    return files


def steps():
    """(row, its files) of each step of the table."""
    rows = re.findall(r"^\| \d+ \|.*\|$", README, re.M)
    return [(row, files_of(row.split("|")[3])) for row in rows]


def lines(files):
    return sum(len((PACKAGE / file).read_text().splitlines()) for file in files)


def counted():
    """The README with the lines of each step and of the core as they are."""
    text, core = README, 0
    for row, files in steps():
        core += lines(files)
        text = text.replace(row, re.sub(r"[\d,]+ \|$", f"{lines(files):,} |", row))
    return re.sub(r"(\| \*\*the core\*\* \| \| \*\*)[\d,]+", rf"\g<1>{core:,}", text)


def test_the_steps_have_as_many_lines_as_it_says():
    now = counted()
    right = [line for line in now.splitlines() if line not in README.splitlines()]
    assert README == now, "\n".join(["python tests/project/test_readme.py writes these:", *right])


def test_the_core_is_small_enough_to_read_and_nothing_of_the_lesson_is_left_out():
    core = [file for _, files in steps() for file in files]
    found = [*PACKAGE.glob("model/**/*.py"), *PACKAGE.glob("ops/*.py")]
    beside = {f"{name}.py" for name in BESIDE_THE_LESSON}
    lesson = {path.relative_to(PACKAGE).as_posix() for path in found} - beside
    assert beside <= {path.relative_to(PACKAGE).as_posix() for path in found}
    tape = {f"autodiff/{name}.py" for name in ("tape", "boxes", "versions", "gradcheck")}
    assert len(core) == len(set(core)) and set(core) == lesson | tape
    assert lines(core) <= AT_MOST


# -- what it shows ---------------------------------------------------------------------------------


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


@pytest.mark.slow
def test_its_links_and_commands_exist():
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link
    for file in re.findall(r"`((?:docs|tests)/[\w./]+)`", README):
        assert (ROOT / file).exists(), file
    for command in set(re.findall(r"mvit-np (\w+)", README)):
        done = subprocess.run(
            [sys.executable, "-m", "mvit_np", command, "--help"], capture_output=True, timeout=60
        )
        assert done.returncode == 0, command


if __name__ == "__main__":
    (ROOT / "README.md").write_text(counted())
