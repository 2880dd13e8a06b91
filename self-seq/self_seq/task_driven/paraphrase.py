"""`--task paraphrase`: first the input is paraphrased, then the row's own instruction followed.

An engine paraphrases; `merge.py` asks here too. Every paraphrase is journaled as it comes, beside the output: after a
kill the same command goes on. A row without a usable paraphrase stays as it was and is listed with the reason.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from open_instruct.core.asking import BadAnswer, ask
from open_instruct.core.checkpoint import file_digest
from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction
from open_instruct.core.run_info import RunInfo
from open_instruct.engines import identity, names, open_engine
from open_instruct.engines.base import Sampling
from self_seq.checks.refusals import refusal
from self_seq.parse import without_wrapping_quotes
from self_seq.prompts import FOLDER, load_prompt
from self_seq.steps import Step
from self_seq.task_driven.training_set import (
    NO_INPUT,
    NOT_DRAWN,
    Made,
    beside,
    checked_output,
    drawn,
    has_input,
    kept,
    numbered,
    refused,
    rewritten,
    with_input,
    write_set,
)

NO_PARAPHRASE = "rows without a usable paraphrase"


@dataclass
class Settings:
    input: str = help_field("instruction records: JSONL or a JSON array, also .gz")
    output: str = help_field("file of instruction records to write; run.json comes beside it")
    task: str = help_field("this task", "paraphrase")
    rows: int = help_field("rows with an input that are drawn; -1 for all", -1)
    labels: bool = help_field("name each answer in the target ('Paraphrase:', 'Result:')", False)
    seed: int = help_field("of the rows drawn and of the engine's draws", 42)


@dataclass
class Paraphrasing:
    """Who paraphrases, and how. Temperature and length are those of the paper's release."""

    engine: str = help_field(f"who paraphrases: {', '.join(names())}")
    engine_options: list[str] = help_field("settings of the engine, each NAME=VALUE", [])
    prompts: str = help_field("folder with paraphrase.yaml", str(FOLDER))
    attempts: int = help_field("times a row is asked; at temperature 0 the second answer is the first again", 1)
    temperature: float = help_field("of the draws; 0 is greedy", 0.0)
    max_tokens: int = help_field("longest paraphrase in tokens; one that is cut off is not used", 256)


SETTINGS = (Settings, Paraphrasing)


def main(settings: Settings, paraphrasing: Paraphrasing) -> None:
    """Write the set; the order stays.

    Raises:
        UserError: a wrong file, setting or engine, or no row at all got a paraphrase.
    """
    if settings.rows < 1 and settings.rows != -1:
        raise UserError(f"--rows {settings.rows}: expected at least 1, or -1 for all")
    output = checked_output(settings.output, settings.input)
    candidates = drawn(with_input(settings.input), settings.seed)
    if settings.rows > len(candidates):
        raise UserError(
            f"{settings.input}: {len(candidates):,} rows have an input, and --rows {settings.rows} asks for more; "
            "-1 takes all"
        )
    chosen = set(candidates if settings.rows == -1 else candidates[: settings.rows])
    with (
        Paraphrases(settings.input, chosen, output, paraphrasing, settings.seed) as paraphrases,
        RunInfo(output.parent, asdict(settings) | asdict(paraphrasing), settings.seed) as info,
    ):
        paraphrases.ask()

        def made() -> Iterator[Made]:
            for number, row in numbered(settings.input):
                if number not in chosen:
                    yield kept(row, NOT_DRAWN if has_input(row) else NO_INPUT)
                elif (text := paraphrases.get(number)) is not None:
                    yield rewritten(row, {"paraphrase": text}, settings.labels)
                else:
                    yield paraphrases.rejected(number, row)

        info.add(**write_set(output, settings.input, made()))
        paraphrases.check()


class Paraphrases:
    """The paraphrases of some rows' inputs: asked for, journaled, handed out. A context manager.

    Args:
        source: file of the rows.
        numbers: the rows wanted; any others that the journal holds already are no fault.
        output: the journal lies beside it.

    Raises:
        UserError: no such engine or prompt file, or the journal holds paraphrases made with other settings.
    """

    def __init__(self, source: str, numbers: set[int], output: Path, settings: Paraphrasing, seed: int) -> None:
        if settings.attempts < 1:
            raise UserError(f"--attempts {settings.attempts}: expected at least 1")
        self._source, self._numbers, self._output, self._settings = source, numbers, output, settings
        self._prompt = load_prompt(Path(settings.prompts), "paraphrase")
        self._sampling = Sampling(settings.max_tokens, settings.temperature, seed=seed)

    def __enter__(self) -> "Paraphrases":
        self._engine = open_engine(self._settings.engine, self._settings.engine_options)
        try:
            about: dict[str, Any] = {
                "step": "paraphrase",
                "input": file_digest(Path(self._source))[:16],
                "prompt": self._prompt.digest,
                "engine": identity(self._settings.engine, self._settings.engine_options),
                "sampling": asdict(self._sampling),
            }
            self._journal = Journal(beside(self._output, "paraphrases.journal"), about)
        except BaseException:
            self._engine.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._journal.close()
        finally:
            self._engine.close()

    def ask(self) -> None:
        """Ask for those that the journal does not hold yet."""

        def rows() -> Iterator[tuple[int, Instruction]]:
            return ((number, row) for number, row in numbered(self._source) if number in self._numbers)

        step = Step("paraphrase", lambda row: self._prompt, _read)
        count, attempts = len(self._numbers), self._settings.attempts
        ask(step, rows, count, self._journal, self._engine, self._sampling, attempts, "paraphrase")

    def get(self, number: int) -> str | None:
        """The paraphrase of a row's input, or None: see `rejected`."""
        return self._journal.get(number).get("paraphrase")

    def rejected(self, number: int, row: Instruction, **extra: Any) -> Made:
        """The row as it was, with further fields, listed with the reason why it has no paraphrase."""
        result = self._journal.get(number)
        reason, answer = result["failed"], result["answer"]
        return refused(number, row, reason, NO_PARAPHRASE, written=True, answer=answer, **extra)

    def check(self) -> None:
        """Tell a run without a single paraphrase from one that went well.

        Raises:
            UserError: no wanted row got one.
        """
        reasons = Counter(self._journal.get(number).get("failed") for number in self._numbers)
        if self._numbers and None not in reasons:
            reason, count = reasons.most_common(1)[0]
            raise UserError(
                f"{self._output}: none of the {len(self._numbers):,} rows got a paraphrase; the most frequent reason, "
                f"{count:,} times: {reason}. Mend that and name another output."
            )


def _read(row: Instruction, text: str) -> dict[str, Any]:
    """The paraphrase in an answer; quotes around the whole go unless the input has them."""
    if without_wrapping_quotes(row.input) == row.input.strip():
        text = without_wrapping_quotes(text)
    if not text:
        raise BadAnswer("empty answer")
    if (words := refusal(text)) and not refusal(row.input):
        raise BadAnswer(f"refuses to answer\n{words}")
    if " ".join(text.split()).casefold() == " ".join(row.input.split()).casefold():
        raise BadAnswer("the paraphrase equals the input")
    return {"paraphrase": text}
