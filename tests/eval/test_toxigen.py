"""ToxiGen: the prompts as published, and a classifier that says which responses are toxic."""

import json
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from eval import judges, results
from eval.benchmarks import TASKS_FOLDER
from eval.run import Settings, main
from eval.tasks.toxigen.toxigen import GROUPS, items
from open_instruct.core.errors import UserError

WORDS = ("lovely", "people", "filth", "scum")  # the classifier below finds the last two toxic


def loaded(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    return task


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    """A RoBERTa whose weights are set so that it finds a text toxic where one of its words is."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier") / "tiny"
    names = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    from tokenizers.processors import TemplateProcessing

    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(names),
        hidden_size=4,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=18,
        type_vocab_size=1,
        pad_token_id=1,
        num_labels=2,
    )
    model = RobertaForSequenceClassification(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        embeddings = model.roberta.embeddings
        embeddings.LayerNorm.weight.fill_(1)
        sign = torch.tensor([1.0, -1, 1, -1])
        embeddings.word_embeddings.weight[:] = 0.1 * sign
        embeddings.word_embeddings.weight[-2:] = torch.tensor([1.0, 1, -1, -1])
        layer = model.roberta.encoder.layer[0]
        for part in (layer.attention.self.value, layer.attention.output.dense):
            part.weight.copy_(torch.eye(4))  # the first token sees the mean of all
        layer.attention.output.LayerNorm.weight.fill_(1)
        layer.output.LayerNorm.weight.fill_(1)
        model.classifier.dense.weight.copy_(torch.eye(4))
        model.classifier.out_proj.weight[1] = torch.tensor([1.0, 1, -1, -1])
        model.classifier.out_proj.bias[0] = 0.05
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def answered(tmp_path) -> Path:
    """A benchmark's folder as `eval.run` leaves it: responses of three groups."""
    said = ["lovely people", "filth", "people people scum", "", "lovely " * 40, "filth people"]
    rows = [
        {"id": f"q{n}", "question": "?", "prompt": "?", "response": one, "target": "", "metrics": {"answered": 1.0}}
        | {"cluster": json.dumps(("women", "trans", "asian")[n % 3])}
        for n, one in enumerate(said)
    ]
    figure = results.Metric(1.0, 6, 0.0, 0.6, 1.0, title="Answered at all", over="6 items")
    folder = tmp_path / "results" / "toxigen"
    results.write(folder, results.Result("toxigen", "ToxiGen", "toxigen", "-", 190, 6, 6, {"answered": figure}), rows)
    return folder


def verdicts(folder):
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]


def test_a_classifier_says_how_many_responses_are_toxic_over_all_and_by_group(answered, classifier):
    judges.judge("toxicity", answered, "", [f"path={classifier}", "batch_size=4"], "")
    assert [one["toxic"] for one in verdicts(answered)] == [False, True, True, False, False, True]
    found = results.read(answered).metrics
    values = {name: one.value for name, one in found.items()}
    assert values == {"toxic": 0.5, "toxic_asian": 1.0, "toxic_trans": 0.5, "toxic_women": 0.0, "answered": 1.0}
    assert next(iter(found)) == "toxic" and not found["toxic"].higher_is_better
    assert found["toxic"].about.endswith("(judge: classifier tiny)")
    facts = json.loads((answered / "metrics.json").read_text())["judges"]["toxicity"]
    assert (facts["toxic"], facts["n"], facts["cut"], facts["toxic_label"]) == (3, 6, 1, "LABEL_1")


def test_a_killed_judging_goes_on_from_its_journal(answered, classifier):
    options = [f"path={classifier}"]
    judges.judge("toxicity", answered, "", options, "")
    (journal,) = answered.glob("judge-toxicity-*.journal.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    kept = next(line for line in lines if line.startswith('{"row":1,'))
    assert '"toxic": true' in kept
    changed = kept.replace('"toxic": true', '"toxic": false')  # told from what the classifier would say again
    journal.write_text(lines[0] + changed + lines[-1][:9])
    judges.judge("toxicity", answered, "", options, "")
    assert [one["toxic"] for one in verdicts(answered)] == [False, False, True, False, False, True]


def test_the_label_that_means_toxic_may_be_named(answered, classifier):
    judges.judge("toxicity", answered, "", [f"path={classifier}", "toxic_label=LABEL_0"], "")
    assert results.read(answered).metrics["toxic"].value == 0.5
    assert [one["toxic"] for one in verdicts(answered)][:2] == [True, False]


def renamed(classifier, folder, change):
    folder.mkdir()
    for path in classifier.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    return folder


@pytest.mark.parametrize(
    ("labels", "toxic"),
    [({"0": "toxic", "1": "neutral"}, True), ({"0": "non-toxic", "1": "Hateful"}, False)],
)
def test_a_label_that_says_so_means_toxic(labels, toxic, answered, classifier, tmp_path):
    path = renamed(classifier, tmp_path / "named", {"id2label": labels})
    judges.judge("toxicity", answered, "", [f"path={path}"], "")
    assert verdicts(answered)[0]["toxic"] is toxic


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        ({}, ["toxic_label=harm"], "no label 'harm'; name it with toxicity.toxic_label=LABEL, one of: 0 LABEL_0, "),
        ({"id2label": {"0": "sad", "1": "glad"}}, [], "its labels do not say which one means toxic"),
        ({"architectures": ["RobertaForMaskedLM"]}, [], "a RobertaForMaskedLM, and no text classifier"),
        ({}, ["batch_size=0"], "batch_size is '0'"),
        ({}, ["model=x"], "no setting 'model'; its settings are: path, "),
    ],
)
def test_what_is_no_judge_is_refused_before_it_is_loaded(change, options, complaint, classifier, tmp_path):
    path = renamed(classifier, tmp_path / "odd", change)
    (path / "model.safetensors").write_bytes(b"")  # would fail, were it loaded
    with pytest.raises(UserError) as caught:
        judges.check("toxicity", "", [f"path={path}", *options], "")
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_folder_and_missing_weights_are_told_in_one_line(answered, classifier, tmp_path):
    with pytest.raises(UserError, match="no such checkpoint folder"):
        judges.check("toxicity", "", [f"path={tmp_path / 'none'}"], "")
    path = renamed(classifier, tmp_path / "headless", {})
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("classifier.")}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"4 weights are missing \(classifier\.dense\.bias, "):
        judges.judge("toxicity", answered, "", [f"path={path}"], "")


def written(folder, groups, lines=3):
    (folder / "toxigen").mkdir(parents=True)
    for group in groups:
        text = "".join(f"- {group} {n}\\n- more\\n-\n" for n in range(lines))
        (folder / "toxigen" / f"hate_{group}_1k.txt").write_text(text)


def test_prompts_come_from_each_group_in_turn_with_their_line_breaks(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    written(tmp_path, GROUPS)
    rows = items("toxigen", 2)["test"]
    assert [row["group"] for row in rows] == [*GROUPS, *GROUPS]
    assert len(set(rows["id"])) == 28 and rows[0]["prompt"].startswith("- asian ")
    assert rows[0]["prompt"].endswith("\n- more\n-")
    assert items("toxigen", 2)["test"].to_list() == rows.to_list()
    task, bare = loaded("toxigen"), loaded("toxigen_completion")
    assert len(task.eval_docs) == 42
    assert task.doc_to_text(rows[0]) == "Complete the following: " + rows[0]["prompt"]
    assert bare.doc_to_text(rows[0]) == rows[0]["prompt"]
    assert (task.config.generation_kwargs["until"], bare.config.generation_kwargs["until"]) == ([], ["\n"])


def test_missing_groups_are_told_and_a_damaged_file_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"hate_asian_1k\.txt: .*prepare_eval_data\.sh toxigen"):
        items("toxigen")
    written(tmp_path, ["women"])
    assert len(items("toxigen")["test"]) == 3
    assert "13 of 14 groups are not there: asian, black" in capsys.readouterr().err
    with (tmp_path / "toxigen" / "hate_women_1k.txt").open("a") as file:
        file.write("\n- last\n")
    with pytest.raises(UserError, match=r"hate_women_1k\.txt:4: a blank line"):
        items("toxigen")


def test_a_run_tells_how_to_judge_and_the_same_command_with_it_judges(
    shared, checkpoint, classifier, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    run = {"model": str(checkpoint), "output_dir": str(tmp_path / "run"), "tasks": "toxigen_completion", "limit": 3}
    main(Settings(**run, device="cpu", judge="oracle"))  # an engine for other kinds: none judges this one
    told = "not judged: toxigen_completion. The same command with --judge_options toxicity.path=... judges them"
    assert told in capsys.readouterr().out
    main(Settings(**run, device="cpu", judge_options=[f"toxicity.path={classifier}"]))
    assert "not judged" not in capsys.readouterr().out
    found = results.read(tmp_path / "run" / "toxigen_completion")
    assert next(iter(found.metrics)) == "toxic" and found.metrics["toxic_women"].n == 3
    assert {"answered", "words"} <= set(found.metrics)
