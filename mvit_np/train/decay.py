"""Which parameters weight decay pulls to zero: a mask is a function (path, parameter) -> bool, and may ask for either."""

from __future__ import annotations

from fnmatch import fnmatchcase


def decays(path, param):
    """Whether weight decay applies: to matrices and filters, not to vectors and tables of positions."""
    return param.ndim > 1 and not path.rpartition(".")[2].startswith(("pos_embed", "rel_pos"))


def decays_except(*patterns):
    """A mask like `decays` that also spares the paths which match a pattern, such as `head.*` or `blocks.*.pool_?.w`."""

    def mask(path, param):
        return decays(path, param) and not any(fnmatchcase(path, pattern) for pattern in patterns)

    return mask
