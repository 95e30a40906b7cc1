"""Steps that other programs wrote down become Traces (docs/outside.md).

Invariant: imports no torch, knows no machine.
"""

from tmtrain.importing.g10.trace import trace_of_g10
from tmtrain.importing.g10.workload import G10Machine, G10Workload, is_g10, load_g10
from tmtrain.importing.verbs import import_trace, is_outside

__all__ = ["G10Machine", "G10Workload", "import_trace", "is_g10", "is_outside", "load_g10", "trace_of_g10"]
