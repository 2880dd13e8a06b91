"""Fine-tuning the miniature: what is learned from, counts, kill and resume, errors before anything is trained."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct.core.command import run
from open_instruct.core.errors import UserError
from open_instruct.core.interruption import Interrupted
from open_instruct.core.only_run import only_run
from open_instruct.core.resume import delete_torn_checkpoints, last_whole_checkpoint
from open_instruct.finetune import (
    accumulation,
    batch_rows,
    describe,
    load_tokenizer,
    main,
)
from open_instruct.miniature.make_data import training_rows
from open_instruct.training.rows import encode_rows, open_rows
from open_instruct.training.settings import Settings, Training
from open_instruct.training.sources import sources
from open_instruct.training.speed import Speed
from open_instruct.training.trainer import build_trainer

BASE = Path(__file__).parents[1] / "open_instruct" / "miniature" / "base"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in training_rows(400, seed=0)))
    return path


def settings(rows, **more):
    return Settings(str(BASE), [str(rows)], **more)


def training(folder, **more):
    options = dict(
        max_length=256,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        learning_rate=1e-3,
        warmup_steps=1,
        report_to="none",
    )
    return Training(str(folder), **{**options, **more})


def encoded(path, length, tokenizer, most=-1):
    """The rows of a file as they are trained on, and their counts."""
    file = Path(path).with_suffix(".arrow")
    counts = encode_rows(sources([str(path)]), length, tokenizer, file, most)
    return open_rows(file), counts


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
    tokenizer, _ = load_tokenizer(settings("rows.jsonl"))
    messages = [{"role": "user", "content": "Copy the list.\nfig pear"}, {"role": "assistant", "content": "fig pear"}]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.json"
    one.write_text(json.dumps({"dataset": "x", "id": "1", "messages": messages}))
    two.write_text(json.dumps([{"instruction": "Copy the list.", "input": "fig pear", "output": "fig pear"}]))
    datasets = [encoded(path, 64, tokenizer)[0][:] for path in (one, two)]
    assert datasets[0] == datasets[1]


def test_a_row_cut_before_its_answer_is_dropped_and_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    long = {"instruction": "Copy the list.", "input": "fig " * 200, "output": "fig"}
    short = {"instruction": "Copy the list.", "input": "fig", "output": "fig " * 100}
    path.write_text(json.dumps(long) + "\n" + json.dumps(short) + "\n")
    tokenizer, _ = load_tokenizer(settings("rows.jsonl"))
    dataset, counts = encoded(path, 64, tokenizer)
    assert counts.rows_read == 2 and counts.rows_cut_before_answer == 1 and counts.rows_kept == 1
    assert counts.rows_truncated == 1 and counts.tokens == 64 == len(dataset[0]["input_ids"])
    path.write_text(json.dumps(long))
    with pytest.raises(UserError, match="no row has an assistant token within --max_length 64"):
        encoded(path, 64, tokenizer)


@pytest.mark.parametrize(("length", "packed_rows"), [(512, 1), (80, 2)])
def test_the_loss_of_a_packed_batch_is_that_of_its_rows_alone(tmp_path, rows, length, packed_rows):
    """Through the trainer as it is built for a run, so that nothing leaks between rows and no label is lost."""

    def loss_and_tokens(packing):
        arguments = training(tmp_path, max_length=length, packing=packing, per_device_train_batch_size=7)
        tokenizer, end_of_turn = load_tokenizer(settings(rows))
        _, counts = encoded(rows, length, tokenizer, most=7)
        dataset = batch_rows(rows.with_suffix(".arrow"), arguments)
        trainer = build_trainer(
            settings(rows), arguments, dataset, tokenizer, end_of_turn, {}, Speed(1.0, None, arguments.device)
        )
        assert len(trainer.train_dataset) == (packed_rows if packing else 7)
        (batch,) = trainer.get_train_dataloader()
        # What the first token of a row predicts from is another row's, so it is never learned.
        assert counts.trained_tokens == int((batch["labels"] != -100).sum())
        with torch.no_grad():
            return float(trainer.compute_loss(trainer.model.eval(), dict(batch)))

    assert abs(loss_and_tokens(packing=True) - loss_and_tokens(packing=False)) < 1e-5


def test_bfloat16_is_of_the_arithmetic_and_not_of_the_weights(tmp_path, rows):
    """In bfloat16 a weight of 1 takes no step smaller than 0.004: at the usual learning rates most would be lost."""
    AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, tmp_path / "base")
    chosen = Settings(str(tmp_path / "base"), [str(rows)], total_batch_size=1, max_train_rows=8)
    main(chosen, training(tmp_path / "out", max_steps=2, bf16=True))
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {weights.dtype for weights in saved.values()} == {torch.float32}
    assert (saved["model.norm.weight"].bfloat16().float() != saved["model.norm.weight"]).any()


def test_the_total_batch_is_kept_or_refused_with_the_nearest(rows, tmp_path):
    assert accumulation(settings(rows, total_batch_size=12), training(tmp_path, per_device_train_batch_size=4)) == 3
    with pytest.raises(UserError, match="does not divide into 1 devices of 5 rows; the nearest that does is 10"):
        accumulation(settings(rows, total_batch_size=12), training(tmp_path, per_device_train_batch_size=5))


def test_a_torn_checkpoint_is_deleted_and_the_one_before_is_taken(tmp_path):
    for step in (5, 10, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}" / "whole").write_text('{"seed": 1, "train_file": "here"}')
    delete_torn_checkpoints(str(tmp_path))
    assert not (tmp_path / "checkpoint-20").exists()
    taken = last_whole_checkpoint(str(tmp_path), {"seed": 1, "train_file": "there"}, uncompared=("train_file",))
    assert taken == str(tmp_path / "checkpoint-10")


def test_what_somebody_keeps_beside_the_checkpoints_is_not_touched(tmp_path):
    for name in ("checkpoint-5", "checkpoint-9-merged", "checkpoint-best"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="checkpoint-5: a checkpoint that this program did not write"):
        delete_torn_checkpoints(str(tmp_path))  # another trainer's, into whose folder the user sent us
    (tmp_path / "run.json").write_text("{}")
    delete_torn_checkpoints(str(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("*-*")) == ["checkpoint-9-merged", "checkpoint-best"]
    assert last_whole_checkpoint(str(tmp_path), {}) is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("learning_rate", r"learning_rate \(0.001, now 0.002\)"),
        ("seed", r"seed \(42, now 7\)"),
        ("rows", "train_file_sha256"),
        ("base", "base_digest"),
        ("mark", "prompt_template"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_named(tmp_path, rows, changed, named):
    base = Path(shutil.copytree(BASE, tmp_path / "base"))
    out = tmp_path / "out"

    def start(**more):
        chosen = Settings(str(base), [str(rows)], total_batch_size=4, max_train_rows=40)
        main(chosen, training(out, max_steps=2, save_steps=1, **more))

    start()
    weights = (out / "model.safetensors").read_bytes()
    more = {"learning_rate": 2e-3} if changed == "learning_rate" else {"seed": 7} if changed == "seed" else {}
    if changed == "rows":
        rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:]))
    if changed == "base":
        (base / "generation_config.json").write_text("{}")
    if changed == "mark":  # of an older version
        (out / "checkpoint-2" / "whole").write_text("")
        (out / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"checkpoint-2: was made with another .*{named}.* Give another --output_dir"):
        start(**more)
    if changed != "mark":
        assert (out / "model.safetensors").read_bytes() == weights
        assert json.loads((out / "run.json").read_text())["status"] == "finished"


def test_what_does_not_change_the_weights_does_not_count(tmp_path, rows):
    moved = Path(shutil.copy(rows, tmp_path / "moved.jsonl"))
    one = describe(settings(rows), training(tmp_path / "one", save_steps=3))
    other = describe(settings(moved), training(tmp_path / "other", save_steps=4, logging_steps=7, disable_tqdm=False))
    assert {name for name in one if one[name] != other[name]} == {"train_file"}


def test_killed_after_its_last_step_it_writes_the_weights_and_trains_no_further(tmp_path, rows, capsys):
    written = []
    for _ in range(2):
        main(settings(rows, total_batch_size=4), training(tmp_path / "out", max_steps=2))
        written.append((tmp_path / "out" / "model.safetensors").read_bytes())
        assert json.loads((tmp_path / "out" / "run.json").read_text())["results"]["steps"] == 2
        (tmp_path / "out" / "model.safetensors").unlink()  # run.json says finished, but it is not
    assert "going on from" in capsys.readouterr().out
    assert written[0] == written[1]


@pytest.mark.parametrize(("steps", "logging_steps"), [(1, 10), (3, 10), (10, 10), (12, 10)])
def test_first_and_last_loss_are_told_however_few_the_steps(tmp_path, rows, steps, logging_steps):
    chosen = settings(rows, total_batch_size=1, max_train_rows=200)
    main(chosen, training(tmp_path / "out", max_steps=steps, logging_steps=logging_steps))
    results = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    assert results["steps"] == steps
    assert (results["first_loss"] == results["last_loss"]) == (steps == 1)


def test_a_second_process_is_kept_out_and_deletes_nothing(tmp_path, rows):
    torn = tmp_path / "out" / "checkpoint-5"
    torn.mkdir(parents=True)
    with only_run(tmp_path / "out", "training"), pytest.raises(UserError, match="another training is writing here"):
        main(settings(rows), training(tmp_path / "out"))
    assert torn.exists()


def test_on_a_terminal_there_is_one_bar_and_no_line_of_figures(tmp_path, rows, capfd):
    chosen = settings(rows, total_batch_size=1, max_train_rows=100)
    main(chosen, training(tmp_path / "out", max_steps=4, disable_tqdm=False))
    printed = capfd.readouterr()
    assert "4/4" in printed.err and "loss=" in printed.err
    assert {line.split("%")[0].strip() for line in printed.err.splitlines()} <= {"", "0", "25", "50", "75", "100"}
    assert "{" not in printed.out + printed.err
    assert "packing: " in printed.out and "memory of a device" in printed.out


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
        while process.poll() is None and not saved(tmp_path / "killed", steps):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True, env=quiet["env"])
    assert "going on from" in again.stdout
    assert differences(tmp_path / "whole", tmp_path / "killed", 60) < 1e-6
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-6


def saved(folder, step):
    """Whether a checkpoint of that step or of a later one is whole; only the newest two stay."""
    return any(int(path.parent.name.split("-")[1]) >= step for path in folder.glob("checkpoint-*/whole"))


def differences(one, other, steps):
    """The greatest between the losses of all steps."""
    states = [json.loads((run / f"checkpoint-{steps}" / "trainer_state.json").read_text()) for run in (one, other)]
    losses = [[entry["loss"] for entry in state["log_history"] if "loss" in entry] for state in states]
    assert len(losses[0]) == steps
    return max(abs(first - second) for first, second in zip(*losses, strict=True))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
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
    tokenizer, _ = load_tokenizer(settings("rows.jsonl"))
    _, counts = encoded(path, 64, tokenizer)
    assert (counts.rows_read, counts.rows_kept, counts.rows_without_answer) == (2, 1, 1)


def test_a_row_that_is_neither_kind_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Copy it.", "output": "a"}\n{"question": "Copy it."}\n')
    tokenizer, _ = load_tokenizer(settings("rows.jsonl"))
    with pytest.raises(UserError, match="rows.jsonl:2: field 'instruction' is missing"):
        encoded(path, 64, tokenizer)


def test_eval_file_tensorboard_and_speed(tmp_path, rows):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(json.dumps(row) + "\n" for row in training_rows(20, seed=9)))
    chosen = settings(rows, total_batch_size=4, eval_file=str(held_out))
    main(chosen, training(tmp_path / "out", max_steps=4, eval_steps=2, save_steps=4, report_to="tensorboard"))
    state = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())
    told = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    assert len(told) == 2 and told[1] < told[0]
    logged = [entry for entry in state["log_history"] if "loss" in entry]
    assert all(entry["tokens_per_second"] > 0 and entry["peak_memory_gib"] > 0 for entry in logged)
    assert list((tmp_path / "out" / "runs").rglob("events*"))


@pytest.mark.parametrize("packing", [True, False])
def test_the_evaluation_loss_is_the_mean_over_the_answer_tokens_of_the_whole_file(tmp_path, rows, packing):
    held_out = uneven_rows(tmp_path / "held_out.jsonl")
    more = dict(packing=packing, max_length=256, per_device_eval_batch_size=3, eval_steps=1, max_steps=2, seed=1)
    main(settings(rows, total_batch_size=1, eval_file=str(held_out)), training(tmp_path / "out", **more))
    told = json.loads((tmp_path / "out" / "run.json").read_text())["results"]["eval_loss"]
    assert f"{told:.4f} on held-out rows" in (tmp_path / "out" / "README.md").read_text()
    losses = plain_losses(tmp_path / "out", held_out)
    of_tokens = sum(sum(row) for row in losses) / sum(len(row) for row in losses)
    of_rows = sum(sum(row) / len(row) for row in losses) / len(losses)
    assert abs(told - of_tokens) < 1e-5 and abs(of_rows - of_tokens) > 0.01


def uneven_rows(path):
    """Rows with answers of 1 to 60 words."""
    lengths = [1, 60, 2, 40, 1, 1, 30, 3, 1, 50, 1]
    words = [" ".join((["fig", "pear", "plum"] * 20)[:length]) for length in lengths]
    rows = [{"instruction": "Copy the list.", "input": text, "output": text} for text in words]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain_losses(folder, file):
    """Of each row, the loss of each answer token, without trainer, packing or padding."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    told = []
    for row in map(json.loads, file.read_text().splitlines()):
        prompt = [{"role": "user", "content": f"{row['instruction']}\n{row['input']}"}]
        whole = [*prompt, {"role": "assistant", "content": row["output"]}]
        begin = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"])
        ids = torch.tensor([tokenizer.apply_chat_template(whole)["input_ids"]])
        end = int((ids[0] == tokenizer.eos_token_id).nonzero()[-1]) + 1
        with torch.no_grad():
            logits = model(ids).logits[0, begin - 1 : end - 1]
        told.append(torch.nn.functional.cross_entropy(logits, ids[0, begin:end], reduction="none").tolist())
    return told


def test_a_base_with_sampling_settings_and_no_sampling_is_trained_and_saved(tmp_path, rows):
    """As Llama 2 was published; transformers loads it and refuses to save it."""
    base = Path(shutil.copytree(BASE, tmp_path / "base"))
    given = {"bos_token_id": 1, "eos_token_id": 2, "temperature": 0.9, "top_p": 0.6, "transformers_version": "4.31.0"}
    (base / "generation_config.json").write_text(json.dumps(given))
    for name, more in (("full", {}), ("adapter", dict(use_lora=True))):
        chosen = Settings(str(base), [str(rows)], total_batch_size=1, max_train_rows=8, **more)
        main(chosen, training(tmp_path / name, max_steps=1))
        saved = json.loads((tmp_path / name / "generation_config.json").read_text())
        assert saved["eos_token_id"] == 2 and not {"temperature", "top_p"} & saved.keys()


def test_the_folder_is_plain_and_its_card_tells_what_it_was_made_from(tmp_path, rows):
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps(row) + "\n" for row in training_rows(30, seed=1)))
    chosen = Settings(str(BASE), [str(rows), f"{more}=10"], total_batch_size=4)
    main(chosen, training(tmp_path / "out", max_steps=1))
    results = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    assert results["rows_read"] == 430 and results["rows_kept"] == 410 and results["rows_not_drawn"] == 20
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| rows.jsonl | 1x | `" in card and "| more.jsonl | 10 rows | `" in card
    assert "410 rows of 430" in card and "| `learning_rate` | 0.001 |" in card and "transformers" in card
    assert str(tmp_path) not in card
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    model = {"model.safetensors", "config.json", "generation_config.json"}
    assert names == tokenizer | model | {"README.md", "run.json", "checkpoint-1", ".lock"}


def test_too_small_a_disk_is_refused_before_anything_is_trained(tmp_path, rows, monkeypatch):
    small = shutil.disk_usage(tmp_path)._replace(free=10 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: small)
    with pytest.raises(UserError, match=r"training writes about \d\d MiB here .*Make room, name another --output_dir"):
        main(settings(rows, total_batch_size=4), training(tmp_path / "out", max_steps=6, save_steps=1))
    assert not (tmp_path / "out" / "run.json").exists()


def test_sigterm_saves_and_the_same_command_ends_with_the_weights_of_an_unbroken_run(tmp_path, rows):
    def start(folder):
        main(settings(rows, total_batch_size=4), training(folder, max_steps=30, save_steps=5))

    start(tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while not saved(tmp_path / "cut", 5):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(Interrupted) as stopped:
        start(tmp_path / "cut")
    thread.join()
    assert stopped.value.code == 75
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) == before
    start(tmp_path / "cut")
    assert differences(tmp_path / "whole", tmp_path / "cut", 30) < 1e-6
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-6


def test_attention_that_is_not_there_is_one_line(tmp_path, rows):
    with pytest.raises(UserError, match="--attn_implementation flash_attention_2: cannot be had here: .*; auto takes"):
        main(settings(rows, total_batch_size=4, attn_implementation="flash_attention_2"), training(tmp_path / "out"))
