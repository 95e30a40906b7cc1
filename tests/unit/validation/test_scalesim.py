"""SCALE-Sim's recorded runs: every count is met exactly, and the comparison would notice if one were not."""

from dataclasses import replace

import pytest

from tmtrain.validation import scalesim


def test_every_count_of_every_run_is_equal() -> None:
    rows = scalesim.compare()
    assert [row for row in rows if row.model != row.reference] == []
    assert all(row.holds and row.tolerance == 0 for row in rows)
    # 2 tables x 3 arrays x 3 dataflows x 7 quantities; with a bandwidth: 1 array, no memory accesses
    assert len(rows) == 2 * 9 * 7 + 3 * 4


@pytest.mark.parametrize(("table", "runs"), [("gemm", 243), ("conv", 117), ("gemm_bw", 48)])
def test_all_runs_take_part(table: str, runs: int) -> None:
    assert len(scalesim.read_rows(table)) == runs
    cases = {row.case for row in scalesim.compare() if row.case.startswith(f"{table} on ")}
    assert sum(int(case.split()[-2]) for case in cases) == runs


def test_a_run_that_is_off_is_the_one_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = scalesim.read_rows("gemm")
    rows[5] = rows[5] | {"total_cycles": str(int(rows[5]["total_cycles"]) + 3)}
    monkeypatch.setattr(scalesim, "TABLES", ("gemm",))
    monkeypatch.setattr(scalesim, "read_rows", lambda table: rows)
    (off,) = [row for row in scalesim.compare() if not row.holds]
    assert off.quantity == "cycles"
    assert off.reference - off.model == 3
    assert replace(off, tolerance=1.0).holds
