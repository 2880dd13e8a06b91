"""Stored predictions get the scores that the task gave them, or a clear line; real ones agree with the published."""

import json
import re
import string
import subprocess
import sys
from dataclasses import replace

import pytest

from eval.rescore import Settings, main
from open_instruct.core.errors import UserError

# Where our exact_match of the published runs differs from the published one, by run, language and row (from 0): the
# published scorer (the last match of a regex, compared without punctuation and case) is at fault in every one of them.
# It takes "34.00" for 3400, "57,00" for 5700, "20 000" for 000, "-40" for 40, and "3.5" for 35.
ZEROS, COMMA, SPACE, SIGN, POINT = "zeros", "decimal comma", "space in number", "sign dropped", "decimal point dropped"
DIFFERING = {
    "alpaca_it_llmam_70b": {
        **{("en", 158): ZEROS, ("es", 32): POINT, ("es", 44): COMMA, ("es", 158): ZEROS, ("fr", 53): SIGN},
        **{("fr", 58): ZEROS, ("fr", 158): ZEROS, ("de", 158): ZEROS, ("ru", 195): ZEROS, ("zh", 109): ZEROS},
        **{("zh", 195): ZEROS, ("ja", 52): SIGN, ("ja", 109): ZEROS, ("ja", 158): ZEROS, ("ja", 195): ZEROS},
        **{("th", 137): ZEROS, ("th", 158): ZEROS},
    },
    "alpaca_llmam_70b-iter-2": {
        **{("en", 109): ZEROS, ("es", 58): COMMA, ("es", 74): ZEROS, ("es", 195): ZEROS, ("es", 223): SPACE},
        **{("fr", 26): COMMA, ("fr", 197): SPACE, ("de", 58): COMMA, ("ru", 58): COMMA, ("ja", 137): ZEROS},
        **{("th", 36): ZEROS, ("th", 53): SIGN, ("th", 137): ZEROS, ("te", 164): SIGN},
    },
}
PUBLISHED_NUMBER = re.compile(r"[-+]?\d*\.\d+|\d+")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def published_verdict(response, answer):
    """As the published scorer has it: what it takes for the number, and 1 or 0."""
    numbers = PUBLISHED_NUMBER.findall(re.sub(r"(\d),(\d)", r"\1\2", response))
    taken = numbers[-1] if numbers else response
    return taken, float(taken.lower().translate(NO_PUNCTUATION) == str(answer).lower().translate(NO_PUNCTUATION))


def fault_shown_by(response, taken):
    """Which of the published scorer's faults a row shows, from the row itself."""
    end = response.rstrip().rstrip(".")
    if re.search(r"\d\.0+\D*$", end) and taken.endswith(("00", ".0")) and "." in taken:
        return ZEROS
    if re.search(r"\d,\d\d\D*$", end):
        return COMMA
    if re.search(r"\d \d{3}$", end):
        return SPACE
    if re.search(r"-\$?\d+\D*$", end) and not taken.startswith("-"):
        return SIGN
    return POINT if "." in taken else "none"


def settings(path, **changes):
    return replace(
        Settings("mgsm", str(path), prediction_field="model_output", answer_field="answer"),
        **changes,
    )


@pytest.mark.parametrize("run", DIFFERING)
def test_real_predictions_get_the_published_figures_but_for_rows_that_are_named(shared, tmp_path, capsys, run):
    folder = shared / "data/outputs/mgsm" / f"Meta-Llama-3-8B-{run}-trans-cot-8shot"
    differing = {}
    for language, figures in json.loads((folder / "metrics.json").read_text()).items():
        main(settings(folder / f"predictions_{language}.jsonl", output=str(tmp_path / "out.jsonl")))
        printed = json.loads(capsys.readouterr().out)
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert printed == {"exact_match": sum(row["metrics"]["exact_match"] for row in rows) / 250, "n": 250}
        published = [published_verdict(row["model_output"], row["answer"]) for row in rows]
        assert [taken for taken, _ in published] == [row["prediction"] for row in rows]
        assert sum(verdict for _, verdict in published) / 250 == figures["exact_match"]
        for number, (row, (taken, verdict)) in enumerate(zip(rows, published, strict=True)):
            if row["metrics"]["exact_match"] != verdict:
                differing[language, number] = fault_shown_by(row["model_output"], taken)
    assert differing == DIFFERING[run]


def test_the_command_prints_one_line(tmp_path):
    rows = [{"model_output": f"The answer is {number}.", "answer": number % 101, "q": "?"} for number in range(250)]
    path = tmp_path / "predictions_de.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "eval.rescore", "--task", "mgsm", "--predictions", str(path)]
    fields = ["--prediction_field", "model_output", "--answer_field", "answer"]
    done = subprocess.run([*command, *fields], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"exact_match": 0.404, "n": 250}\n', "")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("task", "row", "expected"),
    [
        ("gsm", {"p": "It is 1,450.", "a": "... #### 1450"}, {"exact_match": 1.0}),
        ("gsm_cot_200", {"p": "It is 1,451.", "a": 1450}, {"exact_match": 0.0}),
        (
            "xquad",
            {"p": "Context: x\nAnswer: The Rhine.", "a": ["Rhein", "Rhine"]},
            {"containment": 1.0, "f1": 1.0, "exact_match": 1.0, "follow": 1.0},
        ),
        ("tydiqa", {"p": "the Rhine, Bonn", "a": "Rhine"}, {"containment": 1.0, "f1": 2 / 3, "exact_match": 0.0}),
        ("csqa_repeat", {"p": "Choices: A:x, B:y\nB", "a": "B"}, {"accuracy": 1.0}),
        ("bbh", {"p": "It is so. So the answer is (B).", "a": "(B)"}, {"exact_match": 1.0}),
        ("bbh_direct", {"p": "(C)", "a": "(B)"}, {"exact_match": 0.0}),
    ],
)
def test_each_benchmark_scores_two_fields(tmp_path, capsys, task, row, expected):
    path = tmp_path / "any.json"
    path.write_text(json.dumps([row]))
    main(Settings(task, str(path), prediction_field="p", answer_field="a"))
    assert json.loads(capsys.readouterr().out) == {**expected, "n": 1}


@pytest.fixture
def run(tmp_path, monkeypatch, checkpoint):
    """A run of eval.run on 8 questions of CommonsenseQA; the model's answers are replaced by some worth scoring."""
    question = "Question: Number {0}?\nChoices: A:one, B:two, C:three"
    rows = [
        {"instruction": "Repeat the input, then choose.", "input": question.format(number), "output": "ABC"[number % 3]}
        for number in range(8)
    ]
    (tmp_path / "data" / "csqa_repeat").mkdir(parents=True)
    (tmp_path / "data" / "csqa_repeat" / "commonsense_qa_repeat.json").write_text(json.dumps(rows))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = ["--model", str(checkpoint), "--tasks", "csqa_repeat_first", "--output_dir", str(tmp_path / "run")]
    subprocess.run([sys.executable, "-m", "eval.run", *command], check=True, capture_output=True)
    return tmp_path / "run" / "csqa_repeat_first"


@pytest.mark.slow
def test_predictions_of_a_run_get_all_their_metrics_again(run, capsys, tmp_path):
    path = run / "predictions.jsonl"
    main(Settings("csqa_repeat_first", str(path), output=str(tmp_path / "out.jsonl")))
    printed = json.loads(capsys.readouterr().out)
    measured = json.loads((run / "metrics.json").read_text())["metrics"]
    assert printed == {**{name: metric["value"] for name, metric in measured.items()}, "n": 8}

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    again = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert again == rows
    for number, row in enumerate(rows):
        repetition = row["question"].partition("\n")[2] if number < 6 else ""
        row["response"] = f"{repetition}\n{row['target'] if number % 2 else 'A'}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:7]))
    main(Settings("csqa_repeat_first", str(path)))
    right = [number % 2 or number % 3 == 0 for number in range(7)]
    assert json.loads(capsys.readouterr().out) == {
        "accuracy": sum(right) / 7,
        "repeated": 6 / 7,
        "both": sum(right[:6]) / 7,
        "n": 7,
    }

    for wrong, problem in (
        ([*rows, rows[0]], r"predictions\.jsonl:9: item '0' stands in .*predictions\.jsonl:1 already"),
        ([{**rows[0], "id": "x"}], "has no item 'x'; are these predictions of another task"),
        ([{"id": "0", "text": "A"}], "Name the fields of the response"),
    ):
        path.write_text("".join(json.dumps(row) + "\n" for row in wrong))
        with pytest.raises(UserError, match=problem):
            main(Settings("csqa_repeat_first", str(path)))
    path.write_text(json.dumps(rows[0]))
    with pytest.raises(UserError, match="csqa_repeat is several tasks; .* csqa_base, csqa_repeat_first"):
        main(Settings("csqa_repeat", str(path)))


@pytest.mark.parametrize(
    ("changes", "text", "problem"),
    [
        ({}, '{"model_output": "1"}\n', r"p\.jsonl:1: no field 'answer'; there are: model_output"),
        ({}, '{"model_output": ["1"], "answer": 1}\n', r"p\.jsonl:1: field 'model_output' must be the model's text"),
        ({}, '{"model_output": "1", "answer": "one"}\n', r"p\.jsonl:1: field 'answer' is no right answer of mgsm"),
        ({}, "", r"p\.jsonl:1: the file has no rows"),
        ({}, "{\n", r"p\.jsonl:1: not JSON"),
        ({}, None, r"p\.jsonl: no such file"),
        (
            {"task": "mgms"},
            '{"model_output": "1", "answer": 1}\n',
            r"for 'mgms'; there is for: bbh, csqa_repeat, gsm, ifeval, mgsm",
        ),
        ({"answer_field": ""}, "{}\n", "give --prediction_field and --answer_field both"),
        (
            {"task": "mgms", "answer_field": "", "prediction_field": ""},
            "{}\n",
            "no task named 'mgms'; there are: .*mgsm",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line(tmp_path, capsys, changes, text, problem):
    path = tmp_path / "p.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=problem) as caught:
        main(settings(path, **changes))
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_row_that_cannot_be_scored_leaves_no_output(tmp_path):
    path, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"model_output": "1", "answer": 1}\n{"model_output": "1"}\n')
    with pytest.raises(UserError, match=r"p\.jsonl:2"):
        main(settings(path, output=str(output)))
    assert not output.exists()
