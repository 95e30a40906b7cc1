"""What Note [Longest gaps] (planning/programme/solve.py) is worth to plans that keep and move: with, without, against it.

Usage: python benchmarks/tie_break.py [MODEL ...] > benchmarks/tie_break.md
"""

import sys

from tmtrain.capturing import capture_model
from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.planning import bound_of, make_plan
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import solve
from tmtrain.plans import Plan
from tmtrain.policies.ours import follow
from tmtrain.simulation import simulate
from tmtrain.trace import Trace

CASES = (("v4-slc", 0.125), ("v4-slc", 0.25), ("a100-tlc5", 0.125))
WEIGHTS = (("longest gaps", 1e-5), ("as HiGHS finds it", 1e-12), ("shortest gaps", -1e-5))


def main(models: list[str]) -> None:
    """Print a table: energy over the certified bound for each weight."""
    print("Simulated energy of a step over its certified lower bound (bytes agree to 0.01 %).\n")
    print("| model | machine | fast | " + " | ".join(name for name, _ in WEIGHTS) + " |")
    print("|---" * (3 + len(WEIGHTS)) + "|")
    for model in models:
        trace = capture_model(model)
        for machine, fraction in CASES:
            cells = [f"{_ratio(trace, machine, fraction, weight):.4f}" for _, weight in WEIGHTS]
            print(f"| {model} | {machine} | {fraction:.1%} | " + " | ".join(cells) + " |", flush=True)


def _ratio(trace: Trace, name: str, fraction: float, weight: float) -> float:
    machine = load_machine(name)
    timeline = lower(trace, machine=machine, fast_bytes=int(trace.footprint_bytes * fraction))
    bound = bound_of(timeline, machine=machine, recompute=False).value
    plan = _plan(timeline, machine, weight)
    decision = follow(plan, timeline, machine=machine)
    return simulate(decision, machine=machine, policy="tmtrain").energy_j / bound


def _plan(timeline: Timeline, machine: Machine, weight: float) -> Plan:
    """Plan as `tmtrain-move` does, with another weight of Note [Longest gaps]."""
    problem, goal = build_problem(timeline), make_objective("energy", timeline=timeline, machine=machine)
    placement = solve(problem, timeline=timeline, machine=machine, objective=goal, tie_break=weight)
    return make_plan(
        problem,
        placement.moved,
        timeline=timeline,
        machine=machine,
        objective=goal.name,
        pace=placement.pace,
        stall_s=placement.stall_s,
    )


if __name__ == "__main__":
    main(
        sys.argv[1:]
        or ["gpt2", "gpt2-xl", "bert-large", "vit-large", "resnet-152", "llama-2-7b", "gpt3-175b"]
    )
