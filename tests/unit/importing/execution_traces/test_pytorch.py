"""PyTorch execution traces say what capture sees, as far as they say it; what cannot be used is refused."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.execution_traces import BATCH, observe_step

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing import import_trace
from tmtrain.importing.execution_traces.aten import kinds_of_operators, parse_schema
from tmtrain.lowering import lower
from tmtrain.machine import load_machine
from tmtrain.policies import make_policy
from tmtrain.simulation import simulate
from tmtrain.trace import Phase, Role, Trace


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trace]:
    path = tmp_path_factory.mktemp("observed") / "perceptron.json"
    return path, observe_step(path)


def _working(trace: Trace) -> Counter[tuple[str, int, int]]:
    """Operators that touch bytes: name, FLOPs, and phase (an execution trace knows no loss)."""
    touches = trace.operands.reads | trace.operands.writes
    ops = sorted(set(trace.operands.op[touches].tolist()))
    phases = [
        Phase.FORWARD if phase == Phase.LOSS else Phase(phase) for phase in trace.operators.phase.tolist()
    ]
    return Counter((trace.operators.name[op], int(trace.operators.flops[op]), phases[op]) for op in ops)


def test_it_has_the_operators_that_capture_sees(observed: tuple[Path, Trace]) -> None:
    path, captured = observed
    assert _working(import_trace(path)) == _working(captured)


def _bytes_by_role(trace: Trace, *roles: Role) -> list[int]:
    rows = zip(trace.storages.role.tolist(), trace.storages.bytes.tolist(), strict=True)
    return sorted(size for role, size in rows if role in roles)


@pytest.mark.parametrize("role", [Role.PARAMETER, Role.GRADIENT, Role.OPTIMIZER_STATE])
def test_parameters_gradients_and_state_are_told_apart(role: Role, observed: tuple[Path, Trace]) -> None:
    path, captured = observed
    assert _bytes_by_role(import_trace(path), role) == _bytes_by_role(captured, role)


def test_activations_are_those_that_capture_sees(observed: tuple[Path, Trace]) -> None:
    path, captured = observed
    # Torch 2.13 wraps Python scalars in tensors of 8 bytes, which capture on fake tensors does not see.
    ours, theirs = (
        [size for size in _bytes_by_role(trace, Role.ACTIVATION) if size > 8]
        for trace in (import_trace(path), captured)
    )
    assert ours == theirs


def test_the_footprint_is_captures_but_for_what_a_missing_free_changes(observed: tuple[Path, Trace]) -> None:
    path, captured = observed
    trace = import_trace(path, samples=BATCH)
    assert trace.samples == BATCH
    # Gradients and temporaries may die earlier (at their last use), the batch and 8-byte scalars stay: within a tenth.
    assert trace.footprint_bytes == pytest.approx(captured.footprint_bytes, rel=0.1)


def test_the_road_takes_it_with_recomputation(observed: tuple[Path, Trace]) -> None:
    machine = load_machine("v4-slc")
    timeline = lower(import_trace(observed[0]), machine=machine, fast_bytes=12 * 4096)
    assert len(timeline.producers) > 0
    results = {
        policy: simulate(
            make_policy(policy).decide(timeline, machine=machine), machine=machine, policy=policy
        )
        for policy in ("lru", "tmtrain")
    }
    assert results["tmtrain"].energy_j <= results["lru"].energy_j * (1 + 1e-9)


def test_a_gzipped_trace_is_the_same(observed: tuple[Path, Trace], tmp_path: Path) -> None:
    packed = tmp_path / "perceptron.json.gz"
    packed.write_bytes(gzip.compress(observed[0].read_bytes()))
    assert import_trace(packed).storages.name == import_trace(observed[0]).storages.name


def test_the_list_of_operators_is_torchs() -> None:
    import torch

    has = torch._C._dispatch_has_kernel_for_dispatch_key
    for name, kinds in kinds_of_operators().items():
        _, base, overload = name.split(".")
        op = getattr(getattr(torch.ops.aten, base, None), overload, None)
        if op is None:  # another release
            continue
        qualified = f"aten::{base}" + ("" if overload == "default" else f".{overload}")
        assert has(qualified, "CompositeImplicitAutograd") == ("composite" in kinds), name
        if "composite" not in kinds:
            assert (torch.Tag.pointwise in op.tags) == ("pointwise" in kinds), name


def _node(number: int, name: str, inputs: Any, outputs: Any, schema: str) -> dict[str, Any]:
    sides = [
        {
            "values": [v for v, _ in side],
            "shapes": [s for _, s in side],
            "types": ["Tensor(float)"] * len(side),
        }
        for side in (inputs, outputs)
    ]
    attrs = [{"name": "op_schema", "type": "string", "value": schema}]
    return {
        "id": number,
        "name": name,
        "ctrl_deps": 1,
        "inputs": sides[0],
        "outputs": sides[1],
        "attrs": attrs,
    }


RELU = "aten::relu(Tensor self) -> Tensor"
ADD = "aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)"


def _tensor(storage: int, elements: int) -> tuple[list[Any], list[int]]:
    return [storage + 100, storage, 0, elements, 4, "cpu"], [elements]


def _write(path: Path, nodes: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": nodes}))
    return path


def test_a_number_that_is_used_again_is_another_storage(tmp_path: Path) -> None:
    # relu makes 2 of 1; 2 is freed, and the next relu's result gets its number: that is new memory, not a write into it.
    path = _write(
        tmp_path / "x.json",
        [
            _node(2, "aten::relu", [_tensor(1, 8)], [_tensor(2, 8)], RELU),
            _node(3, "aten::relu", [_tensor(1, 8)], [_tensor(2, 4)], RELU),
            _node(4, "aten::add_", [_tensor(1, 8), _tensor(2, 4)], [_tensor(1, 8)], ADD),
        ],
    )
    storages = import_trace(path).storages
    assert storages.bytes.tolist() == [32, 32, 16]
    assert storages.persistent.tolist() == [True, False, False]
    assert storages.birth_op.tolist() == [0, 0, 1]
    assert storages.death_op.tolist() == [3, 1, 3]


def test_what_is_written_in_place_is_read_too_and_makes_nothing(tmp_path: Path) -> None:
    nodes = [_node(2, "aten::add_", [_tensor(1, 8), _tensor(2, 8)], [_tensor(1, 8)], ADD)]
    operands = import_trace(_write(tmp_path / "x.json", nodes)).operands
    assert operands.reads.tolist() == [True, True, False]
    assert operands.writes.tolist() == [True, False, False]
    assert not operands.allocates.any()


def test_schemas() -> None:
    schema = parse_schema(
        "aten::mul.out(Tensor self, Tensor[] b, float x='a,b(', *, Tensor(a!) out) -> Tensor(a!)"
    )
    assert schema is not None
    assert (schema.name, schema.written) == ("aten.mul.out", (False, False, False, True))
    assert parse_schema("") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "truncated"),
        (lambda t: t.replace('"inputs"', '"input"'), "truncated"),
        (lambda t: t.replace(RELU, ""), "no call of an operator with tensors"),
        (lambda t: t.replace("[101, 1, 0, 8, 4", "[101, 1"), "node 2 .*'inputs', argument 0"),
        (lambda t: t.replace('"shapes": [[8]]', '"shapes": []'), "node 2 .*1 values, 0 shapes"),
    ],
)
def test_what_cannot_be_used_is_told_by_node_and_field(change: Any, message: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.json", [_node(2, "aten::relu", [_tensor(1, 8)], [_tensor(2, 8)], RELU)])
    import_trace(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(FileFormatError, match=message):
        import_trace(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"traceEvents": []}', r"x\.json: a timeline of torch's profiler: give"),
        ('{"workload_graph": []}', r"x\.json: a Chakra trace in JSON: give the \.et file"),
        ('{"schema": "1.0.1", "nodes": [{"input_shapes": []}]}', r"x\.json: .* old schema: record it again"),
    ],
)
def test_other_json_is_called_what_it_is(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        import_trace(tmp_path / "x.json")


def test_a_file_that_is_not_there_or_of_no_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        import_trace(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="no form that tmtrain imports"):
        import_trace(tmp_path / "nothing.txt")
