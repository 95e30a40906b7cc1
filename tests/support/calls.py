"""The work of every operator that a function calls, as a capture counts it."""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.work import work_of
from tmtrain.counting import NO_WORK, OperatorWork


def works_of(function: Callable[[], Any]) -> list[tuple[str, OperatorWork]]:
    """Return name and work of each operator that has some, in order."""
    with _Works() as collected:
        function()
    return collected.works


class _Works(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.works: list[tuple[str, OperatorWork]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        work = work_of(func, args, kwargs or {}, out)
        if work != NO_WORK:
            self.works.append((str(func).removeprefix("aten."), work))
        return out
