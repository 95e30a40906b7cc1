"""The stages of the example step, small enough to read; `python -m tests.golden.write` writes them anew."""

import pytest
from tests.golden.write import FOLDER, STAGES


@pytest.mark.parametrize("name", STAGES)
def test_stage_is_as_written_down(name: str) -> None:
    assert STAGES[name]() == (FOLDER / f"{name}.txt").read_text()
