"""Hugging Face's `Trainer` in a budget: ``python examples/trainer_in_a_budget.py BUDGET FLASH_FOLDER [STEPS]``.

Nothing of the trainer is changed but its callbacks: gradient accumulation, clipping, the scheduler, logging, evaluation and
saving are its own. The tokens are made here, since a pretrained model or a data set would have to be fetched.
"""

import sys
from pathlib import Path

import torch
import transformers

from tmtrain.runtime.loops.huggingface import BudgetTrainerCallback

VOCABULARY, LENGTH, SEQUENCES = 512, 64, 64


def sequences() -> list[dict[str, torch.Tensor]]:
    """Return sequences in which every token says the next: it is 3 further on, from a random start."""
    starts = torch.randint(VOCABULARY, (SEQUENCES, 1), generator=torch.Generator().manual_seed(0))
    tokens = (starts + 3 * torch.arange(LENGTH)) % VOCABULARY
    return [{"input_ids": row, "labels": row} for row in tokens]


def main(budget: str, folder: str, steps: int = 12) -> None:
    """Train, evaluate half way and at the end, save at the end, and say what it took."""
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        n_layer=4,
        n_embd=256,
        n_head=4,
        n_positions=LENGTH,
        vocab_size=VOCABULARY,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        loss_type="ForCausalLM",
    )
    arguments = transformers.TrainingArguments(
        str(Path(folder) / "trained"),
        max_steps=steps,
        learning_rate=1e-3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=steps // 2,
        save_steps=steps,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    rows = sequences()
    with BudgetTrainerCallback(budget_bytes=budget, flash=folder) as kept:
        trainer = transformers.Trainer(
            transformers.GPT2LMHeadModel(config),
            arguments,
            train_dataset=rows,
            eval_dataset=rows[:8],
            callbacks=[kept],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    for entry in trainer.state.log_history:
        for name in ("loss", "eval_loss"):
            if name in entry:
                print(f"step {entry['step']:3}  {name} {float(entry[name]):.4f}")
    last = kept.training.result.steps[-1]
    print(
        f"the last step: {last.how}, {last.bytes_in / 2**20:,.1f} MiB in, {last.bytes_out / 2**20:,.1f} MiB out, "
        f"at most {last.peak_bytes / 2**20:,.1f} MiB in memory"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
