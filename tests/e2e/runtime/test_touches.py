"""What touches memory past torch's operators in a budget finds what is there, or is refused in a sentence."""

# pyright: reportPrivateUsage=false

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.thoroughness import rest_slow

from tmtrain import train
from tmtrain.errors import InputError
from tmtrain.runtime.tier.pages import keep_large_blocks_apart

WIDTH, LAYERS = 256, 24


class _Trained:
    """Layers in a third of what they need."""

    def __init__(self, folder: Path, *, within: bool = True) -> None:
        keep_large_blocks_apart()
        torch.manual_seed(0)
        self.layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)]
        self.model = torch.nn.Sequential(*self.layers)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, foreach=False)
        self.batch = torch.randn(32, WIDTH)
        self.training = (
            train(self.model, self.optimizer, self._step, budget_bytes="8 MiB", flash=folder)
            if within
            else None
        )

    def _step(self) -> None:
        self.model(self.batch).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self, between: Callable[["_Trained"], Any]) -> list[Any]:
        """Train, and look in between."""
        if self.training is None:
            return [(self._step(), between(self))[1] for _ in range(4)]
        with self.training:
            return [(self.training.step(), between(self))[1] for _ in range(4)]


def _by_numpy(trained: _Trained) -> list[bytes]:
    return [trained.layers[n].weight.detach().numpy().tobytes() for n in (0, 5, 9)]


def _by_lists(trained: _Trained) -> list[Any]:
    return [layer.weight[3].tolist() for layer in trained.layers]


def _by_print(trained: _Trained) -> list[str]:
    return [str(layer.weight) for layer in trained.layers]


def _by_dlpack(trained: _Trained) -> bytes:
    return np.from_dlpack(trained.layers[7].weight.detach()).tobytes()


def _by_torch_save(trained: _Trained) -> list[bytes]:
    torch.save(trained.model.state_dict(), "saved.pt")
    return [tensor.numpy().tobytes() for tensor in torch.load("saved.pt").values()]


def _by_safetensors(trained: _Trained) -> list[bytes]:
    save_file(trained.model.state_dict(), "saved.safetensors")
    return [tensor.numpy().tobytes() for tensor in load_file("saved.safetensors").values()]


def _by_writing(trained: _Trained) -> None:
    trained.layers[4].weight.detach().numpy()[7] *= 0.5


def _by_sharing(trained: _Trained) -> float:
    for layer in trained.layers[:4]:
        layer.weight.data.share_memory_()
    return sum(layer.weight.sum().item() for layer in trained.layers)


def _by_resizing(trained: _Trained) -> float:
    kept = [torch.ones(WIDTH, WIDTH) * n for n in range(8)]
    trained.batch.square()
    for tensor in kept[::2]:
        tensor.untyped_storage().resize_(2 * tensor.nbytes)
    return sum(tensor.sum().item() for tensor in kept)


@pytest.mark.parametrize(
    "touch",
    rest_slow(
        [
            _by_print,
            _by_sharing,
            _by_torch_save,
            _by_numpy,
            _by_lists,
            _by_dlpack,
            _by_safetensors,
            _by_writing,
            _by_resizing,
        ],
        quick=3,
    ),
)
def test_whoever_touches_finds_what_is_there(
    touch: Callable[[_Trained], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    within, plain = _Trained(tmp_path), _Trained(tmp_path, within=False)
    assert within.run(touch) == plain.run(touch)
    assert all(map(torch.equal, within.model.parameters(), plain.model.parameters()))
    assert within.training is not None
    assert within.training.result.steps[-1].bytes_in > 0


def test_torch_is_what_it_was_afterwards(tmp_path: Path) -> None:
    before = torch.Tensor.numpy, torch.UntypedStorage.share_memory_, torch._C.PyTorchFileWriter
    with pytest.raises(ZeroDivisionError):
        _Trained(tmp_path).run(lambda _: 1 / 0)
    assert (torch.Tensor.numpy, torch.UntypedStorage.share_memory_, torch._C.PyTorchFileWriter) == before
    assert "numpy" not in torch.Tensor.__dict__


def test_another_thread_is_refused_in_a_sentence(tmp_path: Path) -> None:
    errors: list[str] = []

    def look(trained: _Trained) -> None:
        def ask() -> None:
            try:
                trained.layers[0].weight.detach().numpy()
            except InputError as error:
                errors.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    _Trained(tmp_path).run(look)
    assert len(errors) == 4
    assert errors[0].startswith("numpy of a tensor in the budget, in a thread that does not train")


def test_a_forked_child_goes_on_and_does_not_wait_for_movers_that_it_has_not(tmp_path: Path) -> None:
    def fork(_: _Trained) -> int:
        child = os.fork()
        if not child:
            made = [torch.ones(1000, 1000) for _ in range(3)]  # more than the budget has free
            os._exit(0 if sum(tensor.sum().item() for tensor in made) == 3e6 else 1)
        for _ in range(600):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1

    assert _Trained(tmp_path).run(fork) == [0] * 4
