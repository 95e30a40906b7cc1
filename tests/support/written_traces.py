"""PyTorch execution traces written call by call, for tests of how they are read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RELU = "aten::relu(Tensor self) -> Tensor"
MUL = "aten::mul.Tensor(Tensor self, Tensor other) -> Tensor"
ADD = "aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)"
TOP = 1
"""Number of the call in which a trace begins."""

Tensor = tuple[int, int]
"""Storage and elements, of four bytes each."""


@dataclass(slots=True)
class WrittenTrace:
    """Calls, numbered as they are added.

    >>> trace = WrittenTrace()
    >>> trace.call("aten::relu", RELU, [(7, 8)], [(8, 8)])
    2
    """

    nodes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _number: int = TOP

    def skip(self) -> int:
        """Take a number for a call that is never written down."""
        self._number += 1
        return self._number

    def call(
        self,
        name: str,
        schema: str = "",
        arguments: list[Tensor] | None = None,
        results: list[Tensor] | None = None,
        *,
        parent: int = TOP,
        **attributes: Any,
    ) -> int:
        """Add a call whose arguments are tensors; return its number."""
        return self.raw(
            name, _side(arguments or []), _side(results or []), parent, op_schema=schema, **attributes
        )

    def raw(
        self, name: str, inputs: dict[str, Any], outputs: dict[str, Any], parent: int, **attributes: Any
    ) -> int:
        """Add a call with arguments and results as the observer spells them."""
        number = self.skip()
        attrs = [{"name": key, "type": "", "value": value} for key, value in attributes.items()]
        self.nodes.append(
            {
                "id": number,
                "name": name,
                "ctrl_deps": parent,
                "inputs": inputs,
                "outputs": outputs,
                "attrs": attrs,
            }
        )
        return number

    def step(self, *, batch: int = 8, parent: int = TOP, extra: int = 0) -> None:
        """Add a step: weight 1, moment 2, input 3; forward makes 4, backward the gradient 5, the optimizer updates."""
        self.call("Optimizer.zero_grad#SGD.zero_grad", parent=parent)
        self.call("aten::mul", MUL, [(3, batch), (1, 8)], [(4, batch)], parent=parent)
        for _ in range(extra):
            self.call("aten::relu", RELU, [(4, batch)], [(6, batch)], parent=parent)
        backward = self.call("autograd::engine::evaluate_function: MulBackward0")
        self.call("aten::mul", MUL, [(4, batch), (3, batch)], [(5, 8)], parent=backward)
        self.update(parent=parent)

    def update(self, *, weight: int = 1, moment: int = 2, gradient: int = 5, parent: int = TOP) -> None:
        """Add a step of an optimizer."""
        optimizer = self.call("Optimizer.step#SGD.step", parent=parent)
        self.call("aten::add_", ADD, [(moment, 8), (gradient, 8)], [(moment, 8)], parent=optimizer)
        self.call("aten::add_", ADD, [(weight, 8), (moment, 8)], [(weight, 8)], parent=optimizer)

    def write(self, path: Path) -> Path:
        """Write the calls to `path` and return it."""
        path.write_text(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": self.nodes}))
        return path


def tensor(storage: int, elements: int) -> list[Any]:
    """Return a tensor as the observer spells it."""
    return [storage + 100, storage, 0, elements, 4, "cpu"]


def _side(tensors: list[Tensor]) -> dict[str, Any]:
    return {
        "values": [tensor(*one) for one in tensors],
        "shapes": [[elements] for _, elements in tensors],
        "types": ["Tensor(float)"] * len(tensors),
        "strides": [[1]] * len(tensors),
    }
