"""Fine-tuning on several CPU processes for real: the losses of one process under every kind of sharding, and SIGTERM
and SIGKILL in the middle of it.

Every run starts Python, torch and DeepSpeed anew in each process, 10 to 20 s on two cores.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from open_instruct.core.exit_codes import INTERRUPTED
from open_instruct.finetune import main
from open_instruct.training.settings import Settings, Training

ROOT = Path(__file__).parents[2]
BASE = ROOT / "open_instruct" / "miniature" / "base"
STEPS = 8
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of 12 to 250 tokens, so that devices see very different numbers of them; `held_out.jsonl` beside them.

    Neither 19 nor 11 rows are a multiple of anything: an epoch is two whole steps of 8 rows and one of 3, and runs are
    stopped in the midst of the second.
    """
    draw = random.Random(1)
    folder = tmp_path_factory.mktemp("rows")
    for name, number in (("rows.jsonl", 19), ("held_out.jsonl", 11)):
        with (folder / name).open("w") as file:
            for _ in range(number):
                words = " ".join(draw.choices(["fig", "pear", "apple", "plum"], k=draw.choice([1, 3, 8, 60, 120])))
                file.write(json.dumps({"instruction": "Copy the list.", "input": words, "output": words}) + "\n")
    return folder / "rows.jsonl"


OPTIONS = dict(
    per_device_train_batch_size=1,
    per_device_eval_batch_size=3,
    packing=False,
    max_length=256,
    max_steps=STEPS,
    save_steps=2,
    gradient_checkpointing=False,
    use_cpu=True,
    disable_tqdm=True,
    logging_steps=1,
    learning_rate=2e-4,
    warmup_steps=1,
    report_to="none",
)


def flags(rows, folder, **more):
    given = dict(model_name_or_path=BASE, train_file=rows, output_dir=folder, total_batch_size=8)
    given |= dict(eval_file=rows.with_name("held_out.jsonl")) | OPTIONS | more
    return [str(word) for name, value in given.items() for word in (f"--{name}", value)]


def command(processes, *arguments):
    launcher = [sys.executable, "-m", "open_instruct.training.launch", "--standalone"]
    return [*launcher, "--nproc_per_node", str(processes), "-m", "open_instruct.finetune", *arguments]


SURROUNDINGS = dict(cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, start_new_session=True)


def run(processes, *arguments):
    done = subprocess.run(command(processes, *arguments), capture_output=True, timeout=900, **SURROUNDINGS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def losses(folder):
    """Of each step, and at the end of the held-out rows."""
    state = json.loads((Path(folder) / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    found = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(found) == STEPS
    return [*found, json.loads((Path(folder) / "run.json").read_text())["results"]["eval_loss"]]


@pytest.fixture(scope="module")
def one_process(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "out"
    held_out = str(rows.with_name("held_out.jsonl"))
    main(Settings(str(BASE), [str(rows)], eval_file=held_out, total_batch_size=8), Training(str(folder), **OPTIONS))
    return losses(folder)


def distance(some, others):
    return max(abs(one - other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("processes", [2, 4])
def test_devices_times_accumulation_have_the_losses_of_one(rows, one_process, tmp_path, processes):
    told = run(processes, *flags(rows, tmp_path / "out"))
    assert f"8 rows = {processes} device(s) x 1 x {8 // processes} passes" in told
    assert distance(losses(tmp_path / "out"), one_process) < 1e-5


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ZeRO-2", ["--deepspeed", ROOT / "ds_configs" / "zero2.json"]),
        ("FSDP", ["--fsdp", "true", "--fsdp_config", ROOT / "ds_configs" / "fsdp2.json"]),
    ],
)
def test_a_split_model_has_the_losses_of_a_whole_one(rows, one_process, tmp_path, name, arguments):
    told = run(2, *flags(rows, tmp_path / "out"), *map(str, arguments))
    assert f"2 device(s) under {name} x 1 x 4 passes" in told  # and `trainer._check_split` saw that it is so
    assert distance(losses(tmp_path / "out"), one_process) < 1e-4
    saved, base = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", BASE))
    assert saved.keys() == base.keys() and all(saved[key].shape == base[key].shape for key in saved)
    if name == "FSDP":
        stopped_and_resumed_it_ends_as(tmp_path / "out", [*flags(rows, tmp_path / "cut"), *map(str, arguments)])


def stopped_and_resumed_it_ends_as(whole, arguments):
    """By SIGTERM after the checkpoint of step 4."""
    cut = whole.with_name("cut")
    stopped = _start_until(cut, 4, arguments)
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=600)
    assert stopped.returncode == INTERRUPTED
    assert "going on from" in run(2, *arguments)
    assert distance(losses(cut), losses(whole)) < 1e-6
    one, other = (load_file(folder / "model.safetensors") for folder in (cut, whole))
    assert max((one[key] - other[key]).abs().max() for key in one) < 1e-6


def test_zero_3_killed_stopped_and_resumed_ends_as_if_nothing_had_been(rows, one_process, tmp_path):
    sharding = ["--deepspeed", str(ROOT / "ds_configs" / "zero3.json")]
    told = run(2, *flags(rows, tmp_path / "whole"), *sharding)
    assert "2 device(s) under ZeRO-3 x 1 x 4 passes" in told
    assert distance(losses(tmp_path / "whole"), one_process) < 1e-4

    out = tmp_path / "broken"
    arguments = [*flags(rows, out), *sharding]
    killed = _start_until(out, 2, arguments)
    # From above: the launcher itself ends the others when one has ended.
    for process in [psutil.Process(killed.pid), *psutil.Process(killed.pid).children(recursive=True)]:
        process.kill()
    killed.wait()
    assert not (out / "model.safetensors").exists()
    stopped = _start_until(out, 4, arguments)
    stopped.send_signal(signal.SIGTERM)  # torchrun hands it on
    stopped.communicate(timeout=600)
    assert stopped.returncode == INTERRUPTED == 75
    assert not (out / "model.safetensors").exists()
    assert "SIGTERM: stopped with a whole checkpoint" in json.loads((out / "run.json").read_text())["error"]
    newest = max(int(folder.name.split("-")[1]) for folder in out.glob("checkpoint-*"))
    assert f"going on from {out / f'checkpoint-{newest}'}" in run(2, *arguments)
    assert losses(out) == losses(tmp_path / "whole")
    one, other = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "whole"))
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-6


def _start_until(out, step, arguments):
    """A run that has written its checkpoint of `step`, or a later one: only the newest two stay."""
    process = subprocess.Popen(command(2, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **SURROUNDINGS)
    deadline = time.monotonic() + 600
    while not any(int(path.parent.name.split("-")[1]) >= step for path in out.glob("checkpoint-*/whole")):
        if time.monotonic() > deadline:
            process.kill()
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.01)
    return process


def test_what_is_wrong_is_said_once(rows, tmp_path):
    for arguments, message in [
        (flags(rows, tmp_path / "out", total_batch_size=9), "9 does not divide into 2 devices of 1 rows; the nearest"),
        (flags(rows, tmp_path / "out", prompt_template="tula"), "no chat template named 'tula'; there are:"),
    ]:
        done = subprocess.run(command(2, *arguments), capture_output=True, timeout=600, **SURROUNDINGS)
        assert done.returncode == 1
        assert done.stderr.count("error: ") == 1 and message in done.stderr
        assert "Traceback" not in done.stderr


def test_accelerate_launch_takes_the_same_configuration(rows, one_process, tmp_path):
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch", "--quiet", "--use_deepspeed"]
    launcher += ["--deepspeed_config_file", str(ROOT / "ds_configs" / "zero2.json"), "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    surroundings = SURROUNDINGS | {"env": {**SURROUNDINGS["env"], "DS_ACCELERATOR": "cpu"}}
    done = subprocess.run(
        [*launcher, "-m", "open_instruct.finetune", *flags(rows, tmp_path / "out")],
        capture_output=True,
        timeout=900,
        **surroundings,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 device(s) under ZeRO-2" in done.stdout
    assert distance(losses(tmp_path / "out"), one_process) < 1e-4
