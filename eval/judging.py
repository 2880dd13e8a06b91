"""Benchmarks whose answers a judge reads: checked before the model is loaded, judged when its memory is free again.

A benchmark says so in its YAML (`metadata.judge: KIND`); the judges are in `eval/judges`. Called by `eval.run`.
"""

from dataclasses import dataclass
from pathlib import Path

from eval.benchmarks import Benchmark


@dataclass(frozen=True)
class Judge:
    """Who judges.

    Attributes:
        name: of the engine (`open_instruct/engines`); "" for nobody yet.
        options: its settings, each "setting=value".
        reference: what answers are compared with, where a judge compares.
    """

    name: str = ""
    options: tuple[str, ...] = ()
    reference: str = ""


def check(chosen: list[Benchmark], judge: Judge) -> None:
    """Refuse a judge that cannot work.

    Raises:
        UserError: no such engine or setting, no key where one is needed, no such reference.
    """
    if judge.name:
        from eval import judges

        for kind in dict.fromkeys(one.judge for one in chosen if one.judge):
            judges.check(kind, judge.name, list(judge.options), judge.reference)


def judge(chosen: list[Benchmark], judge: Judge, output: Path) -> None:
    """Judge the answers of each benchmark that needs it; verdicts that are there are not asked for again."""
    if judge.name:
        from eval import judges

        for one in chosen:
            if one.judge:
                judges.judge(one.judge, output / one.name, judge.name, list(judge.options), judge.reference)


def tell_unjudged(chosen: list[Benchmark], judge: Judge) -> None:
    """Say which answers are still to be judged, and how."""
    names = [one.name for one in chosen if one.judge]
    if names and not judge.name:
        print(
            f"answered, not judged: {', '.join(names)}. The same command with --judge ENGINE --judge_options "
            "SETTING=VALUE ... judges them (docs/judges.md); nothing is answered again"
        )
