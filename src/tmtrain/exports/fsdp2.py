"""Export "fsdp2": how much of each module's parameters, gradients and optimizer state the plan moves away.

FSDP2 offloads all or nothing of what one call of `fully_shard` manages (a map per parameter is proposed:
github.com/pytorch/pytorch/pull/188120, open in 2026-06). The file keeps the plan's fractions; whoever reads it rounds them
to whole modules (`choose_whole`). Imports no torch.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tmtrain.bundle import write_text_atomically
from tmtrain.errors import FileFormatError
from tmtrain.exports.checkpoint_policy import read_json
from tmtrain.exports.ledger import Ledger
from tmtrain.trace import Phase, Role

FORMAT = "tmtrain-fsdp2-offload"
VERSION = 1

_GROUPS = {Role.PARAMETER: "parameters", Role.GRADIENT: "gradients", Role.OPTIMIZER_STATE: "optimizer_state"}


class ModulePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of what a module owns."""

    bytes: int
    offload: float
    """Share that leaves fast memory at some moment of the step."""


class ModuleOffload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the plan does with the parameters of one module, those of its submodules apart, and what belongs to them."""

    offload: float
    """Of all three together, by bytes."""
    reshard_after_forward: bool
    """Most of the parameters are away between forward and backward."""
    parameters: ModulePart
    gradients: ModulePart
    optimizer_state: ModulePart

    @property
    def bytes(self) -> int:
        """Return the bytes of all three together."""
        return self.parameters.bytes + self.gradients.bytes + self.optimizer_state.bytes


class OffloadMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What FSDP2 would have to offload, by fully qualified name of the module that owns the parameters."""

    format: str = FORMAT
    version: int = VERSION
    model: str
    trace_fingerprint: str
    machine: str
    fast_bytes: int
    modules: dict[str, ModuleOffload]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A module, or a group of them, that is offloaded as a whole or not at all."""

    name: str
    bytes: int
    offload: float
    """Share that should be."""


def make_offload_map(ledger: Ledger) -> OffloadMap:
    """Add up what a plan moves of each module's parameters, gradients and optimizer state.

    A tensor that is moved in any gap of the step counts: FSDP2 decides once where it lives.

    >>> from tmtrain.exports.example import example_ledger
    >>> list(make_offload_map(example_ledger()).modules)
    ['0']
    """
    storages = ledger.trace.storages
    size, away = defaultdict[tuple[str, Role], int](int), defaultdict[tuple[str, Role], float](float)
    share = ledger.ever_moved() / np.maximum(ledger.pages(), 1)
    between = ledger.over(ledger.gaps_between((Phase.FORWARD, Phase.LOSS), (Phase.BACKWARD,)))
    released, held = defaultdict[str, int](int), defaultdict[str, int](int)
    for row in range(len(storages)):
        role = Role(int(storages.role[row]))
        if role not in _GROUPS:
            continue
        owner = _owner(storages.name[row], role)
        size[owner, role] += int(storages.bytes[row])
        away[owner, role] += float(share[row]) * int(storages.bytes[row])
        if role == Role.PARAMETER:
            released[owner] += int(between.moved[row])
            held[owner] += int(ledger.pages()[row])
    plan = ledger.plan
    return OffloadMap(
        model=ledger.trace.model,
        trace_fingerprint=plan.trace_fingerprint,
        machine=plan.machine,
        fast_bytes=plan.fast_bytes,
        modules={
            owner: _module(owner, size, away, reshard=2 * released[owner] > held[owner])
            for owner in sorted({owner for owner, role in size if role == Role.PARAMETER})
        },
    )


def _owner(name: str, role: Role) -> str:
    """Return the module of the parameter that a storage is, or belongs to: its name says which."""
    parameter = name.removeprefix("grad:")
    if role == Role.OPTIMIZER_STATE:
        parameter = name.removeprefix("state:").rpartition(".")[0]
    return parameter.rpartition(".")[0]


def _module(
    owner: str, size: Mapping[tuple[str, Role], int], away: Mapping[tuple[str, Role], float], *, reshard: bool
) -> ModuleOffload:
    parts = {word: _part(size[owner, role], away[owner, role]) for role, word in _GROUPS.items()}
    total = _part(sum(size[owner, role] for role in _GROUPS), sum(away[owner, role] for role in _GROUPS))
    return ModuleOffload(offload=total.offload, reshard_after_forward=reshard, **parts)


def _part(size: int, away: float) -> ModulePart:
    return ModulePart(bytes=size, offload=round(away / size, 6) if size else 0.0)


def save_offload_map(offload: OffloadMap, path: Path | str) -> None:
    """Write the map as JSON, whole or not at all.

    Raises:
        InputError: the disk refuses.
    """
    write_text_atomically(Path(path), json.dumps(msgspec.to_builtins(offload), indent=1) + "\n")


def load_offload_map(path: Path | str) -> OffloadMap:
    """Read the map that ``tmtrain export --to fsdp2`` wrote.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not such a map, of a newer version, or a share outside [0, 1].
    """
    record = read_json(path, need=FORMAT, version=VERSION)
    try:
        offload = msgspec.convert(record, OffloadMap, strict=True)
    except msgspec.ValidationError as error:
        raise FileFormatError(f"{path} is not an offload map: {error}", path=path) from error
    for name, module in offload.modules.items():
        if not 0 <= module.offload <= 1:
            raise FileFormatError(
                f"{path}: module {name!r} offloads {module.offload}, which is no share in [0, 1]",
                path=path,
                field=f"modules.{name}",
            )
    return offload


def choose_whole(candidates: list[Candidate]) -> set[str]:
    """Choose which candidates are offloaded as a whole, so that their bytes match the sum of the shares.

    Largest first, of equals those with the larger share, as long as the sum is not exceeded; then the smallest of the
    others, if that comes nearer. So the bytes chosen are short by at most half of the smallest that is left out, and too
    many by at most half of the one that was chosen last.
    A candidate of which nothing is moved is never chosen.

    >>> parts = {"a": (100, 0.9), "b": (60, 0.5), "c": (10, 0.0)}
    >>> sorted(choose_whole([Candidate(name=n, bytes=b, offload=f) for n, (b, f) in parts.items()]))
    ['a']
    """
    wanted = [candidate for candidate in candidates if candidate.offload > 0 and candidate.bytes > 0]
    left = sum(candidate.bytes * candidate.offload for candidate in wanted)
    chosen: set[str] = set()
    for candidate in sorted(wanted, key=lambda c: (-c.bytes, -c.offload, c.name)):
        if candidate.bytes <= left * (1 + 1e-9):
            chosen.add(candidate.name)
            left -= candidate.bytes
    rest = [candidate for candidate in wanted if candidate.name not in chosen]
    smallest = min(rest, key=lambda c: (c.bytes, -c.offload, c.name), default=None)
    if smallest is not None and smallest.bytes < 2 * left:
        chosen.add(smallest.name)
    return chosen
