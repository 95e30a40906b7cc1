"""A tiny model of every architecture of the zoo."""

from tmtrain.capturing import ZooModel
from tmtrain.capturing.jobs.catalog import find_model

TINY = {
    model.name: model
    for model in (
        find_model("gpt2-tiny"),
        ZooModel(
            name="llama-tiny",
            config="LlamaConfig",
            task="CausalLM",
            batch=2,
            sequence=16,
            fields={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "vocab_size": 128,
            },
        ),
        ZooModel(
            name="bert-tiny",
            config="BertConfig",
            task="MaskedLM",
            batch=2,
            sequence=16,
            fields={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "vocab_size": 128,
            },
        ),
        ZooModel(
            name="t5-tiny",
            config="T5Config",
            task="Seq2SeqLM",
            batch=2,
            sequence=16,
            fields={
                "d_model": 32,
                "d_kv": 16,
                "d_ff": 64,
                "num_layers": 2,
                "num_heads": 2,
                "vocab_size": 128,
                "decoder_start_token_id": 0,
            },
        ),
        ZooModel(
            name="vit-tiny",
            config="ViTConfig",
            task="ImageClassification",
            batch=2,
            fields={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 8,
            },
        ),
        ZooModel(
            name="resnet-tiny",
            config="ResNetConfig",
            task="ImageClassification",
            batch=1,
            attends=False,
            blocks=find_model("resnet-152").blocks,
            fields={
                "depths": [2, 2],
                "hidden_sizes": [16, 32],
                "embedding_size": 8,
                "layer_type": "bottleneck",
            },
        ),
    )
}
