"""LoRA and QLoRA: what is written, that it resumes, and what is refused."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct import merge_lora
from open_instruct.core.errors import UserError
from open_instruct.core.interruption import Interrupted, StopOnSigterm
from open_instruct.finetune import batch_rows, load_tokenizer, main
from open_instruct.miniature.make_data import training_rows
from open_instruct.training.adapters import load_in_4_bits
from open_instruct.training.rows import encode_rows
from open_instruct.training.settings import Settings, Training
from open_instruct.training.sources import sources
from open_instruct.training.speed import Speed
from open_instruct.training.trainer import build_trainer

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in training_rows(100, seed=0)))
    return path


def train(rows, folder, steps=4, **more):
    settings = Settings(str(BASE), [str(rows)], total_batch_size=2, **{"lora_r": 4, **more})
    training = Training(
        str(folder),
        max_length=64,
        max_steps=steps,
        save_steps=2,
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        learning_rate=1e-2,
        warmup_steps=1,
        report_to="none",
    )
    main(settings, training)
    return json.loads((folder / "run.json").read_text())["results"]


def test_an_adapter_is_written_that_its_base_takes(rows, tmp_path):
    out = tmp_path / "out"
    train(rows, out, use_lora=True, lora_target_modules=["q_proj", "v_proj"])
    assert not (out / "model.safetensors").exists()
    saved = load_file(out / "adapter_model.safetensors")
    assert all("q_proj" in name or "v_proj" in name for name in saved)
    assert all(float(weights.abs().max()) > 0 for weights in saved.values())
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert "<|assistant|>" in tokenizer.chat_template
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == tokenizer.eos_token_id
    with torch.no_grad():
        ids = torch.tensor([[5, 6, 7]])
        with model.disable_adapter():
            plain = model(ids).logits
        assert (model(ids).logits - plain).abs().max() > 1e-3
    assert "library_name: peft" in (out / "README.md").read_text()


def test_an_adapter_goes_on_from_its_checkpoint_even_with_dropout(rows, tmp_path, monkeypatch):
    train(rows, tmp_path / "whole", use_lora=True)
    # As SIGTERM in the third step: saved after it.
    monkeypatch.setattr(StopOnSigterm, "_any_asked", lambda self, device: (calls.append(1), len(calls) == 3)[1])
    calls = []
    with pytest.raises(Interrupted) as stopped:
        train(rows, tmp_path / "cut", use_lora=True)
    assert stopped.value.code == 75
    assert (tmp_path / "cut" / "checkpoint-3" / "whole").exists()
    assert not (tmp_path / "cut" / "adapter_model.safetensors").exists()
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["status"] == "interrupted"
    train(rows, tmp_path / "cut", use_lora=True)
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-6


def test_with_bf16_the_frozen_base_is_in_it_and_the_adapter_is_not(rows, tmp_path):
    settings = Settings(str(BASE), [str(rows)], use_lora=True, lora_dropout=0.0)
    arguments = dict(max_length=64, use_cpu=True, disable_tqdm=True, report_to="none", gradient_checkpointing=False)
    losses = {}
    for bf16 in (True, False):
        training = Training(str(tmp_path / "out"), bf16=bf16, **arguments)
        tokenizer, end = load_tokenizer(settings)
        encode_rows(sources(settings.train_file), 64, tokenizer, tmp_path / "rows.arrow")
        batches = batch_rows(tmp_path / "rows.arrow", training)
        trainer = build_trainer(settings, training, batches, tokenizer, end, {}, Speed(1.0, None, training.device))
        types = {weights.requires_grad: weights.dtype for weights in trainer.model.parameters()}
        assert types == {True: torch.float32, False: torch.bfloat16 if bf16 else torch.float32}
        batch = next(iter(trainer.get_train_dataloader()))
        with trainer.accelerator.autocast():
            losses[bf16] = trainer.compute_loss(trainer.model, dict(batch))
        losses[bf16].backward()
        assert all(weights.grad is not None for weights in trainer.model.parameters() if weights.requires_grad)
    assert abs(losses[True] - losses[False]) < 0.05


def _without_dropout(model):
    """In training mode all the same."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return model


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_an_adapter_on_a_base_in_4_bits(rows, tmp_path):
    results = train(rows, tmp_path / "out", use_qlora=True)
    assert results["steps"] == 4
    merge_lora.main(merge_lora.Settings(str(BASE), str(tmp_path / "out"), str(tmp_path / "merged")))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    trained_on = PeftModel.from_pretrained(load_in_4_bits(str(BASE), bf16=False), tmp_path / "out")
    in_full = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), tmp_path / "out")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        # As in training: for answers alone, bitsandbytes on a CPU rounds to bfloat16 in a kernel of its own.
        expected = _without_dropout(trained_on)(ids).logits
        assert (merged(ids).logits - expected).abs().max() < 1e-4
        assert (in_full.eval()(ids).logits - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (dict(use_lora=True, use_qlora=True), "--use_lora and --use_qlora: choose one"),
        (dict(use_lora=True, lora_r=0), "--lora_r 0: expected 1 or more"),
        (
            dict(use_lora=True, lora_target_modules=["q_proj", "query"]),
            "--lora_target_modules query: the model has no such layer; it has .*q_proj",
        ),
    ],
)
def test_what_cannot_be_is_one_line(rows, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        train(rows, tmp_path / "out", **more)


def test_without_bitsandbytes_4_bits_are_refused(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="--use_qlora needs bitsandbytes, which does not load here"):
        train(rows, tmp_path / "out", use_qlora=True)
