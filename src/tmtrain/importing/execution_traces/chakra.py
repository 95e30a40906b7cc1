"""Chakra execution traces as operators.

Two kinds of files are read. Those converted from PyTorch carry torch's schemas, and calls nest by their control
dependencies: they are read like torch's own traces, with the times of the kernels below each operator. In all others every
COMP node is an operator that reads its inputs and writes its outputs.

MEM_LOAD and MEM_STORE nodes are somebody's plan of where data is. That is for ours to decide, so they are left out. COMM
nodes are operators of this rank.

Note [Pruned nodes]: The converter from PyTorch leaves nodes out and keeps the dependencies on them. Calls then lie at the
top, and numbers, which grow with time, say what dependencies no longer do. In other files a dependency on a node that is
not there is left out where all dependencies point to smaller numbers: then numbers are an order. Else the order is lost.

Note [Parts of an operator]: The converter splits an operator at the kernels that it starts, "aten::add(0)", "aten::add(1)",
and a kernel depends on the part that started it, whatever it is called to be in.
"""

import ast
import heapq
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.execution_traces.aten import parse_schema
from tmtrain.importing.execution_traces.calls import note_of, operators_of, thread_of
from tmtrain.importing.execution_traces.chakra_file import ChakraNode, IoInfo, NodeType
from tmtrain.importing.execution_traces.communication import RECORD, Communication, group_of, kind_of
from tmtrain.importing.execution_traces.node import EtNode, TensorUse, bytes_of, plain_values, tensor_uses
from tmtrain.importing.execution_traces.steps import ChosenStep
from tmtrain.importing.execution_traces.tree import NestedCall
from tmtrain.trace import Phase

DURATION, PHASE, SCHEMA = "duration_s", "phase", "op_schema"
"""Attributes of a node: seconds, finer than the format's microseconds; phase of the step; torch's schema."""
MODEL, SAMPLES = "model", "samples"
"""Attributes of a file's metadata."""
_COMM = (NodeType.COMM_SEND, NodeType.COMM_RECV, NodeType.COMM_COLL)
_LEFT_OUT = (NodeType.INVALID, NodeType.METADATA, NodeType.MEM_LOAD, NodeType.MEM_STORE)
_MOST_FLOPS = 1 << 62
_PART = re.compile(r"^(?P<name>.*)\(\d+\)$")


def nodes_of_chakra(nodes: Sequence[ChakraNode], *, source: str, step: int | None = None) -> ChosenStep:
    """Return the operators of one step among a file's nodes, in an order that keeps all dependencies.

    Raises:
        InputError: nodes that are no computation; no such step.
        FileFormatError: dependencies that say no order; a node without tensors; no operator.
    """
    _check(nodes, source)
    has_schemas = any(SCHEMA in node.attributes for node in nodes)
    has_times = any(node.duration_micros or DURATION in node.attributes for node in nodes)
    if has_schemas:
        calls = [_call(node, source, has_times=has_times) for node in _joined(nodes)]
        return operators_of(calls, source=source, step=step)
    if step not in (None, 1):
        raise InputError(
            f"{source}: --step {step} is asked for, but the file has no marks of steps: it is taken as one"
        )
    ordered = [
        node for node in _in_order(_resolved(nodes, source), source) if node.type in (NodeType.COMP, *_COMM)
    ]
    if not ordered:
        raise FileFormatError(f"{source}: no COMP node: there is nothing to simulate", path=source)
    return ChosenStep(
        nodes=tuple(_plain(node, number, source, has_times=has_times) for number, node in enumerate(ordered))
    )


def _check(nodes: Sequence[ChakraNode], source: str) -> None:
    seen: set[int] = set()
    for node in nodes:
        where = f"{source}, node {node.id} ({node.name})"
        if node.id in seen:
            raise FileFormatError(
                f"{where}, field 'id': two nodes have the same one", path=source, field="id"
            )
        seen.add(node.id)
        if node.type not in (*_LEFT_OUT, *_COMM, NodeType.COMP):
            raise InputError(
                f"{where}: a {node.type.name} node, which is no part of a training step's computation: leave it out"
            )


def _joined(nodes: Sequence[ChakraNode]) -> Iterator[ChakraNode]:
    """Yield nodes with the parts of an operator as one, and kernels in what started them; Note [Parts of an operator]."""
    first: dict[tuple[str, Any], ChakraNode] = {}
    whole = {node.id: node.id for node in nodes}
    micros: dict[int, int] = {}
    for node in sorted(nodes, key=lambda node: node.id):
        part = _PART.match(node.name)
        if part is not None and SCHEMA in node.attributes and "rf_id" in node.attributes:
            key = (part["name"], node.attributes["rf_id"])
            whole[node.id] = first.setdefault(key, node).id
            micros[whole[node.id]] = micros.get(whole[node.id], 0) + node.duration_micros
    starters = {node.id for node in nodes if node.attributes.get(SCHEMA)}
    for node in nodes:
        if whole[node.id] != node.id:
            continue
        starts = [dep for dep in node.data_deps if dep in starters and dep < node.id]
        if _is_kernel(node) and starts:
            yield replace(node, ctrl_deps=(whole[max(starts)],))
        else:
            yield replace(node, duration_micros=micros.get(node.id, node.duration_micros))


def _resolved(nodes: Sequence[ChakraNode], source: str) -> list[ChakraNode]:
    """Return nodes without the dependencies on what is not there; Note [Pruned nodes]."""
    numbers = {node.id for node in nodes}
    missing = [
        (node, dep) for node in nodes for dep in (*node.ctrl_deps, *node.data_deps) if dep not in numbers
    ]
    if not missing:
        return list(nodes)
    for node in nodes:
        ahead = [dep for dep in (*node.ctrl_deps, *node.data_deps) if dep >= node.id]
        if ahead:
            lost, dep = missing[0]
            raise FileFormatError(
                f"{source}, node {lost.id} ({lost.name}), field 'data_deps': it depends on node {dep}, which is not "
                f"there, and numbers do not say the order: node {node.id} depends on node {ahead[0]}. Was the file cut "
                "off? Convert it again without pruning",
                path=source,
                field="data_deps",
            )
    return [
        replace(
            node,
            ctrl_deps=tuple(dep for dep in node.ctrl_deps if dep in numbers),
            data_deps=tuple(dep for dep in node.data_deps if dep in numbers),
        )
        for node in sorted(nodes, key=lambda node: node.id)
    ]


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
    communication = _communication(node, arguments, results)
    if not (arguments or results or communication):
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
        # Whatever it is called: no rule for torch's operators holds for it.
        name=f"chakra.node.{node.name}" if communication is None else communication.name,
        phase=Phase[phase],
        schema=None,
        arguments=arguments,
        results=results,
        duration_s=_seconds(node, where) if has_times else None,
        flops=flops if isinstance(flops, int) and 0 <= flops < _MOST_FLOPS else 0,
        communication=communication,
    )


def _communication(
    node: ChakraNode, arguments: Sequence[TensorUse], results: Sequence[TensorUse]
) -> Communication | None:
    """Return what a COMM node says of itself; None for other nodes."""
    if node.type not in _COMM:
        return None
    size, kind = node.attributes.get("comm_size"), node.attributes.get("comm_type")
    points = {NodeType.COMM_SEND: "send", NodeType.COMM_RECV: "recv"}
    return Communication(
        kind=points.get(node.type) or kind_of(node.name if kind is None else kind),
        group=group_of(node.attributes),
        bytes=size if isinstance(size, int) else bytes_of(arguments or results),
    )


def _call(node: ChakraNode, source: str, *, has_times: bool) -> NestedCall:
    where = f"{source}, node {node.id} ({node.name})"
    is_kernel = _is_kernel(node)
    schema = None if is_kernel else parse_schema(str(node.attributes.get(SCHEMA, "")))
    has_tensors = schema is not None or node.type in _COMM
    arguments = tuple(_uses(node.inputs, f"{where}, field 'inputs'")) if has_tensors else ()
    results = tuple(_uses(node.outputs, f"{where}, field 'outputs'")) if has_tensors else ()
    # The values of a collective's arguments name its group; those of the graph's own nodes are attributes.
    values = _literal(node.inputs.values, where) if node.name == RECORD and node.inputs.values else []
    note = note_of(node.name, node.attributes, values, arguments or results)
    return NestedCall(
        id=node.id,
        name=node.name,
        parent=node.ctrl_deps[0] if node.ctrl_deps else None,
        schema=schema,
        arguments=arguments,
        results=results,
        duration_s=_seconds(node, where) if has_times else None,
        values=_values(node.inputs, where) if schema else (),
        is_kernel=is_kernel,
        thread=thread_of(node.attributes),
        communication=note or (_communication(node, arguments, results) if is_kernel else None),
    )


def _is_kernel(node: ChakraNode) -> bool:
    return node.attributes.get("is_cpu_op", True) in (False, 0) and node.type in (NodeType.COMP, *_COMM)


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
