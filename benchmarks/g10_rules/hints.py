"""What a policy wants done at which kernel: its hints."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmtrain.importing import G10Workload

TO_GPU, EVICT_SSD, EVICT_CPU, FREE = range(4)
ACTIONS = {"to_gpu": TO_GPU, "evict_ssd": EVICT_SSD, "evict_cpu": EVICT_CPU, "free": FREE}
PREFETCH_DEGREE = 8
"""Kernels that DeepUM looks ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """In order of execution; those of kernel k are rows ``ptr[k]:ptr[k + 1]``."""

    ptr: NDArray[np.int64]
    """Shape (kernels + 2,): kernel number `kernels` is the first one of the next iteration, before its own."""
    tensor: NDArray[np.int64]
    action: NDArray[np.int64]


def no_hints(workload: G10Workload) -> Hints:
    """Return none: pure demand."""
    return _hints([], kernels=len(workload.kernels))


def planned_hints(folder: Path, workload: G10Workload, policy: str) -> Hints:
    """Return the plan that the artifact's planner made for `policy`, from plans.csv."""
    with (folder / "plans.csv").open(newline="") as recorded:
        rows = [
            (int(row["issue_kernel"]), int(row["tensor_id"]), ACTIONS[row["action"]])
            for row in csv.DictReader(recorded)
            if row["policy"] == policy
        ]
    return _hints(rows, kernels=len(workload.kernels))


def correlation_hints(workload: G10Workload) -> Hints:
    """Return DeepUM's: at each kernel fetch what the one `PREFETCH_DEGREE` later touches, in the artifact's order."""
    kernels = workload.kernels
    rows = [
        (k, tensor, TO_GPU)
        for k in range(len(kernels))
        for tensor in reversed(operands_of(workload, (k + PREFETCH_DEGREE) % len(kernels)))
    ]
    return _hints(rows, kernels=len(kernels))


def operands_of(workload: G10Workload, kernel: int) -> list[int]:
    """Return the inputs of a kernel, then the outputs that are no inputs."""
    inputs, outputs = workload.kernels.inputs[kernel], workload.kernels.outputs[kernel]
    return [*inputs, *(tensor for tensor in outputs if tensor not in inputs)]


def _hints(rows: list[tuple[int, int, int]], *, kernels: int) -> Hints:
    table = np.array(rows, np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Hints(
        ptr=np.searchsorted(table[:, 0], np.arange(kernels + 2)),
        tensor=table[:, 1].copy(),
        action=table[:, 2].copy(),
    )
