"""Whole training runs beside what was published of them: seconds of Megatron-LM, images of ResNet-50, watts of TPU v4.

Claimed: 10 % of the time of Megatron-LM, and the measured band of the power of TPU v4. Shown, not claimed: ResNet-50.
"""

from tmtrain.machine import Machine, load_machine
from tmtrain.machine.arrays import Products
from tmtrain.validate.comparison import Comparison
from tmtrain.validate.megatron import GptRun, Recompute, core_products, iteration_seconds, linear_products
from tmtrain.validate.resnet50 import image_joules, images_per_s
from tmtrain.validate.roofline import operand_bytes, work_joules

TIME_TOLERANCE = 0.10
CALIBRATED_ON = ("175B", "full")
"""Note [Efficiency] in `tmtrain.validate.roofline`."""
BATCH = 256
"""Images per chip. Anything from 64 to 408, as in the logs, gives the same throughput to 1 %."""
LEAST_W, MOST_W = 121.0, 192.0
"""Measured on TPU v4 in production."""

_MEGATRON = "Korthikanti et al., arXiv 2205.05198 (2022), table 5"
_POWER = "121 to 192 W measured, mean 170 W: Jouppi et al., ISCA 2023; utilisation: "
# hidden, layers, heads, stages, chunks, samples and number of micro-batches; seconds with full and selective recomputation
_RUNS = {
    "22B": ((6144, 48, 64, 1, 1, 4, 1), 1.42, 1.10),
    "175B": ((12288, 96, 96, 8, 3, 1, 64), 18.13, 13.75),
    "530B": ((20480, 105, 128, 35, 3, 1, 280), 49.05, 37.83),
    "1T": ((25600, 128, 160, 64, 1, 1, 512), 94.42, 71.49),
}
_RECOMPUTED: tuple[Recompute, Recompute] = ("full", "selective")
_RESNET = {
    "TPU v3": ("znvme-g10", 2003.0, "MLPerf training v0.7 logs, 16 chips"),
    "TPU v4": ("v4-slc", 3451.0, "MLPerf training v1.0 logs, 64 chips"),
    "A100": ("a100-tlc5", 3338.0, "MLPerf training v1.0 logs, one DGX"),
}


def compare() -> list[Comparison]:
    """Return the rows of all three."""
    return [*_megatron_rows(), *_resnet_rows(), *_power_rows()]


def megatron_run(name: str, *, recompute: Recompute) -> GptRun:
    """Return one of the runs of the paper.

    >>> megatron_run("1T", recompute="full").layers
    128
    """
    hidden, layers, heads, stages, chunks, micro_batch, micro_batches = _RUNS[name][0]
    return GptRun(
        hidden=hidden,
        layers=layers,
        heads=heads,
        stages=stages,
        chunks=chunks,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        recompute=recompute,
    )


def _megatron_rows() -> list[Comparison]:
    machine = load_machine("a100-tlc5")
    return [
        _megatron_row(name, recompute=recompute, seconds=seconds, machine=machine)
        for name, (_, *measured) in _RUNS.items()
        for recompute, seconds in zip(_RECOMPUTED, measured, strict=True)
    ]


def _megatron_row(name: str, *, recompute: Recompute, seconds: float, machine: Machine) -> Comparison:
    is_calibration = (name, recompute) == CALIBRATED_ON
    note = ", calibrated on it" if is_calibration else ""
    return Comparison(
        case=f"Megatron {name}, {recompute} recomputation, A100{note}",
        quantity="s per iteration",
        model=iteration_seconds(megatron_run(name, recompute=recompute), machine=machine),
        reference=seconds,
        tolerance=TIME_TOLERANCE,
        source=_MEGATRON,
        is_claimed=not is_calibration,
    )


def _resnet_rows() -> list[Comparison]:
    return [
        Comparison(
            case=f"ResNet-50, {chip}",
            quantity="images per s and chip",
            model=images_per_s(machine=load_machine(preset), batch=BATCH),
            reference=images,
            tolerance=TIME_TOLERANCE,
            source=source,
            is_claimed=False,
        )
        for chip, (preset, images, source) in _RESNET.items()
    ]


def _power_rows() -> list[Comparison]:
    machine = load_machine("v4-slc")
    _, images, log = _RESNET["TPU v4"]
    middle_w = (LEAST_W + MOST_W) / 2
    watts = {
        "ResNet-50 as published": (image_joules(machine=machine, batch=BATCH) * images, log),
        "transformer at 57.8 %": (
            _transformer_w(machine, utilisation=0.578),
            "PaLM, arXiv 2204.02311",
        ),
    }
    return [
        Comparison(
            case=f"TPU v4, {case}",
            quantity="W (121 to 192 measured)",
            model=standing_w(machine) + working_w,
            reference=middle_w,
            tolerance=MOST_W / middle_w - 1,
            source=_POWER + source,
        )
        for case, (working_w, source) in watts.items()
    ]


def standing_w(machine: Machine) -> float:
    """Return what the chip and its whole fast memory draw whatever happens."""
    background_w = machine.fast.background_w_per_byte * machine.fast.capacity_bytes
    return machine.compute.static_power_w + background_w


def _transformer_w(machine: Machine, *, utilisation: float) -> float:
    """Return the watts of the products of a large transformer's layers at a utilisation of the matrix units."""
    run = megatron_run("175B", recompute="full")
    forward = Products.joined([linear_products(run), core_products(run)])
    products = Products.joined([forward, forward.backward])
    joules = work_joules(products, machine=machine, moved_bytes=float(operand_bytes(products).sum()))
    return joules / float(products.flops.sum()) * utilisation * _peak_flops_per_s(machine)


def _peak_flops_per_s(machine: Machine) -> float:
    arrays = machine.compute
    return 2 * arrays.num_arrays * arrays.array_rows * arrays.array_columns * arrays.clock_hz
