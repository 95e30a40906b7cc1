"""An exception between any two lines of ours, as Ctrl-C raises one: lines are counted while they run."""

import dis
import functools
import linecache
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


class Interruption(BaseException):
    """Raised where it was asked for."""


class LineCount:
    """How many lines have been passed."""

    def __init__(self) -> None:
        self.lines = 0
        self.where = ""
        """The line that was interrupted."""


@contextmanager
def interrupted_at(number: int, *, folder: Path, times: int | None = None) -> Generator[LineCount]:
    """Raise `Interruption` before the `number`-th line in `folder` that this thread runs, if there are so many.

    Args:
        number: Of the line, from 1; 0 for none.
        folder: Of the files.
        times: That one line counts; None for all.
    """
    count, inside = LineCount(), str(folder)
    passed: Counter[tuple[str, int]] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(inside):
            return None
        if event == "line" and not _leaves_with(frame):
            line = frame.f_code.co_filename, frame.f_lineno
            passed[line] += 1
            if times is not None and passed[line] > times:
                return trace
            count.lines += 1
            if count.lines == number:
                count.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise Interruption(count.where)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def _leaves_with(frame: FrameType) -> bool:
    """Whether this is a `with` at its end: there the interpreter takes no signal before `__exit__`."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ") and frame.f_lasti != _first_offsets(frame.f_code)[frame.f_lineno]


@functools.cache
def _first_offsets(code: CodeType) -> dict[int, int]:
    first: dict[int, int] = {}
    for offset, line in dis.findlinestarts(code):
        first.setdefault(line, offset)
    return first
