"""Tests here need a CUDA device and CuPy; without them they say why they did not run."""

import pytest

from mvit_np.backend.install import install


def why_not():
    try:
        import cupy
    except ImportError:
        return f"needs CuPy: {install('gpu')}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as problem:
        return f"needs a CUDA device: {problem}"
    return None if count else "needs a CUDA device: there is none"


REASON = why_not()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)
            if REASON:
                item.add_marker(pytest.mark.skip(reason=REASON))
