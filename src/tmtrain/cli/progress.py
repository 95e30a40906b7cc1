"""Progress on stderr: one line that changes on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Give a function that tells what is being done now.

    >>> with progress() as tell:
    ...     tell("gpt2: capture")
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    with console.status("") as status:
        yield lambda line: status.update(Text(line))
