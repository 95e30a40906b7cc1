"""vDNN: offload the inputs of layers in forward, prefetch them layer by layer in backward.

Source: M. Rhu et al., "vDNN: Virtualized deep neural networks for scalable, memory-efficient neural network design",
MICRO 2016 (arXiv 1602.08124), section 3.

Inputs: the layers in order, and what each reads. A layer is an operator here.

Rule: `vdnn-all` offloads what forward has read or made and backward reads again, `vdnn-conv` the inputs of convolutions
only. The offload runs beside the layer that uses the tensor last, and its memory is free after that. In backward each
layer prefetches the inputs of one: it searches on in order for the first layer whose inputs are away, as far as the next
convolution. `vdnn-dyn` keeps the fastest of: no offload (where everything fits), `vdnn-conv`, `vdnn-all`.

Simplified: the memory-hungry and the lean algorithms of cuDNN between which `vdnn-dyn` also chooses are one here: operators
have one duration and no workspace. In the rival's favour: forward does not wait for the end of an offload unless the
memory is needed; in nets without convolutions the search reaches to the next matrix product; what does not fit beside the
offloaded activations, where vDNN runs out of memory, is paged by Belady's rule.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.advice import advise
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.trace import Phase


class Offload(Enum):
    """Whose inputs are offloaded."""

    NONE = "none"
    CONV = "inputs of convolutions"
    ALL = "inputs of all layers"


class Vdnn(Policy):
    """vDNN that offloads the inputs of all layers."""

    name = "vdnn-all"
    offload = Offload.ALL

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose by kind of layer, and prefetch layer by layer."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _choose(tensors, self.offload, name=self.name)
        first = _first_slice_of_operator(timeline)
        return advise(
            tensors,
            chosen,
            fetch=_prefetch(tensors, chosen),
            write=first[tensors.periods.start].astype(np.int64),
            name=self.name,
        )


class VdnnConv(Vdnn):
    """vDNN that offloads the inputs of convolutions."""

    name = "vdnn-conv"
    offload = Offload.CONV


class VdnnNone(Vdnn):
    """The step as it is, where it fits."""

    name = "vdnn-none"
    offload = Offload.NONE


class VdnnDyn(Vdnn):
    """vDNN that tries what is fastest; by itself it offloads all, which asks for least memory."""

    name = "vdnn-dyn"

    def variants(self) -> tuple[Policy, ...]:
        """In the order of the paper."""
        return VdnnNone(), VdnnConv(), Vdnn()


def _choose(tensors: Tensors, offload: Offload, *, name: str) -> NDArray[np.bool_]:
    saved = tensors.saved_activations()
    if offload is Offload.ALL:
        return saved
    if offload is Offload.CONV:
        return saved & np.isin(tensors.periods.storage, _inputs_of_convolutions(tensors.timeline, name=name))
    if (tensors.room(np.zeros_like(saved)) < 0).any():
        raise PolicyError(f"{name}: the step does not fit into fast memory without offload", policy=name)
    return np.zeros_like(saved)


def _inputs_of_convolutions(timeline: Timeline, *, name: str) -> NDArray[np.int32]:
    """Return the storages that convolutions of forward read and did not make."""
    convolves = np.array(["convolution" in operator for operator in timeline.operator_names])
    forward = convolves[timeline.slices.op] & (timeline.slices.phase == Phase.FORWARD)
    if not forward.any():
        raise PolicyError(
            f"{name}: the step has no convolution in forward, whose inputs it would offload: take vdnn-all",
            policy=name,
        )
    access = timeline.accesses
    touched = forward[slice_of_access(timeline)]
    storage = timeline.extents.storage[access.extent]
    results = np.unique(storage[touched & ~access.needs_content])
    return np.setdiff1d(storage[touched], results)


def _first_slice_of_operator(timeline: Timeline) -> NDArray[np.int64]:
    """Return the first slice of the operator of each slice."""
    op = timeline.slices.op
    starts = np.concatenate([[True], op[1:] != op[:-1]])
    return np.maximum.accumulate(np.where(starts, np.arange(len(op)), 0))


def _prefetch(tensors: Tensors, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Let each operator of backward begin the fetch of one later operator's inputs, up to the next product."""
    timeline, end = tensors.timeline, tensors.periods.end
    first = _first_slice_of_operator(timeline)
    due = np.unique(first[end[chosen] % tensors.num_slices]).tolist()
    backward = np.unique(first[timeline.slices.phase == Phase.BACKWARD]).tolist()
    products = np.unique(first[timeline.slices.matrix_flops > 0])
    reach = np.append(products, tensors.num_slices)[np.searchsorted(products, backward, side="right")]
    begun: dict[int, int] = {}
    waiting = 0
    for at, until in zip(backward, reach.tolist(), strict=True):
        while waiting < len(due) and due[waiting] <= at:
            waiting += 1
        if waiting < len(due) and due[waiting] <= until:
            begun[due[waiting]] = at
            waiting += 1
    operator = first[end % tensors.num_slices].tolist()
    return np.array([begun.get(o, e) for o, e in zip(operator, end.tolist(), strict=True)], np.int64)
