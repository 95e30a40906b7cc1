"""Tables: shares of one, bytes as predicted, readable by anything, refused where they would destroy something."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.support.exported import gpt2_ledger

from tmtrain.bundle import read_bundle
from tmtrain.errors import InputError
from tmtrain.exports import export
from tmtrain.exports.example import example_ledger
from tmtrain.exports.ledger import Ledger
from tmtrain.exports.table import KIND, VERSION, make_tables, write_tables
from tmtrain.plans import save_plan

LEDGERS = ("example", "30%", "60%")
SHARES = ("kept_share", "moved_share", "recomputed_share")


def _ledger(name: str) -> Ledger:
    return example_ledger() if name == "example" else gpt2_ledger(name)


@pytest.mark.parametrize("name", LEDGERS)
def test_shares_add_up_to_one_for_each_storage_and_module(name: str) -> None:
    tables = make_tables(_ledger(name))
    for table in (tables.storages, tables.modules):
        shares = np.array([table.column(share).to_numpy() for share in SHARES])
        assert np.allclose(shares.sum(axis=0), 1)
        assert (shares >= 0).all()


@pytest.mark.parametrize("name", LEDGERS)
def test_fates_add_up_to_the_bytes_of_each_gap(name: str) -> None:
    ledger = _ledger(name)
    gaps = make_tables(ledger).gaps.to_pandas()
    assert (gaps.kept_bytes + gaps.moved_bytes + gaps.recomputed_bytes == gaps.bytes).all()
    assert gaps.bytes.sum() == ledger.problem.gaps.pages.sum() * ledger.timeline.page_bytes


@pytest.mark.parametrize("name", LEDGERS)
def test_bytes_are_those_of_the_prediction(name: str) -> None:
    ledger = _ledger(name)
    tables, expected = make_tables(ledger), ledger.plan.prediction
    assert expected.bytes_in > 0
    for table in (tables.storages.to_pandas(), tables.modules.to_pandas()):
        assert (table.bytes_in.sum(), table.bytes_out.sum()) == (expected.bytes_in, expected.bytes_out)


@pytest.mark.parametrize("name", LEDGERS)
def test_operators_of_a_transfer_are_named_where_there_is_one(name: str) -> None:
    ledger = _ledger(name)
    rows = make_tables(ledger).storages.to_pandas()
    moves = rows[rows.bytes_in > 0]
    assert len(moves)
    for word in ("write", "leave", "fetch", "return"):
        assert moves[f"{word}_operator"].notna().all()
        assert rows[rows.bytes_in == 0][f"{word}_operator"].isna().all()
        named = [ledger.trace.operators.name[int(op)] for op in moves[f"{word}_op"]]
        assert named == list(moves[f"{word}_operator"])


def test_modules_hold_all_storages() -> None:
    ledger = gpt2_ledger("30%")
    modules = make_tables(ledger).modules.to_pandas()
    assert modules.storages.sum() == ledger.storages
    assert modules.bytes.sum() == ledger.trace.storages.bytes.sum()


def test_parquet_and_json_say_the_same(tmp_path: Path) -> None:
    tables = make_tables(gpt2_ledger("30%"))
    write_tables(tables, tmp_path / "a.fates")
    write_tables(tables, tmp_path / "a.json")
    record = json.loads((tmp_path / "a.json").read_text())
    for name in ("storages", "modules", "gaps"):
        assert pq.read_table(tmp_path / "a.fates" / f"{name}.parquet").to_pylist() == record[name]
    assert read_bundle(tmp_path / "a.fates", kind=KIND, version=VERSION).meta == record["meta"] == tables.meta


def test_an_older_table_is_replaced_but_never_a_plan(tmp_path: Path) -> None:
    ledger = example_ledger()
    write_tables(make_tables(ledger), tmp_path / "a")
    write_tables(make_tables(ledger), tmp_path / "a")
    save_plan(ledger.plan, tmp_path / "b.plan")
    with pytest.raises(InputError, match="holds a 'plan', not an older table"):
        write_tables(make_tables(ledger), tmp_path / "b.plan")


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = example_ledger()
    step = {"trace": ledger.trace, "timeline": ledger.timeline, "machine": ledger.machine}
    for name in ("a.json", "a"):
        with pytest.raises(InputError, match="could not write"):
            export(ledger.plan, tmp_path / "file" / name, to="table", **step)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
