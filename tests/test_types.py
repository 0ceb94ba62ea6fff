"""The public face has types, for readers and for type checkers."""

import ast
import inspect
import re
import typing
from pathlib import Path

import pytest

import mvit_np as mv
import mvit_np.train.run

ROOT, PACKAGE = Path(__file__).parents[1], Path(mv.__file__).parent
LISTED = re.findall(r'^    "(mvit_np/[^*\n]*)",$', (ROOT / "pyproject.toml").read_text(), re.M)
WINGS = (mv.course, mv.data, mv.visualize)


def modules(listed):
    """The modules of a file or folder that mypy checks, such as "mvit_np/model/plan"."""
    path = PACKAGE.parent / listed
    files = path.rglob("*.py") if path.is_dir() else [path]
    return [file.relative_to(PACKAGE.parent).with_suffix("").as_posix() for file in files]


CHECKED = [module for listed in LISTED for module in modules(listed)]


def public(wing=mv):
    """The functions and classes that `wing.__all__` names, and those of the modules in it, once."""
    for name in wing.__all__:
        thing = getattr(wing, name)
        inside = vars(thing).items() if inspect.ismodule(thing) else [(name, thing)]
        yield from (value for key, value in inside if callable(value) and not key.startswith("_"))


def belongs(thing):
    """Whether this has to have types: what is public of backend/, and all that mypy checks."""
    return thing.__module__.startswith("mvit_np.backend.") or is_checked(thing)


def is_checked(thing):
    """Whether mypy checks the file of this, alone or with its folder."""
    file = Path(thing.__module__.replace(".", "/") + ".py")
    return not {path.as_posix() for path in (file, *file.parents)}.isdisjoint(LISTED)


def faces():
    """The functions and classes that the `__all__` of a wing names."""
    for wing in WINGS:
        yield from filter(callable, (getattr(wing, name) for name in wing.__all__))


TYPED = [thing for thing in dict.fromkeys(public()) if belongs(thing)]
ALL = list(dict.fromkeys([*TYPED, *faces()]))
CLASSES = [thing for thing in ALL if inspect.isclass(thing)]


def is_typed(function):
    """Whether all parameters and the result of a function, or of a bound method, have a type."""
    signature = inspect.signature(function)
    taken = [one for name, one in signature.parameters.items() if name not in ("self", "cls")]
    types = [*(one.annotation for one in taken), signature.return_annotation]
    return inspect.Signature.empty not in types


TRAINING = [
    thing
    for thing in dict.fromkeys([*public(mv.train), *public(mvit_np.train.run)])
    if thing.__module__.startswith("mvit_np.train.")
]


def methods_of(kind):
    """What makes one of this class, if it is written or generated there, and its public methods."""
    inside = {name: getattr(one, "__func__", one) for name, one in vars(kind).items()}
    return [
        one
        for name, one in inside.items()
        if inspect.isfunction(one) and (name == "__init__" or not name.startswith("_"))
    ]


def test_mypy_checks_the_files_of_these():
    names = {thing.__name__ for thing in TYPED}
    assert names >= {"MViTConfig", "preset", "plan", "costs", "resize", "load", "save", "to_device"}
    assert all(map(is_checked, TYPED))
    assert all((PACKAGE.parent / path).exists() for path in LISTED)


def test_mypy_checks_the_files_of_what_the_wings_name():
    for thing in faces():
        file = Path(inspect.getsourcefile(inspect.unwrap(thing))).relative_to(PACKAGE.parent)
        assert {file.as_posix(), *map(Path.as_posix, file.parents)} & set(LISTED), file


@pytest.mark.parametrize("thing", ALL, ids=lambda thing: thing.__name__)
def test_every_parameter_and_result_has_a_type(thing):
    if thing is not mv.data.Dataset:  # a protocol: nobody makes one
        assert is_typed(thing.__init__ if inspect.isclass(thing) else thing)


def test_training_is_all_there():
    names = {thing.__name__ for thing in TRAINING}
    assert names >= {"Mpi", "Recipe", "adamw", "fit", "evaluate", "prepare", "latest", "trained"}


@pytest.mark.parametrize("thing", TRAINING, ids=lambda thing: thing.__name__)
def test_every_parameter_and_result_of_training_has_a_type(thing):
    for function in methods_of(thing) if inspect.isclass(thing) else [thing]:
        named = inspect.signature(function).parameters
        assert {*named, "return"} - {"self", "cls"} == set(function.__annotations__), function


@pytest.mark.parametrize("kind", CLASSES)
def test_every_method_of_a_public_class_has_types(kind):
    names = [name for name in vars(kind) if not name.startswith("_")]
    methods = [getattr(kind, name) for name in names if inspect.isroutine(getattr(kind, name))]
    assert all(map(is_typed, methods)), [method.__name__ for method in methods]


@pytest.mark.parametrize("kind", [*CLASSES, *filter(inspect.isclass, TRAINING)])
def test_every_property_of_a_public_class_has_a_type(kind):
    properties = [value for value in vars(kind).values() if isinstance(value, property)]
    assert all("return" in typing.get_type_hints(value.fget) for value in properties)


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").is_file()


def public_functions(body):
    """The definitions of public functions, and of methods of public classes, in lines of code."""
    for one in body:
        if isinstance(one, ast.ClassDef) and not one.name.startswith("_"):
            yield from public_functions(one.body)
        if isinstance(one, ast.FunctionDef) and not re.match("_(?!_)", one.name):
            yield one


def has_types(function):
    """Whether each parameter and the result of a definition has a type."""
    taken = function.args
    named = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
    without = [one.arg for one in named if one and not one.annotation]
    return set(without) <= {"self", "cls"} and function.returns is not None


WHOLE = ["cli", "data", "model", "studies", "train", "visualize", "weights"]


@pytest.mark.parametrize("wing", WHOLE)
def test_every_public_function_of_these_wings_has_types(wing):
    assert f"mvit_np/{wing}" in LISTED
    for path in (PACKAGE / wing).rglob("*.py"):
        functions = public_functions(ast.parse(path.read_text(encoding="utf-8")).body)
        untyped = [function.name for function in functions if not has_types(function)]
        assert not untyped, path
