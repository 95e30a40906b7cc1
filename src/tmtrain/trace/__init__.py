"""What one steady training step does, and the file that keeps it. Knows no machine, imports no torch."""

from tmtrain.trace.example import example_trace
from tmtrain.trace.file import load_trace, save_trace, trace_fingerprint
from tmtrain.trace.trace import Operands, Operators, Phase, Role, Storages, Trace

__all__ = [
    "Operands",
    "Operators",
    "Phase",
    "Role",
    "Storages",
    "Trace",
    "example_trace",
    "load_trace",
    "save_trace",
    "trace_fingerprint",
]
