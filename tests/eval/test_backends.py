"""What runs the model makes no difference: the same likelihoods, choices and greedy answers from all backends."""

import importlib.util
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from eval.backends import vllm as vllm_backend
from eval.backends import window
from eval.benchmarks import TASKS_FOLDER
from eval.results import read, read_predictions
from eval.run import Settings, main
from open_instruct.core.errors import UserError


@pytest.fixture
def own_tasks(tmp_path):
    """Choices of one token and of several, and a text that is gone on with without a chat."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "data.py").write_text(
        "from datasets import Dataset\n"
        "def load(**_):\n"
        "    rows = [{'q': 'apple pear ' * n, 'choices': [' a', ' b', ' plum lime', ' a fig'], 'gold': n % 4}\n"
        "            for n in range(12)]\n"
        "    return {'test': Dataset.from_list(rows)}\n"
        "def score(item, results):\n"
        "    return {'length': len(results[0])}\n"
    )
    shared = "custom_dataset: !function data.load\ntest_split: test\ndoc_to_text: q\n"
    metric = "metric_list: [{metric: %s, aggregation: mean, higher_is_better: true, title: Right}]\n"
    (folder / "choose.yaml").write_text(
        f"task: choose\n{shared}output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: gold\n"
        + metric % "acc"
    )
    (folder / "go_on.yaml").write_text(
        f"task: go_on\n{shared}output_type: generate_until\ndoc_to_target: q\nmetadata: {{chat_template: false}}\n"
        "generation_kwargs: {do_sample: false, max_gen_toks: 9, until: ['zz']}\n"
        "process_results: !function data.score\n" + metric % "length"
    )
    return folder


class Server(BaseHTTPRequestHandler):
    """`vllm serve` in small: chat, and completions of tokens with the likelihoods of the prompt."""

    model = tokenizer = None
    asked: list[str] = []
    tells_likelihoods = True
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock, torch.inference_mode():
            self.asked.append(self.path)
            answer = self.chat(body) if self.path.endswith("chat/completions") else self.completion(body)
        data = json.dumps({"choices": [answer], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def chat(self, body):
        tokens = self.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        return {"message": {"content": self.text(tokens, body)}, "finish_reason": "stop"}

    def completion(self, body):
        prompt = body["prompt"]
        tokens = prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]
        answer = {"text": self.text(tokens, body), "finish_reason": "length"}
        if body.get("echo") and self.tells_likelihoods:
            rows = self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)
            ours = [None, *(rows[place, token].item() for place, token in enumerate(tokens[1:]))]
            best = [None, *({"": row.max().item()} for row in rows[:-1])]
            answer["logprobs"] = {"token_logprobs": [*ours, -1.0], "top_logprobs": [*best, {"": -1.0}]}
        return answer

    def text(self, tokens, body):
        ids = torch.tensor([tokens])
        found = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=body["max_tokens"]
        )
        text = self.tokenizer.decode(found[0, len(tokens) :], skip_special_tokens=True)
        for stop in body.get("stop", []):
            text = text.split(stop)[0]
        return text


@pytest.fixture
def server(checkpoint, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    Server.model = AutoModelForCausalLM.from_pretrained(checkpoint)
    Server.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    Server.asked, Server.tells_likelihoods = [], True
    monkeypatch.setenv("OPENAI_API_KEY", "none-is-needed")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"base_url=http://127.0.0.1:{served.server_port}/v1"
        served.shutdown()


def run(backend, model, output, tasks, folder="", options=()):
    main(
        Settings(
            model=str(model),
            output_dir=str(output / backend),
            tasks=tasks,
            backend=backend,
            backend_options=list(options),
            include_path=str(folder),
            device="cpu" if backend == "hf" else "",
        )
    )
    return {name: read_predictions(output / backend / name) for name in tasks.split(",")}


def test_a_server_gives_the_answers_and_likelihoods_of_transformers(checkpoint, eval_data, own_tasks, server, tmp_path):
    tasks = "miniature_chains,choose,go_on"
    expected = run("hf", checkpoint, tmp_path, tasks, own_tasks)
    found = run("api", "tiny", tmp_path, tasks, own_tasks, [server, f"tokenizer={checkpoint}"])
    assert found == expected
    assert len({row["response"] for row in found["choose"]}) > 1
    assert set(Server.asked) == {"/v1/completions"}


def test_a_server_that_has_the_only_tokenizer_is_asked_in_chat(checkpoint, eval_data, server, tmp_path):
    expected = run("hf", checkpoint, tmp_path, "miniature_chains")["miniature_chains"]
    found = run("api", "tiny", tmp_path, "miniature_chains", options=[server])["miniature_chains"]
    assert [row["response"] for row in found] == [row["response"] for row in expected]
    assert set(Server.asked) == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    ("options", "tells", "problem"),
    [
        ([], True, r"choose: compares how likely answers are\. A server can tell only for tokens: give --backend_opt"),
        (["tokenizer=nowhere"], True, "tokenizer=nowhere: no tokenizer.json there"),
        (["TOKENIZER"], False, r"choose: compares how likely answers are, which the server does not tell \(/compl"),
        (["speed=1"], True, "engine openai: 'speed' is no setting=value; its settings are: model, "),
    ],
)
def test_what_a_server_cannot_do_is_told_before_anything_is_asked(
    checkpoint, eval_data, own_tasks, server, tmp_path, options, tells, problem
):
    Server.tells_likelihoods = tells
    options = [f"tokenizer={checkpoint}" if one == "TOKENIZER" else one for one in options]
    with pytest.raises(UserError, match=problem) as caught:
        run("api", "tiny", tmp_path, "miniature_chains,choose", own_tasks, [server, *options])
    assert "\n" not in str(caught.value)
    assert Server.asked == ([] if tells else ["/v1/completions"])


def test_without_a_key_openai_is_not_asked(eval_data, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="no key: the environment variable OPENAI_API_KEY is not set"):
        run("api", "gpt-4.1", tmp_path, "miniature_chains")


def test_prompts_that_lose_their_beginning_are_counted_and_told(checkpoint, eval_data, tmp_path, capsys):
    path = eval_data / "miniature" / "chains.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["input"] = "apple " * (600 if number < 5 else 3)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("hf", checkpoint, tmp_path, "miniature_chains")
    cut = read(tmp_path / "hf" / "miniature_chains").cut
    assert (cut["prompts"], cut["of"], cut["window"]) == (5, 12, 510)
    told = " ".join(capsys.readouterr().out.split())
    assert "Prompts lost their beginning, the model's window is 510 tokens: unseen chains of 3 (5 of 12)" in told


def test_an_answer_gets_half_the_window_at_most():
    class Model:
        max_length = 100

        def tok_encode(self, text):
            return list(text)

    requests = [window.Fitted(("x" * length, {"max_gen_toks": wanted})) for length, wanted in ((10, 20), (60, 400))]
    fitted, cut = window.fit(Model(), "generate_until", requests)
    assert [one.args[1]["max_gen_toks"] for one in fitted] == [20, 51]
    assert cut == window.Cut(prompts=1, of=2, window=100, answer_tokens=51)
    scored = [window.Fitted(("x" * length, "yz")) for length in (98, 99, 100)]
    assert window.fit(Model(), "loglikelihood", scored)[1].prompts == 1  # the last token is only predicted, never read


PER_BENCHMARK, ITEMS = (
    2,
    4,
)  # tasks of a benchmark, and items of a task: all of them with 50 items is an hour on two cores
no_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")


def some_tasks(data_folder):
    """Of each benchmark whose data is there, the last one by name: without draws, and no part of another (gsm_200)."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    of_folder: dict[str, list[str]] = {}
    for name in manager.all_subtasks:
        entry = manager.task_index[name]
        drawn = (entry.cfg.get("generation_kwargs") or {}).get("do_sample")
        folder = Path(entry.yaml_path).parent.name
        if not drawn and not name.rpartition("_")[2].isdigit() and (data_folder / folder).is_dir():
            of_folder.setdefault(folder, []).append(name)
    return [max(names) for names in of_folder.values()]


@no_vllm
@pytest.mark.slow
def test_vllm_gives_the_answers_and_likelihoods_of_transformers(shared, tmp_path, monkeypatch):
    """Every benchmark that there is, on real items, with one load of vLLM; and what was asked is not asked again."""
    data_folder = shared / "data/eval"
    monkeypatch.setenv("SIT_EVAL_DATA", str(data_folder))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    root = Path(__file__).resolve().parents[2] / "open_instruct"
    model = shutil.copytree(root / "miniature/base", tmp_path / "model")
    shutil.copy(root / "core/chat_templates/tulu.jinja", model / "chat_template.jinja")
    tasks = some_tasks(data_folder)
    assert {"mmlu_5shot", "mgsm_trans_cot_8shot", "hellaswag", "seqeval", "gsm_direct"} <= set(tasks)
    opened = []
    load = vllm_backend.open_model
    monkeypatch.setattr(vllm_backend, "open_model", lambda *plan: opened.append(plan) or load(*plan))
    options = {"tasks": ",".join(tasks), "limit": ITEMS, "dtype": "float32"}
    for backend, more in (("hf", {"device": "cpu"}), ("vllm", {"backend_options": ["gpu_memory_utilization=0.3"]})):
        main(Settings(str(model), str(tmp_path / backend), backend=backend, **options, **more))
    assert len(opened) == 1
    likelihoods = 0
    for name in tasks:
        expected, found = (read_predictions(tmp_path / backend / name) for backend in ("hf", "vllm"))
        assert [row["response"] for row in found] == [row["response"] for row in expected], name
        # A metric may be made of likelihoods, as TruthfulQA's MC2 is.
        metrics = [[row.pop("metrics") for row in rows] for rows in (found, expected)]
        assert found == expected, name
        assert metrics[0] == [pytest.approx(values, rel=1e-3) for values in metrics[1]], name
        journals = [sorted((tmp_path / backend / name).glob("loglikelihood-*.journal")) for backend in ("hf", "vllm")]
        for theirs, ours in zip(*journals, strict=True):
            pairs = [[json.loads(line) for line in path.read_text().splitlines()[1:]] for path in (theirs, ours)]
            values = [{row["row"]: row["value"] for row in rows} for rows in pairs]
            assert values[0].keys() == values[1].keys()
            for row, (value, greedy) in values[0].items():
                assert values[1][row] == [pytest.approx(value, abs=1e-3), greedy], (name, row)
                likelihoods += 1
    assert likelihoods > 30
