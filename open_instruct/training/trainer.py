"""TRL's trainer as we run it: the base and its attention, batches without padding, figures of speed, one quiet bar.

`finetune.py` calls `build_trainer` once everything is checked and encoded.
"""

import os
from typing import Any

import torch
import transformers
from accelerate import PartialState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, gather_object
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback, TrainerCallback
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available
from trl import SFTTrainer

from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError
from open_instruct.core.resume import MarkWholeCheckpoint
from open_instruct.training import plan
from open_instruct.training.adapters import adapter_config, load_in_4_bits
from open_instruct.training.leaks import RefuseLeaks
from open_instruct.training.packing import PackedRows, real_tokens
from open_instruct.training.settings import Settings, Training
from open_instruct.training.shares import BlanksLast, filled_up
from open_instruct.training.speed import Speed


def build_trainer(
    settings: Settings,
    training: Training,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    end_of_turn: int,
    description: dict[str, Any],
    speed: Speed,
    eval_rows: Dataset | None = None,
) -> SFTTrainer:
    """TRL's trainer, with checkpoints that are marked once whole, figures of speed, and one quiet progress bar.

    Args:
        settings: the base and the adapter.
        training: what TRL takes.
        rows: what batches are made of, as `finetune.batch_rows` gives them.
        tokenizer: with its chat template.
        end_of_turn: token that ends an answer.
        description: what the result depends on, for the checkpoints.
        speed: counts tokens and time.
        eval_rows: as `rows`; none is evaluated on.

    Raises:
        UserError: the base cannot be loaded as it is asked for.
    """
    model = _load_model(settings, training)
    checkpoint.drop_unused_sampling(model.generation_config)
    model.generation_config.eos_token_id = end_of_turn
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    training.dataset_kwargs = {**(training.dataset_kwargs or {}), "skip_prepare_dataset": True}  # they are prepared
    if eval_rows is not None and training.eval_strategy == "no":
        training.eval_strategy = transformers.IntervalStrategy.STEPS
    devices = training.world_size
    filled = rows
    if devices > 1 and not training.dataloader_drop_last:
        filled = filled_up(rows, training.per_device_train_batch_size, devices)
    trainer = _Trainer(
        model=model,
        args=training,
        train_dataset=filled,
        eval_dataset=None if eval_rows is None else filled_up(eval_rows, training.per_device_eval_batch_size, devices),
        processing_class=tokenizer,
        callbacks=[MarkWholeCheckpoint(description), _TellLastStep()],
        peft_config=adapter_config(settings),
    )
    _check_split(plan.sharding_of(training).name, trainer.accelerator.distributed_type)
    if training.packing and "flash" not in model.config._attn_implementation:
        trainer.data_collator = PackedRows(tokenizer.pad_token_id)
    if training.packing:
        trainer.add_callback(RefuseLeaks(trainer))
    trainer.speed = speed
    if len(filled) > len(rows) and training.train_sampling_strategy == "random":
        seed = training.seed if training.data_seed is None else training.data_seed
        trainer.order = BlanksLast(len(rows), len(filled) - len(rows), seed)
    if not training.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(_Bar())
    return trainer


def _check_split(told: str, kind: DistributedType) -> None:
    """Refuse a run that is not split as the plan told."""
    found = {DistributedType.DEEPSPEED: "ZeRO", DistributedType.FSDP: "FSDP"}.get(kind, "")
    if told.partition("-")[0] != found:
        raise UserError(
            f"{told or 'no splitting'} was asked for, and accelerate gives {found or 'none'} ({kind.value}): start it "
            "by `python -m open_instruct.training.launch` or `accelerate launch`, on several processes"
        )


def _load_model(settings: Settings, training: Training) -> PreTrainedModel:
    base = settings.model_name_or_path
    if settings.use_qlora:
        model = load_in_4_bits(base, training.bf16)
    else:
        if training.fsdp and (training.fsdp_config or {}).get("cpu_ram_efficient_loading"):
            # The first process alone reads the weights; the others get theirs when the model is split.
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "true"
        # What is trained is in float32 even where bf16 is on: that is autocast, and the optimizer needs weights in
        # which a step of 2e-5 does not round away. 16 bytes a parameter with Adam (4 weights, 4 gradients, 8 moments).
        half = training.bf16 and plan.is_base_in_half(settings, plan.sharding_of(training))
        model = checkpoint.load_model(base, torch.bfloat16 if half else torch.float32)
    kind = _attention(settings, training)
    try:
        model.set_attn_implementation(kind)
    except (ImportError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--attn_implementation {kind}: cannot be had here: {reason}; auto takes what there is"
        ) from error
    return model


def _attention(settings: Settings, training: Training) -> str:
    if settings.attn_implementation != "auto":
        return settings.attn_implementation
    if training.device.type == "cuda" and (training.bf16 or training.fp16):  # flash attention knows no float32
        if is_flash_attn_3_available():
            return "flash_attention_3"
        if is_flash_attn_2_available():
            return "flash_attention_2"
    return "sdpa"


class _Trainer(SFTTrainer):
    """TRL's trainer with our count of tokens and speed, an evaluation loss of tokens instead of batches, an adapter
    that knows how a turn ends, and no model card."""

    speed: Speed | None = None
    order: BlanksLast | None = None  # of the training rows; None for transformers' own

    def _build_accelerator_args(self, **kwargs) -> dict[str, Any]:
        found = super()._build_accelerator_args(**kwargs)
        for handler in found["kwargs_handlers"]:
            if isinstance(handler, DistributedDataParallelKwargs):
                handler.gradient_as_bucket_view = True  # else each gradient is kept twice
                if self.args.gradient_checkpointing and self.args.ddp_find_unused_parameters is None:
                    handler.find_unused_parameters = False  # as transformers has it for models without an adapter
        return found

    def create_accelerator_and_postprocess(self) -> None:
        state = PartialState()
        if self.args.fsdp and state.distributed_type == DistributedType.MULTI_CPU:
            # accelerate splits models over accelerators only, and would copy this one, without a word. PyTorch splits
            # over CPUs as well.
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        super().create_accelerator_and_postprocess()

    def get_train_dataloader(self) -> DataLoader:
        batches = super().get_train_dataloader()
        if self.order is not None:  # as accelerate does with its own: else a resumed run's order hears of no epoch
            batches.set_sampler(self.order)
        return batches

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order

    def get_batch_samples(self, *args, **kwargs):
        self.speed.step_begins()
        batches, items = super().get_batch_samples(*args, **kwargs)
        self.speed.saw(sum(real_tokens(batch) for batch in batches))
        return batches, items

    def _maybe_log_save_evaluate(self, *args, **kwargs):
        self.speed.step_ends()
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        """As ever, but the loss is the mean over the answers' tokens: a mean of batches weighs short ones too much."""
        self._evaluated = []
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        evaluated = gather_object(self._evaluated)  # of all processes
        learned = sum(tokens for _, tokens in evaluated)
        output.metrics[f"{metric_key_prefix}_loss"] = sum(loss * tokens for loss, tokens in evaluated) / learned
        return output

    def prediction_step(self, model, inputs, *args, **kwargs):
        loss, *rest = super().prediction_step(model, inputs, *args, **kwargs)
        self._evaluated.append((float(loss), int((inputs["labels"][:, 1:] != -100).sum())))  # nothing predicts a first
        return loss, *rest

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._metrics["eval"].clear()  # means of batches
        for metrics in self._metrics.values():  # TRL takes a batch for one row (see training/packing.py)
            metrics.pop("num_tokens", None)
        if "loss" in logs and (own := self.speed.figures()):
            mean = self.accelerator.reduce(torch.tensor(list(own.values()), device=self.args.device), "mean")
            logs |= dict(zip(own, (round(value, 4) for value in mean.tolist()), strict=True))
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if state_dict is not None and model.config.tie_word_embeddings:  # ZeRO-2 hands the same weights over twice
            tied = getattr(model, "all_tied_weights_keys", {})
            state_dict = {name: weights for name, weights in state_dict.items() if name not in tied}
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # an adapter's folder has none otherwise, and merging would take the base's
            model.generation_config.save_pretrained(output_dir)

    def create_model_card(self, *args, **kwargs) -> None:
        """Ours is written at the end."""


class _TellLastStep(TrainerCallback):
    """However few steps there are, the losses of the last one are known."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_evaluate = args.eval_strategy != "no"


class _Bar(ProgressCallback):
    """The progress bar with the figures of the last log at its end, instead of a line of them every few steps."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or self.training_bar is None:
            return
        if "eval_loss" in logs:
            self.training_bar.write(f"step {state.global_step:,}: loss of --eval_file {logs['eval_loss']:.4f}")
        if "loss" in logs:
            shown = {"loss": f"{logs['loss']:.4f}", "lr": f"{logs.get('learning_rate', 0):.1e}"}
            shown |= {short: form.format(logs[name]) for name, (short, form) in _SHOWN.items() if name in logs}
            self.training_bar.set_postfix(shown)


_SHOWN = {
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
    "mfu": ("MFU", "{:.1%}"),
    "peak_memory_gib": ("GiB", "{:.1f}"),
}
