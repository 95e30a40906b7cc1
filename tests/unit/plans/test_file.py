"""A plan comes back bit for bit, or is refused with a reason."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.row_steps import lowered, random_step, row_machine

from tmtrain.bundle import Bundle, read_bundle, write_bundle
from tmtrain.errors import FileFormatError, InputError
from tmtrain.planning.example import example_plan, example_timeline
from tmtrain.plans import Plan
from tmtrain.plans.file import KIND, VERSION, check_plan_fits, check_transfers_fit, load_plan, save_plan


def same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray)
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, dict):  # multipliers: a family without rows is not written down
        assert isinstance(other, dict)
        names = [name for name in one if len(one[name])]
        return names == [name for name in other if len(other[name])] and all(
            same(one[name], other[name]) for name in names
        )
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    return type(one) is type(other) and one == other


def recomputing_plan() -> Plan:
    """A plan with recomputations of some rows."""
    machine = row_machine(seed=56, pages_per_s=0.3)
    return proposed(lowered(random_step(56), machine=machine, spare_pages=0), machine=machine)


def test_a_plan_with_recomputations_comes_back_bit_for_bit(tmp_path: Path) -> None:
    original = recomputing_plan()
    assert len(original.recomputations) > 1
    assert (original.transfers.first_page > 0).any()
    save_plan(original, tmp_path / "a.plan")
    assert same(load_plan(tmp_path / "a.plan"), original)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_plan(example_plan(), tmp_path / "example.plan")
    return tmp_path / "example.plan"


def rewrite(
    path: Path, *, meta: dict[str, object] | None = None, tables: dict[str, pa.Table] | None = None
) -> None:
    """Write another plan with valid digests: what a program with a bug, not a torn disk, leaves."""
    old = read_bundle(path, kind=KIND, version=VERSION)
    new = Bundle(kind=KIND, version=VERSION, meta=old.meta | (meta or {}), tables=old.tables | (tables or {}))
    write_bundle(path, new)


@pytest.mark.parametrize("objective", ["energy", "time", "bytes", "writes"])
def test_a_plan_comes_back_bit_for_bit(tmp_path: Path, objective: str) -> None:
    original = proposed(middle_timeline(7), machine=narrow_machine(7), objective=objective)
    assert len(original.transfers) > 20
    save_plan(original, tmp_path / "a.plan")
    assert same(load_plan(tmp_path / "a.plan"), original)


def test_a_plan_without_certificate_and_without_transfers_comes_back(tmp_path: Path) -> None:
    original = example_plan()
    none = replace(
        original.transfers,
        **{f.name: getattr(original.transfers, f.name)[:0] for f in fields(original.transfers)},
    )
    bare = replace(original, certificate=None, transfers=none)
    save_plan(bare, tmp_path / "a.plan")
    assert same(load_plan(tmp_path / "a.plan"), bare)
    assert not (tmp_path / "a.plan" / "prices.parquet").exists()


def test_pandas_reads_the_tables(saved: Path) -> None:
    assert list(pq.read_table(saved / "transfers.parquet").to_pandas()["pages"]) == [1, 1]


def test_a_truncated_table_is_refused(saved: Path) -> None:
    table = saved / "transfers.parquet"
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match=r"transfers\.parquet is truncated or was edited"):
        load_plan(saved)


def test_an_edited_manifest_is_refused(saved: Path) -> None:
    text = (saved / "manifest.json").read_text()
    (saved / "manifest.json").write_text(text.replace('"objective": "energy"', '"objective": "time"'))
    with pytest.raises(FileFormatError, match="was edited"):
        load_plan(saved)


def test_a_newer_version_is_refused(saved: Path) -> None:
    old = read_bundle(saved, kind=KIND, version=VERSION)
    write_bundle(saved, replace(old, version=VERSION + 1))
    with pytest.raises(FileFormatError, match="update tmtrain"):
        load_plan(saved)


def test_another_kind_of_bundle_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", Bundle(kind="trace", version=1, meta={}, tables={}))
    with pytest.raises(FileFormatError, match="'plan' is needed"):
        load_plan(tmp_path / "a")


def test_nothing_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_plan(tmp_path / "missing.plan")


@pytest.mark.parametrize("key", ["machine", "prediction", "trace_fingerprint"])
def test_a_missing_scalar_is_refused_by_name(saved: Path, key: str) -> None:
    old = read_bundle(saved, kind=KIND, version=VERSION)
    write_bundle(saved, replace(old, meta={k: v for k, v in old.meta.items() if k != key}))
    with pytest.raises(FileFormatError, match=f"lacks a part of a plan.*{key}"):
        load_plan(saved)


def test_a_scalar_of_another_type_is_refused(saved: Path) -> None:
    rewrite(saved, meta={"fast_bytes": "much"})
    with pytest.raises(FileFormatError, match="fast_bytes"):
        load_plan(saved)


def test_a_missing_column_is_refused(saved: Path) -> None:
    table = pq.read_table(saved / "transfers.parquet")
    rewrite(saved, tables={"transfers": table.drop_columns(["pages"])})
    with pytest.raises(FileFormatError, match="columns of table 'transfers'"):
        load_plan(saved)


@pytest.mark.parametrize("table", ["prices", "multipliers", "recomputations"])
def test_a_plan_without_one_of_its_tables_is_refused(saved: Path, table: str) -> None:
    old = read_bundle(saved, kind=KIND, version=VERSION)
    write_bundle(saved, replace(old, tables={k: v for k, v in old.tables.items() if k != table}))
    with pytest.raises(FileFormatError, match=rf"table '{table}'.*missing"):
        load_plan(saved)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("producer", -1),
        ("before_slice", -1),
        ("first_row", -1),
        ("first_row", 4),
        ("end_row", 9),
        ("rows", 1),
    ],
)
def test_a_recompute_that_makes_no_sense_is_refused(tmp_path: Path, column: str, value: int) -> None:
    original = recomputing_plan()
    values = getattr(original.recomputations, column).copy()
    values[0] = value
    save_plan(
        replace(original, recomputations=replace(original.recomputations, **{column: values})),
        tmp_path / "a.plan",
    )
    with pytest.raises(FileFormatError, match="recomputation 0 is none"):
        load_plan(tmp_path / "a.plan")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pages", 0),
        ("extent", -1),
        ("first_page", -1),
        ("written_slice", 99),
        ("fetch_slice", 99),
        ("write_slice", -1),
        ("leave_slice", 99),
        ("pages", None),
    ],
)
def test_a_transfer_that_makes_no_sense_is_refused(saved: Path, column: str, value: int | None) -> None:
    table = pq.read_table(saved / "transfers.parquet")
    index = table.schema.names.index(column)
    values = pa.array([*table.column(column).to_pylist()[:-1], value], table.schema.field(index).type)
    rewrite(saved, tables={"transfers": table.set_column(index, table.schema.field(index), values)})
    with pytest.raises(FileFormatError, match=r"transfer 1 is none|empty fields"):
        load_plan(saved)


def differing(**changes: object) -> Plan:
    return replace(example_plan(), **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("original", "message"),
    [
        pytest.param(
            differing(trace_fingerprint="f" * 64),
            r"made for trace f{12}\.\.\., the step is trace",
            id="trace",
        ),
        pytest.param(
            differing(machine="abacus"), "machine 'abacus', the step runs on 'v4-slc'", id="machine"
        ),
        pytest.param(
            differing(machine_fingerprint="f" * 64), "with other constants", id="constants of the machine"
        ),
        pytest.param(differing(fast_bytes=4096), r"4\.00 KiB .*20\.00 KiB", id="capacity"),
    ],
)
def test_a_plan_for_something_else_is_refused_with_what_differs(original: Plan, message: str) -> None:
    check_plan_fits(example_plan(), example_timeline())
    with pytest.raises(InputError, match=message):
        check_plan_fits(original, example_timeline())


def test_a_plan_of_another_slicing_is_refused() -> None:
    original = example_plan()
    assert original.certificate is not None
    bound = original.certificate.bound
    shorter = replace(original.certificate, bound=replace(bound, capacity_price=bound.capacity_price[:-1]))
    with pytest.raises(InputError, match="8 slices, this one is cut into 9"):
        check_plan_fits(replace(original, certificate=shorter), example_timeline())


def test_recomputations_of_another_step_are_refused() -> None:
    strange = replace(example_plan(), recomputations=recomputing_plan().recomputations)
    with pytest.raises(InputError, match="recomputation 0 of the plan runs producer"):
        check_plan_fits(strange, example_timeline())


@pytest.mark.parametrize(("column", "value"), [("extent", 99), ("pages", 2), ("first_page", 1)])
def test_a_plan_that_moves_what_the_step_does_not_have_is_refused(column: str, value: int) -> None:
    original = example_plan()
    values = getattr(original.transfers, column).copy()
    values[0] = value
    with pytest.raises(InputError, match="transfer 0 of the plan moves"):
        check_transfers_fit(
            replace(original, transfers=replace(original.transfers, **{column: values})), example_timeline()
        )
