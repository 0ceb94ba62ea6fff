"""A step of AdamW or of gradient descent for all parameters in one launch.

The plain versions are in train/optimizer.py.

What is the same in every step are arguments of the launch, and what differs from leaf to leaf is in
a table on the device. What changes from step to step is in `now`, also on the device, so that a
captured graph takes another step each time it is run.
"""

from __future__ import annotations

from ..kernel import Kernel
from .flat import CHUNK, LEAF_AT, NEXT_LEAF, for_each_number

STAYS = "if (up != up) { to[j] = old; continue; }  // a gradient that is NaN changes nothing\n"

ADAMW = Kernel(
    "adamw",
    """const T* p, const T* g, T* exp_avg, T* exp_avg_sq, T* to, const double* now,
    const long long* ends, const double* settings, long long leaves, long long size,
    double b1, double b2, double eps, double weight_decay""",
    "const T lr = (T)now[0], begun = (T)now[1], over = 1 / sqrt((T)now[2]);"
    + for_each_number(
        f"""
            const T old = p[j], up = g[j], m_old = exp_avg[j], v_old = exp_avg_sq[j];
            {NEXT_LEAF}
            {STAYS}
            const T m = m_old * (T)b1 + up * (T)(1 - b1), v = v_old * (T)b2 + up * up * (T)(1 - b2);
            const T step_size = lr * (T)settings[2 * leaf];
            const T decay = 1 - step_size * (T)(weight_decay * settings[2 * leaf + 1]);
            exp_avg[j] = m;
            exp_avg_sq[j] = v;
            to[j] = m / (sqrt(v) * over + (T)eps) * (-step_size / begun) + old * decay;
        """
    ),
    lanes=32,
    helpers=LEAF_AT,
)

SGD = Kernel(
    "sgd",
    """const T* p, const T* g, T* velocity, T* to, const double* now,
    const long long* ends, const double* settings, long long leaves, long long size,
    double momentum, double weight_decay""",
    "const T lr = (T)now[0];"
    + for_each_number(
        f"""
            const T old = p[j], up = g[j], v_old = velocity[j];
            {NEXT_LEAF}
            {STAYS}
            const T d = old * (T)(weight_decay * settings[2 * leaf + 1]) + up;
            const T v = v_old * (T)momentum + d;
            velocity[j] = v;
            to[j] = (NESTEROV ? d + v * (T)momentum : v) * -(lr * (T)settings[2 * leaf]) + old;
        """
    ),
    lanes=32,
    helpers=LEAF_AT,
)


def adamw(p, g, exp_avg, exp_avg_sq, to, now, table, *, betas, eps, weight_decay):
    """Fill `to`, and change the means in place.

    now: lr, 1 - b1^t, 1 - b2^t   table: (factor, whether it decays) a leaf

    All but `now` and the table are flat arrays of one size; `to` may be p.
    """
    constants = map(float, (*betas, eps, weight_decay))
    arrays = p, g, exp_avg, exp_avg_sq, to, now
    ADAMW(p, -(-p.size // CHUNK), *arrays, *_sizes(p, table), *constants, CHUNK=CHUNK)


def sgd(p, g, velocity, to, now, table, *, momentum, nesterov, weight_decay):
    """Fill `to`, and change the velocity in place, as with `adamw`.   now: lr"""
    constants = {"CHUNK": CHUNK, "NESTEROV": int(nesterov)}
    arrays = p, g, velocity, to, now, *_sizes(p, table)
    SGD(p, -(-p.size // CHUNK), *arrays, float(momentum), float(weight_decay), **constants)


def _sizes(p, table):
    ends, settings = table
    return ends, settings, ends.size, p.size
