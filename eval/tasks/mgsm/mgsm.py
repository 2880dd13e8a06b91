"""MGSM: 250 word problems of GSM8K in eleven languages, asked in four modes, with and without examples.

The modes are those of the SIT paper's evaluation (arXiv 2403.07794): the question alone (no_cot), reasoning in its
language (cot), in English (cot_en), and after a translation into English (trans_cot). Their words are in prompts.yaml.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset

from eval import local_data
from eval.scoring.data_files import MADE_BY, data_file, read_text
from eval.scoring.numbers import last_number, number_match
from eval.scoring.sequence import translated_first
from eval.scoring.shots import ItsExamples  # noqa: F401  the YAML files name it
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction

LANGUAGES = ("en", "es", "fr", "de", "ru", "zh", "ja", "th", "sw", "bn", "te")
MODES = ("no_cot", "cot", "cot_en", "trans_cot")


def items(folder: str, mode: str, shots: int = 0, **_settings: Any) -> dict[str, Dataset]:
    """All questions, as the split `test`: the first in every language, then the second, and so on.

    Args:
        folder: of `mgsm_LANGUAGE.tsv` (question, tab, number) and `examples/LANGUAGE.jsonl`, in the data folder.
        mode: one of MODES.
        shots: examples that each item brings along.

    Raises:
        UserError: a file is missing, is not of its format, or has not as many questions as the English one.
    """
    read = {language: _questions(f"{folder}/mgsm_{language}.tsv") for language in LANGUAGES}
    for language, questions in read.items():
        if len(questions) != len(read["en"]):
            raise UserError(
                f"{data_file(f'{folder}/mgsm_{language}.tsv')}: {len(questions)} questions, the English file has "
                f"{len(read['en'])}. Fetch both again: {MADE_BY}"
            )
    shown = {language: _examples(folder, language, mode)[:shots] if shots else [] for language in LANGUAGES}
    rows = [
        {
            "id": f"{language}-{number}",
            "language": language,
            "problem": number,
            "question": _asked(read[language][number][0], mode),
            "answer": read[language][number][1],
            "english": read["en"][number][0] if mode == "trans_cot" and language != "en" else "",
            "examples": shown[language],
        }
        for number in range(len(read["en"]))
        for language in LANGUAGES
    ]
    return {"test": Dataset.from_list(rows)}


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """`exact_match`, the same under the language's name, and, where a translation was asked for, `translated`."""
    right = number_match(responses[0], item["answer"])
    found = {"exact_match": right}
    if item["english"]:
        found["translated"] = translated_first(responses[0], [item["english"]])
    return found | {f"exact_match_{item['language']}": right}


def _questions(file: str) -> list[tuple[str, str]]:
    path = data_file(file)
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        question, tab, answer = line.partition("\t")
        if not tab or not question.strip() or last_number(answer) is None:
            raise UserError(f"{path}:{number}: expected a question, a tab and a number. Fetch it again: {MADE_BY}")
        found.append((question.strip(), answer.strip()))
    if not found:
        raise UserError(f"{path}: no questions in it. Fetch the file again: {MADE_BY}")
    return found


def _examples(folder: str, language: str, mode: str) -> list[dict[str, str]]:
    """The published examples of a language, answered as `mode` asks for; their labels ("Question:") are left out."""
    own, english = (_published(f"{folder}/examples/{name}.jsonl") for name in (language, "en"))
    if [one["answer_number"] for one in own] != [one["answer_number"] for one in english]:
        raise UserError(
            f"{data_file(f'{folder}/examples/{language}.jsonl')}: not the English examples in another language, "
            f"in their order. Fetch both again: {MADE_BY}"
        )
    made = []
    for here, there in zip(own, english, strict=True):
        number = str(here["answer_number"])
        steps = there["answer"].rpartition(" The answer is")[0] or there["answer"]
        in_english = f"{steps}\n{_prompts()['answer']} {number}"
        answers = {
            "no_cot": number,
            "cot": here["answer"],
            "cot_en": in_english,
            "trans_cot": f"{_prompts()['translation']}\n{there['question']}\n{in_english}",
        }
        made.append({"question": _asked(here["question"], mode), "answer": answers[mode]})
    return made


def _published(file: str) -> list[dict[str, Any]]:
    found = []
    for where, row in local_data.rows(file, MADE_BY):
        texts = [row.get(name) for name in ("question", "answer")]
        if not all(isinstance(text, str) for text in texts) or "answer_number" not in row:
            raise UserError(f"{where}: expected question, answer and answer_number. Fetch the file again: {MADE_BY}")
        question, answer = map(_without_label, texts)
        found.append({"question": question, "answer": answer, "answer_number": row["answer_number"]})
    return found


def _without_label(text: str) -> str:
    """Without "Question:" or "Step-by-Step Answer:" in front, in whatever language and with whatever colon."""
    label, colon, rest = text.replace("：", ":", 1).partition(":")
    return rest.strip() if colon and len(label.split()) <= 6 else text.strip()


def _asked(question: str, mode: str) -> str:
    instruction = _prompts()[mode]
    return Instruction(instruction, question).prompt if instruction else question


@cache
def _prompts() -> dict[str, str]:
    return yaml.safe_load((Path(__file__).parent / "prompts.yaml").read_text(encoding="utf-8"))
