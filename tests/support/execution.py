"""Run the slices of a `RowStep` on numbers, as they stand in a Timeline: one number per page, NaN where nothing is left.

A slice sees the pages that it touches and no others. What it makes of a row depends on the same row of all that its
operator reads; a random operator draws by row from a counter. Content that the Timeline calls dead is wiped out.
"""

from dataclasses import dataclass

import numpy as np

from tests.support.gaps import touches
from tests.support.row_steps import RowStep
from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What backward computed."""

    gradients: dict[str, FloatArray]
    """The pages of everything that backward makes, when they were made."""
    operators: list[int]
    """That ran, slice by slice."""


def execute(step: RowStep, timeline: Timeline) -> Executed:
    """Run one step."""
    names = list(step.pages)
    memory = {name: np.full(step.pages[name], np.nan) for name in names}
    for i, name in enumerate(step.inputs):
        memory[name] = np.sin(np.arange(step.pages[name]) + i)
    extents = timeline.extents
    gradients = {name: np.full(step.pages[name], np.nan) for name in names}
    for t, accesses in enumerate(touches(timeline)):
        number = int(timeline.slices.op[t])
        visible: dict[str, np.ndarray] = {}
        written: dict[str, np.ndarray] = {}
        for extent, (needs, writes) in accesses.items():
            name = names[extents.storage[extent]]
            run = slice(
                int(extents.first_page[extent]), int(extents.first_page[extent] + extents.pages[extent])
            )
            content = visible.setdefault(name, np.full(step.pages[name], np.nan))
            if needs:
                content[run] = memory[name][run]
                assert not np.isnan(content[run]).any(), f"slice {t} needs {name}{run}, whose content is gone"
            if writes:
                written.setdefault(name, np.zeros(step.pages[name], bool))[run] = True
        for name, pages in written.items():
            result = _compute(step, number, name, visible)
            assert not np.isnan(result[pages]).any(), f"slice {t} makes {name} from what it does not see"
            memory[name][pages] = result[pages]
            if step.ops[number].phase == Phase.BACKWARD:
                gradients[name][pages] = result[pages]
        _wipe(timeline, t, memory, names)
    made = {name for op in step.ops if op.phase == Phase.BACKWARD for name in op.makes}
    return Executed(gradients={name: gradients[name] for name in made}, operators=timeline.slices.op.tolist())


def _compute(step: RowStep, number: int, name: str, visible: dict[str, np.ndarray]) -> np.ndarray:
    """Every page of `name`, as far as the visible pages of the same rows allow; NaN elsewhere."""
    op = step.ops[number]
    result = np.empty(step.pages[name])
    for row in range(step.rows):
        total = 0.1 * number + (np.random.default_rng((number, row)).random() if op.random else 0.0)
        for source in (*op.reads, *op.updates):
            total += np.sum(_row(step, source, visible.get(source, np.full(step.pages[source], np.nan)), row))
        pages = _row(step, name, result, row)
        pages[:] = np.cos(total + np.arange(len(pages)))
    return result


def _row(step: RowStep, name: str, pages: np.ndarray, row: int) -> np.ndarray:
    each = step.pages[name] // step.rows
    return pages[row * each : (row + 1) * each]


def _wipe(timeline: Timeline, t: int, memory: dict[str, np.ndarray], names: list[str]) -> None:
    access, extents = timeline.accesses, timeline.extents
    for row in range(int(access.ptr[t]), int(access.ptr[t + 1])):
        if access.next_slice[row] < 0:
            _clear(extents, int(access.extent[row]), memory, names)
    for extent in timeline.frees.extent[timeline.frees.ptr[t] : timeline.frees.ptr[t + 1]].tolist():
        _clear(extents, extent, memory, names)


def _clear(extents: object, extent: int, memory: dict[str, np.ndarray], names: list[str]) -> None:
    first = int(extents.first_page[extent])
    memory[names[extents.storage[extent]]][first : first + int(extents.pages[extent])] = np.nan
