"""``tmtrain train``."""

import os
import sys
from pathlib import Path

from tmtrain.cli.flag import Flag
from tmtrain.cli.options import SeveralFolders
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.summaries.train import ForeseenSummary, RunSummary, foreseen_summary, run_summary, this_host
from tmtrain.errors import CaptureError, InputError
from tmtrain.units import parse_fast


def train(
    target: str,
    /,
    *,
    budget: str,
    flash: SeveralFolders,
    steps: int = 10,
    objective: str | None = None,
    machine: Path | None = None,
    checkpoint: Path | None = None,
    save_every: int | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Train for real inside a memory budget, the rest on a drive, and lay the run beside its prediction.

    Args:
        target: Your own FILE.py:FUNCTION that returns (model, optimizer, step).
        budget: Memory for what can be moved: a size, or a share of what the step needs.
        flash: Folder on a local drive, said again for each further one; what is there is gone when the run ends.
        steps: How many steps to train.
        objective: What plans minimise: time if you say nothing; bytes or writes spare the drive and compute more twice.
        machine: This host, as written by tmtrain machine measure; measured anew without it.
        checkpoint: Go on from this file, if it is there, and save to it in the end: model, optimizer and torch's generator.
        save_every: Save after each so many steps, too.
        dry_run: Say what to expect, and touch neither model nor drive.
        json: Print JSON.
    """
    capacity = parse_fast(budget)
    _check(steps=steps, checkpoint=checkpoint, save_every=save_every)
    with progress() as tell:
        host = this_host(flash, machine)
        tell(f"{target}: foresee")
        foreseen: ForeseenSummary | None = None
        try:
            foreseen = foreseen_summary(target, capacity, flash=flash, machine=host, objective=objective)
            for warning in foreseen.warnings:
                print(f"{target}: {warning}", file=sys.stderr, flush=True)
        except CaptureError as error:
            if dry_run or capacity.bytes is None:
                raise
            tell(f"{target}: trained without knowing ahead what it needs: {error}")
        summary: ForeseenSummary | RunSummary | None = foreseen
        if not dry_run:
            budget_bytes = foreseen.budget_bytes if foreseen else capacity.bytes or 0
            summary = run_summary(
                target, foreseen, budget_bytes=budget_bytes, flash=flash, machine=host, steps=steps,
                objective=objective, checkpoint=checkpoint, save_every=save_every, tell=tell,
            )  # fmt: skip
    assert summary is not None, "a dry run without foresight has raised"
    emit(summary, facts(target, summary.lines()), as_json=json)


def _check(*, steps: int, checkpoint: Path | None, save_every: int | None) -> None:
    if steps < 1:
        raise InputError(f"--steps is {steps}: train for at least 1")
    if checkpoint is not None and not os.access(checkpoint.parent, os.W_OK):
        raise InputError(f"--checkpoint {checkpoint}: nothing can be written into {checkpoint.parent}")
    if save_every is not None and (checkpoint is None or save_every < 1):
        raise InputError(f"--save-every {save_every}: say how many steps, at least 1, and --checkpoint FILE")
