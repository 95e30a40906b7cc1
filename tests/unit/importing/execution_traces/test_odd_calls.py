"""Calls that threw, lists in lists, strides that are short, kernels of a compiler: what torch's observer really writes."""

from pathlib import Path

from tests.support.execution_traces import observed
from tests.support.written_traces import MUL, RELU, TOP, WrittenTrace, tensor

from tmtrain.importing import import_trace
from tmtrain.trace import Operands, Phase, Trace

EVALUATE = "autograd::engine::evaluate_function: "


def _import(trace: WrittenTrace, folder: Path) -> Trace:
    return import_trace(trace.write(folder / "x.json"))


def test_recomputation_that_ends_by_throwing_is_backward_and_what_follows_is_not(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.call("aten::relu", RELU, [(3, 8)], [(4, 8)])
    outer = trace.call(f"{EVALUATE}ReluBackward0")
    trace.call("aten::relu", RELU, [(3, 8)], [(5, 8)], parent=outer)
    threw = trace.skip()
    trace.call("aten::mul", MUL, [(5, 8), (5, 8)], [(6, 8)], parent=threw)
    # The observer believes to be in `outer` still, which has ended.
    inner = trace.call(f"{EVALUATE}AccumulateGrad", parent=outer)
    trace.call("aten::mul", MUL, [(6, 8), (5, 8)], [(7, 8)], parent=inner)
    trace.call("aten::relu", RELU, [(3, 8)], [(8, 8)], parent=outer)
    phases = _import(trace, tmp_path).operators.phase.tolist()
    assert phases == [Phase.FORWARD, Phase.BACKWARD, Phase.BACKWARD, Phase.BACKWARD, Phase.FORWARD]


def test_phases_of_non_reentrant_checkpointing_are_right_as_torch_writes_it(tmp_path: Path) -> None:
    import torch
    from torch.utils.checkpoint import checkpoint

    block = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU()
    )
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1, foreach=False)
    data = torch.randn(4, 8)

    def step() -> None:
        optimizer.zero_grad()
        hidden = checkpoint(block, data, use_reentrant=False)
        assert isinstance(hidden, torch.Tensor)
        checkpoint(block, hidden, use_reentrant=False).square().mean().backward()  # pyright: ignore
        optimizer.step()

    step()
    with observed(tmp_path / "x.json"):
        step()
        step()
    for number in (1, 2):
        operators = import_trace(tmp_path / "x.json", step=number).operators
        by_phase = {
            phase: [
                name for name, at in zip(operators.name, operators.phase.tolist(), strict=True) if at == phase
            ]
            for phase in Phase
        }
        # Four linear layers forward; recomputed, they run again, and each has two products in backward but the first.
        assert by_phase[Phase.FORWARD].count("aten.addmm.default") == 4
        assert by_phase[Phase.BACKWARD].count("aten.addmm.default") == 4
        assert by_phase[Phase.BACKWARD].count("aten.mm.default") == 7
        assert by_phase[Phase.BACKWARD].count("aten.threshold_backward.default") == 4
        assert "aten.threshold_backward.default" not in by_phase[Phase.FORWARD]
        assert set(by_phase[Phase.OPTIMIZER]) <= {"aten.add_.Tensor", "aten._to_copy.default"}


def test_lists_in_lists_are_read(tmp_path: Path) -> None:
    trace = WrittenTrace()
    inputs = {
        "values": [[[tensor(1, 8), tensor(2, 4)], [tensor(3, 2)]], [], 7],
        "shapes": [[[[8], [4]], [[2]]], [], []],
        "types": [
            "GenericList[GenericList[Tensor(float),Tensor(float)],GenericList[Tensor(float)]]",
            "GenericList[]",
            "Int",
        ],
        "strides": [[[[1], [1]], [[1]]]],
    }
    results = {"values": [tensor(4, 8)], "shapes": [[8]], "types": ["Tensor(float)"]}
    schema = "own::gather(Tensor[][] tensors, Tensor[] others, int size) -> Tensor"
    trace.raw("own::gather", inputs, results, TOP, op_schema=schema)
    operands = _import(trace, tmp_path).operands
    assert operands.span_bytes.tolist() == [32, 16, 8, 32]
    assert operands.position.tolist() == [0, 0, 0, Operands.RESULT]
    assert operands.item.tolist() == [0, 1, 2, 0]


def test_strides_that_are_missing_are_taken_as_contiguous(tmp_path: Path) -> None:
    trace = WrittenTrace()
    inputs = {
        "values": [tensor(1, 16), tensor(2, 16), 16],
        "shapes": [[4, 4], [4, 4], []],
        "types": ["Tensor(float)", "Tensor(float)", "Int"],
        "strides": [[1, 4]],
    }
    results = {"values": [tensor(3, 16)], "shapes": [[4, 4]], "types": ["Tensor(float)"], "strides": []}
    trace.raw("aten::mul", inputs, results, TOP, op_schema=MUL)
    operands = _import(trace, tmp_path).operands
    assert [tuple(stride) for stride in operands.stride] == [(1, 4), (4, 1), (4, 1)]


def test_a_kernel_of_a_compiler_reads_what_is_there_and_writes_what_is_not(tmp_path: Path) -> None:
    trace = WrittenTrace()
    empty = "aten::empty_strided(SymInt[] size, SymInt[] stride) -> Tensor"
    region = trace.call("CompiledFunction")
    trace.call("aten::relu", RELU, [(1, 8)], [(2, 8)], parent=region)
    trace.call("aten::empty_strided", empty, [], [(3, 8)], parent=region)
    trace.call("triton_poi_fused_0", "", [(1, 8), (2, 8), (3, 8)], parent=region, kernel_backend="triton")
    trace.call("aten::relu", RELU, [(3, 8)], [(4, 8)], parent=region)
    imported = _import(trace, tmp_path)
    assert imported.operators.name[2] == "compiled.triton_poi_fused_0"
    rows = imported.operands.op == 2
    assert imported.operands.reads[rows].tolist() == [True, True, False]
    assert imported.operands.writes[rows].tolist() == [False, False, True]
