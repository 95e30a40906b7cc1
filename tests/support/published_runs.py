"""Steps of training runs whose peak memory was published, as their authors wrote them: for `capture_function`.

Torchvision is no dependency, so `vit_large` says what its `vit_l_16` says, module by module.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Job: TypeAlias = tuple[nn.Module, torch.optim.Optimizer | list[torch.optim.Optimizer], Callable[[], None]]


class _Block(nn.Module):
    """One layer of an encoder: attention and a perceptron, both behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(1024, eps=1e-6)
        self.attention = nn.MultiheadAttention(1024, 16, batch_first=True)
        self.before_perceptron = nn.LayerNorm(1024, eps=1e-6)
        self.perceptron = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024))

    def forward(self, tokens: Tensor) -> Tensor:
        # One name for all, as theirs: what has another name lives until the end of forward.
        x = self.before_attention(tokens)
        x, _ = self.attention(x, x, x, need_weights=False)
        x = x + tokens
        return x + self.perceptron(self.before_perceptron(x))


class _VitLarge(nn.Module):
    """ViT-L/16 for images of 224 x 224."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 1024, kernel_size=16, stride=16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 1024))
        self.positions = nn.Parameter(torch.zeros(1, 197, 1024))
        self.blocks = nn.Sequential(*(_Block() for _ in repeat(None, 24)))
        self.norm = nn.LayerNorm(1024, eps=1e-6)
        self.head = nn.Linear(1024, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(len(images), -1, -1), x], dim=1)
        return self.head(self.norm(self.blocks(x + self.positions))[:, 0])


def vit_large_fp32() -> Job:
    """Raschka's first script: Adam over lists of tensors, gradients dropped after forward."""
    return _fine_tuned_vit(torch.float32, autocast=False)


def vit_large_mixed() -> Job:
    """Raschka's second script: autocast to fp16."""
    return _fine_tuned_vit(torch.float32, autocast=True)


def vit_large_bf16() -> Job:
    """Raschka's third script: weights, gradients and moments in bf16."""
    return _fine_tuned_vit(torch.bfloat16, autocast=False)


def _fine_tuned_vit(dtype: torch.dtype, *, autocast: bool) -> Job:
    model = _VitLarge(classes=10).to("cuda", dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-5, foreach=True)

    def step() -> None:
        images = torch.randn(64, 3, 224, 224, device="cuda", dtype=dtype)
        labels = torch.randint(10, (64,), device="cuda")
        with torch.autocast("cuda", torch.float16, enabled=autocast):
            logits = model(images)
            loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model, optimizer, step


def vit_large_one_image() -> Job:
    """The tutorial's first loop; its optimizer works on lists of tensors by default on a GPU."""
    model = _VitLarge(classes=1000).cuda()
    optimizer = torch.optim.Adam(model.parameters(), foreach=True)

    def step() -> None:
        model(torch.rand(1, 3, 224, 224).cuda()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def vit_large_in_backward() -> Job:
    """The tutorial's second loop: each parameter steps as soon as it has its gradient."""
    model = _VitLarge(classes=1000).cuda()
    optimizers: dict[Tensor, torch.optim.Optimizer] = {
        each: torch.optim.Adam([each], foreach=False) for each in model.parameters()
    }

    def advance(parameter: Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for each in model.parameters():
        each.register_post_accumulate_grad_hook(advance)

    def step() -> None:
        model(torch.rand(1, 3, 224, 224).cuda()).sum().backward()

    return model, list(optimizers.values()), step


def bert_large_of_4() -> Job:
    """The guide's plain training."""
    return _classified_bert(4, micro_batches=1)


def bert_large_of_1() -> Job:
    """The guide's gradient accumulation."""
    return _classified_bert(1, micro_batches=4)


def _classified_bert(batch: int, *, micro_batches: int) -> Job:
    """As transformers was in January 2022: scores in memory, AdamW by single tensors, gradients zeroed and kept."""
    from transformers import BertConfig, BertForSequenceClassification

    large: dict[str, Any] = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "attn_implementation": "eager",
    }
    model: nn.Module = BertForSequenceClassification(BertConfig(**large))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, foreach=False)

    def step() -> None:
        for _ in repeat(None, micro_batches):
            tokens = torch.randint(100, 30000, (batch, 512), device="cuda")
            labels = torch.randint(2, (batch,), device="cuda")
            (model(input_ids=tokens, labels=labels).loss / micro_batches).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return model, optimizer, step
