"""One row of vision-language data: a picture, a question with its answers, and what to write about it.

`make_instruct_data.py` writes rows, `train.py` and `evaluate.py` read them. `LAVIS/README.md` shows the format.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.settings import Dataset
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows

EXPECTED = 'expected {"image": path, "question": text, "text_input": text, "text_output": text, "answers": [text, ...]}'


@dataclass(slots=True)
class Row:
    """One row.

    Attributes:
        id: of the question, as its source names it.
        image: path of the picture, below the folder of images.
        question: as people asked it.
        text_input: what the model is shown in training: the question in one of the prompts' wordings.
        text_output: what it is to write.
        answers: of all annotators; VQAv2 has ten, GQA one.
        answer: the right one, for metrics that know only one.
        captions: what people wrote about the picture; empty where nobody did.
    """

    id: str
    image: str
    question: str
    text_input: str
    text_output: str
    answers: list[str]
    answer: str
    captions: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, row: dict[str, Any], where: str) -> "Row":
        """Check a row; `where` is its FILE:LINE.

        Raises:
            UserError: a field is missing or of a wrong type.
        """
        texts = {}
        for name in ("image", "question", "text_input", "text_output"):
            value = row.get(name)
            if not isinstance(value, str) or not value.strip():
                raise UserError(f"{where}: field {name!r} must be text and not blank; {EXPECTED}")
            texts[name] = value
        lists = {}
        for name in ("answers", "captions"):
            value = row.get(name, [])
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise UserError(f"{where}: field {name!r} must be a list of texts; {EXPECTED}")
            lists[name] = value
        answer = row.get("answer", next(iter(lists["answers"]), ""))
        if not isinstance(answer, str):
            raise UserError(f"{where}: field 'answer' must be text; {EXPECTED}")
        return cls(id=str(row.get("question_id", where)), **texts, **lists, answer=answer)


def read_splits(datasets: dict[str, Dataset], splits: list[str], most: int) -> tuple[list[Row], list[str]]:
    """The rows of some splits of all datasets, with their pictures' whole paths, and the files they came from.

    Args:
        most: only the first so many rows; -1: all.

    Raises:
        UserError: no dataset has such a split, a file is missing, a row is wrong, or the folder of images is not there.
    """
    rows: list[Row] = []
    files: list[str] = []
    for name, dataset in datasets.items():
        images = Path(_only(dataset.build_info.images.storage, f"datasets.{name}.build_info.images.storage"))
        found = [split for split in splits if split in dataset.build_info.annotations]
        if found and not images.is_dir():
            raise UserError(
                f"datasets.{name}.build_info.images.storage: {images}: no such folder of images; "
                "bash LAVIS/download_vqa.sh brings those of COCO and, with gqa_images, of GQA"
            )
        for split in found:
            for file in _listed(dataset.build_info.annotations[split].storage):
                files.append(file)
                rows.extend(_rows_of(file, images, most - len(rows) if most >= 0 else -1))
    if not files:
        there = sorted({split for dataset in datasets.values() for split in dataset.build_info.annotations})
        raise UserError(f"no dataset has a split named {' or '.join(splits)}; there are: {', '.join(there)}")
    return rows, files


def missing_images(rows: list[Row]) -> list[str]:
    """Paths of pictures that are not there, each once."""
    return [path for path in dict.fromkeys(row.image for row in rows) if not Path(path).is_file()]


def _rows_of(file: str, images: Path, most: int) -> Iterator[Row]:
    for number, (where, raw) in enumerate(read_rows(file)):
        if number == most:
            return
        row = Row.from_json(raw, where)
        row.image = str(images / row.image)
        yield row


def _listed(storage: str | list[str]) -> list[str]:
    return storage if isinstance(storage, list) else [storage]


def _only(storage: str | list[str], place: str) -> str:
    found = _listed(storage)
    if len(found) != 1:
        raise UserError(f"{place}: expected one folder, got {len(found)}")
    return found[0]
