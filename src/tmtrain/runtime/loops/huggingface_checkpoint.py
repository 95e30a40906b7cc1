"""A checkpoint of a `transformers.Trainer` in a budget: a folder that its ``resume_from_checkpoint`` takes.

``model.safetensors`` is a checkpoint of ours, whole; the trainer finds the model's weights in it under their names, and its
own place in the data in ``trainer_state.json``. The rest is put back by the callback, once the trainer has begun.
"""

import uuid
from pathlib import Path
from typing import Any, cast

from transformers import TrainerState, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints
from transformers.utils import SAFE_WEIGHTS_NAME

from tmtrain.errors import InputError
from tmtrain.runtime.loops.generators import random_states
from tmtrain.runtime.training.training import Training

STATE = "trainer_state.json"
_MARK = "tmtrain checkpoint"
"""Under which the trainer's state says which checkpoint it belongs to."""


def save_trainer(
    training: Training[[], None], args: TrainingArguments, state: TrainerState, *, scheduler: Any
) -> None:
    """Write the checkpoint of this step, and remove older ones as the trainer would; errors as `Training.save`."""
    folder = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
    mark = uuid.uuid4().hex
    extra = {
        "global_step": state.global_step,
        "lr_scheduler": scheduler.state_dict(),
        "random": random_states(),
        "mark": mark,
    }
    training.save(folder / SAFE_WEIGHTS_NAME, extra=extra)
    _marks_in(state)[_MARK] = {"attributes": {"mark": mark}}
    state.save_to_json(str(folder / STATE))  # last: without it the trainer does not take the folder
    rotate_checkpoints(str(folder.parent), args.save_total_limit, use_mtime=True)


def load_trainer(
    training: Training[[], None],
    args: TrainingArguments,
    state: TrainerState,
    *,
    scheduler: Any,
    folder: str | Path | None,
) -> dict[str, Any]:
    """Put back what belongs to a state that the trainer has loaded; return where the generators were.

    Raises:
        InputError: that checkpoint is somewhere else, or is none of ours; says what to do.
        FileFormatError: it is damaged.
    """
    number = state.global_step
    folder = Path(args.output_dir or ".") / f"checkpoint-{number}" if folder is None else Path(folder)
    mark = _marks_in(state).get(_MARK)
    if not isinstance(mark, dict):
        raise InputError(
            f"the trainer goes on from step {number} of a checkpoint that was not written in a budget: load model and "
            "optimizer from it yourself, and train anew, without resume_from_checkpoint"
        )
    remedy = (
        "say BudgetTrainerCallback(..., resume_from=FOLDER) with the folder that resume_from_checkpoint has"
    )
    if not (folder / SAFE_WEIGHTS_NAME).is_file():
        raise InputError(f"the trainer goes on from step {number}, and {folder} has no checkpoint: {remedy}")
    extra = training.load(folder / SAFE_WEIGHTS_NAME)
    if not isinstance(extra, dict) or extra.get("mark") != mark["attributes"]["mark"]:
        raise InputError(f"{folder} is not the checkpoint whose state the trainer has loaded: {remedy}")
    scheduler.load_state_dict(extra["lr_scheduler"])
    return extra["random"]


def _marks_in(state: TrainerState) -> dict[str, Any]:
    """Return the part of a trainer's state that is a dictionary of whatever callbacks put into it."""
    return cast(dict[str, Any], state.stateful_callbacks)
