"""Two processes with DistributedDataParallel: a plan and a file each, and the numbers are those without a budget."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tmtrain
from tmtrain.errors import InputError

_RANK = """
import hashlib, os, sys
import torch
import torch.distributed as dist
import tmtrain

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
torch.set_num_threads(1)
plain = torch.nn.Sequential(*(layer for _ in range(6) for layer in (torch.nn.Linear(512, 512), torch.nn.GELU())))
model = torch.nn.parallel.DistributedDataParallel(plain, gradient_as_bucket_view=sys.argv[2] == "views", bucket_cap_mb=1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
batch = torch.randn(64, 512, generator=torch.Generator().manual_seed(rank))

def step():
    loss = model(batch).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

if sys.argv[1] == "plain":
    losses = [step() for _ in range(8)]
    how = peak = moved = None
else:
    with tmtrain.train(model, optimizer, step, budget_bytes="16 MiB", flash=sys.argv[1]) as training:
        losses = [training.step() for _ in range(8)]
        steps = training.result.steps
        how, peak, moved = steps[-1].how, max(step.peak_bytes for step in steps), sum(step.bytes_in for step in steps)
digest = hashlib.sha256(b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters()))
line = "|".join(map(str, ("rank", rank, losses, digest.hexdigest(), how, peak, moved)))
print(line + "\\n", end="", flush=True)  # in one write: the other rank prints into the same pipe
dist.destroy_process_group()
"""


def run(folder: Path, where: str, gradients: str) -> dict[str, list[str]]:
    script = folder / "rank.py"
    script.write_text(_RANK)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    done = subprocess.run(
        [*command, where, gradients],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("rank|")]
    return {row[1]: row[2:] for row in rows}


@pytest.mark.parametrize("gradients", ["copies", "views"])
def test_ranks_of_ddp_train_in_a_budget_each(gradients: str, tmp_path: Path) -> None:
    plain, kept = run(tmp_path, "plain", gradients), run(tmp_path, str(tmp_path), gradients)
    assert set(kept) == {"0", "1"}
    for rank, (losses, digest, how, peak, moved) in kept.items():
        assert [losses, digest] == plain[rank][:2]
        assert how == "planned"
        assert int(peak) <= 16 << 20
        assert int(moved) > 0


def test_a_sharded_tensor_is_refused() -> None:
    class Sharded(torch.nn.Parameter):
        pass

    model = torch.nn.Linear(2, 2)
    model.weight = Sharded(torch.zeros(2, 2))
    with pytest.raises(InputError, match="weight is a Sharded"):
        tmtrain.train(
            model, torch.optim.SGD(model.parameters()), lambda: None, budget_bytes="2 MiB", flash="."
        )
