"""The course from zero, as a student would go through it: python docs/from_zero.py --out zero

In a clone and an environment that the README's own command for the course makes, `mvit-np course
start` lays out a working copy, the reference answers are typed into its notebooks and `my_mvit.py`,
`mvit-np course check` grades them, and the reader's own model is trained in three ways on the real
films. It prints how long each step took, by the clock and on all cores together.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mvit_np import course
from mvit_np.studies.bench.machine import cpu_times, describe, others

ROOT = Path(__file__).parents[1]
HEAD = "import numpy as np\nfrom mvit_np import ops, plan\n"
ALSO = "from dataclasses import replace\nfrom math import prod\n"
ALSO += "from mvit_np import MViTConfig, costs\n"
WITH_PIECES = ("04", "05", "06")  # chapters whose answers call those of earlier ones


def timed(what, command, folder):
    """Run a shell command; (what, seconds by the clock, seconds on all cores, its output)."""
    start, before = time.perf_counter(), os.times()
    run = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{command}\n{run.stdout}\n{run.stderr}")
    cores = sum(os.times()[2:4]) - sum(before[2:4])
    return what, time.perf_counter() - start, cores, run.stdout


def cell(text):
    return {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None,
            "source": text}  # fmt: skip


def type_answers(place):
    """Every reference answer, into the notebooks and the reader's file."""
    for chapter in sorted({name[:2] for name in course.names()}):
        answers = [course.solution(name) for name in course.names(chapter)]
        if chapter in WITH_PIECES:
            answers = [*map(course.solution, course.pieces()), *answers]
        path = next((place / "exercises").glob(f"{chapter}_*.ipynb"))
        cells = [cell(text) for text in (HEAD + ALSO, *answers)]
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        path.write_text(json.dumps(notebook))
    pieces = [*course.pieces(), *course.pieces(backward=True)]
    (place / "exercises" / "my_mvit.py").write_text(
        "\n\n\n".join([HEAD, *map(course.solution, pieces)])
    )


def steps(out):
    """What `timed` gives for each step."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^(.*) && \S+jupyter lab notebooks$", readme, re.MULTILINE)[1]
    subprocess.run(["git", "clone", "--quiet", ROOT, out / "clone"], check=True)
    tool = f"{out.resolve() / 'clone' / '.venv' / 'bin' / 'mvit-np'} course"
    yield timed("the README's command", line.replace("python3", sys.executable), out / "clone")
    yield timed("`mvit-np course start`", f"{tool} start copy", out)
    type_answers(out / "copy")
    yield timed("`mvit-np course check`", f"{tool} check copy", out)
    for way in course.WAYS:
        command = f"{tool} train copy/exercises/my_mvit.py --gradients {way}"
        yield timed(f"`mvit-np course train --gradients {way}`", command, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default="zero", help="a new folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    before = cpu_times()
    print("| | by the clock | all cores together | it says |\n| --- | ---: | ---: | --- |")
    for what, clock, cores, said in steps(options.out):
        last = [line for line in said.splitlines() if "points" in line or "accuracy" in line]
        print(f"| {what} | {clock:.0f} s | {cores:.0f} s | {' '.join(last[-1:])} |", flush=True)
    about, taken = describe(), others(before, cpu_times())
    print(f"\n{about['cores']} cores of {about['cpu']}; others took {taken or 0:.2f} of them")


if __name__ == "__main__":
    main()
