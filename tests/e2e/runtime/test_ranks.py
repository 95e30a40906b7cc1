"""Two processes with DistributedDataParallel: a plan and a file each, and the numbers are those without a budget."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.thoroughness import rest_slow

import tmtrain
from tmtrain.errors import InputError

_RANK = """
import hashlib, os, sys
import torch
import torch.distributed as dist
import tmtrain

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.set_num_threads(1)
batch = torch.randn(64, 512, generator=torch.Generator().manual_seed(rank))

def measure(gradients, folder):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(*(layer for _ in range(6) for layer in (torch.nn.Linear(512, 512), torch.nn.GELU())))
    model = torch.nn.parallel.DistributedDataParallel(plain, gradient_as_bucket_view=gradients == "views", bucket_cap_mb=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    if folder is None:
        losses = [step() for _ in range(8)]
        how = peak = moved = None
    else:
        with tmtrain.train(model, optimizer, step, budget_bytes="16 MiB", flash=folder) as training:
            losses = [training.step() for _ in range(8)]
            steps = training.result.steps
            how, peak, moved = steps[-1].how, max(step.peak_bytes for step in steps), sum(step.bytes_in for step in steps)
    digest = hashlib.sha256(b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters()))
    line = "|".join(map(str, (gradients, folder and "kept", rank, losses, digest.hexdigest(), how, peak, moved)))
    print(line + "\\n", end="", flush=True)  # in one write: the other rank prints into the same pipe

for gradients in ("copies", "views"):
    measure(gradients, None)
    measure(gradients, sys.argv[1])
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What two ranks say, in one start of both: they import torch, which takes longer than what they do."""
    said = _said_by(2, _RANK, tmp_path_factory.mktemp("ranks"))
    return [line.split("|") for line in said if line.count("|") == 7]


def _said_by(ranks: int, program: str, folder: Path) -> list[str]:
    """Return what so many processes print who run this together."""
    script = folder / "rank.py"
    script.write_text(program)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(ranks),
        str(script),
    ]
    done = subprocess.run(
        [*command, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=3600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("gradients", ["copies", "views"])
def test_ranks_of_ddp_train_in_a_budget_each(gradients: str, lines: list[list[str]]) -> None:
    plain, kept = (
        {line[2]: line[3:] for line in lines if line[:2] == [gradients, how]} for how in ("None", "kept")
    )
    assert set(kept) == {"0", "1"}
    for rank, (losses, digest, how, peak, moved) in kept.items():
        assert [losses, digest] == plain[rank][:2]
        assert how == "planned"
        assert int(peak) <= 16 << 20
        assert int(moved) > 0


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("options", rest_slow([{}, {"gradient_as_bucket_view": True, "bucket_cap_mb": 1}]))
def test_buckets_that_are_written_by_out_stay(options: dict[str, Any], tmp_path: Path) -> None:
    """DDP copies gradients into its buckets by `mul.out`, and their sums come to where they are."""

    def left(budget: str | None) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layers = (layer for _ in range(24) for layer in (torch.nn.Linear(256, 256), torch.nn.Tanh()))
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers), **options)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        batch = torch.randn(64, 256)

        def step() -> None:
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

        if budget is None:
            for _ in range(8):
                step()
        else:
            with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=tmp_path) as training:
                for _ in range(8):
                    training.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    assert all(map(torch.equal, left("12 MiB"), left(None)))


def test_a_sharded_tensor_is_refused() -> None:
    class Sharded(torch.nn.Parameter):
        pass

    model = torch.nn.Linear(2, 2)
    model.weight = Sharded(torch.zeros(2, 2))
    with pytest.raises(InputError, match="weight is a Sharded"):
        tmtrain.train(
            model, torch.optim.SGD(model.parameters()), lambda: None, budget_bytes="2 MiB", flash="."
        )


_MATRIX = """
import hashlib, itertools, os, sys
import torch
import torch.distributed as dist
import tmtrain

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.set_num_threads(1)

def measure(budget, folder, accumulate, **options):
    torch.manual_seed(0)
    layers = (layer for _ in range(24) for layer in (torch.nn.Linear(256, 256), torch.nn.Tanh()))
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers), **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = torch.randn(64, 256, generator=torch.Generator().manual_seed(rank))

    def step():
        optimizer.zero_grad()
        if accumulate:
            with model.no_sync():
                model(batch + 1).square().mean().backward()
        model(batch).square().mean().backward()
        optimizer.step()

    if budget is None:
        for _ in range(8):
            step()
    else:
        with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder) as training:
            for _ in range(8):
                training.step()
    return hashlib.sha256(b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())).hexdigest()

for views, accumulate, static, bucket in itertools.product((False, True), (False, True), (False, True), (1, 25)):
    if static and accumulate:
        continue  # torch refuses a static graph whose hooks run in some passes only
    options = dict(gradient_as_bucket_view=views, static_graph=static, bucket_cap_mb=bucket)
    plain = measure(None, None, accumulate, **options)
    for budget in ("12 MiB", "16 MiB", "24 MiB"):
        same = measure(budget, sys.argv[1], accumulate, **options) == plain
        print("|".join(map(str, ("matrix", rank, budget, accumulate, options, same))) + "\\n", end="", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_so_it_is_for_every_way_to_use_ddp(ranks: int, tmp_path: Path) -> None:
    lines = [line for line in _said_by(ranks, _MATRIX, tmp_path) if line.startswith("matrix|")]
    assert len(lines) == ranks * 12 * 3
    assert [line for line in lines if not line.endswith("|True")] == []
