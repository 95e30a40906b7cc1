"""Tiny steps with activations of a few rows, as Traces: forward makes them from one another, backward reads them again.

Every operator works row by row, and (lowered whole, pages of 64 KiB) is one slice; so slices and operators have the same
numbers, and a step can be read off its `RowStep` alone.
"""

import random
from dataclasses import dataclass, replace

import numpy as np

from tests.support.machines import toy_machine
from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import OperandRow, operands_from_rows

PAGE = 65536
_ITEM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Reads, makes (one or more new storages), works on in place."""

    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    phase: Phase = Phase.FORWARD
    random: bool = False

    @property
    def touches(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.reads, *self.makes, *self.updates)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStep:
    """Operators in order; whatever none of them makes is an input that persists."""

    rows: int
    ops: tuple[Op, ...]
    pages: dict[str, int]
    """Multiples of `rows`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What no operator makes."""
        made = {name for op in self.ops for name in op.makes}
        return tuple(name for name in self.pages if name not in made)

    def uses(self, name: str) -> list[int]:
        """Operators that touch a storage."""
        return [i for i, op in enumerate(self.ops) if name in op.touches]

    def most_touched(self) -> int:
        """Pages that the largest operator touches."""
        return max(sum(self.pages[name] for name in op.touches) for op in self.ops)


def random_step(seed: int) -> RowStep:
    """Make a step of 3 to 6 forward operators: chains, branches, works in place, a random operator, inputs read late."""
    rng = random.Random(seed)
    rows = rng.choice((2, 3, 4))
    pages, ops = {"x": rows * rng.randint(1, 2)}, []
    names: list[str] = []
    for i in range(rng.randint(3, 6)):
        known = ["x", *names] if i < 2 or rng.random() < 0.2 else names
        reads = tuple(dict.fromkeys([names[-1] if names else "x", *rng.sample(known, 1)]))
        made = tuple(f"s{i}{letter}" for letter in ("ab" if rng.random() < 0.15 else "a"))
        pages |= {name: rows * rng.randint(1, 3) for name in made}
        ops.append(Op(reads=reads[: rng.randint(1, 2)], makes=made, random=rng.random() < 0.2))
        if rng.random() < 0.2:
            ops.append(Op(updates=(made[0],)))
        names += made
    ops[-1] = replace(ops[-1], phase=Phase.LOSS) if rng.random() < 0.5 else ops[-1]
    saved = [name for name in names if rng.random() < 0.75]
    order = sorted(saved, key=lambda name: -names.index(name))
    if rng.random() < 0.2 and len(order) > 1:
        i = rng.randrange(len(order) - 1)
        order[i], order[i + 1] = order[i + 1], order[i]
    gradient = ""
    for i, name in enumerate(order or names[-1:]):
        again = (rng.choice(order),) if order and rng.random() < 0.2 else ()
        late = ("x",) if rng.random() < 0.15 else ()
        reads = tuple(dict.fromkeys((*((gradient,) if gradient else ()), name, *again, *late)))
        gradient = f"g{i}"
        pages[gradient] = rows
        ops.append(Op(reads=reads, makes=(gradient,), phase=Phase.BACKWARD))
    return RowStep(rows=rows, ops=tuple(ops), pages=pages)


def trace_of(step: RowStep) -> Trace:
    """Write a step down as a Trace of row-wise operators on matrices of `rows` rows."""
    names = list(step.pages)
    rows: list[OperandRow] = []
    for number, op in enumerate(step.ops):
        results = 0
        for position, name in enumerate(op.touches):
            new = name in op.makes
            columns = step.pages[name] * PAGE // _ITEM // step.rows
            place = Operands.RESULT + results if new else position
            results += new
            rows.append(
                OperandRow(
                    number,
                    place,
                    0,
                    names.index(name),
                    not new,
                    new or name in op.updates,
                    new,
                    0,
                    step.pages[name] * PAGE,
                    _ITEM,
                    (step.rows, columns),
                    (columns, 1),
                )
            )
    count, zeros = len(step.ops), np.zeros(len(step.ops), np.int64)
    inputs = [name in step.inputs for name in names]
    births = [0 if outside else step.uses(name)[0] for name, outside in zip(names, inputs, strict=True)]
    deaths = [
        count if outside else step.uses(name)[-1] + 1 for name, outside in zip(names, inputs, strict=True)
    ]
    return Trace(
        model="rows",
        samples=step.rows,
        options={},
        storages=Storages(
            name=tuple(names),
            bytes=np.array([step.pages[n] * PAGE for n in names], np.int64),
            dtype=("float32",) * len(names),
            role=np.array([Role.INPUT if outside else Role.ACTIVATION for outside in inputs], np.int8),
            persistent=np.array(inputs),
            birth_op=np.array(births, np.int32),
            death_op=np.array(deaths, np.int32),
            module=("",) * len(names),
        ),
        operators=Operators(
            name=tuple(
                "aten.native_dropout.default" if op.random else "aten._softmax.default" for op in step.ops
            ),
            module=("",) * count,
            phase=np.array([op.phase for op in step.ops], np.int8),
            flops=zeros,
            batch=zeros,
            m=zeros,
            n=zeros,
            k=zeros,
            is_view=np.zeros(count, bool),
            is_pointwise=np.zeros(count, bool),
            is_random=np.array([op.random for op in step.ops]),
        ),
        operands=operands_from_rows(rows),
    )


def row_machine(*, seed: int = 0, pages_per_s: float = 1e9) -> Machine:
    """Make a machine on which a page takes about a second to compute on, and moving and computing cost alike."""
    rng = np.random.default_rng(seed)
    machine = toy_machine(
        read_bytes_per_s=pages_per_s * PAGE,
        write_bytes_per_s=pages_per_s * PAGE * rng.uniform(0.3, 1),
        shared_bytes_per_s=pages_per_s * PAGE * rng.uniform(1, 1.3),
        read_j_per_byte=rng.uniform(0.3, 1) / PAGE,
        write_j_per_byte=rng.uniform(0.3, 3) / PAGE,
        static_power_w=rng.uniform(0, 0.5),
        page_bytes=PAGE,
    )
    compute = replace(
        machine.compute,
        vector_ops_per_s=PAGE / _ITEM,
        vector_energy_j_per_op=rng.uniform(0.02, 0.6) / (PAGE / _ITEM),
    )
    return replace(machine, compute=compute)


def lowered(step: RowStep, *, machine: Machine, spare_pages: int, slice_share: float = 1.0) -> Timeline:
    """Lay a step on fast memory with so many pages more than its largest operator touches; whole operators by default."""
    fast = (step.most_touched() + spare_pages) * PAGE
    return lower(trace_of(step), machine=machine, fast_bytes=fast, slice_share=slice_share)


IDLE_STEP = RowStep(
    rows=2,
    ops=(
        Op(reads=("x",), makes=("a",)),
        Op(makes=("t",)),
        Op(reads=("t",), makes=("u",)),
        Op(reads=("a",), makes=("g",), phase=Phase.BACKWARD),
    ),
    pages={"x": 2, "a": 2, "t": 4, "u": 2, "g": 2},
)
"""a (2 pages) is made from x (2 pages, always there), idle while t and u (6 pages) are worked on, and read in backward."""
