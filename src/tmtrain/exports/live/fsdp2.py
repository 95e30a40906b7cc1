"""Turn an offload map into policies for `torch.distributed.fsdp.fully_shard`. Imports torch.

::

    units = [f"transformer.h.{i}" for i in range(12)]
    policies = offload_policies("gpt2.fsdp2.json", units=[*units, ""])
    for name in units:
        fully_shard(model.get_submodule(name), offload_policy=policies[name])
    fully_shard(model, offload_policy=policies[""])
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy

from tmtrain.errors import InputError
from tmtrain.exports.fsdp2 import Candidate, OffloadMap, choose_whole, load_offload_map


def offload_policies(
    path: Path | str, *, units: Iterable[str] | None = None, pin_memory: bool = True
) -> dict[str, OffloadPolicy]:
    """Return the policy of each module that is given to `fully_shard`, rounded so that the bytes match the plan's.

    Known limitations: a module is offloaded with its gradients and its optimizer state, to CPU memory, for the whole step,
    and the optimizer then runs on the CPU; FSDP2 has no flash. The fractions are those of one rank that holds everything.

    Args:
        path: The map that ``tmtrain export --to fsdp2`` wrote.
        units: Names of the modules that are given to `fully_shard`, "" for the root; a parameter belongs to the innermost
            of them. By default every module that owns parameters.
        pin_memory: Of the CPU copies; needs an accelerator.

    Raises:
        InputError: there is nothing at `path`, or a parameter lies in none of the units.
        FileFormatError: not such a map.
    """
    offload = load_offload_map(path)
    candidates = _candidates(offload, None if units is None else list(units))
    chosen = choose_whole(candidates)
    return {
        unit.name: CPUOffloadPolicy(pin_memory=pin_memory) if unit.name in chosen else OffloadPolicy()
        for unit in candidates
    }


def _candidates(offload: OffloadMap, units: list[str] | None) -> list[Candidate]:
    size, away = defaultdict[str, int](int), defaultdict[str, float](float)
    for name, module in offload.modules.items():
        unit = name if units is None else _innermost(name, units)
        size[unit] += module.bytes
        away[unit] += module.bytes * module.offload
    names = list(offload.modules) if units is None else units
    return [Candidate(name=n, bytes=size[n], offload=away[n] / size[n] if size[n] else 0.0) for n in names]


def _innermost(name: str, units: list[str]) -> str:
    holding = [unit for unit in units if unit in ("", name) or name.startswith(f"{unit}.")]
    if not holding:
        raise InputError(
            f'the parameters of module {name!r} lie in none of the units: add it, or "" for the root'
        )
    return max(holding, key=len)
