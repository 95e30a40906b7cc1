"""The user's ``file.py:function`` that returns model, optimizer and step."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tmtrain.capturing.jobs.job import TrainingJob, optimizers_of
from tmtrain.capturing.jobs.lines import failed_line
from tmtrain.capturing.jobs.parallel import ALONE, is_parallel
from tmtrain.errors import CaptureError, TmtrainError

_NEED = (
    "it must return (model, optimizer, step): a torch.nn.Module, a torch.optim.Optimizer (several in a list, None for a"
    " step without one) and a function; or (model, step)"
)

_KNOWN = {
    "UninitializedParameter": "lazy modules have no shapes yet: give their sizes (Linear for LazyLinear)",
    "FlexAttention does not support backward": "write it as scaled_dot_product_attention with a mask",
}
"""What to do, by words of torch's errors that do not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFunction:
    """A function of a file."""

    target: str
    """As the user wrote it."""
    call: Callable[[], Any]

    def make_job(self, *, samples: int) -> TrainingJob:
        """Call it and check what it returns.

        Raises:
            CaptureError: it returns something else than model, optimizer and step, or model and step.
        """
        job = self.call()
        if not isinstance(job, tuple) or len(job) not in (2, 3):
            raise CaptureError(f"{self.target} returned a {type(job).__name__}: {_NEED}", target=self.target)
        model, optimizer, step = job if len(job) == 3 else (job[0], None, job[1])
        if not isinstance(model, torch.nn.Module) or not _are_optimizers(optimizer) or not callable(step):
            kinds = ", ".join(type(part).__name__ for part in job)
            raise CaptureError(f"{self.target} returned ({kinds}): {_NEED}", target=self.target)
        return TrainingJob(model=model, optimizer=optimizer, step=step, samples=samples)


def _are_optimizers(value: Any) -> bool:
    try:
        optimizers_of(value)
    except CaptureError:
        return False
    return True


def find_function(target: str) -> UserFunction:
    """Return the function that `target`, ``FILE.py:FUNCTION``, names; runs the file.

    Raises:
        CaptureError: no such file or function, or the file fails.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        raise CaptureError(f"{target!r} does not name a function: write FILE.py:FUNCTION", target=target)
    path = Path(file)
    if not path.is_file():
        raise CaptureError(f"{target}: no such file: {file}", target=target, path=path)
    with _explained(f"{file} failed", target=target):
        module = _run_file(path)
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if _is_candidate(value, module=module)]
        raise CaptureError(
            f"{target}: {file} has no function {name!r}; it has {', '.join(names) or 'none'}",
            target=target,
            path=path,
        )
    if needed := _needed_arguments(function):
        raise CaptureError(
            f"{target} needs {', '.join(needed)}, and is called without arguments: give them defaults,"
            " or write a function that calls it",
            target=target,
            path=path,
        )
    return UserFunction(target=target, call=function)


def _needed_arguments(function: Callable[..., Any]) -> list[str]:
    """Name the arguments that it cannot be called without."""
    if not inspect.isfunction(function):
        return []
    return [
        name
        for name, argument in inspect.signature(function).parameters.items()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    ]


def _is_candidate(value: object, *, module: ModuleType) -> bool:
    """Whether it is a public function that the file itself defines: not what it imports, no class."""
    return inspect.isfunction(value) and value.__module__ == module.__name__ and value.__name__[0] != "_"


@contextmanager
def user_errors(function: UserFunction) -> Generator[None]:
    """Turn what the user's code raises into a CaptureError that says whose error it is."""
    with _explained(f"{function.target} failed on fake tensors", target=function.target):
        yield


@contextmanager
def _explained(what: str, *, target: str) -> Generator[None]:
    try:
        yield
    except TmtrainError:
        raise
    except Exception as error:
        line = failed_line(error.__traceback__)
        where = "".join(
            f" {part}" for part in (line and f"at {line}", *getattr(error, "__notes__", ())) if part
        )
        advice = _advice(error)
        raise CaptureError(
            f"{what}{where}: {advice}{type(error).__name__}: {error}", target=target
        ) from error


def _advice(error: Exception) -> str:
    """Say what to do about an error that is known, before its own words."""
    if is_parallel(error.__traceback__):
        return f"{ALONE}: "
    return next((f"{advice}: " for words, advice in _KNOWN.items() if words in str(error)), "")


def _run_file(path: Path) -> ModuleType:
    """Import the file under a name of its own; it can import its neighbours, as with ``python FILE``."""
    spec = importlib.util.spec_from_file_location(f"tmtrain_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CaptureError(f"{path} is not a Python file: its name must end in .py", path=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
