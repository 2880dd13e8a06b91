"""Evaluation: responses as transformers gives them, kept over kills and shards, and results that stage 3 reads."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import InstructBlipForConditionalGeneration

import eval.results
from lavis import generation
from lavis.config import ROOT
from lavis.evaluation import evaluate
from lavis.images import read_image
from lavis.inputs import load_processor
from lavis.miniature.base_model import make_model, make_processor
from lavis.training import train
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_rows


def predictions_of(folder):
    return [row for _, row in read_rows(folder / "predictions.jsonl")]


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """The folder of a finished evaluation."""
    folder = tmp_path_factory.mktemp("results")
    evaluate(world.evaluation(folder))
    return folder / "tiny" / "vqa"


@pytest.mark.parametrize("beams", [1, 5])
def test_responses_in_a_batch_are_those_of_transformers_one_by_one(beams, world, tmp_path):
    evaluate(world.evaluation(tmp_path, num_beams=beams, max_rows=3))
    processor = load_processor(str(world.base), 4)
    model = InstructBlipForConditionalGeneration.from_pretrained(world.base).eval()
    for row in predictions_of(tmp_path / "tiny" / "vqa"):
        image = read_image(tmp_path / "tiny" / "vqa" / row["image"])
        made = processor(images=image, text=row["prompt"], return_tensors="pt")
        ids = model.generate(**made, num_beams=beams, max_new_tokens=12, min_new_tokens=1, do_sample=False)
        expected = processor.tokenizer.decode(ids[0, made["input_ids"].shape[1] :], skip_special_tokens=True)
        assert row["response"] == expected.strip()


def test_stage_3_reads_the_results(run, world):
    """The format stands in eval/results.py, which lavis may not import."""
    result = eval.results.read(run)
    assert (result.benchmark, result.n, result.n_available, result.partial) == ("vqa", 12, 12, False)
    assert next(iter(result.metrics)) == "exact_match"
    assert set(result.metrics) >= {"lenient_match", "followed", "caption_bleu", "caption_rouge_l"}
    metric = result.metrics["exact_match"]
    assert metric.low <= metric.value <= metric.high and metric.title == "Exact match"
    raw = json.loads((run / "metrics.json").read_text())
    assert set(raw["metrics"]["exact_match"]) <= {field for field in eval.results.Metric.__dataclass_fields__}
    assert set(raw) - {"partial"} <= {field for field in eval.results.Result.__dataclass_fields__}
    rows = eval.results.read_predictions(run)
    assert [row["id"] for row in rows] == [f"q{number}" for number in range(12)]
    assert set(rows[0]) >= {"question", "prompt", "response", "target", "metrics", "image", "description", "answer"}
    assert (run / rows[0]["image"]).is_file()


def test_a_killed_evaluation_asks_only_what_is_missing(world, run, tmp_path, monkeypatch):
    asked = []
    whole = generation._generated

    def counted(model, encoder, rows, texts, numbers, settings):
        for number, answer in whole(model, encoder, rows, texts, numbers, settings):
            if stop_after is not None and len(asked) == stop_after:
                raise KeyboardInterrupt
            asked.append(number)
            yield number, answer

    monkeypatch.setattr(generation, "_generated", counted)
    stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        evaluate(world.evaluation(tmp_path, batch_size_eval=4))
    assert not (tmp_path / "tiny" / "vqa" / "metrics.json").exists()
    stop_after = None
    evaluate(world.evaluation(tmp_path, batch_size_eval=4))
    assert sorted(asked) == list(range(12))  # each once
    found = [row["response"] for row in predictions_of(tmp_path / "tiny" / "vqa")]
    assert found == [row["response"] for row in predictions_of(run)]


def test_another_prompt_or_model_gets_new_answers(world, run, tmp_path):
    shutil.copytree(run.parent, tmp_path / "tiny")
    evaluate(world.evaluation(tmp_path, prompt="direct", max_rows=12))
    rows = predictions_of(tmp_path / "tiny" / "vqa")
    assert all(row["prompt"].startswith("Please answer the question:") for row in rows)
    assert "followed" not in rows[0]["metrics"]  # nobody asked for a description


def test_a_distracting_description_is_of_another_picture(world, tmp_path):
    evaluate(world.evaluation(tmp_path, prompt="distracted", max_len=2))
    captions = {row["question_id"]: row["captions"] for _, row in read_rows(world.describe)}
    for row in predictions_of(tmp_path / "tiny" / "vqa"):
        question, _, distraction = row["prompt"].partition("\nDescription: ")
        assert row["question"] in question
        assert distraction not in captions[row["id"]]
        assert [distraction] in captions.values()


def test_a_damaged_picture_is_a_rejected_question(world, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(world.images, images)
    (images / "2.png").write_bytes(b"\x89PNG")
    settings = world.evaluation(tmp_path, max_len=2, num_workers=1)
    settings.datasets["shapes"].build_info.images.storage = str(images)
    evaluate(settings)
    result = eval.results.read(tmp_path / "tiny" / "vqa")
    assert (result.n, result.n_available, result.partial) == (11, 12, True)
    rejected = [row for _, row in read_rows(tmp_path / "tiny" / "vqa" / "rejected.jsonl")]
    assert rejected[0]["question_id"] == "q2" and "2.png" in rejected[0]["reason"]
    assert "1 pictures could not be read" in capsys.readouterr().out


def test_vqa_accuracy_leads_where_there_are_annotators(world, tmp_path):
    rows = [row for _, row in read_rows(world.direct)]
    for row in rows:
        row["answers"] = ["yes"] * 6 + ["no"] * 4
        row["image"] = "0.png"  # questions of one picture: the interval is over pictures
    write_rows(tmp_path / "rows.json", rows)
    evaluate(world.evaluation(tmp_path, rows=tmp_path / "rows.json", metric="vqa", max_len=2))
    result = eval.results.read(tmp_path / "tiny" / "vqa")
    assert next(iter(result.metrics)) == "vqa_accuracy"
    assert result.clusters == "1 images"
    assert len({row["cluster"] for row in predictions_of(tmp_path / "tiny" / "vqa")}) == 1
    with pytest.raises(UserError, match="vqa needs the answers of several annotators, and question q0 has 1"):
        evaluate(world.evaluation(tmp_path, metric="vqa"))


def test_an_encoder_decoder_answers_too(world, tmp_path):
    processor = make_processor(image_tokens=4)
    torch.manual_seed(1)
    make_model(processor, width=24, layers=1, encoder_decoder=True).save_pretrained(tmp_path / "t5")
    processor.save_pretrained(tmp_path / "t5")
    model = {"pretrained": str(tmp_path / "t5"), "arch": "blip2_t5_instruct"}
    evaluate(world.evaluation(tmp_path, model=model, max_rows=2, num_beams=2))
    assert len(predictions_of(tmp_path / "tiny" / "vqa")) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "describe"}, "run.prompt: 'describe' is none of"),
        ({"metric": "bleu"}, "run.metric: 'bleu' is none of vqa, exact"),
        ({"test_splits": ["val"]}, "no dataset has a split named val; there are: test, train"),
        ({"model": {"finetuned": "/nowhere"}}, "model.finetuned: /nowhere: no trained parts here"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_loaded(settings, message, world, tmp_path, monkeypatch):
    monkeypatch.setattr("lavis.trained.load_trained", None)
    with pytest.raises(UserError, match=message):
        evaluate(world.evaluation(tmp_path, **settings))


@pytest.mark.slow
def test_two_processes_train_as_one_and_share_the_questions(world, run, tmp_path):
    """Under torchrun on two CPU processes: the losses of one process with the same rows a step, and its answers."""
    script = tmp_path / "both.py"
    script.write_text(_BOTH.format(tests=str(ROOT / "tests" / "lavis"), world=world, folder=str(tmp_path)))
    launcher = [sys.executable, "-m", "open_instruct.training.launch", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launcher, str(script)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes on cpu, 12 rows an optimizer step" in done.stdout
    train(world.training(tmp_path / "one", batch_size_train=12, max_steps=2))
    one, two = (json.loads((tmp_path / name / "run.json").read_text())["results"] for name in ("one", "two"))
    assert [two["first_loss"], two["last_loss"]] == pytest.approx([one["first_loss"], one["last_loss"]], rel=1e-5)
    found = [row["response"] for row in predictions_of(tmp_path / "tiny" / "vqa")]
    assert found == [row["response"] for row in predictions_of(run)]
    assert not list((tmp_path / "tiny" / "vqa").glob("*.of-*"))  # the shares were gathered


_BOTH = """
import sys
from pathlib import Path, PosixPath
sys.path.insert(0, {tests!r})
from conftest import World
from lavis.evaluation import evaluate
from lavis.training import train

world = {world!r}
train(world.training(Path({folder!r}) / "two", batch_size_train=6, max_steps=2))
evaluate(world.evaluation(Path({folder!r})))
"""
