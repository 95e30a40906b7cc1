"""Training in a memory budget: the object that `tmtrain.train` returns."""

import gc
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

import torch

from tmtrain.capturing.owned import owned_tensors
from tmtrain.capturing.session import CaptureSession
from tmtrain.errors import CaptureError, FlashError, InfeasibleError, InputError, SolverError
from tmtrain.machine import Machine
from tmtrain.planning import check_objective
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tmtrain.runtime.checkpoints.resume import resume
from tmtrain.runtime.dispatch.chunked_optimizers import SHARE, Pieces
from tmtrain.runtime.dispatch.chunked_rows import Rows
from tmtrain.runtime.dispatch.materialise import Init, materialise
from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode
from tmtrain.runtime.following.executor import PlanExecutor
from tmtrain.runtime.following.planned_step import OBJECTIVE, PlannedStep, make_planned_step, retimed
from tmtrain.runtime.following.recorded_step import stream_of
from tmtrain.runtime.following.step_log import StepLog
from tmtrain.runtime.host.counters import (
    available_bytes,
    drives_so_far,
    forget_peak,
    peak_resident_bytes,
    resident_bytes,
)
from tmtrain.runtime.host.drive import measure_drive, slowness
from tmtrain.runtime.host.energy import EnergyMeter
from tmtrain.runtime.host.host import host_machine, slowed
from tmtrain.runtime.result import How, RunResult, StepMeasure
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.mover import NUM_THREADS, Mover
from tmtrain.runtime.tier.pages import keep_large_blocks_apart
from tmtrain.runtime.tier.stripes import open_flash
from tmtrain.runtime.tier.tier import Tier
from tmtrain.units import format_bytes

MOST_PLANNED_STEPS = 8
"""Steps that differ in their operators, each with a plan of its own; further ones run on demand."""
MOST_TRIES = 4
"""Steps in a row that may turn out not to be steady before nobody tries to write one down any more."""
DRIFT = 0.1
"""A plan is made anew where a step computes for so much longer or shorter than was planned for."""
DRIVE_DRIFT = 0.25
"""Likewise where the drive takes so much longer or shorter at full load; drives vary more than computation."""
MOST_PLANNING = 0.2
"""Of the time of all steps so far: where planning anew has taken more, it has to wait."""

P = ParamSpec("P")
R = TypeVar("R")


class Training(Generic[P, R]):
    """Runs the user's step inside the budget; made by `tmtrain.train`.

    Note [Cyclic garbage]: a storage that a reference cycle holds dies when Python's collector pleases, at another operator
    in every step, and perhaps in a thread of the mover. So the collector rests in steps, and is called between them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        step: Callable[P, R] | None,
        *,
        budget_bytes: int,
        flash: tuple[Path, ...],
        init: Init | None = None,
        restores: bool = True,
        machine: Machine | None = None,
        objective: str | None = None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"the model is a {type(model).__name__}, a torch.nn.Module is needed")
        if not isinstance(optimizer, torch.optim.Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"the optimizer is a {type(optimizer).__name__}, a torch.optim.Optimizer is needed"
            )
        if step is not None and not callable(step):
            raise InputError(
                f"the step is a {type(step).__name__}, a function that trains for one step is needed"
            )
        _check_plain(model)
        _check_budget(budget_bytes)
        if not flash:
            raise InputError("flash names no folder: give one on a local drive, or one on each of several")
        self._model, self._optimizer, self._step = model, optimizer, step
        self._budget_bytes, self._folders = budget_bytes, flash
        self._init, self._restores, self._host = init, restores, machine
        self._objective = OBJECTIVE if objective is None else objective
        check_objective(self._objective)
        self._steps: list[StepMeasure] = []
        self._notes: list[str] = []
        self._tries = 0
        self._planning_s = self._planning_anew_s = 0.0
        self._fixed_bytes = 0
        self._is_in_step = False
        self._exits: ExitStack | None = None

    def __enter__(self) -> Self:
        """Measure the drives, take room on them, and put what there is already under the budget.

        Raises:
            InputError: a folder cannot serve as flash, or nobody knows how to fill what is on the meta device.
            InfeasibleError: the budget is below one tensor.
            FlashError: a drive fails.
        """
        if self._exits is not None:
            raise InputError("this training has begun already: call tmtrain.train(...) again for another one")
        keep_large_blocks_apart()
        owned = {tensor: owner.name for tensor, owner in owned_tensors(self._model, self._optimizer)}
        self._machine = self._host or host_machine(measure_drive(self._folders))
        size = sum(tensor.untyped_storage().nbytes() for tensor in owned)
        room = -(-size // BLOCK_BYTES) * BLOCK_BYTES + self._budget_bytes
        flash = open_flash(self._folders, size_bytes=room)
        mover = Mover(flash, num_threads=NUM_THREADS * len(self._folders))
        self._tier = Tier(flash=flash, mover=mover, budget_bytes=self._budget_bytes)
        self._residency = ResidencyMode(self._tier)
        self._executor = PlanExecutor(self._tier, self._residency.recomputer)
        self._energy = EnergyMeter()
        with ExitStack() as exits:
            exits.callback(self._let_go)
            for tensor, name in owned.items():
                if tensor.is_meta:
                    continue
                self._residency.adopt(tensor, name=name)
            self._fixed_bytes = max(0, resident_bytes() - self._tier.used_bytes)
            if gc.isenabled():
                gc.disable()
                exits.callback(gc.enable)
            exits.enter_context(self._residency)
            materialise(self._model, self._init)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Bring everything back into memory, budget or not, and give the room on the drive back.

        Raises:
            InfeasibleError: there is not enough memory for that. What is on flash is lost, and closed for good.
            FlashError: the drive failed.
        """
        assert self._exits is not None
        try:
            self._exits.close()
        except (FlashError, InfeasibleError) as lost:
            if error is None:
                raise
            error.add_note(f"and what was on flash could not be brought back: {lost}")

    def step(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the user's step with these arguments, and return what it returns.

        Raises:
            InfeasibleError: an operator needs more than the budget; it is named, with its need.
            FlashError: the drive failed, or returned what was not written. Nothing wrong has been computed with; go on
                from the last checkpoint.
        """
        if self._step is None:
            raise InputError(
                "no step was given to tmtrain.train: write `with training.one_step():` around what it does"
            )
        with self.one_step():
            return self._step(*args, **kwargs)

    @contextmanager
    def one_step(self) -> Generator[None]:
        """Take what runs inside as one whole step: for loops that are no function. Errors as `step`."""
        self._check_begun()
        if self._is_in_step:
            raise InputError("a step has begun and is not over: one step inside of another makes no sense")
        how: How = "on demand"
        planned_step: PlannedStep | None = None
        meter = _Meter(self._tier, self._residency.recomputer, self._energy)
        self._is_in_step = True
        try:
            if self._records:
                with self._written_down():
                    yield
            else:
                with self._followed():
                    yield
                how, planned_step = self._executor.how, self._executor.planned_step
        finally:
            self._is_in_step = False
            self._executor.end_step()
            self._residency.begin_step(self._executor)
        self._steps.append(meter.measure(how))
        if how == "planned" and planned_step is not None:
            self._retime(planned_step, drive=meter.slowness_of(planned_step.machine))
        gc.collect(1)

    def save(self, path: str | Path, *, extra: Any = None) -> None:
        """Write a checkpoint of model, optimizer and torch's generator: one safetensors file, written within the budget.

        Args:
            path: Of the file. It appears whole or not at all.
            extra: What else belongs to it, such as the state of a scheduler or the number of the step.

        Raises:
            InputError: `extra` holds something else than tensors, numbers, strings and None, in dicts, lists and tuples;
                or the disk refuses.
        """
        self._check_begun()
        tree = {
            "model": self._model.state_dict(), "optimizer": self._optimizer.state_dict(), "rng": torch.get_rng_state(),
            "extra": extra,
        }  # fmt: skip
        write_checkpoint(Path(path), tree, fetch=self._fetched)

    def load(self, path: str | Path) -> Any:
        """Go on from a checkpoint, bit for bit as if nothing had come between; return its `extra`.

        Raises:
            InputError: it was saved from another model or optimizer; nothing is changed then.
            FileFormatError: no checkpoint, or a damaged one; what came before the damage is restored already.
        """
        self._check_begun()
        with Checkpoint(Path(path)) as checkpoint:
            return resume(checkpoint, self._model, self._optimizer, hold=self._to_fill)

    def _let_go(self) -> None:
        away, available = self._tier.away_bytes, available_bytes()
        self._tier.close(restores=self._restores and away <= available)
        if self._restores and away > available:
            raise InfeasibleError(
                f"{format_bytes(away)} are on flash, and {format_bytes(available)} of memory are free: save a checkpoint "
                "before the end, and say tmtrain.train(..., restores=False)"
            )

    def _fetched(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        whole = tensor.detach().contiguous()
        self._residency.hold(whole, what=f"saving {name}")
        return whole

    def _to_fill(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        self._residency.hold(tensor, what=f"loading {name}", fills=True)
        return tensor

    def _check_begun(self) -> None:
        if self._exits is None:
            raise InputError("the training has not begun: write `with tmtrain.train(...) as training:`")

    @property
    def budget_bytes(self) -> int:
        """Fast memory for what can move. A lower one holds from the next operator on; steps are planned anew for it."""
        return self._budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, budget_bytes: int) -> None:
        _check_budget(budget_bytes)
        self._budget_bytes = budget_bytes
        if self._exits is not None:
            self._tier.budget_bytes = budget_bytes
            self._executor.forget_planned_steps()
            self._tries = 0

    @property
    def result(self) -> RunResult:
        """What was measured so far."""
        return RunResult(
            budget_bytes=self._budget_bytes,
            fixed_bytes=self._fixed_bytes,
            managed_bytes=self._tier.managed_bytes if self._exits is not None else 0,
            steps=tuple(self._steps),
            prediction=self.planned_step.plan.prediction if self.planned_step else None,
            planning_s=self._planning_s,
            notes=tuple(self._notes),
        )

    @property
    def planned_step(self) -> PlannedStep | None:
        """The recorded step, its plan and what it was made for; None before there is one."""
        return (
            self._executor.planned_steps[0]
            if self._exits is not None and self._executor.planned_steps
            else None
        )

    @property
    def _records(self) -> bool:
        diverged = bool(self._steps) and self._steps[-1].how == "diverged"
        return self._may_record and (diverged or not self._executor.planned_steps)

    @property
    def _may_record(self) -> bool:
        return self._tries < MOST_TRIES and len(self._executor.planned_steps) < MOST_PLANNED_STEPS

    @contextmanager
    def _written_down(self) -> Generator[None]:
        session = CaptureSession(
            self._model, self._optimizer, name=type(self._model).__name__, samples=1, options={}
        )
        log = StepLog(session.ledger.number_of)
        self._residency.begin_step(log)
        is_over = False
        try:
            with session, self._in_pieces():
                yield
                is_over = True
                log.close()
        except CaptureError as error:
            if not is_over:
                raise
            self._tries += 1
            if not self._may_record:
                self._tell(f"steps run on demand, no plan could be made: {error}")
        else:
            self._learn(session, log)

    def _learn(self, session: CaptureSession, log: StepLog) -> None:
        recorded, living = stream_of(session, log)
        began = time.perf_counter()
        try:
            planned_step = make_planned_step(
                recorded, machine=self._machine, budget_bytes=self._tier.free_bytes, objective=self._objective
            )
        except (InfeasibleError, SolverError) as error:
            self._tries += 1
            self._tell(f"steps run on demand, no plan could be made: {error}")
        else:
            self._tries = 0
            self._executor.learn(planned_step, living=living)
        self._planning_s += time.perf_counter() - began

    @contextmanager
    def _followed(self) -> Generator[None]:
        executor = self._executor
        if not executor.planned_steps:
            self._residency.begin_step(StepObserver())
            with self._in_pieces():
                yield
            return
        self._residency.begin_step(executor)
        executor.begin_step(first_operator=self._residency.operators)
        with self._in_pieces():
            yield
        if executor.how == "diverged" and not self._may_record:
            self._tell(
                f"this step is none of the {len(executor.planned_steps)} that are known: it ran on demand; steps of fewer "
                "different shapes would all be planned"
            )

    def _retime(self, planned_step: PlannedStep, *, drive: float) -> None:
        """Plan again where computation or drive take another time than was planned for, which is what they took once.

        Args:
            route: Followed to its end just now.
            drive: How many times as long as planned for the drive takes.
        """
        took, planned = sum(self._executor.seconds.values()), planned_step.timeline.compute_s
        drive_drifts = abs(drive - 1) > DRIVE_DRIFT
        if abs(took - planned) <= DRIFT * planned and not drive_drifts:
            return
        if self._planning_anew_s > MOST_PLANNING * sum(step.step_time_s for step in self._steps):
            return
        began = time.perf_counter()
        machine = slowed(planned_step.machine, drive) if drive_drifts else planned_step.machine
        again = retimed(planned_step, seconds=self._executor.seconds, machine=machine)
        self._executor.planned_steps[self._executor.planned_steps.index(planned_step)] = again
        took_s = time.perf_counter() - began
        self._planning_s += took_s
        self._planning_anew_s += took_s

    @contextmanager
    def _in_pieces(self) -> Generator[None]:
        """Let operators that are large for the budget run in pieces."""
        budget_bytes = self._tier.budget_bytes
        with Rows(budget_bytes), Pieces(int(budget_bytes * SHARE)):
            yield

    def _tell(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)
            warnings.warn(note, stacklevel=7)


def _check_budget(budget_bytes: int) -> None:
    if budget_bytes < BLOCK_BYTES:
        raise InputError(
            f"a budget of {format_bytes(budget_bytes)} is below one block that moves, {format_bytes(BLOCK_BYTES)}: "
            "give the largest operator at least what it touches"
        )


def _check_plain(model: torch.nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise InputError(
                f"{name} is a {type(tensor).__name__}, whose memory others manage: plain tensors are needed (DDP is fine; "
                "FSDP and DTensors are not, give the model as it was before fully_shard)"
            )


class _Meter:
    """Measures one step by what the counters say before and after it."""

    def __init__(self, tier: Tier, recomputer: Recomputer, energy: EnergyMeter) -> None:
        self._tier, self._recomputer, self._energy = tier, recomputer, energy
        forget_peak()
        tier.forget_peak()
        self._drives_before = drives_so_far()
        self._moved_before, self._counts_before = replace(tier.mover.moved), replace(tier.counts)
        self._recomputations_before = recomputer.recomputations
        self._energy_before = energy.read()
        self._began_s = time.perf_counter()

    def slowness_of(self, machine: Machine) -> float:
        """Return how many times as long as `machine` says the drive has taken since the step began."""
        return slowness(self._tier.mover.moved, since=self._moved_before, machine=machine) or 1.0

    def measure(self, how: How) -> StepMeasure:
        """Return the step that ends now."""
        ended_s, energy_j = time.perf_counter(), self._energy.joules_since(self._energy_before)
        drives = drives_so_far()
        moved, moved_before = self._tier.mover.moved, self._moved_before
        counts, before = self._tier.counts, self._counts_before
        return StepMeasure(
            how=how,
            step_time_s=ended_s - self._began_s,
            stall_s=counts.stall_s - before.stall_s,
            bytes_in=moved.bytes_in - moved_before.bytes_in,
            bytes_out=moved.bytes_out - moved_before.bytes_out,
            drive_read_bytes=drives.read_bytes - self._drives_before.read_bytes,
            drive_written_bytes=drives.written_bytes - self._drives_before.written_bytes,
            misses=counts.misses - before.misses,
            evictions=counts.evictions - before.evictions,
            recomputations=self._recomputer.recomputations - self._recomputations_before,
            peak_bytes=counts.peak_bytes,
            peak_resident_bytes=peak_resident_bytes(),
            energy_j=energy_j,
        )
