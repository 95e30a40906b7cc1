"""What a captured step says about a small model whose every byte is known by hand."""

import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules import module as module_hooks
from torch.utils.checkpoint import checkpoint

from tmtrain.capturing.verbs import capture
from tmtrain.errors import CaptureError
from tmtrain.trace import Phase, Role, Trace


class Job:
    """Linear(4, 8), ReLU, Linear(8, 2) on a batch of 4 in fp32."""

    def __init__(self, momentum: float = 0.0, *, zero_grad: str = "end") -> None:
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=momentum, foreach=False)
        self.batch = torch.ones(4, 4)
        self.zero_grad = zero_grad

    def step(self) -> None:
        if self.zero_grad == "start":
            self.optimizer.zero_grad()
        loss = self.model(self.batch).square().sum()
        if self.zero_grad == "middle":
            self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.zero_grad == "end":
            self.optimizer.zero_grad()

    def trace(self) -> Trace:
        self.step()
        with capture(self.model, self.optimizer, samples=4) as captured:
            self.step()
        return captured.trace


def row(trace: Trace, name: str) -> int:
    return trace.storages.name.index(name)


def lifetime(trace: Trace, name: str) -> tuple[int, int]:
    index = row(trace, name)
    return int(trace.storages.birth_op[index]), int(trace.storages.death_op[index])


def op(trace: Trace, name: str, nth: int = 0) -> int:
    return [t for t, actual in enumerate(trace.operators.name) if actual == name][nth]


def with_role(trace: Trace, role: Role) -> list[str]:
    return [
        name for name, actual in zip(trace.storages.name, trace.storages.role, strict=True) if actual == role
    ]


PARAMETER_BYTES = 4 * (4 * 8 + 8 + 8 * 2 + 2)
INPUT_BYTES = 4 * 4 * 4
HIDDEN_BYTES = 4 * 4 * 8
OUTPUT_BYTES = 4 * 4 * 2


def test_footprint_by_hand() -> None:
    trace = Job().trace()
    resident = PARAMETER_BYTES + INPUT_BYTES
    live = trace.live_bytes()
    # After relu: its input is still held by the frame of Sequential, its output is new.
    assert live[op(trace, "aten.relu.default")] == resident + 2 * HIDDEN_BYTES
    # Peak: threshold_backward has the gradient of its result, its result from forward and its own result, beside
    # the gradients of the last layer, the loss and its gradient (4 bytes each).
    last_layer = 4 * (8 * 2 + 2)
    assert live[op(trace, "aten.threshold_backward.default")] == resident + 3 * HIDDEN_BYTES + last_layer + 8
    # At the end: parameters, their gradients, the batch, and the loss that the step still holds.
    assert live[-1] == resident + PARAMETER_BYTES + 4
    assert trace.footprint_bytes == max(live)


def test_momentum_adds_its_state() -> None:
    plain, momentum = Job().trace(), Job(momentum=0.9).trace()
    assert momentum.footprint_bytes == plain.footprint_bytes + PARAMETER_BYTES
    assert with_role(momentum, Role.OPTIMIZER_STATE) == [
        f"state:{name}.momentum_buffer" for name in ("0.weight", "0.bias", "2.weight", "2.bias")
    ]


def test_roles_names_and_owners() -> None:
    trace = Job(momentum=0.9).trace()
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert with_role(trace, Role.PARAMETER) == names
    assert sorted(with_role(trace, Role.GRADIENT)) == sorted(f"grad:{name}" for name in names)
    assert with_role(trace, Role.INPUT) == ["input#0"]
    assert with_role(trace, Role.ACTIVATION)[0] == f"relu#{op(trace, 'aten.relu.default')}.0"
    assert trace.storages.module[row(trace, "grad:2.weight")] == "2"
    assert len(set(trace.storages.name)) == len(trace.storages)
    persistent = {n for n, kept in zip(trace.storages.name, trace.storages.persistent, strict=True) if kept}
    assert persistent == {*names, *with_role(trace, Role.OPTIMIZER_STATE), "input#0"}


def test_phases_and_modules_in_order() -> None:
    trace = Job().trace()
    phases = list(trace.operators.phase)
    assert phases == sorted(phases)
    assert set(phases) == {Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER}
    module = dict(zip(zip(trace.operators.name, phases, strict=True), trace.operators.module, strict=True))
    assert module["aten.relu.default", Phase.FORWARD] == "1"
    assert module["aten.threshold_backward.default", Phase.BACKWARD] == "1"
    products = [t for t, name in enumerate(trace.operators.name) if "mm" in name]
    assert [trace.operators.module[t] for t in products] == ["0", "2", "2", "2", "0"]


def test_flops_by_hand() -> None:
    trace = Job().trace()
    forward = 2 * 4 * (4 * 8 + 8 * 2)
    of = {phase: int(trace.operators.flops[trace.operators.phase == phase].sum()) for phase in Phase}
    assert of[Phase.FORWARD] == forward
    assert of[Phase.BACKWARD] == 2 * forward - 2 * 4 * 4 * 8  # the batch needs no gradient


def test_zero_grad_at_the_end_frees_gradients_there() -> None:
    trace = Job().trace()
    birth, death = lifetime(trace, "grad:0.weight")
    assert birth == op(trace, "aten.mm.default", 2)
    assert death == len(trace.operators)


def test_zero_grad_at_the_start_makes_no_difference() -> None:
    end, start = Job(zero_grad="end").trace(), Job(zero_grad="start").trace()
    assert end.operators.name == start.operators.name
    np.testing.assert_array_equal(end.live_bytes(), start.live_bytes())
    assert lifetime(start, "grad:0.weight") == (op(start, "aten.mm.default", 2), 0)


def test_zero_grad_in_the_middle_wraps_gradients_round_the_end() -> None:
    trace = Job(zero_grad="middle").trace()
    birth, death = lifetime(trace, "grad:0.weight")
    assert birth == op(trace, "aten.mm.default", 2)
    assert trace.operators.phase[death - 1] == Phase.LOSS
    assert trace.operators.phase[death] == Phase.LOSS  # ones_like, with which backward starts
    assert trace.live_bytes()[0] == 2 * PARAMETER_BYTES + INPUT_BYTES


def test_gradients_kept_and_zeroed_are_persistent() -> None:
    job = Job(zero_grad="never")
    job.optimizer.register_step_post_hook(lambda *_: job.optimizer.zero_grad(set_to_none=False))
    trace = job.trace()
    index = row(trace, "grad:0.weight")
    assert trace.storages.persistent[index]
    zeroing = [t for t, name in enumerate(trace.operators.name) if name == "aten.zero_.default"]
    rows = np.isin(trace.operands.op, zeroing) & (trace.operands.position == 0)
    assert not trace.operands.reads[rows].any()
    assert trace.operands.writes[rows].all()


def test_what_the_user_holds_until_it_is_replaced() -> None:
    job = Job()
    held = {}

    def step() -> None:
        held["out"] = job.model(job.batch)
        held["out"].sum().backward()
        job.optimizer.step()
        job.optimizer.zero_grad()

    step()
    with capture(job.model, job.optimizer) as captured:
        step()
    trace = captured.trace
    second = op(trace, "aten.addmm.default", 1)
    assert lifetime(trace, f"addmm#{second}.0") == (second, len(trace.operators))
    assert lifetime(trace, f"addmm#{second}.0@previous") == (0, second + 1)
    assert trace.live_bytes()[0] == PARAMETER_BYTES + INPUT_BYTES + OUTPUT_BYTES


def test_accumulation_tells_the_second_batch_from_clipping() -> None:
    job = Job()

    def step() -> None:
        for _ in range(2):
            batch = job.batch * 2
            job.model(batch).sum().backward()
        nn.utils.clip_grad_norm_(job.model.parameters(), 1.0)
        job.optimizer.step()
        job.optimizer.zero_grad()

    step()
    with capture(job.model, job.optimizer) as captured:
        step()
    trace = captured.trace
    phase = dict(enumerate(trace.operators.phase))
    assert phase[op(trace, "aten.mul.Tensor", 1)] == Phase.DATA
    assert phase[op(trace, "aten._foreach_norm.Scalar")] == Phase.OPTIMIZER
    # The second backward adds to the gradients of the first one.
    added = trace.operators.name.count("aten.add_.Tensor")
    assert added == 4 + 4
    assert lifetime(trace, "grad:0.weight")[0] < op(trace, "aten.mul.Tensor", 1)
    assert with_role(trace, Role.INPUT)[0] == "input#0"
    lists = trace.operands.op == op(trace, "aten._foreach_norm.Scalar")
    assert list(trace.operands.item[lists & (trace.operands.position == 0)]) == [0, 1, 2, 3]


def test_frozen_parameters_have_no_gradient() -> None:
    job = Job(momentum=0.9)
    job.model[0].requires_grad_(False)
    trace = job.trace()
    assert with_role(trace, Role.GRADIENT) == ["grad:2.weight", "grad:2.bias"]
    assert "0.weight" in with_role(trace, Role.PARAMETER)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, 4)
        self.head = nn.Linear(4, 16, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.ones(3))
        self.unused = nn.Parameter(torch.ones(5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(tokens)) * self.scale.sum()


def test_tied_weights_are_one_storage_and_unused_ones_are_there() -> None:
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    tokens = torch.tensor([[1, 2]])

    def step() -> None:
        model(tokens).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with capture(model, optimizer) as captured:
        step()
    trace = captured.trace
    assert with_role(trace, Role.PARAMETER) == ["unused", "embed.weight"]
    assert with_role(trace, Role.BUFFER) == ["scale"]
    assert with_role(trace, Role.OPTIMIZER_STATE) == [
        f"state:embed.weight.{key}" for key in ("step", "exp_avg", "exp_avg_sq")
    ]
    assert not np.any(trace.operands.storage == row(trace, "unused"))
    assert trace.storages.persistent[row(trace, "unused")]


class Deep(nn.Module):
    def __init__(self, *, recompute: bool, reentrant: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(8)
        )
        self.recompute = recompute
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant) if self.recompute else block(x)
        return x


def deep_trace(**options: bool) -> Trace:
    with FakeTensorMode():
        model = Deep(**options)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
        batch = torch.ones(256, 32, requires_grad=True)

        def step() -> None:
            model(batch).sum().backward()
            batch.grad = None
            optimizer.step()
            optimizer.zero_grad()

        step()
        with capture(model, optimizer) as captured:
            step()
        return captured.trace


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_keeps_block_inputs_and_one_block(reentrant: bool) -> None:
    plain, saved = deep_trace(recompute=False), deep_trace(recompute=True, reentrant=reentrant)
    block = 256 * (64 + 64 + 32) * 4
    assert plain.footprint_bytes - saved.footprint_bytes > 5 * block
    gelus = [t for t, name in enumerate(saved.operators.name) if name == "aten.gelu.default"]
    assert len(gelus) == 16
    assert all(saved.operators.phase[t] == Phase.BACKWARD for t in gelus[8:])
    assert [saved.operators.module[t] for t in gelus[8:]] == [f"blocks.{b}.1" for b in reversed(range(8))]


def test_batch_norm_writes_its_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = torch.ones(2, 1, 5, 5)
    with capture(model, optimizer) as captured:
        model(batch).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    trace = captured.trace
    written = set(trace.operands.storage[trace.operands.writes])
    buffers = with_role(trace, Role.BUFFER)
    assert buffers == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert {row(trace, name) for name in buffers} <= written


def test_views_touch_no_byte_and_empty_writes_none() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with capture(model, optimizer) as captured:
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    trace = captured.trace
    views = trace.operators.is_view[trace.operands.op]
    assert views.any()
    assert not (trace.operands.reads | trace.operands.writes | trace.operands.allocates)[views].any()
    empty = (trace.operands.op == op(trace, "aten.empty_like.default")) & trace.operands.allocates
    assert empty.sum() == 1
    assert not trace.operands.writes[empty].any()
    random = [
        name for name, drawn in zip(trace.operators.name, trace.operators.is_random, strict=True) if drawn
    ]
    assert random == ["aten.bernoulli_.float"]


def hooks_left(job: Job) -> int:
    hooks = (
        module_hooks._global_forward_hooks,
        module_hooks._global_forward_pre_hooks,
        job.optimizer._optimizer_step_pre_hooks,
    )
    return sum(map(len, hooks))


def test_nothing_is_left_behind() -> None:
    job = Job()
    before = hooks_left(job)
    job.trace()
    assert hooks_left(job) == before
    assert gc.isenabled()


def test_nothing_is_left_behind_after_an_error() -> None:
    job = Job()
    before = hooks_left(job)
    job.model[1].register_forward_hook(lambda *_: 1 / 0)
    captured = capture(job.model, job.optimizer)
    with pytest.raises(ZeroDivisionError), captured:
        job.step()
    assert hooks_left(job) == before
    assert gc.isenabled()
    with pytest.raises(CaptureError, match="no trace before"):
        _ = captured.trace
    assert len(Job().trace().operators) > 0


def test_a_captured_step_computes_the_same_numbers() -> None:
    torch.manual_seed(0)
    plain = Job(momentum=0.9)
    torch.manual_seed(0)
    watched = Job(momentum=0.9)
    watched.trace()
    plain.step()
    plain.step()
    for mine, other in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_no_optimizer_step() -> None:
    job = Job()
    with (
        pytest.raises(CaptureError, match="trace without optimizer step"),
        capture(job.model, job.optimizer),
    ):
        job.model(job.batch).sum().backward()


def test_first_step_makes_the_state() -> None:
    job = Job(momentum=0.9)
    with (
        pytest.raises(CaptureError, match=r"state:0\.weight\.momentum_buffer.*run one step before"),
        capture(job.model, job.optimizer),
    ):
        job.step()


def test_gradients_left_behind() -> None:
    job = Job(zero_grad="never")
    with pytest.raises(CaptureError, match=r"leaves 'grad:.*zero_grad"), capture(job.model, job.optimizer):
        job.step()


def test_one_capture_records_one_step() -> None:
    job = Job()
    captured = capture(job.model, job.optimizer)
    with captured:
        job.step()
    with pytest.raises(CaptureError, match="one step"), captured:
        job.step()


def test_sparse_gradients_are_refused_with_the_operator() -> None:
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(CaptureError, match=r"operator aten\._sparse.*backward.*sparse=False"),
        capture(model, optimizer),
    ):
        model(torch.tensor([1])).sum().backward()


@pytest.mark.parametrize(
    ("model", "optimizer", "samples", "message"),
    [
        ("a model", torch.optim.SGD([torch.ones(1)]), 1, r"the model is a str"),
        (nn.Linear(1, 1), "an optimizer", 1, r"the optimizer is a str"),
        (nn.Linear(1, 1), torch.optim.SGD([torch.ones(1)]), 0, r"samples is 0"),
    ],
)
def test_wrong_arguments(model: object, optimizer: object, samples: int, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture(model, optimizer, samples=samples)
