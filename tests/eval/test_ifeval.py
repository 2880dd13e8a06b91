"""IFEval: nothing is fetched, what is missing is told before loading, and figures over instructions are right."""

import json
import subprocess
import sys

import pytest

from eval import rescore
from eval.results import read, read_predictions
from eval.run import Settings, main
from eval.tasks.ifeval import ifeval
from open_instruct.core.errors import UserError

PROMPTS = [
    {"key": 1, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    {
        "key": 2,
        "prompt": "Three sentences at least, in capitals.",
        "instruction_id_list": ["length_constraints:number_sentences", "change_case:english_capital"],
        "kwargs": [{"relation": "at least", "num_sentences": 3}, {}],
    },
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "ifeval" / "input_data.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def test_sentences_are_split_by_nltks_own_statistics_and_nothing_is_fetched(tmp_path):
    """In a process of its own, whose sockets fail, with no data of NLTK anywhere."""
    program = (
        "import socket\n"
        "def fail(*_): raise RuntimeError('a connection was tried')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = fail\n"
        "import nltk; nltk.data.path[:] = []\n"
        "from eval.tasks.ifeval.ifeval import scorer\n"
        "scorer()\n"
        "from lm_eval.tasks.ifeval import instructions_util as util\n"
        "print(util.count_sentences('Mr. Smith met Dr. No at 5 p.m. in Washington. He left. Why?'))\n"
        "print(nltk.word_tokenize('Ask Mr. Smith.'))\n"
        "from punkt.data import english\n"
        "found = nltk.tokenize.punkt.PunktTokenizer('english')._params\n"
        "print(found.abbrev_types == english.ABBREV_TYPES, found.sent_starters == english.SENT_STARTERS)\n"
        "print(found.collocations == english.COLLOCATIONS, dict(found.ortho_context) == english.ORTHO_CONTEXT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.splitlines() == ["3", "['Ask', 'Mr.', 'Smith', '.']", "True True", "True True"]


def test_the_figure_over_instructions_is_their_mean_and_not_that_of_prompts(
    data, checkpoint, tmp_path, monkeypatch, capsys
):
    settings = Settings(model=str(checkpoint), output_dir=str(tmp_path / "out"), tasks="ifeval", device="cpu")
    said = {"No commas.": "one, two", "Three sentences at least, in capitals.": "THIS IS ONE. HERE IS ANOTHER."}

    def answers(self, requests, **_):
        return [next(text for prompt, text in said.items() if prompt in one.args[0]) for one in requests]

    monkeypatch.setattr("lm_eval.models.huggingface.HFLM.generate_until", answers)
    main(settings)
    metrics = read(tmp_path / "out" / "ifeval").metrics
    assert metrics["prompt_level_strict_acc"].value == 0 and metrics["prompt_level_strict_acc"].n == 2
    assert metrics["inst_level_strict_acc"].value == pytest.approx(1 / 3)  # of the mean over prompts: 1/4
    assert (metrics["inst_level_strict_acc"].n, metrics["inst_level_strict_acc"].over) == (3, "3 values")
    rows = read_predictions(tmp_path / "out" / "ifeval")
    assert [row["metrics"]["inst_level_strict_acc"] for row in rows] == [0.0, 0.5]

    capsys.readouterr()
    rescore.main(rescore.Settings("ifeval", str(tmp_path / "out" / "ifeval" / "predictions.jsonl")))
    assert json.loads(capsys.readouterr().out) == {name: metric.value for name, metric in metrics.items()} | {"n": 2}


def test_responses_by_others_are_scored_by_their_prompt(data, tmp_path, capsys):
    path = tmp_path / "responses.jsonl"
    path.write_text(json.dumps({"prompt": "No commas.", "response": "one and two"}) + "\n")
    settings = rescore.Settings("ifeval", str(path), prediction_field="response", answer_field="prompt")
    rescore.main(settings)
    assert json.loads(capsys.readouterr().out) == {
        **{f"{level}_level_{how}_acc": 1.0 for level in ("prompt", "inst") for how in ("strict", "loose")},
        "n": 1,
    }
    path.write_text(json.dumps({"prompt": "No dots.", "response": "one"}) + "\n")
    with pytest.raises(UserError, match=r"responses\.jsonl:1: .* \(no prompt of IFEval: 'No dots\.'\)"):
        rescore.main(settings)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**PROMPTS[0], "kwargs": []}, "expected key, prompt, instruction_id_list and kwargs"),
        (
            {**PROMPTS[0], "instruction_id_list": ["rhyme:limerick"]},
            "no checker of instruction 'rhyme:limerick'; there are: ",
        ),
    ],
)
def test_a_row_that_cannot_be_checked_is_refused_with_its_line(data, row, problem):
    with data.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=rf"input_data\.jsonl:3: {problem}"):
        ifeval.items("ifeval/input_data.jsonl")


@pytest.mark.parametrize("missing", ["nltk", "langdetect", "immutabledict", "punkt"])
def test_a_missing_package_is_told_when_the_prompts_are_read(data, monkeypatch, missing):
    """Which is before a model is loaded."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(ifeval, "scorer", ifeval.scorer.__wrapped__)  # not the one that was found before
    with pytest.raises(UserError, match=f"IFEval's checkers need the package of {missing}: pip install -r"):
        ifeval.items("ifeval/input_data.jsonl")
