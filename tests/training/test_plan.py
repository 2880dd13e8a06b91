"""What is told before training: parameters, memory, steps, and a disk that is too small."""

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from open_instruct.core.errors import UserError
from open_instruct.training.adapters import adapter_config
from open_instruct.training.plan import Shape, Sharding, check_disk, memory_of, shape_of, steps_of, told
from open_instruct.training.rows import Counts
from open_instruct.training.settings import Settings, Training
from open_instruct.training.speed import Speed, flops_per_token

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"
BILLION = Shape(10**9, 10**9, 8 * 10**8, 10**8, 20, 2000, 8000, 2000)
GIB = 2**30


def training(tmp_path, **more):
    return Training(str(tmp_path), use_cpu=True, report_to="none", **more)


def test_parameters_are_those_of_the_model():
    shape = shape_of(AutoConfig.from_pretrained(BASE), None)
    model = AutoModelForCausalLM.from_pretrained(BASE)
    assert shape.parameters == shape.trained == sum(weights.numel() for weights in model.parameters())
    inside = sum(weights.numel() for weights in model.model.layers.parameters()) + model.model.norm.weight.numel()
    assert shape.linear == inside


def test_an_8b_llama_is_counted_without_its_weights():
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    assert shape_of(config, None).parameters == 8_030_261_248  # as published for Llama-3-8B


def test_an_adapter_trains_few_of_them():
    config = AutoConfig.from_pretrained(BASE)
    settings = Settings("base", ["rows"], use_lora=True, lora_r=4, lora_target_modules=["q_proj"])
    shape = shape_of(config, adapter_config(settings))
    assert shape.trained == config.num_hidden_layers * 4 * 2 * config.hidden_size


@pytest.mark.parametrize(
    ("sharding", "bytes_a_parameter"),
    [
        (Sharding(), 16),
        (Sharding("ZeRO-2", 2), 4 + (4 + 12) / 4),
        (Sharding("ZeRO-3", 3), (4 + 4 + 12) / 4),
        (Sharding("FSDP", 3), 16 / 4),
        (Sharding("ZeRO-3", 3, offload_optimizer=True, offload_weights=True), 4 / 4),
    ],
)
def test_memory_by_how_it_is_split(tmp_path, monkeypatch, sharding, bytes_a_parameter):
    monkeypatch.setattr(Training, "world_size", property(lambda self: 4))
    memory = memory_of(BILLION, Settings("base", ["rows"]), training(tmp_path), sharding)
    assert memory.weights + memory.gradients + memory.optimizer == pytest.approx(bytes_a_parameter * 10**9)


@pytest.mark.parametrize(
    ("sharding", "bytes_a_parameter"), [(Sharding(), 2), (Sharding("ZeRO-3", 3), 2 / 4), (Sharding("FSDP", 3), 4 / 4)]
)
def test_the_frozen_base_of_an_adapter_is_in_bfloat16(tmp_path, monkeypatch, sharding, bytes_a_parameter):
    monkeypatch.setattr(Training, "world_size", property(lambda self: 4))
    shape = replace(BILLION, trained=0)
    memory = memory_of(shape, Settings("base", ["rows"], use_lora=True), training(tmp_path, bf16=True), sharding)
    assert memory.weights == pytest.approx(bytes_a_parameter * 10**9)


def test_checkpointing_keeps_fewer_activations(tmp_path):
    settings = Settings("base", ["rows"])
    with_it, without = (
        memory_of(BILLION, settings, training(tmp_path, gradient_checkpointing=on), Sharding()).activations
        for on in (True, False)
    )
    assert with_it < without / 5


def test_steps_are_those_that_the_trainer_takes(tmp_path):
    arguments = training(tmp_path, num_train_epochs=2, per_device_train_batch_size=2)
    arguments.gradient_accumulation_steps = 4
    assert steps_of(17, arguments) == 2 * 3  # 9 batches an epoch, the last step of one of them
    assert steps_of(17, replace(arguments, max_steps=5)) == 5


def test_too_small_a_disk_is_one_line(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 30 * 10**9))
    settings = Settings("base", ["rows"])
    check_disk(BILLION, settings, training(tmp_path, save_total_limit=1, save_steps=10), Sharding(), 100)  # 2 x 12 + 4
    with pytest.raises(UserError, match=r"about 37.3 GiB here \(3 checkpoints at once of 11.2 GiB.*27.9 GiB are free"):
        check_disk(BILLION, settings, training(tmp_path, save_steps=10), Sharding(), 100)
    check_disk(BILLION, settings, training(tmp_path, save_steps=100), Sharding(), 100)  # only one is ever written
    check_disk(BILLION, settings, training(tmp_path, save_strategy="no"), Sharding(), 100)


def test_the_counts_add_up_in_words(tmp_path):
    counts = Counts(
        rows_read=10, rows_kept=6, rows_without_answer=1, rows_cut_before_answer=2, rows_not_drawn=3, rows_repeated=2
    )
    counts.lengths = np.array([3, 9, 10, 12, 40, 64], np.int32)
    counts.tokens = int(counts.lengths.sum())
    text = told(
        counts, 3, BILLION, memory_of(BILLION, Settings("b", ["r"]), training(tmp_path), Sharding()),
        Settings("b", ["r"]), training(tmp_path, max_length=64), Sharding(),
    )  # fmt: skip
    assert (
        "rows: 10 read = 6 kept + 1 without an answer\n  + 2 with an answer beyond 64 tokens + 3 not drawn - 2 rep"
        in text
    )
    assert "of a row: 3 to 64, in the middle 11" in text
    assert f"packing: 3 rows of up to 64 tokens, {counts.tokens / (3 * 64):.1%} of them filled" in text
    bars = [line.split() for line in text.splitlines() if "#" in line]
    assert [(int(bar[0]), int(bar[2]), int(bar[3])) for bar in bars] == [
        (2, 3, 1),
        (8, 15, 3),
        (32, 63, 1),
        (64, 127, 1),
    ]


def test_flops_of_a_token():
    counts = Counts(tokens=100, trained_tokens=50, squared_lengths=100 * 10)
    shape = Shape(1300, 1300, linear=1000, head=200, layers=2, hidden=8, inner=16, attention=8)
    # Forward: 2 x (1000 + half of the head's 200), and attention to 10 tokens' half: 2 layers x 2 x 2 x 8 x 5.
    assert flops_per_token(shape, counts, adapter=False) == 3 * (2 * 1100 + 2 * 2 * 2 * 8 * 5)
    frozen = flops_per_token(replace(shape, trained=10), counts, adapter=True)
    assert frozen == 2 * 2 * 1100 + 3 * 2 * 2 * 2 * 8 * 5 + 6 * 10


def test_speed_is_of_steps_and_real_tokens_only(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 12.0])
    # Of this module alone: other threads look at the clock, too.
    monkeypatch.setattr("open_instruct.training.speed.time", SimpleNamespace(monotonic=lambda: next(clock)))
    import torch

    speed = Speed(flops=50.0, peak=10_000.0, device=torch.device("cpu"))
    assert speed.figures() == {}
    for _ in range(2):  # what lies between, 8 s of saving, is no training
        speed.step_begins()
        speed.saw(200)
        speed.step_ends()
        speed.step_ends()
    figures = speed.figures()
    assert figures["tokens_per_second"] == 100 and figures["mfu"] == 0.5
    assert figures["peak_memory_gib"] > 0
    assert speed.figures() == {}
