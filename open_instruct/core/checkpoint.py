"""A checkpoint folder: checked before anything is loaded, told apart from every other, and loaded without a guess.

Called by fine-tuning, the local engine and the evaluation. `check` and `fingerprint` read files only; torch and
transformers are imported by what loads.
"""

import hashlib
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from open_instruct.core.errors import UserError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# What a model's answers depend on; optimizer states, logs and our own run.json lie in the same folder and play no part.
_ANSWERS_DEPEND_ON = (
    *("*.safetensors", "pytorch_model*.bin", "*.index.json", "config.json", "generation_config.json", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "tekken.json"),
    "chat_template*",
)


def check(folder: Path, chat_template: bool = True) -> None:
    """Refuse what is no whole checkpoint.

    Args:
        folder: as `save_pretrained` writes it.
        chat_template: whether it must have one: to be asked, yes; to be fine-tuned, no.

    Raises:
        UserError: no such folder, or one without configuration, weights, tokenizer or chat template.
    """
    if not folder.is_dir():
        problem = "is a file, not a" if folder.exists() else "no such"
        fetch = f"; if it is a name on the hub: `hf download {folder} --local-dir FOLDER`, and then that folder"
        hub = fetch if on_hub(str(folder)) else ""
        raise UserError(
            f"{folder}: {problem} checkpoint folder. Give the folder that save_pretrained or training wrote{hub}."
        )
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UserError(
                f"{folder}: holds a LoRA adapter and no whole model. Merge it first: python -m open_instruct.merge_lora"
            )
        inside = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/config.json"))
        hint = f" Did you mean one of its folders: {', '.join(inside)}?" if inside else ""
        raise UserError(f"{folder}: no config.json here, so this is no checkpoint folder.{hint}")
    if not has_weights(folder):
        raise UserError(f"{folder}: no weights here (model.safetensors). Did the run that writes them come to its end?")
    kind = "*.safetensors" if any(folder.glob("*.safetensors")) else "*"  # what transformers loads where both are there
    for index in folder.glob(f"{kind}.index.json"):
        for shard in sorted(set(_read_object(index).get("weight_map", {}).values())):
            if not (folder / shard).is_file():
                raise UserError(f"{folder}: {shard} is missing, which {index.name} lists. Copy the folder again.")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise UserError(f"{folder}: no tokenizer here (tokenizer.json). Copy the files of its base model's tokenizer.")
    if chat_template and not _has_chat_template(folder):
        raise UserError(
            f"{folder}: the tokenizer has no chat template, so there is no telling how to ask the model. "
            "Take a model that open_instruct.finetune made (it writes one), or put a chat_template.jinja there."
        )


def on_hub(model: str) -> bool:
    """Whether `model` can only be meant as a name on the hub: no folder here, and `owner/name`."""
    return not os.path.exists(model) and model.count("/") == 1 and not model.startswith((".", "/"))


def has_weights(folder: Path) -> bool:
    """Whether the weights of a model lie in the folder."""
    return any((folder / name).is_file() for name in _WEIGHTS)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that the model's answers depend on, as 64 hexadecimal digits."""
    files = sorted({path for pattern in _ANSWERS_DEPEND_ON for path in folder.glob(pattern) if path.is_file()})
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves Python's lock alone: shards go in parallel
        digests = list(pool.map(file_digest, files))
    whole = "".join(f"{path.name} {digest}\n" for path, digest in zip(files, digests, strict=True))
    return hashlib.sha256(whole.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tokenizer(model: str | Path) -> tuple["PreTrainedTokenizerBase", "PretrainedConfig"]:
    """The tokenizer and the configuration; what is wrong with them is found before the weights are read.

    Raises:
        UserError: a file is damaged, or the tokenizer is another model's.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
    except Exception as error:  # the libraries raise anything for a damaged file
        raise _unloadable(model, error) from error
    vocabulary = getattr(config.get_text_config(), "vocab_size", None)
    if vocabulary is not None and len(tokenizer) > vocabulary:
        raise UserError(
            f"{model}: the tokenizer has {len(tokenizer)} tokens, the model {vocabulary}: "
            "they do not belong together. Copy both from one checkpoint."
        )
    return tokenizer, config


def load_model(model: str | Path, dtype: Any) -> "PreTrainedModel":
    """The causal language model, on the CPU.

    Args:
        model: folder, or name on the hub.
        dtype: of the weights: a torch dtype, its name, or "auto" for the checkpoint's own.

    Raises:
        UserError: a file is damaged, or weights are missing, for which transformers would take random numbers. (Tied
            weights, which are stored once, are not missing.)
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        loaded, report = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise _unloadable(model, error) from error
    if report["missing_keys"]:
        names = sorted(report["missing_keys"])
        raise UserError(
            f"{model}: the checkpoint cannot be loaded: {len(names)} weights are missing ({names[0]}, ...). "
            "Copy the folder again."
        )
    return loaded


def drop_unused_sampling(generation: "GenerationConfig") -> None:
    """Unset what says how to sample where nothing is sampled: transformers loads such settings, and refuses to save
    them. Llama 2 was published with a temperature and without `do_sample`."""
    unused = () if generation.do_sample else _SAMPLING
    unused += () if (generation.num_beams or 1) > 1 else ("early_stopping", "length_penalty")
    for name in unused:
        setattr(generation, name, None)


_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


def _unloadable(model: str | Path, error: Exception) -> UserError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if Path(model).exists():
        return UserError(f"{model}: the checkpoint cannot be loaded: {reason}. Copy the folder again.")
    return UserError(
        f"{model}: no such folder here, and from the hub the checkpoint cannot be loaded: {reason}. Without internet: "
        f"`hf download {model} --local-dir FOLDER` where there is some, and give that folder."
    )


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(_read_object(path).get("chat_template"))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no JSON object ({error}). Copy the folder again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: is no JSON object. Copy the folder again.")
    return value
