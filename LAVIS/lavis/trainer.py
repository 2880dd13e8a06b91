"""transformers' Trainer as vision-language training runs it: checkpoints of what trains alone, marked once whole.

`training.py` calls `build_trainer` when everything is checked.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    InstructBlipForConditionalGeneration,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from lavis import trained
from lavis.examples import Examples
from lavis.inputs import Encoder
from lavis.settings import Training
from open_instruct.core.resume import MarkWholeCheckpoint


def arguments(settings: Training) -> TrainingArguments:
    """The Trainer's settings. The learning rate rises linearly and falls with a cosine, as published."""
    run = settings.run
    cpu = run.device == "cpu" or not torch.cuda.is_available()
    if cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # or DeepSpeed, which accelerate imports, says that it looked
    return TrainingArguments(
        output_dir=run.output_dir,
        learning_rate=run.init_lr,
        lr_scheduler_type="cosine_warmup_with_min_lr",
        lr_scheduler_kwargs={"min_lr": run.min_lr, "warmup_lr_rate": run.warmup_lr / run.init_lr},
        warmup_steps=run.warmup_steps,
        weight_decay=run.weight_decay,
        adam_beta2=run.beta2,
        max_grad_norm=run.max_grad_norm,
        num_train_epochs=run.max_epoch,
        max_steps=run.max_steps,
        per_device_train_batch_size=run.batch_size_train,
        gradient_accumulation_steps=run.accum_grad_iters,
        dataloader_num_workers=run.num_workers,
        bf16=run.amp and not cpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=run.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_steps=run.save_steps,
        save_total_limit=run.save_total_limit,
        logging_steps=run.logging_steps,
        logging_first_step=True,
        report_to=run.report_to,
        use_cpu=cpu,
        seed=run.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,  # what no gradient reaches is frozen (model.mark_trained)
        label_names=["labels"],
    )


def build_trainer(
    settings: Training,
    args: TrainingArguments,
    model: InstructBlipForConditionalGeneration,
    examples: Examples,
    encoder: Encoder,
    description: dict[str, Any],
) -> Trainer:
    """The trainer; `description` is what the result depends on, for the checkpoints."""
    trainer = _Trainer(
        model=model,
        args=args,
        train_dataset=examples,
        data_collator=encoder.batch,
        callbacks=[MarkWholeCheckpoint(description), _Tell()],
    )
    trainer.settings = settings
    if not encoder.decoder_only:  # T5 takes the mean over a pass itself, whatever number of tokens it is told
        trainer.model_accepts_loss_kwargs = False
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


class _Trainer(Trainer):
    """Saves and loads the weights that train, and nothing else of the model."""

    settings: Training | None = None

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        model = self.accelerator.unwrap_model(self.model)
        trained.save(model, self.settings.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trained.put_on(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))


class _Tell(TrainerCallback):
    """One line every `logging_steps`; however few steps there are, the last one is told."""

    def on_train_begin(self, args, state, control, **kwargs):
        self._begin, self._first = time.monotonic(), state.global_step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or "loss" not in logs:
            return
        steps = state.global_step - self._first
        seconds = (time.monotonic() - self._begin) / max(1, steps) * (state.max_steps - state.global_step)
        print(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  "
            f"lr {logs['learning_rate']:.2e}  {seconds:.0f} s left",
            flush=True,
        )
