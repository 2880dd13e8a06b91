"""XQuAD, to be translated into English and then answered: 1,190 questions of SQuAD in eleven languages.

The protocol is that of the SIT paper's evaluation (arXiv 2403.07794): the instruction is in English, the context and
the question in another language. What is right is told by the English answers and by those of the language, both.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset

from eval import local_data
from eval.scoring import spans
from eval.scoring.data_files import MADE_BY, data_file, read_squad, tell
from eval.scoring.sequence import split_answer, translated_first
from eval.scoring.shots import ItsExamples  # noqa: F401  the YAML files name it
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction

# The paper's training set has the first five, the others are new to a model of it.
LANGUAGES = ("en", "de", "es", "ru", "zh", "ar", "vi", "th", "tr", "hi", "el")
_BY_LANGUAGE = ("containment_en", "f1_en", "f1", "follow")


def items(folder: str, shots: int = 0, **_settings: Any) -> dict[str, Dataset]:
    """The questions of each language whose file is there, as the split `test`: the first in every language, and so on.

    Args:
        folder: of `xquad.LANGUAGE.json`, as released, and `few_shot/xquad_few_shot_LANGUAGE.jsonl`, in the data folder.
        shots: examples that each item brings along.

    Raises:
        UserError: the English file or a language's examples are missing, or a file is not of its format.
    """
    there = [language for language in LANGUAGES if (local_data.folder() / folder / f"xquad.{language}.json").is_file()]
    if len(there) < len(LANGUAGES):
        missing = ", ".join(language for language in LANGUAGES if language not in there)
        tell(f"XQuAD: no file xquad.LANGUAGE.json of {missing}; every mean is over the other languages")
    english = {one["id"]: one for one in read_squad(data_file(f"{folder}/xquad.en.json"))}
    read = {language: read_squad(data_file(f"{folder}/xquad.{language}.json")) for language in there}
    for language, questions in read.items():
        if {one["id"] for one in questions} != english.keys():
            raise UserError(
                f"{data_file(f'{folder}/xquad.{language}.json')}: not the same questions as in xquad.en.json. "
                f"Fetch both again: {MADE_BY}"
            )
    shown = {language: _examples(folder, language)[:shots] if shots else [] for language in there}
    rows = [
        {
            "id": f"{language}-{one['id']}",
            "language": language,
            "problem": one["id"],
            "question": _asked(one["context"], one["question"]),
            "answers": one["answers"],
            "answers_en": english[one["id"]]["answers"],
            "context_en": english[one["id"]]["context"],
            "question_en": english[one["id"]]["question"],
            "examples": shown[language],
        }
        for number in range(len(english))
        for language in there
        for one in [read[language][number]]
    ]
    return {"test": Dataset.from_list(rows)}


def target(item: dict[str, Any]) -> str:
    """The right answer, in English."""
    return item["answers_en"][0]


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """The answer against the English answers (`_en`) and against those of the language, and whether it was translated.

    Returns:
        `containment`, `f1` and `exact_match`, plain and with `_en`; `follow`, whether the answer is marked as one (as
        published); `translated`, whether a translation stands before it. The last two not for the English questions.
        And those of _BY_LANGUAGE under the name of the item's language.
    """
    before, answer, marked = split_answer(responses[0])
    asked = [item["question_en"], item["context_en"], f"{item['context_en']} {item['question_en']}"]
    if not marked and translated_first(answer, asked):
        before, answer = responses[0], ""  # the last line is still the translation: nothing was answered
    found = {}
    for ending, right in (("_en", item["answers_en"]), ("", item["answers"])):
        found |= {f"{name}{ending}": value for name, value in spans.scores(answer, right).items()}
    if item["language"] != "en":
        found |= {"follow": float(marked), "translated": translated_first(before, asked)}
    return found | {f"{name}_{item['language']}": found[name] for name in _BY_LANGUAGE if name in found}


def _examples(folder: str, language: str) -> list[dict[str, str]]:
    """The published examples of a language, answered by the English ones."""
    own, english = (
        list(local_data.rows(f"{folder}/few_shot/xquad_few_shot_{name}.jsonl", MADE_BY)) for name in (language, "en")
    )
    if len(own) != len(english):
        raise UserError(f"{own[0][0]}: {len(own)} examples, in English {len(english)}. Fetch them again: {MADE_BY}")
    made = []
    for (where, here), (_, there) in zip(own, english, strict=True):
        try:
            translation = f"Context: {there['context']}\nQuestion: {there['question']}"
            answer = f"{translation}\n{_prompts()['answer']} {there['answers']['text'][0]}"
            made.append({"question": _asked(here["context"], here["question"]), "answer": answer})
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(
                f"{where}: expected context, question and answers.text. Fetch it again: {MADE_BY}"
            ) from error
    return made


def _asked(context: str, question: str) -> str:
    return Instruction(_prompts()["instruction"], f"Context: {context}\nQuestion: {question}").prompt


@cache
def _prompts() -> dict[str, str]:
    return yaml.safe_load((Path(__file__).parent / "prompts.yaml").read_text(encoding="utf-8"))
