"""What goes into a checkpoint comes out of it, bit for bit and type for type; what cannot go in is refused by name."""

import enum
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from tests.support.checkpoints import assert_same, bits_of, trees, whole_of
from tests.support.thoroughness import examples

from tmtrain.errors import InputError
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, write_checkpoint

ONE, TWO = torch.tensor([1.0]), torch.tensor([2.0])


def contiguous(tensor: torch.Tensor, _: str) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous()


def kept(tree: Any, folder: Path) -> Any:
    write_checkpoint(folder / "kept.safetensors", tree, fetch=contiguous)
    with Checkpoint(folder / "kept.safetensors") as checkpoint:
        return whole_of(checkpoint)


@examples(60)
@given(tree=trees())
@example(tree={"ema": {"w": ONE}, "ema.w": TWO})
@example(tree={1: ONE, "1": TWO, (1,): ONE * 3, "(1,)": TWO * 3})
@example(tree={"ema": {"w": ONE}, "ema.w": TWO, "ema.w#2": ONE * 5})
@example(tree={"__metadata__": ONE})
@example(tree={"\ud800": ONE, "": TWO})
@example(tree=torch.ones(2, dtype=torch.complex64).mul(1j))
@example(tree=[torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 2j]).conj().imag, torch.empty(0, 3)])
@example(tree=2**3000)
def test_a_tree_comes_back_as_it_was(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert_same(kept(tree, tmp_path_factory.mktemp("kept")), tree)


def test_a_view_and_its_conjugate_are_two_tensors(tmp_path: Path) -> None:
    whole = torch.tensor([1 + 2j, 3 - 4j])
    back = kept({"plain": whole, "conjugated": whole.conj()}, tmp_path)
    assert_same(back, {"plain": whole, "conjugated": whole.conj().resolve_conj()})


def test_one_tensor_under_two_names_is_one_again(tmp_path: Path) -> None:
    back = kept({"tied": [ONE, ONE], "again": ONE}, tmp_path)
    assert back["tied"][0] is back["tied"][1] is back["again"]


def test_windows_over_the_same_memory_come_apart(tmp_path: Path) -> None:
    windows = torch.arange(6.0).unfold(0, 3, 1)
    assert bits_of(kept(windows, tmp_path)) == bits_of(windows)


def test_what_hangs_on_a_state_dict_comes_along(tmp_path: Path) -> None:
    state_dict = torch.nn.BatchNorm1d(3).state_dict()
    assert kept(state_dict, tmp_path)._metadata == OrderedDict({"": {"version": 2}})


def test_any_reader_of_safetensors_opens_it(tmp_path: Path) -> None:
    tree = {
        "ema": {"w": ONE},
        "ema.w": TWO,
        "low": torch.ones(2, dtype=torch.float8_e4m3fn),
        "wide": TWO + 1j,
    }
    kept(tree, tmp_path)
    read = safetensors.torch.load_file(tmp_path / "kept.safetensors")
    assert sorted(read) == ["ema.w", "ema.w#2", "low", "wide"]
    assert (read["ema.w"].item(), read["ema.w#2"].item(), read["wide"].item()) == (1.0, 2.0, 2 + 1j)


def _endless() -> list[Any]:
    tree: list[Any] = []
    tree.append({"again": tree})
    return tree


def _deep() -> Any:
    tree: Any = 0
    for _ in range(100_000):
        tree = [tree]
    return tree


Point = namedtuple("Point", "x")
Colour = enum.IntEnum("Colour", "RED")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: torch.eye(2).to_sparse(), r"^at\.here is sparse_coo: .*to_dense"),
        (lambda: torch.eye(2).to_sparse_csr(), "at.here is sparse_csr"),
        (lambda: torch.nested.nested_tensor([ONE, ONE]), "at.here is nested"),
        (lambda: torch.empty(2, device="meta"), "at.here is on meta"),
        (lambda: torch.quantize_per_tensor(ONE, 0.1, 0, torch.qint8), "at.here is torch.qint8: .*dequantize"),
        (lambda: torch.nn.UninitializedParameter(), r"at.here has no shape yet: save after the first step"),
        (lambda: torch.nn.LazyLinear(3).state_dict(), "at.here.weight has no shape yet"),
        (lambda: defaultdict(list), "at.here is a defaultdict: a checkpoint holds"),
        (lambda: Point(1), "at.here is a Point"),
        (lambda: Colour.RED, "at.here is a Colour"),
        (lambda: {Colour.RED: 1}, r"at.here has the key <Colour.RED: 1>, a Colour"),
        (lambda: {("a", Colour.RED): 1}, "at.here has the key <Colour.RED: 1>"),
        (lambda: np.array(["x"]), "at.here is an array of <U1"),
        (lambda: np.array([None]), "at.here is an array of object"),
        (lambda: np.array([1.0]).astype(">f8"), "at.here is an array of >f8"),
        (lambda: torch.Generator(), "at.here is a Generator"),
        (lambda: print, "at.here is a builtin_function_or_method"),
        (_endless, r"at.here.0.again holds itself"),
        (_deep, "cannot be written as JSON|holds"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own, of layouts and quantized tensors
def test_what_cannot_be_held_is_refused_by_name(make: Callable[[], Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        kept({"at": {"here": make()}}, tmp_path)
    assert list(tmp_path.iterdir()) == []
