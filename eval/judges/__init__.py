"""An LLM, or a classifier, as judge of what a model answered. A kind of judge is one file here, named after it.

`eval.run` calls `check` before it loads a model and `judge` after generation; `python -m eval.judges` judges stored
outputs, `python -m eval.judges.agreement` compares a judge with stored or human verdicts. Files that begin with `_` are
parts of kinds. A kind's file has two functions, like these two without their first argument; see docs/judges.md.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from open_instruct.core.errors import UserError

_COMMANDS = ("agreement",)


def kinds() -> list[str]:
    """The kinds there are."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_") and name not in _COMMANDS)


def check(kind: str, engine: str, options: list[str], reference: str) -> None:
    """Refuse a judge that cannot be opened; nothing is asked, and no large model loaded.

    Args:
        kind: of `kinds()`; a benchmark's YAML names it in `metadata.judge`.
        engine: who judges, one of `open_instruct.engines.names()`.
        options: of the engine, each SETTING=VALUE.
        reference: whose answers a pairwise judge compares with: a run's folder, a benchmark's, or a file; else "".

    Raises:
        UserError: no such kind or engine, no key, no reference where one is needed, ...
    """
    module(kind).check(engine, options, reference)


def judge(kind: str, folder: Path, engine: str, options: list[str], reference: str) -> None:
    """Judge a benchmark's predictions and add the figures to its metrics.json; again, only what is missing is asked.

    Args:
        folder: of the benchmark in a run's results, with predictions.jsonl and metrics.json. verdicts.jsonl is written
            beside them, and each verdict's metrics are added to its line of predictions.jsonl.
        kind, engine, options, reference: as in `check`.

    Raises:
        UserError: as in `check`; or predictions cannot be read, or the judge answers nobody.
    """
    module(kind).judge(Path(folder), engine, options, reference)


def module(kind: str) -> ModuleType:
    """The file of a kind.

    Raises:
        UserError: there is none; the line lists those there are.
    """
    if kind not in kinds():
        raise UserError(f"no kind of judge named {kind!r}; there are: {', '.join(kinds())}")
    return importlib.import_module(f"{__name__}.{kind}")
