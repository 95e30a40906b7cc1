"""Steps that other programs wrote down, as Traces: docs/outside.md. Imports no torch, knows no machine."""

from tmtrain.importing.g10 import G10Workload, is_g10, load_g10
from tmtrain.importing.g10_trace import trace_of_g10
from tmtrain.importing.verbs import import_trace, is_outside

__all__ = ["G10Workload", "import_trace", "is_g10", "is_outside", "load_g10", "trace_of_g10"]
