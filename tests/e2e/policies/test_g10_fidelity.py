"""Fed with the imported workload, the G10 artifact's rules give the artifact's results."""

from dataclasses import replace

import msgspec
import pytest

from g10_fidelity import FOLDER, table_lines
from g10_rules.fidelity import POLICIES, Fidelity, Refused, compare_policies
from g10_rules.hints import planned_hints
from g10_rules.tensor_memory import TensorMemory
from g10_rules.tensors import run_tensors
from tmtrain.errors import PolicyError
from tmtrain.importing import load_g10


@pytest.fixture(scope="module")
def rows() -> dict[str, Fidelity]:
    return {row.policy: row for row in compare_policies(FOLDER) if isinstance(row, Fidelity)}


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_totals_bytes_and_kernel_ends_are_the_artifacts(policy: str, rows: dict[str, Fidelity]) -> None:
    row = rows[policy]
    assert row.is_exact, row
    assert row.are_bytes_equal, row
    assert row.first_difference is None


@pytest.mark.parametrize(
    ("policy", "milliseconds"),
    [("FlashNeuron", 10_215.5), ("G10GDSSSD", 9_043.28), ("G10GDSFULL", 7_988.59)],
)  # as the artifact prints them
def test_the_tensor_level_gives_the_artifacts_milliseconds(policy: str, milliseconds: float) -> None:
    workload = load_g10(FOLDER)
    hints = planned_hints(FOLDER, workload, policy)
    run = run_tensors(workload, hints, is_flashneuron=policy == "FlashNeuron")
    assert float(f"{run.total_cycles / 1.2e6:.6g}") == milliseconds


def test_a_tensor_that_no_move_will_make_room_for_is_said_as_a_deadlock() -> None:
    """So it ends on the artifact's ViT with batch 1280: backward waits for room that nothing frees."""
    workload = load_g10(FOLDER)
    gpu = msgspec.structs.replace(workload.machine.gpu, memory_bytes=24 << 30)
    tight = replace(workload, machine=msgspec.structs.replace(workload.machine, gpu=gpu))
    with pytest.raises(
        PolicyError, match=r"deadlock: tensor \d+ of \d+ pages waits for a hole .* \d+, and nothing"
    ):
        run_tensors(tight, planned_hints(FOLDER, workload, "FlashNeuron"), is_flashneuron=True)


def test_who_cannot_run_is_a_line_with_the_reason() -> None:
    rows = (
        Refused(policy="ideal", artifact_cycles=1, reason=""),
        Refused(policy="FlashNeuron", artifact_cycles=3, reason="deadlock: tensor 7 waits"),
    )
    assert "| FlashNeuron | 3 | 3.0000 | deadlock: tensor 7 waits | | | | | |" in list(table_lines(rows))


def test_freed_neighbours_merge_and_first_fit_goes_from_either_end() -> None:
    memory = TensorMemory(10)
    assert memory.take(0, 3, right=False)
    assert memory.take(1, 3, right=False)
    assert memory.take(2, 3, right=True)
    assert memory.largest_hole() == 1
    memory.give(1)
    assert memory.largest_hole() == 4
    assert not memory.take(3, 5, right=False)
    memory.give(0)
    assert memory.take(3, 7, right=True)
    assert 3 in memory
    assert memory.largest_hole() == 0
