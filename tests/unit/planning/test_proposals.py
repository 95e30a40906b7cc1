"""Which proposals are made, and in which order."""

import numpy as np
import pytest
from tests.support.machines import toy_machine
from tests.support.timelines import make_timeline

from tmtrain.planning import planner, propose
from tmtrain.planning.planner import LEADS

STEP = make_timeline(
    ["w:r a:new", "v:r b:new", "w:r b:r", "v:r a:r"],
    pages={"w": 3, "v": 3, "a": 2, "b": 2},
    fast_pages=7,
    duration_s=[1.0] * 4,
)


def _leads_tried(monkeypatch: pytest.MonkeyPatch, *, read_latency_s: float) -> list[float]:
    leads: list[float] = []
    carry_out = planner.carry_out

    def noting(*arguments: object, lead: float) -> object:
        leads.append(lead)
        return carry_out(*arguments, lead=lead)  # type: ignore[arg-type]

    monkeypatch.setattr(planner, "carry_out", noting)
    machine = toy_machine(
        read_bytes_per_s=4096, write_bytes_per_s=4096, shared_bytes_per_s=4096, read_latency_s=read_latency_s
    )
    list(propose(STEP, machine=machine, objective="time", recompute=False))
    return leads


def test_where_leads_are_dear_the_next_proposal_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _leads_tried(monkeypatch, read_latency_s=0.0) == list(LEADS)
    assert _leads_tried(monkeypatch, read_latency_s=0.9)[:2] == [LEADS[0], 0.0]


def test_a_class_without_hope_is_left_out() -> None:
    plans = list(propose(STEP, machine=toy_machine(), objective="time", hopeless=lambda _: True))
    assert len(plans) == 1
    assert np.isfinite(plans[0].prediction.step_time_s)
