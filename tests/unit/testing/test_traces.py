"""Traces from a few words are traces as capture makes them."""

from pathlib import Path

import numpy as np
import pytest

from tmtrain import load_machine, load_trace, lower, make_policy, save_trace, simulate
from tmtrain.errors import InputError
from tmtrain.testing import make_timeline, make_trace
from tmtrain.trace import Operands, Phase, Role

PAGE = 4096
WORDS = ["w:r x:r h:new", "h:r y:new", "y:r h:r g:new", "w:rw g:r"]
SIZES = {"w": 2 * PAGE, "x": PAGE, "h": PAGE, "y": PAGE, "g": 2 * PAGE}


def test_births_deaths_and_roles_follow_from_the_words() -> None:
    storages = make_trace(WORDS, sizes=SIZES, roles={"g": Role.GRADIENT}).storages
    assert storages.persistent.tolist() == [True, True, False, False, False]
    assert storages.birth_op.tolist() == [0, 0, 0, 1, 2]
    assert storages.death_op.tolist() == [4, 4, 3, 3, 4]
    persistent, temporary = [Role.PARAMETER] * 2, [Role.ACTIVATION] * 2
    assert storages.role.tolist() == [*persistent, *temporary, Role.GRADIENT]


def test_operands_stand_by_operator_arguments_first() -> None:
    operands = make_trace(["h:new w:r", "h:rw"], sizes={"w": PAGE, "h": PAGE}).operands
    assert operands.op.tolist() == [0, 0, 1]
    assert operands.position.tolist() == [0, Operands.RESULT, 0]
    assert operands.storage.tolist() == [0, 1, 1]
    assert operands.allocates.tolist() == [False, True, False]


def test_it_can_be_saved_lowered_and_simulated(tmp_path: Path) -> None:
    trace = make_trace(
        WORDS, sizes=SIZES, phases=[Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER]
    )
    save_trace(trace, tmp_path / "made.trace")
    assert load_trace(tmp_path / "made.trace").storages.name == trace.storages.name
    machine = load_machine("v4-slc")
    timeline = lower(trace, machine=machine, fast_bytes=5 * PAGE)
    policy = make_policy("lru")
    result = simulate(policy.decide(timeline, machine=machine), machine=machine, policy=policy.name)
    assert result.bytes_in > 0
    assert np.all(timeline.slices.duration_s > 0)


@pytest.mark.parametrize("word", ["w", "w:", "w:x", "nobody:r"])
def test_a_word_that_is_no_use_is_named(word: str) -> None:
    with pytest.raises(InputError, match=f"{word!r}: write STORAGE:HOW"):
        make_trace([word], sizes={"w": PAGE})
    with pytest.raises(InputError, match=f"{word!r}: write EXTENT:HOW"):
        make_timeline([word], pages={"w": 1}, fast_pages=2)


def test_a_size_that_is_no_whole_number_is_named() -> None:
    with pytest.raises(InputError, match="w has 5 bytes"):
        make_trace(["w:r"], sizes={"w": 5})
