"""What ``tmtrain explain`` tells, in words."""

from collections.abc import Iterator

from tmtrain.questions.explain import Explanation, GapStory, StorageStory, StorageUse
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.units import format_bytes, format_seconds

MOST = 12
"""Storages told in full; a glob may fit thousands."""
_DONE = {"keep": "kept", "move": "moved", "recompute": "recomputed"}
_NO_PRODUCER = "impossible: nothing in the step makes the same bits again"
_OUT_OF_PLACE = (
    "not offered here: others are recomputed from it, across a cut between blocks, or its inputs are gone"
)
_ALIKE = 0.01
"""Costs that differ by less are the same: pages are whole, prices are not."""


def explanation_lines(explanation: Explanation) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield a title and labelled lines for each storage, the largest first."""
    storages = sorted(explanation.storages, key=lambda storage: -storage.bytes)
    for storage in storages[:MOST]:
        yield _title(storage), _storage(storage, explanation.unit)
    if len(storages) > MOST:
        rest = sum(storage.bytes for storage in storages[MOST:])
        yield f"and {len(storages) - MOST} smaller ones ({format_bytes(rest)}): --json has all of them", []


def _title(storage: StorageStory) -> str:
    where = f", {storage.module}" if storage.module else ""
    return f"{storage.name}: {storage.role}, {format_bytes(storage.bytes)}{where}"


def _storage(storage: StorageStory, unit: str) -> list[tuple[str, str]]:
    if not storage.gaps:
        return [("", "never waits for its next use: there is nothing to decide")]
    return [line for gap in storage.gaps for line in _gap(gap, storage, unit)]


def _gap(gap: GapStory, storage: StorageStory, unit: str) -> Iterator[tuple[str, str]]:
    next_step = " of the next step" if gap.wraps else ""
    size = f"{format_bytes(gap.bytes)} for {format_seconds(gap.lasts_s)}"
    yield "gap", f"{size}: after {_use(gap.after)} until {_use(gap.before)}{next_step}"
    amounts = {"keep": gap.kept_bytes, "move": gap.moved_bytes, "recompute": gap.recomputed_bytes}
    done = [f"{_DONE[fate]} {format_bytes(n)} ({percent(n / gap.bytes)})" for fate, n in amounts.items() if n]
    yield "  the plan", ", ".join(done)
    for fate, parts in (("keep", gap.keep), ("move", gap.move), ("recompute", gap.recompute)):
        if parts is None:
            yield f"  to {fate}", _OUT_OF_PLACE if storage.has_producer else _NO_PRODUCER
        else:
            yield f"  to {fate}", _amount(sum(parts.values()), unit) + _parts(parts, unit)
    yield "  so", _verdict(gap, max(amounts, key=lambda fate: amounts[fate]))


def _use(use: StorageUse) -> str:
    where = f" in {use.module}" if use.module else ""
    return f"operator {use.op} ({use.operator}, {use.phase}{where})"


def _amount(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else quantity(value, unit)


def _parts(parts: dict[str, float], unit: str) -> str:
    amounts = ", ".join(f"{name} {_amount(part, unit)}" for name, part in parts.items() if part)
    if not amounts:
        return ""
    # The one part that is negative is told as a saving, not as a cost below nothing.
    saving = ", less what recomputations save by reading it "
    return f" = {amounts}".replace(", saved to recomputations -", saving)


def _verdict(gap: GapStory, chosen: str) -> str:
    costs = gap.costs
    ordered = sorted(costs, key=lambda fate: costs[fate])
    first, second = ordered[0], ordered[1]
    scale = max(abs(cost) for cost in costs.values())
    if scale == 0 or costs["keep"] == 0:
        return "fast memory has room while this gap lasts: it stays for nothing"
    if costs[second] - costs[first] <= _ALIKE * scale:
        pair = " and to ".join(sorted((first, second)))
        return f"to {pair} are worth the same here: the plan took as much of each as evens them out"
    saved = percent((costs[second] - costs[first]) / abs(costs[second])) if costs[second] else "all"
    verdict = f"to {first} is cheapest, {saved} less than to {second}"
    if chosen != first:
        verdict += (
            f"; the plan {_DONE[chosen]} most of it all the same: rows and pages are whole, and blocks alike"
        )
    return verdict
