"""What lm-evaluation-harness says in its own YAML files, as it is installed, so that no fact of it has a copy here.

Called by the tasks that take a list or a rule of the harness.
"""

from functools import cache
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml
from lm_eval.filters import build_filter_ensemble
from lm_eval.filters.extraction import RegexFilter

FOLDER = Path(lm_eval.tasks.__file__).parent


@cache
def definition(file: str) -> dict[str, Any]:
    """A file of the harness's tasks, such as "gsm8k/gsm8k-cot.yaml"; it names no functions."""
    return yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))


@cache
def rules(file: str) -> dict[str, RegexFilter]:
    """The filters of that definition by name, each the regex that takes the answer out of a response."""
    found = {}
    for rule in definition(file)["filter_list"]:
        steps = [
            (step["function"], {name: value for name, value in step.items() if name != "function"})
            for step in rule["filter"]
        ]
        found[rule["name"]] = build_filter_ensemble(rule["name"], steps).filters[0]()
    return found


@cache
def mmlu_categories() -> dict[str, str]:
    """The category of each of MMLU's 57 subjects ("stem", "humanities", "social_sciences", "other")."""
    found = {}
    for path in sorted((FOLDER / "mmlu" / "default").glob("mmlu_*.yaml")):
        one = definition(str(path.relative_to(FOLDER)))
        found[one["dataset_name"]] = one["tag"].removeprefix("mmlu_").removesuffix("_tasks")
    return found
