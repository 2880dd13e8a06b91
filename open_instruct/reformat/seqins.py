"""SeqIns: the published sequential rows, and the stored answers of published generation runs.

Formats as in hanxuhu/SeqIns, self-seq/. The training files have instruction, input, output, system_prompt. Rows of a
run have the steps' answers instead: the instruction that was answered last is taken, cut at "explanation:" and without
quotes around it, as published.
"""

from collections.abc import Iterator

from open_instruct.engines.replay import PUBLISHED_FIELDS
from open_instruct.reformat.alpaca_cleaned import example
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="sequential instructions made of Alpaca and FlanCoT, with answers",
    page="https://huggingface.co/datasets/EdinburghNLP/SeqIns",
    licence="CC BY 4.0",
    files=(File("*.jsonl"),),  # no file names of its page are relied on; any files of its rows will do
)
FORMS = (("instruction", "completions"), ("instruction", "output"))

ANSWERS = PUBLISHED_FIELDS["respond_sit"]  # a field with an answer: the field with the instruction it answers
_QUOTES = "\"'“”‘’ \n"


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    if "completions" not in row:
        yield example(row)
        return
    for answer, instruction in ANSWERS.items():
        if row.get(answer):
            asked = _cleaned(row.get(instruction)) or row["instruction"]
            yield example({**row, "instruction": asked, "output": row[answer]})
            return
    yield Rejected(f"no answer in the row (none of {', '.join(ANSWERS)})")


def _cleaned(instruction: object) -> str:
    if not isinstance(instruction, str):
        return ""
    end = instruction.lower().find("explanation:")
    return (instruction if end < 0 else instruction[:end]).strip(_QUOTES)
