"""Test sets in the forms that task-driven training sets have: XQuAD and CommonsenseQA, from their original formats.

    python -m self_seq.test_sets --xquad xquad.en.json xquad.de.json ... --csqa dev.jsonl --output_dir DIR

One file a form and language, `xquad_{form}_{language}.jsonl` and `csqa_{form}.jsonl`, with the same questions in each:
`plain`, `repeat`, `paraphrase` (before the answer), and for XQuAD `translate` (into English before the answer, which is
then English). A question that cannot be used stands with its reason in `rejected.jsonl`. Evaluation reads these rows:

- id, dataset, language, form
- instruction, input: what the model is shown
- intermediate: the right answer to the task in front; null where there is none or, as for a paraphrase, not just one
- answers: the right last answers (any of them is right), in the language that the form asks for
- answers_en: XQuAD, the same in English, by which the paper's release scores every form
- output: the whole right answer as training has it; of a paraphrase the last answer alone
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, read_rows, write_rows
from open_instruct.core.run_info import RunInfo
from self_seq.task_driven.forms import instruction_of, sequential

XQUAD_INSTRUCTION = (
    "Answer the question from the context with the name, the number or the few words of the context that answer it, "
    "and with nothing else."
)
CSQA_INSTRUCTION = "Answer the question in the input with the letter of the right choice."
FORMS = {"xquad": ("plain", "repeat", "paraphrase", "translate"), "csqa": ("plain", "repeat", "paraphrase")}


@dataclass
class Settings:
    output_dir: str = help_field("folder of the test sets; run.json comes beside them")
    xquad: list[str] = help_field("files as released, named xquad.LANGUAGE.json; the English one must be there", [])
    csqa: str = help_field("questions as released (JSONL: id, question, answerKey), or instruction records of them", "")
    labels: bool = help_field("name each answer in `output` ('Repetition:', 'Result:')", False)


@dataclass(frozen=True)
class Question:
    """A question of a test set.

    Attributes:
        text: what the model is shown below the instruction.
        answers: the right answers, one or more.
        english, english_answers: XQuAD, the same question in English.
    """

    id: str
    dataset: str
    language: str
    instruction: str
    text: str
    answers: list[str]
    english: str = ""
    english_answers: tuple[str, ...] = ()


def main(settings: Settings) -> None:
    """Write the test sets and print the counts.

    Raises:
        UserError: nothing to read, a file is not of its format, or no question of a file can be used.
    """
    if not settings.xquad and not settings.csqa:
        raise UserError("nothing to do; name --xquad FILES or --csqa FILE")
    folder = Path(settings.output_dir)
    sets: dict[tuple[str, str], list[Question]] = {}
    rejected: list[dict[str, Any]] = []
    read: dict[str, int] = {}
    if settings.xquad:
        for language, questions in xquad(settings.xquad, rejected, read).items():
            sets["xquad", language] = questions
    if settings.csqa:
        sets["csqa", "en"] = csqa(settings.csqa, rejected, read)
    with RunInfo(folder, settings) as info:
        written = 0
        for (dataset, language), questions in sets.items():
            for form in FORMS[dataset]:
                if form == "translate" and language == "en":
                    continue
                name = f"{dataset}_{form}_{language}.jsonl" if dataset == "xquad" else f"{dataset}_{form}.jsonl"
                written += write_rows(folder / name, (in_form(one, form, settings.labels) for one in questions))
        write_rows(folder / "rejected.jsonl", rejected)
        info.add(questions_read=read, questions_rejected=len(rejected), rows_written=written)
    for path, count in read.items():
        bad = sum(one["file"] == path for one in rejected)
        print(f"{path}: {count:,} questions = {count - bad:,} in every form + {bad:,} rejected")
    print(f"rows written: {written:,} in {folder}")


def in_form(question: Question, form: str, labels: bool) -> dict[str, Any]:
    """A question's row in one of `FORMS`."""
    english = form == "translate"
    answers = list(question.english_answers) if english else question.answers
    row = Instruction(question.instruction, question.text, answers[0])
    intermediate = {"repeat": question.text, "translate": question.english}.get(form)
    made = row
    if intermediate is not None:
        made = sequential(row, {form: intermediate}, labels)
    elif form != "plain":
        made = Instruction(instruction_of(row, [form]), row.input, row.output)
    return {
        "id": question.id,
        "dataset": question.dataset,
        "language": question.language,
        "form": form,
        "instruction": made.instruction,
        "input": made.input,
        "output": made.output,
        "intermediate": intermediate,
        "answers": answers,
        **({"answers_en": list(question.english_answers)} if question.english_answers else {}),
    }


def xquad(paths: list[str], rejected: list[dict], read: dict[str, int]) -> dict[str, list[Question]]:
    """The questions of each language, those of the English file with the same id beside them.

    Raises:
        UserError: a file is not of XQuAD's format or not named after its language, or there is no English one.
    """
    files: dict[str, str] = {}
    for path in paths:
        match = re.fullmatch(r"xquad\.(\w+)\.json", Path(path).name)
        if not match or match[1] in files:
            raise UserError(f"{path}: expected the name xquad.LANGUAGE.json, each language once")
        files[match[1]] = path
    if "en" not in files:
        raise UserError(f"--xquad {' '.join(paths)}: xquad.en.json is missing; the English answers stand there")
    found = {language: list(_squad_questions(path)) for language, path in files.items()}
    english = {name: (text, answers) for name, text, answers in reversed(found["en"])}
    sets = {}
    for language, path in files.items():
        read[path], seen, questions = len(found[language]), set(), []
        for name, text, answers in found[language]:
            english_text, english_answers = english.get(name, ("", []))
            reason = ""
            if name in seen:
                reason = "a question of this id stands further up"
            elif name not in english:
                reason = "no question of this id in English"
            elif not answers:
                reason = "no answer"
            elif not english_answers:
                reason = "no answer in English"
            seen.add(name)
            if reason:
                rejected.append({"file": path, "id": name, "reason": reason})
                continue
            questions.append(
                Question(
                    name, "xquad", language, XQUAD_INSTRUCTION, text, answers, english_text, tuple(english_answers)
                )
            )
        missing = len(english.keys() - seen)
        if missing:
            print(f"{path}: {missing:,} of the English questions are not there")
        sets[language] = _any_usable(questions, path, rejected)
    return sets


def _squad_questions(path: str) -> Iterator[tuple[str, str, list[str]]]:
    """Id, text and answers of each question; the answers without repetitions."""
    try:
        articles = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    text = f"Context: {paragraph['context'].strip()}\nQuestion: {question['question'].strip()}"
                    answers = [answer["text"].strip() for answer in question["answers"]]
                    yield str(question["id"]), text, list(dict.fromkeys(filter(None, answers)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not of XQuAD's format ({type(error).__name__}: {error}); expected data > paragraphs > qas"
        ) from error


def csqa(path: str, rejected: list[dict], read: dict[str, int]) -> list[Question]:
    """The questions of a CommonsenseQA file; a row without an answer among its choices is rejected.

    Raises:
        UserError: the file cannot be read or a row is of neither format.
    """
    questions: list[Question] = []
    seen: set[str] = set()
    for number, (where, row) in enumerate(read_rows(path)):
        name = str(row.get("id", number))
        text, labels, answer = _stored_csqa(row, where) if "instruction" in row else _original_csqa(row, where)
        reason = ""
        if name in seen:
            reason = "a question of this id stands further up"
        elif not answer:
            reason = "no answer"
        elif answer not in labels:
            reason = f"the answer {answer!r} is none of the choices {', '.join(labels)}"
        seen.add(name)
        if reason:
            rejected.append({"file": path, "id": name, "reason": reason})
        else:
            questions.append(Question(name, "csqa", "en", CSQA_INSTRUCTION, text, [answer]))
        read[path] = number + 1
    return _any_usable(questions, path, rejected)


def _original_csqa(row: dict, where: str) -> tuple[str, list[str], str]:
    """Text, letters of the choices and the right one; "" where the file keeps it back, as the test split does."""
    with suppress(KeyError, TypeError):
        question = row["question"]
        choices = [(choice["label"], choice["text"]) for choice in question["choices"]]
        listed = ", ".join(f"{label}:{text}" for label, text in choices)
        return (
            f"Question: {question['stem']}\nChoices: {listed}",
            [label for label, _ in choices],
            row.get("answerKey", ""),
        )
    raise UserError(f"{where}: not of CommonsenseQA's format; expected question > stem, choices > label, text")


def _stored_csqa(row: dict, where: str) -> tuple[str, list[str], str]:
    """The same of an instruction record whose input is the question with its choices."""
    record = Instruction.from_json(row, where)
    _, found, choices = record.input.rpartition("\nChoices: ")
    if not found:
        raise UserError(
            f"{where}: its input has no line of choices; expected 'Question: ...' and 'Choices: A:..., B:...'"
        )
    return record.input, re.findall(r"(?:^|, )([A-Z]):", choices), record.output.strip()


def _any_usable(questions: list[Question], path: str, rejected: list[dict]) -> list[Question]:
    if not questions:
        first = next((one["reason"] for one in rejected if one["file"] == path), "it holds none")
        raise UserError(f"{path}: no question can be used; the first one: {first}")
    return questions


if __name__ == "__main__":
    run(main, Settings)
