"""This host as a Machine: the drive as measured; computation is not modelled where operators bring their times along."""

from dataclasses import replace

from tmtrain.machine import Machine, load_machine
from tmtrain.runtime.host.drive import DriveRates

PAGE_BYTES = 64 * 1024
"""Of plans: small against a block, so that what storages fill of their last page is not lost to the budget."""
BASE = "a100-tlc5"
"""For what is not measured: energies and endurance of TLC drives."""


def host_machine(rates: DriveRates) -> Machine:
    """Return a machine whose flash is the drive of a real run.

    >>> rates = DriveRates(read_bytes_per_s=2e9, write_bytes_per_s=1e9, shared_bytes_per_s=2.5e9)
    >>> host_machine(rates).read_bytes_per_s
    2000000000.0
    """
    base = load_machine(BASE)
    slow = replace(
        base.slow,
        page_bytes=PAGE_BYTES,
        read_bandwidth_bytes_per_s=rates.read_bytes_per_s,
        write_bandwidth_bytes_per_s=rates.write_bytes_per_s,
        shared_bandwidth_bytes_per_s=rates.shared_bytes_per_s,
    )
    link = replace(base.link, bandwidth_bytes_per_s=rates.read_bytes_per_s + rates.write_bytes_per_s)
    return replace(
        base, name="this host", description="measured for a real run", slow=slow, link=link, device=None
    )


def slowed(machine: Machine, factor: float) -> Machine:
    """Return the same machine whose drive takes `factor` times as long for whatever it does."""
    slow, link = machine.slow, machine.link
    return replace(
        machine,
        slow=replace(
            slow,
            read_bandwidth_bytes_per_s=slow.read_bandwidth_bytes_per_s / factor,
            write_bandwidth_bytes_per_s=slow.write_bandwidth_bytes_per_s / factor,
            shared_bandwidth_bytes_per_s=slow.shared_bandwidth_bytes_per_s / factor,
        ),
        link=replace(link, bandwidth_bytes_per_s=link.bandwidth_bytes_per_s / factor),
    )
