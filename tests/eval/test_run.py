"""Evaluating a checkpoint: what is written, what a second call keeps, and what is refused before anything is loaded."""

import json
import shutil
import subprocess
import sys

import pytest

from eval import benchmarks
from eval import run as evaluation
from eval.backends import hf
from eval.backends.base import Plan
from eval.results import read, read_predictions, read_run
from eval.run import Settings, main
from open_instruct.core.errors import UserError

LOAD = hf.open_model


def settings(checkpoint, output, **more):
    return Settings(
        model=str(checkpoint), output_dir=str(output), device="cpu", **{"tasks": "miniature_chains", **more}
    )


@pytest.fixture
def no_loading(monkeypatch):
    """From now on, loading a model is a failure."""
    monkeypatch.setattr(hf, "open_model", lambda plan, needs: pytest.fail("the model was loaded"))


def test_a_run_leaves_predictions_figures_and_how_it_was_made(checkpoint, eval_data, tmp_path, capsys, monkeypatch):
    output = tmp_path / "results" / "tiny"
    loads = []
    monkeypatch.setattr(hf, "open_model", lambda plan, needs: loads.append(plan) or LOAD(plan, needs))
    main(settings(checkpoint, output, tasks="miniature"))
    assert len(loads) == 1
    found = read_run(output)
    assert list(found) == [f"miniature_{name}" for name in ("single", "pairs", "chains", "longer")]
    chains = found["miniature_chains"]
    assert (chains.n, chains.n_available, chains.partial, chains.title) == (12, 12, False, "unseen chains of 3")
    assert list(chains.metrics) == ["all_steps", "steps_followed", "step_1", "step_2", "step_3"]
    assert 0 < chains.metrics["all_steps"].high < 0.3  # of 12 wrong answers
    assert chains.clusters == "4 task combinations" and chains.metrics["all_steps"].over == "12 items"

    rows = read_predictions(output / "miniature_chains")
    assert [json.loads(row["cluster"]) for row in rows[:2]] == [
        ["repeat", "reverse", "first"],
        ["reverse", "first", "capitals"],
    ]
    asked = [json.loads(line) for line in (eval_data / "miniature" / "chains.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in asked]
    for row, item in zip(rows, asked, strict=True):
        assert row["question"] == f"{item['instruction']}\n{item['input']}"
        assert row["prompt"] == f"<|user|>\n{row['question']}\n<|assistant|>\n"
        assert row["target"] == "\n".join(item["answers"])
        assert set(row["metrics"]) == set(chains.metrics)
    assert len({row["response"] for row in rows}) > 6  # or the tests on predictions below would prove little
    info = json.loads((output / "run.json").read_text())
    assert info["status"] == "finished" and info["settings"]["model"] == str(checkpoint)

    printed = capsys.readouterr().out
    assert "unseen pairs" in printed and "All steps right" in printed
    assert max(map(len, printed.split("\n\nresults")[0].splitlines())) <= 80


def test_greedy_answers_do_not_depend_on_the_batch_size(checkpoint, eval_data, tmp_path):
    answers = []
    for batch_size in (1, 5, 64):
        main(settings(checkpoint, tmp_path / str(batch_size), batch_size=batch_size))
        answers.append([row["response"] for row in read_predictions(tmp_path / str(batch_size) / "miniature_chains")])
    assert answers[0] == answers[1] == answers[2]


def test_the_model_reads_exactly_what_the_chat_template_says(checkpoint, eval_data):
    """The tokenizer would put `<s>` before any text: fine-tuning on chat-formatted text saw none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = hf.open_model(Plan(str(checkpoint), device="cpu"))
    messages = [{"role": "user", "content": "reverse the list"}]
    text = model.apply_chat_template(messages)
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    ids, mask = model.tok_batch_encode([text, text + " apple"])
    assert ids[0][mask[0].bool()].tolist() == expected
    assert tokenizer(text)["input_ids"] == [tokenizer.bos_token_id, *expected]


def test_what_is_finished_is_kept_without_loading_the_model(
    checkpoint, eval_data, tmp_path, no_loading, monkeypatch, capsys
):
    with monkeypatch.context() as before:
        before.setattr(hf, "open_model", LOAD)
        main(settings(checkpoint, tmp_path))
    files = [tmp_path / "miniature_chains" / name for name in ("metrics.json", "predictions.jsonl")]
    first = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    capsys.readouterr()
    main(settings(checkpoint, tmp_path, batch_size=3))
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == first
    assert "finished before and kept: miniature_chains" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["checkpoint", "data", "limit", "metrics gone"])
def test_what_depends_on_something_else_is_evaluated_again(checkpoint, eval_data, tmp_path, changed):
    model, output = shutil.copytree(checkpoint, tmp_path / "model"), tmp_path / "out"
    main(settings(model, output))
    before = read(output / "miniature_chains")
    more = {}
    if changed == "checkpoint":
        template = model / "chat_template.jinja"
        template.write_text(template.read_text().replace("<|assistant|>", "<|model|>"))
    elif changed == "data":
        path = eval_data / "miniature" / "chains.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:9]))
    elif changed == "limit":
        more = {"limit": 4}
    else:
        (output / "miniature_chains" / "metrics.json").unlink()
    main(settings(model, output, **more))
    after = read(output / "miniature_chains")
    assert (after.depends_on != before.depends_on) == (changed != "metrics gone")
    assert after.n == len(read_predictions(output / "miniature_chains")) == {"data": 9, "limit": 4}.get(changed, 12)
    assert after.partial == (changed == "limit")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_numbers_are_short_results_depend_on_batch_size_and_device(checkpoint, eval_data, tmp_path, dtype):
    for batch_size in (4, 3):
        main(settings(checkpoint, tmp_path, dtype=dtype, batch_size=batch_size))
    depends_on = read(tmp_path / "miniature_chains").depends_on
    found = {name: depends_on[name] for name in ("batch_size", "device") if name in depends_on}
    assert found == ({"batch_size": 3, "device": "cpu"} if dtype == "bfloat16" else {})


def test_the_results_of_another_model_are_not_replaced(checkpoint, eval_data, tmp_path):
    for parent in ("it", "sit"):
        shutil.copytree(checkpoint, tmp_path / parent / "checkpoint-500")
    path = tmp_path / "sit" / "checkpoint-500" / "chat_template.jinja"
    path.write_text(path.read_text() + "{# another model #}")
    output = tmp_path / "results" / "checkpoint-500"
    main(settings(tmp_path / "it" / "checkpoint-500", output))
    with pytest.raises(UserError, match=r"holds the results of another model, .*/it/checkpoint-500\. Give") as caught:
        main(settings(path.parent, output))
    assert "\n" not in str(caught.value)
    (tmp_path / "it").rename(tmp_path / "moved")  # the same model under another path, and trained anew there
    main(settings(tmp_path / "moved" / "checkpoint-500", output, limit=3))
    shutil.copy(path, tmp_path / "moved" / "checkpoint-500")
    main(settings(tmp_path / "moved" / "checkpoint-500", output))
    assert read(output / "miniature_chains").n == 12


def test_figures_of_the_model_before_do_not_outlive_the_start(checkpoint, eval_data, tmp_path, monkeypatch):
    model, output = shutil.copytree(checkpoint, tmp_path / "model"), tmp_path / "out"
    main(settings(model, output, tasks="miniature_chains,miniature_pairs"))
    template = model / "chat_template.jinja"
    template.write_text(template.read_text() + "{# trained again #}")
    with monkeypatch.context() as killed:
        killed.setattr(hf, "open_model", lambda plan, needs: sys.exit("killed"))
        with pytest.raises(SystemExit):
            main(settings(model, output))
    assert list(read_run(output)) == ["miniature_pairs"]  # which this command was not about


def test_a_run_that_was_killed_at_its_very_end_is_finished_without_loading(
    checkpoint, eval_data, tmp_path, monkeypatch
):
    main(settings(checkpoint, tmp_path))
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))
    monkeypatch.setattr(hf, "open_model", lambda plan, needs: pytest.fail("the model was loaded"))
    main(settings(checkpoint, tmp_path))
    assert json.loads(path.read_text())["status"] == "finished"


def test_items_without_the_field_that_sets_clusters_apart_are_told(checkpoint, eval_data, tmp_path):
    folder = shutil.copytree(benchmarks.TASKS_FOLDER / "miniature", tmp_path / "tasks")
    text = (folder / "pairs.yaml").read_text().replace("miniature_pairs", "mine")
    for path in folder.glob("*.yaml"):
        path.unlink()
    (folder / "mine.yaml").write_text(text.replace("field: steps", "field: stepz"))
    with pytest.raises(UserError, match=r"mine\.yaml: metadata\.cluster names the field 'stepz', which item 0 lacks"):
        main(settings(checkpoint, tmp_path / "out", tasks="mine", include_path=str(folder)))


def test_another_task_is_added_to_what_is_there(checkpoint, eval_data, tmp_path):
    main(settings(checkpoint, tmp_path))
    first = (tmp_path / "miniature_chains" / "metrics.json").stat().st_mtime_ns
    main(settings(checkpoint, tmp_path, tasks="miniature_single,miniature_chains"))
    assert list(read_run(tmp_path)) == ["miniature_single", "miniature_chains"]
    assert (tmp_path / "miniature_chains" / "metrics.json").stat().st_mtime_ns == first


def test_tasks_of_ones_own_with_choices_run_too(checkpoint, tmp_path):
    """Likelihood benchmarks take the same way: the response is the likeliest choice."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "data.py").write_text(
        "from datasets import Dataset\n"
        "def load(**_):\n"
        "    rows = [{'q': f'q {n}', 'choices': ['apple', 'pear'], 'gold': n % 2} for n in range(6)]\n"
        "    return {'test': Dataset.from_list(rows)}\n"
    )
    (folder / "choose.yaml").write_text(
        "task: choose\ncustom_dataset: !function data.load\ntest_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: q\ndoc_to_choice: choices\ndoc_to_target: gold\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true, title: Accuracy}]\n"
    )
    main(settings(checkpoint, tmp_path / "out", tasks="choose", include_path=str(folder)))
    rows = read_predictions(tmp_path / "out" / "choose")
    right = [row["response"] == ["apple", "pear"][number % 2] for number, row in enumerate(rows)]
    assert [row["metrics"]["acc"] for row in rows] == right
    assert [row["target"] for row in rows] == ["apple", "pear"] * 3
    assert read(tmp_path / "out" / "choose").metrics["acc"].value == pytest.approx(sum(right) / 6)


@pytest.mark.parametrize("damaged", ["model.safetensors", "config.json"])
def test_a_damaged_checkpoint_is_told_in_one_line(checkpoint, eval_data, tmp_path, damaged):
    model = shutil.copytree(checkpoint, tmp_path / "model")
    (model / damaged).write_bytes((model / damaged).read_bytes()[:100])
    with pytest.raises(UserError, match=r"model: the checkpoint cannot be loaded: .") as caught:
        main(settings(model, tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"model": "nowhere"}, "nowhere: no such checkpoint folder"),
        (
            {"tasks": "miniature_pears"},
            "no task named 'miniature_pears' .*; did you mean miniature_pairs\\? there are: .*miniature, ",
        ),
        ({"tasks": " , "}, "no task is named; there are: "),
        ({"backend": "abacus"}, "no backend named 'abacus'; there are: api, hf, vllm"),
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"include_path": "nowhere"}, "nowhere: no such folder of tasks"),
    ],
)
def test_a_wrong_setting_is_told_before_loading(checkpoint, eval_data, tmp_path, no_loading, more, complaint):
    wrong = settings(checkpoint, tmp_path / "out")
    for name, value in more.items():
        setattr(wrong, name, value)
    with pytest.raises(UserError, match=complaint):
        main(wrong)
    assert not (tmp_path / "out").exists()


def test_all_that_is_missing_is_told_in_one_line(checkpoint, tmp_path, monkeypatch, no_loading):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="the evaluation data is not there for") as caught:
        main(settings(checkpoint, tmp_path / "out", tasks="gsm,mgsm_cot_8shot,miniature_chains,mmlu_5shot,seqeval"))
    told = str(caught.value)
    assert "not there for gsm, mgsm, miniature, mmlu, seqeval (" in told and "\n" not in told
    assert "`bash scripts/prepare_eval_data.sh gsm mgsm mmlu seqeval`" in told
    assert "`python -m open_instruct.miniature.make_data" in told
    assert not (tmp_path / "out" / "run.json").exists()


def test_missing_data_is_told_before_loading(checkpoint, tmp_path, monkeypatch, no_loading):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"chains\.jsonl: the evaluation data is not there. Make it with `python -m"):
        main(settings(checkpoint, tmp_path / "out"))


def test_a_second_process_is_kept_out(checkpoint, eval_data, tmp_path, no_loading):
    with evaluation._only_run(tmp_path), pytest.raises(UserError, match="another evaluation is writing here"):
        main(settings(checkpoint, tmp_path))


def command(*arguments):
    return [sys.executable, "-m", "eval.run", "--device", "cpu", *map(str, arguments)]


def test_the_command_ends_with_one_line_and_code_1(checkpoint, tmp_path, one_thread):
    done = subprocess.run(
        command("--model", checkpoint.parent, "--output_dir", tmp_path / "out"),
        capture_output=True,
        text=True,
        env=one_thread,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "tiny" in done.stderr


@pytest.mark.slow
def test_the_tasks_run_under_plain_lm_eval_from_any_folder(checkpoint, eval_data, tmp_path, one_thread):
    from eval.benchmarks import TASKS_FOLDER

    main(settings(checkpoint, tmp_path / "ours", tasks="miniature"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lm_eval",
            "--model",
            "hf",
            "--model_args",
            f"pretrained={checkpoint},add_bos_token=False",
        ]
        + ["--include_path", str(TASKS_FOLDER), "--tasks", "miniature", "--apply_chat_template", "--device", "cpu"]
        + ["--batch_size", "16", "--log_samples", "--output_path", str(tmp_path / "theirs")],
        cwd=tmp_path,
        env=one_thread,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (figures,) = tmp_path.glob("theirs/**/results_*.json")
    theirs = json.loads(figures.read_text())["results"]
    for name, result in read_run(tmp_path / "ours").items():
        assert theirs[name]["all_steps,none"] == result.metrics["all_steps"].value
        (samples,) = tmp_path.glob(f"theirs/**/samples_{name}_*.jsonl")
        logged = [json.loads(line) for line in samples.read_text().splitlines()]
        responses = {row["doc"]["id"]: row["resps"][0][0] for row in logged}
        assert responses == {row["id"]: row["response"] for row in read_predictions(tmp_path / "ours" / name)}
