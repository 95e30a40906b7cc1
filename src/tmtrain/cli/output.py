"""What a command prints on stdout: for people, or the same as JSON."""

import dataclasses
import json
import sys
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_LEAST_WIDTH = 120
"""Columns of the results table; a narrower terminal wraps its lines rather than lose a digit."""


class _PipeConsole(Console):
    """rich ends the program when the reader of a pipe goes away; how the program ends is `main`'s business."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def stdout_console() -> Console:
    """Return the console of results: at least 120 columns, colours only on a terminal."""
    console = _PipeConsole(highlight=False, soft_wrap=False)
    return console if console.width >= _LEAST_WIDTH else _PipeConsole(highlight=False, width=_LEAST_WIDTH)


def emit(record: object, *text: RenderableType, as_json: bool) -> None:
    """Print `record` as JSON, or `text`, which says the same to people.

    Args:
        record: Of dataclasses, dicts, lists and plain values.
        text: Printed one below the other.
        as_json: Which of the two.

    >>> emit({"answer": 42}, "the answer is 42", as_json=True)
    {
     "answer": 42
    }
    """
    if as_json:
        sys.stdout.write(json.dumps(record, default=dataclasses.asdict, indent=1) + "\n")
        return
    console = stdout_console()
    for part in text:
        console.print(part)


def facts(title: str, lines: Iterable[tuple[str, str]]) -> Group:
    """Lay out labelled values under a title.

    >>> emit({}, facts("step", [("time", "1 s")]), as_json=False)
    step
      time  1 s
    """
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(Text(label), Text(value))
    return Group(Text(title, style="bold"), table)
