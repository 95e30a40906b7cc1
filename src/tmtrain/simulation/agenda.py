"""A plan slice by slice: what leaves, is written and is fetched when, and how that is asked of memory and link."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tmtrain.errors import PlanRefutedError
from tmtrain.plans import Plan
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Memory


class _Due(NamedTuple):
    """A part of a transfer that begins at some slice."""

    extent: int
    page: int
    """Where the part that leaves, or is written, ends; where the part that is fetched begins."""
    ahead: int
    """Slices until it is due."""


class Agenda:
    """The transfers of a plan; without a plan there is nothing on it.

    Raises:
        PlanRefutedError: a transfer moves pages that its extent does not have.
    """

    def __init__(self, plan: Plan | None, *, num_slices: int, pages: Sequence[int]) -> None:
        self._num_slices = num_slices
        self._leave: defaultdict[int, list[_Due]] = defaultdict(list)
        """By slice, as the next two."""
        self._write: defaultdict[int, list[_Due]] = defaultdict(list)
        self._fetch: defaultdict[int, list[_Due]] = defaultdict(list)
        self._away_at_start: dict[int, int] = {}
        """Pages of each extent that left in the step before and are fetched in this one."""
        if plan is not None:
            self._enter(plan, pages)

    def _enter(self, plan: Plan, pages: Sequence[int]) -> None:
        T = self._num_slices
        for extent, first, end, write, written, leave, fetch, back in _rows(plan):
            if not 0 <= first <= end <= pages[extent]:
                raise PlanRefutedError(
                    f"the plan moves pages {first} to {end} of extent {extent}, which has {pages[extent]}",
                    extent=extent,
                    pages=end - first,
                )
            self._leave[leave % T].append(_Due(extent, end, written - leave))
            # A plan counts on into the next step, so T // T tells in which step a transfer leaves and is fetched.
            if leave % T and leave // T < fetch // T:
                self._away_at_start[extent] = max(self._away_at_start.get(extent, 0), end)
            # What is written no earlier than it leaves is written because it leaves.
            if write < leave:
                self._write[write % T].append(_Due(extent, end, written - write))
            self._fetch[fetch % T].append(_Due(extent, first, back - fetch))

    def follow(self, t: int, now: int, *, memory: Memory, link: LinkQueues) -> None:
        """Ask for the transfers that begin at slice t, which is slice `now` over all steps."""
        for extent, end, ahead in self._leave.get(t, ()):
            if memory.live[extent]:
                away = memory.pages[extent] - memory.keeps[extent]
                unwritten = memory.give_up(extent, max(0, end - away))
                link.write(extent, unwritten, deadline=now + ahead)
        for extent, end, ahead in self._write.get(t, ()):
            if memory.live[extent]:
                link.write(extent, memory.clean_up_to(extent, end), deadline=now + ahead)
        for extent, first, ahead in self._fetch.get(t, ()):
            # What this transfer gave up and is still here needs no fetch: it stays.
            memory.hold_from(extent, first)
            missing = memory.absent(extent) - first
            if memory.live[extent] and missing > 0:
                link.fetch(extent, missing, deadline=now + ahead)

    def reconcile(self, now: int, *, first_use: dict[int, int], memory: Memory, link: LinkQueues) -> None:
        """Do what the steps before would have done for the plan that begins here: give up and fetch across their end.

        Args:
            now: The first slice under this plan, counted over all steps.
            first_use: The first slice of the step that touches each extent.
            memory: As another plan left it.
            link: Likewise.
        """
        for extent, t in first_use.items():
            if not memory.live[extent]:
                continue
            away = self._away_at_start.get(extent, 0)
            excess = memory.keeps[extent] + away - memory.pages[extent]
            lack = memory.absent(extent) - away
            if excess > 0:
                link.write(extent, memory.give_up(extent, excess), deadline=now)
            elif lack > 0:
                link.fetch(extent, lack, deadline=now + t)


def _rows(plan: Plan) -> Iterator[tuple[int, ...]]:
    """Yield of each transfer: extent, first and end page, and the slices of its write, leave and fetch."""
    moves = plan.transfers
    columns = (
        moves.extent,
        moves.first_page,
        moves.first_page + moves.pages,
        moves.write_slice,
        moves.written_slice,
        moves.leave_slice,
        moves.fetch_slice,
        moves.return_slice,
    )
    return zip(*(column.tolist() for column in columns), strict=True)
