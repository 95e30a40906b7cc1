"""Trace x Plan x Machine -> verdict: whether a plan keeps all rules and its certificate proves its bound."""

from tmtrain.check.check import check_plan
from tmtrain.check.report import CheckReport, Rule, Violation

__all__ = ["CheckReport", "Rule", "Violation", "check_plan"]
