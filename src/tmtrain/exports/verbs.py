"""`export`: a plan for those who run something else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from tmtrain.errors import InputError
from tmtrain.exports.chakra import make_chakra, save_chakra
from tmtrain.exports.checkpoint import make_checkpoint_policy
from tmtrain.exports.checkpoint_policy import save_checkpoint_policy
from tmtrain.exports.deepspeed import Device, make_deepspeed_config, write_deepspeed_config
from tmtrain.exports.fsdp2 import make_offload_map, save_offload_map
from tmtrain.exports.ledger import Ledger, open_ledger
from tmtrain.exports.table import make_tables, write_tables
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.trace import Trace
from tmtrain.units import format_bytes

Target: TypeAlias = Literal["table", "checkpoint", "fsdp2", "deepspeed", "chakra"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    to: Target
    files: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What it says, in a few numbers; JSON only."""
    lines: tuple[tuple[str, str], ...] = ()
    """The same for people."""


def export(
    plan: Plan,
    out: Path | str,
    *,
    to: Target,
    trace: Trace,
    timeline: Timeline,
    machine: Machine,
    device: Device | None = None,
    layers: str | None = None,
) -> Exported:
    """Write the decisions of a plan in a form that other programs use; docs/exports.md says what each form loses.

    Args:
        plan: Made for `timeline`.
        out: The file; for "table" a name that does not end in ".json" becomes a folder of Parquet tables.
        to: The form.
        trace: The step.
        timeline: The step on `machine`, without recomputations.
        machine: As planned for.
        device: "deepspeed" only: where to offload to, by default "nvme".
        layers: "checkpoint" only: regular expression of the paths of the modules that may be computed again; by default
            the numbered modules of which most are alike.

    Raises:
        InputError: unknown form, an option of another form, a plan for another step, or the disk refuses.

    >>> import tempfile
    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> from tmtrain.trace import example_trace
    >>> step = {"trace": example_trace(), "timeline": example_timeline(), "machine": load_machine("v4-slc")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(example_plan(), f"{folder}/plan.json", to="table", **step).facts["storages"]
    10
    """
    _check(to, device=device, layers=layers)
    path = Path(out)
    ledger = open_ledger(plan, trace=trace, timeline=timeline, machine=machine)
    match to:
        case "table":
            return _table(ledger, path)
        case "checkpoint":
            return _checkpoint(ledger, path, layers)
        case "fsdp2":
            return _fsdp2(ledger, path)
        case "deepspeed":
            return _deepspeed(ledger, path, device or "nvme")
        case "chakra":
            return _chakra(ledger, path)


def _check(to: str, *, device: str | None, layers: str | None) -> None:
    if to not in get_args(Target):
        raise InputError(f"unknown form {to!r}: choose one of {', '.join(get_args(Target))}")
    if device is not None and to != "deepspeed":
        raise InputError(f"a device is for deepspeed, not for {to}: leave it out")
    if device is not None and device not in get_args(Device):
        raise InputError(f"unknown device {device!r}: choose one of {', '.join(get_args(Device))}")
    if layers is not None and to != "checkpoint":
        raise InputError(f"layers are for checkpoint, not for {to}: leave them out")


def _table(ledger: Ledger, path: Path) -> Exported:
    tables = make_tables(ledger)
    write_tables(tables, path)
    facts = {name: getattr(tables, name).num_rows for name in ("storages", "modules", "gaps")}
    lines = [(name, f"{rows:,} rows") for name, rows in facts.items()]
    return Exported(to="table", files=(str(path),), facts=facts, lines=tuple(lines))


def _checkpoint(ledger: Ledger, path: Path, layers: str | None) -> Exported:
    policy = make_checkpoint_policy(ledger, layers=layers)
    save_checkpoint_policy(policy, path)
    tallies = {"plan": policy.plan, "policy": policy.policy, "lost": policy.lost}
    facts = {
        "layers": len(policy.layers),
        **{name: msgspec.to_builtins(part) for name, part in tallies.items()},
    }
    lines = [("layers", f"{len(policy.layers)} run again in part")]
    for fate in ("saved", "offloaded", "recomputed"):
        ours, theirs = (getattr(part, f"{fate}_bytes") for part in (policy.policy, policy.plan))
        lines.append((fate, f"{format_bytes(ours)} of activations; in the plan {format_bytes(theirs)}"))
    lines.append(
        ("run again", f"{policy.policy.rerun_flops:,} FLOPs; in the plan {policy.plan.rerun_flops:,}")
    )
    return Exported(to="checkpoint", files=(str(path),), facts=facts, lines=tuple(lines))


def _fsdp2(ledger: Ledger, path: Path) -> Exported:
    offload = make_offload_map(ledger)
    save_offload_map(offload, path)
    whole = sum(module.bytes for module in offload.modules.values())
    away = int(sum(module.bytes * module.offload for module in offload.modules.values()))
    lines = (
        ("modules", f"{len(offload.modules):,}"),
        (
            "offloaded",
            f"{format_bytes(away)} of {format_bytes(whole)} of parameters, gradients and optimizer state",
        ),
    )
    facts = {"modules": len(offload.modules), "bytes": whole, "offloaded_bytes": away}
    return Exported(to="fsdp2", files=(str(path),), facts=facts, lines=lines)


def _deepspeed(ledger: Ledger, path: Path, device: Device) -> Exported:
    config = make_deepspeed_config(ledger, device=device)
    beside = write_deepspeed_config(config, path)
    zero = config.config["zero_optimization"]
    lines = [(key, str(zero[key])) for key in ("offload_optimizer", "offload_param") if key in zero]
    lines.append(("read", f"{beside}: what the configuration cannot say"))
    return Exported(to="deepspeed", files=(str(path), str(beside)), facts=config.config, lines=tuple(lines))


def _chakra(ledger: Ledger, path: Path) -> Exported:
    graph = make_chakra(ledger)
    save_chakra(graph, path)
    facts = {
        "slices": graph.slices,
        "loads": graph.loads,
        "stores": graph.stores,
        "bytes_in": graph.bytes_in,
        "bytes_out": graph.bytes_out,
    }
    lines = (
        ("COMP", f"{graph.slices:,} slices"),
        ("MEM_LOAD", f"{graph.loads:,} transfers, {format_bytes(graph.bytes_in)}"),
        ("MEM_STORE", f"{graph.stores:,} transfers, {format_bytes(graph.bytes_out)}"),
    )
    return Exported(to="chakra", files=(str(path),), facts=facts, lines=lines)
