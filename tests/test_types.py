"""The public face has types, for readers and for type checkers."""

import inspect
import re
import typing
from pathlib import Path

import pytest

import mvit_np as mv
import mvit_np.train.run

ROOT, PACKAGE = Path(__file__).parents[1], Path(mv.__file__).parent
CHECKED = re.findall(r'^    "(mvit_np/[^*\n]*)\.py",$', (ROOT / "pyproject.toml").read_text(), re.M)


def public(wing=mv):
    """The functions and classes that `wing.__all__` names, and those of the modules in it, once."""
    for name in wing.__all__:
        thing = getattr(wing, name)
        inside = vars(thing).items() if inspect.ismodule(thing) else [(name, thing)]
        yield from (value for key, value in inside if callable(value) and not key.startswith("_"))


def belongs(thing):
    """Whether mypy checks the file of this: what is public of backend/ and weights/, and more."""
    module = thing.__module__
    wing = module.startswith(("mvit_np.backend.", "mvit_np.weights."))
    return wing or module.replace(".", "/") in CHECKED


TYPED = [thing for thing in dict.fromkeys(public()) if belongs(thing)]

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
    assert {thing.__module__.replace(".", "/") for thing in TYPED} <= set(CHECKED)
    assert all((PACKAGE.parent / f"{path}.py").is_file() for path in CHECKED)


@pytest.mark.parametrize("thing", TYPED, ids=lambda thing: thing.__name__)
def test_every_parameter_and_result_has_a_type(thing):
    function = thing.__init__ if inspect.isclass(thing) else thing
    signature = inspect.signature(function)
    taken = [one for name, one in signature.parameters.items() if name != "self"]
    assert all(one.annotation is not inspect.Parameter.empty for one in taken)
    assert signature.return_annotation is not inspect.Signature.empty


def test_training_is_all_there():
    names = {thing.__name__ for thing in TRAINING}
    assert names >= {"Mpi", "Recipe", "adamw", "fit", "evaluate", "prepare", "latest", "trained"}


@pytest.mark.parametrize("thing", TRAINING, ids=lambda thing: thing.__name__)
def test_every_parameter_and_result_of_training_has_a_type(thing):
    for function in methods_of(thing) if inspect.isclass(thing) else [thing]:
        named = inspect.signature(function).parameters
        assert {*named, "return"} - {"self", "cls"} == set(function.__annotations__), function


@pytest.mark.parametrize("kind", [thing for thing in TYPED + TRAINING if inspect.isclass(thing)])
def test_every_property_of_a_public_class_has_a_type(kind):
    properties = [value for value in vars(kind).values() if isinstance(value, property)]
    assert all("return" in typing.get_type_hints(value.fget) for value in properties)


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").is_file()
