"""What ``tmtrain simulate`` tells about a simulated step."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.cli.scene import Scene
from tmtrain.reporting.quantity import digits, percent, quantity
from tmtrain.simulation import Conservation, Result
from tmtrain.simulation.power import power_over_time
from tmtrain.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One steady step of one policy in a few numbers."""

    model: str
    batch: int
    machine: str
    policy: str
    fast_bytes: int
    """Capacity of the fast tier in this run (all-fast: the footprint)."""
    footprint_bytes: int
    step_time_s: float
    ideal_step_time_s: float
    """Compute alone, everything resident."""
    recompute_s: float
    stall_s: float
    bytes_in: int
    bytes_out: int
    energy_j: float
    energy_by_component_j: dict[str, float]
    average_power_w: float
    peak_power_w: float
    samples_per_s: float
    samples_per_j: float
    warm_up_steps: int
    """Steps before the first measured one."""
    measured_steps: int
    """Steps whose mean this is: more than one where they alternate, or never repeat."""
    conservation: Conservation
    out: str | None
    """Where the result was written."""
    perfetto: str | None
    """Where the trace for https://ui.perfetto.dev was written."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        slowdown = self.step_time_s / self.ideal_step_time_s
        yield "step time", f"{format_seconds(self.step_time_s)}, {slowdown:.2f} x ideal"
        if self.recompute_s:
            yield (
                "recomputation",
                f"{format_seconds(self.recompute_s)} ({percent(self.recompute_s / self.step_time_s)})",
            )
        yield "waiting", f"{format_seconds(self.stall_s)} ({percent(self.stall_s / self.step_time_s)})"
        yield "bytes in, out", f"{format_bytes(self.bytes_in)}, {format_bytes(self.bytes_out)}"
        yield "energy", quantity(self.energy_j, "J")
        for name, joules in self.energy_by_component_j.items():
            if joules:
                yield f"  {name}", f"{quantity(joules, 'J')} ({percent(joules / self.energy_j)})"
        yield (
            "power",
            f"{quantity(self.average_power_w, 'W')} on average, {quantity(self.peak_power_w, 'W')} at most",
        )
        yield "samples", f"{digits(self.samples_per_s)} per second, {digits(self.samples_per_j)} per joule"
        mean = f", mean of {self.measured_steps} steps" if self.measured_steps > 1 else ""
        yield "steady after", f"{self.warm_up_steps} steps{mean}"
        if self.out is not None:
            yield "result", self.out
        if self.perfetto is not None:
            yield "perfetto", f"{self.perfetto} (open it on https://ui.perfetto.dev)"


def summarise_step(
    result: Result, scene: Scene, *, out: str | None = None, perfetto: str | None = None
) -> StepSummary:
    """Sum up the result of a step that was simulated in `scene`."""
    samples = scene.trace.samples
    power = power_over_time(result)
    return StepSummary(
        model=scene.trace.model,
        batch=samples,
        machine=result.machine,
        policy=result.policy,
        fast_bytes=result.fast_bytes,
        footprint_bytes=scene.timeline.footprint_bytes,
        step_time_s=result.step_time_s,
        ideal_step_time_s=result.ideal_step_time_s,
        recompute_s=result.recompute_s,
        stall_s=result.stall_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
        energy_j=result.energy_j,
        energy_by_component_j=result.energy_by_component_j,
        average_power_w=power.average_w,
        peak_power_w=power.peak_w,
        samples_per_s=samples / result.step_time_s,
        samples_per_j=samples / result.energy_j,
        warm_up_steps=result.warm_up_steps,
        measured_steps=result.measured_steps,
        conservation=result.conservation,
        out=out,
        perfetto=perfetto,
    )
