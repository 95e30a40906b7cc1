"""Export "checkpoint": the recomputation of a plan as a selective policy for `torch.utils.checkpoint`.

Note [All or nothing]
    A plan splits tensors; a checkpoint policy keeps the result of an operator or does not. Over the n layers of one kind
    (`tmtrain.exports.layers`) the result of one operator is kept in ``round(sum of the shares that the plan does not
    recompute)`` of them: the average over the layers meets the plan's share within half a layer, and what is kept at once
    is about what the plan keeps. The layers in which the plan recomputes least keep it, of equals the later ones, whose
    results wait for a shorter time. Of those that keep it, as many as the shares moved sum to offload it, those with the
    largest shares first.

Note [What torch can do]
    In backward torch runs the *whole* forward of a layer again, operator for operator, and puts in the results that were
    kept. It follows:

    * a result that is made by several operators, or in place, cannot be put in (the operators that work on it would not
      run): such storages are always recomputed;
    * a random operator whose result is put in does not advance the generator. So it may be kept only if no later random
      operator of the layer runs again: otherwise that one would draw other numbers;
    * an operator that updates buffers (running statistics) updates them twice. Who applies the policy puts them back
      (`tmtrain.exports.live.checkpoint`);
    * the inputs of a layer are kept, whatever made them. Their makers' results are kept too: that costs no memory and
      saves the operators;
    * operators whose results nobody needs again run again with the rest. `Tally.rerun_flops` counts them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.exports.checkpoint_policy import LayerPolicy, Losses, SelectivePolicy, Tally
from tmtrain.exports.layers import Layer, find_layers
from tmtrain.exports.ledger import Ledger
from tmtrain.trace import Phase, Role

_FORWARD = (Phase.FORWARD, Phase.LOSS)


@dataclass(slots=True)
class _Choice:
    """What becomes of one operator of one layer while the rules are applied; False, False: it runs again."""

    save: bool = False
    offload: bool = False


def make_checkpoint_policy(ledger: Ledger, *, layers: str | None = None) -> SelectivePolicy:
    """Turn a plan into a policy for the layers of its model.

    Args:
        ledger: The plan and its step.
        layers: Regular expression of the paths of the modules to wrap; by default the layers that are found.

    Raises:
        InputError: no layers, or a step that was captured with checkpointing.
    """
    if ledger.trace.options.get("checkpointing"):
        raise InputError(
            f"the step of {ledger.trace.model} was captured with checkpointing, which a checkpoint policy would replace: "
            "capture and plan it without --checkpointing"
        )
    return _PolicyMaker(ledger, find_layers(ledger.trace, layers)).policy()


class _PolicyMaker:
    def __init__(self, ledger: Ledger, layers: tuple[Layer, ...]) -> None:
        self._ledger, self._layers, trace = ledger, layers, ledger.trace
        split = ledger.over(ledger.gaps_between(_FORWARD, (Phase.BACKWARD,)))
        activation = (trace.storages.role == Role.ACTIVATION) & ~trace.storages.persistent
        self._needed: NDArray[np.bool_] = (split.pages > 0) & activation
        whole = np.maximum(split.pages, 1)
        self._moved, self._recomputed = split.moved / whole, split.recomputed / whole
        self._read: dict[int, set[int]] = defaultdict(set)
        self._makers: dict[int, set[int]] = defaultdict(set)
        """Storage -> operators that allocate or write it in forward."""
        self._born: dict[int, set[int]] = defaultdict(set)
        operands, phase = trace.operands, trace.operators.phase
        for row in np.flatnonzero(np.isin(phase[operands.op], _FORWARD)).tolist():
            op, storage = int(operands.op[row]), int(operands.storage[row])
            if operands.reads[row]:
                self._read[op].add(storage)
            if operands.allocates[row]:
                self._born[op].add(storage)
            if operands.writes[row] or operands.allocates[row]:
                self._makers[storage].add(op)
        self._choice = {op: _Choice() for layer in layers for op in layer.ops}

    def policy(self) -> SelectivePolicy:
        """Round, find the layers that need to be wrapped, apply what torch cannot do otherwise, and count."""
        for kind in sorted({layer.kind for layer in self._layers}):
            self._round([layer for layer in self._layers if layer.kind == kind])
        wrapped = [
            layer
            for layer in self._layers
            if any(not self._stays(op) for op in layer.ops if self._results(op))
        ]
        inputs = {storage for layer in wrapped for storage in self._inputs(layer)}
        for layer in wrapped:
            self._apply_rules(layer, inputs)
        trace, plan = self._ledger.trace, self._ledger.plan
        return SelectivePolicy(
            model=trace.model,
            trace_fingerprint=plan.trace_fingerprint,
            machine=plan.machine,
            fast_bytes=plan.fast_bytes,
            layers={layer.path: self._layer_policy(layer) for layer in wrapped},
            plan=self._plan_tally(),
            policy=self._policy_tally(wrapped, inputs),
            lost=self._losses(wrapped, inputs),
        )

    def _stays(self, op: int) -> bool:
        choice = self._choice[op]
        return choice.save and not choice.offload

    def _results(self, op: int) -> list[int]:
        """Return the storages that this operator alone makes and that backward needs."""
        return [s for s in self._born[op] if self._needed[s] and self._makers[s] == {op}]

    def _inputs(self, layer: Layer) -> Iterable[int]:
        own = {storage for op in layer.ops for storage in self._born[op]}
        read = {storage for op in layer.ops for storage in self._read[op]}
        return read - own

    def _round(self, alike: list[Layer]) -> None:
        """See Note [All or nothing]."""
        for number in range(len(alike[0].ops)):
            ops = [layer.ops[number] for layer in alike]
            if not any(self._results(op) for op in ops):
                continue
            stays = [1.0 - self._share(op, self._recomputed) for op in ops]
            moves = [self._share(op, self._moved) for op in ops]
            order = sorted(range(len(ops)), key=lambda i: (-stays[i], -i))
            kept = order[: floor(sum(stays) + 0.5)]
            away = sorted(kept, key=lambda i: (-moves[i], i))[: floor(sum(moves) + 0.5)]
            for i in kept:
                self._choice[ops[i]].save = True
            for i in away:
                self._choice[ops[i]].offload = True

    def _share(self, op: int, share: NDArray[np.float64]) -> float:
        """Average over the results of an operator, by bytes; nothing is lost where it has none to decide about."""
        results = self._results(op)
        weight = self._ledger.trace.storages.bytes[results].astype(np.float64)
        return float(share[results] @ weight / weight.sum()) if weight.sum() else 0.0

    def _apply_rules(self, layer: Layer, inputs: set[int]) -> None:
        """See Note [What torch can do]."""
        operators = self._ledger.trace.operators
        random_runs_again = False
        for op in reversed(layer.ops):
            choice, alone = self._choice[op], all(self._makers[s] == {op} for s in self._born[op])
            feeds_a_layer = bool(self._born[op] & inputs)
            if not alone:
                choice.save = choice.offload = False
            elif feeds_a_layer and not operators.is_view[op]:
                choice.save, choice.offload = True, False
            if operators.is_random[op]:
                choice.save &= not random_runs_again
                choice.offload &= choice.save
                random_runs_again |= not choice.save

    def _layer_policy(self, layer: Layer) -> LayerPolicy:
        names = self._ledger.trace.operators.name
        calls: dict[str, int] = defaultdict(int)
        save: dict[str, list[int]] = defaultdict(list)
        offload: dict[str, list[int]] = defaultdict(list)
        for op, call in zip(layer.ops, layer.calls, strict=True):
            calls[names[op]] += 1
            choice = self._choice[op]
            if choice.save:
                (offload if choice.offload else save)[names[op]].append(call)
        return LayerPolicy(calls=dict(calls), save=_tuples(save), offload=_tuples(offload))

    def _plan_tally(self) -> Tally:
        sizes = np.where(self._needed, self._ledger.trace.storages.bytes, 0)
        moved, recomputed = int(sizes @ self._moved), int(sizes @ self._recomputed)
        recomputations, producers, flops = (
            self._ledger.plan.recomputations,
            self._ledger.timeline.producers,
            self._ledger.trace.operators.flops,
        )
        rerun = 0.0
        for row in range(len(recomputations)):
            producer = int(recomputations.producer[row])
            ops = producers.op[producers.op_ptr[producer] : producers.op_ptr[producer + 1]]
            rerun += float(flops[ops].sum()) * float(
                (recomputations.end_row[row] - recomputations.first_row[row]) / recomputations.rows[row]
            )
        return Tally(
            saved_bytes=int(sizes.sum()) - moved - recomputed,
            offloaded_bytes=moved,
            recomputed_bytes=recomputed,
            rerun_flops=int(rerun),
        )

    def _policy_tally(self, wrapped: list[Layer], inputs: set[int]) -> Tally:
        trace = self._ledger.trace
        again = {op for layer in wrapped for op in layer.ops if not self._choice[op].save}
        away = {op for layer in wrapped for op in layer.ops if self._choice[op].offload}
        total = offloaded = recomputed = 0
        for storage in np.flatnonzero(self._needed).tolist():
            size, makers = int(trace.storages.bytes[storage]), self._makers[storage]
            total += size
            if storage not in inputs and makers & again:
                recomputed += size
            elif storage not in inputs and makers & away:
                offloaded += size
        return Tally(
            saved_bytes=total - offloaded - recomputed,
            offloaded_bytes=offloaded,
            recomputed_bytes=recomputed,
            rerun_flops=int(trace.operators.flops[sorted(again)].sum()),
        )

    def _losses(self, wrapped: list[Layer], inputs: set[int]) -> Losses:
        sizes, random = self._ledger.trace.storages.bytes, self._ledger.trace.operators.is_random
        inside = {op for layer in wrapped for op in layer.ops}
        lost = {"outside": 0.0, "inputs": 0.0, "in_place": 0.0, "random": 0.0}
        for storage in np.flatnonzero(self._needed).tolist():
            size, makers = float(sizes[storage]), self._makers[storage]
            away = size * float(self._moved[storage] + self._recomputed[storage])
            stays = size * float(1 - self._recomputed[storage])
            if storage in inputs:
                lost["inputs"] += away
            elif not makers & inside:
                lost["outside"] += away
            elif len(makers) > 1:
                lost["in_place"] += stays
            elif random[min(makers)] and not self._choice[min(makers)].save:
                lost["random"] += stays
        return Losses(**{f"{reason}_bytes": int(amount) for reason, amount in lost.items()})


def _tuples(calls: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {operator: tuple(numbers) for operator, numbers in calls.items()}
