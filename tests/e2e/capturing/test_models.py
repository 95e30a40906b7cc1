"""The verbs a user calls: zoo models by name, their own function by file, and the messages when it fails."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tmtrain.capturing import ZOO, StepOptions, capture_function, capture_model
from tmtrain.errors import CaptureError, InputError
from tmtrain.trace import Phase, Role, Trace, load_trace, save_trace, trace_fingerprint


def parameter_bytes(trace: Trace) -> int:
    return int(trace.storages.bytes[trace.storages.role == Role.PARAMETER].sum())


def test_a_zoo_model_by_name() -> None:
    trace = capture_model("gpt2-tiny")
    assert (trace.model, trace.samples) == ("gpt2-tiny", 2)
    assert trace.options["precision"] == "bf16-mixed"
    assert trace.options["dtype"] == "bfloat16"
    assert trace.options["sequence"] == 16
    assert trace.options["attention"] == "fused"
    assert trace.options["operators"] == "accelerator"
    assert {"torch", "transformers"} <= set(trace.options)
    assert set(trace.operators.phase) == {Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER}
    assert "transformer.h.1.mlp.c_fc" in trace.operators.module


def test_a_captured_trace_survives_its_file(tmp_path: Path) -> None:
    trace = capture_model("gpt2-tiny")
    save_trace(trace, tmp_path / "tiny.trace")
    assert trace_fingerprint(load_trace(tmp_path / "tiny.trace")) == trace_fingerprint(trace)


@pytest.mark.slow
def test_captures_are_the_same_in_every_process() -> None:
    code = (
        "from tmtrain.capturing import capture_model; from tmtrain.trace import trace_fingerprint;"
        "print(trace_fingerprint(capture_model('gpt2-tiny')))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == trace_fingerprint(capture_model("gpt2-tiny"))


def test_options_change_what_they_name() -> None:
    default = capture_model("gpt2-tiny", StepOptions(precision="fp32"))
    half = capture_model("gpt2-tiny", StepOptions(precision="bf16"))
    larger = capture_model("gpt2-tiny", StepOptions(precision="fp32", sequence=32, batch=4))
    sgd = capture_model("gpt2-tiny", StepOptions(precision="fp32", optimizer="sgd"))
    adafactor = capture_model("gpt2-tiny", StepOptions(precision="fp32", optimizer="adafactor"))
    assert parameter_bytes(default) == 2 * parameter_bytes(half)
    assert larger.samples == 4
    assert larger.footprint_bytes > 1.5 * default.footprint_bytes
    assert state_bytes(sgd) == parameter_bytes(sgd)
    assert state_bytes(default) == 2 * parameter_bytes(default) + 4 * 28  # one step counter per parameter
    assert 0 < state_bytes(adafactor) < parameter_bytes(adafactor)


def state_bytes(trace: Trace) -> int:
    return int(trace.storages.bytes[trace.storages.role == Role.OPTIMIZER_STATE].sum())


def test_eager_attention_is_another_path() -> None:
    eager = capture_model("gpt2-tiny", StepOptions(attention="eager")).operators.name
    fused = capture_model("gpt2-tiny").operators.name
    on_cpu = capture_model("gpt2-tiny", StepOptions(operators="cpu")).operators.name
    assert "aten._scaled_dot_product_flash_attention.default" in fused
    assert not {"aten._softmax.default", "aten._safe_softmax.default"} & set(fused)
    assert "aten._softmax.default" in eager
    assert "aten._safe_softmax.default" in on_cpu  # a CPU does not fuse where dropout is on


def test_optimizers_work_on_one_parameter_at_a_time() -> None:
    trace = capture_model("gpt2-tiny")
    steps = trace.operators.phase[trace.operands.op] == Phase.OPTIMIZER
    assert np.all(trace.operands.item[steps] == 0)
    single = capture_model("gpt2-tiny", StepOptions(operators="cpu"))
    assert "aten._fused_adamw_.default" in trace.operators.name
    assert not any("foreach" in name or "fused" in name for name in single.operators.name)


# Parameters of the published models; ours must be those to the last one.
PARAMETERS = {
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "bert-large": 335_174_458,
    "vit-large": 304_326_632,
    "resnet-152": 60_192_808,
    "t5-large": 737_668_096,
    "llama-2-7b": 6_738_415_616,
    "gpt3-175b": 174_604_259_328,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_zoo_has_the_published_models(name: str) -> None:
    trace = capture_model(name)
    assert parameter_bytes(trace) == 2 * PARAMETERS[name]
    assert trace.samples == ZOO[name].batch


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gpt2-xxl", StepOptions(), r"unknown model 'gpt2-xxl' \(did you mean 'gpt2-xl'\?\).*resnet-152"),
        ("gpt2-tiny", StepOptions(batch=0), "batch is 0, at least 1"),
        ("gpt2-tiny", StepOptions(sequence=65), "65 is too long for gpt2-tiny: at most 64"),
        ("gpt2-tiny", StepOptions(precision="int8"), "precision is 'int8', .* fp32, bf16, bf16-mixed"),
        ("gpt2-tiny", StepOptions(operators="tpu"), "operators is 'tpu', .* accelerator, cpu"),
        ("gpt2-tiny", StepOptions(attention="sdpa"), "attention is 'sdpa', .* fused, eager"),
        ("vit-large", StepOptions(sequence=3), "vit-large trains on images"),
        ("resnet-152", StepOptions(attention="fused"), "resnet-152 has no attention"),
        ("gpt2-tiny", StepOptions(checkpointing="some"), "checkpointing is 'some', needs .* full, selective"),
    ],
)
def test_wrong_choices_are_refused(name: str, options: StepOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        capture_model(name, options)


def test_wrong_names_are_refused_before_torch_is_imported() -> None:
    code = (
        "import sys\nfrom tmtrain.capturing import capture_model\n"
        "try:\n    capture_model('nothing')\nexcept Exception as error:\n    print(type(error).__name__)\n"
        "assert 'torch' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "InputError"


JOB = """
import torch
from torch import nn
from neighbour import WIDTH

class Gate(nn.Module):
    def forward(self, x):
        {body}

def job():
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Sequential(nn.ReLU(), Gate()))
    optimizer = torch.optim.AdamW(model.parameters())
    batch = torch.from_numpy({batch})
    def step():
        model(batch).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer, step

def pair():
    return 1, 2

def strings():
    return "model", "optimizer", "step"

def broken():
    raise KeyError("weights")

number = 3
"""
BATCH = "__import__('numpy').ones((4, WIDTH), 'float32')"


@pytest.fixture
def write_job(tmp_path: Path):
    def write(body: str = "return x") -> str:
        (tmp_path / "neighbour.py").write_text("WIDTH = 8\n")
        (tmp_path / "mine.py").write_text(JOB.format(body=body, batch=BATCH))
        return str(tmp_path / "mine.py")

    yield write
    sys.modules.pop("neighbour", None)


def test_a_users_function(write_job) -> None:
    trace = capture_function(f"{write_job()}:job", name="mine", samples=4)
    assert (trace.model, trace.samples) == ("mine", 4)
    assert trace.storages.name[:2] == ("0.weight", "0.bias")
    assert "state:0.weight.exp_avg" in trace.storages.name
    assert "1.0" in trace.operators.module


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x * x.sum().item()", r"_local_scalar_dense.*module '1\.1'.*values of a tensor.*\.item\(\)"),
        ("return x if x.sum() > 0 else -x", r"operator aten\..* of module '1\.1'"),
        ("return x[x.nonzero()[:, 0]]", r"aten\.nonzero.* of module '1\.1'.*shape depends.*torch\.where"),
    ],
)
def test_data_dependent_operators_are_named_with_their_module(write_job, body: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture_function(f"{write_job(body)}:job")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", r"has no function 'nothing'; it has .*job"),
        ("number", r"has no function 'number'"),
        ("pair", r"pair returned \(int, int\).*must return \(model, optimizer, step\)"),
        ("strings", r"returned \(str, str, str\)"),
        ("broken", r"broken failed on fake tensors at .*mine\.py:27 in broken: .*: KeyError: 'weights'"),
    ],
)
def test_wrong_functions_are_refused(write_job, function: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture_function(f"{write_job()}:{function}")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("absent.py:job", "no such file: absent.py"),
        ("absent.py", "write FILE.py:FUNCTION"),
        ("absent.py:not a name", "write FILE.py:FUNCTION"),
    ],
)
def test_wrong_targets_are_refused(target: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture_function(target)


def test_a_file_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package_here\n")
    with pytest.raises(
        CaptureError, match=r"broken\.py failed at .*broken\.py:1 in .*ModuleNotFoundError.*no_such_package"
    ):
        capture_function(f"{tmp_path}/broken.py:job")


def test_samples_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="samples is 0"):
        capture_function(f"{tmp_path}/absent.py:job", samples=0)
