"""Where `mpiexec` is: beside this Python, or on the path; None if there is none."""

import os
import shutil
import sys
from pathlib import Path

MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)
