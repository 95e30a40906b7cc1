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
import errno
import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tmtrain import TmtrainError, train
from tmtrain.runtime import training as training_module
from tmtrain.runtime.host.drive import measure_drive

STEPS = 4
LAYERS, WIDTH = 4, 512
BUDGET = 6 << 20
TRANSFERS = 60
"""Of each direction in a run, about: where faults are drawn from."""
KINDS = {
    "short read": "a read returns a part",
    "short write": "a write returns a part",
    "EIO on read": "the drive refuses a read",
    "EIO on write": "the drive refuses a write",
    "full disk": "a write finds no room (ENOSPC)",
    "torn write": "a write reports success, its second half was not written",
    "lost write": "a write reports success, nothing was written",
    "flipped bit": "one bit of what is read is another",
    "truncated file": "the file is cut to nothing under us",
    "second process": "another training on the same folder at the same time",
    "lower budget": "the budget is lowered between two steps, to one that suffices or not",
}


def main() -> int:
    """Run the campaign, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_one_batch(json.loads(given.one), given.folder)))
        return 0
    return _campaign(given.folder, given.per_kind)


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
    for kind, found in [*rows.items(), ("all", sum(rows.values(), Counter()))]:
        counts = (found.total(), found["survived"], found["detected"], found["wrong"])
        print(f"| {kind} | {KINDS.get(kind, '')} | {' | '.join(map(str, counts))} |")
    return int(any(found["wrong"] for found in rows.values()))


def _one_batch(what: tuple[str, int], folder: Path) -> list[str]:
    """Run one kind so many times in this process; its outcomes."""
    kind, times = what
    _measure_the_drive_once(folder)
    _, expected = _train(None, random.Random(0), folder)
    outcomes: list[str] = []
    seed = 0
    while len(outcomes) < times:
        _state.struck = kind in ("second process", "lower budget")
        outcome, digest = _train(kind, random.Random(seed), folder)
        seed += 1
        if _state.struck:  # else the run had fewer transfers than the number drawn
            outcomes.append("wrong" if outcome == "survived" and digest != expected else outcome)
    return outcomes


def _measure_the_drive_once(folder: Path) -> None:
    rates = measure_drive([folder])
    training_module.measure_drive = lambda _: rates


def _train(kind: str | None, dice: random.Random, folder: Path) -> tuple[str, str]:
    """Train once; without a kind, without tmtrain. Return the outcome and a digest of all that is left."""
    torch.set_num_threads(1)
    model, optimizer, step = _perceptron()
    if kind is None:
        return "survived", _digest([step(n) for n in range(STEPS)], model, optimizer)
    undo = _inject(kind, dice)
    losses: list[float] = []
    try:
        with train(model, optimizer, step, budget_bytes=BUDGET, flash=folder) as training:
            _state.armed = True
            for number in range(STEPS):
                if kind == "lower budget" and number == 2:
                    training.budget_bytes = dice.choice([5 << 20, 4 << 20, 2 << 20])
                losses.append(training.step(number))
            _state.armed = False
    except TmtrainError:
        return "detected", ""
    except Exception as error:
        print(repr(error), file=sys.stderr)
        return "wrong", ""
    finally:
        _state.armed = False
        undo()
    return "survived", _digest(losses, model, optimizer)


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


@dataclass
class _State:
    armed: bool = False
    """Faults may happen: taking in the model, and the end, are not what is tested."""
    struck: bool = False
    """One has happened."""


_state = _State()


def _inject(kind: str, dice: random.Random) -> Callable[[], None]:
    """Put the fault in the way of the one transfer; return how to take it away."""
    if kind in ("second process", "lower budget"):
        return _second_process() if kind == "second process" else lambda: None
    write, read, left = os.pwrite, os.preadv, [dice.randrange(TRANSFERS)]

    def struck() -> bool:
        left[0] -= _state.armed
        strikes = _state.armed and left[0] == -1
        _state.struck |= strikes
        return strikes

    def bad_write(file: int, data: memoryview, at: int) -> int:
        if kind in _ON_READ or not struck():
            return write(file, data, at)
        return _bad_write(kind, file, data, at, write)

    def bad_read(file: int, into: list[memoryview], at: int) -> int:
        if kind not in _ON_READ or not struck():
            return read(file, into, at)
        return _bad_read(kind, file, into, at, read, dice)

    os.pwrite, os.preadv = bad_write, bad_read  # pyright: ignore[reportAttributeAccessIssue]

    def undo() -> None:
        os.pwrite, os.preadv = write, read

    return undo


_ON_READ = ("short read", "EIO on read", "flipped bit", "truncated file")


def _bad_write(kind: str, file: int, data: memoryview, at: int, write: Callable[..., int]) -> int:
    half = max(4096, len(data) // 2 // 4096 * 4096)
    if kind == "short write":
        return write(file, data[:half], at)
    if kind == "torn write":
        write(file, data[:half], at)
        return len(data)
    if kind == "lost write":
        return len(data)
    raise OSError(errno.ENOSPC if kind == "full disk" else errno.EIO, "injected")


def _bad_read(
    kind: str, file: int, into: list[memoryview], at: int, read: Callable[..., int], dice: random.Random
) -> int:
    if kind == "EIO on read":
        raise OSError(errno.EIO, "injected")
    if kind == "short read":
        return read(file, [into[0][:4096]], at)
    if kind == "truncated file":
        os.ftruncate(file, 0)
    done = read(file, into, at)
    if kind == "flipped bit":
        into[0][dice.randrange(len(into[0]))] ^= 1 << dice.randrange(8)
    return done


def _second_process() -> Callable[[], None]:
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

    def end() -> None:
        if other.wait():
            raise SystemExit("the second process failed")

    return end


if __name__ == "__main__":
    sys.exit(main())
