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

    def judges(self, kind: str) -> bool:
        """Whether anybody is named who can judge a kind: an engine, or models that the kind loads by itself."""
        given = {one.partition("=")[0].removeprefix(f"{kind}.") for one in self.options if one.startswith(f"{kind}.")}
        if needed := _options_of(kind, "OWN_OPTIONS"):
            return given.issuperset(needed)
        return bool(self.of(kind)[0]) or not given.isdisjoint(_options_of(kind, "INSTEAD_OF_ENGINE"))


def check(chosen: list[Benchmark], judge: Judge) -> None:
    """Refuse a judge that cannot work.

    Raises:
        UserError: no such engine or setting, no key where one is needed, no such reference.
    """
    from eval import judges

    for kind in dict.fromkeys(one.judge for one in judged(chosen, judge)):
        judges.check(kind, *judge.of(kind))


def judge(chosen: list[Benchmark], judge: Judge, output: Path) -> None:
    """Judge the answers of each benchmark that needs it; verdicts that are there are not asked for again."""
    from eval import judges

    for one in judged(chosen, judge):
        judges.judge(one.judge, output / one.name, *judge.of(one.judge))


def judged(chosen: list[Benchmark], judge: Judge) -> list[Benchmark]:
    """Those whose answers are to be judged, and whose judge is named."""
    return [one for one in chosen if one.judge and judge.judges(one.judge)]


def tell_unjudged(chosen: list[Benchmark], judge: Judge) -> None:
    """Say which answers are still to be judged, and how."""
    left: dict[str, list[str]] = {}
    for one in chosen:
        if one.judge and not judge.judges(one.judge):
            left.setdefault(_way(one.judge), []).append(one.name)
    for way, names in left.items():
        print(
            f"answered, not judged: {', '.join(names)}. The same command with {way} judges them (docs/judges.md); "
            "nothing is answered again"
        )


def _options_of(kind: str, which: str) -> tuple[str, ...]:
    """`OWN_OPTIONS`, which a kind that no engine judges needs; `INSTEAD_OF_ENGINE`, which make one needless; or ()."""
    from eval.judges import module

    return getattr(module(kind), which, ())


def _way(kind: str) -> str:
    """What names a judge for a kind on the command line."""
    own = " ".join(f"{kind}.{name}=..." for name in _options_of(kind, "OWN_OPTIONS"))
    return f"--judge_options {own}" if own else "--judge ENGINE --judge_options SETTING=VALUE ..."
