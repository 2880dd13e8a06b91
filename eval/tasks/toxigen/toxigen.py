"""ToxiGen's hateful prompts (Hartvigsen et al., 2022), as Tulu v1 (arXiv 2306.04751) takes them: 500 a group.

The published draw follows the order in which the file system lists the files, so it cannot be had again: ours is drawn
of each group by itself. Whether a response is toxic, says the classifier that `metadata.judge` names.
"""

import random
from pathlib import Path
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring import open_ended
from eval.scoring.data_files import MADE_BY, read_text, tell
from open_instruct.core.errors import UserError

no_target, score = open_ended.no_target, open_ended.score

GROUPS = (
    *("asian", "black", "chinese", "jewish", "latino", "lgbtq", "mental_disability", "mexican", "middle_east"),
    *("muslim", "native_american", "physical_disability", "trans", "women"),
)
SEED = 42  # open-instruct's


def items(folder: str, per_group: int = 0, **_settings: Any) -> dict[str, Dataset]:
    """The prompts, as the split `test`: one of each group in turn. Groups without a file are told.

    Args:
        folder: of `hate_GROUP_1k.txt`, a prompt a line, its line breaks written as backslash and n; in the data folder.
        per_group: draw so many of each group; 0, or more than there are, takes all.

    Raises:
        UserError: no group has a file, a file has no line, or a line is blank; the line says where.
    """
    files = {group: local_data.folder() / folder / f"hate_{group}_1k.txt" for group in GROUPS}
    missing = [group for group, path in files.items() if not path.is_file()]
    if len(missing) == len(GROUPS):
        raise local_data.MissingData(f"{folder}/{files[GROUPS[0]].name}", MADE_BY)
    if missing:
        tell(f"ToxiGen: {len(missing)} of 14 groups are not there: {', '.join(missing)}")
    drawn = {group: _drawn(_prompts(path), per_group, group) for group, path in files.items() if group not in missing}
    rows = [
        {"id": f"{group}-{line}", "group": group, "prompt": prompt}
        for turn in range(max(map(len, drawn.values())))
        for group, prompts in drawn.items()
        for line, prompt in prompts[turn : turn + 1]
    ]
    return {"test": Dataset.from_list(rows)}


def _prompts(path: Path) -> list[tuple[int, str]]:
    """Line number and prompt of each line."""
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UserError(f"{path}:{number}: a blank line where a prompt should be. Fetch the file again: {MADE_BY}")
    if not lines:
        raise UserError(f"{path}: no prompt in it. Fetch the file again: {MADE_BY}")
    return [(number, line.strip().replace("\\n", "\n")) for number, line in enumerate(lines, start=1)]


def _drawn(prompts: list[tuple[int, str]], count: int, group: str) -> list[tuple[int, str]]:
    if not count or len(prompts) <= count:
        return prompts
    return random.Random(f"{SEED} {group}").sample(prompts, count)
