"""scripts/cluster/submit.sh, on a real Slurm where there is one (slurm_cluster.py), else what it prints and refuses."""

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUBMIT = ROOT / "scripts/cluster/submit.sh"

specification = importlib.util.spec_from_file_location("slurm_cluster", Path(__file__).with_name("slurm_cluster.py"))
slurm_cluster = importlib.util.module_from_spec(specification)
specification.loader.exec_module(slurm_cluster)

# Two processes that count together: the state after step n depends on every step before, and on both of them.
COUNT = """
import json, os, signal, sys, time
from pathlib import Path
import torch
import torch.distributed as dist

folder, steps, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
told = torch.zeros(1)
signal.signal(signal.SIGTERM, lambda *_: told.fill_(1))
dist.init_process_group("gloo")
rank = dist.get_rank()
step, state = json.loads((folder / "checkpoint").read_text()) if (folder / "checkpoint").exists() else (0, 1)
print(f"rank {rank} of {dist.get_world_size()} goes on at step {step}", flush=True)

def save():
    dist.barrier()
    if rank == 0:
        (folder / "new").write_text(json.dumps([step, state]))
        (folder / "new").rename(folder / "checkpoint")

while step < steps:
    share = torch.tensor([(rank + 2) * state % 1009])
    dist.all_reduce(share)
    state, step = int(share), step + 1
    time.sleep(0.05)
    if step % every == 0:
        save()
    if rank == 0:
        (folder / "step").write_text(str(step))
    stop = told.clone()
    dist.all_reduce(stop)
    if stop > 0:
        time.sleep(float(os.environ.get("SAVING_TAKES", 0)))
        save()
        print(f"rank {rank} saved at step {step}", flush=True)
        sys.exit(75)
save()
if rank == 0:
    (folder / "result").write_text(str(state))
"""

TRAIN = """#!/usr/bin/env bash
set -euo pipefail
echo "$NUM_MACHINES machines, this is $MACHINE_RANK; $NUM_PROCESSES processes; note: ${NOTE:-none}"
torchrun --nnodes "$NUM_MACHINES" --node_rank "$MACHINE_RANK" --nproc_per_node $((NUM_PROCESSES / NUM_MACHINES)) \\
  --master_addr "$MAIN_PROCESS_IP" --master_port "$MAIN_PROCESS_PORT" --log_dir "$RANK_LOGS" --tee 3 \\
  "$(dirname "${BASH_SOURCE[0]}")/count.py" "$@"
"""


def counted(steps: int) -> str:
    """What COUNT ends with, unbroken, by two processes."""
    state = 1
    for _ in range(steps):
        state = 2 * state % 1009 + 3 * state % 1009
    return str(state)


def submit(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    environment = {"SIT_ENV": "active", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment
    return subprocess.run(
        ["bash", str(SUBMIT), *map(str, arguments)],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def no_slurm(tmp_path_factory) -> str:
    """A PATH with what submit.sh calls, and no sbatch. The environment is not what is tested: its Python says yes."""
    programs = tmp_path_factory.mktemp("programs")
    for name in "bash awk cat cut date dirname basename env grep sort mkdir tail".split():
        (programs / name).symlink_to(shutil.which(name))
    (programs / "python").write_text("#!/bin/sh\n")
    (programs / "python").chmod(0o755)
    return str(programs)


def script(path: Path, text: str) -> Path:
    path.write_text("#!/usr/bin/env bash\nset -euo pipefail\n" + text)
    return path


@pytest.fixture(scope="module")
def cluster():
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(reason)
    with slurm_cluster.SlurmCluster() as started:
        yield started


class Job:
    """A job that was really submitted."""

    def __init__(self, cluster, tmp_path: Path, *arguments: object, **environment: str):
        logs = tmp_path / "logs"
        slurm = {"SLURM_CONF": cluster.environment["SLURM_CONF"], "CLUSTER_LOGS": str(logs), "MACHINE_GRACE": "3"}
        done = submit(*arguments, cwd=tmp_path, **slurm, **environment)
        assert done.returncode == 0, done.stderr
        self.cluster, self.said = cluster, done.stdout
        self.number, name = re.search(r"submitted job (\d+): (\S+)", done.stdout).groups()
        self.log, self.logs = logs / f"{name}-{self.number}.log", logs / f"{name}-{self.number}"

    def ends(self, *states: str, seconds: float = 300) -> None:
        """Wait for its end, which must be one of `states`."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        self.cluster.wait_for_state(self.number, *over, seconds=seconds)
        assert self.cluster.job(self.number)["JobState"] in states, self.text()

    def text(self) -> str:
        """All that it logged."""
        files = [self.log, *sorted(self.logs.glob("*.log"))]
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in files if path.exists())


@pytest.fixture
def train(tmp_path: Path) -> Path:
    (tmp_path / "count.py").write_text(COUNT)
    (tmp_path / "run").mkdir()
    path = tmp_path / "train.sh"
    path.write_text(TRAIN)
    return path


def reached(tmp_path: Path, step: int) -> bool:
    path = tmp_path / "run/step"
    return path.exists() and int(path.read_text() or 0) >= step


def resumed_at(log: Path) -> list[int]:
    return [int(step) for step in re.findall(r"goes on at step (\d+)", log.read_text())]


@pytest.mark.slow
def test_two_machines_meet_and_each_rank_has_its_log(cluster, tmp_path, train):
    job = Job(cluster, tmp_path, "--nodes", 2, "--time", "10", "--cpus", 2, train, "run", 20, 10, NOTE="from the shell")
    job.ends("COMPLETED")
    assert (tmp_path / "run/result").read_text() == counted(20)
    for rank in range(2):
        assert (
            f"2 machines, this is {rank}; 2 processes; note: from the shell"
            in (job.logs / f"node{rank}.log").read_text()
        )
        assert f"rank {rank} of 2 goes on at step 0" in (job.logs / f"rank{rank}.log").read_text()
    assert sorted(path.name for path in job.logs.iterdir()) == ["node0.log", "node1.log", "rank0.log", "rank1.log"]
    for line in (f"scancel {job.number}", f"squeue --jobs {job.number}", str(job.log)):
        assert line in job.said


@pytest.mark.slow
@pytest.mark.parametrize("how", ["scontrol requeue", "time limit", "preemption", "lost machine"])
def test_requeued_midway_it_goes_on_from_its_checkpoint(cluster, tmp_path, train, how):
    steps = 240
    job = Job(
        cluster, tmp_path, "--nodes", 2, "--requeue", "--partition", "low", train, "run", steps, 20, SAVING_TAKES="2"
    )
    cluster.wait_for("step 45", lambda: reached(tmp_path, 45) or "error" in job.text())
    assert (tmp_path / "run/step").exists(), job.text()
    if how == "scontrol requeue":
        cluster.run("scontrol", "requeue", job.number)
    elif how == "time limit":  # the warning that Slurm sends before it
        cluster.run("scancel", "--batch", "--signal=USR1", job.number)
    elif how == "preemption":
        other = Job(
            cluster,
            tmp_path,
            "--nodes",
            2,
            "--cpus",
            2,
            "--partition",
            "high",
            script(tmp_path / "o.sh", "echo $MACHINE_RANK; sleep 1"),
        )
        other.ends("COMPLETED")
    else:
        cluster.stop_machine("n2")
        cluster.wait_for("requeue", lambda: cluster.job(job.number)["Restarts"] == "1")
        cluster.start_machine("n2")
        # Refused where the machine is back in service by itself, which it may be or not; the job's end tells.
        cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME", check=False)
    job.ends("COMPLETED")
    assert cluster.job(job.number)["Restarts"] == "1"
    assert (tmp_path / "run/result").read_text() == counted(steps)
    first, again = resumed_at(job.logs / "node0.log")
    assert first == 0 and again >= 40, job.text()
    if how != "lost machine":  # they were told, and saved in time: nothing was counted twice
        assert f"rank 0 saved at step {again}" in job.text()
    assert len(resumed_at(job.logs / "rank1.log")) == 2


@pytest.mark.slow
def test_cancelled_job_ends_and_the_same_command_goes_on(cluster, tmp_path, train):
    command = ("--nodes", 2, "--requeue", train, "run", 200, 20)
    job = Job(cluster, tmp_path, *command)
    cluster.wait_for("step 45", lambda: reached(tmp_path, 45))
    cluster.run("scancel", job.number)
    job.ends("CANCELLED")
    assert cluster.job(job.number)["Restarts"] == "0"
    assert not (tmp_path / "run/result").exists()
    second = Job(cluster, tmp_path, *command)
    second.ends("COMPLETED")
    assert resumed_at(second.logs / "node0.log")[0] >= 40
    assert (tmp_path / "run/result").read_text() == counted(200)


@pytest.mark.slow
def test_job_that_fails_by_itself_is_not_requeued(cluster, tmp_path):
    job = Job(cluster, tmp_path, "--requeue", script(tmp_path / "fails.sh", "echo once >>runs; exit 3"))
    job.ends("FAILED")
    assert cluster.job(job.number)["ExitCode"] == "3:0"
    assert (tmp_path / "runs").read_text() == "once\n"


@pytest.mark.slow
def test_job_that_never_gets_done_comes_back_a_bounded_number_of_times(cluster, tmp_path):
    forever = script(tmp_path / "forever.sh", "echo once >>runs; sleep 600")
    job = Job(cluster, tmp_path, "--requeue", forever, MAX_RESTARTS="2")
    runs = tmp_path / "runs"
    for restarts in ("0", "1", "2"):
        cluster.wait_for_state(job.number, "RUNNING")
        cluster.wait_for("run", partial(lines_in, runs, int(restarts) + 1))
        assert cluster.job(job.number)["Restarts"] == restarts
        cluster.run("scancel", "--batch", "--signal=USR1", job.number)
        cluster.wait_for("end of the run", lambda: cluster.job(job.number)["JobState"] != "RUNNING")
    job.ends("FAILED")
    assert "not requeued again (MAX_RESTARTS)" in job.log.read_text()
    assert runs.read_text() == "once\n" * 3


def lines_in(path: Path, count: int) -> bool:
    return path.exists() and len(path.read_text().splitlines()) == count


@pytest.mark.slow
def test_array_gives_each_index_its_variables_and_arguments(cluster, tmp_path):
    sweep = script(tmp_path / "sweep.sh", 'mkdir -p "$OUTPUT_DIR" && echo "$SEED $PLAIN $*" >"$OUTPUT_DIR/result"')
    job = Job(cluster, tmp_path, "--array", "0-3", sweep, "--name", "run %a", SEED="%a", OUTPUT_DIR="out %a", PLAIN="x")
    assert "becomes the index in" in job.said and "SEED" in job.said
    results = [tmp_path / f"out {index}/result" for index in range(4)]
    cluster.wait_for("results", lambda: all(result.exists() for result in results))
    cluster.wait_for("end", lambda: not cluster.run("squeue", "--noheader", "--jobs", job.number, check=False))
    assert [result.read_text() for result in results] == [f"{index} x --name run {index}\n" for index in range(4)]
    logs = sorted(path.name for path in (tmp_path / "logs").glob("*.log"))
    assert logs == [f"sweep-{job.number}_{index}.log" for index in range(4)]


# The miniature under ZeRO-3, started as the training scripts start it.
FINETUNE = """#!/usr/bin/env bash
set -euo pipefail
export DS_ACCELERATOR=cpu OMP_NUM_THREADS=1
exec python -m open_instruct.training.launch --nnodes "$NUM_MACHINES" --node_rank "$MACHINE_RANK" \\
  --nproc_per_node $((NUM_PROCESSES / NUM_MACHINES)) --master_addr "$MAIN_PROCESS_IP" \\
  --master_port "$MAIN_PROCESS_PORT" --log_dir "$RANK_LOGS" --tee 3 \\
  -m open_instruct.finetune --deepspeed "{root}/ds_configs/zero3.json" \\
  --model_name_or_path "{root}/open_instruct/miniature/base" --train_file rows.jsonl --output_dir "$1" \\
  --prompt_template tulu --max_length 64 --total_batch_size 8 --per_device_train_batch_size 4 --use_cpu true \\
  --gradient_checkpointing false --learning_rate 1e-3 --max_steps 60 --save_steps 5 --logging_steps 1 --report_to none
"""


@pytest.mark.slow
def test_miniature_under_zero_3_cancelled_and_requeued_ends_with_the_weights_of_an_unbroken_run(cluster, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    pytest.importorskip("deepspeed")
    write_rows(tmp_path / "rows.jsonl")
    finetune = tmp_path / "finetune.sh"
    finetune.write_text(FINETUNE.replace("{root}", str(ROOT)))
    whole = Job(cluster, tmp_path, "--nodes", 2, "--requeue", "--time", "30", finetune, "whole")
    whole.ends("COMPLETED")
    assert "2 device(s) under ZeRO-3" in whole.text()

    broken = Job(cluster, tmp_path, "--nodes", 2, "--requeue", "--time", "30", finetune, "broken")
    checkpoints = (tmp_path / "broken").glob
    cluster.wait_for("a checkpoint", lambda: any(checkpoints("checkpoint-*/whole")) or over(broken))
    cluster.run("scancel", broken.number)
    broken.ends("CANCELLED")
    assert not (tmp_path / "broken/model.safetensors").exists(), "it was cancelled too late"
    saved = max(int(path.parent.name.split("-")[1]) for path in checkpoints("checkpoint-*/whole"))
    cluster.run("scontrol", "requeue", broken.number)
    broken.ends("COMPLETED")
    assert f"going on from broken/checkpoint-{saved}" in broken.text()

    weights = [safetensors.load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken")]
    assert weights[0].keys() == weights[1].keys()
    assert max((weights[0][name] - weights[1][name]).abs().max() for name in weights[0]) <= 1e-6


def over(job: Job) -> bool:
    return job.cluster.job(job.number)["JobState"] not in ("PENDING", "RUNNING", "CONFIGURING")


def write_rows(path: Path) -> None:
    numbers = random.Random(0)
    with path.open("w") as file:
        for _ in range(200):
            digits = [str(numbers.randint(0, 9)) for _ in range(numbers.randint(2, 4))]
            row = {"instruction": "reverse the list", "input": " ".join(digits), "output": " ".join(digits[::-1])}
            file.write(json.dumps(row) + "\n")


# What needs no Slurm.


def test_dry_run_prints_a_batch_script_that_bash_reads_and_writes_nothing(tmp_path, no_slurm):
    one = script(tmp_path / "it's one.sh", "echo")
    done = submit(
        *(
            "--gpus=8",
            "--time",
            "2-0",
            "--requeue",
            "--partition",
            "gpu",
            "--account",
            "lab",
            "--cpus",
            64,
            "--mem",
            "200G",
        ),
        *("--name", "seventy", "--array", "0-4", "--dry_run", one, "--flag", "two words", "$HOME", "%a"),
        cwd=tmp_path,
        SEED="%a",
        http_proxy="http://user:p%a1@proxy",
        CLUSTER_LOGS="logs",
        PATH=no_slurm,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [one]
    for line in (
        *(
            "job-name=seventy",
            "nodes=1",
            "ntasks-per-node=1",
            "gpus-per-node=8",
            "cpus-per-task=64",
            "mem=200G",
            "time=2-0",
        ),
        *("partition=gpu", "account=lab", "array=0-4", f'output="{tmp_path}/logs/%x-%A_%a.log"', "requeue"),
        *("signal=B:USR1@300", "export=ALL", "open-mode=append"),
    ):
        assert f"#SBATCH --{line}\n" in done.stdout
    head, body = done.stdout.split("# shellcheck", 1)
    read = head + 'printf "%s\\n" "$script" "${arguments[@]}" "${indexed[@]}"'
    lines = subprocess.run(["bash", "-c", read], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [str(one), "--flag", "two words", "$HOME", "%a", "SEED"]
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


def test_without_requeue_slurm_is_told_not_to(tmp_path, no_slurm):
    done = submit("--dry_run", script(tmp_path / "one.sh", "echo"), PATH=no_slurm)
    assert "#SBATCH --no-requeue\n" in done.stdout
    assert "#SBATCH --signal" not in done.stdout


def test_several_machines_are_for_scripts_that_ask_which_one_they_are(train, no_slurm):
    assert submit("--dry_run", "--nodes", 2, train, PATH=no_slurm).returncode == 0
    done = submit("--dry_run", "--nodes", 2, ROOT / "scripts/evaluation.sh", "checkpoint", PATH=no_slurm)
    assert done.returncode == 1
    assert "does not train over several machines" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no script given"),
        (["--requeue"], "no script given"),
        (["missing.sh"], "missing.sh: no such file"),
        (["rows.json"], "not a shell script"),
        (["--node", "2", "one.sh"], "--node: no flag of submit.sh"),
        (["--nodes", "two", "one.sh"], "--nodes two: a whole number"),
        (["--nodes", "0", "one.sh"], "at least one machine"),
        (["--nodes"], "--nodes: needs a value"),
        (["--nodes", "--gpus", "8", "one.sh"], "--nodes: needs a value"),
        (["--gpus=", "one.sh"], "--gpus: needs a value"),
        (["--time", "8h", "one.sh"], "--time 8h: expected minutes"),
        (["--requeue", "--time", "5", "one.sh"], "leaves no time to work"),
        (["--array", "first", "one.sh"], "--array first: expected indices"),
        (["--name", "a b", "one.sh"], "--name a b: letters"),
        (["one.sh", "--seed", "%a"], "none is given"),
        (["one.sh"], "no sbatch on this machine"),
    ],
)
def test_mistakes_get_one_line(tmp_path, no_slurm, arguments, says):
    script(tmp_path / "one.sh", "echo")
    (tmp_path / "rows.json").write_text("[]")
    done = submit(*arguments, cwd=tmp_path, PATH=no_slurm)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")


def test_what_slurm_refuses_is_said_in_its_words(cluster, tmp_path):
    one = script(tmp_path / "one.sh", "echo")
    slurm = {"SLURM_CONF": cluster.environment["SLURM_CONF"], "CLUSTER_LOGS": str(tmp_path)}
    done = submit("--partition", "nowhere", one, **slurm)
    assert done.returncode == 1
    assert done.stderr.startswith("error: sbatch refused: ") and "invalid partition" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_shellcheck_finds_nothing_in_the_body_of_a_job():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, ROOT / "scripts/cluster/job.sbatch"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
