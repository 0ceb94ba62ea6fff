"""A measurement in a process of its own: what ran before it changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]  # the folder that the package is in


def run_in_subprocess(what: str, task: Mapping[str, Any], title: str) -> Any:
    """What `worker.py` answers to a task, in plain numbers and words; `title` is for errors.

    Raises ChildProcessError where the process fails, such as for want of memory.
    """
    found = str(ROOT), os.environ.get("PYTHONPATH")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    command = [
        sys.executable,
        "-m",
        "mvit_np.studies.bench.worker",
        json.dumps({"what": what, **task}),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        lost = f"was ended by signal {-done.returncode}: is there enough memory?"
        how = lost if done.returncode < 0 else f"failed: {said}"
        raise ChildProcessError(f"the process that measures {title} {how}")
    return json.loads(done.stdout)
