"""A plan as what the tier is told: before which operator which part of which storage is saved, given up, fetched."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tmtrain.lower.timeline import Timeline
from tmtrain.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Some bytes of a storage, and when they are due."""

    storage: str
    """Its name in the trace."""
    first_byte: int
    end_byte: int
    due: int
    """Operators from the one before which it is begun to the one before which it should be done."""


Moves = Mapping[int, Sequence[Move]]
"""By the operator of the step before which they begin; the most urgent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What happens in each step; what is due in the next one runs on."""

    saves: Moves
    """Written early, and kept."""
    leaves: Moves
    fetches: Moves


def schedule_of(plan: Plan, timeline: Timeline, *, names: Sequence[str], num_operators: int) -> Schedule:
    """Turn a plan in slices and pages into one in operators and bytes.

    Args:
        plan: Without replays.
        timeline: The step that it was made for, its operators whole.
        names: Of the step's storages.
        num_operators: Of the step.
    """
    moves, page, extents = plan.transfers, timeline.page_bytes, timeline.extents
    kinds: tuple[dict[int, list[Move]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))

    def operator(position: int) -> int:
        """Of a slice, counted on into the next step."""
        steps, place = divmod(position, len(timeline.slices))
        return steps * num_operators + int(timeline.slices.op[place])

    columns = (
        moves.extent, moves.first_page, moves.pages, moves.write_slice, moves.written_slice, moves.leave_slice,
        moves.fetch_slice, moves.return_slice,
    )  # fmt: skip
    for extent, page_in_extent, pages, *slices in zip(*(column.tolist() for column in columns), strict=True):
        write, written, leave, fetch, back = map(operator, slices)
        first = (int(extents.first_page[extent]) + page_in_extent) * page
        storage, end = names[int(extents.storage[extent])], first + pages * page
        times = ((write, written), (leave, written), (fetch, back))
        for kind, (begin, until) in zip(kinds, times, strict=True):
            move = Move(storage=storage, first_byte=first, end_byte=end, due=max(until - begin, 0))
            kind[begin % num_operators].append(move)
    for kind in kinds:
        for moved in kind.values():
            moved.sort(key=lambda move: move.due)
    saves, leaves, fetches = kinds
    return Schedule(saves=saves, leaves=leaves, fetches=fetches)
