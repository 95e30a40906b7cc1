"""Speed of captured steps of BERT-large beside MLPerf's: nothing is calibrated; shown, and claimed on TPUs only."""

from pathlib import Path

import pytest

from tmtrain import lower
from tmtrain.capturing import StepOptions, capture_model
from tmtrain.machine import load_machine

DOCUMENT = Path(__file__).parents[3] / "docs" / "validation.md"
RUNS = [
    # Chip, preset, sequences, tokens of each that are computed on, sequences per second and chip: those of
    # `tmtrain.validation.published`, with their sources.
    ("TPU v3", "znvme-g10", 28, 512, 60.8, 0.12),
    ("TPU v4", "v4-slc", 32, 512, 137.2, 0.12),
    ("A100", "a100-tlc5", 56, 256, 274.2, 0.50),
]


@pytest.mark.slow
@pytest.mark.parametrize(("chip", "preset", "sequences", "tokens", "published", "within"), RUNS)
def test_a_captured_step_is_as_fast_as_the_document_says(
    chip: str, preset: str, sequences: int, tokens: int, published: float, within: float
) -> None:
    machine = load_machine(preset)
    trace = capture_model("bert-large", StepOptions(batch=sequences, sequence=tokens))
    timeline = lower(trace, machine=machine, fast_bytes=machine.fast.capacity_bytes)
    speed = sequences / float(timeline.slices.duration_s.sum())
    error = speed / published - 1
    assert f"| {chip} | {speed:.4g} | {published} | {error:+.1%} |" in DOCUMENT.read_text()
    assert abs(error) <= within
