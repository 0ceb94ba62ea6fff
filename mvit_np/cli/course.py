"""`mvit-np course`: a working copy of the course, its grades, and the reader's own model."""

from __future__ import annotations

import csv
import io
import json
import secrets
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from ..backend.outputs import carries, check_free, write
from ..backend.plain_text import plain
from .arguments import Commands, count, file_path, positive
from .terminal import BAR

FILE = "my_mvit.py"
STEPS, SECONDS = 80, 20.0
OWN = "more exercises: a file of your own that calls mvit_np.course.add"
WAYS = "autograd", "backward", "tape"  # as course.WAYS, which is not loaded for every command
COLUMNS = "exercise", "points", "of", "state", "likely", "message", "seed", "level"


def add(commands: Commands) -> None:
    """The command's own commands and their options."""
    parser = commands.add_parser(
        "course", help="a working copy of the exercises: start it, check it, train your own model"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_start(actions)
    _add_check(actions)
    _add_progress(actions)
    _add_train(actions)
    _add_export(actions)


def _add_start(actions):
    about = "copy notebooks, exercises and a file for your own model into a new folder"
    option = (parser := actions.add_parser("start", help=about)).add_argument
    without = "for students: no solution is folded in or shown (the package itself holds them)"
    option("folder", metavar="DIR", type=file_path, help="new, or empty")
    option("--no-solutions", action="store_true", help=without)
    parser.set_defaults(run=start)


def _add_check(actions):
    about = "grade a working copy offline; each answer runs in a process of its own"
    option = (parser := actions.add_parser("check", help=about)).add_argument
    option("folder", metavar="DIR", type=file_path, help="a working copy, or its exercises")
    seed = "seed of the numbers (default: a new one, which is printed)"
    option("--seed", type=count, metavar="S", help=seed)
    option("--json", action="store_true", help="print the grades as JSON")
    option("--csv", type=file_path, metavar="FILE", help="write the grades, a line per exercise")
    seconds = "seconds per answer (%(default)s)"
    option("--time", type=positive, default=SECONDS, metavar="S", help=seconds)
    option("--exercises", type=file_path, metavar="FILE.py", help=OWN)
    parser.set_defaults(run=check)


def _add_progress(actions):
    parser = actions.add_parser("progress", help="how far a working copy is, chapter by chapter")
    about = "a working copy, or its exercises (here)"
    parser.add_argument("folder", metavar="DIR", nargs="?", default=".", type=file_path, help=about)
    parser.add_argument("--exercises", type=file_path, metavar="FILE.py", help=OWN)
    parser.set_defaults(run=progress)


def _add_train(actions):
    about = "check the pieces in your file, put them together, and train the model on real films"
    option = (parser := actions.add_parser("train", help=about)).add_argument
    yours = f"the file with your pieces ({FILE})"
    option("file", metavar="FILE", nargs="?", type=file_path, default=FILE, help=yours)
    steps = "number of steps of 32 clips (%(default)s)"
    option("--steps", type=count, default=STEPS, metavar="N", help=steps)
    seed = "seed of the weights and of the order of the clips (%(default)s)"
    option("--seed", type=int, default=0, metavar="N", help=seed)
    about = "by autograd through your forward functions, by your backward passes, or on your tape"
    option("--gradients", choices=WAYS, default=WAYS[0], help=f"{about} (%(default)s)")
    parser.set_defaults(run=train)


def _add_export(actions):
    about = "write the exercises as assignments of nbgrader, with points and hidden tests"
    option = (parser := actions.add_parser("export", help=about)).add_argument
    option("folder", metavar="DIR", type=file_path, help="new, or empty")
    option("--seed", type=count, metavar="S", help="draws the hidden tests' numbers (drawn anew)")
    parser.set_defaults(run=export)


def start(arguments: Namespace) -> int:
    """Copies of the notebooks that save themselves alone."""
    from ..course import folder

    written = folder.start(arguments.folder, solutions=not arguments.no_solutions)
    place = plain(arguments.folder)
    print(f"wrote {len(written)} files to {place}; next: jupyter lab {place}")
    return 0


def check(arguments: Namespace) -> int:
    """A line per exercise; exit code 0 for all points, else 1."""
    from ..course import grading

    if arguments.csv:
        check_free(arguments.csv, lambda path: carries(path, ",".join(COLUMNS).encode()))
    seed = secrets.randbelow(1_000_000) + 1 if arguments.seed is None else arguments.seed
    grades = _grades(arguments, seed, arguments.time, quiet=arguments.json)
    got, of = grading.points(grades)
    if arguments.csv:
        write(arguments.csv, _csv(grades))
    if arguments.json:
        whole = {"points": got, "of": of, "seed": seed, "grades": list(map(_row, grades))}
        print(json.dumps(whole, indent=1))
    else:
        print(f"{got} of {of} points; --seed {seed} draws the same numbers again")
    return 0 if got == of else 1


def _grades(arguments, seed, seconds, quiet):
    """All grades, each shown as it is there."""
    from .. import course
    from ..course import grading, own_exercise

    def show(each):
        about = each.likely or ("" if each.points else each.message.splitlines()[-1].strip())
        mark, which = "x" if each.points else " ", f"{each.exercise:<30} {_level(each):<13}"
        print(f"[{mark}] {which} {each.state:<12} {plain(about)}".rstrip(), flush=True)

    if own := arguments.exercises:
        own_exercise.load(own)
    exercises = [*course.names(), grading.MODEL]
    return grading.grade(arguments.folder, exercises, seed, seconds, None if quiet else show, own)


def _level(each):
    """What an exercise asks for; the whole model asks for nothing more."""
    from .. import course

    return course.exercise(each.exercise).level if "." in each.exercise else ""


def _row(each):
    return {**asdict(each), "level": _level(each)}


def _csv(grades):
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows({**_row(each), "message": " / ".join(each.message.splitlines())}
                    for each in grades)  # fmt: skip
    return text.getvalue()


def progress(arguments: Namespace) -> int:
    """A bar per chapter, how far each level is, and what comes next."""
    grades = _grades(arguments, secrets.randbelow(1_000_000) + 1, SECONDS, quiet=True)
    chapters: dict[str, list] = {}
    for each in grades:
        chapters.setdefault(each.exercise.partition(".")[0], []).append(each)
    for chapter, those in chapters.items():
        done = sum(each.points for each in those)
        bar = "#" * done + "." * (len(those) - done)
        print(f"{chapter:<8} {done} of {len(those)}  {bar:<12} {_by_level(those)}".rstrip())
    left = [each for each in grades if not each.points]
    print("all is done" if not left else f"next: {left[0].exercise} ({left[0].state})")
    return 0


def _by_level(those):
    """How many of each level are done, where a chapter has levels."""
    levels: dict[str, list] = {}
    for each in those:
        levels.setdefault(_level(each), []).append(each.points)
    return ", ".join(f"{level} {sum(got)}/{len(got)}" for level, got in levels.items() if level)


def train(arguments: Namespace) -> int:
    """Exit code 1 where a piece is wrong, or the model does not learn."""
    from .. import course
    from ..data import load_motion
    from ..model.presets import preset
    from ..studies.own_model import GOAL, train_own

    file = arguments.file
    if not Path(file).is_file():
        rule = f"your pieces are in a file, and there is no {file}"
        raise ValueError(f"{rule}: keep answers in it with course.keep, or name another file")
    result = course.check_model(file)
    print("\n".join(map(plain, str(result).splitlines())))
    if not result:
        return 1
    clips, forward = load_motion(), course.assemble(file)
    with tqdm(total=arguments.steps, bar_format=BAR, dynamic_ncols=True) as bar:

        def show(step, loss):
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()

        config, (steps, seed) = preset("mvit_micro"), (arguments.steps, arguments.seed)
        gradients = course.gradients(file, arguments.gradients)
        trained = train_own(
            forward, clips, config, steps, seed=seed, on_step=show, gradients=gradients
        )
    print(f"accuracy on unseen shots  {trained.accuracy:.1%}  after {trained.seconds:.0f} s")
    if trained.accuracy < GOAL:
        print(f"a model of this kind reaches {GOAL:.0%}: take more --steps, or another --seed")
    return 0 if trained.accuracy >= GOAL else 1


def export(arguments: Namespace) -> int:
    """A course folder of nbgrader."""
    from ..course import assignments

    *notebooks, config = assignments.export(arguments.folder, arguments.seed)
    place, first = plain(config.parent), notebooks[0].stem
    print(f"wrote {len(notebooks)} assignments of {assignments.total()} points to {place}")
    print(f"next: cd {place} && nbgrader generate_assignment {first}")
    return 0
