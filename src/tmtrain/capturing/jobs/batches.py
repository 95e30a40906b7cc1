"""What a model of the zoo is fed: one batch, always the same."""

from collections.abc import Callable
from typing import Any

import torch

from tmtrain.capturing.jobs.models.zoo_model import ZooModel
from tmtrain.capturing.jobs.options import ResolvedOptions

Batch = dict[str, torch.Tensor]


def make_batch(network: Any, model: ZooModel, options: ResolvedOptions, *, dtype: torch.dtype) -> Batch:
    """Return the arguments of one forward pass, labels among them; what is no number of a thing has `dtype`."""
    return _BATCHES.get(model.task, _tokens)(network, options, dtype)


def _tokens(network: Any, options: ResolvedOptions, _dtype: torch.dtype) -> Batch:
    tokens = torch.randint(0, network.config.vocab_size, (options.batch, options.sequence or 0))
    return {"input_ids": tokens, "labels": tokens.clone()}


def _images(network: Any, options: ResolvedOptions, dtype: torch.dtype) -> Batch:
    config, batch = network.config, options.batch
    # ResNet takes any size and has no such field; it is trained on 224.
    side = getattr(config, "image_size", 224)
    pixels = torch.randn(batch, config.num_channels, side, side, dtype=dtype)
    return {"pixel_values": pixels, "labels": torch.randint(0, config.num_labels, (batch,))}


def _sounds(network: Any, options: ResolvedOptions, dtype: torch.dtype) -> Batch:
    config, batch = network.config, options.batch
    # Half a minute of sound: two frames of its spectrum for each position of the encoder.
    sound = torch.randn(batch, config.num_mel_bins, 2 * config.max_source_positions, dtype=dtype)
    return {
        "input_features": sound,
        "labels": torch.randint(0, config.vocab_size, (batch, options.sequence or 0)),
    }


def _noisy_latents(network: Any, options: ResolvedOptions, dtype: torch.dtype) -> Batch:
    batch, patches = options.batch, network.positions.shape[1]
    latents = torch.randn(batch, network.channels, network.side, network.side, dtype=dtype)
    return {
        "latents": latents,
        "times": torch.randint(0, 1000, (batch,)),
        "labels": torch.randint(0, network.classes, (batch,)),
        "noise": torch.randn(batch, patches, latents[0].numel() // patches, dtype=dtype),
    }


_BATCHES: dict[str, Callable[[Any, ResolvedOptions, torch.dtype], Batch]] = {
    "ImageClassification": _images,
    "SpeechSeq2Seq": _sounds,
    "Diffusion": _noisy_latents,
}
