"""``tmtrain train``."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tmtrain.cli.decision import simulate_plan
from tmtrain.cli.options import Flag, SeveralFolders
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.summaries.train import ForeseenSummary, RunSummary, summarise_foresight, summarise_run
from tmtrain.errors import CaptureError, InputError
from tmtrain.machine import Machine, load_machine
from tmtrain.runtime import train as train_in_budget
from tmtrain.units import FastCapacity, format_seconds, parse_fast

if TYPE_CHECKING:
    from tmtrain.runtime.training.training import Training


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
    no_monitor: Flag = False,
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
        no_monitor: Keep to the plan, whatever the steps show.
        dry_run: Say what to expect, and touch neither model nor drive.
        json: Print JSON.
    """
    capacity = parse_fast(budget)
    saving = _Saving(steps=steps, checkpoint=checkpoint, save_every=save_every)
    saving.check()
    with progress() as tell:
        run = _HostRun(
            target=target,
            flash=flash,
            host=_this_host(flash, machine),
            objective=objective,
            saving=saving,
            monitor=not no_monitor,
            tell=tell,
        )
        foreseen = run.foresee(capacity, required=dry_run or capacity.bytes is None)
        summary = foreseen if dry_run else run.train(capacity, foreseen)
    assert summary is not None, "a dry run without foresight has raised"
    emit(summary, facts(target, summary.lines()), as_json=json)


def _this_host(flash: Sequence[Path], machine: Path | None) -> Machine:
    """Return the machine of that file, or measure this host and the drives behind `flash`."""
    if machine is not None:
        return load_machine(machine)
    from tmtrain.runtime.host.measure import machine_text, measure_host  # imports torch

    with TemporaryDirectory() as folder:
        file = Path(folder) / "this-host.toml"
        file.write_text(machine_text(measure_host(flash)), encoding="utf-8")
        return load_machine(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saving:
    """How many steps to train, and after which of them to save."""

    steps: int
    checkpoint: Path | None
    save_every: int | None

    def check(self) -> None:
        """Refuse what makes no sense, before anything is spent.

        Raises:
            InputError: says what to change.
        """
        checkpoint, save_every = self.checkpoint, self.save_every
        if self.steps < 1:
            raise InputError(f"--steps is {self.steps}: train for at least 1")
        if checkpoint is not None and not os.access(checkpoint.parent, os.W_OK):
            raise InputError(f"--checkpoint {checkpoint}: nothing can be written into {checkpoint.parent}")
        if save_every is not None and (checkpoint is None or save_every < 1):
            raise InputError(
                f"--save-every {save_every}: say how many steps, at least 1, and --checkpoint FILE"
            )

    def is_due(self, number: int) -> bool:
        """Whether to save after step `number`, counted from 1."""
        return number == self.steps or number % (self.save_every or self.steps) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _HostRun:
    """One run of the user's step on this host."""

    target: str
    flash: Sequence[Path]
    host: Machine
    objective: str | None
    saving: _Saving
    monitor: bool
    tell: Callable[[str], None]

    def foresee(self, capacity: FastCapacity, *, required: bool) -> ForeseenSummary | None:
        """Foresee the run and warn of what one may not want; None where the step cannot be captured on fake tensors.

        Raises: as `tmtrain.runtime.following.foresight.foresee`; also for drives that have no room for it.
        """
        self.tell(f"{self.target}: foresee")
        try:
            foreseen = self._foreseen(capacity)
        except CaptureError as error:
            if required:
                raise
            self.tell(f"{self.target}: trained without knowing ahead what it needs: {error}")
            return None
        for warning in foreseen.warnings:
            print(f"{self.target}: {warning}", file=sys.stderr, flush=True)
        return foreseen

    def _foreseen(self, capacity: FastCapacity) -> ForeseenSummary:
        from tmtrain.runtime.following.foresight import foresee  # imports torch
        from tmtrain.runtime.following.planned_step import OBJECTIVE
        from tmtrain.runtime.tier.stripes import check_rooms

        foresight = foresee(
            self.target, machine=self.host, budget=capacity, objective=self.objective or OBJECTIVE
        )
        check_rooms(self.flash, foresight.trace.footprint_bytes)
        step = simulate_plan(foresight.plan, foresight.timeline, machine=foresight.machine)
        return summarise_foresight(foresight, step.result, objective=self.objective)

    def train(self, capacity: FastCapacity, foreseen: ForeseenSummary | None) -> RunSummary:
        """Train, from a checkpoint to a checkpoint, and lay the steady step beside the simulated one.

        Raises: as `tmtrain.train`, `Training.load`, `Training.step` and `Training.save`.
        """
        from tmtrain.capturing.jobs.user import find_function  # imports torch

        job = find_function(self.target).make_job(samples=1)
        with train_in_budget(
            job.model,
            job.only_optimizer,
            job.step,
            budget_bytes=foreseen.budget_bytes if foreseen else capacity.bytes or 0,
            flash=self.flash,
            machine=self.host,
            restores=False,
            objective=self.objective,
            monitor=self.monitor,
        ) as training:
            self._load(training)
            for number in range(1, self.saving.steps + 1):
                self._step(training, number)
            result, planned_step = training.result, training.planned_step
        return summarise_run(result, planned_step, foreseen=foreseen, machine=self.host)

    def _load(self, training: "Training[Any, Any]") -> None:
        checkpoint = self.saving.checkpoint
        if checkpoint is not None and checkpoint.exists():
            self.tell(f"{self.target}: go on from {checkpoint}")
            training.load(checkpoint)

    def _step(self, training: "Training[Any, Any]", number: int) -> None:
        training.step()
        last, checkpoint = training.result.steps[-1], self.saving.checkpoint
        self.tell(f"step {number} of {self.saving.steps}: {format_seconds(last.step_time_s)}, {last.how}")
        if checkpoint is not None and self.saving.is_due(number):
            self.tell(f"{self.target}: save to {checkpoint}")
            training.save(checkpoint)
