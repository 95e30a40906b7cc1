"""What stands while a training is entered: drive, tier, residency mode, plans. It opens and closes in order, also on error.

Note [Cyclic garbage]: a storage that a reference cycle holds dies when Python's collector pleases, at another operator in
every step, and perhaps in a thread of the mover. So the collector rests in steps, and is called between them.
"""

import gc
import inspect
import weakref
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tmtrain.capturing.owned import owned_tensors
from tmtrain.errors import FlashError, InfeasibleError, InputError
from tmtrain.machine import Machine
from tmtrain.runtime.dispatch.operands import storages_in
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode
from tmtrain.runtime.dispatch.touches import WatchedTouches
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.host.counters import available_bytes, resident_bytes
from tmtrain.runtime.host.drive import measure_drive
from tmtrain.runtime.host.energy import EnergyMeter
from tmtrain.runtime.host.host import host_machine
from tmtrain.runtime.result import How, RunResult, StepMeasure
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.mover import NUM_THREADS, Mover
from tmtrain.runtime.tier.pages import keep_large_blocks_apart
from tmtrain.runtime.tier.stripes import open_flash
from tmtrain.runtime.tier.tier import Tier
from tmtrain.runtime.training.collector import CycleCollector
from tmtrain.runtime.training.compiled import refusing_compiled
from tmtrain.runtime.training.materialise import materialise
from tmtrain.runtime.training.meter import StepMeter
from tmtrain.runtime.training.settings import TrainingSettings
from tmtrain.runtime.training.step_plans import StepPlans
from tmtrain.units import format_bytes


class TrainingSession:
    """An entered training. Its steps are in the budget from the constructor to `close`.

    It is to be kept after that: storages that die later still tell its tier, which opens their pages for the allocator.
    """

    def __init__(self, settings: TrainingSettings[Any, Any]) -> None:
        """Measure the drives, take room on them, and put what there is already under the budget.

        Raises:
            InputError: a folder cannot serve as flash, or nobody knows how to fill what is on the meta device.
            InfeasibleError: the budget is below one tensor.
            FlashError: a drive fails.
        """
        keep_large_blocks_apart()
        model, optimizer = settings.model, settings.optimizer
        owned = {tensor: owner.name for tensor, owner in owned_tensors(model, optimizer)}
        machine = settings.machine or host_machine(measure_drive(settings.flash))
        size = sum(storage.nbytes() for storage in storages_in(owned).values())
        self.tier = _open_tier(settings, managed_bytes=size)
        self.residency = ResidencyMode(self.tier)
        self.plans = _plans(settings, machine=machine, tier=self.tier, residency=self.residency)
        self.steps: list[StepMeasure] = []
        """What was measured of them."""
        self._restores = settings.restores
        self._energy = EnergyMeter()
        self._collector = CycleCollector()
        self._followed: PlannedStep | None = None
        self._running: Callable[[], Generator[None] | None] = lambda: None
        """The step that began last, while somebody holds it."""
        self._unfinished: FlashError | None = None
        """What ended a step half way through."""
        with ExitStack() as exits:
            exits.callback(self._let_go)
            if self.plans.monitors is not None:
                exits.callback(self.plans.monitors.close)
            self._adopt(owned)
            self._fixed_bytes = max(0, resident_bytes() - self.tier.used_bytes)
            if gc.isenabled():
                gc.disable()
                exits.callback(gc.enable)
            exits.enter_context(refusing_compiled())
            exits.enter_context(self.residency)
            exits.enter_context(WatchedTouches(self.residency, self.tier))
            materialise(model, settings.init)
            self._exits = exits.pop_all()

    def close(self) -> None:
        """Bring everything back into memory, budget or not, and give the room on the drive back.

        Raises:
            InfeasibleError: there is not enough memory for that. What is on flash is lost, and closed for good.
            FlashError: the drive failed.
        """
        self._exits.close()

    @contextmanager
    def one_step(self) -> Generator[None]:
        """Take what runs inside as one whole step."""
        running = self._running()
        # Asked of the step itself: no line that an exception can keep from running says that it is over.
        if running is not None and inspect.getgeneratorstate(running) == inspect.GEN_SUSPENDED:
            raise InputError("a step has begun and is not over: one step inside of another makes no sense")
        self.check_finished()
        step = self._step()
        self._running = weakref.ref(step.gen)
        with step:
            yield

    @contextmanager
    def _step(self) -> Generator[None]:
        how: How = "on demand"
        planned_step: PlannedStep | None = None
        executor = self.plans.executor
        self._end_step()  # the last one, where an exception came in between
        meter = StepMeter(self.tier, self.residency.recomputer, self._energy)
        try:
            if self.plans.records(len(self.steps)):
                with self.plans.recording():
                    yield
            else:
                with self.plans.executing(len(self.steps)):
                    yield
                how, planned_step = executor.how, executor.planned_step
        except FlashError as error:
            self._unfinished = error
            raise
        finally:
            self._end_step()
        self.steps.append(meter.measure(how))
        self._tell_overruns()
        if how == "planned" and planned_step is not None:
            self._followed = planned_step
            slowness = meter.slowness_of(planned_step.machine)
            self.plans.followed(planned_step, slowness=slowness, steps=self.steps)
        self._collector.step_ended()

    def _end_step(self) -> None:
        try:
            self.plans.executor.end_step()
        finally:
            # Between steps the executor must hear of deaths: keys are used again.
            self.residency.begin_step(self.plans.executor)

    def check_finished(self) -> None:
        """Refuse to go on, or to save, from the middle of a step that the drive ended.

        Raises:
            FlashError: says what is lost.
        """
        first = self._unfinished
        if first is not None:
            raise FlashError(
                f"step {len(self.steps) + 1} was not finished, for the drive failed ({first}): model and optimizer may be "
                "half way through it, so nothing goes on from here; nothing that was saved is lost, go on from the last "
                "checkpoint in a training of its own",
                folder=first.folder,
                size_bytes=first.size_bytes,
                offset_bytes=first.offset_bytes,
                errno=first.errno,
            ) from first

    def change_budget(self, budget_bytes: int) -> None:
        """Keep to another budget from the next operator on."""
        self.tier.budget_bytes = budget_bytes
        self.plans.forget()
        self._followed = None

    def to_read(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Return a tensor contiguous and in memory, for a checkpoint that reads its bytes."""
        # What is conjugated or negated by a flag is so in the memory that is read here.
        whole = tensor.detach().resolve_conj().resolve_neg().contiguous()
        self.residency.hold(whole.untyped_storage(), what=f"saving {name}")
        return whole

    def to_fill(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Return a tensor in memory, for a checkpoint that writes its bytes."""
        self.residency.hold(tensor.untyped_storage(), what=f"loading {name}", fills=True)
        return tensor

    @property
    def planned_step(self) -> PlannedStep | None:
        """The one that was followed last, which may have been planned again since; before that, the one to follow first."""
        known = self.plans.executor.planned_steps
        return self._followed or (known[0] if known else None)

    def result(self, *, budget_bytes: int) -> RunResult:
        """Return what was measured so far."""
        return RunResult(
            budget_bytes=budget_bytes,
            fixed_bytes=self._fixed_bytes,
            managed_bytes=self.tier.managed_bytes,
            steps=tuple(self.steps),
            prediction=self.planned_step.plan.prediction if self.planned_step else None,
            planning_s=self.plans.planning_s,
            plans_adopted=self.plans.monitors.plans_adopted if self.plans.monitors else 0,
            notes=self.plans.notes.all,
        )

    def _tell_overruns(self) -> None:
        for name, over in self.residency.results.take_overruns().items():
            self.plans.notes.tell(
                f"operator {name} made more than could be known before it ran, so the budget was exceeded by "
                f"{format_bytes(over)} for a moment: from now on there is room for it beforehand"
            )

    def _adopt(self, owned: dict[torch.Tensor, str]) -> None:
        for tensor, name in owned.items():
            if not tensor.is_meta:  # those are given memory when the residency mode sees it
                self.residency.adopt(tensor, name=name)

    def _let_go(self) -> None:
        away, available = self.tier.away_bytes, available_bytes()
        self.residency.outlived()
        self.tier.close(restores=self._restores and away <= available)
        if self._restores and away > available:
            raise InfeasibleError(
                f"{format_bytes(away)} are on flash, and {format_bytes(available)} of memory are free: save a checkpoint "
                "before the end, and say tmtrain.train(..., restores=False)",
                limit="memory",
                needed_bytes=away,
                capacity_bytes=available,
            )


def _open_tier(settings: TrainingSettings[Any, Any], *, managed_bytes: int) -> Tier:
    """Take room for what there is already and for a budget more, which steps allocate; the file grows if they need more."""
    room = -(-managed_bytes // BLOCK_BYTES) * BLOCK_BYTES + settings.budget_bytes
    flash = open_flash(settings.flash, size_bytes=room)
    mover = Mover(flash, num_threads=NUM_THREADS * len(settings.flash))
    return Tier(flash=flash, mover=mover, budget_bytes=settings.budget_bytes)


def _plans(
    settings: TrainingSettings[Any, Any], *, machine: Machine, tier: Tier, residency: ResidencyMode
) -> StepPlans:
    return StepPlans(
        settings.model,
        settings.optimizer,
        machine=machine,
        objective=settings.objective,
        monitor=settings.monitor,
        tier=tier,
        residency=residency,
    )
