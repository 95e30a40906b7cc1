"""Which line of whose code was running: for messages about code that is not ours."""

import linecache
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_stack, walk_tb
from types import FrameType, TracebackType

import torch

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parents[2])
_PYTHON = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")


def running_line() -> str | None:
    """Return the line that runs now, outside of torch and tmtrain; see `_describe`."""
    return _describe(walk_stack(None))


def failed_line(trace: TracebackType | None) -> str | None:
    """Return the line that raised, outside of torch and tmtrain; see `_describe`."""
    return _describe(reversed(list(walk_tb(trace))))


def _describe(frames: Iterable[tuple[FrameType, int]]) -> str | None:
    """Return file, line and code of the innermost frame; of an installed package, who called it too."""
    inner = ""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if file.startswith((_TORCH, _OURS, "<")):
            continue
        is_installed = any(folder in Path(file).parts for folder in _INSTALLED)
        if file.startswith(_PYTHON) and not is_installed:
            continue
        code = linecache.getline(file, line, frame.f_globals).strip()
        here = f"{_short(file)}:{line} in {frame.f_code.co_name}: `{code}`"
        if not is_installed:
            return f"{inner}, called from {here}" if inner else here
        inner = inner or here
    return inner or None


def _short(file: str) -> str:
    path = Path(file)
    for folder in _INSTALLED:
        if folder in path.parts:
            return str(Path(*path.parts[path.parts.index(folder) + 1 :]))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
