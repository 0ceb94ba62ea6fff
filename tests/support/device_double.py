"""A strict device double: NumPy arrays behind the manners of `cupy.ndarray`, so that CI can prove
things about a GPU.

CuPy refuses some operations, accepts others, and a third kind it accepts but pays for in silence: a
copy between host and device, or a wait for the device. Here the first kind raises what CuPy raises,
the second works, the third raises `HiddenTransfer`. A training step that runs on `DeviceArray`s and
leaves `transfers` unchanged would run on CuPy without one hidden copy. Where CuPy is merely lax the
double is strict: an index out of range raises (CuPy wraps around), so do duplicate indices in an
assignment (undefined there), `empty` is full of NaN, and `np.exp(device_array)` raises.

A name that is in no table below is an AttributeError; it is added after a look at what CuPy (14.2
here) makes of it.
"""

from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import scipy.special

# Python's are weak, NumPy's strong, as in NumPy 2
SCALARS = (bool, int, float, complex, np.number, np.bool_)
# beyond so many arrays CuPy's concatenate builds a table of pointers on the host and copies it
POINTER_TABLE = 8
# what CUDA's atomicAdd knows: no int64
SCATTER_DTYPES = ("int32", "uint32", "uint64", "float16", "float32", "float64")

# how many arrays went each way through the two explicit doors
transfers = SimpleNamespace(to_device=0, to_host=0)


class HiddenTransfer(AssertionError):
    """Something would have copied between host and device, or waited for the device, without saying
    so.
    """


def from_host(array):
    """The explicit way in: a copy of a NumPy array (or scalar) on the device."""
    if recording:
        _refuse("from_host() while a graph is captured")
    transfers.to_device += 1
    return _new(np.array(array))


def to_host(array):
    """The explicit way out: a copy of a device array on the host."""
    if recording:
        _refuse("to_host() while a graph is captured")
    transfers.to_host += 1
    return _device(array)._host.copy()


# ------------------------------------------------------------------------------ in and out of NumPy
def _refuse(what, *args, **keywords):
    raise HiddenTransfer(
        f"{what} copies to the device or waits for it; stay there, or say so with from_host or "
        "to_host"
    )


def _new(host):
    array = object.__new__(DeviceArray)
    array._host = host
    return array


def _device(value):
    if not isinstance(value, DeviceArray):
        raise TypeError(
            f"Unsupported type {type(value)}: CuPy takes device arrays only; "
            "move it there once, at the edge"
        )
    return value


def _operand(value):
    """What arithmetic may meet: a device array or a scalar, never a NumPy array (not even a 0-d
    one) or a list.
    """
    return value if isinstance(value, SCALARS) else _device(value)._host


def _wrap(result, known):
    """Device arrays for NumPy results; an operand that comes back (`out=`, `asarray`) is the very
    same object.
    """
    if isinstance(result, (list, tuple)):
        return type(result)(_wrap(part, known) for part in result)
    same = [array for array in known if array._host is result]
    # a NumPy scalar becomes 0-d, which CuPy's reductions return
    return same[0] if same else _new(np.asarray(result))


def _call(function, operands, *args, **keywords):
    """Run a NumPy function on device operands; other arguments stay wrapped, so an axis on the
    device raises.
    """
    known = [value for value in (*operands, keywords.get("out")) if isinstance(value, DeviceArray)]
    if keywords.get("out") is not None:
        keywords["out"] = _device(keywords["out"])._host

    def work():
        with np.errstate(all="ignore"):  # a device never warns about a division by zero
            return function(*map(_operand, operands), *args, **keywords)

    result = _wrap(work(), known)
    queued(work, result)
    return result


# while a graph is captured: a list of (work, where its results are); see double_cuda.py
recording = []


def queued(work, result=None):
    """Something a graph would record: `work()` does it again, and what it returns belongs into
    `result`.
    """
    if recording:
        recording[-1].append((work, result))


# ----------------------------------------------------------------------------------------- indexing
def _index_part(part):
    kind = (
        part.dtype.kind
        if isinstance(part, DeviceArray)
        else "b"
        if isinstance(part, (bool, np.bool_))
        else None
    )
    if kind == "b":
        raise HiddenTransfer(
            "a boolean mask waits for the device to count its True values; use where(mask, a, b)"
        )
    if isinstance(part, (list, tuple, np.ndarray)):
        raise HiddenTransfer(
            "a host index is copied to the device at every use; make it a device array once"
        )
    if kind in ("i", "u"):
        return part._host
    if part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)):
        return part
    raise IndexError(
        f"{type(part)} is no index: use integers, slices, None, Ellipsis or an integer device array"
    )


def _index(key):
    """NumPy's index for `key`; with an Ellipsis, because then `x[0]` of a 1-d array is a 0-d view
    and not a scalar.
    """
    parts = tuple(map(_index_part, key if isinstance(key, tuple) else (key,)))
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _is_advanced(index):
    return any(isinstance(part, np.ndarray) for part in index)


def _stored(index, value):
    """What may be stored under an index; CuPy makes an array of a scalar if the index is one."""
    on_device = isinstance(value, DeviceArray)
    if not (on_device or isinstance(value, SCALARS)):
        raise ValueError(
            f"non-scalar {type(value)} cannot be stored in a device array: move it to the device "
            "first"
        )
    if _is_advanced(index) and not on_device:
        raise HiddenTransfer(
            "a scalar stored under an index array is copied to the device; store xp.full((), value)"
        )
    return _operand(value)


def _refuse_duplicates(array, index):
    places = np.arange(array.size).reshape(array.shape)[index]
    if np.unique(places).size != places.size:
        raise ValueError(
            "duplicate indices in an assignment: which value stays is undefined in CuPy"
        )


# ---------------------------------------------------------------------------------------- the array
class DeviceArray:
    """Wraps a NumPy array (it does not subclass it) and lets nothing out but through `get` and
    `to_host`.
    """

    __slots__ = ("__weakref__", "_host")
    # so NumPy's operators step back, and `np_array + device_array` raises in `__radd__`
    __array_ufunc__ = None
    __hash__ = None

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to make it "
            "explicit."
        )

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key):
        index = _index(key)
        return (
            _call(lambda host: host[index], (self,))
            if _is_advanced(index)
            else _new(self._host[index])
        )

    def __setitem__(self, key, value):
        index = _index(key)
        value = _stored(index, value)
        if _is_advanced(index):
            _refuse_duplicates(self, index)

        def work():
            self._host[index] = value

        work()
        queued(work)

    get = to_host
    T = property(lambda self: _new(self._host.T))
    mT = property(lambda self: _new(self._host.mT))

    @property
    def flags(self):
        flags = self._host.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    @property
    def data(self):
        """Where the first number is, and in which allocation."""
        owner = self._host
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        return SimpleNamespace(
            ptr=self._host.__array_interface__["data"][0], mem=owner, device_id=0
        )

    def reshape(self, *shape, order="C"):
        return xp.reshape(self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes):
        return _new(self._host.transpose(*axes))

    def astype(self, dtype, order="K", casting="unsafe", copy=True):
        return _call(np.ndarray.astype, (self,), dtype, order=order, casting=casting, copy=copy)

    def clip(self, min=None, max=None, out=None):
        return xp.clip(self, min, max, out)

    def fill(self, value):
        self[...] = value

    def copy(self, order="C"):
        return _call(np.ndarray.copy, (self,), order)

    def __deepcopy__(self, memo):
        return self.copy()


def _operator(ufunc, swap=False, in_place=False):
    def method(self, other):
        if (
            not in_place
            and not isinstance(other, DeviceArray)
            and getattr(other, "__array_ufunc__", ufunc) is None
        ):
            return NotImplemented  # a box that asks to go first, such as a traced array
        operands = (other, self) if swap else (self, other)
        return _call(ufunc, operands, **({"out": self} if in_place else {}))

    return method


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
}
BINARY |= {
    "pow": np.power,
    "mod": np.remainder,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
COMPARE = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
COMPARE |= {"eq": np.equal, "ne": np.not_equal}
UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}

for _name, _ufunc in BINARY.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
    setattr(DeviceArray, f"__r{_name}__", _operator(_ufunc, swap=True))
    setattr(DeviceArray, f"__i{_name}__", _operator(_ufunc, in_place=True))
DeviceArray.__matmul__, DeviceArray.__rmatmul__ = (
    _operator(np.matmul),
    _operator(np.matmul, swap=True),
)
for _name, _ufunc in COMPARE.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in UNARY.items():
    setattr(DeviceArray, f"__{_name}__", lambda self, ufunc=_ufunc: _call(ufunc, (self,)))
for _name in (
    "float",
    "int",
    "bool",
    "complex",
    "index",
    "bytes",
    "repr",
    "str",
    "format",
    "contains",
    "reduce",
):
    setattr(DeviceArray, f"__{_name}__", partial(_refuse, f"{_name}() of a device array"))
for _name in ("item", "tolist", "tobytes", "dump", "dumps", "nonzero", "compress"):
    setattr(DeviceArray, _name, partial(_refuse, f".{_name}()"))
for _name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides"):
    setattr(DeviceArray, _name, property(attrgetter(f"_host.{_name}")))


# ---------------------------------------------------------- functions that need a word of their own
def _reshape(a, shape, order="C"):
    if order is None:
        raise TypeError("reshape: CuPy has no order=None; leave it out")
    return _call(np.reshape, (_device(a),), shape, order)


def _uninitialised(array):
    """NaN, because such memory may hold anything: whoever reads it should notice."""
    array.fill(np.nan if array.dtype.kind in "fc" else 1)
    return array


def _array(obj, dtype=None, copy=True, order="K"):
    if not isinstance(obj, DeviceArray):
        _refuse(f"making a device array of {type(obj)}")
    return _call(np.array, (obj,), dtype, copy=copy or None, order=order)


def _full(shape, fill_value, dtype=None):
    return _call(lambda value: np.full(shape, value, dtype), (fill_value,))


def _where(condition, x=None, y=None):
    if x is None and y is None:
        _refuse("where(condition)")
    return _call(np.where, (_device(condition), x, y))


def _clip(a, a_min, a_max, out=None):
    limits = [limit if limit is None else _operand(limit) for limit in (a_min, a_max)]
    return _call(lambda host, out: np.clip(host, *limits, out=out), (_device(a),), out=out)


def _join(function, arrays, axis=0, out=None, dtype=None, casting="same_kind"):
    arrays = [_device(array) for array in arrays]
    if len(arrays) > POINTER_TABLE:
        _refuse(f"joining more than {POINTER_TABLE} arrays")
    join = partial(function, axis=axis, dtype=dtype, casting=casting)
    return _call(lambda *hosts, out: join(hosts, out=out), arrays, out=out)


def _einsum(subscripts, *operands, dtype=None, optimize=False):
    if any(isinstance(operand, np.ndarray) for operand in operands):
        _refuse("einsum with a NumPy operand")
    return _call(
        lambda *hosts: np.einsum(subscripts, *hosts, dtype=dtype, optimize=optimize), operands
    )


def _take(a, indices, axis=None, function=np.take, **out):
    return _call(function, (_device(a),), _index_part(indices), axis, **out)


def _repeat(a, repeats, axis=None):
    if isinstance(repeats, (DeviceArray, np.ndarray)):
        _refuse("repeat with an array of counts")
    return _call(np.repeat, (_device(a),), repeats, axis)


def _copyto(dst, src, casting="same_kind", where=None):
    mask = True if where is None else _device(where)._host
    hosts = _device(dst)._host, _operand(src)

    def work():
        np.copyto(*hosts, casting=casting, where=mask)

    work()
    queued(work)


def _add_at(a, indices, b):
    """Adds at duplicates too, unlike assignment. (`np.add.at` refuses device arrays; this one takes
    tuples as well.)
    """
    if str(_device(a).dtype) not in SCATTER_DTYPES:
        raise TypeError(f"add.at: CuPy adds into {', '.join(SCATTER_DTYPES)} only, not {a.dtype}")
    index = _index(indices)
    value = _stored(index, b)

    def work():
        np.add.at(a._host, index, value)

    work()
    queued(work)


# ----------------------------------------------------------------------------------- the namespaces
class Namespace:
    """An explicit list of names: what CuPy lacks, or nobody has looked at, is an AttributeError
    that names it.
    """

    def __init__(self, name, **members):
        vars(self).update(members, __name__=name)

    def __getattr__(self, name):
        owner = vars(self).get("__name__")
        raise AttributeError(f"{owner}.{name}: CuPy lacks it, or device_double.py does not list it")


# Every positional argument is an operand, scalars included; otherwise that many device arrays come
# first.
ALL = None
ELEMENTWISE = """add subtract multiply divide true_divide floor_divide remainder mod power
    maximum minimum fmax fmin exp exp2 expm1 log log2 log10 log1p logaddexp
    sqrt cbrt square reciprocal negative positive abs absolute fabs sign
    sin cos tan tanh sinh cosh arctan arctan2 hypot copysign
    floor ceil trunc rint signbit isfinite isnan isinf
    greater greater_equal less less_equal equal not_equal
    logical_and logical_or logical_xor logical_not
    bitwise_and bitwise_or bitwise_xor invert left_shift right_shift"""
RESHAPING = """transpose moveaxis swapaxes squeeze expand_dims broadcast_to ravel
    flip rot90 roll tile pad split array_split tril triu diag diagonal trace round around
    sort argsort partition argpartition ascontiguousarray copy"""
PLACES = (
    "axis axes axis1 axis2 source destination shape order shift reps mode constant_values k kth "
    "decimals"
)
# names, how many arrays come first, keywords CuPy takes (of a row's, NumPy refuses the wrong ones)
FUNCTIONS = (
    (ELEMENTWISE, ALL, "out dtype casting"),
    ("isclose allclose array_equal broadcast_arrays", ALL, "rtol atol equal_nan"),
    ("sum prod mean var std cumsum cumprod", 1, "axis dtype out keepdims ddof"),
    ("max min amax amin any all argmax argmin", 1, "axis out keepdims"),
    ("matmul dot outer inner vdot tensordot", 2, "out dtype casting axes"),
    (RESHAPING, 1, PLACES),
    ("zeros_like ones_like", 1, "dtype order shape"),
    ("zeros ones arange linspace eye", 0, "shape dtype order start stop step num endpoint M k"),
)
HOST = """pi e inf nan newaxis dtype finfo iinfo issubdtype can_cast promote_types isscalar
    broadcast_shapes generic number integer floating inexact
    bool_ uint8 int8 int16 int32 int64 uint32 uint64 float16 float32 float64 complex64"""
WAITING = (
    "nonzero flatnonzero argwhere unique bincount histogram extract compress trim_zeros array_repr "
    "array_str"
)
SPECIAL = "erf erfc erfinv ndtr ndtri expit xlogy"
METHODS = """sum prod mean var std max min any all argmax argmin cumsum cumprod
    argsort argpartition dot squeeze swapaxes ravel round diagonal trace take repeat"""


def _function(name, arrays, keywords, module=np):
    def call(*args, **given):
        if given.keys() - set(keywords.split()):
            raise TypeError(
                f"{name}: CuPy takes no more keywords than {keywords or 'none'}; came "
                f"{', '.join(given)}"
            )
        operands = args if arrays is ALL else [_device(operand) for operand in args[:arrays]]
        return _call(getattr(module, name), operands, *args[len(operands) :], **given)

    return call


def _default_rng(seed=None):
    """Numbers are made on the device, also a single one; CuPy's generator has these methods and few
    more.
    """
    host = np.random.default_rng(seed)
    methods = {
        name: getattr(host, name) for name in ("random", "standard_normal", "integers", "uniform")
    }
    return Namespace(
        "Generator", **{name: partial(_call, method, ()) for name, method in methods.items()}
    )


_members = {
    name: _function(name, arrays, words)
    for names, arrays, words in FUNCTIONS
    for name in names.split()
}
_members |= {name: getattr(np, name) for name in HOST.split()}
_members |= {name: partial(_refuse, f"{name}()") for name in WAITING.split()}
_members |= {name: attrgetter(name) for name in ("ndim", "shape", "size")}
_members |= {
    "ndarray": DeviceArray,
    "array": _array,
    "asnumpy": to_host,
    "full": _full,
    "reshape": _reshape,
}
_members |= {
    "where": _where,
    "clip": _clip,
    "einsum": _einsum,
    "repeat": _repeat,
    "copyto": _copyto,
}
_members |= {"concatenate": partial(_join, np.concatenate), "stack": partial(_join, np.stack)}
_members |= {"take": _take, "take_along_axis": partial(_take, function=np.take_along_axis)}
_members["add"].at = _add_at
for _name in METHODS.split():
    setattr(DeviceArray, _name, _members[_name])

_strides = Namespace(
    "lib.stride_tricks",
    as_strided=_function("as_strided", 1, "shape strides", np.lib.stride_tricks),
    sliding_window_view=partial(
        _refuse, "sliding_window_view (compute the strides and use as_strided)"
    ),
)
xp = Namespace(
    "device_double",
    **_members,
    asarray=lambda a, dtype=None, order="K": _array(a, dtype, copy=False, order=order or "K"),
    full_like=lambda a, fill_value, dtype=None: _full(
        a.shape, fill_value, dtype or _device(a).dtype
    ),
    empty=lambda *args, **given: _uninitialised(xp.zeros(*args, **given)),
    empty_like=lambda *args, **given: _uninitialised(xp.zeros_like(*args, **given)),
    result_type=lambda *args: np.result_type(
        *(a._host if isinstance(a, DeviceArray) else a for a in args)
    ),
    linalg=Namespace("linalg", norm=_function("norm", 1, "ord axis keepdims", np.linalg)),
    lib=Namespace("lib", stride_tricks=_strides),
    random=Namespace("random", default_rng=_default_rng),
)
special = Namespace(
    "special",
    **{name: _function(name, ALL, "out", scipy.special) for name in SPECIAL.split()},
    softmax=_function("softmax", 1, "axis", scipy.special),
    logsumexp=partial(_refuse, "logsumexp"),
    log_softmax=partial(_refuse, "log_softmax"),
)


def install():
    """Make the package take `DeviceArray`s for the arrays of a library of their own, with kernels
    where there is a gcc.
    """
    from gcc_tools import GCC, GccTools

    from mvit_np.backend.arrays import register_library

    register_library(
        DeviceArray, xp, special, from_host, GccTools(attrgetter("_host")) if GCC else None
    )
