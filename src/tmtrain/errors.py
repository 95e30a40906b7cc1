"""One tree of errors; every message says what, where, how much, and what to do.

::

    TmtrainError
    ├── InputError            what the user gave cannot be used (a name, a file, a value)
    │   ├── FileFormatError   a file of ours or from outside is truncated, edited or of another version
    │   ├── MachineError      a machine description is incomplete, contradictory or out of range
    │   └── CaptureError      the step could not be captured (operator and module are named)
    ├── InfeasibleError       a limit cannot be kept: fast memory below what one slice needs, too few writes, ...
    ├── PolicyError           a rival cannot manage this step (no layer of its kind, too large for its solver, never steady)
    ├── FlashError            the drive of a real run refused, or returned what was not written
    ├── PlanRefutedError      the simulator found that a plan breaks a rule: a bug in whoever planned
    ├── SolverError           the linear programme was not solved
    │   └── TimeLimitError    ... in the time that it was given
    └── InternalError         a law of tmtrain itself does not hold: a bug of ours, please report it
"""


class TmtrainError(Exception):
    """Base of every error that tmtrain raises on purpose."""


class InputError(TmtrainError):
    """Something the user gave cannot be used."""


class FileFormatError(InputError):
    """A file of ours or from outside is truncated, edited, or of a version that this release does not read."""


class MachineError(InputError):
    """A machine description is incomplete, contradictory or out of range."""


class CaptureError(InputError):
    """The training step could not be captured."""


class InfeasibleError(TmtrainError):
    """A limit cannot be kept: the message says which, how much is missing, and the smallest value that can."""


class PolicyError(TmtrainError):
    """A policy cannot manage this step; a comparison goes on without it and says why."""


class FlashError(TmtrainError):
    """The drive of a real run refused, or returned something else than was written."""


class PlanRefutedError(TmtrainError):
    """A plan reads what is absent or exceeds the capacity; found by the simulator."""


class InternalError(TmtrainError):
    """A law of tmtrain itself does not hold, whatever the input: a bug of ours, and the message asks for a report."""


class SolverError(TmtrainError):
    """The linear programme was not solved to optimality."""


class TimeLimitError(SolverError):
    """The linear programme was not solved in the time that it was given."""
