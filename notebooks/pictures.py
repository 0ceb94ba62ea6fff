"""What `refresh.py` runs in a notebook's kernel before the first cell: each figure is stored with
words for readers who cannot see it, and a second time in the colours of a dark page.

Jupyter shows the first picture. The site shows the one that its theme asks for (docs/conf.py).
"""

import base64
import io
import sys

from IPython import get_ipython
from IPython.core.formatters import BaseFormatter
from traitlets import Unicode

DARK = "image/vnd.mvit-np.dark+png"
COLOURS = 256  # of a picture: with a palette its file is a third as large


class Dark(BaseFormatter):
    """A kind of output beside image/png, which is drawn before it."""

    format_type = Unicode(DARK)

    def __call__(self, shown):
        """Of a figure `dark`, None of anything else. What `for_type` knows, %matplotlib forgets."""
        library = sys.modules.get("matplotlib.figure")
        return dark(shown) if library and isinstance(shown, library.Figure) else None


def dark(figure):
    """(picture, what it shows) of a figure, whose colours are exchanged from then on; None of an empty one."""
    # a notebook may look at what is loaded, so nothing is before it draws
    from IPython.core.pylabtools import print_figure

    from mvit_np.visualize import alt_text
    from mvit_np.visualize.dark import darken

    words = {"alt": alt_text(figure)}
    darken(figure)
    png = print_figure(figure)
    return (in_text(small(png)), words) if png else None


def in_text(png):
    """The bytes of a picture as a notebook keeps them."""
    return base64.b64encode(png).decode()


def small(png):
    """A PNG with a palette instead of three bytes per pixel: no value is off by more than some of 255."""
    from PIL import Image

    picture, out = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    # this method looks for the rare colours too, such as a thin line's
    found = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    found.save(out, "png", optimize=True)
    return out.getvalue()


if shell := get_ipython():
    shell.display_formatter.formatters[DARK] = Dark(parent=shell.display_formatter)
