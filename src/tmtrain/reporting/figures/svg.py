"""Figures as SVG text: deterministic, small, and safe to put side by side in one page.

No display and no global state of matplotlib is touched: figures are drawn without pyplot, inside `drawing`.
"""

import html
import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PAGE_INCHES = 10.4
"""Width of a figure that fills the page."""

_STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the font of the page
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a model may be called anything
    "path.simplify": False,
}


@contextmanager
def drawing(name: str) -> Generator[None]:
    """Set the style of our figures while figure `name` is drawn and written.

    >>> with drawing("empty"):
    ...     text = to_svg(Figure(figsize=(1, 1)), name="empty")
    >>> text.startswith("<svg")
    True
    """
    style: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        yield


def to_svg(figure: Figure, *, name: str) -> str:
    """Return `figure` as one SVG element whose ids all begin with `name`, coordinates cut to 0.01 point.

    Ids are shared by everything in a page, so two figures must not use the same; ``name`` keeps them apart.

    >>> with drawing("a"):
    ...     first, second = (to_svg(Figure(figsize=(1, 1)), name="a") for _ in range(2))
    >>> first == second
    True
    """
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = sink.getvalue()
    # In tags alone: a policy or a model may be called like an id or a number.
    text = re.sub(r"<[^>]+>", lambda tag: _own_tag(tag[0], name=name), text[text.index("<svg") :])
    share = figure.get_figwidth() / PAGE_INCHES
    head = f'<svg role="img" aria-label="{html.escape(name)}" style="width: {share:.1%}" '
    return re.sub(
        r'<svg (.*?)(width|height)="[^"]*" (.*?)(width|height)="[^"]*" ', rf"{head}\1\3", text, count=1
    )


def legend_below(
    figure: Figure,
    axes: Axes,
    *,
    columns: int,
    loc: Literal["outside lower left", "outside lower right"] = "outside lower left",
    reverse: bool = False,
) -> None:
    """Put the legend of `axes` under the whole figure; `reverse` lists what was drawn last first."""
    handles, labels = axes.get_legend_handles_labels()
    order = -1 if reverse else 1
    figure.legend(
        handles[::order], labels[::order], loc=loc, ncols=columns, handlelength=1.2, columnspacing=1.4
    )


def _own_tag(tag: str, *, name: str) -> str:
    """Shorten the numbers of one tag and put `name` before its ids; text between tags is not touched."""
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'(href="|url\()#', rf"\1#{name}-", tag)
    return re.sub(r'(?<= d=")[^"]+', lambda path: _short_path(path[0]), tag)


def _short_path(path: str) -> str:
    """Write a path of straight lines with H and V where it can: staircases shrink to less than half."""
    words = path.split()
    # Curves (glyphs, markers) stay as they are.
    if not {word for word in words if word.isalpha()} <= {"M", "L", "z"}:
        return " ".join(words)
    short: list[str] = []
    i, x, y = 0, "", ""
    while i < len(words):
        if words[i] == "z":
            short.append("z")
            i += 1
            continue
        command, new_x, new_y = words[i : i + 3]
        if command == "L" and new_y == y:
            short.append(f"H{new_x}")
        elif command == "L" and new_x == x:
            short.append(f"V{new_y}")
        else:
            short.append(f"{command}{new_x} {new_y}")
        i, x, y = i + 3, new_x, new_y
    return "".join(short)


def standalone(svg: str) -> str:
    """Make of an element of a page a file of its own.

    >>> standalone('<svg width="1"></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg" width="1"></svg>'
    """
    if "xmlns=" in svg[:400]:
        return svg
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
