"""The flash device agrees with MQSim."""

import hashlib
from importlib.resources import files

import pytest

from tmtrain.validation import mqsim
from tmtrain.validation.mqsim_traces import CASES, make_trace

QUICK = ("1b_seqwrite_128K_qd32", "3a_randread_16K_qd1", "3c_randread_16K_qd256", "5_mixed_70r_128K_qd32")
EXACT = ("pages written by the host", "pages read by the host", "pages copied", "blocks erased")


def _digests() -> dict[str, str]:
    text = (files("tmtrain.validation") / "data" / "mqsim" / "traces.sha256").read_text()
    return {case: digest for digest, case, *_ in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("case", ["3d_randread_16K_open", "6c_swap_partial", *QUICK])
def test_the_traces_are_those_that_mqsim_ran(case: str) -> None:
    assert hashlib.sha256(make_trace(case).text().encode()).hexdigest() == _digests()[case]


@pytest.mark.slow
def test_all_the_traces_are_those_that_mqsim_ran() -> None:
    for case, digest in _digests().items():
        assert hashlib.sha256(make_trace(case).text().encode()).hexdigest() == digest, case


def _check(cases: tuple[str, ...]) -> None:
    comparisons = mqsim.compare(cases)
    assert [row for row in comparisons if not row.holds] == []
    # Much closer than the tolerance; see the module for what is left.
    assert [row for row in comparisons if abs(row.error) > 0.01] == []
    assert [row for row in comparisons if row.quantity in EXACT and abs(row.error) > 1e-5] == []


def test_it_agrees_on_short_traces() -> None:
    _check(QUICK)


@pytest.mark.slow
def test_it_agrees_on_all_traces() -> None:
    _check(tuple(CASES))
