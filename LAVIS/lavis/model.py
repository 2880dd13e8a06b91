"""Loads an InstructBLIP and decides which of its weights train: Q-Former and projection, and what the settings add."""

import torch
from torch import nn
from transformers import AutoConfig, InstructBlipConfig, InstructBlipForConditionalGeneration

from lavis.settings import ARCHITECTURES, Model
from open_instruct.core.errors import UserError


def load_config(settings: Model) -> InstructBlipConfig:
    """The checkpoint's configuration, checked against `settings.arch`.

    Raises:
        UserError: it cannot be read, is no InstructBLIP, or has a language model of another family.
    """
    if settings.arch not in ARCHITECTURES:
        raise UserError(f"model.arch: {settings.arch!r} is none of {', '.join(ARCHITECTURES)}")
    try:
        config = AutoConfig.from_pretrained(settings.pretrained)
    except Exception as error:  # the library raises anything for a damaged file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise UserError(
            f"model.pretrained: {settings.pretrained}: no checkpoint can be loaded from there: {reason}. Give the "
            "folder of an InstructBLIP, or a name on the hub whose files are in the local cache"
        ) from error
    if not isinstance(config, InstructBlipConfig):
        raise UserError(f"model.pretrained: {settings.pretrained} is of type {config.model_type}, not instructblip")
    family, found = ARCHITECTURES[settings.arch], config.text_config.model_type
    if found != family:
        fitting = [name for name, one in ARCHITECTURES.items() if one == found]
        hint = f"; it fits model.arch: {fitting[0]}" if fitting else ""
        raise UserError(
            f"model.arch: {settings.arch} has a language model of type {family}, but {settings.pretrained} one of "
            f"type {found}{hint}"
        )
    return config


def load_model(settings: Model, frozen_dtype: torch.dtype) -> InstructBlipForConditionalGeneration:
    """The model on the CPU, with adapters where they are asked for, and with only what is to train marked so.

    Args:
        frozen_dtype: of the weights that stay as they are; those that train are in float32, where a step of 1e-5 does
            not round away.

    Raises:
        UserError: the checkpoint cannot be loaded, or the layers for adapters are not there.
    """
    load_config(settings)
    try:
        model, report = InstructBlipForConditionalGeneration.from_pretrained(
            settings.pretrained, dtype=frozen_dtype, output_loading_info=True
        )
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise UserError(f"model.pretrained: {settings.pretrained}: cannot be loaded: {reason}") from error
    if report["missing_keys"]:
        names = sorted(report["missing_keys"])
        raise UserError(f"model.pretrained: {settings.pretrained}: {len(names)} weights are missing ({names[0]}, ...)")
    add_adapters(model, settings)
    mark_trained(model, settings)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or name.startswith("qformer."):  # one type in one module, its unused part too
            parameter.data = parameter.data.float()
    return model


def add_adapters(model: InstructBlipForConditionalGeneration, settings: Model) -> None:
    """Put LoRA adapters into the language model, if the settings ask for them.

    Raises:
        UserError: the language model is to train whole as well, or has no layers of these names.
    """
    if not settings.use_lora:
        return
    if not settings.freeze_llm:
        raise UserError("model.use_lora: the language model would train whole as well; set model.freeze_llm: true")
    from peft import LoraConfig, inject_adapter_in_model  # seconds, which only adapters need

    targets = settings.lora_target_modules
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=_linear_layers(model.language_model) if targets == ["all-linear"] else targets,
    )
    try:
        inject_adapter_in_model(config, model.language_model)
    except ValueError as error:
        layers = sorted({name.split(".")[-1] for name in _linear_layers(model.language_model)})
        raise UserError(f"model.lora_target_modules: no layer is named {targets}; there are: {layers}") from error


def mark_trained(model: InstructBlipForConditionalGeneration, settings: Model) -> None:
    """Set `requires_grad` of every weight: query tokens, Q-Former, projection, adapters, and what is not frozen."""
    unused = f"qformer.encoder.layer.{model.config.qformer_config.num_hidden_layers - 1}"
    for name, parameter in model.named_parameters():
        trained = (
            name == "query_tokens"
            or name.startswith(("qformer.", "language_projection."))
            or (name.startswith("vision_model.") and not settings.freeze_vit)
            or (name.startswith("language_model.") and not settings.freeze_llm)
            or "lora_" in name
        )
        # What the last layer makes of the text is looked at by nobody, so no gradient ever comes there.
        if name.startswith((f"{unused}.intermediate.", f"{unused}.output.")):
            trained = False
        parameter.requires_grad_(trained)


def merge_adapters(model: nn.Module) -> None:
    """Add the adapters to the weights they stand beside, and take them out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def _linear_layers(model: nn.Module) -> list[str]:
    return [name for name, one in model.named_modules() if isinstance(one, nn.Linear) and not name.endswith("lm_head")]
