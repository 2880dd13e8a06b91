"""What `train.py` leaves: the weights that trained and nothing else, and putting them on their base again.

`trained.safetensors` holds them by name; `trained.json` beside it says on which base, of which architecture, and with
which adapters. `write_merged` makes a whole checkpoint of both.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import InstructBlipForConditionalGeneration

from lavis.inputs import QFORMER_TOKENIZER, load_processor
from lavis.model import load_config, load_model, merge_adapters
from lavis.settings import Model
from open_instruct.core.errors import UserError
from open_instruct.core.records import write_json
from open_instruct.core.shards import whole_folder

WEIGHTS = "trained.safetensors"
ABOUT = "trained.json"
_ADAPTERS = ("use_lora", "lora_r", "lora_alpha", "lora_target_modules")


def save(model: InstructBlipForConditionalGeneration, settings: Model, folder: Path) -> None:
    """Write both files; the weights come last, so that where they are, all is."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / ABOUT,
        {
            "base": settings.pretrained,
            "architecture": architecture(model.config),
            "model": dataclasses.asdict(settings),
        },
    )
    weights = {name: weight.detach().contiguous() for name, weight in model.named_parameters() if weight.requires_grad}
    part = folder / f".{WEIGHTS}.part"
    save_file(weights, part, metadata={"format": "pt"})
    part.rename(folder / WEIGHTS)


def architecture(config: Any) -> dict[str, Any]:
    """What two models must share for the trained parts of one to fit the other."""
    return {
        "language_model": config.text_config.model_type,
        "language_width": config.text_config.hidden_size,
        "language_layers": config.text_config.num_hidden_layers,
        "qformer_width": config.qformer_config.hidden_size,
        "qformer_layers": config.qformer_config.num_hidden_layers,
        "image_width": config.vision_config.hidden_size,
        "query_tokens": config.num_query_tokens,
    }


def about(folder: Path) -> dict[str, Any]:
    """What trained.json says.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    try:
        found = json.loads((folder / ABOUT).read_bytes())
        assert {"base", "architecture", "model"} <= set(found)
        return found
    except FileNotFoundError:
        raise UserError(f"{folder}: no trained parts here ({ABOUT}). Did the training come to its end?") from None
    except (OSError, ValueError, AssertionError, TypeError) as error:
        raise UserError(f"{folder / ABOUT}: cannot be read; train again, or copy it again") from error


def with_trained_adapters(settings: Model) -> Model:
    """The settings with the adapters that the parts in `settings.finetuned` were trained with.

    Raises:
        UserError: see `about`; or they were trained on a model of another architecture.
    """
    if not settings.finetuned:
        return settings
    found = about(Path(settings.finetuned))
    mine = architecture(load_config(settings))
    other = [f"{name} {found['architecture'].get(name)}, here {mine[name]}" for name in mine]
    other = [one for one, name in zip(other, mine, strict=True) if found["architecture"].get(name) != mine[name]]
    if other:
        raise UserError(
            f"model.finetuned: {settings.finetuned} was trained on another architecture than {settings.pretrained}: "
            f"{', '.join(other)}. Give its own base ({found['base']}) as model.pretrained"
        )
    if not found["model"]["use_lora"]:  # new adapters may go beside what was trained without any
        return settings
    return dataclasses.replace(settings, **{name: found["model"][name] for name in _ADAPTERS})


def put_on(model: InstructBlipForConditionalGeneration, folder: Path) -> None:
    """Replace the weights of `model` by the trained ones.

    Raises:
        UserError: the file is missing or damaged, or its weights do not fit the model.
    """
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as weights: {error}. Did the training come to its end?") from error
    parameters = dict(model.named_parameters())
    for name, weight in weights.items():
        if name not in parameters or parameters[name].shape != weight.shape:
            raise UserError(f"{path}: {name} {list(weight.shape)} does not fit the model; is this another base?")
        with torch.no_grad():
            parameters[name].copy_(weight)


def load_trained(settings: Model, dtype: torch.dtype) -> InstructBlipForConditionalGeneration:
    """The base with the parts of `settings.finetuned` on it, for evaluation; adapters stay beside their layers.

    Raises:
        UserError: one of both is missing, damaged, or of another architecture.
    """
    settings = with_trained_adapters(settings)
    model = load_model(settings, dtype)
    if settings.finetuned:
        put_on(model, Path(settings.finetuned))
    return model


def write_merged(settings: Model, into: Path) -> None:
    """A whole checkpoint, loaded like any InstructBLIP, of the base and the parts in `settings.finetuned`.

    Weights are stored in the base's own number format.

    Raises:
        UserError: see `load_trained`; or `into` is there, or the disk is too small.
    """
    dtype = load_config(settings).dtype or torch.float32
    model = load_trained(settings, torch.float32)
    merge_adapters(model)
    model.to(dtype)
    size = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
    processor = load_processor(settings.pretrained, model.config.num_query_tokens)
    with whole_folder(into, "merge", size) as folder:
        model.save_pretrained(folder)
        save_processor(processor, folder)


def save_processor(processor: Any, folder: Path) -> None:
    """The image processor and both tokenizers, where `load_processor` and transformers look for them."""
    processor.save_pretrained(folder)
    processor.qformer_tokenizer.save_pretrained(folder / QFORMER_TOKENIZER)
