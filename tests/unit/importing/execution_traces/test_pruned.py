"""What the converter from PyTorch to Chakra leaves out is made up for, where the numbers still say the order."""

from pathlib import Path
from typing import Any

import pytest

from tmtrain.errors import FileFormatError
from tmtrain.importing import import_trace
from tmtrain.importing.execution_traces.chakra_file import ChakraNode, IoInfo, NodeType, write_chakra
from tmtrain.trace import Phase, Trace

RELU = "aten::relu(Tensor self) -> Tensor"
UPDATE = "aten::_foreach_add_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()"


def _comp(number: int, read: int, written: int, **rest: Any) -> ChakraNode:
    return ChakraNode(
        id=number,
        name=rest.pop("name", f"kernel{number}"),
        type=NodeType.COMP,
        inputs=_io(read),
        outputs=_io(written),
        **rest,
    )


def _io(storage: int) -> IoInfo:
    return IoInfo(
        values=str([[storage + 100, storage, 0, 8, 4, "cuda:0"]]), shapes="[[8]]", types="['Tensor(float)']"
    )


def _import(folder: Path, *nodes: ChakraNode) -> Trace:
    write_chakra(folder / "x.et", nodes, attributes={})
    return import_trace(folder / "x.et")


def test_numbers_say_the_order_that_pruned_dependencies_no_longer_do(tmp_path: Path) -> None:
    trace = _import(
        tmp_path,
        _comp(9, 3, 4, data_deps=(7,)),  # 7 was between 5 and 9
        _comp(5, 2, 3, data_deps=(1,)),
        _comp(1, 1, 2),
    )
    assert trace.operators.name == ("chakra.node.kernel1", "chakra.node.kernel5", "chakra.node.kernel9")


def test_where_numbers_say_nothing_a_pruned_dependency_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError,
        match=r"x\.et, node 9 \(kernel9\).*depends on node 7, which is not there.*node 1 depends on node 5.*again",
    ):
        _import(tmp_path, _comp(9, 3, 4, data_deps=(7,)), _comp(1, 2, 3, data_deps=(5,)), _comp(5, 1, 2))


def _cpu(number: int, read: int, written: int, **rest: Any) -> ChakraNode:
    attributes = {"is_cpu_op": True, "op_schema": rest.pop("schema", RELU), "tid": rest.pop("tid", 1)}
    if "rf_id" in rest:
        attributes["rf_id"] = rest.pop("rf_id")
    return _comp(number, read, written, ctrl_deps=(3,), attributes=attributes, **rest)


def test_parts_of_an_operator_are_one_and_kernels_are_in_the_part_that_started_them(tmp_path: Path) -> None:
    gpu = {"is_cpu_op": False}
    trace = _import(
        tmp_path,
        _cpu(10, 1, 2, name="aten::relu(0)", rf_id=77, duration_micros=300),
        # What the converter calls its parent was pruned.
        _comp(11, 1, 2, ctrl_deps=(8,), data_deps=(10,), attributes=gpu, duration_micros=4),
        _cpu(12, 1, 2, name="aten::relu(1)", rf_id=77, duration_micros=20),
        _comp(13, 1, 2, ctrl_deps=(8,), data_deps=(10, 12), attributes=gpu, duration_micros=5),
        _cpu(14, 2, 3, name="aten::relu(0)", rf_id=78, duration_micros=30),
        _cpu(15, 2, 3, name="aten::relu(1)", rf_id=78, duration_micros=40),
    )
    assert trace.operators.name == ("aten.relu.default", "aten.relu.default")
    assert trace.operators.duration_s is not None
    assert trace.operators.duration_s.tolist() == pytest.approx([9e-6, 70e-6])


def test_without_autograds_calls_backward_is_what_runs_in_another_thread(tmp_path: Path) -> None:
    trace = _import(
        tmp_path,
        _cpu(10, 1, 2, tid=1),
        _cpu(11, 2, 3, tid=2),
        ChakraNode(
            id=12,
            name="aten::_foreach_add_",
            type=NodeType.COMP,
            ctrl_deps=(3,),
            inputs=IoInfo(
                values=str([[[101, 1, 0, 8, 4, "cuda:0"]], [[103, 3, 0, 8, 4, "cuda:0"]]]),
                shapes="[[[8]], [[8]]]",
                types="['GenericList[Tensor(float)]', 'GenericList[Tensor(float)]']",
            ),
            attributes={"is_cpu_op": True, "op_schema": UPDATE, "tid": 1},
        ),
    )
    assert trace.operators.phase.tolist() == [Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]


def test_a_collective_on_the_accelerator_whose_start_was_pruned_is_kept(tmp_path: Path) -> None:
    nccl = ChakraNode(
        id=11,
        name="ncclKernel_AllReduce",
        type=NodeType.COMM_COLL,
        ctrl_deps=(9,),
        attributes={"is_cpu_op": False, "comm_type": 0, "comm_size": 4096},
    )
    trace = _import(tmp_path, _cpu(10, 1, 2), nccl)
    assert trace.operators.name == ("aten.relu.default", "comm.all_reduce.unknown")
    assert trace.options["communication"] == "1 x all_reduce over group unknown, 4,096 B"
