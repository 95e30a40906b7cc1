"""The fingerprint of the operators of a step: equal so far means the same operators on the same storages so far."""

START = 0


def mixed(before: int, *, name: str, storages: frozenset[str], makes_bytes: int) -> int:
    """Return the fingerprint of a step that goes on with one more operator; it means nothing to other processes.

    >>> one = mixed(START, name="aten.mm.default", storages=frozenset({"weight"}), makes_bytes=64)
    >>> one == mixed(START, name="aten.mm.default", storages=frozenset({"bias"}), makes_bytes=64)
    False
    """
    return hash((before, name, storages, makes_bytes))
