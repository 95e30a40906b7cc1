"""Code as people write it: on devices that are not here, converted, initialised, with one optimizer, many or none."""

import copy
import gc
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.amp.autocast_mode import autocast

import tmtrain
from tmtrain.capturing import capture
from tmtrain.capturing.fake import capture_user_function
from tmtrain.capturing.jobs.user import UserFunction
from tmtrain.capturing.pretending.grouped import mend_grouped_products
from tmtrain.errors import CaptureError
from tmtrain.trace import Phase, Role, Trace

Job = tuple[Any, ...]
WIDTH = 8
NUMBERS = 2 * (WIDTH * WIDTH + WIDTH)
"""In the parameters of `network`."""


@pytest.fixture(autouse=True, scope="module")
def no_old_garbage() -> Generator[None]:
    """Every capture collects garbage: here without looking through all that the tests before left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def training(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **batch: Any) -> Job:
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        first = next(model.parameters())
        x = torch.randn(4, WIDTH, **{"device": first.device, "dtype": first.dtype, **batch})
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def captured(job: Callable[[], Job]) -> Trace:
    return capture_user_function(UserFunction(target="mine.py:job", call=job), name="mine", samples=4)


def bytes_of(trace: Trace, role: Role) -> int:
    return int(trace.storages.bytes[trace.storages.role == role].sum())


def named(trace: Trace, role: Role) -> list[str]:
    roles = trace.storages.role.tolist()
    return [name for name, actual in zip(trace.storages.name, roles, strict=True) if actual == role]


def dtypes(trace: Trace, role: Role) -> set[str]:
    roles = trace.storages.role.tolist()
    return {dtype for dtype, actual in zip(trace.storages.dtype, roles, strict=True) if actual == role}


CONVERSIONS: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "to dtype": (lambda m: m.to(torch.bfloat16), "bfloat16"),
    "half": (lambda m: m.half(), "float16"),
    "bfloat16": (lambda m: m.bfloat16(), "bfloat16"),
    "double": (lambda m: m.double(), "float64"),
    "cuda": (lambda m: m.cuda(), "float32"),
    "to device": (lambda m: m.to("cuda:1"), "float32"),
    "to number": (lambda m: m.to(0), "float32"),
    "to both": (lambda m: m.to(torch.device("cuda"), torch.bfloat16, non_blocking=True), "bfloat16"),
    "to like": (lambda m: m.to(torch.empty(1, dtype=torch.bfloat16)), "bfloat16"),
    "to_empty": (lambda m: m.to_empty(device="cuda"), "float32"),
    "type": (lambda m: m.type(torch.float16), "float16"),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_modules_are_converted_and_optimizers_keep_their_parameters(name: str) -> None:
    convert, dtype = CONVERSIONS[name]

    def job() -> Job:
        model = network()
        before = list(model.parameters())
        optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        convert(model)
        assert all(mine is old for mine, old in zip(model.parameters(), before, strict=True))
        return training(model, optimizer)

    trace = captured(job)
    assert dtypes(trace, Role.PARAMETER) == dtypes(trace, Role.GRADIENT) == {dtype}
    itemsize = getattr(torch, dtype).itemsize
    assert bytes_of(trace, Role.PARAMETER) == bytes_of(trace, Role.GRADIENT) == itemsize * NUMBERS
    # Two moments a number and one step counter a parameter: of the model's parameters, and of no others.
    assert bytes_of(trace, Role.OPTIMIZER_STATE) == 2 * itemsize * NUMBERS + 4 * 4
    assert not any(name.startswith(("param#", "state:param#")) for name in trace.storages.name)


def test_a_gradient_is_converted_with_its_parameter() -> None:
    def job() -> Job:
        model = network()
        model(torch.ones(4, WIDTH)).sum().backward()
        model.to(torch.bfloat16)
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.bfloat16}
        model.zero_grad()
        return training(model)

    assert dtypes(captured(job), Role.GRADIENT) == {"bfloat16"}


def test_a_model_is_copied_with_what_torch_knows_of_it() -> None:
    def job() -> Job:
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH))
        average = copy.deepcopy(model.half()).requires_grad_(requires_grad=False)
        average.train(mode=False)
        counts = average[1].num_batches_tracked, model[1].num_batches_tracked
        assert counts[0] is not counts[1]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step() -> None:
            model(torch.randn(4, WIDTH, dtype=torch.half)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
                    mine.lerp_(theirs, 0.1)

        return model, optimizer, step

    trace = captured(job)
    assert trace.operators.name.count("aten.lerp_.Scalar") == 4
    halves = 2 * (WIDTH * WIDTH + 3 * WIDTH)
    assert bytes_of(trace, Role.PARAMETER) == halves
    copies = np.isin(trace.operands.op, np.flatnonzero(np.array(trace.operators.name) == "aten.lerp_.Scalar"))
    written = np.unique(trace.operands.storage[copies & trace.operands.writes])
    assert trace.storages.bytes[written].sum() == halves
    assert trace.storages.persistent[written].all()


def test_a_model_on_the_meta_device_is_emptied_onto_a_device() -> None:
    def job() -> Job:
        with torch.device("meta"):
            model = network()
        return training(model.to_empty(device="cuda").to(torch.bfloat16))

    assert bytes_of(captured(job), Role.PARAMETER) == 2 * NUMBERS


def plain() -> Job:
    return training(network())


def of_a_default_device() -> Job:
    torch.set_default_device("cuda")
    return training(network(), device=None)


def within_a_device() -> Job:
    with torch.device("cuda"):
        return training(network())


def built_on_a_device() -> Job:
    model = nn.Sequential(
        nn.Linear(WIDTH, WIDTH, device="cuda"),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH, device=torch.device("cuda", 0)),
    )
    return training(model, device="cuda:0", pin_memory=True)


@pytest.mark.parametrize("job", [of_a_default_device, within_a_device, built_on_a_device])
def test_devices_that_are_not_here_are_the_cpu(job: Callable[[], Job]) -> None:
    before = torch.ones(1).device
    there, here = captured(job), captured(plain)
    assert there.operators.name == here.operators.name
    assert there.footprint_bytes == here.footprint_bytes
    assert torch.ones(1).device == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_autocast_of_a_device_that_is_not_here(dtype: torch.dtype | None) -> None:
    def job() -> Job:
        model = network().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step() -> None:
            x = torch.randn(4, WIDTH).pin_memory().to("cuda", non_blocking=True)
            with torch.autocast("cuda", dtype=dtype):
                out = model(x)
            assert out.dtype == (dtype or torch.float16)  # half is what GPUs cast to by themselves
            out.float().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return model, optimizer, step

    trace = captured(job)
    assert dtypes(trace, Role.PARAMETER) == {"float32"}
    assert (str(dtype or torch.float16)).removeprefix("torch.") in dtypes(trace, Role.ACTIVATION)


def test_autocast_keeps_the_norm_in_single_precision_and_a_cpus_does_not() -> None:
    def job() -> Job:
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)).cuda()

        def step() -> None:
            with torch.autocast("cuda", torch.bfloat16):
                loss = model(torch.randn(4, WIDTH, device="cuda")).sum()
            loss.backward()
            model.zero_grad()

        return model, step

    there = captured(job)
    here = capture_user_function(
        UserFunction(target="mine.py:job", call=job), name="mine", samples=4, operators="cpu"
    )
    assert norms_of(there) == {"float32"}
    assert "bfloat16" in norms_of(here)


def norms_of(trace: Trace) -> set[str]:
    """Types of the activations that layer norms, forward and backward, touch."""
    s, o = trace.storages, trace.operands
    rows = [row for row, op in enumerate(o.op) if "native_layer_norm" in trace.operators.name[op]]
    return {s.dtype[at] for at in o.storage[rows].tolist() if s.role[at] == Role.ACTIVATION}


def initialised() -> Job:
    weight = network()[0].weight
    with torch.no_grad():
        nn.init.trunc_normal_(weight, std=0.02)
        nn.init.trunc_normal_(weight, mean=1.5, std=0.5, a=-1, b=1)  # draws evenly, and again
        nn.init.orthogonal_(weight)
        nn.init.sparse_(weight, 0.1)
        nn.init.dirac_(weight.view(WIDTH, WIDTH, 1))
        nn.init.eye_(weight)
        nn.init.kaiming_normal_(weight)
        nn.init.xavier_uniform_(weight)
    return training(network())


def test_initialisers_need_no_values() -> None:
    assert captured(initialised).operators.name == captured(plain).operators.name


def test_what_is_counted_out_is_known_while_the_model_is_built() -> None:
    def job() -> Job:
        assert [rate.item() for rate in torch.linspace(0, 0.5, 3)] == [0, 0.25, 0.5]
        assert torch.arange(6, dtype=torch.float32).view(2, 3).mul(2).tolist() == [[0, 2, 4], [6, 8, 10]]
        assert torch.tensor([1, 2, 4]).cumsum(0).numpy().tolist() == [1, 3, 7]
        if (torch.arange(4) == torch.tensor([0, 1, 2, 3])).all():
            return training(network())
        raise AssertionError

    assert captured(job).operators.name == captured(plain).operators.name


def test_a_known_value_that_was_written_over_is_not_known() -> None:
    def job() -> Job:
        rates = torch.linspace(0, 1, 3)
        rates.normal_()
        return rates.tolist()  # never returns

    with pytest.raises((CaptureError, RuntimeError)):
        captured(job)


def test_known_values_do_not_change_the_step() -> None:
    """Branches on buffers of more than one number are refused in the step, as they always were."""

    def job() -> Job:
        model = network()
        model.register_buffer("places", torch.arange(4))
        model.register_forward_pre_hook(lambda *_: bool((model.places == torch.arange(4)).all()))
        return training(model)

    with pytest.raises(CaptureError, match="needs the values of a tensor"):
        captured(job)


def asks_for_a_value() -> Job:
    model = network()
    if model[0].weight.sum() > 0:
        model[0].weight.data.zero_()
    return training(model)


def picks_by_value() -> Job:
    model = network()
    model[0].weight[model[0].weight > 0]
    return training(model)


def does_not_fit() -> Job:
    torch.ones(3) @ torch.ones(4)
    return training(network())


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            asks_for_a_value,
            r"_local_scalar_dense.* builds the model, at .*test_user_code\.py:(\d+) in asks.*: `if model",
        ),
        (picks_by_value, r"aten\.index\.Tensor.* builds the model, at .*:(\d+) in picks.*`.*shape depends"),
        (
            does_not_fit,
            r"mine\.py:job failed .*:(\d+) in does_not_fit: `.*` in operator aten\.dot.* builds the model",
        ),
    ],
)
def test_failures_while_building_name_operator_and_line(job: Callable[[], Job], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        captured(job)


def test_failures_in_the_step_name_the_line_too() -> None:
    def job() -> Job:
        model = network()

        def step() -> None:
            if model(torch.ones(4, WIDTH)).sum() > 3:
                raise AssertionError

        return model, step

    with pytest.raises(CaptureError, match=r"in loss, at .*test_user_code\.py:\d+ in step: `if model\(torch"):
        captured(job)


def test_nothing_stays_changed() -> None:
    before = torch.utils.swap_tensors, autocast.__init__, fake_tensor.CONSTANT_NUMEL_LIMIT
    captured(of_a_default_device)
    with pytest.raises(CaptureError):
        captured(asks_for_a_value)
    assert (torch.utils.swap_tensors, autocast.__init__, fake_tensor.CONSTANT_NUMEL_LIMIT) == before
    assert not torch.overrides._get_current_function_mode_stack()


# Steps without an optimizer.


def evaluating(mode: Callable[[], Any]) -> Callable[[], Job]:
    def job() -> Job:
        model, batch = network().eval(), torch.randn(4, WIDTH)

        def step() -> torch.Tensor:
            with mode():
                return model(batch)

        return model, step

    return job


def test_an_evaluation_is_forward_alone() -> None:
    trace = captured(evaluating(torch.no_grad))
    assert set(trace.operators.phase) == {Phase.FORWARD}
    assert trace.options["optimizer"] is None
    assert not set(trace.storages.role) & {Role.GRADIENT, Role.OPTIMIZER_STATE, Role.ACTIVATION}
    assert trace.operators.flops.sum() == 2 * 4 * 2 * WIDTH * WIDTH


def test_inference_mode_has_the_operators_of_no_grad() -> None:
    inference, plain_one = captured(evaluating(torch.inference_mode)), captured(evaluating(torch.no_grad))
    assert inference.operators.name == plain_one.operators.name
    np.testing.assert_array_equal(inference.operators.flops, plain_one.operators.flops)


def test_none_in_the_optimizers_place_is_the_same() -> None:
    pair = evaluating(torch.no_grad)

    def triple() -> Job:
        model, step = pair()
        return model, None, step

    assert captured(triple).operators.name == captured(pair).operators.name


def test_an_evaluation_goes_down_the_whole_road() -> None:
    model = nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(4)))
    batch = torch.randn(64, 256)
    with torch.no_grad(), tmtrain.capture(model, None, samples=64) as session:
        model(batch)
    trace, machine = session.trace, tmtrain.load_machine("v4-slc")
    fast = tmtrain.parse_fast("50%").of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = tmtrain.lower(trace, machine=machine, fast_bytes=fast)
    plan = tmtrain.plan(timeline, machine=machine, objective="bytes")
    # Half of the weights cannot stay. They are read and never written.
    assert plan.measurement.bytes_in >= 0.4 * bytes_of(trace, Role.PARAMETER)
    assert plan.measurement.bytes_out == 0


def test_gradients_without_an_optimizer() -> None:
    def job() -> Job:
        model = network()

        def step() -> None:
            model(torch.randn(4, WIDTH)).sum().backward()
            model.zero_grad()

        return model, None, step

    trace = captured(job)
    assert set(trace.operators.phase) == {Phase.DATA, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD}
    assert bytes_of(trace, Role.GRADIENT) == 4 * NUMBERS


def test_an_optimizer_that_nobody_gave_is_refused() -> None:
    def job() -> Job:
        model, _, step = training(network())
        return model, step

    with pytest.raises(CaptureError, match="step\\(\\) of a AdamW, but the capture was given no optimizer"):
        captured(job)


# More than one optimizer.


def in_backward() -> Job:
    model = network()
    optimizers = {p: torch.optim.AdamW([p], foreach=False) for p in model.parameters()}

    def update(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)

    def step() -> None:
        model(torch.randn(4, WIDTH)).square().mean().backward()

    return model, list(optimizers.values()), step


def test_optimizers_stepped_inside_backward_have_their_phase() -> None:
    inside, after = captured(in_backward), captured(plain)
    for phase in (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER):
        mine = [n for n, p in zip(inside.operators.name, inside.operators.phase, strict=True) if p == phase]
        other = [n for n, p in zip(after.operators.name, after.operators.phase, strict=True) if p == phase]
        assert sorted(mine) == sorted(other)
    phases = inside.operators.phase.tolist()
    assert phases != sorted(phases)
    assert sorted(named(inside, Role.OPTIMIZER_STATE)) == sorted(named(after, Role.OPTIMIZER_STATE))
    # A gradient is gone before the next one comes.
    assert inside.footprint_bytes < after.footprint_bytes


def test_two_optimizers_share_a_model() -> None:
    def job() -> Job:
        model = network()
        optimizers = [
            torch.optim.AdamW(model[0].parameters(), foreach=False),
            torch.optim.SGD(model[2].parameters(), lr=0.1, momentum=0.9, foreach=False),
        ]

        def step() -> None:
            model(torch.randn(4, WIDTH)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

        return model, optimizers, step

    trace = captured(job)
    state = named(trace, Role.OPTIMIZER_STATE)
    assert [name for name in state if name.startswith("state:2.")] == [
        "state:2.weight.momentum_buffer",
        "state:2.bias.momentum_buffer",
    ]
    assert len(state) == 2 * 3 + 2
    assert trace.options["optimizer"] == "AdamW, SGD"


def test_a_list_of_something_else_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"the optimizer is a str, .* is needed, a list"):
        capture(nn.Linear(1, 1), ["adam"])  # type: ignore[list-item]


# Imports, mixtures of experts.


def test_transformers_is_imported_only_where_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def job():\n"
        "    model = torch.nn.Linear(8, 8)\n"
        "    return model, lambda: model(torch.ones(1, 8))\n"
    )
    code = (
        "import sys, tmtrain\n"
        f"trace = tmtrain.capture_function({str(tmp_path / 'mine.py:job')!r})\n"
        "print(len(trace.operators), 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split()[1:] == ["True", "False"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("left", "right", "groups"),
    [
        ((16, 8), (2, 8, 24), True),
        ((2, 16, 8), (8, 24), True),
        ((8, 16), (16, 24), True),
        ((2, 16, 8), (2, 8, 24), False),
    ],
)
def test_grouped_products_have_the_shapes_of_the_real_ones(
    dtype: torch.dtype, left: tuple[int, ...], right: tuple[int, ...], groups: bool
) -> None:
    def product() -> torch.Tensor:
        ends = torch.tensor([8, 16], dtype=torch.int32) if groups else None
        return torch._grouped_mm(torch.ones(left, dtype=dtype), torch.ones(right, dtype=dtype), offs=ends)

    mend_grouped_products()
    real = product()
    with FakeTensorMode():
        fake = product()
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)
