"""The planned steps that are known, and which of them a step turns out to be."""

from collections.abc import Sequence

from tmtrain.runtime.following.fingerprint import START, Passage, mixed
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.recorded_step import RecordedStep


class KnownSteps:
    """Planned steps, of different operators each; the one that was followed last comes first."""

    def __init__(self) -> None:
        self._steps: list[PlannedStep] = []

    @property
    def all(self) -> Sequence[PlannedStep]:
        """In that order."""
        return self._steps

    def prefer(self, planned_step: PlannedStep) -> None:
        """Take the next step to be this one, which may be new."""
        if planned_step in self._steps:
            self._steps.remove(planned_step)
        self._steps.insert(0, planned_step)

    def replace(self, planned_step: PlannedStep, replacement: PlannedStep) -> None:
        """Follow `replacement` where `planned_step` was followed; it is another plan for the same operators."""
        assert replacement.recorded.fingerprints is planned_step.recorded.fingerprints
        self._steps[self._steps.index(planned_step)] = replacement

    def clear(self) -> None:
        """Know none any more."""
        self._steps.clear()

    def of(self, recorded: RecordedStep) -> PlannedStep | None:
        """Return the one of the same operators."""
        return next((step for step in self._steps if step.recorded.passages == recorded.passages), None)

    def that_goes_on(
        self, recorded: RecordedStep, *, before: int | None, op: int, passage: Passage
    ) -> PlannedStep | None:
        """Return one that is like `recorded` up to operator `before`, and has this passage at `op`."""
        begun = START if before is None else recorded.fingerprints[before]
        fingerprint = mixed(begun, passage)
        return next((step for step in self._steps if step.recorded.fingerprints.get(op) == fingerprint), None)

    def that_ends(self, recorded: RecordedStep, *, op: int) -> PlannedStep | None:
        """Return one that is like `recorded` up to operator `op`, and has no more."""
        fingerprint = recorded.fingerprints[op]
        return next(
            (
                step
                for step in self._steps
                if step.recorded.last_operator == op and step.recorded.fingerprints.get(op) == fingerprint
            ),
            None,
        )
