"""Joins questions, answers and captions by picture, and writes direct, describe-first and merged rows.

`LAVIS/make_instruct_data.py` is its command. Every question is kept, however many a picture has; the direct set's
target is the answer. (The published script keeps one question a picture, and its direct set answers with the caption.)
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from lavis import prompts
from lavis.data.sources import Captions, Question, read_annotations, read_captions, read_questions
from lavis.images import DamagedImage, read_image
from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import write_rows
from open_instruct.core.run_info import RunInfo

REJECTED = "rejected_{split}.jsonl"


@dataclass
class Settings:
    questions: list[str] = help_field(
        "files of questions: VQAv2's, LAVIS's vqa_*.json, GQA's *_questions.json, or rows "
        '{"image", "question", "answer", "caption"}; plain or gzip'
    )
    output_dir: str = help_field("folder for base_vqa_SPLIT.json, describe_vqa_SPLIT.json and merge_vqa_SPLIT.json")
    annotations: list[str] = help_field("VQAv2's annotations, where the questions come without answers", [])
    captions: list[str] = help_field(
        "captions: COCO's, LAVIS's coco_karpathy_*.json, or rows; without any, rows bring their own or base alone is "
        "written",
        [],
    )
    split: str = help_field("name of the set, for the files", "train")
    caption: str = help_field(
        "one: a caption drawn for each question; all: a row for each caption, and as many direct ones", "one"
    )
    answer: str = help_field(
        "majority: what most annotators answered; sampled: one of their answers, drawn", "majority"
    )
    rows: int = help_field("only so many questions, drawn; -1: all", -1)
    images: str = help_field("folder of the pictures: questions whose picture is not there are rejected", "")
    verify_images: bool = help_field("also read each picture in --images, and reject those that are damaged", False)
    image_name: str = help_field(
        "picture file of a question that only tells its number, such as train2014/COCO_train2014_{:012d}.jpg; "
        "captions of COCO tell it themselves",
        "{:012d}.jpg",
    )
    seed: int = help_field("of everything that is drawn", 42)


def make(settings: Settings) -> None:
    """Write the three files and the list of rejected questions; print the counts, which add up.

    Raises:
        UserError: a file cannot be read, or a setting is wrong, or no question is left.
    """
    for name, choices in (("caption", ("one", "all")), ("answer", ("majority", "sampled"))):
        if getattr(settings, name) not in choices:
            raise UserError(f"--{name} {getattr(settings, name)}: expected {' or '.join(choices)}")
    if settings.verify_images and not settings.images:
        raise UserError("--verify_images: name the folder of the pictures with --images")
    folder = Path(settings.output_dir)
    with RunInfo(folder, settings, seed=settings.seed) as info:
        rejected: list[dict[str, Any]] = []
        captions = read_captions(settings.captions)
        questions, count = _joined(settings, captions, rejected)
        if settings.images:
            questions = _with_images(questions, settings, rejected)
        described = bool(captions.texts) or any(one.captions for one in questions)
        if described:
            questions = _split_off(questions, rejected, lambda one: not one.captions and "no caption of its picture")
        questions, left_out = _drawn(questions, settings)
        write_rows(folder / REJECTED.format(split=settings.split), rejected)
        if not questions:
            raise UserError(f"no question is left; {folder / REJECTED.format(split=settings.split)} says why")
        base = [row for one in questions for row in _direct_rows(one, settings)]
        counts = {"base": _write(folder, "base", settings, base)}
        if described:
            describe = [row for one in questions for row in _describe_rows(one, settings)]
            counts["describe"] = _write(folder, "describe", settings, describe)
            merged = base + describe
            Random(settings.seed).shuffle(merged)
            counts["merge"] = _write(folder, "merge", settings, merged)
        reasons = Counter(_kind(one["reason"]) for one in rejected)
        info.add(questions=count, kept=len(questions), not_drawn=left_out, rejected=dict(reasons), rows=counts)
    print(f"{count:,} questions in = {len(questions):,} kept + {left_out:,} not drawn + {len(rejected):,} rejected")
    for reason, number in reasons.most_common():
        print(f"  rejected: {number:,} {reason}")
    for name, number in counts.items():
        print(f"  {number:,} rows in {folder / _file(name, settings)}")
    if not described:
        print("  no captions, so no describe-first rows: base alone")


def _joined(settings: Settings, captions: Captions, rejected: list[dict[str, Any]]) -> tuple[list[Question], int]:
    """Questions with their answers and captions, and how many there were in all."""
    annotations: dict[str, tuple[tuple[str, ...], str]] = {}
    for path in settings.annotations:
        annotations |= read_annotations(path)
    kept: list[Question] = []
    seen: set[str] = set()
    count = 0
    for path in settings.questions:
        for one in read_questions(path):
            count += 1
            if one.id in annotations:
                one.answers, one.answer = annotations[one.id]
            if not one.image:
                one.image = captions.files.get(one.picture) or _named(settings.image_name, one.picture)
            one.captions = one.captions or captions.texts.get(one.picture, [])
            reason = _fault(one, seen, bool(settings.annotations))
            seen.add(one.id)
            if reason:
                rejected.append(_rejection(one, reason))
            else:
                kept.append(one)
    return kept, count


def _fault(one: Question, seen: set[str], annotated: bool) -> str:
    if one.id in seen:
        return "question_id stands in an earlier row"
    if not one.question.strip():
        return "blank question"
    if not one.majority.strip():
        return "no annotation of it" if annotated and not one.answers else "no answer"
    return ""


def _named(template: str, picture: int | str) -> str:
    try:
        return template.format(picture)
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"--image_name {template}: does not take the picture {picture!r} ({error})") from error


def _with_images(questions: list[Question], settings: Settings, rejected: list[dict[str, Any]]) -> list[Question]:
    """Those whose picture is there, and can be read where that is asked."""
    names = list(dict.fromkeys(one.image for one in questions))
    if settings.verify_images:
        with ProcessPoolExecutor() as pool:
            found = pool.map(_damage, [settings.images] * len(names), names, chunksize=64)
            faults = dict(zip(names, found, strict=True))
    else:
        faults = {name: "" if Path(settings.images, name).is_file() else "no such picture" for name in names}
    return _split_off(questions, rejected, lambda one: faults[one.image])


def _damage(folder: str, name: str) -> str:
    try:
        read_image(Path(folder, name))
        return ""
    except DamagedImage as damage:
        return "no such picture" if not Path(folder, name).is_file() else f"damaged picture: {damage}"


def _split_off(questions: list[Question], rejected: list[dict[str, Any]], fault: Any) -> list[Question]:
    """The questions for which `fault` says nothing; the others are rejected for what it says."""
    kept = []
    for one in questions:
        if reason := fault(one):
            rejected.append(_rejection(one, reason))
        else:
            kept.append(one)
    return kept


def _rejection(one: Question, reason: str) -> dict[str, Any]:
    return {"question_id": one.id, "image": one.image, "reason": reason}


def _kind(reason: str) -> str:
    """Reasons of one kind count together, whatever file they name."""
    return reason.partition(":")[0]


def _drawn(questions: list[Question], settings: Settings) -> tuple[list[Question], int]:
    """So many as asked, in their order, and how many were left out."""
    if not 0 <= settings.rows < len(questions):
        return questions, 0
    places = sorted(Random(settings.seed).sample(range(len(questions)), settings.rows))
    return [questions[place] for place in places], len(questions) - settings.rows


def _direct_rows(one: Question, settings: Settings) -> Iterator[dict[str, Any]]:
    rng = _rng(one, settings)
    answer = _answer(one, settings, rng)
    for _ in _chosen(one, settings, rng) if one.captions else [""]:
        yield _row(one, prompts.direct_prompt(one.question, rng), prompts.direct_target(answer))


def _describe_rows(one: Question, settings: Settings) -> Iterator[dict[str, Any]]:
    rng = _rng(one, settings)
    answer = _answer(one, settings, rng)
    for caption in _chosen(one, settings, rng):
        target = prompts.describe_first_target(caption, answer)
        yield _row(one, prompts.describe_first_prompt(one.question), target)


def _rng(one: Question, settings: Settings) -> Random:
    """Its own for each question, so that what is drawn does not depend on the other questions; both sets draw the same
    answer."""
    return Random(f"{settings.seed} {one.id}")


def _answer(one: Question, settings: Settings, rng: Random) -> str:
    return one.majority if settings.answer == "majority" or not one.answers else rng.choice(one.answers)


def _chosen(one: Question, settings: Settings, rng: Random) -> list[str]:
    return [rng.choice(one.captions)] if settings.caption == "one" else one.captions


def _row(one: Question, text_input: str, text_output: str) -> dict[str, Any]:
    return {
        "question_id": one.id,
        "image": one.image,
        "question": one.question,
        "text_input": text_input,
        "text_output": text_output,
        "answers": list(one.answers),
        "answer": one.majority,
        "captions": one.captions,
    }


def _write(folder: Path, name: str, settings: Settings, rows: list[dict[str, Any]]) -> int:
    return write_rows(folder / _file(name, settings), rows)


def _file(name: str, settings: Settings) -> str:
    return f"{name}_vqa_{settings.split}.json"
