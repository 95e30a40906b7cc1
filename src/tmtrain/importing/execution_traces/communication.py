"""Communication in execution traces: what kind, over which group, and how many bytes, whoever wrote it down.

It is kept as an operator of this rank, called ``comm.KIND.GROUP``, which reads what the rank gives and writes what it gets.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RECORD = "record_param_comms"
"""Torch's own note about a collective, inside the call that starts it."""
_SPACES = ("c10d.", "_c10d_functional.")
_WAITS = ("wait", "wait_tensor")
_IN_PLACE = frozenset({"all_reduce", "broadcast", "reduce"})
"""Kinds that read what they write; others only fill the tensors that they are given for their results."""
_KINDS = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "allgather_base": "all_gather",
    "all_gather_into_tensor": "all_gather",
    "reduce_scatter_base": "reduce_scatter",
    "reduce_scatter_tensor": "reduce_scatter",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all",
    "all_to_all_single": "all_to_all",
    "all_to_allv": "all_to_all",
    "recv_any_source": "recv",
}
"""One word for each kind; others stay as they are."""
_CHAKRA_KINDS = (
    "all_reduce",
    "reduce",
    "all_gather",
    "gather",
    "scatter",
    "broadcast",
    "all_to_all",
    "reduce_scatter",
    "reduce_scatter",
    "barrier",
)
"""Source: enum CollectiveCommType of et_def.proto."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Communication:
    """What one rank gives and gets."""

    kind: str
    """"all_reduce"."""
    group: str
    """Name of the group of ranks, "unknown" where the file does not say it."""
    bytes: int
    """That this rank gives; that it gets, where it gives nothing."""

    @property
    def name(self) -> str:
        """Of the operator.

        >>> Communication(kind="all_reduce", group="0", bytes=8).name
        'comm.all_reduce.0'
        """
        return f"comm.{self.kind}.{self.group}"


def is_collective(name: str) -> bool:
    """Whether an operator of this qualified name starts communication.

    >>> is_collective("c10d.allreduce_.default"), is_collective("_c10d_functional.wait_tensor.default")
    (True, False)
    """
    return name.startswith(_SPACES) and kind_of(name.split(".")[1]) not in _WAITS


def reads_results(kind: str) -> bool:
    """Whether communication of this kind reads what is in the tensors that it writes."""
    return kind in _IN_PLACE


def kind_of(name: object) -> str:
    """Return the kind of communication that torch, NCCL or Chakra calls `name`.

    >>> kind_of("c10d::allreduce_"), kind_of("_allgather_base_"), kind_of(5)
    ('all_reduce', 'all_gather', 'broadcast')
    """
    if isinstance(name, int):
        return _CHAKRA_KINDS[name] if 0 <= name < len(_CHAKRA_KINDS) else "unknown"
    word = str(name).rpartition(":")[2].partition("(")[0].strip("_").lower().removesuffix("_coalesced")
    return _KINDS.get(word, word) or "unknown"


def group_of(attributes: Mapping[str, object], notes: Iterable[object] = ()) -> str:
    """Return the group of ranks that a node's attributes name, or the first pair of words among its `notes`.

    >>> group_of({"pg_name": "0"}), group_of({}, [33, ["tp", "default_pg"]]), group_of({})
    ('0', 'tp', 'unknown')
    """
    pairs = (note[0] for note in notes if isinstance(note, list) and note and isinstance(note[0], str))
    name = attributes.get("pg_name") or attributes.get("group_name") or next(pairs, "unknown")
    return re.sub(r"[\s.]+", "_", f"{name}")


def summarise_communication(all_of_them: Iterable[Communication]) -> str:
    """Return how often which kind runs over which group, and with how many bytes.

    >>> summarise_communication([Communication(kind="broadcast", group="0", bytes=8)] * 2)
    '2 x broadcast over group 0, 16 B'
    """
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in all_of_them:
        sizes[one.kind, one.group].append(one.bytes)
    return "; ".join(
        f"{len(rows)} x {kind} over group {group}, {sum(rows):,} B" for (kind, group), rows in sizes.items()
    )
