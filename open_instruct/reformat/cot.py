"""FLAN v2's chain-of-thought part: 50,000 zero-shot and 50,000 few-shot rows.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Also taken: FLAN's own tables `<task>_train.tsv` (question, answer, rationale; line breaks as \\n), which its templates
are filled from. Those become the question, and the rationale with "So the answer is ..." as the last line.
"""

from collections.abc import Iterator
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.reformat import _files
from open_instruct.reformat.base import Example, File, Job, Rejected, Row, Source
from open_instruct.reformat.flan_v2 import example

_BEAKER = "https://beaker.org/api/v3/datasets"
SOURCE = Source(
    about="chain-of-thought rows of the FLAN collection",
    page="https://github.com/google-research/FLAN/tree/main/flan/v2",
    licence="Apache-2.0",
    files=(
        File("cot_zsopt.jsonl", f"{_BEAKER}/01GXZ52K2Q932H6KZY499A7FE8/files/cot_zsopt.jsonl", draw=50_000),
        File("cot_fsopt.jsonl", f"{_BEAKER}/01GXZ51ZV283RAZW7J3ECM4S58/files/cot_fsopt.jsonl", draw=50_000),
    ),
    published=100_000,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("inputs", "targets"), ("question", "answer", "rationale"))


def rows(paths: list[Path], job: Job) -> Iterator[Row]:
    for path in paths:
        yield from _files.drawn_rows(SOURCE, path, job, _table if path.name.endswith(".tsv") else _files.rows)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    if "inputs" in row:
        yield example(row["inputs"], row["targets"])
    elif not row["rationale"].strip() or not row["answer"].strip():
        yield Rejected("no rationale or no answer")
    else:
        yield example(row["question"], f"{row['rationale']}\nSo the answer is {row['answer']}.")


def _table(path: Path) -> Iterator[Row]:
    """The rows of one of FLAN's tables, which have neither a header nor quotes."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            where, cells = f"{path}:{number}", line.rstrip("\r\n").split("\t")
            if not line.strip():
                continue
            if len(cells) != 3:
                raise UserError(
                    f"{where}: the line has {len(cells)} columns; expected question, answer, rationale between tabs. "
                    "Is the file cut off?"
                )
            question, answer, rationale = (cell.replace("\\n", "\n") for cell in cells)
            yield where, {"question": question, "answer": answer, "rationale": rationale}
