"""Checkpoints to go on from: marked once whole, with what made them, so that no run is mixed with another.

`finetune.py` uses it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerState

from open_instruct.core.checkpoint import has_weights
from open_instruct.core.errors import UserError
from open_instruct.core.records import write_json

WHOLE = "whole"  # this file in a checkpoint says that every other file of it was written, and what made them
_PATHS = ("model_name_or_path", "train_file")  # their contents count; the same ones may be elsewhere by now


class MarkWholeCheckpoint(TrainerCallback):
    """Marks a checkpoint once every process has written its files, so that a kill in between is seen."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description

    def on_save(self, args, state, control, **kwargs):
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", WHOLE), self._description)


def delete_torn_checkpoints(output_dir: str) -> None:
    """Delete the checkpoints newer than the last whole one; nobody may be writing in the folder."""
    for folder in _checkpoints(output_dir):
        if (folder / WHOLE).exists():
            return
        shutil.rmtree(folder)


def last_whole_checkpoint(output_dir: str, description: dict[str, Any]) -> str | None:
    """The newest checkpoint that was written to its end, to go on from.

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
    names = [name for name in before | description if name not in _PATHS]
    other = [name for name in names if before.get(name) != description.get(name)]
    if other:
        shown = [f"{name} ({_short(before.get(name))}, now {_short(description.get(name))})" for name in other[:4]]
        more = f" and {len(other) - 4} more" if other[4:] else ""
        raise UserError(
            f"{folder}: was made with another {', '.join(shown)}{more}. Give another --output_dir, or delete "
            f"{output_dir} to train anew."
        )
    return str(folder)


def trained_to_its_end(folder: str) -> TrainerState | None:
    """The state of a checkpoint after its last step; None where steps are left."""
    state = TrainerState.load_from_json(str(Path(folder, "trainer_state.json")))
    return state if state.global_step >= state.max_steps else None


def has_result(folder: Path) -> bool:
    """Whether the weights of a model or of an adapter lie in the folder."""
    return has_weights(folder) or (folder / "adapter_model.safetensors").is_file()


def copy_result(folder: Path, into: Path) -> None:
    """Copy model or adapter, tokenizer and their settings out of a checkpoint; what only training needs stays there.

    The weights last, since they say that the others are there.
    """
    files = sorted({path for pattern in _RESULT for path in folder.glob(pattern)}, key=_is_weights)
    for path in files:
        shutil.copyfile(path, into / path.name)


_RESULT = (
    *("*.safetensors", "*.index.json", "config.json", "generation_config.json", "adapter_config.json", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab.*", "merges.txt", "spiece.model"),
)


def _is_weights(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _checkpoints(output_dir: str) -> list[Path]:
    """Newest first."""
    folders = Path(output_dir).glob("checkpoint-*")
    return sorted(folders, key=lambda folder: int(folder.name.split("-")[1]), reverse=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:12] + '..."'
