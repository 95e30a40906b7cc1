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
    ├── WorkerDiedError       a process that computed a part of a study was killed
    ├── SolverError           the linear programme was not solved
    │   └── TimeLimitError    ... in the time that it was given
    └── InternalError         a law of tmtrain itself does not hold: a bug of ours, please report it

What a message names, a program can read from the error's fields. A field is None where it is not known.

>>> try:
...     raise InfeasibleError("4 KiB are needed, 1 KiB is there", needed_bytes=4096, capacity_bytes=1024)
... except InfeasibleError as error:
...     error.needed_bytes, error.capacity_bytes, error.operator
(4096, 1024, None)
"""

from pathlib import Path
from typing import Literal


class TmtrainError(Exception):
    """Base of every error that tmtrain raises on purpose."""


class InputError(TmtrainError):
    """Something the user gave cannot be used."""


class FileFormatError(InputError):
    """A file of ours or from outside is truncated, edited, or of a version that this release does not read.

    Attributes:
        path: The file, or the folder of a bundle.
        line: Line of a text file, from 1.
        field: Field, column, table or tensor that is wrong.
        row: Row of a table or list, from 0.
        version: Format version of the file.
        newest_version: The newest that this release reads.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        row: int | None = None,
        version: int | None = None,
        newest_version: int | None = None,
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else Path(path)
        self.line = line
        self.field = field
        self.row = row
        self.version = version
        self.newest_version = newest_version

    def locate(self, path: Path | str) -> None:
        """Say which file it is about, where the reader was given only the content and did not know.

        >>> error = FileFormatError("line 3: no number", line=3)
        >>> error.locate("a.csv")
        >>> error.path
        PosixPath('a.csv')
        """
        if self.path is None:
            self.path = Path(path)


class MachineError(InputError):
    """A machine description is incomplete, contradictory or out of range."""


class CaptureError(InputError):
    """The training step could not be captured.

    Attributes:
        operator: Name of the operator that cannot be recorded.
        module: Path of the module that called it.
        tensor: Name of the tensor that is not as it is in a steady step.
        target: ``FILE.py:FUNCTION`` of the user's step.
        path: The user's file.
    """

    def __init__(
        self,
        message: str,
        *,
        operator: str | None = None,
        module: str | None = None,
        tensor: str | None = None,
        target: str | None = None,
        path: Path | str | None = None,
    ) -> None:
        super().__init__(message)
        self.operator = operator
        self.module = module
        self.tensor = tensor
        self.target = target
        self.path = None if path is None else Path(path)


class InfeasibleError(TmtrainError):
    """A limit cannot be kept: the message says which, how much is missing, and the smallest value that can.

    Attributes:
        limit: What is short: fast memory, or the bytes that a step may write.
        needed_bytes: The smallest limit that can be kept, as far as is known.
        capacity_bytes: The limit that was given.
        operator: Name of the operator that needs most.
        operator_index: Its row in the trace.
        module: Path of the module that called it.
        slice_index: Of the timeline.
    """

    def __init__(
        self,
        message: str,
        *,
        limit: Literal["memory", "writes"] | None = None,
        needed_bytes: int | None = None,
        capacity_bytes: int | None = None,
        operator: str | None = None,
        operator_index: int | None = None,
        module: str | None = None,
        slice_index: int | None = None,
    ) -> None:
        super().__init__(message)
        self.limit: Literal["memory", "writes"] | None = limit
        self.needed_bytes = needed_bytes
        self.capacity_bytes = capacity_bytes
        self.operator = operator
        self.operator_index = operator_index
        self.module = module
        self.slice_index = slice_index


class PolicyError(TmtrainError):
    """A policy cannot manage this step; a comparison goes on without it and says why.

    Attributes:
        policy: Its name.
        num_periods: Periods of tensors, where they are too many for its solver.
    """

    def __init__(
        self,
        message: str,
        *,
        policy: str | None = None,
        num_periods: int | None = None,
    ) -> None:
        super().__init__(message)
        self.policy = policy
        self.num_periods = num_periods


class FlashError(TmtrainError):
    """The drive of a real run refused, or returned something else than was written.

    Attributes:
        folder: Where the file of the run is.
        size_bytes: Of the request.
        offset_bytes: Of the request, in the file.
        errno: What the operating system said (see the module `errno`).
    """

    def __init__(
        self,
        message: str,
        *,
        folder: Path | str | None = None,
        size_bytes: int | None = None,
        offset_bytes: int | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.folder = None if folder is None else Path(folder)
        self.size_bytes = size_bytes
        self.offset_bytes = offset_bytes
        self.errno = errno


class PlanRefutedError(TmtrainError):
    """A plan reads what is absent or exceeds the capacity; found by the simulator.

    Attributes:
        slice_index: The slice that finds it, in the timeline with its recomputations.
        operator_index: Row of its operator in the trace.
        extent: The extent that is not as it must be.
        pages: How many of its pages are not.
        capacity_bytes: Of fast memory.
        held_bytes: Of it: what nobody gives up.
        reserved_bytes: Of it: what is under way.
    """

    def __init__(
        self,
        message: str,
        *,
        slice_index: int | None = None,
        operator_index: int | None = None,
        extent: int | None = None,
        pages: int | None = None,
        capacity_bytes: int | None = None,
        held_bytes: int | None = None,
        reserved_bytes: int | None = None,
    ) -> None:
        super().__init__(message)
        self.slice_index = slice_index
        self.operator_index = operator_index
        self.extent = extent
        self.pages = pages
        self.capacity_bytes = capacity_bytes
        self.held_bytes = held_bytes
        self.reserved_bytes = reserved_bytes


class InternalError(TmtrainError):
    """A law of tmtrain itself does not hold, whatever the input: a bug of ours, and the message asks for a report."""


class SolverError(TmtrainError):
    """The linear programme was not solved to optimality.

    Attributes:
        num_columns: Of the programme.
        num_integers: How many of them must be whole.
    """

    def __init__(
        self, message: str, *, num_columns: int | None = None, num_integers: int | None = None
    ) -> None:
        super().__init__(message)
        self.num_columns = num_columns
        self.num_integers = num_integers


class WorkerDiedError(TmtrainError):
    """A process that computed a part of a study was killed, and so was the one that tried the same part alone."""


class TimeLimitError(SolverError):
    """The linear programme was not solved in the time that it was given.

    Attributes:
        time_limit_s: That time.
    """

    def __init__(
        self,
        message: str,
        *,
        num_columns: int | None = None,
        num_integers: int | None = None,
        time_limit_s: float | None = None,
    ) -> None:
        super().__init__(message, num_columns=num_columns, num_integers=num_integers)
        self.time_limit_s = time_limit_s
