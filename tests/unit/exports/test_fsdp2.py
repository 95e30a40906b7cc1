"""The offload map: fractions as planned, rounded to whole modules of the same bytes, and taken by FSDP2."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from tests.support.exported import LAYERS, gpt2, gpt2_ledger
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

from tmtrain.errors import FileFormatError, InputError
from tmtrain.exports import load_offload_map
from tmtrain.exports.fsdp2 import Candidate, choose_whole, make_offload_map, save_offload_map
from tmtrain.exports.live.fsdp2 import offload_policies
from tmtrain.trace import Role

UNITS = [f"transformer.h.{i}" for i in range(LAYERS)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_offload_map(make_offload_map(gpt2_ledger("30%")), tmp_path / "a.json")
    return tmp_path / "a.json"


def test_a_map_comes_back(saved: Path) -> None:
    assert load_offload_map(saved) == make_offload_map(gpt2_ledger("30%"))


def test_the_map_holds_every_parameter_of_the_model(saved: Path) -> None:
    modules = load_offload_map(saved).modules
    owners = {name.rpartition(".")[0] for name, _ in gpt2().model.named_parameters()}
    assert set(modules) == owners
    size = sum(p.nbytes for p in gpt2().model.parameters())
    assert sum(module.parameters.bytes for module in modules.values()) == size
    assert sum(module.optimizer_state.bytes for module in modules.values()) >= 2 * size


def test_the_map_moves_the_bytes_that_the_plan_moves() -> None:
    ledger = gpt2_ledger("30%")
    modules = make_offload_map(ledger).modules.values()
    storages, pages = ledger.trace.storages, ledger.pages()
    for role, name in ((Role.PARAMETER, "parameters"), (Role.OPTIMIZER_STATE, "optimizer_state")):
        own = (storages.role == role) & (pages > 0)
        wanted = float((ledger.ever_moved()[own] / pages[own]) @ storages.bytes[own])
        assert wanted > 0
        parts = [getattr(module, name) for module in modules]
        assert sum(part.bytes * part.offload for part in parts) == pytest.approx(wanted, rel=1e-4)


@given(
    st.lists(
        st.builds(
            Candidate,
            name=st.uuids().map(str),
            bytes=st.integers(1, 10**9),
            offload=st.sampled_from([0, 0.1, 0.5, 0.9, 1]),
        ),
        max_size=30,
        unique_by=lambda candidate: candidate.name,
    )
)
def test_rounding_is_within_half_of_the_smallest_that_is_left_out(candidates: list[Candidate]) -> None:
    chosen = choose_whole(candidates)
    wanted = sum(c.bytes * c.offload for c in candidates)
    got = sum(c.bytes for c in candidates if c.name in chosen)
    eligible = [c for c in candidates if c.offload > 0]
    left = [c.bytes for c in eligible if c.name not in chosen]
    assert chosen <= {c.name for c in eligible}
    if got > wanted:  # one too many, because it came nearer
        largest = max(c.bytes for c in candidates if c.name in chosen)
        assert got - wanted <= min([largest, *left]) / 2 + 1
    else:
        assert wanted - got <= min(left, default=0) / 2 + 1


def test_units_gather_the_modules_inside_them(saved: Path) -> None:
    policies = offload_policies(saved, units=[*UNITS, ""], pin_memory=False)
    assert list(policies) == [*UNITS, ""]
    modules = load_offload_map(saved).modules
    wanted = sum(module.bytes * module.offload for module in modules.values())
    sizes = {
        unit: sum(m.bytes for name, m in modules.items() if name.startswith(f"{unit}.")) for unit in UNITS
    }
    sizes[""] = sum(m.bytes for m in modules.values()) - sum(sizes.values())
    chosen = {name for name, policy in policies.items() if isinstance(policy, CPUOffloadPolicy)}
    got = sum(sizes[name] for name in chosen)
    assert got > 0
    assert abs(got - wanted) <= min(sizes[name] for name in sizes if name not in chosen) / 2 + 1


def test_parameters_outside_all_units_are_refused(saved: Path) -> None:
    with pytest.raises(InputError, match=r"lie in none of the units: add it, or \"\" for the root"):
        offload_policies(saved, units=UNITS)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format": "other"}, "does not say format 'tmtrain-fsdp2-offload'"),
        ({"version": 99}, "update tmtrain"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_map_that_is_none_is_refused(saved: Path, edit: dict[str, Any], message: str) -> None:
    saved.write_text(json.dumps(json.loads(saved.read_text()) | edit))
    with pytest.raises(FileFormatError, match=message):
        load_offload_map(saved)


def test_a_share_that_is_none_is_refused(saved: Path) -> None:
    record = json.loads(saved.read_text())
    record["modules"]["transformer.ln_f"]["offload"] = 1.5
    saved.write_text(json.dumps(record))
    with pytest.raises(FileFormatError, match=r"'transformer\.ln_f' offloads 1\.5"):
        load_offload_map(saved)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process only."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32" or not dist.is_gloo_available(), reason="needs gloo")
@pytest.mark.usefixtures("alone")
def test_fsdp2_takes_the_policies_and_trains_the_same(saved: Path) -> None:
    training, plain = gpt2(), gpt2()
    policies = offload_policies(saved, units=[*UNITS, ""], pin_memory=False)
    assert {type(policy) for policy in policies.values()} == {CPUOffloadPolicy, OffloadPolicy}
    mesh = init_device_mesh("cpu", (1,))
    reshard = load_offload_map(saved).modules["transformer.h.0.attn.c_attn"].reshard_after_forward
    for name, policy in policies.items():
        fully_shard(
            training.model.get_submodule(name),
            mesh=mesh,
            offload_policy=policy,
            reshard_after_forward=reshard,
        )
    optimizer = torch.optim.AdamW(training.model.parameters(), foreach=False)  # FSDP2 replaces the parameters
    tokens = torch.randint(0, 128, (4, 64))
    losses: list[list[float]] = []
    for model, steps in ((training.model, optimizer), (plain.model, plain.optimizer)):
        torch.manual_seed(1)
        losses.append([_step(model, steps, tokens) for _ in range(2)])
    assert losses[0] == losses[1]


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tokens: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    optimizer.step()
    return float(loss.detach())
