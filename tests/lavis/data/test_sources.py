"""Files of VQAv2, LAVIS, GQA and COCO, and anybody's own, each in its own form."""

import gzip
import json

import pytest

from lavis.data.sources import read_annotations, read_captions, read_questions
from open_instruct.core.errors import UserError

OFFICIAL = {
    "info": {"description": "x", "version": "2.0"},
    "data_type": "mscoco",
    "data_subtype": "train2014",
    "questions": [{"image_id": 9, "question": "Is it?", "question_id": 9000}],
}
ANNOTATIONS = {
    "info": {},
    "annotations": [
        {
            "question_id": 9000,
            "image_id": 9,
            "multiple_choice_answer": "yes",
            "answers": [{"answer": "yes", "answer_id": 1}, {"answer": "no", "answer_id": 2}],
        }
    ],
}


def written(path, value, packed=False):
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return str(path)


def test_official_questions_name_their_picture(tmp_path):
    (one,) = read_questions(written(tmp_path / "q.json", OFFICIAL))
    assert (one.id, one.picture, one.question) == ("9000", 9, "Is it?")
    assert one.image == "train2014/COCO_train2014_000000000009.jpg"


def test_official_annotations_bring_all_answers_and_the_right_one(tmp_path):
    found = read_annotations(written(tmp_path / "a.json", ANNOTATIONS, packed=True))
    assert found == {"9000": (("yes", "no"), "yes")}


def test_gqa_questions_are_an_object_by_name(tmp_path):
    rows = {
        "201": {
            "semantic": [{"operation": "select", "argument": "sky"}],
            "question": "Is the sky dark?",
            "imageId": "n161313",
            "isBalanced": True,
            "answer": "yes",
            "fullAnswer": "Yes, the sky is dark.",
        }
    }
    (one,) = read_questions(written(tmp_path / "gqa.json", rows))
    assert (one.id, one.image, one.answers, one.majority) == ("201", "n161313.jpg", ("yes",), "yes")


def test_rows_of_lavis(tmp_path):
    rows = [
        {"question_id": 458752000, "question": "What is this?", "answer": ["net", "net", "goal"],
         "image": "val2014/COCO_val2014_000000458752.jpg", "dataset": "vqa"},
        {"question": "What?", "answer": "tree", "image": "vg/2.jpg", "dataset": "vg"},
    ]  # fmt: skip
    first, second = read_questions(written(tmp_path / "vqa_train.json", rows))
    assert (first.id, first.picture, first.majority) == ("458752000", 458752, "net")
    assert (second.picture, second.image, second.answers) == ("vg/2.jpg", "vg/2.jpg", ("tree",))


def test_anybodys_own_rows_bring_their_captions(tmp_path):
    (tmp_path / "mine.jsonl").write_text(
        '{"image": "a.png", "question": "who?", "answer": "me", "caption": "a man"}\n'
        '{"image": "b.png", "question": "who?", "answers": ["you", "me"], "captions": ["a", " ", "b"]}\n'
    )
    first, second = read_questions(str(tmp_path / "mine.jsonl"))
    assert (first.answers, first.captions) == (("me",), ["a man"])
    assert (second.majority, second.captions) == ("you", ["a", "b"])


def test_captions_of_coco_lavis_and_plain_rows_meet_on_the_picture(tmp_path):
    coco = {
        "info": {},
        "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg"}],
        "annotations": [{"image_id": 9, "id": 1, "caption": "A dog.\n"}],
    }
    lavis = [{"caption": "a  cat", "image": "val2014/COCO_val2014_000000000009.jpg", "image_id": "coco_9"}]
    plain = [{"image_id": 9, "caption": "a cow"}]
    files = [written(tmp_path / f"{n}.json", value) for n, value in enumerate((coco, lavis, plain))]
    captions = read_captions(files)
    assert captions.texts == {9: ["A dog.", "a cat", "a cow"]}
    assert captions.files == {9: "COCO_train2014_000000000009.jpg"}


def test_answers_that_tie_give_the_earliest(tmp_path):
    (tmp_path / "mine.jsonl").write_text(
        '{"image": "a.png", "question": "who?", "answers": ["b", "a", "a", "b", "c"]}\n'
    )
    (one,) = read_questions(str(tmp_path / "mine.jsonl"))
    assert one.majority == "b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"question": "who?"}]', "1: field 'image' is missing; expected VQAv2's questions"),
        (b'{"questions": [{"question": "who?", "question_id": 1}]}', "image_id and question_id must be there"),
        (b'{"questions": [{"image_id": 1, "question_id": 1}]}', "question 1: field 'question' is missing"),
        (b'{"info": {}, "questions": [{"image_id": 1, ', "not JSON, or cut off"),
        (gzip.compress(b'{"questions": [' * 900, mtime=0)[:30], "gzip file is damaged or cut off"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(content, message, tmp_path):
    path = tmp_path / "q.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(read_questions(str(path)))
    assert "\n" not in str(caught.value) and "q.json" in str(caught.value)


def test_questions_given_as_annotations_are_told(tmp_path):
    with pytest.raises(UserError, match="no annotations in it; are these the questions?"):
        read_annotations(written(tmp_path / "q.json", OFFICIAL))
    with pytest.raises(UserError, match="none.json: cannot be read: No such file"):
        read_annotations(str(tmp_path / "none.json"))


def test_real_captions_are_read(shared):
    """1,000 captions of COCO's validation pictures, as captioning results are handed in."""
    captions = read_captions([str(shared / "data" / "vl" / "captions_val2014_fakecap_results.json")])
    assert len(captions.texts) == 1000
    assert captions.texts[404464] == ["black and white photo of a man standing in front of a building"]
