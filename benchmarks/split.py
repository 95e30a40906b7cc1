"""What splitting tensors is worth: the optimal placement by pages against the same rounded to whole tensors.

Both keep and move only, from the same programme, at the same bytes of fast memory, for energy; written to
benchmarks/split.md:

    python benchmarks/split.py [MODEL ...] [--shares 0.25 ...] [--machine NAME]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tmtrain.capturing import capture_model
from tmtrain.errors import TmtrainError
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import DEFAULT_MACHINE, Machine, load_machine
from tmtrain.planning.whole import plan_whole
from tmtrain.plans import Plan
from tmtrain.policies import follow, plan
from tmtrain.simulation import Result, simulate
from tmtrain.trace import Trace

MODELS = ("gpt2", "gpt2-xl", "bert-large", "vit-large", "resnet-152", "t5-large", "llama-2-7b", "gpt3-175b")
SHARES = (0.9, 0.5, 0.25, 0.125, 0.0625)


def main() -> None:
    """Compare model after model and write the table after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="zoo models")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of the footprint")
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    machine = load_machine(arguments.machine)
    lines: list[str] = []
    for model in arguments.models:
        for line in compare(capture_model(model), machine=machine, shares=arguments.shares):
            lines.append(line)
            print(line, flush=True)
            arguments.out.write_text(_document(lines, machine=machine))


def compare(trace: Trace, *, machine: Machine, shares: tuple[float, ...]) -> Iterator[str]:
    """Return one row per share."""
    for share in shares:
        head = f"| {trace.model} | {100 * share:.4g} % |"
        try:
            timeline = lower(trace, machine=machine, fast_bytes=int(share * trace.footprint_bytes))
            split = _simulate(plan(timeline, machine=machine, recompute=False), timeline, machine)
            whole = _simulate(plan_whole(timeline, machine=machine), timeline, machine)
        except TmtrainError as error:
            yield f"{head} {error} | | | | |"
            continue
        yield f"{head} {_cells(split, whole)} |"


def _simulate(plan: Plan, timeline: Timeline, machine: Machine) -> Result:
    return simulate(follow(plan, timeline, machine=machine), machine=machine, policy="tmtrain-move")


def _cells(split: Result, whole: Result) -> str:
    pairs = (
        (split.traffic_bytes, whole.traffic_bytes),
        (split.energy_j, whole.energy_j),
        (split.step_time_s, whole.step_time_s),
        (split.bytes_out, whole.bytes_out),
    )
    more = (f"{w / s - 1:+.2%}" if s else ("0" if not w else "from 0") for s, w in pairs)
    return f"{split.traffic_bytes / 2**30:.4g} | " + " | ".join(more)


def _document(lines: list[str], *, machine: Machine) -> str:
    return "\n".join(
        [
            "# Split against whole",
            "",
            *(__doc__ or "").strip().splitlines(),
            "",
            f"On {machine.name}. GiB moved by the split placement; the other columns: how much more whole tensors need.",
            "",
            "| model | fast | split moves | bytes | joules | seconds | written |",
            "|---" * 7 + "|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
