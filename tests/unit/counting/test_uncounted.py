"""Operators without a formula are named, with what they touch."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tmtrain.capturing import capture
from tmtrain.cli.summaries.trace import UncountedOperator, summarise_trace
from tmtrain.counting import uncounted_operators
from tmtrain.trace import Trace

ROWS, WIDTH = 16, 32


@pytest.fixture(scope="module")
def trace() -> Generator[Trace]:
    """A step through two operators that nobody knows: one of a library, and one of torch."""
    with torch.library._scoped_library("counting_tests", "DEF") as library:
        library.define("scan(Tensor x) -> Tensor")
        library.impl("scan", lambda x: x.cumsum(0), "CompositeExplicitAutograd")
        model = torch.nn.Linear(WIDTH, WIDTH)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step() -> None:
            optimizer.zero_grad()
            hidden = model(torch.ones(ROWS, WIDTH))
            with torch.no_grad():
                for _ in range(2):
                    torch.ops.counting_tests.scan(hidden)
                torch.linalg.matrix_exp(hidden[:8, :8])
            hidden.sum().backward()
            optimizer.step()

        step()
        with capture(model, optimizer) as captured:
            step()
        yield captured.trace


def test_they_are_found_and_nothing_else(trace: Trace) -> None:
    found = {name: len(ops) for name, ops in uncounted_operators(trace).items()}
    assert found == {"counting_tests.scan.default": 2, "aten.linalg_matrix_exp.default": 1}


def test_the_summary_names_them_with_their_bytes(trace: Trace) -> None:
    summary = summarise_trace(trace)
    touched = 2 * 2 * ROWS * WIDTH * 4
    scan = UncountedOperator(name="counting_tests.scan.default", touched_bytes=touched, calls=2)
    assert summary.uncounted[0] == scan
    lines = [value for label, value in summary.lines() if label == "no FLOP formula"]
    assert lines[0].startswith("counting_tests.scan.default (8.00 KiB touched, 2 calls)")
    assert len(lines) == 2


def test_who_brings_its_seconds_needs_no_formula(trace: Trace) -> None:
    timed = replace(trace.operators, duration_s=np.ones(len(trace.operators)))
    assert uncounted_operators(replace(trace, operators=timed)) == {}
