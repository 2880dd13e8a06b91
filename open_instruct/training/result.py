"""The files that fine-tuning leaves: whether they are there, and how they get out of a checkpoint.

`finetune.py` uses it.
"""

import shutil
from pathlib import Path

from open_instruct.core.checkpoint import has_weights


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
