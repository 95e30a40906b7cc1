"""Joint plans, plans that keep and move only, and activation checkpointing, at the same bytes of fast memory.

The bytes are a share of the footprint of the step without checkpointing, for every contender. A checkpointed step
is another trace of the same training; it is managed by LRU or, on top, by our optimal placement. All models take about
half an hour on two cores; the tables are printed and written:

    python benchmarks/against_checkpointing.py [MODEL ...] [--share 0.125 ...] [--machine NAME] [--out FILE]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmtrain.capturing import StepOptions, capture_model
from tmtrain.capturing.jobs.options import Checkpointing
from tmtrain.errors import InfeasibleError
from tmtrain.evaluation.compare import run_policy
from tmtrain.evaluation.row import Bounds, Row
from tmtrain.evaluation.setting import Setting
from tmtrain.lowering import lower
from tmtrain.machine import DEFAULT_MACHINE, Machine, load_machine
from tmtrain.policies import plan
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity, format_bytes

MODELS = (
    "gpt2-xl",
    "bert-large",
    "vit-large",
    "resnet-152",
    "t5-large",
    "llama-2-7b",
    "gpt3-175b",
    "gpt2",
)
SHARES = (0.25, 0.125, 0.0625)
STEPS: tuple[Checkpointing | None, ...] = (None, "full", "selective")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A policy on one of the steps; what decides for itself what to recompute runs on the plain one."""

    name: str
    policy: str
    checkpointing: Checkpointing | None = None


CONTENDERS = (
    Contender(name="joint", policy="tmtrain"),
    Contender(name="move only", policy="tmtrain-move"),
    Contender(name="LRU", policy="lru"),
    Contender(name="full + LRU", policy="lru", checkpointing="full"),
    Contender(name="selective + LRU", policy="lru", checkpointing="selective"),
    Contender(name="full + placement", policy="tmtrain", checkpointing="full"),
    Contender(name="selective + placement", policy="tmtrain", checkpointing="selective"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One model at one capacity."""

    model: str
    share: float
    fast_bytes: int
    outcomes: dict[str, Row | InfeasibleError]
    """By contender."""


def main() -> None:
    """Read the arguments, compare model after model, print and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="zoo models")
    parser.add_argument(
        "--share", nargs="+", type=float, default=SHARES, help="of the plain step's footprint"
    )
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    machine = load_machine(arguments.machine)
    comparisons: list[Comparison] = []
    for model in arguments.models:
        for comparison in compare(model, machine=machine, shares=arguments.share):
            comparisons.append(comparison)
            # A full run takes long: what is done is kept.
            arguments.out.write_text(_document(comparisons, machine=machine))
            print(f"{model} at {comparison.share:.4g}: done", file=sys.stderr, flush=True)
    print(_document(comparisons, machine=machine), end="")


def compare(model: str, *, machine: Machine, shares: Sequence[float]) -> Iterator[Comparison]:
    """Run every contender on `model` at each share of its plain footprint."""
    traces = {kind: capture_model(model, StepOptions(checkpointing=kind)) for kind in STEPS}
    for share in shares:
        fast = FastCapacity(bytes=int(share * traces[None].footprint_bytes))
        outcomes: dict[str, Row | InfeasibleError] = {}
        for kind in STEPS:
            contenders = [contender for contender in CONTENDERS if contender.checkpointing == kind]
            try:
                setting = _setting(traces[kind], machine=machine, fast=fast, recompute=kind is None)
            except InfeasibleError as error:
                outcomes |= dict.fromkeys((contender.name for contender in contenders), error)
                continue
            outcomes |= {contender.name: _run(contender, setting) for contender in contenders}
        yield Comparison(model=model, share=share, fast_bytes=fast.bytes or 0, outcomes=outcomes)


def _setting(trace: Trace, *, machine: Machine, fast: FastCapacity, recompute: bool) -> Setting:
    """Return the setting with our plan, on a checkpointed step one that keeps and moves only, and its bound."""
    fast_bytes = fast.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    ours = plan(timeline, machine=machine, recompute=recompute)
    assert ours.certificate is not None
    bounds = Bounds(energy_j=ours.certificate.bound.value, time_s=None, traffic_bytes=None)
    return Setting(
        trace=trace,
        machine=machine,
        timeline=timeline,
        objective="energy",
        ours=ours,
        bounds=bounds,
        capture_s=0.0,
        lower_s=0.0,
        plan_s=0.0,
    )


def _run(contender: Contender, setting: Setting) -> Row | InfeasibleError:
    try:
        return run_policy(setting, contender.policy).row
    except InfeasibleError as error:
        return error


def _document(comparisons: Sequence[Comparison], *, machine: Machine) -> str:
    names = [contender.name for contender in CONTENDERS]
    lines = [
        f"One training step on {machine.name}, all at the same bytes of fast memory: a share of the footprint of the"
        " step without checkpointing.",
        "",
        "Samples per joule:",
        "",
        f"| model | fast | {' | '.join(names)} |",
        "|---" * (2 + len(names)) + "|",
        *(_summary(comparison, names=names) for comparison in comparisons),
        "",
        "Joint against the rest: fewer bytes and more samples per joule than the best plan that keeps and moves only, and"
        " samples per joule over the best checkpointing with LRU and with our placement on top.",
        "",
        "| model | fast | bytes against move only | samples/J against move only | against checkpointing + LRU"
        " | against full + placement | against the better of both + placement |",
        "|---" * 7 + "|",
        *(_gain(comparison) for comparison in comparisons),
        "",
        "All of it. Footprint and bound are those of the contender's own step: on the plain one the energy bound of plans"
        " that may recompute, on the checkpointed ones that of plans that keep and move only.",
        "",
        "| model | fast | contender | footprint | moved | energy (J) | step (s) | samples/J | above the bound |",
        "|---" * 9 + "|",
        *(row for comparison in comparisons for row in _rows(comparison)),
    ]
    return "\n".join(lines) + "\n"


def _summary(comparison: Comparison, *, names: Sequence[str]) -> str:
    outcomes = [comparison.outcomes[name] for name in names]
    cells = [f"{row.samples_per_j:.4g}" if isinstance(row, Row) else "does not fit" for row in outcomes]
    return f"{_place(comparison)} {' | '.join(cells)} |"


def _gain(comparison: Comparison) -> str:
    """Compare joint with the others; an empty cell where one of them does not fit."""
    rows = {name: row for name, row in comparison.outcomes.items() if isinstance(row, Row)}
    groups = (
        ("move only",),
        ("full + LRU", "selective + LRU"),
        ("full + placement",),
        ("full + placement", "selective + placement"),
    )
    joint, move = rows.get("joint"), rows.get("move only")
    cells = [f"{joint.traffic_bytes / move.traffic_bytes - 1:+.1%}" if joint and move else ""]
    for group in groups:
        best = max((rows[name].samples_per_j for name in group if name in rows), default=None)
        cells.append(f"{joint.samples_per_j / best - 1:+.1%}" if joint and best else "")
    return f"{_place(comparison)} {' | '.join(cells)} |"


def _rows(comparison: Comparison) -> Iterator[str]:
    for contender in CONTENDERS:
        outcome = comparison.outcomes[contender.name]
        yield f"{_place(comparison)} {contender.name} | {_cells(outcome)} |"


def _place(comparison: Comparison) -> str:
    return f"| {comparison.model} | {100 * comparison.share:.4g} % ({format_bytes(comparison.fast_bytes)}) |"


def _cells(outcome: Row | InfeasibleError) -> str:
    if isinstance(outcome, InfeasibleError):
        return f"does not fit: {outcome} | | | | |"
    return " | ".join(
        (
            format_bytes(outcome.footprint_bytes),
            format_bytes(outcome.traffic_bytes),
            f"{outcome.energy_j:.4g}",
            f"{outcome.step_time_s:.4g}",
            f"{outcome.samples_per_j:.4g}",
            f"{100 * outcome.gap:z.2f} %",
        )
    )


if __name__ == "__main__":
    main()
