"""A bound is about its class of plans, not about all ways to train: two that need less, both captured and simulated.

They compute the same training. Neither refutes a bound: one recomputes twice in a gap, the other has another order of
operators (Note [The class] in `tmtrain.planning.programme.certificate`).
"""

from dataclasses import dataclass

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from tmtrain.capturing import capture
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine
from tmtrain.planning import bound_of
from tmtrain.policies import make_policy
from tmtrain.simulation import Result, simulate
from tmtrain.trace import Trace

MACHINE = load_machine("v4-slc")
WIDTH, BATCH, GROUPS, IN_GROUP = 32, 4096, 3, 3


@dataclass
class _Nested:
    """Blocks in groups; each group is checkpointed, and when it is recomputed, so is each block of it."""

    blocks: torch.nn.ModuleList

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        for first in range(0, len(self.blocks), IN_GROUP):
            x = checkpoint(self.group, first, x, use_reentrant=False)
        return x

    def group(self, first: int, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks[first : first + IN_GROUP]:
            x = checkpoint(block, x, use_reentrant=False)
        return x


def _chain(*, is_nested: bool) -> Trace:
    torch.manual_seed(0)
    layers = [
        torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh()) for _ in range(GROUPS * IN_GROUP)
    ]
    model = torch.nn.Sequential(*layers)
    forward = _Nested(torch.nn.ModuleList(layers)).whole if is_nested else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    x = torch.randn(BATCH, WIDTH)

    def step() -> None:
        optimizer.zero_grad()
        forward(x).square().mean().backward()
        optimizer.step()

    step()
    with capture(model, optimizer, samples=BATCH) as captured:
        step()
    return captured.trace


def _momentum(*, is_inside: bool) -> Trace:
    """Capture SGD with momentum, stepped after backward, or inside: there each gradient is freed as soon as it is used."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(6)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    x = torch.randn(64, 512)

    def update(_: object = None) -> None:
        optimizer.step()
        optimizer.zero_grad()

    if is_inside:
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(update)

    def step() -> None:
        model(x).square().mean().backward()
        if not is_inside:
            update()

    step()
    with capture(model, optimizer, samples=64) as captured:
        step()
    return captured.trace


def _run(trace: Trace, policy: str, *, fast_bytes: int) -> Result:
    timeline = _lowered(trace, fast_bytes)
    decision = make_policy(policy, objective="energy").decide(timeline, machine=MACHINE)
    return simulate(decision, machine=MACHINE, policy=policy)


def _lowered(trace: Trace, fast_bytes: int) -> Timeline:
    return lower(trace, machine=MACHINE, fast_bytes=fast_bytes)


def test_two_level_checkpointing_moves_nothing_where_the_class_has_to() -> None:
    plain, nested = (_chain(is_nested=is_nested) for is_nested in (False, True))
    fast_bytes = nested.footprint_bytes + 20 * MACHINE.slow.page_bytes  # storages end within pages
    bound = bound_of(_lowered(plain, fast_bytes), machine=MACHINE, objective="bytes")
    assert bound.value > 100_000
    assert _run(nested, "lru", fast_bytes=fast_bytes).traffic_bytes == 0


@pytest.mark.slow
def test_an_optimizer_inside_backward_takes_fewer_joules_than_the_class_has_to() -> None:
    plain, inside = (_momentum(is_inside=is_inside) for is_inside in (False, True))
    fast_bytes = plain.footprint_bytes // 4
    bound = bound_of(_lowered(plain, fast_bytes), machine=MACHINE, objective="energy")
    measured = _run(inside, "tmtrain-move", fast_bytes=fast_bytes)
    assert measured.energy_j < 0.8 * bound.value
