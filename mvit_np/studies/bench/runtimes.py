"""ONNX Runtime and OpenVINO beside us: the model that PyTorch exports, in evaluation.

The only file that imports them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend.install import pip_install
from ...backend.types import Array
from .workloads import Workload

TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
EXPORT = ("onnx", "onnxscript")  # what PyTorch needs to write a model for either


def version(name: str) -> str:
    """Such as "1.32.0". Raises ImportError where it, or what exports a model, is not installed."""
    if missing := [each for each in (*EXPORT, name) if importlib.util.find_spec(each) is None]:
        raise ImportError(
            f"a comparison with {name} needs {', '.join(missing)}: {pip_install(*missing)}"
        )
    return importlib.import_module(name).__version__.partition("-")[0]


def serves(workload: Workload) -> bool:
    """Whether it is a call of theirs: a forward pass in float32."""
    return workload.mode == "forward" and workload.dtype == "float32"


def check_served(names: list[str], workloads: list[Workload]) -> None:
    """Raise ValueError where none of the workloads is a call of theirs."""
    if names and not any(map(serves, workloads)):
        came = ", ".join(workload.title for workload in workloads)
        raise ValueError(
            f"{' and '.join(TITLES)} run forward passes in float32 alone; came {came}: "
            "give --mode forward, without --dtype"
        )


def runtime_call(name: str, model: str, clips: Array, threads: int) -> Callable[[], Any]:
    """The forward pass as a function of no arguments, on so many threads.

    model   the file that `peers.export` wrote
    clips   (B, T, H, W, C)
    """
    clips = np.ascontiguousarray(np.moveaxis(clips, -1, 1))
    return {"onnxruntime": _onnxruntime, "openvino": _openvino}[name](model, clips, threads)


def _onnxruntime(model, clips, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {session.get_inputs()[0].name: clips})[0]


def _openvino(model, clips, threads):
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    settings["INFERENCE_PRECISION_HINT"] = "f32"  # bfloat16 otherwise, where the processor has it
    compiled = openvino.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer([clips])[compiled.output(0)]
