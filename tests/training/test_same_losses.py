"""Our losses beside those of TRL's own trainer and of a plain PyTorch loop: same model, rows, seed and settings."""

import json
import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from open_instruct.core.chat import set_template
from open_instruct.finetune import batch_rows, load_tokenizer, main
from open_instruct.miniature.make_data import training_rows
from open_instruct.training.packing import PackedRows
from open_instruct.training.rows import encode_rows
from open_instruct.training.settings import Settings, Training
from open_instruct.training.sources import sources

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"
STEPS, BATCH, RATE, WARM = 20, 4, 2e-4, 2


def conversations():
    return [
        [
            {
                "role": "user",
                "content": f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"],
            },
            {"role": "assistant", "content": row["output"]},
        ]
        for row in training_rows(700, seed=0)
    ]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The losses of each step, and the packed rows that they were taken on."""
    folder = tmp_path_factory.mktemp("ours")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in conversations()))
    training = Training(str(folder / "out"), **_shared(), lr_scheduler_type="linear", warmup_steps=WARM)
    settings = Settings(str(BASE), [str(rows)], total_batch_size=BATCH)
    main(settings, training)
    tokenizer, _ = load_tokenizer(settings)
    encode_rows(sources(settings.train_file), 128, tokenizer, folder / "rows.arrow")
    state = json.loads((folder / "out" / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry], batch_rows(
        folder / "rows.arrow", training
    )


def _shared():
    return dict(
        max_length=128,
        packing=True,
        shuffle_dataset=True,
        max_steps=STEPS,
        learning_rate=RATE,
        per_device_train_batch_size=2,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        report_to="none",
        seed=3,
    )


def test_trl_alone_has_our_losses(ours, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    set_template(tokenizer, "tulu")
    arguments = SFTConfig(
        str(tmp_path),
        **_shared(),
        assistant_only_loss=True,
        gradient_accumulation_steps=BATCH // 2,
        lr_scheduler_type="linear",
        warmup_steps=WARM,
        save_strategy="no",
    )
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32),
        arguments,
        train_dataset=Dataset.from_dict({"messages": conversations()}),
        processing_class=tokenizer,
    )
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(theirs) == STEPS
    assert max(abs(one - other) for one, other in zip(ours[0], theirs, strict=True)) < 1e-5


def test_a_plain_loop_has_our_losses(ours):
    """Every example alone, without packing, padding, trainer or scheduler of anybody's."""
    losses, rows = ours
    # A shuffled order as torch's RandomSampler draws it; what is compared is the arithmetic.
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(_shared()["seed"])).tolist()
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for step in range(STEPS):
        share = step / WARM if step < WARM else (STEPS - step) / (STEPS - WARM)
        optimizer.param_groups[0]["lr"] = RATE * share
        total, learned = 0.0, 0
        for row in (rows[number] for number in order[step * BATCH : (step + 1) * BATCH]):
            begin = 0
            for length in row["seq_lengths"]:
                ids = torch.tensor([row["input_ids"][begin : begin + length]])
                labels = torch.tensor(row["labels"][begin : begin + length])
                begin += length
                logits = model(ids).logits[0, :-1]
                total = total + cross_entropy(logits, labels[1:], ignore_index=-100, reduction="sum")
                learned += int((labels[1:] != -100).sum())
        loss = total / learned
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert math.isclose(float(loss.detach()), losses[step], abs_tol=1e-5), step


def test_the_collator_learns_every_answer_token(ours):
    rows = [ours[1][number] for number in range(4)]
    batch = PackedRows(0)(rows)
    assert (batch["labels"] != -100).sum() == sum(label != -100 for row in rows for label in row["labels"])
