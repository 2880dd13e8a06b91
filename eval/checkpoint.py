"""A checkpoint folder as the evaluation needs it: checked before anything is loaded, and told apart from every other.

Called by `eval.run`. Reads files only; knows neither torch nor transformers.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from open_instruct.core.errors import UserError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
# What a model's answers depend on; optimizer states, logs and our own run.json lie in the same folder and play no part.
_ANSWERS_DEPEND_ON = (
    *_WEIGHTS,
    *("config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "spiece.model", "tekken.json", "chat_template*", "*.index.json"),
)


def check(folder: Path) -> None:
    """Refuse what cannot be evaluated as a chat model.

    Raises:
        UserError: no such folder, or one without configuration, weights, tokenizer or chat template.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such checkpoint folder. Give the folder that fine-tuning wrote (models are local)."
        )
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UserError(f"{folder}: holds a LoRA adapter, not a whole model. Merge it into its base model first.")
        inside = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/config.json"))
        hint = f" Did you mean one of its folders: {', '.join(inside)}?" if inside else ""
        raise UserError(f"{folder}: no config.json here, so this is no checkpoint folder.{hint}")
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise UserError(f"{folder}: no weights here ({' or '.join(_WEIGHTS)}). Did the training end?")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise UserError(
            f"{folder}: no tokenizer here (tokenizer.json). Save it with tokenizer.save_pretrained({str(folder)!r})."
        )
    if not _has_chat_template(folder):
        raise UserError(
            f"{folder}: the tokenizer has no chat template, so there is no telling how to ask the model. "
            "Evaluate a model that open_instruct.finetune made (it writes one), or put a chat_template.jinja there."
        )


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that the model's answers depend on, as 64 hexadecimal digits."""
    files = sorted({path for pattern in _ANSWERS_DEPEND_ON for path in folder.glob(pattern) if path.is_file()})
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves Python's lock alone: shards go in parallel
        digests = list(pool.map(_digest, files))
    whole = "".join(f"{path.name} {digest}\n" for path, digest in zip(files, digests, strict=True))
    return hashlib.sha256(whole.encode()).hexdigest()


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: is no JSON object ({error}). Save the tokenizer again.") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
