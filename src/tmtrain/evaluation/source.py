"""What a user may name as a model: a zoo model, their own ``file.py:function``, a saved trace, or a step from outside."""

import dataclasses
from pathlib import Path

from tmtrain.capturing import StepOptions, capture_function, capture_model
from tmtrain.capturing.jobs.catalog import find_model, resolve_options
from tmtrain.errors import InputError
from tmtrain.importing import import_trace, is_outside
from tmtrain.trace import Trace, load_trace

_OF_FUNCTIONS = ("operators",)
"""Options that a user's own function has too."""


def check_source(source: str, options: StepOptions | None = None) -> None:
    """Refuse a model that does not exist, without computing anything.

    Raises:
        InputError: unknown zoo model, options that it does not have, or no such file.

    >>> check_source("gpt2")
    """
    chosen = options or StepOptions()
    is_function = ".py:" in source
    if not (is_function or _is_trace(source) or is_outside(Path(source))):
        resolve_options(find_model(source), chosen)
        return
    _refuse_options(source, chosen, None, but=_OF_FUNCTIONS if is_function else ())
    file = source.rpartition(":")[0] if is_function else source
    if not Path(file).exists():
        raise InputError(f"no such file: {file}")


def trace_of(
    source: str, options: StepOptions | None = None, *, samples: int | None = None, step: int | None = None
) -> Trace:
    """Return the trace of a zoo model, of ``FILE.py:FUNCTION``, of a saved ``*.trace`` folder, or of a step from outside.

    Args:
        source: What the user named.
        options: For zoo models; `operators` for a user's own step too.
        samples: In the batch of a user's own step, or of one from outside that does not say it.
        step: Which of the steps in an execution trace from outside, from 1.

    Raises:
        InputError: unknown model, options that do not apply, an unreadable trace.
        CaptureError: the step could not be captured.
    """
    chosen = options or StepOptions()
    if is_outside(Path(source)):
        _refuse_options(source, chosen, None)
        return import_trace(source, samples=samples, step=step)
    if step is not None:
        raise InputError(f"--step is for execution traces of several steps: {source} is one step")
    if _is_trace(source):
        _refuse_options(source, chosen, samples)
        return load_trace(Path(source))
    if ".py:" in source:
        _refuse_options(source, chosen, None, but=_OF_FUNCTIONS)
        operators = chosen.operators or "accelerator"
        return capture_function(source, samples=1 if samples is None else samples, operators=operators)
    if samples is not None:
        raise InputError(f"--samples is for your own functions: {source} has a batch, set it with --batch")
    return capture_model(source, chosen)


def _is_trace(source: str) -> bool:
    return Path(source).is_dir() or source.endswith(".trace")


def _refuse_options(
    source: str, options: StepOptions, samples: int | None, *, but: tuple[str, ...] = ()
) -> None:
    names = [field.name for field in dataclasses.fields(options) if getattr(options, field.name) is not None]
    names = [name for name in names if name not in but]
    names += ["samples"] if samples is not None else []
    if names:
        raise InputError(f"{', '.join(names)} cannot be chosen for {source}: that step is already written")
