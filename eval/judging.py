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
        options: its settings, each "setting=value"; "KIND.setting=value" is for one kind of judge alone, and
            "KIND.engine=NAME" another engine for it.
        reference: what answers are compared with, where a judge compares.
    """

    name: str = ""
    options: tuple[str, ...] = ()
    reference: str = ""

    def of(self, kind: str) -> tuple[str, list[str], str]:
        """Engine, settings and reference for a kind: its own settings, where it has any, or else those for all."""
        own = [one.removeprefix(f"{kind}.") for one in self.options if one.startswith(f"{kind}.")]
        shared = [one for one in self.options if "." not in one.partition("=")[0]]
        engine = next((one.partition("=")[2] for one in own if one.startswith("engine=")), self.name)
        settings = [one for one in own if not one.startswith(("engine=", "reference="))]
        reference = next((one.partition("=")[2] for one in own if one.startswith("reference=")), self.reference)
        return engine, settings or ([] if engine != self.name else shared), reference


def check(chosen: list[Benchmark], judge: Judge) -> None:
    """Refuse a judge that cannot work.

    Raises:
        UserError: no such engine or setting, no key where one is needed, no such reference.
    """
    if judge.name:
        from eval import judges

        for kind in dict.fromkeys(one.judge for one in chosen if one.judge):
            judges.check(kind, *judge.of(kind))


def judge(chosen: list[Benchmark], judge: Judge, output: Path) -> None:
    """Judge the answers of each benchmark that needs it; verdicts that are there are not asked for again."""
    if judge.name:
        from eval import judges

        for one in chosen:
            if one.judge:
                judges.judge(one.judge, output / one.name, *judge.of(one.judge))


def tell_unjudged(chosen: list[Benchmark], judge: Judge) -> None:
    """Say which answers are still to be judged, and how."""
    names = [one.name for one in chosen if one.judge]
    if names and not judge.name:
        print(
            f"answered, not judged: {', '.join(names)}. The same command with --judge ENGINE --judge_options "
            "SETTING=VALUE ... judges them (docs/judges.md); nothing is answered again"
        )
