"""The DeepSpeed configuration: documented keys only, the plan's numbers, and a text about the rest."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.exported import LAYERS, gpt2_ledger

from tmtrain.errors import InputError
from tmtrain.exports.deepspeed import make_deepspeed_config, write_deepspeed_config
from tmtrain.exports.example import example_ledger
from tmtrain.trace import Role

# Keys and types as documented: deepspeed.ai/docs/config-json (docs/_pages/config-json.md of DeepSpeed) and the models in
# deepspeed/runtime/zero/{config,offload_config}.py; read 2026-11-24.
DOCUMENTED: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": int,
    "bf16": {"enabled": bool},
    "zero_optimization": {
        "stage": int,
        "contiguous_gradients": bool,
        "overlap_comm": bool,
        "sub_group_size": int,
        "stage3_max_live_parameters": int,
        "stage3_prefetch_bucket_size": int,
        "stage3_param_persistence_threshold": int,
        "offload_optimizer": {
            "device": str,
            "nvme_path": str,
            "pin_memory": bool,
            "ratio": float,
            "buffer_count": int,
            "pipeline_read": bool,
            "pipeline_write": bool,
            "fast_init": bool,
        },
        "offload_param": {
            "device": str,
            "nvme_path": str,
            "pin_memory": bool,
            "buffer_count": int,
            "buffer_size": int,
            "max_in_cpu": int,
        },
    },
    "aio": {
        "block_size": int,
        "queue_depth": int,
        "thread_count": int,
        "single_submit": bool,
        "overlap_events": bool,
    },
    "activation_checkpointing": {
        "partition_activations": bool,
        "cpu_checkpointing": bool,
        "contiguous_memory_optimization": bool,
        "number_checkpoints": (int, type(None)),
        "synchronize_checkpoint_boundary": bool,
        "profile": bool,
    },
}


def _check(config: dict[str, Any], documented: dict[str, Any]) -> None:
    for key, value in config.items():
        assert key in documented, key
        if isinstance(documented[key], dict):
            _check(value, documented[key])
        else:
            assert isinstance(value, documented[key]), key


@pytest.mark.parametrize("device", ["nvme", "cpu"])
@pytest.mark.parametrize("fast", ["30%", "60%", "example"])
def test_keys_are_documented_and_sizes_are_counts(fast: str, device: Any) -> None:
    ledger = example_ledger() if fast == "example" else gpt2_ledger(fast)
    config = make_deepspeed_config(ledger, device=device).config
    _check(config, DOCUMENTED)
    zero = config["zero_optimization"]
    assert zero["stage"] == 3
    assert all(zero[key] >= 0 for key in zero if key.startswith(("stage3", "sub")))
    for part in (zero.get("offload_optimizer", {}), zero.get("offload_param", {})):
        # https://github.com/deepspeedai/DeepSpeed/issues/5508
        assert not ("ratio" in part and part["device"] == "nvme")
    assert ("aio" in config) == (
        device == "nvme" and ("offload_optimizer" in zero or "offload_param" in zero)
    )


def test_the_ratio_is_the_share_of_the_optimizer_state_that_moves() -> None:
    ledger = gpt2_ledger("60%")
    own = (ledger.trace.storages.role == Role.OPTIMIZER_STATE) & (ledger.pages() > 0)
    share = ledger.ever_moved()[own] / ledger.pages()[own]
    wanted = float(share @ ledger.trace.storages.bytes[own] / ledger.trace.storages.bytes[own].sum())
    zero = make_deepspeed_config(ledger, device="cpu").config["zero_optimization"]
    assert 0 < wanted < 1
    assert zero["offload_optimizer"]["ratio"] == pytest.approx(wanted, abs=1e-4)


def test_buffers_hold_the_largest_parameter() -> None:
    ledger = gpt2_ledger("20%")
    zero = make_deepspeed_config(ledger).config["zero_optimization"]
    largest, total = (
        4 * 64 * 64,
        int(ledger.trace.storages.bytes[ledger.trace.storages.role == Role.PARAMETER].sum()) // 4,
    )
    assert zero["offload_param"]["buffer_size"] == zero["sub_group_size"] == largest
    assert largest <= zero["stage3_prefetch_bucket_size"] <= zero["stage3_max_live_parameters"] <= total


def test_parameters_that_stay_are_no_more_than_the_plan_keeps() -> None:
    ledger = gpt2_ledger("60%")
    config = make_deepspeed_config(ledger, device="cpu").config["zero_optimization"]
    own = ledger.trace.storages.role == Role.PARAMETER
    sizes = ledger.trace.storages.bytes[own]
    kept = float((1 - ledger.ever_moved()[own] / np.maximum(ledger.pages()[own], 1)) @ sizes)
    assert sizes[sizes // 4 <= config["stage3_param_persistence_threshold"]].sum() <= kept + 1


def test_the_drive_is_kept_busy() -> None:
    ledger = gpt2_ledger("30%")
    slow = replace(ledger.machine.slow, read_latency_s=0.1)
    aio = make_deepspeed_config(replace(ledger, machine=replace(ledger.machine, slow=slow))).config["aio"]
    assert aio["queue_depth"] == math.ceil(ledger.machine.read_bytes_per_s * 0.1 / aio["block_size"])


def test_recomputation_has_its_section() -> None:
    assert len(gpt2_ledger("30%").plan.recomputations)
    section = make_deepspeed_config(gpt2_ledger("30%")).config["activation_checkpointing"]
    assert section["number_checkpoints"] == LAYERS
    assert "activation_checkpointing" not in make_deepspeed_config(example_ledger()).config


def test_the_text_says_what_is_lost(tmp_path: Path) -> None:
    config = make_deepspeed_config(gpt2_ledger("30%"))
    beside = write_deepspeed_config(config, tmp_path / "ds.json")
    assert json.loads((tmp_path / "ds.json").read_text()) == config.config
    text = " ".join(beside.read_text().split())
    assert beside.name == "ds.README.txt"
    for word in (
        "What it cannot say",
        "set it to a folder on your drive",
        "switches nothing on by itself",
        "issues/5508",
    ):
        assert word in text


def test_a_step_without_parameters_is_refused() -> None:
    ledger = example_ledger()
    storages = replace(ledger.trace.storages, role=np.full(ledger.storages, Role.TEMPORARY, np.int8))
    with pytest.raises(InputError, match="has no parameters"):
        make_deepspeed_config(replace(ledger, trace=replace(ledger.trace, storages=storages)))
