"""What passing through on-chip SRAM in tiles costs, beside "every operand crosses fast memory once".

For every zoo model and machine, over all matrix products of a step (mm, addmm, bmm): bytes between fast memory and SRAM
with the best tiling, over bytes with every operand once; and the same for the seconds of the products, each of which takes
the longer of its matrix time and its fast-memory time. Then the largest product of each model and its tiling, and what all
of it is of a whole step: convolutions, attention and everything else included, without the flash tier.

    python benchmarks/tiling.py                                 # about a minute: benchmarks/tiling.md
    python benchmarks/tiling.py --models gpt2 --machines v4-slc
"""

import argparse
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from tmtrain import capture_model, load_machine
from tmtrain.lowering.cost import Loads, SliceWork, operator_bytes, operator_loads, slice_work
from tmtrain.lowering.energy import standing_power, work_energy_j
from tmtrain.machine import Machine, matrix_seconds
from tmtrain.machine.tiling import Scratchpad, Tiling, best_tiling, compulsory_bytes
from tmtrain.trace import Trace

MODELS = ("gpt2", "gpt2-xl", "bert-large", "vit-large", "t5-large", "llama-2-7b", "gpt3-175b", "resnet-152")
MACHINES = ("v4-slc", "znvme-g10", "v5p-hbf", "a100-tlc5")
PRODUCTS = ("aten.mm.default", "aten.addmm.default", "aten.bmm.default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A shape that a step multiplies, and how it passes through SRAM."""

    shape: tuple[int, int, int, int]
    times: int
    tiling: Tiling
    once_bytes: int
    matrix_s: float
    once_s: float
    """The longer of matrix time and fast-memory time, every operand once."""
    tiled_s: float

    @property
    def flops(self) -> int:
        """Of one."""
        batch, m, n, k = self.shape
        return 2 * batch * m * n * k


def products_of(trace: Trace, machine: Machine) -> list[Product]:
    """Tile every distinct product of a step."""
    o = trace.operators
    rows = [row for row, name in enumerate(o.name) if name in PRODUCTS]
    shapes = Counter(zip(*(column[rows].tolist() for column in (o.batch, o.m, o.n, o.k)), strict=True))
    return [tiled(shape, times, machine) for shape, times in shapes.items()]


def tiled(shape: tuple[int, int, int, int], times: int, machine: Machine) -> Product:
    """Tile one."""
    sizes = dict(zip(("batch", "m", "n", "k"), shape, strict=True))
    tiling = best_tiling(scratchpad=Scratchpad.of(machine.compute), **sizes)
    once = compulsory_bytes(**sizes)
    rate = machine.fast.bandwidth_bytes_per_s * machine.fast.efficiency
    matrix_s = float(matrix_seconds(compute=machine.compute, **sizes))
    return Product(
        shape=shape,
        times=times,
        tiling=tiling,
        once_bytes=once,
        matrix_s=matrix_s,
        once_s=max(matrix_s, once / rate),
        tiled_s=max(matrix_s, tiling.total_bytes / rate),
    )


def print_step(name: str, machine: Machine, products: list[Product]) -> None:
    """Print the line of a whole step."""
    times = np.array([product.times for product in products])
    once, best = (
        times @ [getattr(product, column) for product in products] for column in ("once_s", "tiled_s")
    )
    once_bytes = float(times @ [product.once_bytes for product in products])
    moved = float(times @ [product.tiling.total_bytes for product in products])
    print(
        f"| {name} | {machine.name} | {len(products)} | {once_bytes / 1e9:.1f} | {moved / 1e9:.1f} | "
        f"{moved / once_bytes:.2f} | {best / once - 1:+.2%} |"
    )


def print_largest(name: str, machine: Machine, products: list[Product]) -> None:
    """Print the line of the product with the most operations."""
    largest = max(products, key=lambda product: product.flops)
    t = largest.tiling
    batch, m, n, k = largest.shape
    print(
        f"| {name} | {machine.name} | {batch} x {m} x {n} x {k} | {t.m} x {t.n} x {t.k} | {t.innermost} | "
        f"{t.used_bytes / 2**20:.0f} | {t.total_bytes / largest.once_bytes:.2f} | "
        f"{largest.flops / t.total_bytes:.0f} | {largest.tiled_s / largest.matrix_s:.2f} |"
    )


def print_charged(name: str, machine: Machine, trace: Trace) -> None:
    """Print the line of what `lower` charges a step with everything resident, beside every operand once."""
    loads = operator_loads(trace, machine=machine)
    once, tiled_ = (
        whole_step(some, trace, machine) for some in (replace(loads, fast_bytes=operator_bytes(trace)), loads)
    )
    seconds = [float(work.duration_s.sum()) for work in (once, tiled_)]
    watts = sum(standing_power(machine, fast_bytes=trace.footprint_bytes, has_flash=False).values())
    joules = [
        float(work_energy_j(work, machine=machine).sum()) + watts * s
        for work, s in zip((once, tiled_), seconds, strict=True)
    ]
    moved = float(tiled_.fast_bytes.sum() / once.fast_bytes.sum())
    print(
        f"| {name} | {machine.name} | {moved:.3f} | {seconds[0]:.4g} | {seconds[1] / seconds[0] - 1:+.3%} | "
        f"{joules[0]:.4g} | {joules[1] / joules[0] - 1:+.2%} |"
    )


def whole_step(loads: Loads, trace: Trace, machine: Machine) -> SliceWork:
    """Price all operators of a step, each in one slice."""
    count = len(trace.operators)
    return slice_work(loads, machine, share=np.ones(count), dims=np.ones((count, 4)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="tiles against every operand once")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--machines", nargs="+", default=MACHINES)
    args = parser.parse_args()
    machines = [load_machine(name) for name in args.machines]
    traces = {name: capture_model(name) for name in args.models}
    tables = [
        (name, machine, products_of(trace, machine)) for name, trace in traces.items() for machine in machines
    ]
    print("| model | machine | shapes | once, GB | tiled, GB | tiled / once | seconds of the products |")
    print("|---|---|---|---|---|---|---|")
    for row in tables:
        print_step(*row)
    print(
        "\n| model | machine | largest product, batch x M x N x K | tile | innermost | SRAM, MiB | tiled / once "
        "| flop per byte | time / matrix time |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in tables:
        print_largest(*row)
    print("\n| model | machine | fast bytes, tiled / once | step, s | tiled | step, J | tiled |")
    print("|---|---|---|---|---|---|---|")
    for name, machine, _ in tables:
        print_charged(name, machine, traces[name])


if __name__ == "__main__":
    main()
