"""Models of images, of their making, and of speech.

Numbers of the published ``config.json`` (huggingface.co/NAME), written from memory, as no hub could be reached:
google/vit-huge-patch14-224-in21k, facebook/convnext-large-224, openai/whisper-large-v3. A test holds their parameters
against those of the published weights.
"""

from tmtrain.capturing.jobs.models.zoo_model import ZooModel

OTHER_MODELS = (
    # Peebles and Xie, "Scalable Diffusion Models with Transformers" (2023), table 1 and section 4: DiT-XL/2 on latents of
    # 256 x 256 images.
    ZooModel(
        name="dit-xl",
        config="",
        task="Diffusion",
        batch=32,
        blocks=r"blocks\.\d+",
        fields={
            "width": 1152,
            "layers": 28,
            "heads": 16,
            "side": 32,
            "patch": 2,
            "channels": 4,
            "classes": 1000,
        },
    ),
    ZooModel(
        name="vit-huge",
        config="ViTConfig",
        task="ImageClassification",
        batch=64,
        fields={
            "hidden_size": 1280,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "intermediate_size": 5120,
            "image_size": 224,
            "patch_size": 14,
            "num_labels": 1000,
        },
    ),
    ZooModel(
        name="convnext-large",
        config="ConvNextConfig",
        task="ImageClassification",
        batch=64,
        attends=False,
        blocks=r"convnext\.encoder\.stages\.\d+\.layers\.\d+",
        fields={
            "depths": [3, 3, 27, 3],
            "hidden_sizes": [192, 384, 768, 1536],
            "image_size": 224,
            "num_labels": 1000,
        },
    ),
    ZooModel(
        name="whisper-large",
        config="WhisperConfig",
        task="SpeechSeq2Seq",
        batch=8,
        sequence=448,
        max_sequence=448,
        fields={
            "vocab_size": 51866,
            "num_mel_bins": 128,
            "d_model": 1280,
            "encoder_layers": 32,
            "decoder_layers": 32,
            "encoder_attention_heads": 20,
            "decoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "decoder_ffn_dim": 5120,
        },
    ),
)
"""Models of images, of their making, and of speech."""
