"""Traces from a few words: what a policy, an export or a lowering of your own is tested with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tmtrain.errors import InputError
from tmtrain.testing.timelines import NEEDS, WRITES
from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import OperandRow, operands_from_rows

_ITEM_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """One word: what one operator does to one storage."""

    op: int
    storage: str
    how: str


def make_trace(
    operators: Sequence[str],
    *,
    sizes: Mapping[str, int],
    phases: Sequence[Phase] | None = None,
    roles: Mapping[str, Role] | None = None,
) -> Trace:
    """Build the trace of a step, each operator a text of ``STORAGE:HOW`` words, with HOW as for `make_timeline`.

    Tensors are one-dimensional, of fp32, and fill their storage. Operators are pointwise. A storage whose first use is
    ``new`` is born there and dies after its last use; all others outlive the step.

    Args:
        operators: What each operator touches.
        sizes: Bytes of each storage, a multiple of 4.
        phases: Of each operator; `Phase.FORWARD` by default.
        roles: Of storages; by default parameters outlive the step and activations do not.

    Raises:
        InputError: a word that is no use of a storage.

    >>> trace = make_trace(["w:r h:new", "h:r w:rw"], sizes={"w": 8192, "h": 4096})
    >>> trace.storages.persistent.tolist(), trace.storages.death_op.tolist()
    ([True, False], [2, 2])
    >>> from tmtrain import load_machine, lower
    >>> timeline = lower(trace, machine=load_machine("v4-slc"), fast_bytes=3 * 4096)
    >>> len(timeline.operator_names), int(timeline.extents.pages.sum())
    (2, 3)
    """
    uses = [_parse(word, op, sizes) for op, text in enumerate(operators) for word in text.split()]
    return Trace(
        model="made by hand",
        samples=1,
        options={},
        storages=_storages(uses, sizes, roles or {}, num_operators=len(operators)),
        operators=_operators([Phase.FORWARD] * len(operators) if phases is None else phases),
        operands=operands_from_rows(_rows(uses, sizes)),
    )


def _parse(word: str, op: int, sizes: Mapping[str, int]) -> _Use:
    name, _, how = word.rpartition(":")
    if how not in NEEDS or name not in sizes:
        raise InputError(f"{word!r}: write STORAGE:HOW, a storage of `sizes` and one of {', '.join(NEEDS)}")
    if sizes[name] % _ITEM_BYTES:
        raise InputError(
            f"{name} has {sizes[name]} bytes: a multiple of {_ITEM_BYTES} is needed, for numbers of fp32"
        )
    return _Use(op=op, storage=name, how=how)


def _storages(
    uses: Sequence[_Use], sizes: Mapping[str, int], roles: Mapping[str, Role], *, num_operators: int
) -> Storages:
    first = {use.storage: use for use in reversed(uses)}
    last = {use.storage: use for use in uses}
    persistent = [name not in first or first[name].how != "new" for name in sizes]
    names = list(zip(sizes, persistent, strict=True))
    return Storages(
        name=tuple(sizes),
        bytes=np.array(list(sizes.values()), np.int64),
        dtype=("float32",) * len(sizes),
        role=np.array(
            [roles.get(name, Role.PARAMETER if stays else Role.ACTIVATION) for name, stays in names], np.int8
        ),
        persistent=np.array(persistent, np.bool_),
        birth_op=np.array([0 if stays else first[name].op for name, stays in names], np.int32),
        death_op=np.array([num_operators if stays else last[name].op + 1 for name, stays in names], np.int32),
        module=("",) * len(sizes),
    )


def _operators(phases: Sequence[Phase]) -> Operators:
    count = len(phases)
    none = np.zeros(count, np.int64)
    return Operators(
        name=tuple(f"aten.made{t}.default" for t in range(count)),
        module=("",) * count,
        phase=np.array(phases, np.int8),
        flops=none,
        batch=none.copy(),
        m=none.copy(),
        n=none.copy(),
        k=none.copy(),
        is_view=np.zeros(count, np.bool_),
        is_pointwise=np.ones(count, np.bool_),
        is_random=np.zeros(count, np.bool_),
    )


def _rows(uses: Sequence[_Use], sizes: Mapping[str, int]) -> list[OperandRow]:
    numbers = {name: number for number, name in enumerate(sizes)}
    rows: list[OperandRow] = []
    for use in uses:
        is_result = use.how == "new"
        mine = [row for row in rows if row.op == use.op and (row.position >= Operands.RESULT) == is_result]
        rows.append(
            OperandRow(
                op=use.op,
                position=len(mine) + (Operands.RESULT if is_result else 0),
                item=0,
                storage=numbers[use.storage],
                reads=NEEDS[use.how],
                writes=WRITES[use.how],
                allocates=is_result,
                offset_bytes=0,
                span_bytes=sizes[use.storage],
                itemsize=_ITEM_BYTES,
                shape=(sizes[use.storage] // _ITEM_BYTES,),
                stride=(1,),
            )
        )
    return sorted(rows)
