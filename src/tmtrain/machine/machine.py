"""The Machine: an NPU with a fast tier and a flash tier, as frozen values decoded from TOML.

Units are in the names. Each field says what its number means and how it is used. Source and date are beside the number
in the preset (`tmtrain.machine.presets`).
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from tmtrain.machine.calibration import Calibration

WeightLoad: TypeAlias = Literal["pipelined", "serial"]
"""Whether the next weight tile of an array loads while this one computes, or after it (as in SCALE-Sim)."""
Suspension: TypeAlias = Literal["off"]
"""Whether a program or an erase under way makes room for a read: it runs to its end."""
Dataflow: TypeAlias = Literal["weight", "input", "output"]
"""Which matrix stays in an array while the others stream: see `tmtrain.machine.arrays.dataflow`."""
Fusion: TypeAlias = Literal["none", "elementwise"]
"""Whether elementwise operators take up results before they leave the chip: see `tmtrain.lowering.fusion`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Matrix unit (systolic arrays) and vector unit."""

    num_arrays: int
    array_rows: int
    """Rows of one systolic array: the inner (k) dimension of a weight tile."""
    array_columns: int
    """Columns of one systolic array: the columns (n) of a weight tile."""
    clock_hz: float
    weight_load: WeightLoad
    """For input- and output-stationary arrays: of the tile that stays."""
    fp32_passes: float
    """Passes of the matrix unit per fp32 product, relative to bf16."""
    vector_ops_per_s: float
    sram_bytes: int
    static_power_w: float
    """Drawn all the time, HBM devices not included."""
    matrix_energy_j_per_flop: float
    vector_energy_j_per_op: float
    sram_energy_j_per_byte: float
    dataflow: Dataflow = "weight"
    fusion: Fusion = "none"
    transcendental_share: float = 1.0
    """Of `vector_ops_per_s`, for exponentials, roots and what is composed of them: see `tmtrain.lowering.vector`."""
    reduction_share: float = 1.0
    """Of `vector_ops_per_s`, for sums and norms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTier:
    """HBM (or GPU memory)."""

    capacity_bytes: int
    """Installed on the real chip; the capacity of an experiment is chosen per run."""
    bandwidth_bytes_per_s: float
    efficiency: float
    """Achieved share of the bandwidth."""
    latency_s: float
    """Of one operator's traffic, so that small transfers reach less of the bandwidth than large ones."""
    energy_j_per_byte: float
    """Device and controller."""
    background_w_per_byte: float
    """Refresh and standby, scales with the capacity of the run."""
    stacks: int = 1
    """What capacity and bandwidth come in: see `tmtrain.machine.with_whole_stacks`."""
    loss_per_decade: float = 0.0
    """Share of the bandwidth that a transfer a tenth as large loses; 0: the latency is the curve. See `fast_seconds`."""
    full_bytes: int = 100_000_000
    """Transfers from here on reach `efficiency`; what is smaller loses `loss_per_decade`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowTier:
    """Flash behind its controller and link, as sustained rates."""

    capacity_bytes: int
    page_bytes: int
    read_bandwidth_bytes_per_s: float
    write_bandwidth_bytes_per_s: float
    shared_bandwidth_bytes_per_s: float
    """Ceiling of reads plus writes together (channel bus); the sum of both where they do not share."""
    read_latency_s: float
    write_latency_s: float
    read_energy_j_per_byte: float
    program_energy_j_per_byte: float
    erase_energy_j_per_byte: float
    idle_power_w: float
    write_amplification: float
    endurance_cycles: float
    """Program/erase cycles of a block."""
    retention_factor: float
    """Multiplies the endurance where retention may be relaxed; 1 by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashParts:
    """What the flash consists of, as `tmtrain.simulation.flash` runs it event by event; the engine uses none of it."""

    channels: int
    dies_per_channel: int
    planes_per_die: int
    blocks_per_plane: int
    block_bytes: int
    """What is erased together."""
    page_bytes: int
    """What is read or programmed at once on a plane."""
    array_read_s: float
    """tR."""
    array_program_s: float
    """tPROG."""
    array_erase_s: float
    """tBERS."""
    channel_bandwidth_bytes_per_s: float
    """Of each channel; reads and writes share it."""
    over_provisioning: float
    """Share of the raw capacity that the host does not see."""
    suspend: Suspension = "off"

    @property
    def planes(self) -> int:
        """Planes of the whole device."""
        return self.channels * self.dies_per_channel * self.planes_per_die

    @property
    def raw_bytes(self) -> int:
        """All parts together."""
        return self.planes * self.blocks_per_plane * self.block_bytes

    @property
    def exported_bytes(self) -> float:
        """What the host sees."""
        return self.raw_bytes * (1 - self.over_provisioning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Between the NPU and the flash, per direction."""

    bandwidth_bytes_per_s: float
    energy_j_per_byte: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """What hardware demand paging costs (used by the paging policy only)."""

    fault_latency_s: float
    fault_batch_pages: int
    """Pages served per fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Prices at a date."""

    fast_usd_per_byte: float
    slow_usd_per_byte: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine; see `load_machine`."""

    name: str
    description: str
    compute: Compute
    fast: FastTier
    slow: SlowTier
    link: Link
    paging: Paging
    prices: dict[str, Price]
    """By date label, e.g. "2025Q3"; the first is the default."""
    calibration: Calibration | None = None
    """Measured times to use instead of the model's."""
    device: FlashParts | None = None
    """Section ``slow.device``; None where nobody says."""

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over all that decides what a step does here: constants and measured times.

        Neither names, nor prices, nor the parts of the flash, whose rates are constants of their own.

        >>> from tmtrain.machine import load_machine, with_constant
        >>> machine = load_machine("v4-slc")
        >>> dearer = with_constant(machine, path="slow.read_energy", value=1e-9)
        >>> machine.fingerprint == load_machine("v4-slc").fingerprint != dearer.fingerprint
        True
        """
        parts = (self.compute, self.fast, self.slow, self.link, self.paging, self.calibration)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    @property
    def read_bytes_per_s(self) -> float:
        """Sustained rate from flash to fast memory: the slower of device and link."""
        return min(self.slow.read_bandwidth_bytes_per_s, self.link.bandwidth_bytes_per_s)

    @property
    def write_bytes_per_s(self) -> float:
        """Sustained rate from fast memory to flash: the slower of device and link."""
        return min(self.slow.write_bandwidth_bytes_per_s, self.link.bandwidth_bytes_per_s)

    @property
    def shared_bytes_per_s(self) -> float:
        """Ceiling of both directions together."""
        return min(self.slow.shared_bandwidth_bytes_per_s, self.read_bytes_per_s + self.write_bytes_per_s)

    @property
    def read_j_per_byte(self) -> float:
        """Joules to bring one byte in: flash read, link, write into fast memory."""
        return self.slow.read_energy_j_per_byte + self.link.energy_j_per_byte + self.fast.energy_j_per_byte

    @property
    def write_j_per_byte(self) -> float:
        """Joules to put one byte out: fast memory read, link, program and erase with write amplification."""
        flash = (
            self.slow.program_energy_j_per_byte + self.slow.erase_energy_j_per_byte
        ) * self.slow.write_amplification
        return self.fast.energy_j_per_byte + self.link.energy_j_per_byte + flash
