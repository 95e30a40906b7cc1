"""What was recorded of one step, before it becomes a Trace."""

from collections.abc import Sequence
from dataclasses import dataclass

from tmtrain.capturing.ledger import StorageRecord
from tmtrain.capturing.owned import Owner
from tmtrain.capturing.recorder import OperatorRecord
from tmtrain.trace import Phase
from tmtrain.trace.rows import OperandRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that was recorded; a storage is a number, its index in `storages`."""

    operators: Sequence[OperatorRecord]
    phases: Sequence[Phase]
    modules: Sequence[str]
    operands: Sequence[OperandRow]
    storages: Sequence[StorageRecord]
    owners: dict[int, Owner]
    """What model and optimizer owned at the start, at an optimizer step or at the end."""
