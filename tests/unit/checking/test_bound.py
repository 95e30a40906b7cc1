"""What the checker says is proved must be no more than what some plan achieves, even where the planner claims more."""

import numpy as np
import pytest
from tests.support.machines import toy_machine
from tests.support.timelines import make_timeline

from tmtrain.checking.bound.bound import proved_bound
from tmtrain.checking.walk import walk
from tmtrain.planning import plan
from tmtrain.planning.programme.model import build_model
from tmtrain.policies import make_policy
from tmtrain.simulation import simulate

PAGE = 4096


def test_a_page_that_waits_for_a_whole_round_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in the first bin, away again in the first bin of the next step: it may be written all the step long."""
    slices = ["", "a:r", "big:new", "big:r", "a:rw", *("c:new" if t % 2 else "c:r" for t in range(5, 1200))]
    timeline = make_timeline(slices, pages={"a": 10, "big": 15, "c": 10}, fast_pages=20, page_bytes=PAGE)
    machine = toy_machine(
        read_bytes_per_s=PAGE / 2, write_bytes_per_s=PAGE / 200, shared_bytes_per_s=PAGE / 2 + PAGE / 200
    )
    bins = build_model.__globals__
    monkeypatch.setitem(bins, "bin_edges", lambda step, over: np.arange(0, len(step.slices) + 1, 6))
    decision = make_policy("tmtrain-move", objective="time").decide(timeline, machine=machine)
    achieved = simulate(decision, machine=machine, policy="tmtrain-move").step_time_s
    result = plan(timeline, machine=machine, objective="time", recompute=False)
    assert result.certificate is not None
    assert int(result.certificate.bound.edges[1]) == 6
    assert proved_bound(timeline, walk(timeline), result.certificate, machine=machine) <= achieved
