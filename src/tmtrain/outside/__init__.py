"""Steps that other programs wrote down, as Traces: docs/outside.md. Imports no torch, knows no machine."""

from tmtrain.outside.g10 import G10Workload, is_g10, load_g10
from tmtrain.outside.g10_trace import trace_of_g10
from tmtrain.outside.verbs import import_trace, is_outside

__all__ = ["G10Workload", "import_trace", "is_g10", "is_outside", "load_g10", "trace_of_g10"]
