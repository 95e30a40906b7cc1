"""Faults on purpose: a small training on a drive that fails at random, and what comes of it.

    python benchmarks/faults.py FOLDER [--per-kind 20]

Each run trains a perceptron for four steps in a third of its memory, with one fault at one transfer drawn at random. It is

- *survived*: the losses and every bit left behind are those of a run without tmtrain;
- *detected*: a `FlashError`, or another error of ours that says what is wrong;
- *wrong*: anything else, be it other numbers, another exception or a crash.

Prints a Markdown table; exit code 1 if anything is wrong.
Each kind is a process of its own: a crash makes all of it wrong.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tmtrain import TmtrainError, train
from tmtrain.machine import Machine
from tmtrain.runtime.host.drive import measure_drive
from tmtrain.runtime.host.host import host_machine
from tmtrain.testing import Fault, FaultKind, faults

STEPS = 4
LAYERS, WIDTH = 4, 512
BUDGET = 6 << 20
TRANSFERS = 60
"""Of each direction in a run, about: where faults are drawn from."""
DRIVE_FAULTS: dict[FaultKind, str] = {
    "short read": "a read returns a part",
    "short write": "a write returns a part",
    "EIO on read": "the drive refuses a read",
    "EIO on write": "the drive refuses a write",
    "full disk": "a write finds no room (ENOSPC)",
    "torn write": "a write reports success, its second half was not written",
    "lost write": "a write reports success, nothing was written",
    "flipped bit": "one bit of what is read is another",
    "truncated file": "the file is cut to nothing under us",
}
OTHER_FAULTS = {
    "second process": "another training on the same folder at the same time",
    "lower budget": "the budget is lowered between two steps, to one that suffices or not",
}
KINDS = {**DRIVE_FAULTS, **OTHER_FAULTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    verdict: str
    """As in the module's docstring."""
    digest: str
    """Of all that is left behind; empty where the run did not end."""
    has_struck: bool
    """The fault happened: a run may have fewer transfers than the number drawn."""


def main() -> int:
    """Run the campaign, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_one_batch(json.loads(arguments.one), arguments.folder)))
        return 0
    return _campaign(arguments.folder, arguments.per_kind)


def _campaign(folder: Path, per_kind: int) -> int:
    rows: dict[str, Counter[str]] = {}
    for kind in KINDS:
        command = [sys.executable, __file__, str(folder), "--one", json.dumps([kind, per_kind])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        outcomes = json.loads(done.stdout) if done.returncode == 0 else ["wrong"] * per_kind
        rows[kind] = Counter(outcomes)
        if done.returncode:
            print(f"{kind}: ended by {done.returncode}: {done.stderr[-500:]}", file=sys.stderr)
    print("| fault | what happens | injected | survived | detected | wrong |\n|---|---|---|---|---|---|")
    for kind, verdicts in [*rows.items(), ("all", sum(rows.values(), Counter()))]:
        counts = (verdicts.total(), verdicts["survived"], verdicts["detected"], verdicts["wrong"])
        print(f"| {kind} | {KINDS.get(kind, '')} | {' | '.join(map(str, counts))} |")
    return int(any(verdicts["wrong"] for verdicts in rows.values()))


def _one_batch(what: tuple[str, int], folder: Path) -> list[str]:
    """Run one kind so many times in this process; its verdicts."""
    kind, times = what
    torch.set_num_threads(1)
    machine = host_machine(
        measure_drive([folder])
    )  # once: measuring in each run would take longer than the run
    expected = _digest_without_tmtrain()
    verdicts: list[str] = []
    seed = 0
    while len(verdicts) < times:
        outcome = _train(kind, random.Random(seed), folder, machine)
        seed += 1
        if outcome.has_struck:
            is_wrong = outcome.verdict == "survived" and outcome.digest != expected
            verdicts.append("wrong" if is_wrong else outcome.verdict)
    return verdicts


def _digest_without_tmtrain() -> str:
    model, optimizer, step = _perceptron()
    return _digest([step(n) for n in range(STEPS)], model, optimizer)


def _train(kind: str, dice: random.Random, folder: Path, machine: Machine) -> Outcome:
    """Train once with one fault of this kind."""
    model, optimizer, step = _perceptron()
    faulty = [Fault(kind=name, at=dice.randrange(TRANSFERS)) for name in DRIVE_FAULTS if name == kind]
    losses: list[float] = []
    beside = _second_process() if kind == "second process" else nullcontext()
    verdict = digest = ""
    with beside, faults(dice=dice) as drive:
        try:
            with train(
                model, optimizer, step, budget_bytes=BUDGET, flash=folder, machine=machine
            ) as training:
                drive.inject(*faulty)  # taking in the model, and the end, are not what is tested
                for number in range(STEPS):
                    if kind == "lower budget" and number == 2:
                        training.budget_bytes = dice.choice([5 << 20, 4 << 20, 2 << 20])
                    losses.append(training.step(number))
                drive.mend()
            verdict, digest = "survived", _digest(losses, model, optimizer)
        except TmtrainError:
            verdict = "detected"
        except Exception as error:
            print(repr(error), file=sys.stderr)
            verdict = "wrong"
    return Outcome(verdict=verdict, digest=digest, has_struck=bool(drive.struck) or kind in OTHER_FAULTS)


def _perceptron() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], float]]:
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.GELU())))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(number: int) -> float:
        batch = torch.randn(256, WIDTH, generator=torch.Generator().manual_seed(number))
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return model, optimizer, step


def _digest(losses: list[float], model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    digest = hashlib.sha256(repr(losses).encode())
    states = [value for state in optimizer.state.values() for value in state.values()]
    for tensor in [*model.parameters(), *states]:
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _second_process() -> Generator[None]:
    """Start another training beside this one."""
    script = (
        "import sys, torch, tmtrain\n"
        "layer = torch.nn.Linear(1024, 1024)\n"
        "optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)\n"
        "def step():\n"
        "    layer(torch.ones(1024, 1024)).square().mean().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "with tmtrain.train(layer, optimizer, step, budget_bytes='13 MiB', flash=sys.argv[1]) as training:\n"
        "    for _ in range(8): training.step()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, sys.argv[1]])
    yield
    if other.wait():
        raise SystemExit("the second process failed")


if __name__ == "__main__":
    sys.exit(main())
