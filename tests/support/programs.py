"""Programs run without a process of their own, which would import torch again: seconds for each."""

import contextlib
import io
import runpy
from pathlib import Path
from unittest.mock import patch


def run_script(script: Path, *arguments: str | Path) -> str:
    """Run a script as if it had been started with these arguments; return what it prints."""
    with (
        patch("sys.argv", [str(script), *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as said,
    ):
        runpy.run_path(str(script), run_name="__main__")
    return said.getvalue()


def run_text(text: str) -> str:
    """Run the text of a program; return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(text, "<shown>", "exec"), {"__name__": "__main__"})
    return said.getvalue()
