"""The site of docs/: it builds without a warning, its links lead somewhere, and it needs nothing
from the network.
"""

import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from mvit_np import ops

needs = "needs sphinx, myst-nb and furo: pip install '.[docs]'"
for library in ("sphinx", "myst_nb", "furo"):
    pytest.importorskip(library, reason=needs)

pytestmark = pytest.mark.slow  # all of them look at the site, which sphinx builds first

ROOT = Path(__file__).parents[2]
MATHJAX = "_static/mathjax/tex-svg.js"


class Page(HTMLParser):
    """What a page names: anchors, links, and everything that a browser fetches by itself."""

    def __init__(self, path):
        super().__init__()
        self.path, self.anchors, self.links, self.fetched = path, set(), [], []
        self.images = []  # (address, classes, words) of each
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "img":
            self.images.append((given["src"], given.get("class") or "", given.get("alt")))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in (
            "stylesheet",
            "icon",
            "preload",
            "modulepreload",
            "preconnect",
        ):
            self.fetched.append(given.get("href", ""))
        elif tag not in ("a", "link"):
            self.fetched += [
                given[name] for name in ("src", "data", "poster", "srcset") if given.get(name)
            ]

    def file(self, link):
        return (
            (self.path.parent / unquote(urlsplit(link).path)).resolve()
            if urlsplit(link).path
            else self.path
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{path of a page: the page}, built as `sphinx-build -W` does it."""
    out = tmp_path_factory.mktemp("docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        str(out / "doctrees"),
    ]
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(out / "html")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {
        path.relative_to(out / "html").as_posix(): Page(path)
        for path in (out / "html").rglob("*.html")
    }


def from_afar(link):
    return bool(urlsplit(link).netloc)


def test_every_link_leads_to_a_file_and_every_anchor_to_a_place(site):
    pages, lost = {page.path: page for page in site.values()}, []
    for name, page in site.items():
        for link in page.links:
            place = unquote(urlsplit(link).fragment)
            if from_afar(link) or urlsplit(link).scheme:
                continue
            target = page.file(link)
            # explorer.html reads its choice from the fragment
            known = (
                place in ("", *getattr(pages.get(target), "anchors", ()))
                or target.name == "explorer.html"
            )
            if not target.exists() or not known:
                lost.append(f"{name}: {link}")
    assert not lost


def test_nothing_is_fetched_from_elsewhere_and_all_that_is_fetched_is_there(site):
    for name, page in site.items():
        for link in page.fetched:
            assert not from_afar(link), f"{name} fetches {link}"
            assert urlsplit(link).scheme == "data" or page.file(link).is_file(), (
                f"{name} fetches {link}, which is not there"
            )
    html = site["index.html"].path.parent
    for sheet in html.rglob("*.css"):
        used = re.findall(
            r"@import\s+[\"']([^\"']+)|url\([\"']?([^\"')]+)", sheet.read_text(encoding="utf-8")
        )
        assert not any(from_afar(link) for pair in used for link in pair), sheet.name


def test_formulas_are_set_by_the_file_that_lies_here(site):
    for name, page in site.items():
        if 'class="math' in page.text:
            assert (
                sum("mathjax" in link.lower() and MATHJAX in link for link in page.fetched) == 1
            ), name
    assert MATHJAX in " ".join(site["ops/layer_norm.html"].fetched)
    here = ROOT / "docs" / MATHJAX
    assert (site["index.html"].path.parent / MATHJAX).read_bytes() == here.read_bytes()
    assert "Apache License" in here.with_name("LICENSE").read_text()


@pytest.mark.parametrize("name", ops.__all__)
def test_every_op_has_a_page_with_its_derivation(name, site):
    pages = [
        page
        for path, page in site.items()
        if path.startswith("ops/") and f"mvit_np.ops.{name}" in page.anchors
    ]
    assert len(pages) == 1
    for part in (
        "what-it-computes|what-they-compute",
        "the-backward-pass",
        "what-is-kept",
        "how-it-is-made-fast",
    ):
        assert pages[0].anchors & set(part.split("|")), part
    assert any("notebooks/" in link for link in pages[0].links) and any(
        "_modules/" in link for link in pages[0].links
    )


def test_docstrings_keep_their_columns_and_their_signs(site):
    text = site["ops/attend.html"].text
    assert "q: (B, Nq, h, d)   k: (B, Nk, h, d)   v: (B, Nk, h, e)" in re.sub(r"<[^>]*>", "", text)
    assert "<p>softmax(scale Q K') V.</p>" in text


def test_every_notebook_is_on_the_site_and_the_start_page_leads_to_it(site):
    stored = (ROOT / "notebooks").rglob("[0-9]*.ipynb")
    wanted = {
        path.relative_to(ROOT).with_suffix(".html").as_posix()
        for path in stored
        if "checkpoint" not in path.name
    }
    assert wanted <= set(site) and wanted <= set(site["index.html"].links)
    assert "explorer.html" in site["index.html"].links
    assert (site["explorer.html"].path).read_bytes() == (
        ROOT / "docs" / "explorer.html"
    ).read_bytes()
    assert "handout.html" in site["index.html"].links


# -- pictures --------------------------------------------------------------------------------------


def test_every_picture_says_what_it_shows(site):
    found = [
        (name, *image)
        for name, page in site.items()
        for image in page.images
        if "_static/" not in image[0]
    ]  # a button of the theme
    assert len(found) > 60
    for name, address, _, words in found:
        told = f"{name}: {address} says {words!r}"
        assert words and len(words.split()) > 2, told
        assert Path(address).stem not in words and not re.search(r"[0-9a-f]{16}|\.png", words), told


def test_every_picture_has_a_twin_for_the_other_theme(site):
    """Where a notebook's is missing, python notebooks/refresh.py draws it."""
    for name, page in site.items():
        # a button of the theme, photographs of a page that has themes of its own, a film's frame
        others = "_static/", "explainer_", "looking_annotated"
        pictures = [image for image in page.images if not any(map(image[0].__contains__, others))]
        light, dark = (
            [words for _, classes, words in pictures if f"only-{theme}" in classes]
            for theme in ("light", "dark")
        )
        assert light == dark and 2 * len(light) == len(pictures), name


# -- the printed page and the teacher's ------------------------------------------------------------


def test_the_printed_page_is_the_one_that_the_package_writes():
    """python docs/handout.py writes it."""
    written = runpy.run_path(str(ROOT / "docs" / "handout.py"))["page"]()
    assert (ROOT / "docs" / "handout.html").read_text(encoding="utf-8") == written


def test_every_notebook_is_in_the_teacher_s_plan_and_the_glossary_names_none_that_is_not_there():
    lessons = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    named = {
        name: set(re.findall(r"\(notebooks/(\w+)\.ipynb\)", (ROOT / "docs" / name).read_text()))
        for name in ("teaching.md", "glossary.md")
    }
    assert named["teaching.md"] == lessons and named["glossary.md"] <= lessons


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_printed_page_fits_on_one_sheet(site, tmp_path):
    target, address = tmp_path / "handout.pdf", site["handout.html"].path.as_uri()
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += ["--virtual-time-budget=20000", f"--print-to-pdf={target}", address]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert len(re.findall(rb"/Type\s*/Page\b", target.read_bytes())) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_no_line_of_code_in_a_notebook_is_cut_on_a_desktop(site, tmp_path):
    """In windows of 1280 pixels: how many blocks of code are wider than their column."""
    names = sorted(name for name in site if name.startswith("notebooks/"))
    frames = "".join(
        f'<iframe style="width:1280px;height:800px" src="{site[name].path.as_uri()}"></iframe>'
        for name in names
    )
    script = """<script>
    const cut = (block) => block.scrollWidth > block.clientWidth + 1;
    const blocks = (frame) => [...frame.contentDocument.querySelectorAll("div.highlight pre")];
    const counted = (frame) => blocks(frame).filter(cut).length;
    const frames = () => [...document.querySelectorAll("iframe")];
    onload = () => { document.title = frames().map(counted).join(); };
    </script>"""
    page = tmp_path / "frames.html"
    page.write_text(f"<title>none</title>{script}{frames}")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=20000", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    cut = re.search("<title>(.*?)</title>", shown)[1].split(",")
    assert dict(zip(names, cut)) == dict.fromkeys(names, "0")


def test_the_live_page_is_embedded_and_its_notebooks_are_there(site):
    assert "explainer.html" in site["live.html"].fetched and "live.html" in site["index.html"].links
    names = set(re.findall(r'data-notebook="(\w+)"', site["explainer.html"].text))
    assert len(names) > 5 and {f"notebooks/{name}.html" for name in names} <= set(site)
    assert all((ROOT / "notebooks" / f"{name}.ipynb").is_file() for name in names)
