"""A kernel: a few lines of C that many threads run, each for a job of its own, 0 <= `i` < jobs.

    DOUBLE = Kernel("double", "const T* x, T* y", "y[i] = 2 * x[i];")
    DOUBLE(x, x.size, x, y)                      # x decides where it runs and what T is

The same text is CUDA for a device and plain C for gcc, so that tests on a machine without a GPU run
every line of it. What a body may use:

    T, Int        the numbers' type, float or double; one for whole numbers that is large enough
    i, jobs         this job and how many there are
    lane, LANES     with `lanes=32` that many threads share a job, a warp, and each takes indices
                    lane, lane + LANES, ...; in C there is one. `sum_lanes(v)` and `max_lanes(v)`
                    give every lane the sum or maximum of all
    bf16            the upper half of a float; `get(&x)` reads T or bf16 as T, `put(&x, v)` rounds v
                    to what x is
    UNROLL          before a loop over an array of this thread's own, which then sits in registers
    NAMES           what a launch defines, such as WIDTH=96: known when it is compiled, so loops
                    unroll and divisions are cheap

Arrays arrive as pointers to their first number, whole numbers as long long, others as double, and a
NumPy array by value, as a struct. CuPy takes only those of size one, so it is one number of many
bytes: `numbers.view(f"V{numbers.nbytes}")`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import device_tools

LARGE = 2**31 - 2**24  # numbers: of fewer no index is beyond an int, nor the step after the last
TYPES = {"float32": "float", "float64": "double", "uint16": "bf16"}

COMMON = """
typedef {number} T;
typedef {Int} Int;
typedef struct {{ unsigned short bits; }} bf16;

DEVICE T from_bf16(bf16 half) {{
    unsigned bits = (unsigned)half.bits << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}}
DEVICE bf16 to_bf16(float value) {{  // to the nearest, ties to even
    unsigned bits;
    bf16 half;
    memcpy(&bits, &value, 4);
    const unsigned rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    half.bits = value != value ? 0x7fff : (unsigned short)rounded;
    return half;
}}
"""

CUDA = """
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#define DEVICE static __device__ inline
#define UNROLL _Pragma("unroll")
#define LANES {lanes}
{defines}
{common}
DEVICE T get(const T* from) {{ return *from; }}
DEVICE T get(const bf16* from) {{ return from_bf16(*from); }}
DEVICE void put(T* to, T value) {{ *to = value; }}
DEVICE void put(bf16* to, T value) {{ *to = to_bf16((float)value); }}
// those of a warp that share a job
#define SHARERS (0xffffffffu >> (32 - LANES) << (threadIdx.x % 32 / LANES * LANES))
DEVICE T sum_lanes(T value) {{
    for (int offset = LANES / 2; offset; offset /= 2)
        value += __shfl_xor_sync(SHARERS, value, offset);
    return value;
}}
DEVICE T max_lanes(T value) {{
    for (int offset = LANES / 2; offset; offset /= 2)
        value = fmax(value, __shfl_xor_sync(SHARERS, value, offset));
    return value;
}}
{helpers}
extern "C" __global__ void {name}({parameters}, long long jobs) {{
    const int lane = threadIdx.x % LANES;
    const long long step = (long long)gridDim.x * blockDim.x / LANES;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long job = thread / LANES; job < jobs; job += step) {{
        const Int i = (Int)job;
{body}
    }}
}}
"""

C = """
#include <math.h>
#include <string.h>
#include <tgmath.h>
#define DEVICE static inline
#define UNROLL
#define LANES 1
{defines}
{common}
DEVICE T get_t(const T* from) {{ return *from; }}
DEVICE T get_bf16(const bf16* from) {{ return from_bf16(*from); }}
DEVICE void put_t(T* to, T value) {{ *to = value; }}
DEVICE void put_bf16(bf16* to, T value) {{ *to = to_bf16((float)value); }}
#define get(from) _Generic((from), \
    T*: get_t, const T*: get_t, bf16*: get_bf16, const bf16*: get_bf16)(from)
#define put(to, value) _Generic((to), T*: put_t, bf16*: put_bf16)(to, value)
DEVICE T sum_lanes(T value) {{ return value; }}
DEVICE T max_lanes(T value) {{ return value; }}
{helpers}
void {name}({parameters}, long long jobs) {{
    const int lane = 0;
    for (long long job = 0; job < jobs; job++) {{
        const Int i = (Int)job;
{body}
    }}
}}
"""


@dataclass(frozen=True)
class Kernel:
    """See the top of this file."""

    name: str
    parameters: str
    body: str
    lanes: int = 1
    helpers: str = ""  # types, and C functions that begin with DEVICE
    clip_stride: bool = False  # whether it takes the numbers from one clip of an array to the next

    def __call__(self, like, jobs, *args, **names):
        """Run all jobs where the array `like` lives, in its dtype; `names` are defined when it is
        compiled.

        Raises ValueError for an array whose numbers do not lie in order.
        """
        if not self.clip_stride:
            _check_order(self.name, args)
        large = any(getattr(x, "size", 0) >= LARGE for x in args)
        names = {"Int": "long long" if large else "int", "number": TYPES[str(like.dtype)], **names}
        device_tools(like).launch(self, jobs, args, tuple(names.items()))

    def source(self, names, template=CUDA):
        """The text to compile, CUDA or C.   names: pairs, with `Int` and `number` among them"""
        names = dict(names)
        common = COMMON.format(Int=names.pop("Int"), number=names.pop("number"))
        defines = "\n".join(f"#define {name} {value}" for name, value in names.items())
        parts = dict(parameters=self.parameters, body=self.body)
        parts |= dict(helpers=self.helpers, lanes=self.lanes)
        return template.format(common=common, defines=defines, name=self.name, **parts)


def _check_order(name, args):
    for x in args:
        if hasattr(x, "flags") and not x.flags.c_contiguous:
            came = f"came strides {x.strides} of {x.shape}: copy it first"
            raise ValueError(f"the kernel {name} takes arrays whose numbers lie in order; {came}")
