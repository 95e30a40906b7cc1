"""A fast tier that keeps book of every single page, beside the engine's few integers per extent.

The engine's memory knows how many pages of an extent are here or have a copy on flash. The shadow knows which ones, and
which content each page of both tiers holds. So losing a page, reading a stale one or filling memory twice is an assertion.
"""

from tmtrain.lowering.timeline import Timeline
from tmtrain.simulation.engine import Engine
from tmtrain.simulation.memory import Memory

UNWRITTEN = -1
"""In fast memory, to be overwritten: holds nothing yet."""


class ShadowMemory(Memory):
    """`Memory`, with the content of every page in both tiers: the number of the version, None where there is nothing."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self.fast: list[list[int | None]] = [[None] * pages for pages in self.pages]
        self.flash: list[list[int | None]] = [
            [0 if live else None] * pages for pages, live in zip(self.pages, self.live, strict=True)
        ]

    def written(self, extent: int, pages: int, version: int) -> None:
        """Copy the next pages to flash, if they still mean something."""
        if version == self.version[extent]:
            done = self.clean[extent]
            assert self.fast[extent][done : done + pages] == [version] * pages, "written from where it is not"
            self.flash[extent][done : done + pages] = [version] * pages
        super().written(extent, pages, version)
        self._check_room()

    def reserve(self, pages: int) -> None:
        """Set room aside."""
        super().reserve(pages)
        self._check_room()

    def arrived(self, extent: int, pages: int) -> None:
        """Copy from flash what lies before the pages that are here."""
        end = self.pages[extent] - self.held[extent]
        content = self.flash[extent][end - pages : end]
        assert content == [self.version[extent]] * pages, "flash returns what is stale"
        assert self.fast[extent][end - pages : end] == [None] * pages, "fetched what was there"
        self.fast[extent][end - pages : end] = content
        super().arrived(extent, pages)
        self._check_room()

    def grow(self, extent: int) -> None:
        """Make room, holding nothing yet."""
        self.fast[extent] = [UNWRITTEN if page is None else page for page in self.fast[extent]]
        super().grow(extent)
        self._check_room()

    def overwrite(self, extent: int) -> None:
        """All of the extent holds the new content, and flash holds none of it."""
        super().overwrite(extent)
        assert None not in self.fast[extent], "written to where there is no room"
        self.fast[extent] = [self.version[extent]] * self.pages[extent]
        self.flash[extent] = [None] * self.pages[extent]

    def free_content(self, extent: int) -> None:
        """Nothing is left."""
        super().free_content(extent)
        self.fast[extent] = [None] * self.pages[extent]
        self.flash[extent] = [None] * self.pages[extent]
        self._check_room()

    def _release(self, extent: int) -> None:
        before = self.pages[extent] - self.held[extent]
        super()._release(extent)
        after = self.pages[extent] - self.held[extent]
        gone = slice(before, after)
        assert self.flash[extent][gone] == [self.version[extent]] * (after - before), "lost: no valid copy"
        self.fast[extent][gone] = [None] * (after - before)

    def _check_room(self) -> None:
        here = sum(page is not None for extent in self.fast for page in extent)
        assert here == sum(self.held) == self.held_pages()
        assert here + self.reserved + self.free == self.capacity
        assert self.free >= 0, "more in fast memory than it holds"


class ShadowedEngine(Engine):
    """`Engine` on a `ShadowMemory` that looks at the operands of every slice when the slice ends."""

    memory: ShadowMemory

    def _finish(self, t: int) -> None:
        accesses, memory = self._accesses, self.memory
        for row in range(accesses.ptr[t], accesses.ptr[t + 1]):
            extent = accesses.extent[row]
            assert None not in memory.fast[extent], f"slice {t} ran without all of extent {extent}"
            assert memory.keeps[extent] == memory.pages[extent], f"extent {extent} may leave while used"
            if accesses.needs_content[row]:
                assert set(memory.fast[extent]) == {memory.version[extent]}, f"slice {t} read what is stale"
        super()._finish(t)
