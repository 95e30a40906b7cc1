"""Trace x Plan x Machine -> verdict: whether a plan keeps all rules and its certificate proves its bound."""

from tmtrain.checking.check import check_plan
from tmtrain.checking.report import CheckReport, Rule, Violation

__all__ = ["CheckReport", "Rule", "Violation", "check_plan"]
