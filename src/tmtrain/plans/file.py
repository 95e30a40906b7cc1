"""The Plan on disk: a bundle of kind "plan"; docs/plan-format.md says what each column is."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmtrain.bundle import Bundle, check_range, read_bundle, write_bundle
from tmtrain.errors import FileFormatError, InputError
from tmtrain.lowering.recomputation import Recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.plans.plan import PROGRAMME, Bound, Certificate, Plan, Prediction, Transfers
from tmtrain.units import format_bytes

KIND = "plan"
VERSION = 4
"""Format version; a newer file is refused."""
_RENAMED = {"replays": "recomputations", "recipe": "producer", "replay_s": "recompute_s"}
"""Words of version 2."""

_TRANSFERS = pa.schema(
    {
        "extent": pa.int32(),
        "first_page": pa.int64(),
        "pages": pa.int64(),
        "write_slice": pa.int32(),
        "written_slice": pa.int32(),
        "leave_slice": pa.int32(),
        "fetch_slice": pa.int32(),
        "return_slice": pa.int32(),
    }
)
_RECOMPUTATIONS = pa.schema(
    {
        "producer": pa.int32(),
        "before_slice": pa.int32(),
        "first_row": pa.int64(),
        "end_row": pa.int64(),
        "rows": pa.int64(),
    }
)
_PRICES = pa.schema({"capacity_price": pa.float64()})
_MULTIPLIERS = pa.schema({"family": pa.string(), "value": pa.float64()})


class _ProofRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Certificate` but for its columns."""

    objective: str
    predicted: float = msgspec.field(name="value")
    measured: float | None = None
    """Unknown to version 3."""
    bound: float
    edges: list[int]
    cuts: list[int]
    write_budget_bytes: float | None


class _Meta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scalars of a `Plan`."""

    trace_fingerprint: str
    machine: str
    machine_fingerprint: str
    fast_bytes: int
    objective: str
    prediction: Prediction
    certificate: _ProofRecord | None
    measurement: Prediction | None = None
    """Unknown to version 3, like `origin`."""
    origin: str = PROGRAMME


def save_plan(plan: Plan, path: Path | str) -> None:
    """Write `plan` as folder `path` (by custom ``NAME.plan``), whole or not at all; every number comes back bit for bit.

    Raises:
        InputError: `path` is taken by something else, or the disk refuses.

    >>> import tempfile
    >>> from tmtrain.planning.example import example_plan
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_plan(example_plan(), Path(folder) / "example.plan")
    ...     sorted(file.name for file in (Path(folder) / "example.plan").iterdir())
    ['manifest.json', 'multipliers.parquet', 'prices.parquet', 'recomputations.parquet', 'transfers.parquet']
    """
    tables = {
        "transfers": pa.table({n: getattr(plan.transfers, n) for n in _TRANSFERS.names}, _TRANSFERS),
        "recomputations": pa.table(
            {n: getattr(plan.recomputations, n) for n in _RECOMPUTATIONS.names}, _RECOMPUTATIONS
        ),
    }
    if plan.certificate is not None:
        bound = plan.certificate.bound
        tables["prices"] = pa.table({"capacity_price": bound.capacity_price}, _PRICES)
        tables["multipliers"] = _multiplier_table(bound.multipliers)
    write_bundle(Path(path), Bundle(kind=KIND, version=VERSION, meta=_meta(plan), tables=tables))


def load_plan(path: Path | str) -> Plan:
    """Read the plan that `save_plan` wrote.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not a plan, of a newer version, truncated, edited, or inconsistent in itself.

    >>> import tempfile
    >>> from tmtrain.planning.example import example_plan
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_plan(example_plan(), Path(folder) / "example.plan")
    ...     load_plan(Path(folder) / "example.plan").objective
    'energy'
    """
    bundle = read_bundle(Path(path), kind=KIND, version=VERSION, renamed=_RENAMED)
    try:
        meta = msgspec.convert(bundle.meta, _Meta)
    except msgspec.ValidationError as error:
        raise FileFormatError(f"{path} lacks a part of a plan ({error}): plan again", path=path) from error
    transfers = Transfers(**_columns(f"{path}", "transfers", bundle.tables.get("transfers"), _TRANSFERS))
    _check_transfers(f"{path}", transfers)
    recomputations = Recomputations(
        **_columns(f"{path}", "recomputations", bundle.tables.get("recomputations"), _RECOMPUTATIONS)
    )
    _check_recomputations(f"{path}", recomputations)
    certificate = _certificate(f"{path}", meta.certificate, bundle)
    _check_numbers(f"{path}", meta, certificate)
    return Plan(
        trace_fingerprint=meta.trace_fingerprint,
        machine=meta.machine,
        machine_fingerprint=meta.machine_fingerprint,
        fast_bytes=meta.fast_bytes,
        objective=meta.objective,
        recomputations=recomputations,
        transfers=transfers,
        prediction=meta.prediction,
        certificate=certificate,
        measurement=meta.measurement,
        origin=meta.origin,
    )


def check_plan_fits(plan: Plan, timeline: Timeline) -> None:
    """Refuse a plan that was made for another step, machine, capacity or slicing than `timeline` (without recomputations).

    Raises:
        InputError: says what differs.

    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> check_plan_fits(example_plan(), example_timeline())
    """
    if plan.trace_fingerprint != timeline.trace_fingerprint:
        ours, theirs = plan.trace_fingerprint[:12], timeline.trace_fingerprint[:12]
        raise InputError(
            f"the plan was made for trace {ours}..., the step is trace {theirs}...: plan it anew"
        )
    if plan.machine != timeline.machine:
        raise InputError(
            f"the plan was made for machine {plan.machine!r}, the step runs on {timeline.machine!r}: plan it anew"
        )
    if plan.machine_fingerprint != timeline.machine_fingerprint:
        raise InputError(
            f"the plan was made for a machine {plan.machine!r} with other constants than this one has: plan it anew"
        )
    if plan.fast_bytes != timeline.fast_bytes:
        raise InputError(
            f"the plan was made for {format_bytes(plan.fast_bytes)} ({plan.fast_bytes} bytes) of fast memory, the step "
            f"has {format_bytes(timeline.fast_bytes)} ({timeline.fast_bytes} bytes): plan it anew"
        )
    proof, recomputations = plan.certificate, plan.recomputations
    if proof is not None and len(proof.bound.capacity_price) != len(timeline.slices):
        raise InputError(
            f"the plan was made for a step of {len(proof.bound.capacity_price)} slices, this one is cut into "
            f"{len(timeline.slices)}: plan it anew, or lower it with the same slice share"
        )
    strange = recomputations.producer >= len(timeline.producers)
    strange |= recomputations.before_slice >= len(timeline.slices)
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        runs = f"producer {recomputations.producer[row]} before slice {recomputations.before_slice[row]}"
        raise InputError(
            f"recomputation {row} of the plan runs {runs}; "
            f"the step has {len(timeline.producers)} producers and {len(timeline.slices)} slices: plan it anew"
        )


def check_transfers_fit(plan: Plan, timeline: Timeline) -> None:
    """Refuse a plan whose transfers name extents that `timeline`, the step with the plan's recomputations in it, lacks.

    Raises:
        InputError: says which transfer.
    """
    moves, pages = plan.transfers, timeline.extents.pages
    strange = np.flatnonzero(moves.extent >= len(pages))
    if not len(strange):
        strange = np.flatnonzero(moves.first_page + moves.pages > pages[moves.extent])
    if len(strange):
        row = int(strange[0])
        raise InputError(
            f"transfer {row} of the plan moves {moves.pages[row]} pages of extent {moves.extent[row]}, which the step "
            f"does not have ({len(pages)} extents): plan it anew, or lower it with the same slice share"
        )


def _meta(plan: Plan) -> dict[str, Any]:
    proof = plan.certificate
    meta = _Meta(
        trace_fingerprint=plan.trace_fingerprint,
        machine=plan.machine,
        machine_fingerprint=plan.machine_fingerprint,
        fast_bytes=plan.fast_bytes,
        objective=plan.objective,
        prediction=plan.prediction,
        certificate=None if proof is None else _proof(proof),
        measurement=plan.measurement,
        origin=plan.origin,
    )
    return msgspec.to_builtins(meta)


def _proof(certificate: Certificate) -> _ProofRecord:
    return _ProofRecord(
        objective=certificate.objective,
        predicted=certificate.predicted,
        measured=certificate.measured,
        bound=certificate.bound.value,
        edges=certificate.bound.edges.tolist(),
        cuts=certificate.cuts.tolist(),
        write_budget_bytes=certificate.write_budget_bytes,
    )


def _certificate(source: str, proof: _ProofRecord | None, bundle: Bundle) -> Certificate | None:
    if proof is None:
        return None
    prices = _columns(source, "prices", bundle.tables.get("prices"), _PRICES)
    rows = _columns(source, "multipliers", bundle.tables.get("multipliers"), _MULTIPLIERS)
    family = rows["family"]
    # The rows of a family stand together, so a family begins wherever the name changes.
    starts = (
        np.flatnonzero(np.concatenate([[True], family[1:] != family[:-1]]))
        if len(family)
        else np.zeros(0, int)
    )
    parts = np.split(rows["value"], starts[1:])
    return Certificate(
        objective=proof.objective,
        predicted=proof.predicted,
        measured=proof.measured,
        bound=Bound(
            value=proof.bound,
            multipliers={str(family[i]): part for i, part in zip(starts.tolist(), parts, strict=False)},
            capacity_price=prices["capacity_price"],
            edges=_slices(source, "edges", proof.edges),
        ),
        cuts=_slices(source, "cuts", proof.cuts),
        write_budget_bytes=proof.write_budget_bytes,
    )


def _slices(source: str, name: str, slices: list[int]) -> NDArray[np.int64]:
    """Return numbers of slices, each no less than the one before."""
    if slices:
        check_range(source, f"meta.certificate.{name}", np.array(slices), low=0)
    numbers = np.array(slices, np.int64)
    check_range(source, f"meta.certificate.{name}", np.diff(numbers, prepend=0), low=0)
    return numbers


def _multiplier_table(multipliers: dict[str, NDArray[np.float64]]) -> pa.Table:
    family = [name for name, values in multipliers.items() for _ in values]
    value = np.concatenate(list(multipliers.values())) if multipliers else np.zeros(0)
    return pa.table({"family": family, "value": value}, _MULTIPLIERS)


def _columns(source: str, name: str, table: pa.Table | None, schema: pa.Schema) -> dict[str, Any]:
    if table is None or not table.schema.equals(schema):
        columns = (
            "missing"
            if table is None
            else f"{dict(zip(table.schema.names, table.schema.types, strict=True))}"
        )
        raise FileFormatError(
            f"{source}: the columns of table {name!r} are not those of a plan ({columns}): plan again",
            path=source,
            field=name,
        )
    if any(column.null_count for column in table.columns):
        raise FileFormatError(
            f"{source}: table {name!r} has empty fields: plan again", path=source, field=name
        )
    return {column: table.column(column).to_numpy() for column in schema.names}


def _check_numbers(source: str, meta: _Meta, certificate: Certificate | None) -> None:
    """Refuse bytes, seconds, joules and prices that cannot be."""
    check_range(source, "meta.fast_bytes", np.array([meta.fast_bytes]), low=1)
    for name in ("prediction", "measurement"):
        foreseen = getattr(meta, name)
        if foreseen is not None:
            for key, value in msgspec.to_builtins(foreseen).items():
                check_range(source, f"meta.{name}.{key}", np.array([value]), low=0)
    if certificate is None:
        return
    bound, budget = certificate.bound, certificate.write_budget_bytes
    values = [certificate.predicted, certificate.measured or 0.0, budget or 0.0]
    check_range(source, "meta.certificate", np.array([*values, bound.value], float), low=0)
    check_range(source, "prices.capacity_price", bound.capacity_price, low=0)
    for name, multipliers in bound.multipliers.items():
        check_range(source, f"multipliers.{name}", multipliers, low=-np.inf)


def _check_transfers(source: str, moves: Transfers) -> None:
    wrong = (moves.extent < 0) | (moves.first_page < 0) | (moves.pages <= 0) | (moves.write_slice < 0)
    for middle in (moves.written_slice, moves.fetch_slice):
        for earlier, later in pairwise((moves.write_slice, moves.leave_slice, middle, moves.return_slice)):
            wrong |= earlier > later
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise FileFormatError(
            f"{source}: transfer {row} is none (a negative number, no pages, or slices not in the order write, leave, "
            "fetch, return): plan again",
            path=source,
            field="transfers",
            row=row,
        )


def _check_recomputations(source: str, recomputations: Recomputations) -> None:
    wrong = (recomputations.producer < 0) | (recomputations.before_slice < 0) | (recomputations.first_row < 0)
    wrong |= (recomputations.end_row <= recomputations.first_row) | (
        recomputations.end_row > recomputations.rows
    )
    wrong |= np.diff(recomputations.before_slice, prepend=0) < 0
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise FileFormatError(
            f"{source}: recomputation {row} is none (a negative number, rows out of range, or not in order of slices): "
            "plan again",
            path=source,
            field="recomputations",
            row=row,
        )
