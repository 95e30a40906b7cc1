"""Chakra execution traces: the wire format, what is read of a file, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing import import_trace
from tmtrain.importing.execution_traces.chakra_file import (
    ChakraNode,
    IoInfo,
    NodeType,
    read_chakra,
    write_chakra,
)
from tmtrain.importing.execution_traces.protobuf_wire import decode_fields, decode_varint, encode_varint
from tmtrain.trace import Phase, Role

RELU = "aten::relu(Tensor self) -> Tensor"


def _io(*tensors: tuple[int, int]) -> IoInfo:
    """Storages and elements, as Python prints them: so the converter from PyTorch does."""
    return IoInfo(
        values=str([[storage + 100, storage, 0, elements, 4, "cuda:0"] for storage, elements in tensors]),
        shapes=str([[elements] for _, elements in tensors]),
        types=str(["Tensor(float)"] * len(tensors)),
    )


def _comp(number: int, inputs: IoInfo, outputs: IoInfo, **rest: Any) -> ChakraNode:
    return ChakraNode(
        id=number, name=f"kernel{number}", type=NodeType.COMP, inputs=inputs, outputs=outputs, **rest
    )


def _write(path: Path, *nodes: ChakraNode) -> Path:
    write_chakra(path, nodes, attributes={})
    return path


def test_bytes_on_the_wire_are_those_of_the_schema(tmp_path: Path) -> None:
    node = ChakraNode(
        id=300,
        name="a",
        type=NodeType.COMP,
        data_deps=(1, 300),
        duration_micros=2,
        attributes={"is_cpu_op": False, "tensor_size": 3, "num_ops": 4},
    )
    data = _write(tmp_path / "x.et", node).read_bytes()
    # Metadata: field 1, text "0.0.4". Node by hand: key = number << 3 | wire type.
    assert data[:8] == b"\x07\x0a\x050.0.4"
    assert data[8:] == (
        b"\x3d"  # 61 bytes follow
        b"\x08\xac\x02"  # 1: id 300
        b"\x12\x01a"  # 2: name
        b"\x18\x04"  # 3: COMP_NODE
        b"\x2a\x03\x01\xac\x02"  # 5: data_deps, packed
        b"\x38\x02"  # 7: duration_micros
        b"\x52\x0e\x0a\x09is_cpu_op\xd8\x01\x00"  # 10: attribute: name, 27: bool_val false
        b"\x52\x0f\x0a\x0btensor_size\x68\x03"  # 13: uint64_val
        b"\x52\x0b\x0a\x07num_ops\x48\x04"  # 9: int64_val
    )


@pytest.mark.parametrize("value", [0, 127, 128, 300, 2**32, 2**64 - 1])
def test_varints_come_back(value: int) -> None:
    data = encode_varint(value)
    assert decode_varint(data + b"\x00", 0) == (value, len(data))


@pytest.mark.parametrize("suffix", [".et", ".et.gz"])
def test_a_file_comes_back(suffix: str, tmp_path: Path) -> None:
    nodes = (
        _comp(0, _io((1, 8)), _io((2, 8)), attributes={"s": "é", "d": 0.0, "n": 7, "t": True, "e": ""}),
        ChakraNode(id=1, name="m", type=NodeType.MEM_LOAD, ctrl_deps=(0,), data_deps=(0,)),
    )
    write_chakra(tmp_path / f"x{suffix}", nodes, attributes={"model": "m", "samples": 2})
    file = read_chakra(tmp_path / f"x{suffix}")
    assert file.nodes == nodes
    assert file.attributes == {"model": "m", "samples": 2}


def test_unpacked_dependencies_and_signed_numbers_are_read_too() -> None:
    assert list(decode_fields(b"\x28\x01\x28\x02")) == [(5, 0, 1), (5, 0, 2)]


def test_without_schemas_inputs_are_read_and_outputs_written(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "step.et",
        _comp(0, _io((1, 1024)), _io((2, 2048)), duration_micros=5),
        _comp(
            1,
            _io((2, 2048)),
            _io((3, 1024)),
            duration_micros=7,
            data_deps=(0,),
            attributes={"phase": "backward"},
        ),
        _comp(
            2,
            _io((1, 1024), (3, 1024)),
            _io((1, 1024)),
            duration_micros=3,
            data_deps=(1,),
            attributes={"phase": "optimizer"},
        ),
    )
    trace = import_trace(path, samples=4)
    assert (trace.model, trace.samples) == ("step", 4)
    assert trace.operators.name[0] == "chakra.node.kernel0"
    assert trace.operators.phase.tolist() == [Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]
    assert trace.operators.duration_s is not None
    assert trace.operators.duration_s.tolist() == [5e-6, 7e-6, 3e-6]
    assert trace.storages.bytes.tolist() == [4096, 8192, 4096]
    assert trace.storages.role.tolist() == [Role.PARAMETER, Role.ACTIVATION, Role.GRADIENT]
    # The parameter always; 2 while 0 and 1 run, 3 while 1 and 2 run.
    assert trace.live_bytes().tolist() == [12288, 16384, 8192]
    assert trace.operands.writes.tolist() == [False, True, False, True, True, False]


def test_dependencies_decide_the_order_not_numbers(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "x.et",
        _comp(0, _io((2, 8)), _io((3, 8)), data_deps=(9,), duration_micros=1),
        _comp(9, _io((1, 8)), _io((2, 8)), duration_micros=2),
    )
    trace = import_trace(path)
    assert trace.operators.name == ("chakra.node.kernel9", "chakra.node.kernel0")


def test_memory_nodes_are_left_out_but_keep_the_order(tmp_path: Path) -> None:
    load = ChakraNode(id=1, name="load", type=NodeType.MEM_LOAD, data_deps=(5,))
    path = _write(
        tmp_path / "x.et",
        _comp(0, _io((2, 8)), _io((3, 8)), data_deps=(1,), duration_micros=1),
        load,
        _comp(5, _io((1, 8)), _io((2, 8)), duration_micros=2),
    )
    assert import_trace(path).operators.name == ("chakra.node.kernel5", "chakra.node.kernel0")


def test_without_times_the_machine_says_them(tmp_path: Path) -> None:
    trace = import_trace(_write(tmp_path / "x.et", _comp(0, _io((1, 8)), _io((2, 8)))))
    assert trace.operators.duration_s is None


def test_converted_from_pytorch_kernels_give_the_time_of_the_call_they_are_in(tmp_path: Path) -> None:
    cpu = {"is_cpu_op": True}
    outer = "aten::dropout(Tensor input, float p, bool train) -> Tensor"  # composite: what it calls counts
    path = _write(
        tmp_path / "x.et",
        _comp(1, _io((1, 8)), _io((2, 8)), duration_micros=90, attributes=cpu | {"op_schema": outer}),
        _comp(
            2,
            _io((1, 8)),
            _io((2, 8)),
            duration_micros=50,
            ctrl_deps=(1,),
            attributes=cpu | {"op_schema": RELU},
        ),
        _comp(
            3, _io((1, 8)), _io((2, 8)), duration_micros=7, ctrl_deps=(2,), attributes={"is_cpu_op": False}
        ),
        _comp(
            4, _io((1, 8)), _io((2, 8)), duration_micros=4, ctrl_deps=(2,), attributes={"is_cpu_op": False}
        ),
        _comp(5, _io((2, 8)), _io((3, 8)), duration_micros=6, attributes=cpu | {"op_schema": RELU}),
    )
    trace = import_trace(path)
    assert trace.operators.name == ("aten.relu.default", "aten.relu.default")
    assert trace.operators.duration_s is not None
    assert trace.operators.duration_s.tolist() == pytest.approx([11e-6, 6e-6])


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        (
            ChakraNode(id=1, name="disk", type=NodeType.STORAGE),
            InputError,
            r"x\.et, node 1 \(disk\): a STORAGE node",
        ),
        (ChakraNode(id=0, name="twin", type=NodeType.COMP), FileFormatError, "two nodes have the same"),
        (_comp(1, _io((1, 8)), _io(), data_deps=(7,)), FileFormatError, "depends on node 7.*cut off"),
        (_comp(1, _io((1, 8)), _io(), data_deps=(1,)), FileFormatError, "in a circle"),
        (_comp(1, IoInfo(), IoInfo()), FileFormatError, "names no tensors"),
        (_comp(1, IoInfo(values="[["), IoInfo()), FileFormatError, "is no list"),
        (_comp(1, _io((1, 8)), _io(), attributes={"phase": "lunch"}), FileFormatError, "no phase"),
    ],
)
def test_what_cannot_be_used_is_told_by_node(
    node: ChakraNode, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "x.et", _comp(0, _io((1, 8)), _io((2, 8)), duration_micros=1), node)
    with pytest.raises(error, match=message):
        import_trace(path)


def test_a_truncated_file_is_told_by_message(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.et", _comp(0, _io((1, 8)), _io((2, 8))), _comp(1, _io((2, 8)), _io((3, 8))))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileFormatError, match=r"message 2: \d+ B are announced"):
        import_trace(path)
    path.write_text(json.dumps({"no": "Chakra"}))
    with pytest.raises(FileFormatError, match="message 0"):
        import_trace(path)
