"""Workloads of the G10 artifact: what they say arrives as it is; an error names file, line and field."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.support.g10_folder import KERNELS, MACHINE, TENSORS, write_g10

from tmtrain.errors import FileFormatError, InputError
from tmtrain.evaluation import trace_of
from tmtrain.importing import import_trace, is_outside, load_g10
from tmtrain.lowering import lower
from tmtrain.lowering.energy import compute_energy
from tmtrain.machine import load_machine
from tmtrain.policies import POLICIES, make_policy
from tmtrain.simulation import simulate
from tmtrain.trace import Role, load_trace, save_trace, trace_fingerprint

BERT = Path(__file__).parents[4] / "benchmarks/g10"


def test_kernels_keep_order_phase_and_seconds(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    assert (trace.model, trace.samples) == ("one-layer", 2)
    assert trace.operators.name[3] == "g10.Apply_Grad"
    assert trace.operators.phase.tolist() == [1, 2, 3, 4]
    assert trace.operators.duration_s is not None
    assert trace.operators.duration_s.tolist() == pytest.approx([1e-6, 2e-7, 3e-6, 4e-7])
    assert trace.operators.flops.sum() == 0


def test_tensors_live_from_first_use_to_death_and_weights_for_ever(tmp_path: Path) -> None:
    storages = import_trace(write_g10(tmp_path / "w")).storages
    assert storages.name[:2] == ("net_input#0:MatMul", "weight#1:MatMul")
    assert [(int(b), int(d)) for b, d in zip(storages.birth_op, storages.death_op, strict=True)] == [
        (0, 3),
        (0, 4),
        (0, 2),
        (1, 3),
        (2, 4),
    ]
    assert np.flatnonzero(storages.persistent).tolist() == [1]
    assert storages.role[4] == Role.GRADIENT


def test_the_footprint_is_the_peak_of_what_lives(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    # Pages: weight 4 always; 0: + input 2 + activation 3 = 9; 1: + input, activation, gradient 3 = 12; 2: + input 2,
    # gradient 3, weight gradient 4 = 13; 3: + weight gradient 4 = 8.
    assert (trace.live_bytes() // 4096).tolist() == [9, 12, 13, 8]


def test_one_slice_per_kernel_one_extent_per_tensor_and_the_step_is_a_cycle(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    timeline = lower(trace, machine=load_machine("g10-ssd"), fast_bytes=13 * 4096)
    assert timeline.slices.duration_s.tolist() == pytest.approx([1e-6, 2e-7, 3e-6, 4e-7])
    assert timeline.extents.pages.tolist() == [2, 4, 3, 3, 4]
    weight = timeline.accesses.extent == 1
    assert timeline.accesses.writes[weight].tolist() == [False, True]
    assert timeline.accesses.next_slice[weight].tolist() == [3, 0]  # in the next step
    assert len(timeline.producers) == 0


def test_only_bytes_cost_energy(tmp_path: Path) -> None:
    machine = load_machine("g10-ssd")
    timeline = lower(import_trace(write_g10(tmp_path / "w")), machine=machine, fast_bytes=13 * 4096)
    # Operands once each, the weight that is updated in place twice: 9 + 6 + 9 + 4 + 4 + 4 pages.
    assert timeline.slices.fast_bytes.sum() == 36 * 4096
    parts = compute_energy(timeline.slices, machine=machine)
    assert parts["matrix"] == parts["vector"] == 0
    assert parts["fast access"] == pytest.approx(36 * 4096 * machine.fast.energy_j_per_byte)


@pytest.mark.parametrize(
    "policy", [name for name in POLICIES if name != "vdnn-conv"]
)  # it has no convolution
def test_every_policy_runs_on_it(policy: str, tmp_path: Path) -> None:
    machine = load_machine("g10-host")
    timeline = lower(import_trace(write_g10(tmp_path / "w")), machine=machine, fast_bytes=10 * 4096)
    result = simulate(make_policy(policy).decide(timeline, machine=machine), machine=machine, policy=policy)
    assert result.ideal_step_time_s == pytest.approx(4.6e-6)
    # Kernel 2 has 13 pages alive, 9 of them its own: 3 of 10 pages' room are short.
    least = 0 if policy == "all-fast" else 3 * 4096
    assert result.bytes_in >= least


def test_the_machine_does_not_change_given_seconds(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    slow, fast = (
        lower(trace, machine=load_machine(name), fast_bytes=1 << 20) for name in ("znvme-g10", "v5p-hbf")
    )
    assert slow.compute_s == fast.compute_s == pytest.approx(4.6e-6)


@pytest.mark.parametrize("outputs", ["3", "3 5"])
def test_a_workspace_is_memory_that_its_kernel_writes(outputs: str, tmp_path: Path) -> None:
    """Convolutions of the artifact have some; tables list them among the outputs or apart."""
    folder = write_g10(tmp_path / "w")
    (folder / "kernels.csv").write_text(KERNELS.replace("200,300,400,2,3,", f"200,300,400,2,{outputs},5"))
    (folder / "tensors.csv").write_text(TENSORS + "5,intermediate,workspace,4096,10,16,1,1,2,1,9,MatMul\n")
    counts = {"model": "one-layer", "batch": 2, "kernels": 4, "tensors": 6, "dtype_bytes": 4}
    (folder / "machine.json").write_text(json.dumps(MACHINE | {"workload": counts}))
    trace = import_trace(folder)
    assert trace.storages.role[5] == Role.TEMPORARY
    assert (trace.live_bytes() // 4096).tolist() == [9, 13, 13, 8]


def test_a_trace_file_keeps_the_seconds(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    save_trace(trace, tmp_path / "w.trace")
    loaded = load_trace(tmp_path / "w.trace")
    assert loaded.operators.duration_s is not None
    np.testing.assert_array_equal(loaded.operators.duration_s, trace.operators.duration_s)
    assert trace_fingerprint(loaded) == trace_fingerprint(trace)


def test_seconds_that_make_no_sense_are_refused_in_a_trace_file(tmp_path: Path) -> None:
    trace = import_trace(write_g10(tmp_path / "w"))
    for wrong in (-1.0, float("nan"), float("inf")):
        seconds = np.array([1.0, wrong, 1.0, 1.0])
        broken = dataclasses.replace(
            trace, operators=dataclasses.replace(trace.operators, duration_s=seconds)
        )
        save_trace(broken, tmp_path / "w.trace")
        with pytest.raises(FileFormatError, match=r"operators\.duration_s\[1\]"):
            load_trace(tmp_path / "w.trace")


def test_the_command_line_finds_it_and_refuses_a_batch(tmp_path: Path) -> None:
    folder = write_g10(tmp_path / "w")
    assert is_outside(folder)
    assert trace_of(str(folder)).samples == 2
    with pytest.raises(InputError, match="says its batch itself"):
        trace_of(str(folder), samples=3)


BROKEN_KERNELS = [
    ("0,MatMul_Forward,forward,9,1000", "0,MatMul_Forward,forward,9,-5", 2, "exec_cycles"),
    ("0,MatMul_Forward,forward,9,1000", "0,MatMul_Forward,forward,9,fast", 2, "exec_cycles"),
    ("1,Loss,loss", "1,Loss,lunch", 3, "phase"),
    ("2,MatMul_Backward", "5,MatMul_Backward", 4, "kernel_id"),
    ("3 0,4,", "3 0,99,", 4, "outputs"),
    ("3 0,4,", "3 3,4,", 4, "inputs"),
    ("3,Apply_Grad,update,9,400,500,600,1 4,1,\n", "", 5, "kernel_id"),
    ("3,Apply_Grad,update,9,400,500,600,1 4,1,\n", "3,Apply_Grad,update,9,400,5", 5, "pf_cycles"),
    (",exec_cycles,", ",cycles,", 1, "exec_cycles"),
]


@pytest.mark.parametrize(("old", "new", "line", "field"), BROKEN_KERNELS)
def test_a_broken_kernel_is_told_by_line_and_field(
    old: str, new: str, line: int, field: str, tmp_path: Path
) -> None:
    folder = write_g10(tmp_path / "w")
    assert old in KERNELS
    (folder / "kernels.csv").write_text(KERNELS.replace(old, new))
    with pytest.raises(FileFormatError, match=rf"kernels\.csv, line {line}.*{field}"):
        load_g10(folder)


BROKEN_TENSORS = [
    ("grad_weight,16384,16384,12,2,3,4", "grad_weight,16384,16384,12,1,3,4", 6, "first_kernel"),
    ("grad_weight,16384,16384,12,2,3,4", "grad_weight,16384,16384,12,2,2,4", 6, "last_kernel"),
    ("grad_weight,16384,16384,12,2,3,4", "grad_weight,16384,16384,12,2,3,3", 6, "death_kernel"),
    ("1,weight,weight,16384,16384,0,0,3,-1", "1,weight,weight,16384,16384,0,0,3,4", 3, "death_kernel"),
    ("2,intermediate,activation,12288,", "2,intermediate,activation,12287,", 4, "bytes"),
    ("2,intermediate,activation", "2,intermediate,guess", 4, "role"),
    ("2,intermediate,activation", "2,eternal,activation", 4, "kind"),
]


@pytest.mark.parametrize(("old", "new", "line", "field"), BROKEN_TENSORS)
def test_a_broken_tensor_is_told_by_line_and_field(
    old: str, new: str, line: int, field: str, tmp_path: Path
) -> None:
    folder = write_g10(tmp_path / "w")
    assert old in TENSORS
    (folder / "tensors.csv").write_text(TENSORS.replace(old, new))
    with pytest.raises(FileFormatError, match=rf"tensors\.csv, line {line}, field '{field}'"):
        load_g10(folder)


def test_a_broken_or_missing_machine_is_told(tmp_path: Path) -> None:
    folder = write_g10(tmp_path / "w")
    (folder / "machine.json").write_text(json.dumps(MACHINE | {"page_bytes": 0}))
    with pytest.raises(FileFormatError, match=r"machine\.json, field 'page_bytes'"):
        load_g10(folder)
    (folder / "machine.json").write_text(json.dumps(MACHINE)[:-40])
    with pytest.raises(FileFormatError, match=r"machine\.json"):
        load_g10(folder)
    (folder / "machine.json").unlink()
    with pytest.raises(InputError, match=re.escape(f"no such file: {folder / 'machine.json'}")):
        load_g10(folder)


def test_bert_arrives_as_the_artifact_has_it() -> None:
    # benchmarks/g10/README.md, "Workload".
    workload = load_g10(BERT)
    trace = import_trace(BERT)
    assert len(trace.operators) == 1369
    assert int(trace.storages.bytes.sum()) == 158_958_346_240
    assert int(trace.storages.bytes[trace.storages.persistent].sum()) == 17_823_494_144
    assert (trace.footprint_bytes, int(trace.live_bytes().argmax())) == (51_282_243_584, 486)
    timeline = lower(trace, machine=load_machine("g10-ssd"), fast_bytes=workload.machine.gpu.memory_bytes)
    assert timeline.compute_s * workload.machine.gpu.clock_hz == pytest.approx(8_742_558_777, abs=1e-3)


def test_the_presets_are_the_artifacts_machine() -> None:
    theirs = load_g10(BERT).machine
    ssd, host = load_machine("g10-ssd"), load_machine("g10-host")
    for ours in (ssd, host):
        assert ours.fast.capacity_bytes == theirs.gpu.memory_bytes
        assert ours.slow.page_bytes == theirs.page_bytes
        assert ours.link.bandwidth_bytes_per_s == pytest.approx(theirs.links.gpu_pcie_bytes_per_s)
    assert ssd.read_bytes_per_s == ssd.write_bytes_per_s == pytest.approx(theirs.links.ssd_bytes_per_s)
    assert host.read_bytes_per_s == pytest.approx(theirs.links.gpu_pcie_bytes_per_s)
    assert host.slow.capacity_bytes == theirs.host.memory_bytes
