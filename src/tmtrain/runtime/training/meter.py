"""Measures one step by what the counters say before and after it."""

import time
from dataclasses import replace

from tmtrain.machine import Machine
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.host.counters import drives_so_far, forget_peak, peak_resident_bytes
from tmtrain.runtime.host.drive import slowness
from tmtrain.runtime.host.energy import EnergyMeter
from tmtrain.runtime.result import How, StepMeasure
from tmtrain.runtime.tier.tier import Tier


class StepMeter:
    """Measures the step that begins when it is made."""

    def __init__(self, tier: Tier, recomputer: Recomputer, energy: EnergyMeter) -> None:
        self._tier, self._recomputer, self._energy = tier, recomputer, energy
        forget_peak()
        tier.forget_peak()
        self._drives_before = drives_so_far()
        self._moved_before, self._counts_before = replace(tier.mover.moved), replace(tier.counts)
        self._recomputations_before = recomputer.recomputations
        self._energy_before = energy.read()
        self._began_s = time.perf_counter()

    def slowness_of(self, machine: Machine) -> float | None:
        """Return how many times as long as `machine` says the drive has taken since the step began; None: too rarely."""
        return slowness(self._tier.mover.moved, since=self._moved_before, machine=machine)

    def measure(self, how: How) -> StepMeasure:
        """Return the step that ends now."""
        ended_s, energy_j = time.perf_counter(), self._energy.joules_since(self._energy_before)
        drives = drives_so_far()
        moved, moved_before = self._tier.mover.moved, self._moved_before
        counts, before = self._tier.counts, self._counts_before
        return StepMeasure(
            how=how,
            step_time_s=ended_s - self._began_s,
            stall_s=counts.stall_s - before.stall_s,
            bytes_in=moved.bytes_in - moved_before.bytes_in,
            bytes_out=moved.bytes_out - moved_before.bytes_out,
            drive_read_bytes=drives.read_bytes - self._drives_before.read_bytes,
            drive_written_bytes=drives.written_bytes - self._drives_before.written_bytes,
            misses=counts.misses - before.misses,
            evictions=counts.evictions - before.evictions,
            recomputations=self._recomputer.recomputations - self._recomputations_before,
            peak_bytes=counts.peak_bytes,
            peak_resident_bytes=peak_resident_bytes(),
            energy_j=energy_j,
        )
