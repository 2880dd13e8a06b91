"""Stage 1: single instructions in, sequential instructions with their answers out.

    python -m self_seq.generate --input_file alpaca.json --output_dir DIR --engine local --engine_options path=MODEL

Rows are screened (near-duplicates, evaluation data), an input that stands within the instruction is separated
(`extract`), and each iteration asks the generator for every row: which option (`classify`), the instruction as a chain
(`rewrite`), perhaps `refine`. Its result is the next iteration's input; a row that got option D is done. Then the
generator answers. Two training files come out, with the same rows in the same order: `it.jsonl` (original
instructions, the fair baseline) and `sit.jsonl`. Every answer is journaled as it comes: after a kill the same command
goes on, and nothing finished is asked again. `--dry_run True` says what all of it would cost, and asks nothing.

What a row carries between the steps: `state.py`. What is written at the end: `outputs.py`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from open_instruct.core.asking import ask
from open_instruct.core.command import run
from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.only_run import only_run
from open_instruct.core.progress import Prices
from open_instruct.core.records import Instruction, read_rows, write_json, write_rows
from open_instruct.core.run_info import RunInfo
from open_instruct.engines import identity, open_engine
from open_instruct.engines.base import Engine, Sampling
from self_seq import hub, outputs, plan
from self_seq.prompts import load_prompt
from self_seq.published import OPTIONS, options_line
from self_seq.report.page import write_report
from self_seq.screening.contamination import Contamination
from self_seq.screening.screen import screen
from self_seq.settings import Settings, check
from self_seq.source import Source, digest
from self_seq.spent import SpentBySteps
from self_seq.state import changed, final, is_kept, is_rewritten, original, state, with_new_state
from self_seq.steps import NumberedRows, Step, classify, count_tasks, extract, refine, respond, rewrite

OWN_ROW_BYTES = 1 << 40  # no limit: a row that was short enough to be read grows with each iteration
REWRITES = {"A": "rewrite_decompose", "B": "rewrite_prefix", "C": "rewrite_suffix"}  # D keeps the instruction


def main(settings: Settings) -> None:
    """Run every step, then write the training files and the report and print the counts."""
    check(settings)
    if settings.dry_run:
        print(plan.table(_Generation(settings).plan()))
        return
    with only_run(settings.output_dir, "generation"):
        generation = _Generation(settings)  # every row and prompt is checked before an engine is started
        generation.check_journals()  # before run.json: that of a finished run must not tell of one that was refused
        with RunInfo(settings.output_dir, settings, seed=settings.seed) as info:
            info.add(**generation.run())
    if settings.push_to_hub:
        print(f"uploaded: {hub.push(Path(settings.output_dir), settings.push_to_hub, not settings.hub_public)}")


class _Generation:
    """One run: its folder, its engine, and what every journal of it depends on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Path(settings.output_dir)
        self.iterations = settings.num_tasks - 1 if settings.num_tasks else settings.iterations
        self.classify_prompt = "classify_grow" if settings.num_tasks else "classify"
        needed = {
            "extract": settings.extract,
            "count_tasks": settings.num_tasks or settings.judge_rows,
            **dict.fromkeys((self.classify_prompt, *REWRITES.values()), True),
            "refine": settings.refine,
            "respond": True,
        }
        self.prompts = {name: load_prompt(Path(settings.prompts), name) for name in needed if needed[name]}
        self.sampling = Sampling(
            settings.max_tokens, settings.temperature, settings.top_p, settings.top_k, seed=settings.seed
        )
        self.prices = Prices(settings.price_in, settings.price_out)
        self.source = Source(settings)
        self.engine_identity = self.judge_identity = identity(settings.engine, settings.engine_options)
        if settings.judge_engine:  # a wrong name shall not show after hours
            self.judge_identity = identity(settings.judge_engine, settings.judge_engine_options)
        self.contamination = Contamination(settings.decontaminate) if settings.decontaminate else None
        # What decides which rows are asked about; the evaluation sets by their content, wherever they lie.
        self.row_settings = {
            **self.source.settings,
            "evaluation_sets": self.contamination.digest if self.contamination else "",
        }
        self.opened = ExitStack()  # journals and engines that stay open until the end
        self.engines: dict[bool, Engine] = {}  # False: the generator, True: the judge
        self.dropped: dict[int, dict[str, Any]] = {}  # by the screening
        self.splits: Journal | None = None
        self.tasks: Journal | None = None
        self.options: list[dict[str, int]] = []  # rows by option, an iteration
        self.spent = SpentBySteps(self.folder)

    def plan(self) -> plan.Plan:
        """What the run would ask."""
        return plan.make(self.settings, self.prompts, lambda: self._rows(self.settings.input_file), self.iterations)

    def check_journals(self) -> None:
        """Refuse settings other than those that the folder's results were made with, before anything is asked.

        Raises:
            UserError: a journal of the folder is about something else.
        """
        source, first = self.settings.input_file, self._iteration(1)
        steps = [(self.folder, step, source) for step in ("extract", "count_tasks")]
        for iteration in range(1, self.iterations + 1):
            folder = self._iteration(iteration)
            steps += [(folder, step, source) for step in ("classify", "rewrite", "refine")]
            source = str(folder / "instructions.jsonl")
        steps += [(self.folder, "respond_it", self.settings.input_file), (self.folder, "respond_sit", source)]
        if self.settings.judge_rows:
            steps.append((self.folder, "judge", source))
        for folder, step, source in steps:
            path = _path(folder, step)
            if not path.exists() and (folder, step) != (first, "classify"):
                continue
            if not Path(source).exists():  # more iterations than before: its rows would be others after all the work
                raise UserError(
                    f"{path}: holds results of a run with other --iterations, or {source} was deleted. Run with the "
                    f"old ones, name another output folder, or delete {path.name} to make it anew."
                )
            self._journal(folder, step, source).close()

    def run(self) -> dict[str, Any]:
        """Every step.

        Returns:
            The counts of the rows.
        """
        settings = self.settings
        self.dropped = self._screened()
        source = settings.input_file
        with ExitStack() as opened:
            self.opened = opened
            if settings.extract:
                self.splits = self._extract()
            if settings.num_tasks:
                self.tasks = self._count_tasks()
            for iteration in range(1, self.iterations + 1):
                source = self._iterate(iteration, source)
            return self._finish(source)

    def _screened(self) -> dict[int, dict[str, Any]]:
        """Rows that are dropped before anything is asked: number -> {"reason", "detail"}."""
        settings = self.settings
        if not settings.near_duplicates and self.contamination is None:
            return {}
        about = {"input": self.source.digest, **self.row_settings}
        path = self.folder / "screening.json"
        try:
            found = json.loads(path.read_bytes())
            if found["about"] == about:
                return {int(number): dropped for number, dropped in found["dropped"].items()}
        except (OSError, ValueError, KeyError):
            pass  # none yet, or of other rows
        rows = ((number, row.prompt) for number, row in self.source.rows())
        dropped = screen(rows, settings.near_duplicates or None, self.contamination, self.source.count)
        write_json(path, {"about": about, "dropped": dropped})
        return dropped

    def _extract(self) -> Journal:
        source = self.settings.input_file
        journal = self.opened.enter_context(self._journal(self.folder, "extract", source))

        def rows() -> NumberedRows:
            return (pair for pair in self._open_rows(source) if not pair[1].input)

        self._ask(extract(self.prompts["extract"]), rows, journal, "extract the input")
        return journal

    def _count_tasks(self) -> Journal:
        source = self.settings.input_file
        journal = self.opened.enter_context(self._journal(self.folder, "count_tasks", source))
        step = count_tasks("count_tasks", self.prompts["count_tasks"])
        self._ask(step, lambda: self._open_rows(source), journal, "count the tasks")
        return journal

    def _iterate(self, iteration: int, source: str) -> str:
        """One iteration over the rows of `source`; returns the file with its result."""
        folder = self._iteration(iteration)
        options_asked = "ABC" if self.settings.num_tasks else "ABCD"
        step = classify(self.prompts[self.classify_prompt], options_asked)
        with self._journal(folder, "classify", source) as options:
            # Nothing has been kept yet in the first iteration: a pass over a million rows less.
            known = self.source.count - len(self.dropped) if iteration == 1 and not self.tasks else None
            self._ask(step, lambda: self._open_rows(source), options, f"iteration {iteration}: classify", count=known)
            self._count_options(iteration, options)

            def chosen() -> NumberedRows:
                # By option, so that requests next to each other share their prompt's long part.
                for asked in REWRITES:
                    for number, row in self._open_rows(source):
                        option = options.get(number).get("option", "D")
                        if option == asked:
                            yield number, changed(row, options=[*state(row)["options"], option])

            step = rewrite({option: self.prompts[name] for option, name in REWRITES.items()})
            with self._journal(folder, "rewrite", source) as rewritten:
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
        journal = self._journal(folder, "refine", source)

        def rows() -> NumberedRows:
            for number, row in chosen():
                result = rewritten.get(number)
                if "instruction" in result:
                    yield number, changed(row, instruction=result["instruction"])

        self._ask(refine(self.prompts["refine"]), rows, journal, f"iteration {iteration}: refine")
        return journal

    def _merged(
        self, source: str, iteration: int, options: Journal, rewritten: Journal, refined: Journal | None
    ) -> Iterator[Instruction]:
        """Every row after this iteration: one that could not be classified or rewritten keeps its instruction."""
        for number, row in self._rows(source):
            if not self._is_open(row):
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
            was_rewritten = "instruction" in results.get("rewrite", {})
            yield changed(
                row,
                instruction=instruction,
                options=[*state(row)["options"], results["classify"]["option"] if was_rewritten else "D"],
                failures=state(row)["failures"] + outputs.failures(results, iteration),
                tasks=state(row)["tasks"] + was_rewritten if self.settings.num_tasks else 0,
            )

    def _finish(self, source: str) -> dict[str, Any]:
        """Let the generator answer, write the training files, the rejected rows and the report; print the counts."""
        mode, prompt = self.settings.it_answers, self.prompts["respond"]

        def originals() -> NumberedRows:
            return ((number, original(row)) for number, row in self._not_dropped(source))

        def sequential() -> NumberedRows:
            # Where nothing was rewritten, both files hold the same answer: it is asked once.
            for number, row in self._not_dropped(source):
                if mode != "generator" or is_rewritten(row):
                    yield number, final(row)

        with (
            self._journal(self.folder, "respond_it", self.settings.input_file) as plain,
            self._journal(self.folder, "respond_sit", source) as chained,
        ):
            if mode == "generator":
                self._ask(respond("respond_it", prompt), originals, plain, "respond to originals")
            self._ask(respond("respond_sit", prompt), sequential, chained, "respond to sequences")
            judged = self._judge(source) if self.settings.judge_rows else None
            answered = outputs.answered(self._rows(source), plain, chained, mode, self.contamination)
            counts = outputs.write_rows_and_reasons(self.folder, answered, mode != "none")
        statistics = self._statistics(counts, judged)
        write_json(self.folder / outputs.STATISTICS, statistics)
        outputs.print_counts(self.folder, counts, mode != "none")
        write_report(self.folder)
        return counts.rows()

    def _judge(self, source: str) -> dict[str, Any]:
        """How many tasks a sample of the rewritten rows holds, before and after; see `outputs.judged`."""
        settings = self.settings
        rewritten = [number for number, row in self._not_dropped(source) if is_rewritten(row)]
        # All are shuffled, so that a larger sample holds a smaller one: what was judged before counts again.
        sample = set(Random(settings.seed).sample(rewritten, len(rewritten))[: settings.judge_rows])

        def rows() -> NumberedRows:
            for number, row in self._not_dropped(source):
                if number in sample:  # two questions a row
                    yield 2 * number, original(row)
                    yield 2 * number + 1, final(row)

        with self._journal(self.folder, "judge", source) as journal:
            self._ask(count_tasks("judge", self.prompts["count_tasks"]), rows, journal, "judge")
            return {"engine": settings.judge_engine or settings.engine} | outputs.judged(journal, sample)

    def _statistics(self, counts: outputs.Counts, judged: dict[str, Any] | None) -> dict[str, Any]:
        """What the report and the dataset card tell, and what a dry run takes from a small run."""
        settings = self.settings
        tokens = outputs.tokens_by_step(self.folder, self.iterations)
        paid = [step for name, step in tokens.items() if name != "judge" or not settings.judge_engine]
        total_in, total_out = (sum(step[name] for step in paid) for name in ("in", "out"))
        return {
            **counts.rows(),
            "rejected": dict(counts.rejected.most_common()),
            "rows_by_tasks": {str(tasks): rows for tasks, rows in sorted(counts.by_tasks.items())},
            "rows_screened": dict(Counter(dropped["reason"] for dropped in self.dropped.values())),
            "iterations": self.options,
            "tokens": tokens,
            "spent": self.spent.to_json(),
            "seconds": round(self.spent.seconds(), 3),
            "cost": round(self.prices.cost(total_in, total_out), 4) if self.prices else None,
            "judge": judged,
            "source": {
                "name": settings.source_name,
                "file": Path(settings.input_file).name,
                "license": settings.source_license,
                "url": settings.source_url,
            },
            "settings": asdict(settings),
            "generator": {key: value for key, value in self.engine_identity.items() if key != "content"},
            "published": None if settings.num_tasks else OPTIONS[settings.published],
        }

    def _is_open(self, row: Instruction) -> bool:
        """Whether the row's instruction is still to be rewritten."""
        if state(row)["dropped"]:
            return False
        if self.settings.num_tasks:
            return state(row)["tasks"] < self.settings.num_tasks
        return not is_kept(row)

    def _open_rows(self, source: str) -> NumberedRows:
        return (pair for pair in self._rows(source) if self._is_open(pair[1]))

    def _not_dropped(self, source: str) -> NumberedRows:
        return (pair for pair in self._rows(source) if not state(pair[1])["dropped"])

    def _rows(self, path: str) -> NumberedRows:
        """The rows of the input or of an iteration's result, with their numbers, each with its state."""
        if path == self.settings.input_file:
            for number, row in self.source.rows():
                yield number, self._with_first_steps(with_new_state(row, number))
        else:
            for where, content in read_rows(path, OWN_ROW_BYTES):
                row = Instruction.from_json(content, where)
                yield state(row)["row"], row

    def _with_first_steps(self, row: Instruction) -> Instruction:
        """The row as the screening and the steps before the first iteration leave it."""
        number = state(row)["row"]
        if number in self.dropped:
            return changed(row, dropped=self.dropped[number])
        results = {}
        if self.splits is not None and number in self.splits:
            results["extract"] = self.splits.get(number)
            if parts := results["extract"].get("split"):
                row = changed(row, instruction=parts["instruction"], input=parts["input"], split=parts)
        if self.tasks is not None and number in self.tasks:
            results["count_tasks"] = self.tasks.get(number)
            # A count that cannot be read: one task, which most instructions ask for.
            row = changed(row, tasks=results["count_tasks"].get("tasks", 1))
        if failed := outputs.failures(results):
            row = changed(row, failures=failed)
        return row

    def _ask(
        self,
        step: Step,
        rows: Callable[[], NumberedRows],
        journal: Journal,
        label: str,
        count: int | None = None,
    ) -> None:
        """Ask about the rows that `journal` does not hold; `count` is how many rows there are, where that is known."""
        if count is None:
            count, missing = 0, 0
            for number, _ in rows():
                count, missing = count + 1, missing + (number not in journal)
        else:
            missing = count - len(journal)
        if not missing:  # and no engine is started for it: a large one takes minutes
            return
        by_judge = step.name == "judge" and bool(self.settings.judge_engine)
        engine = self._engine(by_judge)
        prices = Prices() if by_judge else self.prices  # they are the generator's
        note = self.spent.noter(step.name)
        ask(step, rows, count, journal, engine, self.sampling, self.settings.attempts, label, prices, note)

    def _engine(self, judge: bool) -> Engine:
        """The generator, or the judge's own engine; started when it is first needed."""
        if judge not in self.engines:
            settings = self.settings
            if judge:
                engine = open_engine(settings.judge_engine, settings.judge_engine_options)
            else:
                engine = open_engine(settings.engine, settings.engine_options)
            self.engines[judge] = engine
            self.opened.callback(engine.close)
        return self.engines[judge]

    def _count_options(self, iteration: int, options: Journal) -> None:
        """Print which options were chosen, beside the published ones; a row that is not asked any more counts as D."""
        counts = dict.fromkeys(("A", "B", "C", "D", "unreadable"), 0)
        for number in options.rows():
            counts[options.get(number).get("option", "unreadable")] += 1
        counts["D"] += self.source.count - len(self.dropped) - len(options)
        self.options.append(counts)
        print(options_line(iteration, counts, "" if self.settings.num_tasks else self.settings.published))

    def _iteration(self, number: int) -> Path:
        return self.folder / f"iteration_{number}"

    def _journal(self, folder: Path, step: str, source: str) -> Journal:
        """The journal of a step over the rows of `source`."""
        prompts = {
            "classify": [self.classify_prompt],
            "rewrite": list(REWRITES.values()),
            "respond_it": ["respond"],
            "respond_sit": ["respond"],
            "judge": ["count_tasks"],
        }.get(step, [step])
        settings = self.settings
        about: dict[str, Any] = {
            "step": step,
            "input": self.source.digest if source == settings.input_file else digest(source),
            **self.row_settings,
            "prompts": [self.prompts[name].digest for name in prompts if name in self.prompts],
            "extract": settings.extract,
            "num_tasks": settings.num_tasks,
            "refine": settings.refine,
            "engine": self.judge_identity if step == "judge" else self.engine_identity,
            "sampling": asdict(self.sampling),
        }
        if step in ("respond_sit", "judge"):
            about["iterations"] = self.iterations
        return Journal(_path(folder, step), about)


def _path(folder: Path, step: str) -> Path:
    return folder / f"{step}.journal.jsonl"


if __name__ == "__main__":
    run(main, Settings)
