"""Results as tables, figures, one page, and a trace for Perfetto. Shows what was written, runs no simulation."""

from tmtrain.reporting.costs import costs_table
from tmtrain.reporting.headline import headline_tables
from tmtrain.reporting.page import write_report
from tmtrain.reporting.perfetto import write_perfetto
from tmtrain.reporting.results import read_monitor, read_results, read_sensitivity
from tmtrain.reporting.table import results_table

__all__ = [
    "costs_table",
    "headline_tables",
    "read_monitor",
    "read_results",
    "read_sensitivity",
    "results_table",
    "write_perfetto",
    "write_report",
]
