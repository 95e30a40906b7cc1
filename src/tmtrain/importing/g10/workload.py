"""A workload of the G10 artifact (MICRO 2023), dumped as plain data: tensors.csv, kernels.csv and machine.json.

Source: github.com/platformxlab/G10, commit de2c8c6. What the artifact's simulator reads is there as it is: kernels in
order with the cycles that they were measured to take on an A100, the tensors that each reads and writes, and when each
tensor lives. docs/outside.md says what becomes of it here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.g10.csv_rows import Line, read_lines

ROLES = ("activation", "weight", "net_input", "grad_weight", "grad_activation", "loss_grad", "workspace")
PHASES = ("forward", "loss", "backward", "update")
_TENSOR_FIELDS = (
    "tensor_id",
    "kind",
    "role",
    "bytes",
    "start_page",
    "first_kernel",
    "last_kernel",
    "death_kernel",
    "op_type",
)
_KERNEL_FIELDS = (
    "kernel_id",
    "type",
    "phase",
    "exec_cycles",
    "inputpf_cycles",
    "pf_cycles",
    "inputs",
    "outputs",
)


class G10Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """Section "gpu" of machine.json."""

    clock_hz: int
    memory_bytes: int


class G10Host(msgspec.Struct, frozen=True, kw_only=True):
    """Section "host" of machine.json."""

    memory_bytes: int


class G10Links(msgspec.Struct, frozen=True, kw_only=True):
    """Section "links" of machine.json: each direction by itself."""

    gpu_pcie_bytes_per_s: float
    ssd_bytes_per_s: float


class G10Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Section "workload" of machine.json."""

    model: str
    batch: int
    kernels: int
    tensors: int
    dtype_bytes: int


class G10Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of machine.json."""

    workload: G10Counts
    gpu: G10Gpu
    page_bytes: int
    host: G10Host
    links: G10Links


@dataclass(frozen=True, slots=True, kw_only=True)
class G10Tensors:
    """One row per tensor, by id."""

    role: tuple[str, ...]
    """One of `ROLES`."""
    op_type: tuple[str, ...]
    """Of the operator that writes it first (activation) or consumes it (others)."""
    is_weight: NDArray[np.bool_]
    """Lives always; all others within the step."""
    bytes: NDArray[np.int64]
    """Whole pages."""
    start_page: NDArray[np.int64]
    """In the artifact's address space."""
    first_kernel: NDArray[np.int32]
    """First use."""
    death_kernel: NDArray[np.int32]
    """First kernel at which the content is dead; -1 for weights."""

    def __len__(self) -> int:
        return len(self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class G10Kernels:
    """One row per kernel, in order of execution."""

    name: tuple[str, ...]
    phase: tuple[str, ...]
    """One of `PHASES`."""
    exec_cycles: NDArray[np.int64]
    """With all data in GPU memory."""
    inputpf_cycles: NDArray[np.int64]
    """Measured with the outputs faulting."""
    pf_cycles: NDArray[np.int64]
    """Measured with everything faulting."""
    inputs: tuple[tuple[int, ...], ...]
    """Tensor ids, in the artifact's own order."""
    outputs: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class G10Workload:
    """One training step of the artifact and the machine that it was simulated on."""

    machine: G10Machine
    tensors: G10Tensors
    kernels: G10Kernels


def is_g10(path: Path) -> bool:
    """Whether `path` looks like such a folder.

    >>> is_g10(Path("."))
    False
    """
    return (path / "kernels.csv").is_file() or (path / "tensors.csv").is_file()


def load_g10(folder: Path) -> G10Workload:
    """Read the workload in `folder`.

    Raises:
        InputError: a file is missing.
        FileFormatError: a cell makes no sense, a table is cut off, or the tables contradict each other; names file, line
            and field.
    """
    machine = _read_machine(folder / "machine.json")
    kernels = _read_kernels(folder / "kernels.csv", machine.workload)
    tensors = _read_tensors(folder / "tensors.csv", machine, uses=_uses(kernels, machine.workload.tensors))
    return G10Workload(machine=machine, tensors=tensors, kernels=kernels)


def _read_machine(path: Path) -> G10Machine:
    try:
        machine = msgspec.json.decode(path.read_bytes(), type=G10Machine)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{path}: {error}", path=path) from error
    numbers: dict[str, Any] = {
        "workload.batch": machine.workload.batch,
        "workload.dtype_bytes": machine.workload.dtype_bytes,
        "gpu.clock_hz": machine.gpu.clock_hz,
        "gpu.memory_bytes": machine.gpu.memory_bytes,
        "page_bytes": machine.page_bytes,
    }
    for field, value in numbers.items():
        if value <= 0:
            raise FileFormatError(
                f"{path}, field {field!r}: {value} needs to be above 0", path=path, field=field
            )
    return machine


def _read_kernels(path: Path, counts: G10Counts) -> G10Kernels:
    lines = list(read_lines(path, fields=_KERNEL_FIELDS))
    _check_ids(lines, "kernel_id", count=counts.kernels, path=path)
    last = counts.tensors - 1
    return G10Kernels(
        name=tuple(line.word("type") for line in lines),
        phase=tuple(line.word("phase", among=PHASES) for line in lines),
        exec_cycles=np.array([line.integer("exec_cycles", low=0) for line in lines], np.int64),
        inputpf_cycles=np.array([line.integer("inputpf_cycles", low=0) for line in lines], np.int64),
        pf_cycles=np.array([line.integer("pf_cycles", low=0) for line in lines], np.int64),
        inputs=tuple(line.integers("inputs", low=0, high=last) for line in lines),
        outputs=tuple(_outputs(line, last=last) for line in lines),
    )


def _outputs(line: Line, *, last: int) -> tuple[int, ...]:
    """Return what a kernel writes; its workspace is one of its outputs, whether the table lists it there or apart."""
    outputs = line.integers("outputs", low=0, high=last)
    apart = line.integers("workspace", low=0, high=last) if "workspace" in line.cells else ()
    return (*outputs, *(tensor for tensor in apart if tensor not in outputs))


def _read_tensors(path: Path, machine: G10Machine, *, uses: list[tuple[int, int]]) -> G10Tensors:
    lines = list(read_lines(path, fields=_TENSOR_FIELDS))
    _check_ids(lines, "tensor_id", count=machine.workload.tensors, path=path)
    last = machine.workload.kernels - 1
    for line, (first_use, last_use) in zip(lines, uses, strict=True):
        _check_life(line, first_use=first_use, last_use=last_use, page_bytes=machine.page_bytes)
    return G10Tensors(
        role=tuple(line.word("role", among=ROLES) for line in lines),
        op_type=tuple(line.word("op_type") for line in lines),
        is_weight=np.array([line.word("kind") == "weight" for line in lines]),
        bytes=np.array([line.integer("bytes", low=1) for line in lines], np.int64),
        start_page=np.array([line.integer("start_page", low=0) for line in lines], np.int64),
        first_kernel=np.array([line.integer("first_kernel", low=0, high=last) for line in lines], np.int32),
        death_kernel=np.array(
            [line.integer("death_kernel", low=-1, high=last + 1) for line in lines], np.int32
        ),
    )


def _check_ids(lines: list[Line], field: str, *, count: int, path: Path) -> None:
    """Check that the table is whole and in order: ids are row numbers."""
    for row, line in enumerate(lines):
        if line.cells[field] != f"{row}":
            raise line.wrong(field, f"{row}, the number of its row")
    if len(lines) != count:
        raise FileFormatError(
            f"{path}, line {len(lines) + 2}, field {field!r}: the table ends after {len(lines)} rows, machine.json "
            f"says {count}; was the file cut off?",
            path=path,
            line=len(lines) + 2,
            field=field,
        )


def _uses(kernels: G10Kernels, count: int) -> list[tuple[int, int]]:
    """First and last kernel that touches each tensor; (-1, -1) where none does."""
    first, last = [-1] * count, [-1] * count
    for k, touched in enumerate(zip(kernels.inputs, kernels.outputs, strict=True)):
        for tensor in (*touched[0], *touched[1]):
            first[tensor] = k if first[tensor] < 0 else first[tensor]
            last[tensor] = k
    return list(zip(first, last, strict=True))


def _check_life(line: Line, *, first_use: int, last_use: int, page_bytes: int) -> None:
    is_weight = line.word("kind", among=("weight", "intermediate")) == "weight"
    if line.integer("first_kernel", low=-1) != first_use:
        raise line.wrong("first_kernel", f"{first_use}, as kernels.csv has it")
    if line.integer("last_kernel", low=-1) != last_use:
        raise line.wrong("last_kernel", f"{last_use}, as kernels.csv has it")
    death = line.integer("death_kernel", low=-1)
    if is_weight and death != -1:
        raise line.wrong("death_kernel", "-1: weights never die")
    if not is_weight and death <= last_use:
        raise line.wrong("death_kernel", f"above {last_use}, the last kernel that uses the tensor")
    if line.integer("bytes", low=1) % page_bytes:
        raise line.wrong("bytes", f"a multiple of {page_bytes}, the page of machine.json")
