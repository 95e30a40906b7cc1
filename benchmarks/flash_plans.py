"""The writes of the zoo's plans on the flash device: wear, time, speed, and what simulating less of the device costs.

Plans are for least energy at 12.5 % of fast memory, with recomputation. Traces and plans are kept in a folder.

    python benchmarks/flash_plans.py --folder flash-plans > benchmarks/flash_plans.md       # ten minutes, with plans
    python benchmarks/flash_plans.py --folder flash-plans --models gpt2 resnet-152
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tmtrain import capture_model, load_machine, load_trace, lower, make_policy, parse_fast, save_trace
from tmtrain.deciding import Decision, Knowledge
from tmtrain.machine import Machine
from tmtrain.plans.file import load_plan, save_plan
from tmtrain.policies import follow, plan
from tmtrain.simulation import simulate
from tmtrain.simulation.flash import FlashDevice, Layout, RequestKind, estimate_flash, simulate_flash
from tmtrain.simulation.swapping import (
    Served,
    Swaps,
    flash_device,
    join,
    joinable,
    make_workload,
    serve_steps,
    swaps_of,
)
from tmtrain.trace import Trace

MODELS = ("gpt2", "gpt2-xl", "bert-large", "vit-large", "resnet-152", "t5-large", "llama-2-7b", "gpt3-175b")
SMALL, LARGE = "gpt2", "gpt3-175b"
RIVAL = "paging"
RIVALS_MODELS = (SMALL, "resnet-152")
STEPS = 6
HOUR_S = 3600.0
MOST_PAGES = 2_000_000
"""Of a run whose speed does not matter: pages are joined until it has no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model's step under our plan."""

    model: str
    trace: Trace
    swaps: Swaps


def main() -> None:
    """Print the tables."""
    options = _options()
    machine = load_machine("v4-slc")
    cases = [_case(model, machine, options.folder) for model in options.models]
    by_name = {case.model: case for case in cases}
    if "wear" in options.tables:
        _print_wear(cases, machine)
    if "times" in options.tables:
        _print_times(cases, machine)
    if "joined" in options.tables and SMALL in by_name:
        _print_joined(by_name[SMALL], machine)
    if "hour" in options.tables and LARGE in by_name:
        _print_hour(by_name[LARGE], machine)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tables", nargs="+", default=("wear", "times", "joined", "hour"))
    parser.add_argument("--folder", type=Path, required=True)
    return parser.parse_args()


def _case(model: str, machine: Machine, folder: Path) -> Case:
    folder.mkdir(exist_ok=True)
    trace_path, plan_path = folder / f"{model}.trace", folder / f"{model}.plan"
    if not trace_path.exists():
        save_trace(capture_model(model), trace_path)
    trace = load_trace(trace_path)
    fast = parse_fast("12.5%").of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast)
    if not plan_path.exists():
        save_plan(plan(timeline, machine=machine, recompute=True), plan_path)
    return Case(
        model=model,
        trace=trace,
        swaps=_swaps(follow(load_plan(plan_path), timeline, machine=machine), machine),
    )


def _swaps(decision: Decision, machine: Machine) -> Swaps:
    result = simulate(decision, machine=machine, policy="benchmark")
    return swaps_of(decision.timeline, result, discards=decision.knowledge is not Knowledge.NEVER)


def _rival(case: Case, machine: Machine) -> Swaps:
    fast = parse_fast("12.5%").of(case.trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(case.trace, machine=machine, fast_bytes=fast)
    return _swaps(make_policy(RIVAL).decide(timeline, machine=machine), machine)


def _table(head: Iterable[str]) -> None:
    head = list(head)
    print("\n| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))


def _row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def _print_wear(cases: list[Case], machine: Machine) -> None:
    print(
        f"# The writes of plans on the flash of v4-slc\n\n{STEPS} steps each; write amplification of the second half."
    )
    _table(
        (
            "model",
            "writes of",
            "space, GB",
            "of the device",
            "written a step, GB",
            "log",
            "grouped",
            "log, device full",
            "log, full, no discards",
            "grouped, device full",
            "erases of a block, full, log",
            "grouped",
            "life, years",
        )
    )
    for case in cases:
        _wear_row(case.model, "the plan", case.swaps, machine)
        if case.model in RIVALS_MODELS:
            _wear_row(case.model, RIVAL, _rival(case, machine), machine)


def _wear_row(model: str, whose: str, swaps: Swaps, machine: Machine) -> None:
    log = _serve(swaps, machine, "log")
    grouped = _serve(swaps, machine, "grouped")
    untold = replace(swaps, discards=False)
    full_log = _serve(swaps, machine, "log", fill=1.0)
    full_untold = _serve(untold, machine, "log", fill=1.0)
    full_grouped = _serve(swaps, machine, "grouped", fill=1.0)
    _row(
        model,
        whose,
        f"{swaps.space_bytes / 1e9:.2f}",
        f"{grouped.fill:.2%}",
        f"{swaps.write_bytes / 1e9:.2f}",
        *(_amplification(served) for served in (log, grouped, full_log, full_untold, full_grouped)),
        *(f"{s.wear.least_erases} to {s.wear.most_erases}" for s in (full_log, full_grouped)),
        f"{grouped.wear.life_years:.2f}",
    )


def _serve(swaps: Swaps, machine: Machine, layout: Layout, *, fill: float | None = None) -> Served:
    device = flash_device(machine, layout=layout)
    scale = fill * device.host_bytes / swaps.space_bytes if fill else 1.0
    pages = STEPS * scale * (swaps.read_bytes + swaps.write_bytes) / device.geometry.page_bytes
    joined = next(n for n in joinable(device) if pages / n <= MOST_PAGES)
    return serve_steps(swaps, machine=machine, layout=layout, steps=STEPS, fill=fill, joined_pages=joined)


def _amplification(served: Served) -> str:
    return (
        f"{served.wear.write_amplification:.4f}" if served.outcome == "done" else served.message.split(":")[0]
    )


def _print_times(cases: list[Case], machine: Machine) -> None:
    print("\n# The rate that the machine file states, and the device\n")
    print(
        "`at once`: the step's requests in order, as fast as the device takes them. `late`: behind the stated rates, when "
        "asked at their pace. Pages joined by 256 always move a whole die: a translation layer of superpages."
    )
    _table(
        (
            "model",
            "joined",
            "stated, GB/s",
            "at once, GB/s",
            "share",
            "late, median, us",
            "late, 99 %, us",
            "late, most, us",
            "read, median, us",
            "write, median, us",
        )
    )
    stated = machine.shared_bytes_per_s
    for case in cases:
        for joined in (1, 256) if case.model in RIVALS_MODELS else (256,):
            served = serve_steps(case.swaps, machine=machine, layout="grouped", steps=2, joined_pages=joined)
            rate = _at_once(case.swaps, flash_device(machine, layout="grouped"), joined)
            pace = served.pace
            assert pace.late is not None
            assert pace.read_latency is not None
            assert pace.write_latency is not None
            seconds = (pace.late.p50_s, pace.late.p99_s, pace.late.max_s)
            medians = (pace.read_latency.p50_s, pace.write_latency.p50_s)
            _row(
                case.model,
                joined,
                f"{stated / 1e9:.1f}",
                f"{rate / 1e9:.2f}",
                f"{rate / stated:.1%}",
                *(f"{s * 1e6:.0f}" for s in (*seconds, *medians)),
            )


def _at_once(swaps: Swaps, device: FlashDevice, joined: int) -> float:
    """Return the bytes per second of a step whose requests all arrive when it begins.

    Reads may then overtake the writes that they would wait for: so all is on flash from the start, and nothing discarded.
    """
    small = join(device, pages=joined)
    there = np.ones(len(swaps.copies), np.bool_)
    swaps = replace(swaps, discards=False, copies=replace(swaps.copies, is_there_at_start=there))
    work = make_workload(swaps, small, steps=1, groups=np.ones(len(swaps.copies), np.int32))
    arrival = np.where(work.step < 0, 0.0, work.start_s)
    requests = replace(work.requests, arrival_s=arrival)
    result = simulate_flash(small, requests, queue_depth=128)
    moves = (work.step >= 0) & (requests.kind != RequestKind.DISCARD)
    return float(requests.size_bytes[moves].sum() / (result.completed_s[moves].max() - work.start_s))


def _print_hour(case: Case, machine: Machine) -> None:
    steps = int(np.ceil(HOUR_S / case.swaps.step_s))
    print(
        f"\n# One hour of {case.model}\n\n{steps} steps of {case.swaps.step_s:.1f} s, on one core, compilation aside."
    )
    _table(
        (
            "layout",
            "joined",
            "seconds of the processor",
            "on the clock",
            "device time, s",
            "write amplification",
            "erases of a block",
            "cycles per step",
            "life, years",
        )
    )
    for joined in (1024, 4096):
        for layout in ("log", "grouped"):
            cpu, clock = time.process_time(), time.perf_counter()
            served = serve_steps(case.swaps, machine=machine, layout=layout, steps=steps, joined_pages=joined)
            cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
            wear = served.wear
            _row(
                layout,
                joined,
                f"{cpu:.1f}",
                f"{clock:.1f}",
                f"{served.pace.device_s:.1f}",
                f"{wear.write_amplification:.4f}",
                f"{wear.least_erases} to {wear.most_erases}",
                f"{wear.cycles_per_step:.5f}",
                f"{wear.life_years:.4f}",
            )
    _print_closed_form(case, machine)


def _print_closed_form(case: Case, machine: Machine) -> None:
    """Print what closed forms say without running anything."""
    device = flash_device(machine, layout="grouped")
    cycles = case.swaps.write_bytes / device.geometry.capacity_bytes
    write = estimate_flash(device).write_bytes_per_s
    _row(
        "closed forms",
        "",
        "0",
        "0",
        f"writes take {case.swaps.write_bytes / write:.1f} s a step",
        f"{estimate_flash(device).write_amplification:.4f}",
        "",
        f"{cycles:.5f}",
        f"{device.endurance.erases / cycles * case.swaps.step_s / (365 * 86400):.4f}",
    )


def _print_joined(case: Case, machine: Machine) -> None:
    device = _small_device(machine)
    print(
        f"\n# What joining pages costs\n\n{case.model} scaled to fill a device of {device.host_bytes / 1e9:.1f} GB for the "
        "host, organised as v4-slc but with blocks of 128 KiB, 24 on a plane; 3 steps. Wear agrees to about one per "
        "cent. Time does not: page by page, planes drift apart and fewer work in one command."
    )
    _table(
        (
            "layout",
            "joined",
            "outcome",
            "write amplification",
            "GB erased",
            "erases of a block",
            "device time, s",
            "read, mean, us",
            "write, mean, us",
            "late, mean, us",
            "seconds of the processor",
        )
    )
    for layout in ("log", "grouped"):
        for joined in (1, 16, 256, 1024):
            _joined_row(case.swaps, machine, flash_device(machine, layout=layout), device, joined)


def _joined_row(
    swaps: Swaps, machine: Machine, laid_out: FlashDevice, device: FlashDevice, joined: int
) -> None:
    device = replace(device, translation=replace(laid_out.translation, over_provisioning=0.25))
    cpu = time.process_time()
    served = serve_steps(swaps, machine=machine, device=device, steps=3, fill=1.0, joined_pages=joined)
    cpu = time.process_time() - cpu
    pace, wear = served.pace, served.wear
    means = [latency.mean_s for latency in (pace.read_latency, pace.write_latency, pace.late) if latency]
    block = device.geometry.block_bytes * min(joined, 256)
    _row(
        served.layout,
        joined,
        served.message.split(":")[0],
        f"{wear.write_amplification:.5f}",
        f"{wear.erases * block / 1e9:.2f}",
        f"{wear.least_erases} to {wear.most_erases}",
        f"{pace.device_s:.4f}",
        *(f"{mean * 1e6:.0f}" for mean in means),
        f"{cpu:.1f}",
    )


def _small_device(machine: Machine) -> FlashDevice:
    device = flash_device(machine)
    geometry = device.geometry
    block = 32 * geometry.page_bytes
    return replace(
        device,
        geometry=replace(
            geometry,
            blocks_per_plane=24,
            block_bytes=block,
            capacity_bytes=geometry.planes * 24 * block,
        ),
        translation=replace(device.translation, over_provisioning=0.25),
    )


if __name__ == "__main__":
    main()
