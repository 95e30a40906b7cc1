"""The budget holds where the kernel enforces it: a memory cgroup that has room for the budget and what comes on top."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.cgroups import Cgroup, memory_cgroup

_CHILD = """
import os, sys
from pathlib import Path
limit, joins, budget, folder = sys.argv[1:]
if joins:
    Path(joins).write_text(str(os.getpid()))
import torch
import tmtrain

BUDGET, SLACK = 48 << 20, 24 << 20
torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(*(layer for _ in range(8) for layer in (torch.nn.Linear(1024, 1024), torch.nn.GELU())))
optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

def step():
    loss = model(torch.ones(256, 1024)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder, restores=False) as training:
    losses = [training.step() for _ in range(4)]  # all that is loaded once is loaded now
    if limit:
        anonymous = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
        # Libraries are mapped files: they may leave.
        fixed = int(anonymous.split()[1]) * 1024 - training._session.tier.used_bytes
        Path(limit).write_text(str(fixed + BUDGET + SLACK))
    losses += [training.step() for _ in range(6)]
    print(training.result.steps[-1].how, losses, flush=True)
"""


def run(folder: Path, *, budget: str, within: Cgroup | None) -> subprocess.CompletedProcess[str]:
    where = [str(within.limit), str(within.joins)] if within else ["", ""]
    return subprocess.run(
        [sys.executable, "-c", _CHILD, *where, budget, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""},
    )


def test_the_budget_holds_in_a_memory_cgroup(tmp_path: Path) -> None:
    free = run(tmp_path, budget="2 GiB", within=None)
    assert free.returncode == 0, free.stderr
    with memory_cgroup(f"tmtrain-test-{os.getpid()}") as group:
        kept = run(tmp_path, budget="48 MiB", within=group)
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout == free.stdout
    assert kept.stdout.startswith("planned")


@pytest.mark.slow
def test_that_cgroup_ends_who_needs_more(tmp_path: Path) -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        pytest.skip("there is swap, so nobody is ended")
    with memory_cgroup(f"tmtrain-test-{os.getpid()}") as group:
        free = run(tmp_path, budget="2 GiB", within=group)
    # The kernel ends it, or (version 1) does not even set a limit that it cannot enforce.
    assert free.returncode == -signal.SIGKILL or "resource busy" in free.stderr
