"""The fast tier: which pages of which extent are there, which have a valid copy on flash.

Pages of an extent leave from its front and are written from its front, so a few integers say it all. For extent e with
``pages[e]`` pages:

    held      pages in fast memory: the last `held` ones
    keeps     pages that nobody has given up: ``keeps <= held``; the difference is on its way out
    clean     pages, counted from the front, whose copy on flash is valid
    queued    like `clean`, once the queued writes are done
    arriving  pages queued to come in
    live      the content means something (to the policy's knowledge)
    version   counts contents; a write that finishes for an older content makes nothing clean

Rule 1: a page leaves only with a valid copy on flash, or when its content is dead.
Rule 2: pages in fast memory and pages reserved for arrival never exceed the capacity.
Rule 3: bytes are conserved; `Books` keeps the account.

What others hand over (pages given up, pages that arrive, pages that were written) is asserted here and where it comes from.
The sums, which are kept up page by page, are compared with the columns once a step (`Memory.check_sums`).
"""

from array import array
from collections.abc import Hashable
from dataclasses import dataclass, replace

from tmtrain.errors import PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Role


@dataclass(slots=True)
class Books:
    """Running totals in pages since the start of the simulation."""

    came_in: int = 0
    written: int = 0
    born: int = 0
    left: int = 0
    dead: int = 0


class Memory:
    """State and rules of the fast tier."""

    def __init__(self, timeline: Timeline) -> None:
        count = len(timeline.extents)
        self.pages: list[int] = timeline.extents.pages.tolist()
        self.role: list[int] = timeline.extents.role.tolist()
        self.held = [0] * count
        self.keeps = array("q", [0]) * count
        """An array, which numpy reads in one go: those who choose victims sort it at every turn."""
        self.clean = [0] * count
        self.queued = [0] * count
        self.arriving = [0] * count
        self.live = [False] * count
        self.version = [0] * count
        self.capacity = timeline.fast_pages
        self.free = self.capacity
        self._least_free = self.free
        """Since `forget_peak`."""
        self.outgoing = 0
        """Pages given up but not gone yet."""
        self.reserved = 0
        """Pages of fast memory waiting for bytes under way."""
        self.expected = 0
        """Pages queued to come in, of all extents; those reserved are among them."""
        self.held_by_role = [0] * len(Role)
        self.books = Books()
        self._start_cold(timeline)

    def _start_cold(self, timeline: Timeline) -> None:
        """Everything that the step finds at its start lies on flash, with a valid copy."""
        seen: set[int] = set()
        rows = zip(timeline.accesses.extent.tolist(), timeline.accesses.needs_content.tolist(), strict=True)
        for extent, needs_content in rows:
            if extent not in seen and needs_content:
                self.live[extent] = True
                self.clean[extent] = self.queued[extent] = self.pages[extent]
            seen.add(extent)

    def absent(self, extent: int) -> int:
        """Pages of `extent` that are neither here nor on their way in."""
        return self.pages[extent] - self.held[extent] - self.arriving[extent]

    @property
    def room(self) -> int:
        """Pages that are free once what was given up has gone and what is queued has come in; may be negative."""
        return self.free + self.outgoing + self.reserved - self.expected

    @property
    def peak_pages(self) -> int:
        """The most that was resident and reserved at once, since `forget_peak`."""
        return self.capacity - self._least_free

    def forget_peak(self) -> None:
        """Count the peak from what is there now."""
        self._least_free = self.free

    def expect(self, extent: int, pages: int) -> None:
        """So many pages of `extent` are queued to come in; fewer again where `pages` is negative."""
        self.arriving[extent] += pages
        self.expected += pages
        assert 0 <= self.arriving[extent] <= self.pages[extent] - self.held[extent], (
            "what is there cannot come in"
        )

    def hold(self, extent: int) -> None:
        """Take back what was given up of `extent` but has not left yet."""
        self.outgoing -= self.held[extent] - self.keeps[extent]
        self.keeps[extent] = self.held[extent]

    def hold_from(self, extent: int, first_page: int) -> None:
        """Take back what was given up from page `first_page` of `extent` on but has not left yet."""
        back = min(self.held[extent], self.pages[extent] - first_page) - self.keeps[extent]
        if back > 0:
            self.outgoing -= back
            self.keeps[extent] += back

    def give_up(self, extent: int, pages: int) -> int:
        """Give up `pages` more pages of `extent`; return how many of them have to be written first."""
        assert 0 <= pages <= self.keeps[extent], "only what is kept can be given up"
        self.keeps[extent] -= pages
        self.outgoing += pages
        self._release(extent)
        return self.clean_up_to(extent, self.pages[extent] - self.keeps[extent])

    def clean_up_to(self, extent: int, pages: int) -> int:
        """Ask for a valid copy of the first `pages` pages; return how many must be queued for writing."""
        missing = pages - self.queued[extent]
        if missing <= 0:
            return 0
        self.queued[extent] = pages
        return missing

    def written(self, extent: int, pages: int, version: int) -> None:
        """So many pages of that content have reached flash."""
        self.books.written += pages
        if version == self.version[extent]:
            self.clean[extent] += pages
            assert self.clean[extent] <= self.queued[extent], "written without having been queued"
            self._release(extent)

    def reserve(self, pages: int) -> None:
        """Set room aside for bytes that start to arrive."""
        self._take(pages)
        self.reserved += pages

    def arrived(self, extent: int, pages: int) -> None:
        """So many pages have come in; their room was reserved."""
        assert pages <= self.reserved, "arrived where no room was reserved"
        assert pages <= self.arriving[extent], "arrived without having been expected"
        self.reserved -= pages
        self.arriving[extent] -= pages
        self.expected -= pages
        self.books.came_in += pages
        self._add(extent, pages)

    def grow(self, extent: int) -> None:
        """Make room for all of `extent`, whose old content, if any, is about to be overwritten."""
        missing = self.pages[extent] - self.held[extent]
        self._take(missing)
        self.books.born += missing
        self._add(extent, missing)

    def overwrite(self, extent: int) -> None:
        """New content: copies on flash are stale."""
        self.version[extent] += 1
        self.clean[extent] = self.queued[extent] = 0
        self.live[extent] = True

    def free_content(self, extent: int) -> None:
        """The content is dead: the room is free at once."""
        if self.arriving[extent]:
            raise PlanRefutedError(
                f"extent {extent} dies while {self.arriving[extent]} of its pages are being fetched",
                extent=extent,
                pages=self.arriving[extent],
            )
        pages = self.held[extent]
        self.outgoing -= pages - self.keeps[extent]
        self.books.dead += pages
        self._add(extent, -pages)
        self.keeps[extent] = 0
        self.free += pages
        self.version[extent] += 1
        self.clean[extent] = self.queued[extent] = 0
        self.live[extent] = False

    def state(self) -> Hashable:
        """Return all that the next step depends on."""
        columns = (self.held, self.keeps, self.clean, self.queued, self.arriving, self.live)
        return tuple(tuple(column) for column in columns)

    def snapshot(self) -> Books:
        """Copy the books."""
        return replace(self.books)

    def held_pages(self) -> int:
        """Pages in fast memory."""
        return sum(self.held_by_role)

    def check_sums(self) -> None:
        """Assert that the running sums are those of the columns, and Rule 2."""
        held = sum(self.held)
        assert held == self.held_pages(), "resident pages by role do not add up"
        assert held + self.reserved + self.free == self.capacity, "the capacity does not add up"
        assert self.outgoing == held - sum(self.keeps), "pages on their way out do not add up"
        assert self.expected == sum(self.arriving) >= self.reserved >= 0, (
            "pages on their way in do not add up"
        )

    def _release(self, extent: int) -> None:
        # Rule 1: what was given up goes as far as flash has it.
        stays = max(self.keeps[extent], self.pages[extent] - self.clean[extent])
        going = self.held[extent] - stays
        if going > 0:
            self.outgoing -= going
            self.free += going
            self.books.left += going
            self.held[extent] = stays
            self.held_by_role[self.role[extent]] -= going

    def _take(self, pages: int) -> None:
        self.free -= pages
        assert self.free >= 0, "Rule 2: more in fast memory than it holds"
        if self.free < self._least_free:
            self._least_free = self.free

    def _add(self, extent: int, pages: int) -> None:
        self.held[extent] += pages
        self.keeps[extent] += pages
        self.held_by_role[self.role[extent]] += pages
