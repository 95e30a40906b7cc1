"""`import_trace`: a step that another program wrote down, in whichever of the known forms it is."""

from pathlib import Path

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.execution_traces.chakra import MODEL, SAMPLES, nodes_of_chakra
from tmtrain.importing.execution_traces.chakra_file import read_chakra
from tmtrain.importing.execution_traces.pytorch import read_pytorch_et
from tmtrain.importing.execution_traces.trace import trace_of_nodes
from tmtrain.importing.g10.trace import trace_of_g10
from tmtrain.importing.g10.workload import is_g10, load_g10
from tmtrain.trace import Trace

_PYTORCH = (".json", ".json.gz")
_CHAKRA = (".et", ".et.gz")


def is_outside(path: Path) -> bool:
    """Whether `path` is named like one of the forms that `import_trace` reads; it need not be whole, or there.

    >>> is_outside(Path("step.et")), is_outside(Path("gpt2"))
    (True, False)
    """
    return path.name.endswith(_PYTORCH + _CHAKRA) or is_g10(path)


def import_trace(path: Path | str, *, samples: int | None = None, step: int | None = None) -> Trace:
    """Return the step that another program wrote to `path`; docs/outside.md says what each form lacks.

    Args:
        path: A folder of the G10 artifact's workload, a PyTorch execution trace (``*.json``, ``*.json.gz``), or a
            Chakra one (``*.et``, ``*.et.gz``).
        samples: In the batch of the step, for forms that do not say it; 1 if nobody does.
        step: Which step of an execution trace of several, from 1; None takes the last whole one that repeats another.
            The trace's option "step" says which was taken.

    Raises:
        InputError: there is nothing at `path`, it is in no known form, holds what cannot be used, says its batch itself, or
            has no such step.
        FileFormatError: truncated, or contradictory in itself; names file, line or node, and field.
    """
    path = Path(path)
    try:
        return _import(path, samples, step)
    except FileFormatError as error:
        error.locate(path)
        raise


def _import(path: Path, samples: int | None, step: int | None) -> Trace:
    if path.name.endswith(_PYTORCH):
        return _import_pytorch(path, samples, step)
    if path.name.endswith(_CHAKRA):
        return _import_chakra(path, samples, step)
    if not is_g10(path):
        raise InputError(f"{path} is in no form that tmtrain imports: see docs/outside.md")
    _refuse_samples(path, samples)
    if step is not None:
        raise InputError(f"--step cannot be chosen for {path}: it holds one step")
    return trace_of_g10(load_g10(path))


def _import_pytorch(path: Path, samples: int | None, step: int | None) -> Trace:
    return trace_of_nodes(
        read_pytorch_et(path, step=step),
        model=path.name.partition(".")[0],
        samples=1 if samples is None else samples,
        options={"source": "PyTorch execution trace"},
        where=f"{path}",
    )


def _import_chakra(path: Path, samples: int | None, step: int | None) -> Trace:
    file = read_chakra(path)
    said = file.attributes.get(SAMPLES)
    if isinstance(said, int):
        _refuse_samples(path, samples)
        samples = said
    return trace_of_nodes(
        nodes_of_chakra(file.nodes, source=f"{path}", step=step),
        model=str(file.attributes.get(MODEL, path.name.partition(".")[0])),
        samples=1 if samples is None else samples,
        options={"source": f"Chakra execution trace, schema {file.version}"},
        where=f"{path}",
    )


def _refuse_samples(path: Path, samples: int | None) -> None:
    if samples is not None:
        raise InputError(f"--samples cannot be chosen for {path}: it says its batch itself")
