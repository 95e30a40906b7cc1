"""A checkpoint policy on disk: which operators of which modules keep their results, and which run again in backward.

JSON, meant to be read and edited; nothing in it is executable. Imports no torch.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from tmtrain.bundle import write_text_atomically
from tmtrain.errors import FileFormatError, InputError

FORMAT = "tmtrain-checkpoint-policy"
VERSION = 1


class LayerPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of the operators of one module's forward; those that are not named run again."""

    calls: dict[str, int]
    """How often each operator runs in one forward: a module that runs others is not the one that was planned."""
    save: dict[str, tuple[int, ...]]
    """Operator -> the calls whose results are kept, counted from 0."""
    offload: dict[str, tuple[int, ...]]
    """Operator -> the calls whose results should be moved away and fetched back."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes of the activations that backward needs, by fate, and what running again costs."""

    saved_bytes: int
    offloaded_bytes: int
    recomputed_bytes: int
    rerun_flops: int
    """Of a policy: at most; torch stops in each layer when it has all that backward asks for."""


class Losses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes whose fate in the plan the format cannot say; docs/exports.md explains each."""

    outside_bytes: int
    """Moved or recomputed by the plan, made in no layer that is wrapped: they stay."""
    inputs_bytes: int
    """Moved or recomputed by the plan, but an input of a wrapped layer: they stay."""
    in_place_bytes: int
    """Kept or moved by the plan, but made by several operators or in place: they are recomputed."""
    random_bytes: int
    """Kept or moved by the plan, but random, and a later random operator of the layer runs again: so must they."""


class SelectivePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy for `torch.utils.checkpoint`, for one model in one step."""

    format: Literal["tmtrain-checkpoint-policy"] = FORMAT
    version: int = VERSION
    model: str
    trace_fingerprint: str
    machine: str
    fast_bytes: int
    layers: dict[str, LayerPolicy]
    """By path of the module; modules that are not named are left as they are."""
    plan: Tally
    """What the plan does with the activations that backward needs."""
    policy: Tally
    """What becomes of them under this policy."""
    lost: Losses


def save_checkpoint_policy(policy: SelectivePolicy, path: Path | str) -> None:
    """Write a policy as JSON, whole or not at all.

    Raises:
        InputError: the disk refuses.
    """
    text = msgspec.json.format(msgspec.json.encode(policy), indent=1).decode()
    write_text_atomically(Path(path), text + "\n")


def load_checkpoint_policy(path: Path | str) -> SelectivePolicy:
    """Read the policy that ``tmtrain export --to checkpoint`` wrote.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not a policy, of a newer version, or with something in it that a policy does not have.
    """
    record = read_json(path, need=FORMAT, version=VERSION)
    try:
        policy = msgspec.convert(record, SelectivePolicy, strict=True)
    except msgspec.ValidationError as error:
        raise FileFormatError(f"{path} is not a checkpoint policy: {error}", path=path) from error
    for name, layer in policy.layers.items():
        _check_calls(f"{path}", name, layer)
    return policy


def read_json(path: Path | str, *, need: str, version: int) -> dict[str, Any]:
    """Read a JSON export and check what it says it is.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not JSON, another format, or a newer version.
    """
    try:
        record = msgspec.json.decode(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"could not read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path} is not JSON: {error}", path=path) from error
    said = record.get("format") if isinstance(record, dict) else None
    if said != need:
        raise FileFormatError(f"{path} does not say format {need!r} (but {said!r}): export again", path=path)
    number = record.get("version")
    if not isinstance(number, int) or number > version:
        raise FileFormatError(
            f"{path} has version {number!r}, this release reads up to {version}: update tmtrain",
            path=path,
            version=number if isinstance(number, int) else None,
            newest_version=version,
        )
    return record


def _check_calls(source: str, name: str, layer: LayerPolicy) -> None:
    for decision in ("save", "offload"):
        calls: dict[str, tuple[int, ...]] = getattr(layer, decision)
        for operator, numbers in calls.items():
            most = layer.calls.get(operator, 0)
            wrong = [number for number in numbers if not 0 <= number < most]
            if wrong:
                raise FileFormatError(
                    f"{source}: layer {name!r} has {most} calls of {operator}, none of them is number {wrong[0]} "
                    f"(in {decision!r}, counted from 0)",
                    path=source,
                    field=f"layers.{name}.{decision}",
                )
            both = set(numbers) & set(layer.offload.get(operator, ())) if decision == "save" else set[int]()
            if both:
                raise FileFormatError(
                    f"{source}: layer {name!r} both saves and offloads call {min(both)} of {operator}: choose one",
                    path=source,
                    field=f"layers.{name}.{decision}",
                )
