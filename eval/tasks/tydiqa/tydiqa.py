"""TyDiQA: questions asked by speakers of eleven languages, answered from the right passage (gold) or without one.

The data is the gold passage task in SQuAD's format (tydiqa-goldp-v1.1-dev.json, and -train.json for the example), nine
languages. Where that is not there, it is made from annotated documents of the original release: a passage in which an
annotator found a short answer is a question of the gold passage task. Of the eleven documents of `tiny_dev.jsonl.gz`
four are; that is enough to see that all of this runs, and says nothing about a model.

Protocol of Tulu v1 (arXiv 2306.04751): up to 100 questions a language, one example of the same language, F1 and exact
match of SQuAD, the mean over languages. Passages are whole here: Tulu cuts them at 512 tokens of the model's tokenizer.
"""

import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset

from eval import local_data
from eval.scoring import spans
from eval.scoring.data_files import MADE_BY, data_file, read_squad, tell
from eval.scoring.sequence import first_line
from eval.scoring.shots import ItsExamples  # noqa: F401  the YAML files name it
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows

TULU_SEED = 42  # open-instruct draws questions and examples with it (eval/tydiqa/run_eval.py)
_DOCUMENT_BYTES = 1 << 26  # a whole article stands in a row


def items(
    folder: str, with_passage: bool, per_language: int = 0, shots: int = 0, **_settings: Any
) -> dict[str, Dataset]:
    """The questions, as the split `test`: the first in every language, then the second, and so on.

    Args:
        folder: of the files, in the data folder.
        with_passage: whether the passage is shown.
        per_language: take at most so many of each language, the ones that Tulu's evaluation takes; 0 takes all.
        shots: examples that each item brings along.

    Raises:
        UserError: no file is there, or one is not of its format.
    """
    randomness = random.Random(TULU_SEED)
    tests = _by_language(_gold_passages(folder, "tydiqa-goldp-v1.1-dev.json", "tiny_dev.jsonl.gz"))
    for language, questions in tests.items():
        if 0 < per_language < len(questions):
            tests[language] = randomness.sample(questions, per_language)
    shown = _examples(folder, list(tests), shots, with_passage, randomness) if shots else {}
    rows = [
        {
            "id": one["id"],
            "language": language,
            "question": _asked(one, with_passage),
            "answers": one["answers"],
            "examples": shown.get(language, []),
        }
        for number in range(max(map(len, tests.values())))
        for language, questions in tests.items()
        for one in questions[number : number + 1]
    ]
    return {"test": Dataset.from_list(rows)}


def target(item: dict[str, Any]) -> str:
    """The right answer, as the first annotator has it."""
    return item["answers"][0]


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """`f1`, `exact_match` and `containment` of the response's first line, and the first two of the item's language."""
    found = spans.scores(first_line(responses[0]), item["answers"])
    return found | {f"{name}_{item['language']}": found[name] for name in ("f1", "exact_match")}


def _gold_passages(folder: str, released: str, documents: str) -> list[dict[str, Any]]:
    """The questions of a file of the gold passage task, or, where it is not there, of one of annotated documents."""
    if (local_data.folder() / folder / documents).is_file() and not (local_data.folder() / folder / released).is_file():
        rows = list(read_rows(data_file(f"{folder}/{documents}"), max_row_bytes=_DOCUMENT_BYTES))
        found = [one for where, row in rows for one in _of_document(row, where)]
        tell(
            f"TyDiQA: {folder}/{released} is not there; {len(found)} of the {len(rows)} documents in {documents} "
            "have a short answer and are taken instead"
        )
        return found
    return [{**one, "language": one["id"].partition("-")[0]} for one in read_squad(data_file(f"{folder}/{released}"))]


def _of_document(row: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The gold passage question of an annotated document; none where no annotator found a short answer."""
    try:
        text = row["document_plaintext"].encode()
        answers: dict[int, list[str]] = {}
        for one in row["annotations"]:
            start, end = (one["minimal_answer"][f"plaintext_{edge}_byte"] for edge in ("start", "end"))
            if start >= 0:
                answers.setdefault(one["passage_answer"]["candidate_index"], []).append(text[start:end].decode())
        if not answers:
            return []
        passage = max(answers, key=lambda place: len(answers[place]))  # where most annotators found it
        edges = row["passage_answer_candidates"][passage]
        context = text[edges["plaintext_start_byte"] : edges["plaintext_end_byte"]].decode()
        return [
            {
                "id": f"{row['language']}-{row['example_id']}",
                "language": row["language"],
                "context": context.strip(),
                "question": row["question_text"],
                "answers": list(dict.fromkeys(answers[passage])),
            }
        ]
    except (KeyError, TypeError, IndexError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{where}: not a document of TyDiQA ({type(error).__name__}: {error}). Fetch the file again: {MADE_BY}"
        ) from error


def _by_language(questions: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in questions:
        if one["language"] not in _prompts():
            known = ", ".join(_prompts())
            raise UserError(f"TyDiQA question {one['id']}: no prompt in {one['language']!r}; there are: {known}")
        found.setdefault(one["language"], []).append(one)
    return dict(sorted(found.items()))


def _examples(
    folder: str, languages: list[str], shots: int, with_passage: bool, randomness: random.Random
) -> dict[str, list[dict[str, str]]]:
    """Examples of each language; of another one where the training file has too few, which is told."""
    training = _by_language(_gold_passages(folder, "tydiqa-goldp-v1.1-train.json", "small_gold_annotation.jsonl"))
    every = [one for questions in training.values() for one in questions]
    found = {}
    for language in languages:
        pool = training.get(language, [])
        if len(pool) < shots:
            tell(f"TyDiQA: no example in {language}; one of another language is shown")
            pool = every
        drawn = randomness.sample(pool, min(shots, len(pool)))
        found[language] = [{"question": _asked(one, with_passage), "answer": one["answers"][0]} for one in drawn]
    return found


def _asked(question: dict[str, Any], with_passage: bool) -> str:
    words = _prompts()[question["language"]]
    passage, asks, answers = words["labels"]
    shown = f"{passage} {question['context']}\n" if with_passage else ""
    instruction = words["passage" if with_passage else "closed_book"]
    return f"{instruction}\n{shown}{asks} {question['question']}\n{answers}"


@cache
def _prompts() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent / "prompts.yaml").read_text(encoding="utf-8"))
