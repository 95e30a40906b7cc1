"""Draws ``docs/map.svg``: the rooms of tmtrain as the import contracts of ``pyproject.toml`` stack them.

Rooms of one row know nothing of each other, and each row imports from rows below it only. What a room is for is the first
sentence of its own docstring. Arrows are imports found in the code; those that follow from others are left out.

    python docs/map.py            # writes docs/map.svg
"""

import ast
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from xml.sax.saxutils import escape

import grimp
import networkx as nx

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "map.svg"

_WIDTH, _MARGIN, _SPACE, _BETWEEN = 1180, 16, 18, 30
_LINE, _PAD, _CHARACTER = 15, 10, 6.4
_FILL, _EDGE, _INK, _SOFT = "#f4f6fa", "#8796ad", "#1d2733", "#53606f"
_STYLE = "font-family: system-ui, sans-serif; font-size: 12px"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One room, or one module that stands by itself, where it is drawn."""

    name: str
    lines: tuple[str, ...]
    """Its purpose, wrapped to its width."""
    inside: tuple[str, ...]
    """The rooms inside it, layer by layer from the top; empty where no contract orders them."""
    x: float
    y: float
    width: float
    height: float


def contracts() -> list[dict[str, list[str]]]:
    """Return the layer contracts that name the children of one container."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]


def rows_of(contract: dict[str, list[str]]) -> list[list[str]]:
    """Return the names in each layer, from the top.

    >>> rows_of({"layers": ["cli", "ragged : units : errors"]})
    [['cli'], ['ragged', 'units', 'errors']]
    """
    return [[name.strip() for name in layer.replace("|", ":").split(":")] for layer in contract["layers"]]


def purpose_of(name: str) -> str:
    """Return the first sentence of what a room or module says of itself."""
    folder = ROOT / "src" / "tmtrain" / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
    return text.partition(". ")[0].rstrip(".") + "."


def boxes() -> list[Box]:
    """Lay out the rooms, row by row."""
    road, *others = contracts()
    inside = {c["containers"][0].partition(".")[2]: rows_of(c) for c in others}
    placed: list[Box] = []
    y = float(_MARGIN)
    for row in rows_of(road):
        width = (_WIDTH - 2 * _MARGIN - _SPACE * (len(row) - 1)) / len(row)
        width = min(width, 620.0)
        left = (_WIDTH - width * len(row) - _SPACE * (len(row) - 1)) / 2
        drawn = [
            _box(name, inside.get(name, []), x=left + (width + _SPACE) * i, y=y, width=width)
            for i, name in enumerate(row)
        ]
        placed += drawn
        y += max(box.height for box in drawn) + _BETWEEN
    return placed


def _box(name: str, layers: list[list[str]], *, x: float, y: float, width: float) -> Box:
    room = int((width - 2 * _PAD) / _CHARACTER)
    lines = tuple(textwrap.wrap(purpose_of(name), room))
    chain = " > ".join(", ".join(layer) for layer in layers)
    inside = tuple(textwrap.wrap(chain, room)) if chain else ()
    height = 2 * _PAD + _LINE * (1 + len(lines) + len(inside)) + (4 if inside else 0)
    return Box(name=name, lines=lines, inside=inside, x=x, y=y, width=width, height=height)


def arrows(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return which of `names` imports which, without what follows from others."""
    imports = grimp.build_graph("tmtrain", exclude_type_checking_imports=True)
    known = set(names)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(known)
    for module in sorted(imports.modules):
        for other in imports.find_modules_directly_imported_by(module):
            importer, imported = (path.split(".")[1] if "." in path else "" for path in (module, other))
            if importer != imported and {importer, imported} <= known:
                graph.add_edge(importer, imported)
    return sorted(nx.transitive_reduction(graph).edges)


def svg() -> str:
    """Return the picture."""
    placed = {box.name: box for box in boxes()}
    height = max(box.y + box.height for box in placed.values()) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" style="{_STYLE}">',
        "<title>The rooms of tmtrain: each row imports from rows below it only</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{_EDGE}"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height:g}" fill="white"/>',
        *(_arrow(placed[a], placed[b]) for a, b in arrows(placed)),
        *(line for box in placed.values() for line in _drawn(box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrow(upper: Box, lower: Box) -> str:
    """Draw an arrow from the bottom of one room to the top of another, leaning towards it."""
    reach = min(upper.width, lower.width) / 2 - 20
    lean = max(-reach, min(reach, (lower.x + lower.width / 2 - upper.x - upper.width / 2) / 3))
    x1, y1 = upper.x + upper.width / 2 + lean, upper.y + upper.height
    x2, y2 = lower.x + lower.width / 2 - lean, lower.y
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{_EDGE}" stroke-width="1.3" '
        'marker-end="url(#tip)"/>'
    )


def _drawn(box: Box) -> Iterator[str]:
    yield (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6" '
        f'fill="{_FILL}" stroke="{_EDGE}"/>'
    )
    baseline = count(box.y + _PAD + 11, _LINE)
    left = box.x + _PAD
    yield _text(box.name, x=left, y=next(baseline), style=f'fill="{_INK}" font-weight="bold"')
    for line in box.lines:
        yield _text(line, x=left, y=next(baseline), style=f'fill="{_INK}"')
    for line in box.inside:
        yield _text(line, x=left, y=next(baseline) + 4, style=f'fill="{_SOFT}" font-style="italic"')


def _text(words: str, *, x: float, y: float, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(svg())
