"""Whatever happens to the bytes of a checkpoint, it says what was saved, or it is refused in a sentence."""

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.checkpoints import assert_same, whole_of
from tests.support.mutations import mutations
from tests.support.thoroughness import seeds

import tmtrain
from tmtrain.errors import FileFormatError
from tmtrain.runtime.checkpoints import head as head_room
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tmtrain.runtime.checkpoints.head import VERSION, written_head

OLD = Path(__file__).parents[2] / "data" / "before_renaming" / "example.safetensors"
TREE = {
    "model": torch.nn.Linear(3, 2).state_dict(),
    "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.001, "params": [0]}]},
    "extra": (1, "two", None, 2.5, b"raw", torch.tensor([1 + 2j], dtype=torch.complex128)),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "whole.safetensors", TREE, fetch=lambda tensor, _: tensor.detach())
    return tmp_path / "whole.safetensors"


def read(file: Path) -> Any:
    with Checkpoint(file) as checkpoint:
        return whole_of(checkpoint)


def head_bytes(content: bytes) -> int:
    return 8 + struct.unpack("<Q", content[:8])[0]


def refused_or_same(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    try:
        found = read(file)
    except FileFormatError as error:
        message = str(error)
        assert str(file) in message
        assert "\n" not in message
    else:
        assert_same(found, TREE)


def _try(file: Path, *, seed: int, number: int) -> None:
    whole = file.read_bytes()
    for content in mutations(whole, seed=seed, number=number, upto=head_bytes(whole)):
        refused_or_same(content, file)
    for content in mutations(whole, seed=seed, number=number // 4):
        refused_or_same(content, file)


@pytest.mark.parametrize("seed", seeds(2))
def test_a_mutated_checkpoint_is_refused_or_says_the_same(file: Path, seed: int) -> None:
    _try(file, seed=seed, number=80)


@pytest.mark.slow
def test_thousands_of_mutations_are_refused_or_say_the_same(file: Path) -> None:
    _try(file, seed=99, number=6000)


def test_a_learning_rate_that_somebody_edits_is_seen(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"0.001", b"9.001"))
    with pytest.raises(FileFormatError, match="its head is not what was written; take an older one"):
        read(file)


Entries = dict[str, Any]


def _sealed(file: Path, edit: Callable[[Entries, dict[str, Any]], object]) -> None:
    """Edit a head and write it with a right checksum: what somebody's own program might do."""
    content = file.read_bytes()
    raw = json.loads(content[8 : head_bytes(content)])
    about = json.loads(raw.pop("__metadata__")["tmtrain"])
    edit(raw, about)
    text = json.dumps({"__metadata__": {"xxh3": "0" * 16, "tmtrain": json.dumps(about)}, **raw}).encode()
    text += b" " * (-len(text) % 8)
    head = bytearray(struct.pack("<Q", len(text)) + text)
    head[head_room._AT] = head_room._digest_of(head)  # pyright: ignore[reportPrivateUsage]
    file.write_bytes(bytes(head) + content[head_bytes(content) :])


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda raw, _: raw["weight"].update(shape=[3, 3]), "weight has other bytes"),
        (lambda raw, _: raw["weight"].update(shape=[-2, -3]), "weight is not where it must be"),
        (lambda raw, _: raw["weight"].update(data_offsets=[8, 24]), "is not where it must be"),
        (lambda raw, _: raw["weight"].update(dtype="F65"), "F65 is no type"),
        (lambda raw, _: raw["weight"].update(dtype="I64"), "weight has other bytes"),
        (lambda raw, _: raw["weight"].update(colour="red"), "makes no sense"),
        (lambda raw, _: raw.pop("weight"), "not where it must be|not each"),
        (lambda _, about: about.update(version=VERSION + 1), f"of version {VERSION + 1}: up to version"),
        (lambda _, about: about.update(version=1), "no checksum where there must be one"),
        (lambda _, about: about.update(version=True), "is a tmtrain checkpoint of version True"),
        (lambda _, about: about.update(kind="diary"), "is a diary of version"),
        (lambda _, about: about.pop("tree"), "makes no sense"),
        (lambda _, about: about["xxh3"].pop("bias"), "not each of its tensors has a checksum"),
        (lambda _, about: about.update(tree={"planet": 3}), "no whole tmtrain checkpoint"),
        (lambda _, about: about.update(tree={}), "no whole tmtrain checkpoint"),
        (lambda _, about: about.update(tree={"dict": [[{"list": []}, 1]]}), "no whole tmtrain checkpoint"),
        (lambda _, about: about.update(tree={"tensor": "nobody", "stride": []}), "no whole"),
        (lambda _, about: about.update(tree={"tensor": "bias", "stride": [1, 1]}), "other bytes"),
        (lambda _, about: about.update(tree={"tensor": "bias", "stride": [-1]}), "other bytes"),
        (lambda _, about: about.update(tree={"tensor": "bias", "stride": [1], "array": "O"}), "other"),
        (lambda _, about: about.update(tree={"dtype": "nn"}), "nn is no dtype"),
        (lambda _, about: about.update(tree={"scalar": ["O", "00"]}), "no whole tmtrain checkpoint"),
    ],
)
def test_a_head_that_makes_no_sense_is_refused_whatever_its_checksum(
    file: Path, edit: Callable[[Entries, dict[str, Any]], object], match: str
) -> None:
    _sealed(file, edit)
    with pytest.raises(FileFormatError, match=match) as raised:
        read(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "ends within its head"),
        (b"\xff" * 8, "ends within its head"),
        (struct.pack("<Q", 8) + b"[1, 2]  ", "makes no sense"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "no whole tmtrain checkpoint"),
        (struct.pack("<Q", 8) + b"{}      ", "another program wrote it"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "other.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match=match):
        read(tmp_path / "other.safetensors")


def test_a_checkpoint_of_version_1_opens_and_says_what_it_lacks() -> None:
    with pytest.warns(UserWarning, match="version 1, whose head has no checksum.*save it again"):
        saved = tmtrain.load_checkpoint(OLD)
    assert saved["extra"] == {"step": 7, "rates": (1e-3, None)}
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model.load_state_dict(saved["model"])
    assert saved["model"]["1.num_batches_tracked"].item() == 1


@pytest.mark.filterwarnings("ignore:.* is a checkpoint of version 1")
def test_damage_to_a_checkpoint_of_version_1_never_ends_in_anything_but_a_sentence(tmp_path: Path) -> None:
    whole, damaged = OLD.read_bytes(), tmp_path / "old.safetensors"
    for content in mutations(whole, seed=1, number=60, upto=head_bytes(whole)):
        damaged.write_bytes(content)
        with contextlib.suppress(FileFormatError):
            tmtrain.load_checkpoint(damaged)


def test_a_head_is_as_long_whatever_its_checksums() -> None:
    heads = [written_head({}, tree=None, digests={"a": digit * 16}) for digit in "0f"]
    assert len({len(head) for head in heads}) == 1
