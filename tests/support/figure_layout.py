"""The words of a figure, and whether each of them can be read."""

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


def words(figure):
    """The texts that are drawn: not empty, visible, and no tick's outside the view."""
    outside = {label for axes in figure.axes for label in unseen_ticks(axes)}
    texts = [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()
    ]
    return [text for text in texts if text not in outside]


def unseen_ticks(axes):
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not axes.axison or not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def all_words(figure):
    return "\n".join(text.get_text() for text in words(figure))


def check_layout(figure):
    """Every text lies in the figure, no two overlap by more than a sliver, and none is too small
    for a slide.
    """
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    renderer, texts = figure.canvas.get_renderer(), words(figure)
    boxes = [text.get_window_extent(renderer) for text in texts]
    for text, box in zip(texts, boxes):
        assert text.get_fontsize() >= 10 and figure.get_figwidth() <= 12
        inside = (
            box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        )
        assert inside, f"{text.get_text()!r} is cut off"
    for (one, a), (other, b) in combinations(zip(texts, boxes), 2):
        across, up = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        shared = max(across, 0) * max(up, 0) / min(a.width * a.height, b.width * b.height)
        assert shared < 0.05, f"{one.get_text()!r} and {other.get_text()!r} overlap"
