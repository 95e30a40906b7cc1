"""Train a model that is larger than memory: ``python examples/larger_than_memory.py FOLDER [BUDGET STEPS LAYERS WIDTH]``.

GPT-2 XL in fp32 with AdamW takes 25 GB of parameters, gradients and state; the budget is 8 GiB. The model is made on the
meta device, where it takes no memory, and filled layer by layer in the budget. FOLDER is on a local drive with 35 GB free.
The same from the command line, which also goes on from where it was and saves:
``tmtrain train examples/larger_than_memory.py:job --budget 8GiB --flash FOLDER --checkpoint last.safetensors``.
"""

import sys
from collections.abc import Callable

import torch
import transformers

import tmtrain

TOKENS = 256


def job(
    layers: int = 48, width: int = 1600
) -> tuple[torch.nn.Module, torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    """Return model, optimizer and step; the model has no memory yet."""
    config = transformers.GPT2Config(n_layer=layers, n_embd=width, n_head=25)
    config.use_cache = False
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config).train()
    model.loss_type = "ForCausalLM"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.arange(TOKENS).unsqueeze(0)

    def step() -> torch.Tensor:
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return model, optimizer, step


def main(folder: str, budget: str = "8 GiB", steps: int = 4, *size: int) -> None:
    """Train, and say what each step took."""
    torch.manual_seed(0)
    model, optimizer, step = job(*size)
    with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder, restores=False) as training:
        for number in range(steps):
            loss, took = training.step(), training.result.steps[-1]
            print(
                f"step {number}  loss {loss:.4f}  {took.step_time_s:.1f} s, {took.stall_s:.1f} s of it waiting, "
                f"{took.bytes_in / 1e9:.1f} GB in, {took.bytes_out / 1e9:.1f} GB out, {took.how}",
                flush=True,
            )
        result = training.result
    most = max(step.peak_bytes for step in result.steps)
    print(f"{result.managed_bytes / 1e9:.1f} GB of tensors, at most {most / 1e9:.2f} GB of them in memory")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
