"""The imported G10 workload by the rules of our engine: every policy, beside the artifact's own figures.

    python benchmarks/g10_judgement.py [--folder FOLDER] [--out FILE]

The artifact's own rules, to the last digit, are `g10_fidelity.py`'s business. Here the rules are ours, and where that
makes a difference of more than 10 %, the artifact's rule is put into our engine (`g10_in_our_engine.py`) to see whether it
is the one.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from g10_in_our_engine import dead_move, dead_stay, never_told, planned_by_artifact
from tmtrain.deciding import Decision
from tmtrain.errors import PolicyError
from tmtrain.evaluation import Setting, make_setting, trace_of
from tmtrain.evaluation.compare import try_in
from tmtrain.machine import load_machine
from tmtrain.policies import POLICIES
from tmtrain.policies.pagers.deepum import DeepUm
from tmtrain.policies.pagers.fifo import Fifo
from tmtrain.simulation import Result, simulate
from tmtrain.units import parse_fast

FOLDER = Path(__file__).parent / "g10"
MACHINES = ("g10-host", "g10-ssd")
FAST = "40GiB"
COUNTERPARTS = (
    ("ideal", "all-fast", "g10-host"),
    ("lru", "fifo", "g10-host"),
    ("deepUM", "deepum", "g10-host"),
    ("FlashNeuron", "flashneuron", "g10-ssd"),
    ("G10GDSSSD", "g10", "g10-ssd"),
    ("G10GDSFULL", "g10", "g10-host"),
    ("prefetch_lru", "g10", "g10-host"),
)
"""What the artifact calls it, our policy, and the tier that carries most of its bytes."""

REASONS = """\
* **lru.** By arrival, as `fifo`. There each tensor has addresses of its own for ever: what is dead stays until it is
  evicted, is written, and is read back in the next step before it is overwritten. With that rule our engine brings in
  the artifact's 185.90 GB, to five digits. It writes 14 % less, as clean pages leave for nothing here. It is slower all
  the same: here a page takes its room when the victim has gone, and its slice begins when the last page is there; there
  both moves happen at once, and a kernel runs while its pages arrive.
* **deepUM.** No tensor's death is told there, either: what is dead takes up memory until it is evicted, though it is
  then freed. Where the dead stay, ours brings in 53 GB, too, for 8 kernels ahead. (Ours then writes the dead, which
  the artifact does not, so the time of that row says nothing.) Told of deaths it moves a fifth and stalls less than a
  quarter as long.
* **FlashNeuron.** The artifact's plan of 103 tensors (our rule finds one of 23 % fewer bytes in) takes as long as ours
  by our rules. There backward waits until all is written: 10.88 GB at 3.2 GiB/s take 3.17 s, forward lasts 0.74 s, so
  no step takes less than 1.33 times the ideal; here backward begins when there is room, and writes go on. The rest is
  memory in one piece per tensor, which it waits for.
* **G10-GDS** with the SSD alone is the same in time; its plan moves more than twice the bytes because it goes on taking
  periods when none is of use any more (quirk 8 of benchmarks/g10/README.md): by our rules, too.
* **G10-Host, G10.** No tier here is host memory and SSD at once. In the artifact both share the 15.754 GB/s of one
  link, so that `g10-host` alone may carry as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Time and bytes of one step."""

    times_ideal: float
    in_bytes: int
    out_bytes: int

    def cells(self) -> str:
        """Return them as cells of a table."""
        return f"{self.times_ideal:.4f} | {self.in_bytes / 1e9:.2f} | {self.out_bytes / 1e9:.2f}"


def main() -> None:
    """Read the arguments, simulate, print the tables and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="with the artifact's files")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    text = "\n".join(_lines(arguments.folder)) + "\n"
    print(text, end="")
    arguments.out.write_text(text, encoding="utf-8")


def _lines(folder: Path) -> Iterator[str]:
    trace = trace_of(str(folder))
    settings = {
        name: make_setting(trace, machine=load_machine(name), fast=parse_fast(FAST), objective="time")
        for name in MACHINES
    }
    figures = {
        (name, policy): _try(setting, policy) for name, setting in settings.items() for policy in POLICIES
    }
    yield "BERT_Base, batch 256, of the G10 artifact (MICRO 2023) by the rules of our engine, with its 40 GiB."
    yield "Times of a step are over the ideal one, GB are 10^9 bytes."
    yield ""
    yield from _ours(figures, settings)
    yield ""
    yield "Beside the artifact, each of its policies with the nearest of ours:"
    yield ""
    yield from _beside(figures, _artifact(folder))
    yield ""
    yield "With rules of the artifact in our engine, one at a time:"
    yield ""
    yield "| policy, on | rule | time | in | out |"
    yield "|---|---|---|---|---|"
    for label, rule, setting, decision in _experiments(folder, settings):
        result = simulate(decision, machine=setting.machine, policy=label)
        yield f"| {label}, {setting.machine.name} | {rule} | {_figure(result).cells()} |"
    yield ""
    yield REASONS


def _ours(figures: dict[tuple[str, str], Figure | str], settings: dict[str, Setting]) -> Iterator[str]:
    yield "| policy | `g10-host`: time | in | out | `g10-ssd`: time | in | out |"
    yield "|---|---|---|---|---|---|---|"
    for policy in POLICIES:
        cells = [figures[name, policy] for name in MACHINES]
        yield f"| {policy} | " + " | ".join(c if isinstance(c, str) else c.cells() for c in cells) + " |"
    bounds = [settings[name].bounds for name in MACHINES]
    ideal_s = settings[MACHINES[0]].timeline.compute_s
    least = [
        f"{(b.time_s or 0) / ideal_s:.4f} | {(b.traffic_bytes or 0) / 1e9:.2f} both ways |" for b in bounds
    ]
    yield f"| lower bound | {least[0]} | {least[1]} |"


def _beside(figures: dict[tuple[str, str], Figure | str], theirs: dict[str, Figure]) -> Iterator[str]:
    yield "| artifact | time | in | out | ours, on | time | in | out | difference in time |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, policy, machine in COUNTERPARTS:
        ours = figures[machine, policy]
        if isinstance(ours, str):
            yield f"| {name} | {theirs[name].cells()} | {policy}, {machine} | {ours} | |"
            continue
        change = ours.times_ideal / theirs[name].times_ideal - 1
        yield f"| {name} | {theirs[name].cells()} | {policy}, {machine} | {ours.cells()} | {change:+.1%} |"


def _try(setting: Setting, policy: str) -> Figure | str:
    """Return what came of a policy, or that it refuses the step."""
    try:
        return _figure(try_in(setting, policy).result)
    except PolicyError as error:
        return f"{error} | |"


def _figure(result: Result) -> Figure:
    return Figure(
        times_ideal=result.step_time_s / result.ideal_step_time_s,
        in_bytes=result.bytes_in,
        out_bytes=result.bytes_out,
    )


def _artifact(folder: Path) -> dict[str, Figure]:
    with (folder / "results.csv").open(newline="") as recorded:
        return {
            row["policy"]: Figure(
                times_ideal=float(row["slowdown"]),
                in_bytes=int(row["ssd_read_bytes"]) + int(row["cpu_read_bytes"]),
                out_bytes=int(row["ssd_write_bytes"]) + int(row["cpu_write_bytes"]),
            )
            for row in csv.DictReader(recorded)
        }


def _experiments(folder: Path, settings: dict[str, Setting]) -> Iterator[tuple[str, str, Setting, Decision]]:
    """Yield what is run: policy, the rule of the artifact that it runs by, where, and the decision."""
    host, ssd = settings["g10-host"], settings["g10-ssd"]
    rules = ((dead_stay, "the dead stay until they are evicted"), (dead_move, "and are read back, too"))
    for change, rule in rules:
        step = change(host.timeline)
        yield "fifo", rule, host, never_told(Fifo().decide(step, machine=host.machine))
    stay, rule = rules[0]
    deepum = DeepUm(kernels_ahead=8).decide(stay(host.timeline), machine=host.machine)
    yield "deepum, N = 8", rule, host, never_told(deepum)
    plans = (("flashneuron", "FlashNeuron", ssd), ("g10", "G10GDSSSD", ssd), ("g10", "prefetch_lru", host))
    for policy, name, setting in plans:
        decision = planned_by_artifact(folder, name, timeline=setting.timeline, machine=setting.machine)
        yield policy, f"the plan of {name}", setting, decision


if __name__ == "__main__":
    main()
