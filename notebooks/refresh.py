"""Run the notebooks and store their outputs: `python notebooks/refresh.py` for all, `... refresh.py
03 exercises/02` for some.

A notebook is written as NAME.py (jupytext's percent format) and stored beside it as NAME.ipynb with
outputs, which is made here and never edited by hand. Each figure is stored with words and in the
colours of a dark page too (pictures.py). Pictures that show frames of other people's films (cells
tagged "film") are not stored.
"""

import base64
import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbformat.v4 import new_output
from pictures import DARK, in_text, small

HERE = Path(__file__).parent
TIMEOUT_S = 180  # of a notebook's slowest cell
SHOWN = {
    "output_type": "stream",
    "name": "stdout",
    "text": "(frames of a film: shown when you run this cell)\n",
}


def sources(wanted=()):
    """The notebooks' .py files, in order; all, or those whose path begins with one of `wanted`."""
    found = [*sorted(HERE.glob("[0-9]*.py")), *sorted(HERE.glob("exercises/[0-9]*.py"))]
    return [path for path in found if not wanted or path.relative_to(HERE).as_posix().startswith(tuple(wanted))]


def executed(path):
    """The notebook of a .py file, run from top to bottom in a fresh kernel; raises where a cell
    does.
    """
    notebook = jupytext.read(path)
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", coalesce_streams=True, resources=where)
    # in names of its own: a notebook may use the same
    code = f"exec({(HERE / 'pictures.py').read_text()!r}, {{'__name__': 'pictures'}})"
    client.on_notebook_start = lambda notebook: client.kc.execute(code, silent=True, store_history=False)
    client.execute()
    return notebook


def storable(notebook):
    """The notebook without what must not be stored, or changes from run to run for no reason."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws new ones every time
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if "text" in output:  # a remedy names the Python that runs
                output.text = output.text.replace(sys.executable, "python")
            if light := output.get("data", {}).get("image/png"):
                output.data["image/png"] = in_text(small(base64.b64decode(light)))
            if words := output.get("metadata", {}).pop(DARK, None):  # nbconvert too reads them there
                output.metadata["image/png"] = {**words}
        if "film" in cell.metadata.get("tags", ()) and any(map(is_picture, cell.outputs)):
            cell.outputs = [
                *(out for out in cell.outputs if not is_picture(out)),
                new_output(**SHOWN),
            ]
    notebook.metadata.pop("language_info", None)
    return notebook


def is_picture(output):
    """Whether a cell's output is or contains a picture."""
    return "image/png" in output.get("data", {}) or "<img" in str(output.get("data", {}).get("text/html", ""))


if __name__ == "__main__":
    for path in sources(sys.argv[1:]):
        start = time.perf_counter()
        jupytext.write(storable(executed(path)), path.with_suffix(".ipynb"))
        print(f"{path.relative_to(HERE)}: {time.perf_counter() - start:.0f} s", flush=True)
