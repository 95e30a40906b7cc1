"""A workload of the G10 artifact as a Trace.

There is one operator per kernel, which is never cut, and one storage per tensor, which is touched as a whole. The measured
times come along, at the artifact's clock. FLOPs are unknown and said to be zero, so results count no energy of arithmetic,
and nothing can be recomputed. Weights persist, and each is written in place by its update kernel: the step is a cycle.
"""

from dataclasses import dataclass, field

import numpy as np

from tmtrain.importing.g10.workload import G10Workload
from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import OperandRow, operands_from_rows

_ROLES = {
    "activation": Role.ACTIVATION,
    "weight": Role.PARAMETER,
    "net_input": Role.INPUT,
    "grad_weight": Role.GRADIENT,
    "grad_activation": Role.TEMPORARY,
    "loss_grad": Role.TEMPORARY,
    "workspace": Role.TEMPORARY,
}
_PHASES = {
    "forward": Phase.FORWARD,
    "loss": Phase.LOSS,
    "backward": Phase.BACKWARD,
    "update": Phase.OPTIMIZER,
}


def trace_of_g10(workload: G10Workload) -> Trace:
    """Return the step of `workload`.

    What the artifact calls weights contains broadcast operands with a batch dimension; they are parameters here too. Its
    net_input tensors are read before anything wrote them: memory that is taken, never loaded.
    """
    counts, machine = workload.machine.workload, workload.machine
    return Trace(
        model=counts.model,
        samples=counts.batch,
        options={
            "source": "G10 artifact (MICRO 2023)",
            "gpu_memory_bytes": machine.gpu.memory_bytes,
            "clock_hz": machine.gpu.clock_hz,
        },
        storages=_storages(workload),
        operators=_operators(workload),
        operands=_operands(workload),
    )


def _storages(workload: G10Workload) -> Storages:
    tensors, end = workload.tensors, len(workload.kernels)
    return Storages(
        name=tuple(
            f"{role}#{tensor}:{op}"
            for tensor, (role, op) in enumerate(zip(tensors.role, tensors.op_type, strict=True))
        ),
        bytes=tensors.bytes,
        dtype=(f"float{8 * workload.machine.workload.dtype_bytes}",) * len(tensors),
        role=np.array([_ROLES[role] for role in tensors.role], np.int8),
        persistent=tensors.is_weight,
        birth_op=np.where(tensors.is_weight, 0, tensors.first_kernel).astype(np.int32),
        death_op=np.where(tensors.is_weight, end, tensors.death_kernel).astype(np.int32),
        module=("",) * len(tensors),
    )


def _operators(workload: G10Workload) -> Operators:
    kernels = workload.kernels
    zeros, false = np.zeros(len(kernels), np.int64), np.zeros(len(kernels), np.bool_)
    return Operators(
        name=tuple(f"g10.{name}" for name in kernels.name),
        module=("",) * len(kernels),
        phase=np.array([_PHASES[phase] for phase in kernels.phase], np.int8),
        flops=zeros,
        batch=zeros,
        m=zeros,
        n=zeros,
        k=zeros,
        is_view=false,
        is_pointwise=false,
        is_random=false,
        duration_s=kernels.exec_cycles / workload.machine.gpu.clock_hz,
    )


@dataclass(slots=True)
class _OperandRows:
    """Operands that grow kernel by kernel."""

    sizes: list[int]
    itemsize: int
    seen: set[int]
    """Tensors that have memory: at first the weights."""
    rows: list[OperandRow] = field(default_factory=list[OperandRow])

    def add(self, kernel: int, position: int, tensor: int, *, reads: bool, writes: bool) -> None:
        """Add one operand, the whole of its tensor."""
        size = self.sizes[tensor]
        row = OperandRow(
            op=kernel,
            position=position,
            item=0,
            storage=tensor,
            reads=reads,
            writes=writes,
            allocates=writes and tensor not in self.seen,
            offset_bytes=0,
            span_bytes=size,
            itemsize=self.itemsize,
            shape=(size // self.itemsize,),
            stride=(1,),
        )
        self.rows.append(row)
        self.seen.add(tensor)


def _operands(workload: G10Workload) -> Operands:
    kernels, tensors = workload.kernels, workload.tensors
    operands = _OperandRows(
        sizes=tensors.bytes.tolist(),
        itemsize=workload.machine.workload.dtype_bytes,
        seen=set(np.flatnonzero(tensors.is_weight).tolist()),
    )
    for kernel, (inputs, outputs) in enumerate(zip(kernels.inputs, kernels.outputs, strict=True)):
        for position, tensor in enumerate(inputs):
            operands.add(kernel, position, tensor, reads=True, writes=tensor in outputs)
        for index, tensor in enumerate(outputs):
            if tensor not in inputs:
                operands.add(kernel, Operands.RESULT + index, tensor, reads=False, writes=True)
    return operands_from_rows(operands.rows)
