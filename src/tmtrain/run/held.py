"""Dead content that the program still holds: gradients between ``optimizer.step()`` and ``zero_grad()``, for one.

The plan takes its room as free. The run must not: the step might turn out to be another one, which reads it. So where the
plan's own content leaves no room for it, it is written, and nobody ever reads it back.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower import Timeline
from tmtrain.run.stream import Stream


def held_bytes_out(stream: Stream, timeline: Timeline, *, taken_bytes: NDArray[np.int64]) -> int:
    """Return what a step writes of such content, while its plan is followed.

    Args:
        stream: The step as it ran.
        timeline: The same, as planned.
        taken_bytes: Of fast memory by the plan in each slice, transfers under way included, shape (T,).
    """
    taken = np.zeros(stream.num_operators, np.int64)
    np.maximum.at(taken, timeline.slices.op, taken_bytes)
    dies, freed = _held(stream)
    return squeezed_out((timeline.fast_bytes - taken).tolist(), dies=dies, freed=freed)


def squeezed_out(
    rooms: Iterable[int], *, dies: Mapping[int, Mapping[str, int]], freed: Mapping[int, Sequence[str]]
) -> int:
    """Return the bytes that find no room, the oldest first, and once only.

    Args:
        rooms: For them, while each operator runs.
        dies: Bytes of what is of no use any more after an operator, by name.
        freed: What is given up by the program before an operator.

    >>> squeezed_out([9, 4, 5, 0], dies={0: {"a": 3}, 1: {"b": 4}}, freed={3: ["a", "b"]})
    2
    """
    present: dict[str, int] = {}
    written = 0
    for op, room in enumerate(rooms):
        for name in freed.get(op, ()):
            present.pop(name, None)
        short = sum(present.values()) - room
        for name in present:
            goes = max(0, min(short, present[name]))
            present[name] -= goes
            written += goes
            short -= goes
        present |= dies.get(op, {})
    return written


def _held(stream: Stream) -> tuple[dict[int, dict[str, int]], dict[int, list[str]]]:
    storages = stream.trace.storages
    dies: dict[int, dict[str, int]] = defaultdict(dict)
    freed: dict[int, list[str]] = defaultdict(list)
    for name, size, death in zip(
        storages.name, storages.bytes.tolist(), storages.death_op.tolist(), strict=True
    ):
        uses = stream.uses.get(name, ())
        if uses and name not in stream.remains and death > uses[-1] + 1:
            dies[uses[-1]][name] = size
            freed[death].append(name)
    return dies, freed
