"""Whatever is broken in a file from outside, the answer is an error of ours that names the file, never another one."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.g10_folder import KERNELS, TENSORS, write_g10
from tests.support.thoroughness import examples

from tmtrain.errors import TmtrainError
from tmtrain.exports.chakra import make_chakra, save_chakra
from tmtrain.exports.example import example_ledger
from tmtrain.importing import import_trace

RELU = {
    "id": 2,
    "name": "aten::relu",
    "ctrl_deps": 1,
    "inputs": {
        "values": [[5, 1, 0, 8, 4, "cpu"]],
        "shapes": [[2, 4]],
        "types": ["Tensor(float)"],
        "strides": [[4, 1]],
    },
    "outputs": {
        "values": [[6, 2, 0, 8, 4, "cpu"]],
        "shapes": [[2, 4]],
        "types": ["Tensor(float)"],
        "strides": [[4, 1]],
    },
    "attrs": [{"name": "op_schema", "type": "string", "value": "aten::relu(Tensor self) -> Tensor"}],
}
PYTORCH = json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": [RELU]})
REPEATED = settings(
    examples(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def _import_or_refuse(path: Path) -> None:
    message = ""
    try:
        assert len(import_trace(path).operators) > 0
    except TmtrainError as error:
        message = str(error)
    assert not message or path.name in message


def _broken(data: bytes, share: float, change: bytes, cut: bool) -> bytes:
    at = int(share * len(data))
    return data[:at] + change + (b"" if cut else data[at + len(change) :])


SHARES = st.floats(0, 1, exclude_max=True)
CHANGES = st.binary(max_size=4)


@pytest.fixture(scope="module")
def chakra(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x.et"
    save_chakra(make_chakra(example_ledger()), path)
    return path.read_bytes()


@REPEATED
@given(share=SHARES, change=CHANGES, cut=st.booleans())
def test_chakra(share: float, change: bytes, cut: bool, chakra: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.et"
    path.write_bytes(_broken(chakra, share, change, cut))
    _import_or_refuse(path)


WORDS = st.sampled_from(
    ["0", "-1", "null", "[]", "{}", '"x"', "9e99", "99999999999999999999999", "[[1]]", "1.5", ""]
)


@REPEATED
@given(share=SHARES, word=WORDS)
def test_pytorch(share: float, word: str, tmp_path: Path) -> None:
    # Instead of one number, word or bracket.
    at = int(share * len(PYTORCH))
    end = at + 1
    while end < len(PYTORCH) and PYTORCH[end].isalnum() and PYTORCH[at].isalnum():
        end += 1
    path = tmp_path / "x.json"
    path.write_text(PYTORCH[:at] + word + PYTORCH[end:])
    _import_or_refuse(path)


@REPEATED
@given(share=SHARES, cell=st.sampled_from(["", "-7", "x", "1e9", "9" * 30, "1,1", "\n", '"', "0 0"]))
def test_g10(share: float, cell: str, tmp_path: Path) -> None:
    folder = write_g10(tmp_path / "w")
    text = KERNELS + TENSORS
    at = int(share * len(text))
    text = text[:at] + cell + text[at + 1 :]
    (folder / "kernels.csv").write_text(
        text[: len(KERNELS) - 1 + len(cell)] if at < len(KERNELS) else KERNELS
    )
    (folder / "tensors.csv").write_text(text[len(KERNELS) :] if at >= len(KERNELS) else TENSORS)
    _import_or_refuse(folder)
