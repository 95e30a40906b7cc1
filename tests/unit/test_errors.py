"""Errors carry what their message says as fields, so that a program need not read the message."""

import errno
import inspect
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.simulated import decided, pages_per_second, step
from tests.support.timelines import make_timeline

import tmtrain
from tmtrain import errors
from tmtrain.errors import (
    CaptureError,
    FileFormatError,
    FlashError,
    InfeasibleError,
    PlanRefutedError,
    PolicyError,
    SolverError,
    TimeLimitError,
    TmtrainError,
)
from tmtrain.importing import import_trace
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import Limits, solve
from tmtrain.policies import make_policy
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.trace import example_trace

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__
]
MACHINE = tmtrain.load_machine("v4-slc")


def test_the_tree_that_is_drawn_is_the_tree_of_classes() -> None:
    drawn: list[tuple[str, int]] = []
    for line in (errors.__doc__ or "").split("::")[1].split("What a message")[0].splitlines():
        name = re.search(r"\w+Error", line)
        if name is not None:
            drawn.append((name[0], name.start()))
    assert {name for name, _ in drawn} == {kind.__name__ for kind in CLASSES}
    for number, (name, depth) in enumerate(drawn[1:], start=1):
        base = next(above for above, further_left in reversed(drawn[:number]) if further_left < depth)
        assert getattr(errors, name).__base__.__name__ == base


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if "__init__" in vars(kind)])
def test_each_field_is_explained_optional_and_survives_a_process_boundary(kind: type[TmtrainError]) -> None:
    names = [name for name in inspect.signature(kind).parameters if name != "message"]
    bare = kind("what happened")
    assert str(bare) == "what happened"
    explained = "".join(base.__doc__ or "" for base in kind.__mro__ if issubclass(base, TmtrainError))
    for name in names:
        assert getattr(bare, name) is None
        assert f"        {name}: " in f"    {explained}", name
    full = kind("what happened", **{name: "a" if name in ("path", "folder") else 7 for name in names})
    copy = pickle.loads(pickle.dumps(full))
    assert str(copy) == "what happened"
    assert vars(copy) == vars(full)
    assert None not in vars(copy).values()


def test_an_operator_that_does_not_fit() -> None:
    with pytest.raises(InfeasibleError) as caught:
        tmtrain.lower(example_trace(), machine=MACHINE, fast_bytes=4096)
    error = caught.value
    assert error.limit == "memory"
    assert f"--fast {error.needed_bytes}B" in str(error)
    assert error.capacity_bytes == 4096
    assert error.operator is not None
    assert f"operator {error.operator_index} ({error.operator}" in str(error)


def test_a_slice_that_does_not_fit() -> None:
    timeline = make_timeline(["a:r", "a:r b:r"], pages={"a": 2, "b": 3}, fast_pages=4)
    with pytest.raises(InfeasibleError) as caught:
        build_problem(timeline)
    error = caught.value
    assert (error.needed_bytes, error.capacity_bytes) == (5 * 4096, 4 * 4096)
    assert (error.slice_index, error.operator_index, error.operator) == (1, 1, timeline.operator_names[1])


def test_too_few_writes() -> None:
    timeline = tmtrain.lower(example_trace(), machine=MACHINE, fast_bytes=12 << 10)
    with pytest.raises(InfeasibleError) as caught:
        tmtrain.plan(timeline, machine=MACHINE, recompute=False, write_budget_bytes=1.0)
    error = caught.value
    assert (error.limit, error.capacity_bytes) == ("writes", 1)
    assert error.needed_bytes is not None
    assert f"({error.needed_bytes}B," in str(error)


def test_no_time_for_a_programme() -> None:
    timeline = tmtrain.lower(example_trace(), machine=MACHINE, fast_bytes=12 << 10)
    with pytest.raises(SolverError) as caught:
        solve(
            build_problem(timeline),
            timeline=timeline,
            machine=MACHINE,
            objective=make_objective("energy", timeline=timeline, machine=MACHINE),
            limits=Limits(time_limit_s=0.0),
        )
    error = caught.value
    assert isinstance(error, TimeLimitError)
    assert error.time_limit_s == 0.0
    assert f"{error.num_columns} columns" in str(error)


def test_a_policy_without_an_answer() -> None:
    timeline = tmtrain.lower(example_trace(), machine=MACHINE, fast_bytes=20 << 10)
    with pytest.raises(PolicyError, match="convolution") as caught:
        make_policy("vdnn-conv").decide(timeline, machine=MACHINE)
    assert caught.value.policy == "vdnn-conv"


def test_a_plan_that_breaks_a_rule() -> None:
    machine = pages_per_second(write=0.5)
    timeline = step(["a:rw", "t:new", "", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={1: "t"})
    decision = decided("tmtrain", timeline, machine)
    assert decision.plan is not None
    moves = decision.plan.transfers
    none = replace(moves, **{name: getattr(moves, name)[:0] for name in moves.__slots__})
    idle = replace(decision, plan=replace(decision.plan, transfers=none))
    with pytest.raises(PlanRefutedError, match="can never start") as caught:
        tmtrain.simulate(idle, machine=machine, policy="idle")
    error = caught.value
    assert (error.slice_index, error.operator_index) == (1, 1)
    assert (error.capacity_bytes, error.held_bytes, error.reserved_bytes) == (2 * 4096, 2 * 4096, 0)


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"format": "tmtrain-checkpoint-policy", "version": 99}))
    with pytest.raises(FileFormatError) as caught:
        tmtrain.load_checkpoint_policy(path)
    assert (caught.value.path, caught.value.version) == (path, 99)
    assert caught.value.newest_version is not None
    assert caught.value.newest_version < 99


def test_a_bundle_of_another_kind_and_one_that_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "example.trace"
    tmtrain.save_trace(example_trace(), path)
    with pytest.raises(FileFormatError) as caught:
        tmtrain.load_plan(path)
    assert caught.value.path == path
    table = path / "operators.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(FileFormatError) as caught:
        tmtrain.load_trace(path)
    assert caught.value.path == table


def test_a_file_from_outside_is_named_though_its_reader_knew_only_the_content(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    schema = {"name": "op_schema", "value": "aten::mm(Tensor self, Tensor mat2) -> Tensor"}
    node = {"id": 2, "name": "aten::mm", "ctrl_deps": 1, "attrs": [schema]}
    tensors = {"values": [[1, 2]], "shapes": [[2, 2]], "types": ["Tensor(float)"]}
    path.write_text(
        json.dumps({"schema": "1.0.2", "nodes": [node | {"inputs": tensors, "outputs": tensors}]})
    )
    with pytest.raises(FileFormatError, match="needs to be a tensor") as caught:
        import_trace(path)
    assert caught.value.path == path


def test_a_step_that_cannot_be_captured() -> None:
    with pytest.raises(CaptureError) as caught:
        tmtrain.capture_function("nothing.py:step")
    assert (caught.value.target, caught.value.path) == ("nothing.py:step", Path("nothing.py"))


def test_a_drive_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flash = FlashFile(tmp_path, size_bytes=1 << 20)

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("tmtrain.runtime.tier.flash.os.pwrite", refuse)
    with pytest.raises(FlashError) as caught:
        flash.write(memoryview(bytes(4096)), offset=8192)
    flash.close()
    error = caught.value
    assert (error.folder, error.offset_bytes, error.size_bytes, error.errno) == (
        tmp_path,
        8192,
        4096,
        errno.EIO,
    )
