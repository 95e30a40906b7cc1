"""What a policy is: it looks at a Timeline and says how fast memory is to be managed while the step runs."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans import Plan


class Knowledge(Enum):
    """When a policy learns that the content of an extent is of no use any more."""

    NEVER = "never"
    """Paging hardware: dead pages are written out like living ones."""
    FREED = "freed"
    """The framework's allocator tells when it frees."""
    LAST_USE = "last use"
    """The whole step is known ahead: dead after the last read."""


class Pager(ABC):
    """Chooses victims on demand, from the past (and, for clairvoyant ones, the future) accesses it is shown."""

    @abstractmethod
    def touch(self, extent: int, access: int) -> None:
        """Extent `extent` is used by the access row `access` of the timeline, in the current slice."""

    @abstractmethod
    def gone(self, extent: int) -> None:
        """Extent `extent` holds no content any more."""

    @abstractmethod
    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose at least `pages` pages to give up, as (extent, pages), none from the extents of the current slice.

        Args:
            pages: How many are needed.
            held: Pages that each extent holds and that nobody has given up yet.
        """

    def carries(self) -> Hashable | None:
        """Return what its choices in the next step depend on, beside that step and what is in memory; None: on more."""
        return None


def take_pages(extents: Iterable[int], pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
    """Take `pages` pages, as far as they are there, from the first of `extents` on; return (extent, pages).

    >>> take_pages([2, 0], 4, held=[5, 1, 3])
    [(2, 3), (0, 1)]
    """
    chosen: list[tuple[int, int]] = []
    for extent in extents:
        if pages <= 0:
            break
        taken = min(held[extent], pages)
        pages -= taken
        chosen.append((extent, taken))
    return chosen


class FastMemory(Protocol):
    """What a prefetcher sees of fast memory."""

    live: list[bool]
    """Each extent has content that means something."""

    @property
    def keeps(self) -> Sequence[int]:
        """Pages of each extent that are there and that nobody has given up."""
        ...

    @property
    def room(self) -> int:
        """Pages that are free once what was given up has gone and what is queued has come in; may be negative."""
        ...

    def absent(self, extent: int) -> int:
        """Pages of `extent` that are neither there nor on their way in."""
        ...


class Prefetcher(Pager):
    """A pager that also acts ahead of time, on what it has learnt in the steps before.

    Misses go first: a prefetch waits for its turn, takes no room that the slice at hand needs, and is forgotten when the
    slice that it was meant for has begun without it. What dies before it is needed must not be prefetched.
    """

    @abstractmethod
    def ahead(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Slice `t` begins, its operands are there: return what to fetch meanwhile.

        Returns:
            (extent, slices from `t` to the one that needs it, at least 1), most urgent first where those are equal. What
            is there already, or has no content yet, is passed over.
        """

    @abstractmethod
    def leave(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Slice `t` is over: return what to give up before anybody needs the room, as (extent, pages)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How to manage fast memory: by a plan, by a pager, or by a plan that is only advice and a pager for what it misses."""

    timeline: Timeline
    """The step to run: the one given, or the same step as the policy sees it (paging: by address)."""
    knowledge: Knowledge
    plan: Plan | None = None
    pager: Pager | None = None
    faults: bool = False
    """Misses are hardware page faults and cost `tmtrain.machine.Paging`."""
    recompute_s: float = 0.0
    """Seconds of `timeline` that are recomputation."""
    has_flash: bool = True
    """The machine needs a flash tier at all."""


class Policy(ABC):
    """A way to manage fast memory. `name` is what results and the command line call it."""

    name: str

    @abstractmethod
    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Look at the step and decide.

        Raises:
            PolicyError: the policy has no answer for this step.
        """

    def variants(self) -> "tuple[Policy, ...]":
        """Settings of its own parameters that are worth trying; `tmtrain.simulation.try_policy` keeps the best one."""
        return (self,)
