"""What ``tmtrain capture`` tells about a trace."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tmtrain.counting import uncounted_operators
from tmtrain.lowering.cost import operator_bytes
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.trace import Role, Trace
from tmtrain.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UncountedOperator:
    """An operator whose FLOPs nobody knows: `work` lacks them, and the machine's model takes it for vector work."""

    name: str
    touched_bytes: int
    """By all calls together."""
    calls: int

    def __str__(self) -> str:
        """Return what there is to know of it."""
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{self.name} ({format_bytes(self.touched_bytes)} touched, {calls})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """A step in a few numbers."""

    model: str
    samples: int
    """In the batch of one step."""
    options: dict[str, object]
    operators: int
    storages: int
    parameters: int
    """Numbers in the storages of parameters, trained or not."""
    flops: int
    """Of one step; multiply and add count 1 each."""
    footprint_bytes: int
    peak_operator: str
    """While it runs, most bytes are alive."""
    footprint_by_role_bytes: dict[str, int]
    """Alive at the peak; sums to the footprint."""
    uncounted: tuple[UncountedOperator, ...] = ()
    """Operators without a FLOP formula that may do much; those that touch most come first."""
    out: str | None = None
    """Where the trace was written."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        yield "samples", f"{self.samples:,}"
        yield "parameters", quantity(self.parameters, "")
        yield "operators", f"{self.operators:,}"
        yield "storages", f"{self.storages:,}"
        yield "work", quantity(self.flops, "FLOP")
        for operator in self.uncounted:
            yield "no FLOP formula", f"{operator}; --calibration takes measured seconds of it"
        yield "footprint", f"{format_bytes(self.footprint_bytes)} at its peak, in {self.peak_operator}"
        for role, size in self.footprint_by_role_bytes.items():
            yield f"  {role}", f"{format_bytes(size)} ({percent(size / self.footprint_bytes)})"
        yield (
            "options",
            ", ".join(f"{key} {value}" for key, value in self.options.items() if value is not None),
        )
        if self.out is not None:
            yield "trace", self.out


def summarise_trace(trace: Trace, *, out: str | None = None) -> TraceSummary:
    """Sum up a trace.

    >>> from tmtrain.trace import example_trace
    >>> summary = summarise_trace(example_trace())
    >>> summary.parameters, summary.footprint_by_role_bytes["parameter"]
    (1024, 4096)
    """
    peak = int(np.argmax(trace.live_bytes()))
    return TraceSummary(
        model=trace.model,
        samples=trace.samples,
        options=trace.options,
        operators=len(trace.operators),
        storages=len(trace.storages),
        parameters=_parameters(trace),
        flops=int(trace.operators.flops.sum()),
        footprint_bytes=trace.footprint_bytes,
        peak_operator=trace.operators.name[peak],
        footprint_by_role_bytes=_bytes_by_role(trace, peak),
        uncounted=_uncounted(trace),
        out=out,
    )


def _uncounted(trace: Trace) -> tuple[UncountedOperator, ...]:
    touched_bytes = operator_bytes(trace)
    operators = [
        UncountedOperator(name=name, touched_bytes=int(touched_bytes[ops].sum()), calls=len(ops))
        for name, ops in uncounted_operators(trace).items()
    ]
    return tuple(sorted(operators, key=lambda operator: -operator.touched_bytes))


def _bytes_by_role(trace: Trace, op: int) -> dict[str, int]:
    """Bytes alive while operator `op` runs, largest role first."""
    s = trace.storages
    wraps = (s.death_op <= s.birth_op) & ~s.persistent
    alive = np.where(wraps, (s.birth_op <= op) | (op < s.death_op), (s.birth_op <= op) & (op < s.death_op))
    sizes = {role.name.lower(): int(s.bytes[alive & (s.role == role)].sum()) for role in Role}
    return dict(sorted(((role, size) for role, size in sizes.items() if size), key=lambda pair: -pair[1]))


def _parameters(trace: Trace) -> int:
    s = trace.storages
    rows = np.flatnonzero(s.role == Role.PARAMETER).tolist()
    return sum(int(s.bytes[i]) * 8 // _bits(s.dtype[i]) for i in rows)


def _bits(dtype: str) -> int:
    """Bits of an element, from torch's name of its type: "bfloat16" has 16."""
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 8
