"""What every export refuses: another step, unknown forms, options of another form; and layers as they are found."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.exported import LAYERS, gpt2_ledger
from tests.support.traces import tiny_trace

from tmtrain.errors import InputError
from tmtrain.exports import export
from tmtrain.exports.example import example_ledger
from tmtrain.exports.layers import find_layers
from tmtrain.exports.ledger import open_ledger
from tmtrain.lowering import lower
from tmtrain.trace import example_trace


def _step() -> dict[str, Any]:
    ledger = example_ledger()
    return {"trace": ledger.trace, "timeline": ledger.timeline, "machine": ledger.machine}


@pytest.mark.parametrize("to", ["table", "checkpoint", "fsdp2", "deepspeed", "chakra"])
def test_a_plan_for_another_step_is_refused_and_nothing_written(to: Any, tmp_path: Path) -> None:
    ledger = gpt2_ledger("60%")
    with pytest.raises(InputError, match="the plan was made for trace"):
        export(ledger.plan, tmp_path / "out", to=to, **_step())
    assert not list(tmp_path.iterdir())


def test_another_capacity_is_refused(tmp_path: Path) -> None:
    ledger = example_ledger()
    wider = lower(ledger.trace, machine=ledger.machine, fast_bytes=6 * 4096)
    with pytest.raises(InputError, match="of fast memory"):
        open_ledger(ledger.plan, trace=ledger.trace, timeline=wider, machine=ledger.machine)


def test_a_trace_that_is_not_the_timelines_is_refused() -> None:
    ledger = example_ledger()
    with pytest.raises(InputError, match="was not lowered from this trace"):
        open_ledger(ledger.plan, trace=tiny_trace("fused"), timeline=ledger.timeline, machine=ledger.machine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "onnx"}, "unknown form 'onnx': choose one of table, checkpoint, fsdp2, deepspeed"),
        ({"to": "table", "device": "cpu"}, "a device is for deepspeed, not for table"),
        ({"to": "deepspeed", "device": "gpu"}, "unknown device 'gpu': choose one of nvme, cpu"),
        ({"to": "fsdp2", "layers": "x"}, "layers are for checkpoint, not for fsdp2"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        export(example_ledger().plan, tmp_path / "out", **options, **_step())
    assert not list(tmp_path.iterdir())


def test_layers_of_a_transformer_are_its_blocks_and_alike() -> None:
    layers = find_layers(gpt2_ledger("60%").trace)
    assert [layer.path for layer in layers] == [f"transformer.h.{i}" for i in range(LAYERS)]
    assert len({layer.kind for layer in layers}) == 1


def test_layers_of_a_resnet_are_inside_its_stages() -> None:
    layers = find_layers(tiny_trace("resnet"))
    assert len(layers) == 50
    assert all(re.fullmatch(r"resnet\.encoder\.stages\.\d\.layers\.\d+", layer.path) for layer in layers)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("nothing", "no module of gpt2-small that runs in forward fits 'nothing'"),
        (r"transformer\.h\.0(\.attn)?", "layers must not contain one another"),
    ],
)
def test_patterns_that_name_no_layers_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_layers(gpt2_ledger("60%").trace, pattern)


def test_a_step_without_layers_says_what_to_do() -> None:
    operators = example_trace().operators
    flat = replace(example_trace(), operators=replace(operators, module=("",) * len(operators)))
    with pytest.raises(InputError, match=r"no layers in the step of example.*--layers"):
        find_layers(flat)


def test_a_layer_that_runs_in_pieces_is_refused() -> None:
    trace = example_trace()
    # The first layer's operator runs again after the second's.
    modules = ("0", "1", "0", *trace.operators.module[3:])
    phases = trace.operators.phase.copy()
    phases[2] = phases[0]
    torn = replace(trace, operators=replace(trace.operators, module=modules, phase=phases))
    with pytest.raises(InputError, match="layer '0' runs in pieces"):
        find_layers(torn, "[01]")
