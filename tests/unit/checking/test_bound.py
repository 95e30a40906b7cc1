"""What the checker says is proved must be no more than what some plan achieves, even where the planner claims more."""

import numpy as np
from tests.support.machines import toy_machine
from tests.support.timelines import make_timeline

from tmtrain.checking.bound.bound import proved_bound
from tmtrain.checking.walk import walk
from tmtrain.planning import make_plan
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.certificate import certify
from tmtrain.planning.programme.solve import solve
from tmtrain.policies.ours import follow
from tmtrain.simulation import simulate

PAGE = 4096


def test_a_page_that_waits_for_a_whole_round_is_counted() -> None:
    """Written in the first bin, away again in the first bin of the next step: it may be written all the step long."""
    slices = ["", "a:r", "big:new", "big:r", "a:rw", *("c:new" if t % 2 else "c:r" for t in range(5, 1200))]
    timeline = make_timeline(slices, pages={"a": 10, "big": 15, "c": 10}, fast_pages=20, page_bytes=PAGE)
    machine = toy_machine(
        read_bytes_per_s=PAGE / 2, write_bytes_per_s=PAGE / 200, shared_bytes_per_s=PAGE / 2 + PAGE / 200
    )
    problem, goal = build_problem(timeline), make_objective("time", timeline=timeline, machine=machine)
    bins = np.arange(0, len(timeline.slices) + 1, 6)
    placement = solve(problem, timeline=timeline, machine=machine, objective=goal, edges=bins)
    plan = make_plan(
        problem,
        placement.moved,
        timeline=timeline,
        machine=machine,
        objective=goal.name,
        pace=placement.pace,
        stall_s=placement.stall_s,
    )
    achieved = simulate(
        follow(plan, timeline, machine=machine), machine=machine, policy="tmtrain-move"
    ).step_time_s
    certificate = certify(placement.bound, plan.prediction, objective=goal)
    assert int(certificate.bound.edges[1]) == 6
    assert proved_bound(timeline, walk(timeline), certificate, machine=machine) <= achieved
