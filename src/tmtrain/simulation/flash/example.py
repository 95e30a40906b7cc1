"""A device with round numbers, for docstrings and tests."""

from tmtrain.simulation.flash.device import (
    Endurance,
    Energies,
    FlashDevice,
    Geometry,
    HostLink,
    Timing,
    Translation,
)


def example_device(*, translation: Translation | None = None, cycles: float = 1000) -> FlashDevice:
    """Return a device of 1024 pages: tR 10 us, tPROG 100 us, tBERS 1 ms, a page 10 us on a channel, 1 us on the link.

    >>> example_device().host_pages
    768
    """
    page = 4096
    return FlashDevice(
        name="example",
        geometry=Geometry(
            channels=2,
            dies_per_channel=2,
            planes_per_die=2,
            blocks_per_plane=16,
            block_bytes=8 * page,
            page_bytes=page,
            capacity_bytes=1024 * page,
        ),
        timing=Timing(read_s=10e-6, program_s=100e-6, erase_s=1e-3, channel_bytes_per_s=page / 10e-6),
        link=HostLink(bytes_per_s=page / 1e-6),
        endurance=Endurance(cycles=cycles),
        translation=translation or Translation(over_provisioning=0.25),
        energies=Energies(read_page_j=1e-6, program_page_j=10e-6, erase_block_j=100e-6, idle_w=1.0),
    )
