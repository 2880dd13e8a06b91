"""Stage 1: single instructions in, sequential instructions with their answers out.

    python -m self_seq.generate --input_file alpaca.json --output_dir DIR --engine local --engine_options path=MODEL

Each iteration asks the generator for every row: which option (`classify`), the instruction as a chain (`rewrite`),
perhaps `refine`. Its result is the next iteration's input; a row that got option D is done. Then the generator
answers. Two training files come out, with the same rows in the same order: `it.jsonl` (original instructions, the
fair baseline) and `sit.jsonl`. Every answer is journaled as it comes: after a kill the same command goes on, and
nothing finished is asked again.

The rows between the iterations are those of the input with every field they came with, and one of ours, `_sit`:
{"id", "original_instruction", "options": one an iteration, "failures"}. It is built from the row itself in iteration 1,
so an input may have fields of these names, as a multiple-choice set or an `sit.jsonl` has; a `_sit` of its own is
dropped. The training rows hold instruction, input, output, id (the input's `id`, or `idx`, or the row's number),
options and original_instruction; the input's other fields are left out.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction, read_rows, write_rows
from open_instruct.core.run_info import RunInfo
from open_instruct.engines import identity, names, open_engine
from open_instruct.engines.base import Engine, Sampling
from self_seq.prompts import FOLDER, STATE, load_prompt
from self_seq.steps import NumberedRows, Step, ask, classify, refine, respond, rewrite

OWN_ROW_BYTES = 1 << 40  # no limit: a row that was short enough to be read grows with each iteration
REWRITES = {"A": "rewrite_decompose", "B": "rewrite_prefix", "C": "rewrite_suffix"}  # D keeps the instruction


@dataclass
class Settings:
    input_file: str = help_field("rows of instruction / input / output: JSONL or JSON, .gz too")
    output_dir: str = help_field("folder of the journals and results; the same folder again goes on")
    engine: str = help_field(f"who answers: {', '.join(names())}", "oracle")
    engine_options: list[str] = help_field("settings of the engine, each NAME=VALUE", [])
    iterations: int = help_field("times the instructions are rewritten", 2)
    refine: bool = help_field("let the generator check and repair each rewritten instruction", False)
    it_answers: str = help_field(
        "answers of it.jsonl: 'generator' (as in the paper), 'source' (the file's own), 'none' (no it.jsonl)",
        "generator",
    )
    prompts: str = help_field("folder of prompt files", str(FOLDER))
    attempts: int = help_field("times a row is asked before a step gives up on it", 3)
    max_rows: int = help_field("only the first so many rows; -1 for all", -1)
    temperature: float = help_field("of the generator's draws; 0 is greedy", 1.0)  # sampling as in the paper's release
    top_p: float = help_field("share of probability kept", 0.9)
    top_k: int = help_field("tokens kept; 0 for all", 50)
    max_tokens: int = help_field("longest answer in tokens", 2048)
    seed: int = help_field("of the draws", 42)


def main(settings: Settings) -> None:
    """Run every step, then write the training files and print the counts."""
    if settings.it_answers not in ("generator", "source", "none"):
        raise UserError(f"--it_answers {settings.it_answers}: expected generator, source or none")
    if settings.iterations < 1 or settings.attempts < 1:
        raise UserError("--iterations and --attempts must be at least 1")
    if settings.max_rows == 0:
        raise UserError("--max_rows must be at least 1, or -1 for all")
    generation = _Generation(settings)  # every row and prompt is checked before an engine is started
    engine = open_engine(settings.engine, settings.engine_options)
    try:
        generation.use(engine)
        generation.check_journal()  # before run.json: that of a finished run must not tell of one that was refused
        with RunInfo(settings.output_dir, settings, seed=settings.seed) as info:
            info.add(**generation.run())
    finally:
        engine.close()


class _Generation:
    """One run: its folder, its engine, and what every journal of it depends on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Path(settings.output_dir)
        self.limit = None if settings.max_rows < 0 else settings.max_rows
        for name in ("classify", *REWRITES.values(), "refine", "respond"):
            self._prompt(name)
        self.count = sum(1 for _ in self._rows(settings.input_file))
        self.sampling = Sampling(
            settings.max_tokens, settings.temperature, settings.top_p, settings.top_k, seed=settings.seed
        )

    def use(self, engine: Engine) -> None:
        """Let `engine` answer."""
        self.engine = engine
        self.engine_identity = identity(self.settings.engine, self.settings.engine_options)

    def check_journal(self) -> None:
        """Refuse settings other than those that the folder's results were made with."""
        self._journal(self._iteration(1), "classify", self.settings.input_file, ["classify"]).close()

    def run(self) -> dict[str, int]:
        source = self.settings.input_file
        for iteration in range(1, self.settings.iterations + 1):
            source = self._iterate(iteration, source)
        return self._finish(source)

    def _iterate(self, iteration: int, source: str) -> str:
        """One iteration over the rows of `source`; returns the file with its result."""
        folder = self._iteration(iteration)
        step = classify(self._prompt("classify"))
        with self._journal(folder, step.name, source, ["classify"]) as options:
            open_rows = lambda: (pair for pair in self._rows(source) if not _frozen(pair[1]))  # noqa: E731
            self._ask(step, open_rows, options, f"iteration {iteration}: classify")
            self._print_options(iteration, source, options)

            def chosen() -> NumberedRows:
                for number, row in open_rows():
                    option = options.get(number).get("option", "D")
                    if option != "D":
                        yield number, _with(row, options=[*row.extra[STATE]["options"], option])

            rewrites = {option: self._prompt(name) for option, name in REWRITES.items()}
            step = rewrite(rewrites)
            with self._journal(folder, step.name, source, list(REWRITES.values())) as rewritten:
                self._ask(step, chosen, rewritten, f"iteration {iteration}: rewrite")
                refined = self._refine(folder, source, iteration, chosen, rewritten) if self.settings.refine else None
                result = folder / "instructions.jsonl"
                write_rows(
                    result, (row.to_json() for row in self._merged(source, iteration, options, rewritten, refined))
                )
                if refined is not None:
                    refined.close()
        return str(result)

    def _refine(self, folder: Path, source: str, iteration: int, chosen, rewritten: Journal) -> Journal:
        step = refine(self._prompt("refine"))
        journal = self._journal(folder, step.name, source, ["refine"])

        def rows() -> NumberedRows:
            for number, row in chosen():
                result = rewritten.get(number)
                if "instruction" in result:
                    yield number, Instruction(result["instruction"], row.input, row.output, row.extra)

        self._ask(step, rows, journal, f"iteration {iteration}: refine")
        return journal

    def _merged(
        self, source: str, iteration: int, options: Journal, rewritten: Journal, refined: Journal | None
    ) -> Iterator[Instruction]:
        """Every row after this iteration: one that could not be classified or rewritten keeps its instruction."""
        for number, row in self._rows(source):
            if _frozen(row):
                yield row
                continue
            results = {"classify": options.get(number)}
            if results["classify"].get("option", "D") != "D":
                results["rewrite"] = rewritten.get(number)
                if refined is not None and number in refined:
                    results["refine"] = refined.get(number)
            instruction = row.instruction
            for result in results.values():  # a check that cannot be read leaves the rewritten instruction as it is
                instruction = result.get("instruction", instruction)
            changed = "instruction" in results.get("rewrite", {})
            failures = [
                {"iteration": iteration, "step": step, "reason": result["failed"], "answer": result["answer"]}
                for step, result in results.items()
                if "failed" in result
            ]
            state = row.extra[STATE]
            yield _with(
                Instruction(instruction, row.input, row.output, row.extra),
                options=[*state["options"], results["classify"]["option"] if changed else "D"],
                failures=[*state["failures"], *failures],
            )

    def _finish(self, source: str) -> dict[str, int]:
        """Let the generator answer, write the training files and the rejected rows, and print the counts."""
        mode = self.settings.it_answers
        prompt = self._prompt("respond")

        def originals() -> NumberedRows:
            for number, row in self._rows(source):
                yield number, Instruction(_original(row), row.input, row.output, row.extra)

        def sequential() -> NumberedRows:
            # Where nothing was rewritten, both files hold the same answer: it is asked once.
            for number, row in self._rows(source):
                if mode != "generator" or row.instruction != _original(row):
                    yield number, row

        with (
            self._journal(self.folder, "respond_it", source, ["respond"]) as plain,
            self._journal(self.folder, "respond_sit", source, ["respond"]) as chained,
        ):
            if mode == "generator":
                self._ask(respond("respond_it", prompt), originals, plain, "respond to originals")
            self._ask(respond("respond_sit", prompt), sequential, chained, "respond to sequences")

            def pairs() -> Iterator[tuple[int, Instruction, dict, dict]]:
                for number, row in self._rows(source):
                    it = plain.get(number) if mode == "generator" else _own_answer(row, mode)
                    yield number, row, it, chained.get(number) if number in chained else it

            counts = {"rows_in": self.count, "rows_written": 0, "rows_dropped": 0, "rows_written_with_a_failed_step": 0}
            counts["rows_written"] = write_rows(self.folder / "sit.jsonl", _training_rows(pairs(), sequential=True))
            if mode != "none":
                write_rows(self.folder / "it.jsonl", _training_rows(pairs(), sequential=False))
            reasons: Counter[str] = Counter()
            write_rows(self.folder / "rejected.jsonl", _rejected(pairs(), counts, reasons))
        print(
            f"rows: {counts['rows_in']:,} in = {counts['rows_written']:,} written + {counts['rows_dropped']:,} "
            "dropped; "
            f"{counts['rows_written_with_a_failed_step']:,} of the written ones had a failed step (see rejected.jsonl)"
        )
        for reason, number in reasons.most_common():
            print(f"  {number:,} x {reason}")
        if not counts["rows_written"]:
            reason, number = reasons.most_common(1)[0]
            raise UserError(
                f"{self.folder / 'rejected.jsonl'}: none of the {self.count:,} rows got an answer; the most frequent "
                f"reason, {number:,} times: {reason}. Mend that and name another output folder."
            )
        print(f"training files: {self.folder}/{'it.jsonl and ' if mode != 'none' else ''}sit.jsonl")
        return counts

    def _iteration(self, number: int) -> Path:
        return self.folder / f"iteration_{number}"

    def _rows(self, path: str) -> Iterator[tuple[int, Instruction]]:
        """The rows of the input or of an iteration's result, with their numbers, each with its state."""
        ours = path != self.settings.input_file
        rows = read_rows(path, OWN_ROW_BYTES if ours else None)
        for number, (where, content) in enumerate(islice(rows, self.limit)):
            row = Instruction.from_json(content, where)
            if not ours:
                name = row.extra.get("id", row.extra.get("idx", number))
                row.extra[STATE] = {
                    "id": name,
                    "original_instruction": row.instruction,
                    "options": [],
                    "failures": [],
                }
            yield number, row

    def _ask(self, step: Step, rows, journal: Journal, label: str) -> None:
        count = sum(1 for _ in rows())
        ask(step, rows, count, journal, self.engine, self.sampling, self.settings.attempts, label)

    def _prompt(self, name: str):
        return load_prompt(Path(self.settings.prompts), name)

    def _journal(self, folder: Path, step: str, source: str, prompts: list[str]) -> Journal:
        about: dict[str, Any] = {
            "step": step,
            "input": _digest(source),
            "max_rows": self.settings.max_rows,
            "prompts": [self._prompt(name).digest for name in prompts],
            "refine": self.settings.refine,
            "engine": self.engine_identity,
            "sampling": asdict(self.sampling),
        }
        return Journal(folder / f"{step}.journal.jsonl", about)

    def _print_options(self, iteration: int, source: str, options: Journal) -> None:
        counts: Counter[str] = Counter()
        for number, row in self._rows(source):
            counts["D" if _frozen(row) else options.get(number).get("option", "unreadable")] += 1
        shares = "  ".join(f"{option} {100 * counts[option] / self.count:.2f} %" for option in sorted(counts))
        print(f"iteration {iteration}: {shares}  (A decompose, B prefix, C suffix, D keep)")


def _frozen(row: Instruction) -> bool:
    return row.extra[STATE]["options"][-1:] == ["D"]


def _original(row: Instruction) -> str:
    return row.extra[STATE]["original_instruction"]


def _with(row: Instruction, **state: Any) -> Instruction:
    return Instruction(row.instruction, row.input, row.output, {**row.extra, STATE: {**row.extra[STATE], **state}})


def _own_answer(row: Instruction, mode: str) -> dict:
    if mode == "none":
        return {"response": ""}
    return {"response": row.output} if row.output else {"failed": "the source has no answer", "answer": ""}


def _training_rows(pairs, sequential: bool) -> Iterator[dict]:
    """The rows that have both answers."""
    for _, row, it, sit in pairs:
        if "failed" in it or "failed" in sit:
            continue
        instruction = row.instruction if sequential else _original(row)
        more = {"original_instruction": _original(row)} if sequential else {}
        yield {
            "id": row.extra[STATE]["id"],
            "instruction": instruction,
            "input": row.input,
            "output": (sit if sequential else it)["response"],
            "options": row.extra[STATE]["options"],
            **more,
        }


def _rejected(pairs, counts: dict[str, int], reasons: Counter[str]) -> Iterator[dict]:
    """Every failure of every row, with its reason; counts them on the way."""
    for number, row, it, sit in pairs:
        failures = list(row.extra[STATE]["failures"])
        answers = [("respond_it", it)] + ([("respond_sit", sit)] if sit is not it else [])
        lost = [(step, result) for step, result in answers if "failed" in result]
        failures += [{"step": step, "reason": result["failed"], "answer": result["answer"]} for step, result in lost]
        if not failures:
            continue
        counts["rows_dropped" if lost else "rows_written_with_a_failed_step"] += 1
        for failure in failures:
            reason = failure["reason"].partition("\n")[0]  # what follows is about this row alone
            reasons[f"{failure['step']}: {reason}"] += 1
        yield {
            "id": row.extra[STATE]["id"],
            "row": number,
            "instruction": _original(row),
            "dropped": bool(lost),
            "failures": failures,
        }


def _digest(path: str) -> str:
    """Names a file's content, so that a journal never mixes the answers of two inputs."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


if __name__ == "__main__":
    run(main, Settings)
