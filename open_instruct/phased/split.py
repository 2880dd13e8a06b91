"""Cuts scored rows into stages of rising difficulty, as fine-tuning reads them.

    python -m open_instruct.phased.split --input_file scored/scored.jsonl --output_dir stages
    python -m open_instruct.phased.split --input_file sit.jsonl --output_dir stages --difficulty chain_length
    python -m open_instruct.phased.split --input_file scored.jsonl --output_dir stages --stages 4

By thresholds (published: 1.5 and 3.5; chain length: 2 and 3, so one task, two, three and more) or, with --stages, into
so many of equal size. Writes stage1.jsonl, stage2.jsonl, ..., the same rows in random stages of the same sizes
(random/stage1.jsonl, ...), stages.json, and stages.html with the density of the difficulties, the cuts and examples.
--dry_run shows the table and writes nothing.
"""

import random
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.estimate import how_counted, token_counter
from open_instruct.core.only_run import only_run
from open_instruct.core.records import Instruction, encode_json, replacing, write_json
from open_instruct.core.run_info import RunInfo
from open_instruct.phased import page, plots, published, scored, stages
from open_instruct.phased.stages import Cut

SUMMARY = "stages.json"
RANDOM = "random"
_CHAIN_THRESHOLDS = (2.0, 3.0)
_EXAMPLES = 3  # of each stage, on the page
_SHOWN = 700  # characters of each


@dataclass
class Settings:
    input_file: list[str] = help_field("rows with a difficulty: scored.jsonl, published scored files, or sit.jsonl")
    output_dir: str = help_field("folder of the stages")
    difficulty: str = help_field("score, chain_length (stage 1's rows), or any field with a number", scored.SCORE)
    thresholds: list[float] = help_field("ascending; by default 1.5 3.5 for score, 2 3 for chain_length", [])
    stages: int = help_field("this many stages of equal size instead of thresholds; 0: thresholds", 0)
    tokenizer: str = help_field("checkpoint folder whose tokens are counted; none: 4 characters are taken for one", "")
    seed: int = help_field("of the random stages, and of the examples on the page", 0)
    dry_run: bool = help_field("show the table and write nothing", False)


@dataclass
class Stage:
    """What a stage holds: rows, rows without an answer (which training leaves out), and the sums behind its means."""

    rows: int = 0
    without_answer: int = 0
    difficulty: float = 0.0
    tokens: int = 0

    def figures(self) -> dict[str, float]:
        """For stages.json."""
        means = {"mean_difficulty": self.mean_difficulty, "mean_tokens": self.mean_tokens}
        return {"rows": self.rows, "without_answer": self.without_answer, **means}

    @property
    def mean_difficulty(self) -> float:
        return self.difficulty / self.rows if self.rows else 0.0

    @property
    def mean_tokens(self) -> float:
        return self.tokens / self.rows if self.rows else 0.0


def main(settings: Settings) -> None:
    """Read the difficulties, cut, write the stages, and show them beside the published ones.

    Raises:
        UserError: a row has no difficulty, thresholds do not fit, or a stage would be empty.
    """
    if settings.stages and settings.thresholds:
        raise UserError("--stages makes stages of equal size, --thresholds cuts at numbers: give one of them")
    difficulties, sizes = _read(settings)
    cut = _cut(settings, difficulties)
    found = [Stage() for _ in range(cut.stages)]
    for number, stage in enumerate(cut.stage_of):
        tokens, answered = abs(sizes[number]), sizes[number] > 0
        found[stage].rows += 1
        found[stage].without_answer += not answered
        found[stage].difficulty += difficulties[number]
        found[stage].tokens += tokens
    tables = _tables(settings, cut, found)
    print("\n\n".join(table.terminal() for table in tables))
    for note in (note for table in tables if (note := table.about)):
        print(note)
    if settings.dry_run:
        return
    stages.refuse_empty([stage.rows for stage in found], difficulties, cut.borders)
    output = Path(settings.output_dir)
    with only_run(output, "split"), RunInfo(output, settings, settings.seed) as info:
        (output / SUMMARY).unlink(missing_ok=True)  # it stands for the whole; a killed run leaves none
        examples = _write(settings, output, cut)
        made = page.Page(
            title="Stages of rising difficulty",
            about=f"{len(difficulties):,} rows, cut by {settings.difficulty}; {', '.join(settings.input_file)}",
            tables=tables,
            drawing=plots.density(difficulties, cut.borders),
            caption="Rows by difficulty",
            legend=["rows, and their density", "share of the rows up to this difficulty (right)"],
            examples=examples,
        )
        files = page.write(made, output, "stages")
        summary = {"difficulty": settings.difficulty, "borders": cut.borders, "seed": settings.seed}
        rows = [{"file": _file(number), **stage.figures()} for number, stage in enumerate(found, start=1)]
        write_json(output / SUMMARY, {**summary, "stages": rows})
        info.add(stages=rows)
    print(f"written: {output / _file(1)} to {_file(cut.stages)}, {output / RANDOM} and {files[0]}")


def _file(stage: int) -> str:
    return f"stage{stage}.jsonl"


def _read(settings: Settings) -> tuple[array, array]:
    """Of each row its difficulty, and its tokens, below 0 where it has no answer."""
    count = token_counter(settings.tokenizer)
    difficulties, sizes = array("d"), array("q")
    for where, row in scored.read(settings.input_file):
        value = scored.difficulty(row, where, settings.difficulty)
        if _at_published_thresholds(settings):
            _refuse_other_scale(row, value, where)
        difficulties.append(value)
        tokens = max(count(row.prompt) + count(row.output), 1)
        sizes.append(tokens if row.output.strip() else -tokens)
    return difficulties, sizes


def _refuse_other_scale(row: Instruction, value: float, where: str) -> None:
    if scored.LOSSES in row.extra:
        why = "is a base model's loss"
    elif not scored.LOWEST <= value <= scored.HIGHEST:
        why = f"is not from {scored.LOWEST:g} to {scored.HIGHEST:g}"
    else:
        return
    raise UserError(
        f"{where}: score {value:g} {why}, so the published thresholds mean nothing; give --stages N or --thresholds"
    )


def _at_published_thresholds(settings: Settings) -> bool:
    return settings.difficulty == scored.SCORE and not settings.stages and not settings.thresholds


def _cut(settings: Settings, difficulties: array) -> Cut:
    if settings.stages:
        return stages.by_size(difficulties, settings.stages)
    usual = {scored.SCORE: published.THRESHOLDS, scored.CHAIN_LENGTH: _CHAIN_THRESHOLDS}
    thresholds = settings.thresholds or usual.get(settings.difficulty)
    if thresholds is None:
        raise UserError(f"--difficulty {settings.difficulty} has no usual thresholds; give --thresholds or --stages N")
    return stages.by_thresholds(difficulties, thresholds)


def _write(settings: Settings, output: Path, cut: Cut) -> dict[str, list[tuple[str, str]]]:
    """Write the rows of all stages, and of the random ones, in one pass; returns examples for the page."""
    by_chance = stages.at_random(cut, settings.seed)
    draw = random.Random(f"{settings.seed}/examples")
    examples: list[list[tuple[str, str]]] = [[] for _ in range(cut.stages)]
    seen = [0] * cut.stages
    with ExitStack() as files:
        folders = [(output, cut.stage_of), (output / RANDOM, by_chance)]
        writers = [
            [files.enter_context(replacing(folder / _file(stage + 1))) for stage in range(cut.stages)]
            for folder, _ in folders
        ]
        for number, (_, row) in enumerate(scored.read(settings.input_file)):
            line = encode_json(row.to_json()) + b"\n"
            for write, (_, stage_of) in zip(writers, folders, strict=True):
                write[stage_of[number]](line)
            stage = cut.stage_of[number]
            _keep_some(examples[stage], row, seen[stage], draw)
            seen[stage] += 1
    names = [f"Stage {stage}, {stages.interval_of(stage, cut.borders)}" for stage in range(1, cut.stages + 1)]
    return dict(zip(names, examples, strict=True))


def _keep_some(kept: list[tuple[str, str]], row: Instruction, seen: int, draw: random.Random) -> None:
    """Each row of a stage has the same chance to be an example (Vitter's reservoir)."""
    shown = (row.prompt[:_SHOWN], row.output[:_SHOWN])
    if len(kept) < _EXAMPLES:
        kept.append(shown)
    elif (place := draw.randrange(seen + 1)) < _EXAMPLES:
        kept[place] = shown


def _tables(settings: Settings, cut: Cut, found: list[Stage]) -> list[page.Table]:
    total = max(sum(stage.rows for stage in found), 1)
    header = ["stage", settings.difficulty.replace("_", " "), "rows", "share", "mean", "tokens a row"]
    rows = [
        [
            str(number),
            stages.interval_of(number, cut.borders),
            f"{stage.rows:,}",
            f"{100 * stage.rows / total:.1f}%",
            f"{stage.mean_difficulty:.2f}" if stage.rows else "-",
            f"{stage.mean_tokens:.2f}" if stage.rows else "-",
        ]
        for number, stage in enumerate(found, start=1)
    ]
    notes = [f"Tokens are counted {how_counted(settings.tokenizer)}."]
    if without := sum(stage.without_answer for stage in found):
        notes.append(f"{without:,} rows have no answer; training leaves them out and counts them.")
    if cut.ties:
        notes.append(f"{cut.ties:,} rows are as hard as a border; those that come first are in the lower stage.")
    tables = [page.Table("Stages", header, rows, " ".join(notes))]
    if _at_published_thresholds(settings):
        for name, table in published.TABLE_1.items():
            thousands = sum(one.thousands for one in table)
            shown = [
                [
                    str(number),
                    stages.interval_of(number, published.THRESHOLDS),
                    f"{one.thousands:g} k",
                    f"{100 * one.thousands / thousands:.1f}%",
                    f"{one.difficulty:.2f}",
                    f"{one.tokens:.2f}",
                ]
                for number, one in enumerate(table, start=1)
            ]
            tables.append(page.Table(f"Published: {name} (Table 1, Llama's tokens)", header, shown))
    return tables


if __name__ == "__main__":
    run(main, Settings)
