"""PyTorch execution traces: the JSON that ``torch.profiler.ExecutionTraceObserver`` writes.

It has every call, nested, with the storages, shapes and types of its tensors. It has neither times nor frees nor modules:
docs/outside.md says what is assumed instead.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.execution_traces.aten import parse_schema
from tmtrain.importing.execution_traces.calls import note_of, operators_of, thread_of
from tmtrain.importing.execution_traces.node import TensorUse, plain_values, tensor_uses
from tmtrain.importing.execution_traces.steps import ChosenStep
from tmtrain.importing.execution_traces.tree import NestedCall


class _Values(msgspec.Struct, frozen=True, kw_only=True):
    values: list[Any]
    shapes: list[Any]
    types: list[str]
    strides: list[Any] | None = None


class _Attribute(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: Any = None


class _Node(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    ctrl_deps: int
    inputs: _Values
    outputs: _Values
    attrs: list[_Attribute]


class _TraceFile(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    nodes: list[_Node]


def read_pytorch_et(path: Path, *, step: int | None = None) -> ChosenStep:
    """Read the operators of one step of the execution trace at `path` (JSON, or JSON.gz), in order.

    Raises:
        InputError: there is no such file, or no such step in it.
        FileFormatError: truncated, another schema, or a call that makes no sense; names file, node and field.
    """
    source = f"{path}"
    return operators_of([_call(node, source) for node in _decode(path).nodes], source=source, step=step)


_OTHERS = {
    b'"traceEvents"': "a timeline of torch's profiler: give what its ExecutionTraceObserver writes",
    b'"workload_graph"': "a Chakra trace in JSON: give the .et file that it was made from",
    b'"input_shapes"': "an execution trace in an old schema: record it again with a newer torch",
}
"""What other JSON files have in them, what they are, and what to do."""


def _decode(path: Path) -> _TraceFile:
    data = b""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        return msgspec.json.decode(data, type=_TraceFile)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (msgspec.DecodeError, EOFError, OSError) as error:
        other = next((text for sign, text in _OTHERS.items() if sign in data), None)
        need = "no execution trace of torch whose nodes have records `inputs` and `outputs`, or truncated"
        raise FileFormatError(f"{path}: {other or f'{need}: {error}'}", path=path) from error


def _call(node: _Node, source: str) -> NestedCall:
    attributes = {attribute.name: attribute.value for attribute in node.attrs}
    where = f"{source}, node {node.id} ({node.name})"
    arguments = tuple(_uses(node.inputs, f"{where}, field 'inputs'"))
    results = tuple(_uses(node.outputs, f"{where}, field 'outputs'"))
    return NestedCall(
        id=node.id,
        name=node.name,
        parent=node.ctrl_deps,
        schema=parse_schema(str(attributes.get("op_schema", ""))),
        arguments=arguments,
        results=results,
        values=plain_values(node.inputs.values, node.inputs.types),
        thread=thread_of(attributes),
        is_compiled=attributes.get("kernel_backend") == "triton",
        communication=note_of(node.name, attributes, node.inputs.values, arguments or results),
    )


def _uses(values: _Values, where: str) -> Iterator[TensorUse]:
    return tensor_uses(
        values.values, shapes=values.shapes, types=values.types, strides=values.strides, where=where
    )
