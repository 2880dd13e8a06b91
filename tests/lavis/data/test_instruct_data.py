"""Rows for training: every question kept, the answer as the direct target, and counts that add up."""

import json

import pytest

from lavis import prompts
from lavis.data.instruct_data import Settings, make
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_rows


def rows_of(path):
    return [row for _, row in read_rows(path, may_be_empty=True)]


@pytest.fixture
def own(tmp_path):
    """Two pictures with three questions, each with three answers and two captions."""
    rows = [
        {
            "question_id": "1",
            "image": "a.png",
            "question": "who?",
            "answers": ["x", "y", "y"],
            "captions": ["c1", "c2"],
        },
        {"question_id": "2", "image": "a.png", "question": "where?", "answers": ["z"] * 3, "captions": ["c1", "c2"]},
        {"question_id": "3", "image": "b.png", "question": "why?", "answers": ["w"] * 3, "captions": ["c3", "c4"]},
    ]
    write_rows(tmp_path / "own.jsonl", rows)
    return str(tmp_path / "own.jsonl")


def made(tmp_path, questions, **settings):
    out = tmp_path / "rows"
    make(Settings([questions] if isinstance(questions, str) else questions, str(out), **settings))
    return [rows_of(out / f"{name}_vqa_train.json") for name in ("base", "describe", "merge")]


def test_all_questions_of_a_picture_are_kept(own, tmp_path):
    base, describe, merge = made(tmp_path, own)
    assert [row["question_id"] for row in base] == [row["question_id"] for row in describe] == ["1", "2", "3"]
    assert sorted(map(str, merge)) == sorted(map(str, base + describe))


def test_the_direct_target_is_the_answer_and_the_other_the_description_first(own, tmp_path):
    base, describe, _ = made(tmp_path, own)
    assert base[0]["text_output"] == "Answer: y"
    assert base[0]["text_input"] in [wording.format(question="who?") for wording in prompts.DIRECT]
    assert describe[0]["text_input"] == "First describe this image then answer the question: who?"
    assert describe[0]["text_output"] in ("Description: c1\nAnswer: y", "Description: c2\nAnswer: y")
    assert describe[0]["answers"] == ["x", "y", "y"] and describe[0]["captions"] == ["c1", "c2"]


def test_all_captions_make_as_many_rows_of_both_kinds(own, tmp_path):
    base, describe, merge = made(tmp_path, own, caption="all")
    assert len(base) == len(describe) == 6 and len(merge) == 12
    assert [row["text_output"].split("\n")[0][-2:] for row in describe] == ["c1", "c2", "c1", "c2", "c3", "c4"]


def test_sampled_answers_are_the_annotators_and_equal_in_both_sets(own, tmp_path):
    drawn = set()
    for seed in range(8):
        base, describe, _ = made(tmp_path, own, answer="sampled", seed=seed)
        answer = base[0]["text_output"].removeprefix("Answer: ")
        assert describe[0]["text_output"].endswith(f"\nAnswer: {answer}")
        drawn.add(answer)
    assert drawn == {"x", "y"}


def test_a_seed_gives_the_same_rows_and_what_a_question_draws_does_not_depend_on_others(own, tmp_path):
    all_rows = made(tmp_path, own, seed=5)
    assert made(tmp_path, own, seed=5) == all_rows
    fewer = made(tmp_path, own, seed=5, rows=2)
    assert len(fewer[0]) == 2 and all(row in all_rows[0] for row in fewer[0])
    assert len(fewer[2]) == 4


def test_what_goes_in_comes_out_or_is_rejected_with_its_reason(own, tmp_path, world, capsys):
    rows = rows_of(own)
    rows[0]["image"] = "0.png"
    rows[1] |= {"image": "1.png", "answers": []}
    rows[2]["image"] = "gone.png"
    rows += [
        {**rows[0], "question_id": "4", "captions": []},
        {**rows[0], "question_id": "5", "question": " "},
        rows[0],
        {**rows[0], "question_id": "6", "image": "broken.png"},
    ]
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes((world.images / "0.png").read_bytes())
    (images / "broken.png").write_bytes((world.images / "0.png").read_bytes()[:200])
    write_rows(tmp_path / "in.jsonl", rows)
    base, _, _ = made(tmp_path, str(tmp_path / "in.jsonl"), images=str(images), verify_images=True)
    assert [row["question_id"] for row in base] == ["1"]
    reasons = {row["question_id"]: row["reason"] for row in rows_of(tmp_path / "rows" / "rejected_train.jsonl")}
    assert reasons["2"] == "no answer"
    assert reasons["3"] == "no such picture"
    assert reasons["4"] == "no caption of its picture"
    assert reasons["5"] == "blank question"
    assert reasons["1"] == "question_id stands in an earlier row"
    assert "broken.png: cannot be read as a picture" in reasons["6"]
    assert "7 questions in = 1 kept + 0 not drawn + 6 rejected" in capsys.readouterr().out
    results = json.loads((tmp_path / "rows" / "run.json").read_text())["results"]
    assert results["questions"] == 7 and sum(results["rejected"].values()) == 6


def test_without_captions_there_is_the_direct_set_alone(tmp_path, own, capsys):
    rows = [{**row, "captions": []} for row in rows_of(own)]
    write_rows(tmp_path / "in.jsonl", rows)
    make(Settings([str(tmp_path / "in.jsonl")], str(tmp_path / "rows")))
    assert [path.name for path in sorted((tmp_path / "rows").glob("*.json"))] == ["base_vqa_train.json", "run.json"]
    assert "base alone" in capsys.readouterr().out


def test_real_questions_of_vqav2(shared, tmp_path):
    """12,000 of them with all their answers; no captions are at hand for their pictures, so the direct set alone."""
    folder = shared / "data" / "vl" / "vqa_v2_subset"
    questions = [str(folder / f"vqa_questions_{part}.gzip") for part in ("valid", "test")]
    annotations = [str(folder / f"vqa_annotatons_{part}.gzip") for part in ("valid", "test")]
    make(Settings(questions, str(tmp_path), annotations=annotations))
    rows = rows_of(tmp_path / "base_vqa_train.json")
    assert len(rows) == 8977 + 2962
    assert len({row["image"] for row in rows}) < len(rows)  # several questions a picture, all kept
    assert all(len(row["answers"]) == 10 for row in rows)
    assert all(row["text_output"] == f"Answer: {row['answer']}" and row["answer"] in row["answers"] for row in rows)
    assert rows[0]["question"] in rows[0]["text_input"] and rows[0]["image"] == "000000413918.jpg"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"caption": "two"}, "--caption two: expected one or all"),
        ({"answer": "best"}, "--answer best: expected majority or sampled"),
        ({"verify_images": True}, "name the folder of the pictures with --images"),
        ({"images": "/nowhere"}, "no question is left; .*rejected_train.jsonl says why"),
    ],
)
def test_a_wrong_setting_is_one_line(settings, message, own, tmp_path):
    with pytest.raises(UserError, match=message):
        made(tmp_path, own, **settings)
