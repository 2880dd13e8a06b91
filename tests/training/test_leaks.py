"""Architectures that let packed rows see each other are found out; without packing they are trained."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, MistralConfig, MixtralConfig, OPTConfig

from open_instruct.core.errors import UserError
from open_instruct.finetune import main
from open_instruct.miniature.make_data import training_rows
from open_instruct.training.settings import Settings, Training

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"
TOKENS = dict(vocab_size=660, bos_token_id=1, eos_token_id=2, pad_token_id=0)
SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128, **TOKENS)
LLAMA_LIKE = dict(intermediate_size=48, num_key_value_heads=2, **SHAPE)


def train(folder, config, **more):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, folder / "base")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in training_rows(20, seed=0)))
    options = dict(max_length=64, max_steps=1, use_cpu=True, disable_tqdm=True, report_to="none")
    settings = Settings(str(folder / "base"), [str(rows)], total_batch_size=1, **more.pop("ours", {}))
    main(settings, Training(str(folder / "out"), **options, **more))


@pytest.mark.parametrize("config", [MistralConfig(**LLAMA_LIKE), GPTNeoXConfig(intermediate_size=48, **SHAPE)])
def test_other_architectures_keep_rows_apart_and_are_trained(tmp_path, config):
    train(tmp_path, config)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_one_that_does_not_is_refused_and_trained_without_packing(tmp_path):
    config = OPTConfig(ffn_dim=48, word_embed_proj_dim=32, **SHAPE)
    with pytest.raises(UserError, match="'opt' lets packed rows see each other with sdpa attention; --packing false"):
        train(tmp_path, config)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    train(tmp_path, config, packing=False)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_an_adapter_that_an_architecture_does_not_take_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such adapter for a model of type 'mixtral': .*lora_dropout"):
        train(tmp_path, MixtralConfig(num_local_experts=4, **LLAMA_LIKE), ours=dict(use_lora=True))
