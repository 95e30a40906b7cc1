"""`import_trace`: a step that another program wrote down, in whichever of the known forms it is."""

from pathlib import Path

from tmtrain.errors import InputError
from tmtrain.outside.g10 import is_g10, load_g10
from tmtrain.outside.g10_trace import trace_of_g10
from tmtrain.trace import Trace


def is_outside(path: Path) -> bool:
    """Whether `path` looks like one of the forms that `import_trace` reads; it need not be whole.

    >>> is_outside(Path("."))
    False
    """
    return is_g10(path)


def import_trace(path: Path | str, *, samples: int | None = None) -> Trace:
    """Return the step that another program wrote to `path`.

    Args:
        path: A folder of the G10 artifact's workload format.
        samples: In the batch of the step, for forms that do not say it.

    Raises:
        InputError: there is nothing at `path`, it is in no known form, or it says its batch itself.
        FileFormatError: truncated, or contradictory in itself; names file, line and field.
    """
    path = Path(path)
    if not is_outside(path):
        raise InputError(f"{path} is in no form that tmtrain imports: see docs/outside.md")
    if samples is not None:
        raise InputError(f"--samples cannot be chosen for {path}: it says its batch itself")
    return trace_of_g10(load_g10(path))
