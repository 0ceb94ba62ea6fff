"""The site's pictures: each has words for readers who cannot see it, and twice the colours: for
light pages and for dark ones, of which the theme shows one.

The twin of NAME.png is NAME.dark.png beside it. A notebook holds both (notebooks/pictures.py).
Those of docs/figures are drawn here from the numbers that the light ones were drawn from.
"""

import base64
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

import mvit_np as mv
from mvit_np import visualize
from mvit_np.studies.ablations import findings, page
from mvit_np.studies.ablations.table import EXPERIMENTS

HERE = Path(__file__).parent
DARK = "image/vnd.mvit-np.dark+png"  # of the second picture in a notebook's output
IMAGE = "```{{image}} {path}\n:alt: {words}\n```\n"


class DarkTwins(SphinxTransform):
    """An image that has a twin becomes two, one for each theme."""

    default_priority = 400  # before Sphinx collects images

    def apply(self):
        place = Path(self.env.doc2path(self.env.docname)).parent
        for image in list(self.document.findall(nodes.image)):
            twin = Path(image["uri"]).with_suffix(".dark.png")
            if (place / twin).is_file():
                other = image.deepcopy()
                other["uri"] = twin.as_posix()
                other["classes"].append("only-dark")
                image["classes"].append("only-light")
                image.parent.insert(image.parent.index(image) + 1, other)


def with_files(notebook, place, stem):
    """A notebook whose pictures are files in the folder place/pictures, where `DarkTwins` looks."""
    heading = stem
    (place / "pictures").mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            found = re.findall(r"^#+ (.+)", "".join(cell["source"]), re.MULTILINE)
            heading = found[-1] if found else heading
        for at, output in enumerate(cell.get("outputs", ())):
            if "image/png" in output.get("data", {}):
                _as_file(output, place / "pictures" / f"{stem}-{number}-{at}.png", heading)
    return notebook


def _as_file(output, path, heading):
    """Write the pictures of an output, which becomes an image of that path."""
    data, said = output["data"], output.get("metadata", {}).get("image/png", {})
    twin = path.with_suffix(".dark.png")
    path.write_bytes(base64.b64decode("".join(data["image/png"])))
    twin.unlink(missing_ok=True)
    if DARK in data:
        twin.write_bytes(base64.b64decode("".join(data[DARK])))
    words = json.dumps(said.get("alt") or f"Figure of the section {heading}", ensure_ascii=False)
    output["data"] = {"text/markdown": IMAGE.format(path=f"pictures/{path.name}", words=words)}


def draw_dark_figures():
    """The twins of docs/figures, for those that a page shows."""
    with visualize.theme("dark"):
        for name, figure in _figures():
            visualize.save(figure, HERE / "figures" / f"{name}.dark.png")


def _figures():
    """(name, figure) of each one that follows from the package or from a page's own numbers."""
    plans = [mv.plan(mv.preset(name)) for name in ("mvit_b_16x4", "vit_b_8f")]
    yield "mvit_b_16x4_stages", visualize.stage_figure(*plans)
    pooled = next(block for block in plans[0].blocks if block.pool_q)
    yield "mvit_b_16x4_pooling_attention", visualize.pooling_attention_figure(pooled)
    yield "mvit_b_16x4_layers", visualize.layer_table_figure(plans[0])
    measured = _numbers("performance.json")
    roof = measured["roof"]["flops_per_s"]
    yield "scaling", visualize.scaling_figure(measured["scaling"], roof)
    for name, experiment in EXPERIMENTS.items():
        results = _numbers(f"experiments/{name}.json")
        words = f"{experiment.table} at small scale: {page.about(experiment, results)}"
        lines = findings.lines(experiment, results)
        figure = visualize.experiment_figure(lines, experiment.question, words, results["chance"])
        yield f"experiment_{name}", figure


def _numbers(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))
