"""Training steps of other people's code, captured as they are: models, optimizers and losses are theirs.

Each function below is what a user of that package writes: their model on "cuda", their optimizer, the body of their
training loop without its logging; edited only to return model, optimizer and step. Packages that are not installed, and
clones that are not in the folder, are skipped and named. Written to benchmarks/scripts_of_others.md:

    python benchmarks/scripts_of_others.py [--clones FOLDER] [--only NAME ...]

FOLDER holds git clones: nanoGPT, minGPT, DiT, pytorch-cifar. Each script runs in a process of its own; "processor" is that
of its capture, with the imports of its package.
"""

import argparse
import contextlib
import copy
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tmtrain.capturing import capture_function
from tmtrain.errors import TmtrainError
from tmtrain.trace import Role
from tmtrain.units import format_bytes

CLONES = "TMTRAIN_CLONES"
"""Of the environment: the folder of clones. The functions below take no arguments, for `capture_function` calls them."""
PAGE = Path(__file__).with_suffix(".md")
Job = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Somebody's training step."""

    make: Callable[[], Job]
    source: str
    """A package, or a clone with a slash behind it."""
    samples: int
    what: str

    @property
    def lacks(self) -> str:
        """What is not here; "" if all is."""
        if self.source.endswith("/"):
            return "" if (_clones() / self.source).is_dir() else f"no clone {self.source}"
        try:
            version(self.source)
        except PackageNotFoundError:
            return f"{self.source} is not installed"
        return ""


def _clones() -> Path:
    return Path(os.environ.get(CLONES, "clones"))


def _of_clone(clone: str, module: str) -> Any:
    """Import a module of a clone, whose neighbours are found as when it runs there."""
    sys.path.insert(0, str(_clones() / clone))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.pop(0)


def _mend_torchvision() -> torch.library.Library:
    """Make its models importable where its compiled operators are of another torch; they use none of those."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    with contextlib.suppress(ImportError):
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
    return library


def nano_gpt() -> Job:
    """As its train.py."""
    theirs = _of_clone("nanoGPT", "model")
    model = theirs.GPT(theirs.GPTConfig(block_size=1024, vocab_size=50304, dropout=0.1, bias=False)).to(
        "cuda"
    )
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    optimizer = model.configure_optimizers(1e-1, 6e-4, (0.9, 0.95), "cuda")

    def step() -> None:
        for _ in range(2):
            tokens = torch.randint(50304, (12, 1025)).pin_memory().to("cuda", non_blocking=True)
            with torch.amp.autocast(device_type="cuda", dtype=torch.bfloat16):
                _, loss = model(tokens[:, :-1], tokens[:, 1:].contiguous())
            scaler.scale(loss / 2).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return model, optimizer, step


def min_gpt() -> Job:
    """As its Trainer.run."""
    theirs, trainer = _of_clone("minGPT", "mingpt.model"), _of_clone("minGPT", "mingpt.trainer")
    config = theirs.GPT.get_default_config()
    config.model_type, config.vocab_size, config.block_size = "gpt2", 50257, 1024
    model = theirs.GPT(config).to("cuda")
    optimizer = model.configure_optimizers(trainer.Trainer.get_default_config())

    def step() -> None:
        x, y = torch.randint(50257, (4, 1024)).to("cuda"), torch.randint(50257, (4, 1024)).to("cuda")
        _, loss = model(x, y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return model, optimizer, step


def dit() -> Job:
    """DiT's train.py, without its ranks."""
    models, train = _of_clone("DiT", "models"), _of_clone("DiT", "train")
    diffusion = _of_clone("DiT", "diffusion").create_diffusion(timestep_respacing="")
    model = models.DiT_models["DiT-XL/2"](input_size=32, num_classes=1000)
    ema = copy.deepcopy(model).to("cuda")
    train.requires_grad(ema, False)
    model = model.to("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)
    train.update_ema(ema, model, decay=0)
    model.train()
    ema.eval()

    def step() -> None:
        x, y = torch.randn(8, 4, 32, 32, device="cuda"), torch.randint(0, 1000, (8,), device="cuda")
        t = torch.randint(0, diffusion.num_timesteps, (x.shape[0],), device="cuda")
        loss = diffusion.training_losses(model, x, t, {"y": y})["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train.update_ema(ema, model)

    return model, optimizer, step


def cifar() -> Job:
    """pytorch-cifar's main.py."""
    net = _of_clone("pytorch-cifar", "models").ResNet18().to("cuda")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        inputs, targets = torch.randn(128, 3, 32, 32).to("cuda"), torch.randint(10, (128,)).to("cuda")
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(net(inputs), targets).backward()
        optimizer.step()

    return net, optimizer, step


def _timm(name: str, batch: int) -> Job:
    import timm
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    model = timm.create_model(name, pretrained=False, drop_path_rate=0.1).cuda()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    ema = ModelEmaV3(model, decay=0.999, foreach=False)
    mixup, criterion = (
        Mixup(mixup_alpha=0.8, cutmix_alpha=0.0, num_classes=1000),
        SoftTargetCrossEntropy(),
    )

    def step() -> None:
        x, y = torch.randn(batch, 3, 224, 224, device="cuda"), torch.randint(1000, (batch,), device="cuda")
        x, y = mixup(x, y)
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)

    return model, optimizer, step


def timm_vit() -> Job:
    """As timm's train.py."""
    return _timm("vit_base_patch16_224", 32)


def timm_convnext() -> Job:
    """As timm's train.py."""
    return _timm("convnext_tiny", 32)


def timm_swin() -> Job:
    """As timm's train.py."""
    return _timm("swin_tiny_patch4_window7_224", 32)


def timm_efficientnet() -> Job:
    """As timm's train.py."""
    return _timm("efficientnet_b0", 32)


def torchvision_swin() -> Job:
    """As torchvision's references."""
    import torchvision

    model = torchvision.models.swin_v2_t(weights=None).to("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = functional.cross_entropy(
            model(torch.randn(16, 3, 256, 256, device="cuda")),
            torch.randint(1000, (16,), device="cuda"),
            label_smoothing=0.1,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return model, optimizer, step


def diffusers_unet() -> Job:
    """As diffusers' tutorial of unconditional generation."""
    from diffusers import DDPMScheduler, UNet2DModel

    model = UNet2DModel(
        sample_size=64,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    ).to("cuda")
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        images = torch.randn(8, 3, 64, 64, device="cuda")
        noise = torch.randn(images.shape, device=images.device)
        t = torch.randint(0, scheduler.config.num_train_timesteps, (8,), device="cuda", dtype=torch.int64)
        predicted = model(scheduler.add_noise(images, noise, t), t, return_dict=False)[0]
        functional.mse_loss(predicted, noise).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def diffusers_text_to_image() -> Job:
    """As diffusers' train_text_to_image.py."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=32, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    vae.requires_grad_(False)
    vae.to("cuda", dtype=torch.float16)
    unet.to("cuda").enable_gradient_checkpointing()
    unet.train()
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4)

    def step() -> None:
        pixels = torch.randn(2, 3, 256, 256).to("cuda", dtype=torch.float16)
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noise, t = torch.randn_like(latents), torch.randint(0, 1000, (2,), device=latents.device)
        noisy, text = scheduler.add_noise(latents, noise, t), torch.randn(2, 77, 768, device="cuda")
        with torch.autocast("cuda", dtype=torch.float16):
            predicted = unet(noisy, t, text, return_dict=False)[0]
        functional.mse_loss(predicted.float(), noise.float()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return unet, optimizer, step


def peft_lora() -> Job:
    """As peft's quick start."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32
    )
    config.num_key_value_heads, config.use_cache = 4, False
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model = get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    model = model.to("cuda")
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-4)

    def step() -> None:
        tokens = torch.randint(32000, (4, 512), device="cuda")
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def trainer_bert() -> Job:
    """The step that transformers' Trainer takes."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    model = BertForSequenceClassification(BertConfig())
    folder = tempfile.gettempdir()
    trainer = Trainer(model, TrainingArguments(folder, report_to=[], use_cpu=True, optim="adamw_torch"))
    optimizer = trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1  # its loop counts them

    def step() -> None:
        tokens = torch.randint(30522, (16, 128))
        batch = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "labels": torch.zeros(16).long(),
        }
        trainer.training_step(model, batch)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()

    return model, optimizer, step


def _transformers(model: Any, **batch: Callable[[], torch.Tensor]) -> Job:
    model = model.to("cuda").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        loss = model(**{name: make().to("cuda") for name, make in batch.items()}).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def hf_vit() -> Job:
    """An image classifier."""
    from transformers import ViTConfig, ViTForImageClassification

    return _transformers(
        ViTForImageClassification(ViTConfig(num_labels=1000)),
        pixel_values=lambda: torch.randn(16, 3, 224, 224),
        labels=lambda: torch.randint(1000, (16,)),
    )


def hf_mixtral() -> Job:
    """A mixture of experts, in fp32."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        hidden_size=512, intermediate_size=1792, num_hidden_layers=8, num_attention_heads=8
    )
    return _transformers(
        MixtralForCausalLM(config),
        input_ids=lambda: torch.randint(32000, (4, 256)),
        labels=lambda: torch.randint(32000, (4, 256)),
    )


def hf_whisper() -> Job:
    """Speech recognition."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    return _transformers(
        WhisperForConditionalGeneration(WhisperConfig()),
        input_features=lambda: torch.randn(4, 80, 3000),
        labels=lambda: torch.randint(50000, (4, 64)),
    )


def hf_clip() -> Job:
    """Contrastive learning."""
    from transformers import CLIPConfig, CLIPModel

    return _transformers(
        CLIPModel(CLIPConfig()),
        input_ids=lambda: torch.randint(49000, (16, 77)),
        pixel_values=lambda: torch.randn(16, 3, 224, 224),
        return_loss=lambda: torch.tensor(data=True),
    )


def accelerate_loop() -> Job:
    """As accelerate's quick tour."""
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    plain = nn.TransformerEncoder(nn.TransformerEncoderLayer(512, 8, batch_first=True), num_layers=6)
    model, optimizer = accelerator.prepare(plain, torch.optim.AdamW(plain.parameters(), lr=1e-3))

    def step() -> None:
        x = torch.randn(16, 128, 512, device=accelerator.device)
        with accelerator.accumulate(model):
            accelerator.backward(functional.mse_loss(model(x), x))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return model, optimizer, step


def lucidrains_vit() -> Job:
    """As the package's README."""
    from vit_pytorch import ViT

    model = ViT(
        image_size=256,
        patch_size=32,
        num_classes=1000,
        dim=1024,
        depth=6,
        heads=16,
        mlp_dim=2048,
        dropout=0.1,
    )
    model = model.cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        labels = torch.randint(1000, (8,)).cuda()
        functional.cross_entropy(model(torch.randn(8, 3, 256, 256).cuda()), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def lucidrains_x_transformers() -> Job:
    """As the package's example of enwik8."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    layers = Decoder(dim=512, depth=8, heads=8, rotary_pos_emb=True, attn_flash=True, ff_glu=True)
    model = AutoregressiveWrapper(
        TransformerWrapper(num_tokens=20000, max_seq_len=1024, attn_layers=layers)
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        for _ in range(2):
            (model(torch.randint(0, 20000, (4, 1024)).cuda()) / 2).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def segmentation_unet() -> Job:
    """As the package's README."""
    import segmentation_models_pytorch as smp

    model = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=1).to("cuda")
    loss, optimizer = (
        smp.losses.DiceLoss(mode="binary", from_logits=True),
        torch.optim.Adam(model.parameters(), lr=2e-4),
    )

    def step() -> None:
        masks = torch.randint(0, 2, (8, 1, 256, 256), device="cuda").float()
        loss(model(torch.randn(8, 3, 256, 256, device="cuda")), masks).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


SCRIPTS = (
    Script(make=nano_gpt, source="nanoGPT/", samples=24, what="GPT-2 small, autocast bf16, two micro-steps"),
    Script(make=min_gpt, source="minGPT/", samples=4, what="GPT-2 small, fp32"),
    Script(make=dit, source="DiT/", samples=8, what="DiT-XL/2 with an EMA copy"),
    Script(make=cifar, source="pytorch-cifar/", samples=128, what="ResNet-18"),
    Script(make=timm_vit, source="timm", samples=32, what="ViT-B/16, mixup, EMA, layer decay, autocast"),
    Script(make=timm_convnext, source="timm", samples=32, what="ConvNeXt-T, as above"),
    Script(make=timm_swin, source="timm", samples=32, what="Swin-T, as above"),
    Script(make=timm_efficientnet, source="timm", samples=32, what="EfficientNet-B0, as above"),
    Script(make=torchvision_swin, source="torchvision", samples=16, what="Swin-V2-T, clipping"),
    Script(make=diffusers_unet, source="diffusers", samples=8, what="unconditional DDPM"),
    Script(
        make=diffusers_text_to_image,
        source="diffusers",
        samples=2,
        what="text to image, fp16 VAE, checkpointing",
    ),
    Script(make=peft_lora, source="peft", samples=4, what="LoRA on all linear layers of a 1.1B Llama"),
    Script(
        make=trainer_bert, source="accelerate", samples=16, what="transformers' Trainer.training_step, BERT"
    ),
    Script(
        make=accelerate_loop, source="accelerate", samples=16, what="Accelerator, nn.TransformerEncoder, bf16"
    ),
    Script(make=hf_vit, source="transformers", samples=16, what="ViT-B, initialised"),
    Script(make=hf_mixtral, source="transformers", samples=4, what="small Mixtral, fp32"),
    Script(make=hf_whisper, source="transformers", samples=4, what="Whisper tiny"),
    Script(make=hf_clip, source="transformers", samples=16, what="CLIP ViT-B/32"),
    Script(make=lucidrains_vit, source="vit-pytorch", samples=8, what="ViT with dropout"),
    Script(
        make=lucidrains_x_transformers,
        source="x-transformers",
        samples=8,
        what="decoder, rotary, two micro-steps",
    ),
    Script(make=segmentation_unet, source="segmentation-models-pytorch", samples=8, what="U-Net, Dice loss"),
)


def _row(script: Script) -> str:
    begin = time.process_time()
    try:
        trace = capture_function(f"{__file__}:{script.make.__name__}", samples=script.samples)
    except TmtrainError as error:
        return f"no: {' '.join(str(error).split())} | | | | |"
    seconds = time.process_time() - begin
    parameters = format_bytes(int(trace.storages.bytes[trace.storages.role == Role.PARAMETER].sum()))
    tflop = trace.operators.flops.sum() / 1e12
    return (
        f"yes | {len(trace.operators):,} | {parameters} | {format_bytes(trace.footprint_bytes)} | {tflop:.3g} |"
        f" {seconds:.1f} s"
    )


def _versions() -> str:
    packages = dict.fromkeys(script.source for script in SCRIPTS if not script.source.endswith("/"))
    found = [f"{name} {version(name)}" for name in ("torch", *packages) if not _is_missing(name)]
    return f"Python {platform.python_version()}, {', '.join(found)}"


def _is_missing(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return True
    return False


def main() -> int:
    """Capture all that is here, print the table, and write it if none was left out by name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clones", default="clones")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ[CLONES] = options.clones
    chosen = {script.make.__name__: script for script in SCRIPTS}
    if options.row:
        library = _mend_torchvision()  # lives as long as this variable
        print(_row(chosen[options.row]), file=sys.stderr)
        del library
        return 0
    rows = [_in_a_process(chosen[name]) for name in options.only or chosen]
    if not options.only:
        PAGE.write_text(_page(rows))
    return int(any("| no:" in row for row in rows))


def _in_a_process(script: Script) -> str:
    """Return its row; packages that keep state, and clones whose modules have the same names, do not meet."""
    if script.lacks:
        result = f"skipped: {script.lacks} | | | | |"
    else:
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            "--clones",
            str(_clones()),
            "--row",
            script.make.__name__,
        ]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        result = (process.stderr.strip().splitlines() or [f"no: ended with {process.returncode} | | | | |"])[
            -1
        ]
    row = f"| {script.source.rstrip('/')} | {script.what} | {script.samples} | {result} |"
    print(row, flush=True)
    return row


def _page(rows: list[str]) -> str:
    head = (
        "| from | what is trained | samples | captured | operators | parameters | footprint | TFLOP | processor |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    intro = (__doc__ or "").strip()
    return "\n".join(["# Scripts of others", "", intro, "", _versions() + ".", "", *head, *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
