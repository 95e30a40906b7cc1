"""What fusing elementwise chains saves of a step with everything resident: bytes of fast memory, seconds, joules.

python benchmarks/fusion.py                                 # about a minute: benchmarks/fusion.md
python benchmarks/fusion.py --models gpt2 --machines v4-slc
"""

import argparse
from dataclasses import replace

import numpy as np

from tmtrain import capture_model, load_machine
from tmtrain.lowering.cost import operator_loads, slice_work
from tmtrain.lowering.energy import standing_power, work_energy_j
from tmtrain.machine import Fusion, Machine
from tmtrain.trace import Trace

MODELS = ("gpt2", "gpt2-xl", "bert-large", "vit-large", "t5-large", "llama-2-7b", "gpt3-175b", "resnet-152")
MACHINES = ("v4-slc", "znvme-g10", "v5p-hbf", "a100-tlc5")
FUSIONS: tuple[Fusion, Fusion] = ("none", "elementwise")


def costs(trace: Trace, machine: Machine, *, fusion: Fusion) -> tuple[float, float, float]:
    """Return gigabytes, seconds and joules of a step; each operator in one slice."""
    machine = replace(machine, compute=replace(machine.compute, fusion=fusion))
    count = len(trace.operators)
    loads = operator_loads(trace, machine=machine)
    work = slice_work(loads, machine, share=np.ones(count), dims=np.ones((count, 4)))
    seconds = float(work.duration_s.sum())
    watts = sum(standing_power(machine, fast_bytes=trace.footprint_bytes, has_flash=False).values())
    joules = float(work_energy_j(work, machine=machine).sum()) + watts * seconds
    return float(work.fast_bytes.sum()) / 1e9, seconds, joules


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="fused elementwise chains against operators one by one")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--machines", nargs="+", default=MACHINES)
    args = parser.parse_args()
    print("| model | machine | fast bytes, GB | fused | step, s | fused | step, J | fused |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.models:
        trace = capture_model(name)
        for machine in map(load_machine, args.machines):
            plain, fused = (costs(trace, machine, fusion=fusion) for fusion in FUSIONS)
            pairs = zip(plain, fused, strict=True)
            cells = " | ".join(f"{before:.4g} | {after / before - 1:+.1%}" for before, after in pairs)
            print(f"| {name} | {machine.name} | {cells} |")


if __name__ == "__main__":
    main()
