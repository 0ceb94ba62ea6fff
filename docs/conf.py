"""The site: `sphinx-build -W docs build/site` (pip install -e '.[docs]'). Nothing is fetched, no
notebook is run.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import site_pictures  # noqa: E402

import mvit_np  # noqa: E402

project = html_title = "mvit_np"
release = version = mvit_np.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # what is stored is shown; tests/project/test_notebooks.py runs them
nb_merge_streams = True
nb_render_markdown_format = "myst"  # of the outputs: `bring_notebooks` makes their pictures files
nb_ipywidgets_js = {}  # no widgets, and no scripts for them from elsewhere

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Array", "Tree", "Params", "FilePath")}
maximum_signature_line_length = 100

highlight_language = "text"  # of the blocks that `as_rest` makes
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["explorer.html", "explainer.html", "handout.html"]
html_copy_source = html_show_copyright = False
smartquotes = False  # Q' is a transposed Q
mathjax_path = "mathjax/tex-svg.js"  # one file, fonts included; _static/mathjax/LICENSE is its own
mathjax3_config = {"options": {"enableMenu": False}}  # the menu could load more from elsewhere


def bring_notebooks():
    """docs/notebooks/ becomes what notebooks/ holds, with pictures in files and with links to the
    pages of docs: Sphinx reads only what lies below it. Git ignores the copy.
    """
    source, target = HERE.parent / "notebooks", HERE / "notebooks"
    names = {
        path.relative_to(source)
        for path in source.rglob("[0-9]*.ipynb")
        if "checkpoint" not in path.name
    }
    for old in target.rglob("*.ipynb"):
        if old.relative_to(target) not in names:
            old.unlink()
    for name in names:
        text = (source / name).read_text(encoding="utf-8").replace("../docs/", "../")
        place = (target / name).parent
        notebook = site_pictures.with_files(json.loads(text), place, name.stem)
        (target / name).write_text(json.dumps(notebook), encoding="utf-8")


def as_rest(text):
    """A plain docstring as reST: aligned columns and indented code keep their shape, sentences are
    set as sentences.
    """
    paragraphs = []
    summary, gap, shapes = text.partition("   ")
    # "what it does.   x: (B, N)   ->   (B, D)": the shapes are a line of their own
    if gap and "\n" not in summary:
        first, _, after = shapes.strip().partition("\n")
        text = f"{summary}\n\n   {first}\n\n{after}"
    for part in filter(str.strip, text.split("\n\n")):
        if "   " in part:
            paragraphs.append("::\n\n" + re.sub("^", "   ", part.strip("\n"), flags=re.MULTILINE))
        else:
            words = re.sub(
                r"([\\*|_<>])|`+([^`]+)`+", lambda m: f"\\{m[1]}" if m[1] else f"``{m[2]}``", part
            )
            paragraphs.append(words.strip())
    return "\n\n".join(paragraphs)


def rest_docstring(app, what, name, obj, options, lines):
    lines[:] = as_rest("\n".join(lines)).splitlines() + [""]


def plain_aliases(app, what, name, obj, options, signature, result):
    """Sphinx writes an alias that is a part of another type as TypeAliasForwardRef('Name')."""
    alias = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return tuple(text and alias.sub(r"\1", text) for text in (signature, result))


def drop_backlinks(app, pagename, templatename, context, doctree):
    """Sources link back by one module name a file, which is wrong where a name is documented under
    a shorter one.
    """
    if pagename.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def setup(app):
    bring_notebooks()
    site_pictures.draw_dark_figures()
    app.add_transform(site_pictures.DarkTwins)
    app.connect("autodoc-process-docstring", rest_docstring)
    app.connect("autodoc-process-signature", plain_aliases)
    app.connect("html-page-context", drop_backlinks)
