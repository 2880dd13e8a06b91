"""`eval.run` asks a model, then a judge: real chains of SeqEval, one call, and again with nothing left to do."""

import json
import subprocess
import sys

import pytest

from eval.benchmarks import TASKS_FOLDER

SIZES = {  # papers: 805, 805; 252, 218, 180, 80, 188, 129
    "seqeval": 805,
    "alpaca_eval": 805,
    "instruct_self_instruct": 252,
    "instruct_wizardlm": 218,
    "instruct_koala": 180,
    "instruct_vicuna": 80,
    "instruct_oasst": 188,
    "instruct_anthropic": 129,
}


def test_the_tasks_have_the_published_sizes_and_name_their_judges(shared, monkeypatch):
    from lm_eval.tasks import TaskManager

    from eval import benchmarks, judges

    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    found = benchmarks.find(["seqeval", "alpaca_eval", "instruct_sets"], [TASKS_FOLDER], manager)
    sizes = {}
    for one in found:
        (task,) = manager.load([one.name])["tasks"].values()
        sizes[one.name] = len(task.eval_docs)
        assert one.judge in judges.kinds()
        first = task.eval_docs[0]
        found = task.process_results(first, ["Two words"])
        assert task.doc_to_text(first).strip() and found | {"answered": 1.0, "words": 2.0} == found
    assert sizes == SIZES


@pytest.mark.slow
def test_a_model_is_asked_and_judged_by_the_names_that_users_type(checkpoint, shared, tmp_path, one_thread):
    output = tmp_path / "results" / "tiny"
    script = TASKS_FOLDER.parent / "alpaca_farm_eval.py"
    reference = tmp_path / "references"
    reference.mkdir()
    data = shared / "data" / "eval"
    (reference / "alpaca_eval.json").write_bytes((data / "alpaca_eval" / "text_davinci_003.json").read_bytes())
    (reference / "instruct_vicuna.jsonl").write_text(
        "".join(
            json.dumps({"prompt": json.loads(line)["text"], "output": "I do not know."}) + "\n"
            for line in (data / "instruct_sets" / "vicuna_test_set.jsonl").read_text().splitlines()
        )
    )
    command = [sys.executable, script, "--model", checkpoint, "--batch_size", "8", "--limit", "3"]
    command += ["--tasks", "seqeval,alpaca_eval,instruct_vicuna", "--output_dir", output]
    judge = ["--judge", "oracle", "--judge_reference", reference]
    environment = {**one_thread, "SIT_EVAL_DATA": str(data)}
    done = subprocess.run(list(map(str, command + judge)), capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    for name, kind, lead in (
        ("seqeval", "seqeval", "following"),
        ("alpaca_eval", "alpaca_eval", "win_rate_alpaca"),
        ("instruct_vicuna", "pairwise", "win_rate"),
    ):
        metrics = json.loads((output / name / "metrics.json").read_text())
        assert next(iter(metrics["metrics"])) == lead and metrics["judges"][kind]["n"] == 3
        if name == "seqeval":  # the first three chains were made longer four, three and four times
            parts = {one for one in metrics["metrics"] if one.startswith("following_iteration_")}
            assert parts == {"following_iteration_3", "following_iteration_4"}
        assert metrics["partial"] and {"answered", "words"} <= set(metrics["metrics"])
        assert len((output / name / "verdicts.jsonl").read_text().splitlines()) == 3
