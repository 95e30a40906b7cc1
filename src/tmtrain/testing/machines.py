"""A Machine with round numbers: what a test does not name costs nothing and is never in the way."""

from tmtrain.machine import Compute, FastTier, Link, Machine, Paging, Price, SlowTier

_FAST = FastTier(
    capacity_bytes=1 << 40,
    bandwidth_bytes_per_s=1e18,
    efficiency=1.0,
    latency_s=0.0,
    energy_j_per_byte=0.0,
    background_w_per_byte=0.0,
)
"""As good as free: only flash takes time and energy."""


def toy_machine(
    *,
    read_bytes_per_s: float = 1e18,
    write_bytes_per_s: float = 1e18,
    shared_bytes_per_s: float = 2e18,
    read_j_per_byte: float = 0.0,
    write_j_per_byte: float = 0.0,
    static_power_w: float = 0.0,
    read_latency_s: float = 0.0,
    write_latency_s: float = 0.0,
    page_bytes: int = 4096,
) -> Machine:
    """Build a machine whose transfers have exactly these rates, latencies and energies; computation takes what a test says.

    >>> toy_machine(write_j_per_byte=3.0).write_j_per_byte
    3.0
    """
    return Machine(
        name="toy",
        description="round numbers for tests",
        compute=_compute(static_power_w=static_power_w),
        fast=_FAST,
        slow=SlowTier(
            capacity_bytes=1 << 50,
            page_bytes=page_bytes,
            read_bandwidth_bytes_per_s=read_bytes_per_s,
            write_bandwidth_bytes_per_s=write_bytes_per_s,
            shared_bandwidth_bytes_per_s=shared_bytes_per_s,
            read_latency_s=read_latency_s,
            write_latency_s=write_latency_s,
            read_energy_j_per_byte=read_j_per_byte,
            program_energy_j_per_byte=write_j_per_byte,
            erase_energy_j_per_byte=0.0,
            idle_power_w=0.0,
            write_amplification=1.0,
            endurance_cycles=1e5,
            retention_factor=1.0,
        ),
        link=Link(bandwidth_bytes_per_s=max(read_bytes_per_s, write_bytes_per_s), energy_j_per_byte=0.0),
        paging=Paging(fault_latency_s=0.0, fault_batch_pages=1),
        prices={"now": Price(fast_usd_per_byte=1.0, slow_usd_per_byte=0.1)},
    )


def _compute(*, static_power_w: float) -> Compute:
    return Compute(
        num_arrays=1,
        array_rows=4,
        array_columns=4,
        clock_hz=1.0,
        weight_load="pipelined",
        fp32_passes=1.0,
        vector_ops_per_s=1.0,
        sram_bytes=1 << 20,
        static_power_w=static_power_w,
        matrix_energy_j_per_flop=0.0,
        vector_energy_j_per_op=0.0,
        sram_energy_j_per_byte=0.0,
    )
