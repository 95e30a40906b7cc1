"""The layers of a step: modules whose forward can be computed again as a whole, and which of them are alike.

A *layer* is a numbered module (``transformer.h.3``) on the outermost level on which most modules have a twin: one that runs
the same operators on the same sizes. So the layers of GPT-2 are its blocks, and those of a ResNet are the blocks inside its
stages, which differ.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tmtrain.errors import InputError
from tmtrain.trace import Phase, Trace

UNSEEN = frozenset({"aten.detach.default", "prim.device.default"})
"""Operators that torch's selective checkpointing shows to no policy: autograd runs other numbers of them each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One module and the operators of its forward."""

    path: str
    ops: tuple[int, ...]
    """Rows of the trace's operators, in order, without `UNSEEN` ones."""
    calls: tuple[int, ...]
    """Of each of `ops`: how many operators of the same name ran before it in this forward."""
    kind: int
    """Layers of one kind run the same operators on the same sizes."""


def find_layers(trace: Trace, pattern: str | None = None) -> tuple[Layer, ...]:
    r"""Find the layers of a step, in the order in which they run.

    Args:
        trace: The step.
        pattern: Regular expression that the whole path of a layer fits; by default the rule at the top of this file.

    Raises:
        InputError: there are none, or one runs in pieces: another module runs between two of its operators.

    >>> from tmtrain.trace import example_trace
    >>> [layer.path for layer in find_layers(example_trace(), r"\d")]
    ['0', '1']
    """
    forward = np.flatnonzero(trace.operators.phase == Phase.FORWARD).tolist()
    paths: dict[str, list[int]] = defaultdict(list)
    for op in forward:
        for prefix in _prefixes(trace.operators.module[op]):
            paths[prefix].append(op)
    chosen = _matching(paths, pattern) if pattern is not None else _repeated(trace, paths)
    if not chosen:
        raise InputError(
            f"no layers in the step of {trace.model}: no numbered modules of which most have a twin; "
            'name them with --layers, a regular expression such as "encoder\\.blocks\\.\\d+"'
            if pattern is None
            else f"no module of {trace.model} that runs in forward fits {pattern!r}"
        )
    _check_whole(trace, chosen, forward)
    kinds: dict[tuple[object, ...], int] = {}
    return tuple(
        _layer(trace, path, ops, kind=kinds.setdefault(_signature(trace, ops), len(kinds)))
        for path, ops in chosen.items()
    )


def _prefixes(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _matching(paths: Mapping[str, list[int]], pattern: str) -> dict[str, list[int]]:
    try:
        fitting = [path for path in paths if re.fullmatch(pattern, path)]
    except re.error as error:
        raise InputError(f"{pattern!r} is not a regular expression: {error}") from error
    nested = [(a, b) for a in fitting for b in fitting if b.startswith(f"{a}.")]
    if nested:
        outer, inner = nested[0]
        raise InputError(
            f"{pattern!r} fits {outer!r} and {inner!r} inside it: layers must not contain one another"
        )
    return {path: paths[path] for path in fitting}


def _repeated(trace: Trace, paths: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Apply the rule at the top, separately below each module where it chooses a level."""
    levels: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if path.rpartition(".")[2].isdigit():
            levels[re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", path)].append(path)
    chosen: dict[str, list[int]] = {}
    for _, members in sorted(levels.items(), key=lambda level: level[0].count(".")):
        free = [path for path in members if not any(prefix in chosen for prefix in _prefixes(path))]
        count = Counter(_signature(trace, paths[path]) for path in free)
        if 2 * sum(number for number in count.values() if number > 1) > len(free):
            chosen |= {path: paths[path] for path in free}
    return dict(sorted(chosen.items(), key=lambda layer: layer[1][0]))


def _signature(trace: Trace, ops: list[int]) -> tuple[object, ...]:
    operators = trace.operators
    rows = [op for op in ops if operators.name[op] not in UNSEEN]
    sizes = np.stack([operators.batch, operators.m, operators.n, operators.k])[:, rows]
    return tuple(operators.name[op] for op in rows), sizes.tobytes()


def _check_whole(trace: Trace, chosen: Mapping[str, list[int]], forward: list[int]) -> None:
    position = {op: i for i, op in enumerate(forward)}
    for path, ops in chosen.items():
        inside = forward[position[ops[0]] : position[ops[-1]] + 1]
        if len(inside) != len(ops):
            other = next(op for op in inside if op not in set(ops))
            raise InputError(
                f"layer {path!r} runs in pieces: operator {other} ({trace.operators.name[other]}) of module "
                f"{trace.operators.module[other]!r} runs between two of its own; name other layers with --layers"
            )


def _layer(trace: Trace, path: str, ops: list[int], *, kind: int) -> Layer:
    rows = tuple(op for op in ops if trace.operators.name[op] not in UNSEEN)
    seen: Counter[str] = Counter()
    calls: list[int] = []
    for op in rows:
        name = trace.operators.name[op]
        calls.append(seen[name])
        seen[name] += 1
    return Layer(path=path, ops=rows, calls=tuple(calls), kind=kind)
