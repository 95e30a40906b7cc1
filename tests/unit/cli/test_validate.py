"""``tmtrain machine validate``: every row, and exit code 1 when a claim does not hold."""

import importlib
import json
import pkgutil
from dataclasses import replace

import pytest

import tmtrain.validation
from tmtrain.cli.app import main
from tmtrain.validation import Comparison, verbs

ROW = Comparison(case="drive", quantity="GB/s", model=1.0, reference=2.0, tolerance=0.1, source="a bench")


def _compare_only(monkeypatch: pytest.MonkeyPatch, *rows: Comparison) -> None:
    monkeypatch.setattr(verbs, "VALIDATIONS", {"these": lambda: list(rows)})


QUICK = ("scalesim", "published")
"""The flash device takes half a minute to compile and run; its own tests take some of its cases."""


@pytest.mark.parametrize("names", [QUICK, pytest.param(tuple(verbs.VALIDATIONS), marks=pytest.mark.slow)])
def test_all_claims_hold_today(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verbs, "VALIDATIONS", {name: verbs.VALIDATIONS[name] for name in names})
    assert main(["machine", "validate", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["holds"] for row in rows if row["is_claimed"])
    assert {"case", "quantity", "model", "reference", "error", "holds", "source"} <= rows[0].keys()


def test_a_claim_that_does_not_hold_is_named_and_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare_only(monkeypatch, ROW, replace(ROW, case="other drive", model=2.0, tolerance=0.0))
    assert main(["machine", "validate"]) == 1
    shown = capsys.readouterr().out
    assert "NO, within 10%" in shown
    assert "-50.0%" in shown
    assert "yes, exact" in shown
    assert "1 of 2 claims hold; 0 rows are shown without a claim" in shown
    assert "does not hold: drive: GB/s" in shown
    assert main(["machine", "validate", "--json"]) == 1


def test_what_is_not_claimed_cannot_break(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare_only(monkeypatch, replace(ROW, is_claimed=False))
    assert main(["machine", "validate"]) == 0
    assert "not claimed" in capsys.readouterr().out


def test_every_module_that_compares_is_in_the_register() -> None:
    modules = [
        importlib.import_module(f"tmtrain.validation.{module.name}")
        for module in pkgutil.iter_modules(tmtrain.validation.__path__)
    ]
    comparing = {module.compare for module in modules if hasattr(module, "compare")}
    assert comparing == set(verbs.VALIDATIONS.values())
