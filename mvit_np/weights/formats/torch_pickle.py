"""What a pickle of plain data and tensors describes: an interpreter of torch's few opcodes.

A pickle is a program that may name any function and call it. Here a name is only a name: a short
list of them is known, each stands for a function of this package that makes an inert record, and no
opcode can import, call or set anything else. An object of a class that is not known (what a
training script was told, beside its weights) is its name alone.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .torch_names import DICTS, PLAIN, Name, Stranger, the

MAX_BYTES = 16 << 20  # of pickle; torch writes some 400 a tensor
MAX_OPCODES = 800_000  # torch writes some 60 a tensor


@dataclass(frozen=True, slots=True)
class _State:
    stack: list
    memo: dict
    calls: dict[str, Callable | None]
    outside: Callable


_MARK = Name("(")


def load(
    file: BinaryIO,
    calls: dict[str, Callable | None] | None = None,
    outside: Callable[[tuple], Any] | None = None,
) -> Any:
    """The plain data and records of the pickle at the position of `file`, which is left behind it.

    `calls`: {known name: function of the tuple of arguments, or None for a name that nobody calls},
    beside the names of `PLAIN`. `outside`: a function of the tuple that a persistent id is. Dicts
    are dict (whatever their class); attributes that were set on them are left out. Raises
    ValueError for a pickle that is damaged or has opcodes or names that no tensor needs.
    """
    state = _State([], {}, PLAIN | (calls or {}), outside or _no_outside)
    try:
        for count, (opcode, argument, _) in enumerate(_opcodes(file)):
            if opcode.name == "STOP":
                return state.stack.pop()
            if opcode.name not in STEPS or count >= MAX_OPCODES:
                raise ValueError(
                    f"its pickle has over {MAX_OPCODES} opcodes, or one that torch never writes "
                    f"({opcode.name})"
                )
            STEPS[opcode.name](state, argument)
    except (IndexError, KeyError):
        raise ValueError("its pickle is damaged (it takes what it never put)") from None
    raise AssertionError("genops ends with STOP or raises")


def _opcodes(file):
    try:
        yield from pickletools.genops(file)
    except ValueError as problem:
        raise ValueError(f"its pickle is damaged ({str(problem)[:80]})") from None


def _no_outside(pid):
    raise ValueError("its pickle refers to something outside where torch never does")


# ---- opcodes: functions of the state and the opcode's argument


def _push(state, argument):
    state.stack.append(argument)


def _constant(make):
    return lambda state, argument: state.stack.append(make())


def _ignore(state, argument):
    """Protocol numbers and frames say nothing that matters here."""


def _put(state, index):
    state.memo[len(state.memo) if index is None else index] = state.stack[-1]


def _get(state, index):
    state.stack.append(state.memo[index])


def _tuple(n):
    def step(state, argument):
        items = [state.stack.pop() for _ in range(n)]
        state.stack.append(tuple(items[::-1]))

    return step


def _since_mark(state):
    items = []
    while (item := state.stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _extend(state, items):
    if not isinstance(state.stack[-1], Stranger):
        the(list, state.stack[-1]).extend(items)


def _update(state, items):
    if isinstance(state.stack[-1], Stranger):
        return
    target = the(dict, state.stack[-1])
    if len(items) % 2:
        raise ValueError("its pickle has a dict key without a value")
    for key, value in zip(items[::2], items[1::2]):
        if not isinstance(key, (str, int, float, type(None))):  # nested tuples can hash for ever
            came = f"its pickle has a dict key of type {type(key).__name__}"
            raise ValueError(f"{came}: a name or a number is wanted")
        target[key] = value


def _set_item(state, argument):
    value, key = state.stack.pop(), state.stack.pop()
    _update(state, [key, value])


def _global(state, argument):
    state.stack.append(_known(state, argument.replace(" ", ".", 1)))


def _stack_global(state, argument):
    name, module = state.stack.pop(), state.stack.pop()
    state.stack.append(_known(state, f"{the(str, module)}.{the(str, name)}"))


def _known(state, name):
    return Name(name) if name in state.calls else Stranger(name)


def _new(state, argument):
    """An object of a class: of unknown ones only the name; a config of SlowFast's is a dict."""
    the(tuple, state.stack.pop())
    made = state.stack.pop()
    if not isinstance(made, Stranger):
        raise ValueError("its pickle makes an object as torch never does (NEWOBJ)")
    state.stack.append({} if made.name in DICTS else made)


def _reduce(state, argument):
    arguments, function = the(tuple, state.stack.pop()), the(Name, state.stack.pop())
    call = state.calls.get(function.name)
    if call is None:
        raise ValueError(
            f"its pickle calls {function.name}, which is no function (nothing was run)"
        )
    state.stack.append(call(arguments))


def _build(state, argument):
    """Attributes, such as the _metadata of a state dict, are of no use here."""
    attributes, target = state.stack.pop(), state.stack[-1]
    if isinstance(target, np.dtype) and the(tuple, attributes)[1:2] == (">",):
        raise ValueError(
            "its pickle has a big-endian NumPy number: save it again on a little-endian machine"
        )
    if not isinstance(target, (dict, np.dtype, Stranger)):
        raise ValueError("its pickle sets attributes of something that has none")


def _persistent(state, argument):
    state.stack.append(state.outside(the(tuple, state.stack.pop())))


STEPS = {
    **dict.fromkeys("PROTO FRAME".split(), _ignore),
    **dict.fromkeys(
        "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8".split(),
        _push,
    ),
    **dict.fromkeys("BINBYTES SHORT_BINBYTES BYTEARRAY8 BINSTRING SHORT_BINSTRING".split(), _push),
    **dict.fromkeys("BINPUT LONG_BINPUT MEMOIZE".split(), _put),
    **dict.fromkeys("BINGET LONG_BINGET".split(), _get),
    **{name: _tuple(n) for n, name in enumerate("EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3".split())},
    "TUPLE": lambda state, argument: state.stack.append(tuple(_since_mark(state))),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_SET": _constant(lambda: Name("a set")),
    "ADDITEMS": lambda state, argument: _since_mark(state),
    "MARK": _constant(lambda: _MARK),
    "APPEND": lambda state, argument: _extend(state, [state.stack.pop()]),
    "APPENDS": lambda state, argument: _extend(state, _since_mark(state)),
    "SETITEM": _set_item,
    "SETITEMS": lambda state, argument: _update(state, _since_mark(state)),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
