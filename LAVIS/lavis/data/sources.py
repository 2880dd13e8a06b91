"""Reads questions with their answers, and captions, whatever form the file has; it is told by the content.

Files are streamed: the annotations of VQAv2 alone would take gigabytes as objects. Plain or gzip, told by content too.
"""

import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows

_FORMS = (
    "expected VQAv2's questions or annotations, LAVIS's vqa_*.json, GQA's *_questions.json, or rows "
    '{"image": path, "question": text, "answer": text}'
)
_COCO_NAME = re.compile(r"(\d{12})\.\w+$")  # COCO_train2014_000000228478.jpg, 000000228478.jpg


@dataclass(slots=True)
class Question:
    """A question about a picture.

    Attributes:
        id: as the source names it.
        picture: what captions know the picture by: COCO's number, or its path.
        image: path of the picture file, below the folder of images; "" where the source does not tell.
        question: as people asked it.
        answers: of all annotators; empty where there are none (yet).
        answer: what the source itself takes for the right one; "" where it does not say.
        captions: that came with the question.
    """

    id: str
    picture: int | str
    image: str
    question: str
    answers: tuple[str, ...] = ()
    answer: str = ""
    captions: list[str] = field(default_factory=list)

    @property
    def majority(self) -> str:
        """The right answer: the source's own, or the one that most annotators gave, the earliest of several."""
        return self.answer or (Counter(self.answers).most_common(1)[0][0] if self.answers else "")


def read_questions(path: str) -> Iterator[Question]:
    """The questions of a file, in its order.

    Raises:
        UserError: it cannot be read or has none of the forms above.
    """
    form = _form(path)
    if form == "official":
        folder = _subtype(path)
        for one in _items(path, "questions.item"):
            yield _official(one, folder, path)
    elif form == "gqa":
        for name, one in _entries(path):
            picture = _text(one, "imageId", f"{path}: question {name}")
            answer = str(one.get("answer", ""))
            yield Question(
                name, picture, f"{picture}.jpg", _text(one, "question", f"{path}: question {name}"),
                (answer,) if answer else (), answer,
            )  # fmt: skip
    else:
        for where, one in read_rows(path):
            yield _row(one, where)


def read_annotations(path: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Answers of all annotators, and the right one, by question: VQAv2's annotations.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    if _form(path) != "official":
        raise UserError(f'{path}: no annotations of VQAv2 ({{"annotations": [{{"question_id", "answers"}}, ...]}})')
    found = {}
    for one in _items(path, "annotations.item"):
        try:
            answers = tuple(sys.intern(answer["answer"]) for answer in one["answers"])
            found[str(one["question_id"])] = (answers, str(one.get("multiple_choice_answer", "")))
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: annotation {len(found) + 1} lacks {error}; {_FORMS}") from error
    if not found:
        raise UserError(f"{path}: no annotations in it; are these the questions?")
    return found


@dataclass
class Captions:
    """What people wrote about pictures.

    Attributes:
        texts: by picture.
        files: names of picture files, where the source tells them.
    """

    texts: dict[int | str, list[str]] = field(default_factory=dict)
    files: dict[int | str, str] = field(default_factory=dict)


def read_captions(paths: Iterable[str]) -> Captions:
    """The captions of all files: COCO's own, LAVIS's coco_karpathy_*.json, or rows {"image" or "image_id", "caption"}.

    Raises:
        UserError: a file cannot be read, or a row has no caption.
    """
    captions = Captions()
    for path in paths:
        if _form(path) == "official":
            for one in _items(path, "images.item"):
                captions.files[one["id"]] = one["file_name"]
            rows = ((path, one) for one in _items(path, "annotations.item"))
        else:
            rows = read_rows(path)
        for where, one in rows:
            picture = one["image"] if "image" in one else one.get("image_id")
            if picture is None or not isinstance(one.get("caption"), str):
                raise UserError(f'{where}: no caption; expected {{"image_id" or "image", "caption": text}}')
            if text := " ".join(one["caption"].split()):
                captions.texts.setdefault(_picture(picture), []).append(text)
    return captions


def _official(one: dict[str, Any], folder: str, path: str) -> Question:
    where = f"{path}: question {one.get('question_id')}"
    number = one.get("image_id")
    if not isinstance(number, int) or "question_id" not in one:
        raise UserError(f"{where}: image_id and question_id must be there, image_id a number; {_FORMS}")
    image = f"{folder}/COCO_{folder}_{number:012d}.jpg" if folder else ""
    return Question(str(one["question_id"]), number, image, _text(one, "question", where))


def _row(one: dict[str, Any], where: str) -> Question:
    """A row of LAVIS's, or anybody's own."""
    image = _text(one, "image", where)
    answers = one.get("answers", one.get("answer", []))
    answers = [answers] if isinstance(answers, str) else answers
    captions = one.get("captions", one.get("caption", one.get("description", [])))
    captions = [captions] if isinstance(captions, str) else captions
    for name, texts in (("answers", answers), ("captions", captions)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{where}: {name} must be text, or a list of texts; {_FORMS}")
    return Question(
        str(one.get("question_id", where)), _picture(image), image, _text(one, "question", where),
        tuple(text for text in answers if text.strip()), captions=[text for text in captions if text.strip()],
    )  # fmt: skip


def _picture(name: int | str) -> int | str:
    """What a picture is known by: COCO's number out of its file name, "coco_522418", or the name as it is."""
    if isinstance(name, str):
        if match := _COCO_NAME.search(name) or re.fullmatch(r"(?:coco_)?(\d+)", name):
            return int(match[1])
    return name


def _text(one: dict[str, Any], name: str, where: str) -> str:
    value = one.get(name)
    if not isinstance(value, str):
        raise UserError(f"{where}: field {name!r} is {'missing' if value is None else 'no text'}; {_FORMS}")
    return value


def _form(path: str) -> str:
    """official (an object with questions or annotations), gqa (an object of questions by name), or rows."""
    with _opened(path) as file:
        first = file.read(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if first != b"{":
            return "rows"
    with _opened(path) as file:
        depth = 0
        for _, event, value in ijson.parse(file):
            depth += {"start_map": 1, "end_map": -1}.get(event, 0)
            if event == "map_key" and depth == 1 and value in ("questions", "annotations"):
                return "official"
            if event == "map_key" and depth == 1 and value in ("image", "question"):
                return "rows"  # the first line of many
            if event == "map_key" and depth == 2 and value in ("imageId", "isBalanced"):
                return "gqa"
            if event == "end_map" and depth == 0:
                break
    return "rows"


def _subtype(path: str) -> str:
    """COCO's folder that VQAv2's question file names: train2014."""
    with _opened(path) as file:
        for prefix, _, value in ijson.parse(file):
            if prefix == "data_subtype":
                return value
            if prefix == "questions.item":
                return ""
    return ""


def _items(path: str, prefix: str) -> Iterator[dict[str, Any]]:
    with _opened(path) as file:
        yield from ijson.items(file, prefix, use_float=True)


def _entries(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with _opened(path) as file:
        yield from ijson.kvitems(file, "", use_float=True)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The bytes of a file; what goes wrong while they are read becomes a `UserError`."""
    try:
        with Path(path).open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            yield gzip.GzipFile(fileobj=raw) if packed else raw
    except ijson.JSONError as error:
        reason = next(iter(str(error).strip().splitlines()), "")  # the lines after it point into the text
        raise UserError(f"{path}: not JSON, or cut off ({reason}). Download or copy it again") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the gzip file is damaged or cut off. Download or copy it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; {_FORMS}") from error
