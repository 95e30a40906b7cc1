"""Chakra execution traces as operators.

Two kinds of files are read. Those converted from PyTorch carry torch's schemas, and calls nest by their control
dependencies: they are read like torch's own traces, with the times of the kernels below each operator. In all others every
COMP node is an operator that reads its inputs and writes its outputs.

MEM_LOAD and MEM_STORE nodes are somebody's plan of where data is. That is for ours to decide, so they are left out. COMM
nodes are refused, since tmtrain knows one chip.
"""

import ast
import heapq
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.execution_traces.aten import parse_schema
from tmtrain.importing.execution_traces.calls import NestedCall, operators_of
from tmtrain.importing.execution_traces.chakra_file import ChakraNode, IoInfo, NodeType
from tmtrain.importing.execution_traces.node import EtNode, TensorUse, plain_values, tensor_uses
from tmtrain.trace import Phase

DURATION, PHASE, SCHEMA = "duration_s", "phase", "op_schema"
"""Attributes of a node: seconds, finer than the format's microseconds; phase of the step; torch's schema."""
MODEL, SAMPLES = "model", "samples"
"""Attributes of a file's metadata."""
_COMM = (NodeType.COMM_SEND, NodeType.COMM_RECV, NodeType.COMM_COLL)
_LEFT_OUT = (NodeType.INVALID, NodeType.METADATA, NodeType.MEM_LOAD, NodeType.MEM_STORE)
_MOST_FLOPS = 1 << 62


def nodes_of_chakra(nodes: Sequence[ChakraNode], *, source: str) -> list[EtNode]:
    """Return the operators of a file's nodes, in an order that keeps all dependencies.

    Raises:
        InputError: communication, which one chip has not.
        FileFormatError: a dependency on a node that is not there, or in a circle; a node without tensors; no operator.
    """
    _check(nodes, source)
    has_schemas = any(SCHEMA in node.attributes for node in nodes)
    has_times = any(node.duration_micros or DURATION in node.attributes for node in nodes)
    if has_schemas:
        return operators_of([_call(node, source, has_times=has_times) for node in nodes], source=source)
    ordered = [node for node in _in_order(nodes, source) if node.type == NodeType.COMP]
    if not ordered:
        raise FileFormatError(f"{source}: no COMP node: there is nothing to simulate", path=source)
    return [_plain(node, number, source, has_times=has_times) for number, node in enumerate(ordered)]


def _check(nodes: Sequence[ChakraNode], source: str) -> None:
    numbers = {node.id for node in nodes}
    if len(numbers) != len(nodes):
        raise FileFormatError(f"{source}, field 'id': two nodes have the same one", path=source, field="id")
    for node in nodes:
        where = f"{source}, node {node.id} ({node.name})"
        if node.type in _COMM:
            raise InputError(
                f"{where}: a {node.type.name} node; tmtrain simulates one chip: give the trace of a step without "
                "communication"
            )
        if node.type not in (*_LEFT_OUT, NodeType.COMP):
            raise InputError(
                f"{where}: a {node.type.name} node, which is no part of a training step's computation"
            )
        # Nodes with a schema nest by their dependencies; one on a node that was left out then says only "at the top".
        missing = [dep for dep in (*node.ctrl_deps, *node.data_deps) if dep not in numbers]
        if missing and SCHEMA not in node.attributes:
            raise FileFormatError(
                f"{where}, field 'data_deps': it depends on node {missing[0]}, which is not there; was the file cut off?",
                path=source,
                field="data_deps",
            )


def _in_order(nodes: Sequence[ChakraNode], source: str) -> Iterator[ChakraNode]:
    """Yield each node after those it depends on; of several that may come, the one with the smallest number."""
    by_id = {node.id: node for node in nodes}
    deps = {node.id: {*node.ctrl_deps, *node.data_deps} for node in nodes}
    successors: dict[int, list[int]] = {number: [] for number in by_id}
    for number, before in deps.items():
        for dep in before:
            successors[dep].append(number)
    ready = [number for number, before in deps.items() if not before]
    heapq.heapify(ready)
    left = len(by_id)
    while ready:
        number = heapq.heappop(ready)
        left -= 1
        yield by_id[number]
        for successor in successors[number]:
            deps[successor].discard(number)
            if not deps[successor]:
                heapq.heappush(ready, successor)
    if left:
        stuck = min(number for number, before in deps.items() if before)
        raise FileFormatError(
            f"{source}, node {stuck}, field 'data_deps': the dependencies run in a circle",
            path=source,
            field="data_deps",
        )


def _plain(node: ChakraNode, number: int, source: str, *, has_times: bool) -> EtNode:
    where = f"{source}, node {node.id} ({node.name})"
    arguments = tuple(_uses(node.inputs, f"{where}, field 'inputs'"))
    results = tuple(_uses(node.outputs, f"{where}, field 'outputs'"))
    if not (arguments or results):
        raise FileFormatError(
            f"{where}: it names no tensors ([tensor id, storage id, offset, elements, bytes of one, device]); without them "
            "nobody knows what the step keeps in memory",
            path=source,
        )
    phase = str(node.attributes.get(PHASE, Phase.FORWARD.name.lower())).upper()
    if phase not in Phase.__members__:
        raise FileFormatError(
            f"{where}, attribute {PHASE!r}: {phase.lower()!r} is no phase of a step", path=source, field=PHASE
        )
    flops = node.attributes.get("num_ops", 0)
    return EtNode(
        id=number,
        name=f"chakra.node.{node.name}",  # whatever it is called: no rule for torch's operators holds for it
        phase=Phase[phase],
        schema=None,
        arguments=arguments,
        results=results,
        duration_s=_seconds(node, where) if has_times else None,
        flops=flops if isinstance(flops, int) and 0 <= flops < _MOST_FLOPS else 0,
    )


def _call(node: ChakraNode, source: str, *, has_times: bool) -> NestedCall:
    where = f"{source}, node {node.id} ({node.name})"
    is_kernel = node.attributes.get("is_cpu_op", True) in (False, 0) and node.type == NodeType.COMP
    schema = None if is_kernel else parse_schema(str(node.attributes.get(SCHEMA, "")))
    return NestedCall(
        id=node.id,
        name=node.name,
        parent=node.ctrl_deps[0] if node.ctrl_deps else None,
        schema=schema,
        arguments=tuple(_uses(node.inputs, f"{where}, field 'inputs'")) if schema else (),
        results=tuple(_uses(node.outputs, f"{where}, field 'outputs'")) if schema else (),
        duration_s=_seconds(node, where) if has_times else None,
        values=_values(node.inputs, where) if schema else (),
        is_kernel=is_kernel,
    )


def _seconds(node: ChakraNode, where: str) -> float:
    seconds = node.attributes.get(DURATION)
    if not isinstance(seconds, float):
        return node.duration_micros / 1e6
    if not 0 <= seconds < math.inf:
        raise FileFormatError(f"{where}, attribute {DURATION!r}: {seconds} is no time", field=DURATION)
    return seconds


def _uses(io: IoInfo, where: str) -> Iterator[TensorUse]:
    if not io.values:
        return iter(())
    lists = [_literal(text, where) for text in (io.values, io.shapes, io.types)]
    return tensor_uses(lists[0], shapes=lists[1], types=lists[2], strides=None, where=where)


def _values(io: IoInfo, where: str) -> tuple[Any, ...]:
    return plain_values(_literal(io.values, where), _literal(io.types, where)) if io.values else ()


def _literal(text: str, where: str) -> list[Any]:
    """Read a list as JSON, or as Python prints it."""
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise FileFormatError(f"{where}: {text[:60]!r} is no list") from error
    if not isinstance(value, list):
        raise FileFormatError(f"{where}: {text[:60]!r} is no list")
    return value
