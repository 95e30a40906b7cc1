"""A flash device: its parts, the time and the energy that each takes, and how pages are placed on it."""

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from tmtrain.errors import InputError

Layout: TypeAlias = Literal["log", "grouped"]
"""How the translation layer fills blocks.

``log``: host pages go to one open block per plane in order of arrival; greedy collection copies what is still valid.
``grouped``: one open block per plane and death group; only blocks of which nothing lives are erased, nothing is copied.
"""

_MOST_PLANES = 62  # a command's planes are bits of an integer
_LARGEST_PAGE = 2**31 - 2  # pages are numbered in 32 bits


def _require_positive(
    part: Any, name: str, *, except_for: tuple[str, ...] = (), or_zero: bool = False
) -> None:
    """Refuse numbers of a part that no device can have."""
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in except_for or (or_zero and value == 0):
            continue
        if not 0 < value < float("inf"):
            raise InputError(
                f"{name}.{field.name} is {value:g}: must be {'zero or ' * or_zero}more than zero"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How many of each part, and their sizes.

    Raises:
        InputError: the sizes are not the product of the parts.
    """

    channels: int
    dies_per_channel: int
    planes_per_die: int
    blocks_per_plane: int
    block_bytes: int
    page_bytes: int
    capacity_bytes: int
    """Of all pages, spare ones included."""

    def __post_init__(self) -> None:
        _require_positive(self, "geometry")
        if self.planes_per_die > _MOST_PLANES:
            raise InputError(
                f"geometry.planes_per_die is {self.planes_per_die}, more than {_MOST_PLANES} can join in a command: "
                "make dies of them"
            )
        if self.block_bytes % self.page_bytes:
            raise InputError(
                f"geometry.block_bytes is {self.block_bytes}, not a multiple of geometry.page_bytes, "
                f"{self.page_bytes}: a block is a whole number of pages"
            )
        product = self.planes * self.blocks_per_plane * self.block_bytes
        if self.capacity_bytes != product:
            raise InputError(
                f"geometry.capacity_bytes is {self.capacity_bytes}, but {self.channels} channels x "
                f"{self.dies_per_channel} dies x {self.planes_per_die} planes x {self.blocks_per_plane} blocks "
                f"x {self.block_bytes} bytes are {product}: correct one of them"
            )
        if self.pages > _LARGEST_PAGE:
            raise InputError(
                f"geometry.capacity_bytes / geometry.page_bytes are {self.pages} pages, "
                f"more than the {_LARGEST_PAGE} that can be numbered: split the device into several"
            )

    @property
    def dies(self) -> int:
        """Dies of the whole device."""
        return self.channels * self.dies_per_channel

    @property
    def planes(self) -> int:
        """Planes of the whole device."""
        return self.dies * self.planes_per_die

    @property
    def pages_per_block(self) -> int:
        """Pages that are erased together."""
        return self.block_bytes // self.page_bytes

    @property
    def pages(self) -> int:
        """Pages of the whole device."""
        return self.capacity_bytes // self.page_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Seconds that a command and its addresses take on the channel: for one plane, and for each further one."""

    read_s: float = 0.0
    read_further_s: float = 0.0
    program_s: float = 0.0
    program_further_s: float = 0.0
    erase_s: float = 0.0
    erase_further_s: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, "commands", or_zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a die and a channel take."""

    read_s: float
    """tR: from the array into the page register."""
    program_s: float
    """tPROG, of all planes of a command together."""
    erase_s: float
    """tBERS."""
    channel_bytes_per_s: float
    """Of each channel; reads and writes share it."""
    commands: Commands = Commands()

    def __post_init__(self) -> None:
        _require_positive(self, "timing", except_for=("commands",))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """The link to the host: full duplex, first come first served in each direction.

    The defaults have no protocol: data flow at the raw rate and commands take no time.
    """

    bytes_per_s: float
    """Raw rate of each direction."""
    packet_bytes: int = 1
    """Most data in one packet."""
    packet_overhead_bytes: int = 0
    doorbell_bytes: int = 0
    """From the host, for each request on its arrival."""
    fetch_bytes: int = 0
    """From the device, to ask for a command or for the data of a write."""
    command_bytes: int = 0
    completion_bytes: int = 0

    def __post_init__(self) -> None:
        rates = ("bytes_per_s", "packet_bytes")
        sizes = tuple(field.name for field in fields(self) if field.name not in rates)
        _require_positive(self, "link", except_for=sizes)
        _require_positive(self, "link", except_for=rates, or_zero=True)

    def wire_bytes(self, data_bytes: int) -> int:
        """Return the bytes on the wire of a message with so much data.

        >>> HostLink(bytes_per_s=1e9, packet_bytes=128, packet_overhead_bytes=28).wire_bytes(130)
        186
        """
        return data_bytes + -(-data_bytes // self.packet_bytes) * self.packet_overhead_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """The layer between the host's pages and those of the device."""

    layout: Layout = "log"
    over_provisioning: float = 0.07
    """Share of the capacity that the host does not see."""
    collect_below_blocks: int = 3
    """A plane with fewer free blocks has a block erased."""
    reserve_blocks: int = 2
    """Host writes wait while a plane has fewer free blocks: they are for what collection copies."""
    levels_wear: bool = True
    """Of blocks equally worth collecting, the least worn goes first; otherwise the one with the lowest number."""
    table_blocks: int = 0
    """Blocks of each plane that the mapping table occupies. Its traffic is not modelled: the table is in memory."""

    def __post_init__(self) -> None:
        if self.layout not in ("log", "grouped"):
            raise InputError(f'translation.layout is {self.layout!r}: write "log" or "grouped"')
        if not 0 <= self.over_provisioning < 1:
            raise InputError(
                f"translation.over_provisioning is {self.over_provisioning:g}: a share of the capacity, 0 <= share < 1"
            )
        least = 2 if self.layout == "log" else 0
        if self.reserve_blocks < least:
            raise InputError(
                f"translation.reserve_blocks is {self.reserve_blocks}: the {self.layout} layout needs {least}, "
                "or collection runs out of blocks to copy to"
            )
        if self.table_blocks < 0:
            raise InputError(f"translation.table_blocks is {self.table_blocks}: must not be negative")
        if self.collect_below_blocks < self.reserve_blocks:
            raise InputError(
                f"translation.collect_below_blocks is {self.collect_below_blocks}, less than translation.reserve_blocks, "
                f"{self.reserve_blocks}: host writes would stop before collection starts"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance:
    """How often a block can be erased."""

    cycles: float
    """Program/erase cycles at the retention that the datasheet promises."""
    retention_factor: float = 1.0
    """How many times more, where data need not last as long."""

    def __post_init__(self) -> None:
        _require_positive(self, "endurance")

    @property
    def erases(self) -> int:
        """Erases that a block survives."""
        return int(self.cycles * self.retention_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Energies:
    """Joules per operation; zero where nothing is known."""

    read_page_j: float = 0.0
    program_page_j: float = 0.0
    erase_block_j: float = 0.0
    idle_w: float = 0.0
    """Of the whole device, all the time."""

    def __post_init__(self) -> None:
        _require_positive(self, "energies", or_zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashDevice:
    """A whole device.

    Raises:
        InputError: its parts contradict each other; the message names the fields and their values.
    """

    name: str
    geometry: Geometry
    timing: Timing
    link: HostLink
    endurance: Endurance
    translation: Translation = Translation()
    energies: Energies = Energies()
    rated_read_bytes_per_s: float | None = None
    """What its maker promises; None where nobody does."""
    rated_write_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        self._check_rates()
        self._check_spare()

    @property
    def channels_bytes_per_s(self) -> float:
        """What all channels carry together, reads and writes."""
        return self.geometry.channels * self.timing.channel_bytes_per_s

    @property
    def host_pages(self) -> int:
        """Pages that the host sees."""
        return int(self.geometry.pages * (1 - self.translation.over_provisioning))

    @property
    def host_bytes(self) -> int:
        """Bytes that the host sees."""
        return self.host_pages * self.geometry.page_bytes

    def _check_rates(self) -> None:
        for name in ("rated_read_bytes_per_s", "rated_write_bytes_per_s"):
            rate = getattr(self, name)
            if rate is None:
                continue
            if rate <= 0:
                raise InputError(f"{name} is {rate:g}: must be more than zero")
            for part, most in (("channels", self.channels_bytes_per_s), ("link", self.link.bytes_per_s)):
                if rate > most:
                    raise InputError(
                        f"{name} is {rate / 1e9:g} GB/s, but the {part} of {self.name} carry at most "
                        f"{most / 1e9:g} GB/s: correct one of the two"
                    )

    def _check_spare(self) -> None:
        """The log needs a block to write to, one to copy to, and the reserve, beside what the host can fill."""
        geometry = self.geometry
        filled = -(-self.host_pages // (geometry.planes * geometry.pages_per_block))
        spare = geometry.blocks_per_plane - self.translation.table_blocks - filled
        needed = self.translation.reserve_blocks + 2 if self.translation.layout == "log" else 0
        if spare < needed:
            raise InputError(
                f"translation.over_provisioning is {self.translation.over_provisioning:g}: of geometry.blocks_per_plane, "
                f"{geometry.blocks_per_plane}, the host fills {filled} and the table {self.translation.table_blocks}. "
                f"That leaves {spare}, but the {self.translation.layout} layout needs {needed}: export less"
            )
