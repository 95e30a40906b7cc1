"""Attention with dropout leaves a seed: rows of it can run again and find there what they drew."""

import numpy as np
from tests.support.traces import tiny_trace

from tmtrain.lowering import lower
from tmtrain.machine import load_machine

ATTENTION = "aten._scaled_dot_product_flash_attention.default"


def test_rows_of_attention_are_recomputed_from_the_seed_that_it_left() -> None:
    trace = tiny_trace("gpt2-tiny")
    timeline = lower(trace, machine=load_machine("v4-slc"), fast_bytes=trace.footprint_bytes * 2)
    producers = timeline.producers
    found = [i for i, op in enumerate(producers.op.tolist()) if trace.operators.name[op] == ATTENTION]
    assert len(found) == 2
    for entry in found:
        producer = int(np.searchsorted(producers.op_ptr, entry, side="right")) - 1
        assert producers.rows[producer] == trace.samples
        touches = slice(int(producers.touch_ptr[entry]), int(producers.touch_ptr[entry + 1]))
        made_here = [
            (int(trace.storages.bytes[storage]), bool(reads), bool(writes), bool(follows))
            for storage, reads, writes, follows in zip(
                producers.touch_storage[touches],
                producers.touch_reads[touches],
                producers.touch_writes[touches],
                producers.touch_follows[touches],
                strict=True,
            )
            if trace.storages.birth_op[storage] == producers.op[entry]
        ]
        output, log_sum_exp = 2 * 2 * 16 * 16 * 2, 2 * 2 * 16 * 4
        assert made_here[:2] == [(output, False, True, True), (log_sum_exp, False, True, True)]
        assert all(reads and not writes and not follows for _, reads, writes, follows in made_here[2:])
        assert {size for size, *_ in made_here[2:]} <= {0, 8, 16}
