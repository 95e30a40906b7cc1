"""report: results as a table, figures, one self-contained page, and a trace for Perfetto."""

from tmtrain.report.costs import costs_table
from tmtrain.report.headline import headline_tables
from tmtrain.report.page import write_report
from tmtrain.report.perfetto import write_perfetto
from tmtrain.report.results import read_results, read_sensitivity
from tmtrain.report.table import results_table

__all__ = [
    "costs_table",
    "headline_tables",
    "read_results",
    "read_sensitivity",
    "results_table",
    "write_perfetto",
    "write_report",
]
