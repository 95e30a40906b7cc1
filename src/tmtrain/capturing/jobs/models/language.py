"""Dense language models of 2024 and 2025, and one with a state instead of attention.

Numbers of the published ``config.json`` (huggingface.co/NAME), written from memory, as no hub could be reached:
meta-llama/Meta-Llama-3-8B and -70B, meta-llama/Llama-3.1-405B, Qwen/Qwen3-8B, mistralai/Mamba-Codestral-7B-v0.1. A test
holds their parameters against those of the published weights. Default lengths are those of pretraining (Llama 3:
Grattafiori et al., "The Llama 3 Herd of Models", 2024, section 3.4: 8192; Qwen3: Yang et al., "Qwen3 Technical Report",
2025, section 3.2: 4096).
"""

from typing import Any

from tmtrain.capturing.jobs.models.zoo_model import ZooModel

_LLAMA_3: dict[str, Any] = {
    "vocab_size": 128256,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
}
_LLAMA_3_8B: dict[str, Any] = {
    **_LLAMA_3,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}


def _llama_3(name: str, fields: dict[str, Any], *, adapter_rank: int | None = None) -> ZooModel:
    return ZooModel(
        name=name,
        config="LlamaConfig",
        task="CausalLM",
        batch=1,
        sequence=8192,
        max_sequence=8192,
        adapter_rank=adapter_rank,
        fields=fields,
    )


LANGUAGE_MODELS = (
    _llama_3("llama-3-8b", _LLAMA_3_8B),
    # Hu et al., "LoRA" (2021), section 4.2: queries and values, rank 8; peft's default for Llama too.
    _llama_3("llama-3-8b-lora", _LLAMA_3_8B, adapter_rank=8),
    _llama_3(
        "llama-3-70b",
        {
            **_LLAMA_3,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
        },
    ),
    _llama_3(
        "llama-3-405b",
        {
            **_LLAMA_3,
            "hidden_size": 16384,
            "intermediate_size": 53248,
            "num_hidden_layers": 126,
            "num_attention_heads": 128,
        },
    ),
    ZooModel(
        name="qwen3-8b",
        config="Qwen3Config",
        task="CausalLM",
        batch=1,
        sequence=4096,
        max_sequence=40960,
        fields={
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40960,
        },
    ),
    ZooModel(
        name="mamba-2-7b",
        config="Mamba2Config",
        task="CausalLM",
        batch=1,
        sequence=2048,
        attends=False,
        fields={
            "vocab_size": 32768,
            "hidden_size": 4096,
            "num_hidden_layers": 64,
            "num_heads": 128,
            "head_dim": 64,
            "state_size": 128,
            "n_groups": 8,
        },
        # See Note [Scans as kernels keep them].
        notes={"scan": "in single operators, recomputed in backward"},
    ),
)
"""Models by size."""
