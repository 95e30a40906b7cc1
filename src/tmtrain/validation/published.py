"""Whole training runs beside what was published of them: Megatron-LM, MLPerf's ResNet-50 and BERT, watts of TPU v4.

Claimed: 10 % of the time of Megatron-LM, and the measured band of the power of TPU v4. Shown, not claimed: MLPerf. What its
programs fuse is not published. It was put together from rules when the measurements were known (Note [Passes] in
`tmtrain.validation.resnet50`, `tmtrain.validation.bert`), so agreement there is no prediction.
"""

from tmtrain.machine import Machine, load_machine
from tmtrain.machine.arrays import Products
from tmtrain.validation.bert import BertRun, sequences_per_s
from tmtrain.validation.comparison import Comparison
from tmtrain.validation.megatron import GptRun, Recompute, core_products, iteration_seconds, linear_products
from tmtrain.validation.resnet50 import Stack, image_joules, images_per_s
from tmtrain.validation.roofline import operand_bytes, work_joules

TIME_TOLERANCE = 0.10
CALIBRATED_ON = ("175B", "full")
"""Note [Efficiency] in `tmtrain.validation.roofline`."""
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
_RESNET: dict[str, tuple[str, Stack, float, str]] = {
    "TPU v3": ("znvme-g10", "compiler", 2003.0, "MLPerf training v0.7 logs, 16 chips"),
    "TPU v4": ("v4-slc", "compiler", 3451.0, "MLPerf training v1.0 logs, 64 chips"),
    "A100": ("a100-tlc5", "kernels", 3338.0, "MLPerf training v1.0 logs, one DGX"),
}
_MEAN_TOKENS = 256
"""Of 512: half is padding (Krell et al., arXiv 2107.02027), which NVIDIA's run removes (its flag ``unpad``)."""
_BERT: dict[str, tuple[str, BertRun, float, str]] = {
    "TPU v3": (
        "znvme-g10",
        BertRun(sequences=28, tokens=512),
        60.8,  # 1117 steps of 448 in 514.4 s, 16 chips
        "MLPerf training v0.7 logs, tpu-v3-32-TF2.0",
    ),
    "TPU v4": (
        "v4-slc",
        BertRun(sequences=32, tokens=512),
        137.2,  # 1953 steps of 256 in 455.6 s, 8 chips
        "MLPerf training v0.7 logs, tpu-v4-16-TF",
    ),
    "A100": (
        "a100-tlc5",
        BertRun(sequences=56, tokens=_MEAN_TOKENS, optimizer_shards=8),
        274.2,  # 2193.4 training_sequences_per_second on 8
        "MLPerf training v1.0 logs, dgxa100_ngc21.05_pytorch",
    ),
}


def compare() -> list[Comparison]:
    """Return the rows of all."""
    return [*_megatron_rows(), *_resnet_rows(), *_bert_rows(), *_power_rows()]


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
            model=images_per_s(machine=load_machine(preset), batch=BATCH, stack=stack),
            reference=images,
            tolerance=TIME_TOLERANCE,
            source=source,
            is_claimed=False,
        )
        for chip, (preset, stack, images, source) in _RESNET.items()
    ]


def _bert_rows() -> list[Comparison]:
    return [
        Comparison(
            case=f"BERT-large, {chip}",
            quantity="sequences per s and chip",
            model=sequences_per_s(run, machine=load_machine(preset)),
            reference=sequences,
            tolerance=TIME_TOLERANCE,
            source=source,
            is_claimed=False,
        )
        for chip, (preset, run, sequences, source) in _BERT.items()
    ]


def _power_rows() -> list[Comparison]:
    machine = load_machine("v4-slc")
    _, stack, images, log = _RESNET["TPU v4"]
    middle_w = (LEAST_W + MOST_W) / 2
    watts = {
        "ResNet-50 as published": (image_joules(machine=machine, batch=BATCH, stack=stack) * images, log),
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
