"""Scores how hard each instruction row is, with a language model as judge or, without one, by a base model's loss.

    python -m open_instruct.phased.score --input_file rows.jsonl --output_dir scored --engine openai
        --engine_options model=gpt-4.1 --votes 3 --dry_run

    python -m open_instruct.phased.score --input_file rows.jsonl --output_dir scored --method ratio --base MODEL

The judge grades two things from 1 to 5: the instruction itself, and the step from it to its output; a row's score is
the mean over both and all votes. Rows that have a published score keep it (published_score), and the rank correlation
with it is printed. Writes scored.jsonl, and rejected.jsonl with the reason of each row that has no score. Killed, the
same command goes on: nothing is asked twice. --dry_run tells requests, tokens and cost.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_instruct.core import checkpoint
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.estimate import dry_run_table
from open_instruct.core.only_run import only_run
from open_instruct.core.progress import Prices, kind_of
from open_instruct.core.records import Instruction, encode_json, replacing
from open_instruct.core.run_info import RunInfo
from open_instruct.engines import check_options
from open_instruct.engines.base import Sampling
from open_instruct.phased import judge, scored
from open_instruct.phased.rank_correlation import spearman

JUDGE, LOSS, RATIO = METHODS = ("judge", "loss", "ratio")
PUBLISHED = "published_score"


@dataclass
class Settings:
    input_file: list[str] = help_field("rows: instruction / input / output, or published scored rows")
    output_dir: str = help_field("folder of scored.jsonl, rejected.jsonl and the journals")
    method: str = help_field("judge (a language model grades), loss or ratio (of a base model; docs/phased.md)", JUDGE)
    engine: str = help_field("who judges: an engine of open_instruct/engines; an unknown one lists all", "openai")
    engine_options: list[str] = help_field("of the engine, each SETTING=VALUE", [])
    prompt: str = help_field("prompt file of the judge", str(judge.PROMPT))
    votes: int = help_field("times that each row is graded; the score is their mean", 1)
    temperature: float = help_field("of the judge; 0 would give several votes one and the same answer", 0.0)
    attempts: int = help_field("times that a vote is asked for before it counts as unreadable", 3)
    seed: int = help_field("of the first vote's first attempt", 0)
    price_in: float = help_field("of a million tokens that the judge reads, in your currency", 0.0)
    price_out: float = help_field("of a million tokens that it writes", 0.0)
    base: str = help_field("checkpoint folder whose loss is taken (loss, ratio)", "")
    prompt_template: str = help_field("chat template in which the base sees a row; 'model' for its own", "tulu")
    max_length: int = help_field("tokens of a row that the base sees", 2048)
    batch_tokens: int = help_field("tokens of a forward pass of the base", 16_384)
    dry_run: bool = help_field("tell what would be asked, and cost; ask nothing", False)


@dataclass(frozen=True)
class Found:
    """What became of a row.

    Attributes:
        fields: join the row, `score` among them; none where it has no score.
        failures: {"reason", ...} of each vote that cannot be read, or of the one loss that there is not.
    """

    fields: dict[str, Any]
    failures: list[dict[str, str]]


def main(settings: Settings) -> None:
    """Score what is not scored yet, write the files, and print counts and correlations.

    Raises:
        UserError: rows, judge or base cannot be used, or no row got a score.
    """
    refuse_what_cannot_be(settings)
    count = sum(1 for _ in scored.read(settings.input_file))  # a bad row ends the run before anything is asked
    if settings.dry_run:
        print(_plan(settings, count))
        return
    output = Path(settings.output_dir)
    with only_run(output, "scoring"), RunInfo(output, settings, settings.seed) as info:
        counts = _write(settings, output, count)
        info.add(**counts)


def refuse_what_cannot_be(settings: Settings) -> None:
    """End with one line on settings that do not fit each other.

    Raises:
        UserError: they do not.
    """
    if settings.method not in METHODS:
        raise UserError(f"--method {settings.method}: expected one of {', '.join(METHODS)}")
    if settings.method != JUDGE:
        if not settings.base:
            raise UserError(f"--method {settings.method} needs --base, the checkpoint folder whose loss is taken")
        if settings.dry_run:
            raise UserError(f"--dry_run tells what a judge would cost; --method {settings.method} asks nobody")
        checkpoint.check(Path(settings.base), chat_template=settings.prompt_template == "model")
        return
    if settings.votes < 1 or settings.attempts < 1:
        raise UserError("--votes and --attempts must be at least 1")
    if settings.votes > 1 and settings.temperature == 0:
        raise UserError(
            f"--votes {settings.votes} at --temperature 0 would be one and the same; give --temperature 0.7"
        )
    check_options(settings.engine, settings.engine_options)


def _write(settings: Settings, output: Path, count: int) -> dict[str, Any]:
    """Write scored.jsonl and rejected.jsonl in one pass; returns the counts."""
    reasons: Counter[str] = Counter()
    done, unreadable, published = 0, 0, []
    measures: dict[str, list[float]] = {}  # of the rows with a published score
    with replacing(output / "scored.jsonl") as write, replacing(output / "rejected.jsonl") as reject:
        for (where, row), found in zip(scored.read(settings.input_file), _found(settings, output, count), strict=True):
            if "score" not in found.fields:
                reasons[kind_of(found.failures[0]["reason"])] += 1
                reject(encode_json({"row": where, **row.to_json(), "failures": found.failures}) + b"\n")
                continue
            done += 1
            unreadable += len(found.failures)
            before = _published(row)
            if before is not None:
                row.extra[PUBLISHED] = before
                published.append(before)
                for name, value in _measures(settings.method, found.fields).items():
                    measures.setdefault(name, []).append(value)
            write(encode_json(row.to_json() | found.fields) + b"\n")
        print(f"rows: {count:,} in = {done:,} scored + {count - done:,} rejected")
        for reason, number in reasons.most_common(10):
            print(f"  {number:,} x {reason}")
        if unreadable:
            print(f"unreadable votes on scored rows: {unreadable:,}; their scores are of the other votes")
        if not done:
            raise UserError(
                f"{settings.input_file[0]}: none of the {count:,} rows got a score, most because: "
                f"{reasons.most_common(1)[0][0]}. Mend that, and name another --output_dir"
            )
    correlations = _correlations(measures, published)
    print(f"written: {output / 'scored.jsonl'}")
    counts = {"rows": count, "scored": done, "rejected": dict(reasons), "unreadable_votes_on_scored_rows": unreadable}
    return {**counts, "rank_correlations": correlations}


def _published(row: Instruction) -> float | None:
    """The row's published score, if it has one; whatever scored the row before is taken off it.

    A score with votes or losses beside it is one of ours: it never stands for the published one.
    """
    of_before = {name: row.extra.pop(name, None) for name in (scored.SCORE, scored.VOTES, scored.LOSSES)}
    if PUBLISHED in row.extra:
        return scored.number(row.extra.pop(PUBLISHED))
    ours = of_before[scored.VOTES] is not None or of_before[scored.LOSSES] is not None
    return None if ours else scored.number(of_before[scored.SCORE])


def _found(settings: Settings, output: Path, count: int) -> Iterator[Found]:
    """What became of each row, in order."""
    about = {"input": [checkpoint.file_digest(Path(path)) for path in settings.input_file]}
    if settings.method == JUDGE:
        for graded in judge.grade(lambda: _numbered(settings), count, output, _asking(settings), about):
            if graded.votes:
                yield Found({"score": graded.score, scored.VOTES: graded.votes}, graded.unreadable)
            else:
                yield Found({}, graded.unreadable)
        return
    from open_instruct.phased import proxy  # torch: only where it is needed

    base = proxy.Base(Path(settings.base), settings.prompt_template, settings.max_length, settings.batch_tokens)
    for one in proxy.foresee(lambda: _numbered(settings), count, output, base, about):
        if "failed" in one:
            yield Found({}, [{"reason": one["failed"]}])
        elif settings.method == LOSS:
            yield Found({"score": one["loss"], scored.LOSSES: one}, [])
        else:
            yield Found({"score": one["loss"] / max(one["alone"], 1e-9), scored.LOSSES: one}, [])


def _numbered(settings: Settings) -> Iterator[tuple[int, Instruction]]:
    for number, (_, row) in enumerate(scored.read(settings.input_file)):
        yield number, row


def _asking(settings: Settings) -> judge.Asking:
    prompt = judge.load_prompt(Path(settings.prompt))
    sampling = Sampling(max_tokens=prompt.max_tokens, temperature=settings.temperature, seed=settings.seed)
    prices = Prices(settings.price_in, settings.price_out)
    return judge.Asking(
        settings.engine, settings.engine_options, prompt, settings.votes, settings.attempts, sampling, prices
    )


def _measures(method: str, fields: dict[str, Any]) -> dict[str, float]:
    """What of a row is compared with its published score."""
    losses = fields.get(scored.LOSSES)
    if losses is None:
        return {method: fields["score"]}
    beside = {"loss without the instruction": losses["alone"], "length of the answer": losses["tokens"]}
    return {method: fields["score"], LOSS: losses["loss"], **beside}


def _correlations(measures: dict[str, list[float]], published: list[float]) -> dict[str, Any]:
    """Print and return how each measure ranks the rows beside their published scores."""
    found = {}
    for name, values in measures.items():
        correlation = spearman(values, published)
        if correlation is None:
            print(f"rank correlation of {name} with the published scores: not to be told ({len(values)} rows)")
            continue
        rho, low, high = correlation
        found[name] = [round(number, 4) for number in correlation]
        print(
            f"rank correlation (Spearman) with {len(values):,} published scores: {name} {rho:+.3f} "
            f"({low:+.3f} to {high:+.3f})"
        )
    return found


def _plan(settings: Settings, count: int) -> str:
    """The dry run for a terminal."""
    asking = _asking(settings)
    what = f"{count:,} rows, {settings.votes} vote(s) each ({settings.engine})"
    return dry_run_table(what, "votes", judge.planned(lambda: _numbered(settings), asking), asking.prices)


if __name__ == "__main__":
    run(main, Settings)
