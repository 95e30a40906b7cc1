"""Communication is an operator of this rank, with bytes and group, in PyTorch and in Chakra traces alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.written_traces import RELU, TOP, WrittenTrace, tensor

from tmtrain.importing import import_trace
from tmtrain.importing.execution_traces.chakra_file import (
    Attribute,
    ChakraNode,
    IoInfo,
    NodeType,
    write_chakra,
)
from tmtrain.lowering import lower
from tmtrain.machine import load_machine
from tmtrain.trace import Trace

ALL_REDUCE = (
    "c10d::allreduce_(Tensor[] tensors, __torch__.torch.classes.c10d.ProcessGroup process_group, int timeout) "
    "-> (Tensor[], __torch__.torch.classes.c10d.Work)"
)
ALL_GATHER = (
    "c10d::allgather_(Tensor[][] output_tensors, Tensor[] input_tensors, int timeout) "
    "-> (Tensor[][], __torch__.torch.classes.c10d.Work)"
)


def _lists(*tensors: tuple[int, int], depth: int = 1) -> dict[str, Any]:
    values: list[Any] = [tensor(*one) for one in tensors]
    shapes: list[Any] = [[elements] for _, elements in tensors]
    kind = ",".join(["Tensor(float)"] * len(tensors))
    for _ in range(depth):
        values, shapes, kind = [values], [shapes], f"GenericList[{kind}]"
    return {"values": values, "shapes": shapes, "types": [kind]}


def _beside(*sides: dict[str, Any]) -> dict[str, Any]:
    return {key: [cell for side in sides for cell in side[key]] for key in ("values", "shapes", "types")}


def _words(*words: Any) -> dict[str, Any]:
    kinds = ["Tuple[String,String]" if isinstance(word, list) else "String" for word in words]
    return {"values": list(words), "shapes": [[] for _ in words], "types": kinds}


def _pytorch(folder: Path, *, group: bool) -> Trace:
    """All-reduce a gradient of 1024 elements; with torch's note of the group, if `group`."""
    trace = WrittenTrace()
    trace.call("aten::relu", RELU, [(1, 1024)], [(2, 1024)])
    bucket = _lists((2, 1024))
    starts = trace.raw("c10d::allreduce_", bucket, bucket, TOP, op_schema=ALL_REDUCE)
    if group:
        note = _beside(bucket, _words(["7", "data"], "allreduce"))
        trace.raw("record_param_comms", note, bucket, starts, op_schema="", pg_name="7")
    trace.call("aten::relu", RELU, [(2, 1024)], [(3, 1024)])
    return import_trace(trace.write(folder / "x.json"))


def _chakra(folder: Path, *, group: bool) -> Trace:
    """Return the same step, as a plain Chakra file has it."""
    attributes: dict[str, Attribute] = {"comm_type": 0, "comm_size": 4096} | (
        {"pg_name": "7"} if group else {}
    )
    nodes = [
        ChakraNode(id=0, name="make", type=NodeType.COMP, inputs=_io(1), outputs=_io(2)),
        ChakraNode(
            id=1,
            name="nccl",
            type=NodeType.COMM_COLL,
            data_deps=(0,),
            inputs=_io(2),
            outputs=_io(2),
            attributes=attributes,
        ),
        ChakraNode(id=2, name="use", type=NodeType.COMP, data_deps=(1,), inputs=_io(2), outputs=_io(3)),
    ]
    write_chakra(folder / "x.et", nodes, attributes={})
    return import_trace(folder / "x.et")


def _io(storage: int) -> IoInfo:
    return IoInfo(values=f"[{tensor(storage, 1024)}]", shapes="[[1024]]", types="['Tensor(float)']")


@pytest.mark.parametrize("load", [_pytorch, _chakra])
@pytest.mark.parametrize(("group", "name"), [(True, "7"), (False, "unknown")])
def test_an_all_reduce_is_an_operator_that_updates_in_place(
    load: Any, group: bool, name: str, tmp_path: Path
) -> None:
    trace: Trace = load(tmp_path, group=group)
    assert trace.operators.name[1] == f"comm.all_reduce.{name}"
    rows = np.flatnonzero(trace.operands.op == 1)
    assert trace.operands.span_bytes[rows].tolist() == [4096]
    assert trace.operands.reads[rows].tolist() == trace.operands.writes[rows].tolist() == [True]
    assert trace.options["communication"] == f"1 x all_reduce over group {name}, 4,096 B"
    assert len(trace.operators) == 3


def test_an_all_gather_writes_what_it_is_given_for_results_and_does_not_read_it(tmp_path: Path) -> None:
    trace = WrittenTrace()
    inputs = _beside(_lists((5, 8), (6, 8), depth=2), _lists((4, 8)))
    trace.raw("c10d::allgather_", inputs, _lists((5, 8), (6, 8), depth=2), TOP, op_schema=ALL_GATHER)
    trace.raw("record_param_comms", _words("wait"), _words(), TOP, op_schema="")
    imported = import_trace(trace.write(tmp_path / "x.json"))
    assert imported.operators.name == ("comm.all_gather.unknown",)
    assert imported.operands.reads.tolist() == [True, False, False]
    assert imported.operands.writes.tolist() == [False, True, True]
    assert imported.options["communication"] == "1 x all_gather over group unknown, 32 B"


def test_a_note_alone_is_communication_too(tmp_path: Path) -> None:
    trace = WrittenTrace()
    inputs = _beside(_lists((4, 8)), _words(["tp.0", "tensor"], "_allgather_base"))
    trace.raw("record_param_comms", inputs, _lists((5, 16)), TOP, op_schema="")
    imported = import_trace(trace.write(tmp_path / "x.json"))
    assert imported.operators.name == ("comm.all_gather.tp_0",)
    assert imported.operands.writes.tolist() == [False, True]


def test_a_chakra_node_without_tensors_has_the_bytes_that_it_says(tmp_path: Path) -> None:
    nodes = [
        ChakraNode(id=0, name="make", type=NodeType.COMP, inputs=_io(1), outputs=_io(2)),
        ChakraNode(id=1, name="send it", type=NodeType.COMM_SEND, attributes={"comm_size": 512}),
    ]
    write_chakra(tmp_path / "x.et", nodes, attributes={})
    trace = import_trace(tmp_path / "x.et")
    assert trace.operators.name[1] == "comm.send.unknown"
    assert trace.options["communication"] == "1 x send over group unknown, 512 B"
    assert lower(trace, machine=load_machine("v4-slc"), fast_bytes=1 << 20).compute_s > 0
