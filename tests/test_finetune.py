"""Fine-tuning the miniature: what is learned from, counts, kill and resume, errors before anything is trained."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct.core.chat import set_template
from open_instruct.core.command import run
from open_instruct.core.errors import UserError
from open_instruct.finetune import (
    Settings,
    Training,
    accumulation,
    last_whole_checkpoint,
    load_tokenizer,
    main,
    prepare,
)
from open_instruct.miniature.make_data import training_rows

BASE = Path(__file__).parents[1] / "open_instruct" / "miniature" / "base"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in training_rows(400, seed=0)))
    return path


def settings(rows, **more):
    return Settings(str(BASE), str(rows), **more)


def training(folder, **more):
    options = dict(
        max_length=256,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        learning_rate=1e-3,
        warmup_steps=1,
    )
    return Training(str(folder), **{**options, **more})


def test_a_short_run_writes_a_checkpoint_that_knows_its_template_and_its_end(tmp_path, rows, capsys):
    main(settings(rows, total_batch_size=4), training(tmp_path / "out", max_steps=6))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert "<|assistant|>" in tokenizer.chat_template
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    results = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    assert results["last_loss"] < results["first_loss"]
    assert results["rows_read"] == results["rows_kept"] == 400
    assert 0 < results["trained_tokens"] < results["tokens"]
    assert "rows: 400 read = 400 kept + 0 without an answer" in capsys.readouterr().out
    main(settings(rows, total_batch_size=4), training(tmp_path / "out", max_steps=6))
    assert "already finished" in capsys.readouterr().out


def test_conversations_and_instruction_rows_are_both_read(tmp_path):
    tokenizer = load_tokenizer(str(BASE))
    set_template(tokenizer, "tulu")
    messages = [{"role": "user", "content": "Copy the list.\nfig pear"}, {"role": "assistant", "content": "fig pear"}]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.json"
    one.write_text(json.dumps({"dataset": "x", "id": "1", "messages": messages}))
    two.write_text(json.dumps([{"instruction": "Copy the list.", "input": "fig pear", "output": "fig pear"}]))
    datasets = [prepare(settings(path), 64, tokenizer)[0][:] for path in (one, two)]
    assert datasets[0] == datasets[1]


def test_a_row_cut_before_its_answer_is_dropped_and_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    long = {"instruction": "Copy the list.", "input": "fig " * 200, "output": "fig"}
    short = {"instruction": "Copy the list.", "input": "fig", "output": "fig " * 100}
    path.write_text(json.dumps(long) + "\n" + json.dumps(short) + "\n")
    tokenizer = load_tokenizer(str(BASE))
    set_template(tokenizer, "tulu")
    dataset, counts = prepare(settings(path), 64, tokenizer)
    assert counts["rows_read"] == 2 and counts["rows_cut_before_answer"] == 1 and counts["rows_kept"] == 1
    assert counts["rows_truncated"] == 1 and counts["tokens"] == 64 == len(dataset[0]["input_ids"])
    path.write_text(json.dumps(long))
    with pytest.raises(UserError, match="no row has an assistant token within --max_length 64"):
        prepare(settings(path), 64, tokenizer)


def test_packed_rows_do_not_see_each_other():
    """The trap: with `use_cache=True` the rows of a pack leak into each other in transformers 5.19."""
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    first, second = torch.randint(300, 500, (1, 20)), torch.randint(300, 500, (1, 30))
    positions = torch.cat([torch.arange(20), torch.arange(30)])[None]
    with torch.no_grad():
        alone = model(second, use_cache=False).logits
        packed = model(torch.cat([first, second], 1), position_ids=positions, use_cache=False).logits[:, 20:]
    assert (alone - packed).abs().max() < 1e-4


def test_the_total_batch_is_kept_or_refused_with_the_nearest(rows, tmp_path):
    assert accumulation(settings(rows, total_batch_size=12), training(tmp_path, per_device_train_batch_size=4)) == 3
    with pytest.raises(UserError, match="does not divide into 1 devices of 5 rows; the nearest that does is 10"):
        accumulation(settings(rows, total_batch_size=12), training(tmp_path, per_device_train_batch_size=5))


def test_a_torn_checkpoint_is_deleted_and_the_one_before_is_taken(tmp_path):
    for step in (10, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-10" / "whole").touch()
    assert last_whole_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-10")
    assert not (tmp_path / "checkpoint-20").exists()


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_the_weights_of_an_unbroken_run(tmp_path, rows):
    def command(folder):
        flags = dict(
            model_name_or_path=BASE,
            train_file=rows,
            output_dir=folder,
            total_batch_size=2,
            max_length=128,
            max_steps=60,
        )
        flags |= dict(save_steps=5, gradient_checkpointing="false", use_cpu="true", logging_steps=1, learning_rate=1e-3)
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "open_instruct.finetune", *words]

    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    subprocess.run(command(tmp_path / "whole"), check=True, **quiet)
    for steps in (10, 30):
        process = subprocess.Popen(command(tmp_path / "killed"), **quiet)
        while process.poll() is None and not list((tmp_path / "killed").glob(f"checkpoint-{steps}/whole")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True, env=quiet["env"])
    assert "going on from" in again.stdout
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-6


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("tokenizer.json", "tokenizer_config.json"), "no tokenizer in this folder"),
        (("config.json",), "no config.json"),
        (("model.safetensors",), "no weights"),
    ],
)
def test_an_incomplete_checkpoint_folder_is_one_line(tmp_path, rows, gone, message):
    folder = tmp_path / "model"
    shutil.copytree(BASE, folder)
    for name in gone:
        (folder / name).unlink()
    arguments = ["--model_name_or_path", str(folder), "--train_file", str(rows), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=f"error: {folder}: {message}"):
        run(main, Settings, Training, arguments=[*arguments, "--use_cpu", "true"])
    assert not (tmp_path / "out").exists()


def test_a_row_without_answer_is_dropped_and_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Copy it.", "output": "a"}\n{"instruction": "Copy it.", "output": " "}\n')
    tokenizer = load_tokenizer(str(BASE))
    set_template(tokenizer, "tulu")
    _, counts = prepare(settings(path), 64, tokenizer)
    assert (counts["rows_read"], counts["rows_kept"], counts["rows_without_answer"]) == (2, 1, 1)


def test_a_row_that_is_neither_kind_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Copy it.", "output": "a"}\n{"question": "Copy it."}\n')
    tokenizer = load_tokenizer(str(BASE))
    set_template(tokenizer, "tulu")
    with pytest.raises(UserError, match="rows.jsonl:2: field 'instruction' is missing"):
        prepare(settings(path), 64, tokenizer)
