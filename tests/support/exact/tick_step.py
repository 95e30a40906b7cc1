"""A tiny step whose times are whole ticks, as the search sees it, and the same one as a Timeline and a Machine."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.testing import make_timeline, toy_machine

PAGE = 4096
NEEDS = {"r": True, "rw": True, "w": False}
"""What an access needs: that the content is there."""
WRITES = {"r": False, "rw": True, "w": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class TickStep:
    """A cyclic step; a tick is a second, extents are numbers."""

    pages: tuple[int, ...]
    """Of each extent."""
    touched: tuple[Mapping[int, str], ...]
    """By slice: extent -> how ("r", "rw", "w")."""
    ticks: tuple[int, ...]
    """Of each slice."""
    fast_pages: int
    read_ticks: int
    """Of a page."""
    write_ticks: int
    read_latency: int
    """Ticks before the first page of a stretch of reads flows."""
    write_latency: int
    half_duplex: bool = False
    """The channel carries one direction at a time; reads and writes are equally fast then."""
    watts: float = 0.0
    read_j: float = 0.0
    """Of a page."""
    write_j: float = 0.0

    def is_alive(self, extent: int, *, before: int) -> bool:
        """Whether what `extent` holds before slice `before` is read again."""
        T = len(self.touched)
        uses = (self.touched[(before + ahead) % T].get(extent) for ahead in range(T))
        return next((NEEDS[how] for how in uses if how), False)

    def prices(self, objective: str) -> tuple[float, float, float]:
        """Return what a tick, a page read and a page written cost."""
        return {
            "time": (1.0, 0.0, 0.0),
            "energy": (self.watts, self.read_j, self.write_j),
            "bytes": (0.0, PAGE, PAGE),
            "writes": (0.0, 0.0, PAGE),
        }[objective]

    def timeline(self) -> Timeline:
        """Return the step as planner and engine see it."""
        return make_timeline(
            [" ".join(f"e{e}:{how}" for e, how in accesses.items()) for accesses in self.touched],
            pages={f"e{e}": pages for e, pages in enumerate(self.pages)},
            fast_pages=self.fast_pages,
            duration_s=self.ticks,
            page_bytes=PAGE,
        )

    def machine(self) -> Machine:
        """Return the drive, in a machine of which nothing else costs anything."""
        read, write = PAGE / self.read_ticks, PAGE / self.write_ticks
        return toy_machine(
            read_bytes_per_s=read,
            write_bytes_per_s=write,
            shared_bytes_per_s=max(read, write) if self.half_duplex else read + write,
            read_latency_s=self.read_latency,
            write_latency_s=self.write_latency,
            read_j_per_byte=self.read_j / PAGE,
            write_j_per_byte=self.write_j / PAGE,
            static_power_w=self.watts,
            page_bytes=PAGE,
        )


def random_tick_step(seed: int) -> TickStep:
    """Draw a step of 4 to 8 slices and 3 to 5 extents, with little more room than its largest slice."""
    rng = random.Random(seed)
    extents, slices = rng.choice((3, 3, 4, 4, 5)), rng.randint(4, 8)
    pages = tuple(rng.randint(1, rng.choice((2, 2, 3, 4))) for _ in range(extents))
    touched = tuple(
        {e: rng.choice(("r", "r", "rw", "w")) for e in rng.sample(range(extents), rng.choice((1, 1, 2)))}
        for _ in range(slices)
    )
    half_duplex = rng.random() < 0.4
    read = rng.randint(1, 3)
    return TickStep(
        pages=pages,
        touched=touched,
        ticks=tuple(rng.randint(1, 6) for _ in range(slices)),
        fast_pages=max(sum(pages[e] for e in accesses) for accesses in touched) + rng.choice((0, 0, 1)),
        read_ticks=read,
        write_ticks=read if half_duplex else rng.randint(1, 5),
        read_latency=rng.randint(0, 4),
        write_latency=rng.randint(0, 4),
        half_duplex=half_duplex,
        watts=rng.choice((1.0, 3.0)),
        read_j=rng.choice((1.0, 3.0, 10.0)),
        write_j=rng.choice((1.0, 5.0, 20.0)),
    )
