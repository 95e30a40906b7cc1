"""Mixtures of experts.

Numbers of the published ``config.json`` (huggingface.co/NAME), written from memory, as no hub could be reached:
mistralai/Mixtral-8x7B-v0.1, Qwen/Qwen3-235B-A22B, openai/gpt-oss-20b. A test holds their parameters against those of the
published weights.

Note [Balanced routing]: on fake tensors nobody knows which expert a token goes to. The step does not ask: tokens are
sorted by expert, and grouped products take the ends of the groups in a tensor. So the operators, their FLOPs and all
bytes are those of any routing. What each expert gets is assumed to be alike: the dimensions of a grouped product are
those of equal groups. Auxiliary losses of balance are off.
"""

from tmtrain.capturing.jobs.models.zoo_model import ZooModel

_BALANCED = {"routing": "balanced"}

MIXTURES = (
    ZooModel(
        name="mixtral-8x7b",
        config="MixtralConfig",
        task="CausalLM",
        batch=1,
        sequence=4096,
        max_sequence=32768,
        fields={
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "max_position_embeddings": 32768,
        },
        notes=_BALANCED,
    ),
    ZooModel(
        name="qwen3-235b-a22b",
        config="Qwen3MoeConfig",
        task="CausalLM",
        batch=1,
        sequence=4096,
        max_sequence=40960,
        fields={
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "num_hidden_layers": 94,
            "num_attention_heads": 64,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "norm_topk_prob": True,
            "max_position_embeddings": 40960,
        },
        notes=_BALANCED,
    ),
    ZooModel(
        name="gpt-oss-20b",
        config="GptOssConfig",
        task="CausalLM",
        batch=1,
        sequence=4096,
        max_sequence=131072,
        fields={
            "vocab_size": 201088,
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "num_hidden_layers": 24,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "num_local_experts": 32,
            "num_experts_per_tok": 4,
            "sliding_window": 128,
        },
        # See Note [Attention with sinks].
        notes={**_BALANCED, "sinks": "left out of fused attention"},
    ),
)
"""Mixtures of experts."""
