"""Progress on stderr: one line that changes on a terminal, plain lines elsewhere; Ctrl-C ends it by the next line."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.text import Text


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """Give a function that tells what is being done now.

    >>> with progress() as tell:
    ...     tell("gpt2: capture")
    """
    console = Console(stderr=True)
    with _interrupts() as check:
        if not console.is_terminal:

            def tell(line: str) -> None:
                check()
                print(line, file=sys.stderr, flush=True)

            yield tell
            return
        with console.status("") as status:

            def update(line: str) -> None:
                check()
                status.update(Text(line))

            yield update


@contextmanager
def _interrupts() -> Generator[Callable[[], None]]:
    """Remember Ctrl-C: a library that calls back into Python may swallow the exception; what is given raises it again."""
    pressed = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        pressed.set()
        raise KeyboardInterrupt

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
