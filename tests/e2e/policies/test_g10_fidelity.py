"""Fed with the imported workload, the G10 artifact's rules give the artifact's results."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.support.g10_folder import KERNELS, MACHINE, TENSORS, write_g10

from g10_fidelity import FOLDER, table_lines
from g10_rules.fidelity import POLICIES, Fidelity, Published, Refused, compare_policies
from g10_rules.hints import no_hints, planned_hints
from g10_rules.pages import run_pages
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
    assert row.ends == ("all equal" if policy in ("lru", "deepUM", "prefetch_lru") else "not recorded")


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
    refused = Refused(policy="FlashNeuron", published=Published(cycles=3), reason="deadlock: tensor 7 waits")
    lines = list(table_lines([_ideal(Published(cycles=1)), refused], title="ResNet152, batch 256"))
    assert lines[0].startswith("ResNet152, batch 256, of the G10 artifact")
    assert "| FlashNeuron | 3 | 3.0000 | deadlock: tensor 7 waits |  |  |  |  |  |" in lines


def test_without_published_results_ours_stand_alone() -> None:
    lines = list(table_lines([_ideal(Published())], title="x"))
    assert (
        "| ideal | not published | 1.0000 | 2 | not published | not published | not recorded | 0.5 s |  |"
        in lines
    )


def _ideal(published: Published) -> Fidelity:
    return Fidelity(
        policy="ideal",
        published=published,
        our_cycles=2,
        printed_cycles=2,
        moved_bytes=(0, 0, 0, 0),
        ends="not recorded",
        seconds=0.5,
    )


@pytest.mark.slow
def test_a_folder_needs_neither_results_nor_plans(tmp_path: Path) -> None:
    rows = {row.policy: row for row in compare_policies(write_g10(tmp_path / "w"))}
    ideal, planned = rows["ideal"], rows["prefetch_lru"]
    assert isinstance(ideal, Fidelity)
    assert (ideal.our_cycles, ideal.is_exact, ideal.are_bytes_equal) == (4600, None, None)
    assert isinstance(planned, Refused)
    assert planned.reason == "plans.csv has no plan of it"


@pytest.mark.slow
def test_a_fault_is_charged_in_the_artifacts_order_of_operations(tmp_path: Path) -> None:
    """By hand: 15 pages of the SSD at 3.2 GB/s and 1.2 GHz are 15 x 1536 cycles; byte by byte floats say one less."""
    folder = write_g10(tmp_path / "w")
    page, weight_pages = 4096, 15
    tensors = TENSORS.replace("8192,8000,4,", f"{page},{page},15,").replace(
        "16384,16384,0,", "61440,61440,0,"
    )
    tensors = tensors.replace("12288,6,", "12288,16,").replace("12288,9,", "12288,19,")
    tensors = tensors.replace("16384,16384,12,", "61440,61440,22,")
    (folder / "tensors.csv").write_text(tensors)
    (folder / "kernels.csv").write_text(KERNELS.replace("9,1000,1500,2000", "9,1000000,1000000,1000000"))
    machine = MACHINE | {
        "gpu": {"clock_hz": 1_200_000_000, "memory_bytes": 1 << 20},
        "links": {"gpu_pcie_bytes_per_s": 15.754e9, "ssd_bytes_per_s": 3.2e9},
    }
    (folder / "machine.json").write_text(json.dumps(machine))
    workload = load_g10(folder)
    ends = run_pages(workload, no_hints(workload)).kernel_ends
    assert int(ends[0, 0]) == 1_000_000 + 1536 * weight_pages


def test_a_move_counts_when_it_is_queued(tmp_path: Path) -> None:
    """The step ends long before the weight has left: the artifact has counted it by then."""
    folder = write_g10(tmp_path / "w")
    (folder / "plans.csv").write_text("policy,issue_kernel,tensor_id,action\nG10GDSSSD,3,1,evict_ssd\n")
    workload = load_g10(folder)
    run = run_tensors(workload, planned_hints(folder, workload, "G10GDSSSD"), is_flashneuron=False)
    assert run.moved_bytes == (0, 16384, 0, 0)


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
