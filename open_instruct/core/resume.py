"""Checkpoints to go on from: marked once whole, with what made them, so that no run is mixed with another.

Every stage that trains with transformers' Trainer uses it.
"""

import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerState

from open_instruct.core import run_info
from open_instruct.core.errors import UserError
from open_instruct.core.records import write_json

_NAME = re.compile(r"checkpoint-(\d+)")  # as transformers' Trainer names them, by their last step
WHOLE = "whole"  # this file in a checkpoint says that every other file of it was written, and what made them


class MarkWholeCheckpoint(TrainerCallback):
    """Marks a checkpoint once every process has written its files, so that a kill in between is seen."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description

    def on_save(self, args, state, control, **kwargs):
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", WHOLE), self._description)


def delete_torn_checkpoints(output_dir: str) -> None:
    """Delete the checkpoints newer than the last whole one; nobody may be writing in the folder.

    Raises:
        UserError: they are none of ours: no run of this program began there, and none of them is marked.
    """
    found = _checkpoints(output_dir)
    whole = next((place for place, folder in enumerate(found) if (folder / WHOLE).exists()), None)
    if found and whole is None and not Path(output_dir, run_info.FILE_NAME).exists():
        raise UserError(
            f"{found[0]}: a checkpoint that this program did not write, which training here would delete. Give another "
            "output folder, or move it away"
        )
    for folder in found[:whole]:
        shutil.rmtree(folder)


def last_whole_checkpoint(
    output_dir: str, description: dict[str, Any], uncompared: Collection[str] = (), setting: str = "--output_dir"
) -> str | None:
    """The newest checkpoint that was written to its end, to go on from.

    Args:
        output_dir: folder of the run.
        description: what the result depends on.
        uncompared: names of the description that may differ, such as paths whose contents are compared.
        setting: what names the folder, for the person who has to give another.

    Raises:
        UserError: it was made with another description; to go on would mix two runs.
    """
    folder = next((folder for folder in _checkpoints(output_dir) if (folder / WHOLE).exists()), None)
    if folder is None:
        return None
    try:
        before = json.loads((folder / WHOLE).read_bytes())
    except ValueError:  # the mark of an older version was an empty file
        before = {}
    names = [name for name in before | description if name not in uncompared]
    other = [name for name in names if before.get(name) != description.get(name)]
    if other:
        shown = [f"{name} ({_short(before.get(name))}, now {_short(description.get(name))})" for name in other[:4]]
        more = f" and {len(other) - 4} more" if other[4:] else ""
        raise UserError(
            f"{folder}: was made with another {', '.join(shown)}{more}. Give another {setting}, or delete "
            f"{output_dir} to train anew."
        )
    return str(folder)


def trained_to_its_end(folder: str) -> TrainerState | None:
    """The state of a checkpoint after its last step; None where steps are left."""
    state = TrainerState.load_from_json(str(Path(folder, "trainer_state.json")))
    return state if state.global_step >= state.max_steps else None


def _checkpoints(output_dir: str) -> list[Path]:
    """Newest first. A copy that somebody made beside them (checkpoint-500-best) is none of ours; transformers, which
    keeps `save_total_limit` folders of any such name, sees that otherwise."""
    named = ((_NAME.fullmatch(folder.name), folder) for folder in Path(output_dir).glob("checkpoint-*"))
    steps = {int(name[1]): folder for name, folder in named if name}
    return [steps[step] for step in sorted(steps, reverse=True)]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:12] + '..."'
