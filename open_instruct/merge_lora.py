"""Merge a LoRA adapter into its base model: one whole checkpoint that transformers and vLLM load as it is.

    python -m open_instruct.merge_lora --base BASE --adapter ADAPTER --output DIR [--dtype bfloat16]

peft does the merging: it adds in float32, and each weight is rounded once. Around it: whether the adapter fits the base
is seen before the base's weights are read; embeddings that grew for added tokens grow in the base too; input and output
embeddings that were one tensor become two where the adapter changes one of them. A base that was in 4 bits while the
adapter was trained (QLoRA) is quantised the same way and dequantised again, so that the adapter meets the weights it
was trained on. Needs no GPU, and memory for the model in its own type (from 4 bits: in float32).
"""

import copy
import importlib.util
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from open_instruct.core import checkpoint
from open_instruct.core.chat import set_template, template_names
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.run_info import FILE_NAME, RunInfo
from open_instruct.core.shards import whole_folder

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("auto", "float32", "bfloat16", "float16")
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass
class Settings:
    base: str = help_field("checkpoint folder (or hub name) of the model that the adapter was trained on")
    adapter: str = help_field("folder of the adapter: adapter_config.json and adapter_model.safetensors")
    output: str = help_field("folder of the merged checkpoint; must not be there yet")
    dtype: str = help_field(f"element type of the merged weights: {', '.join(DTYPES)} (the base's)", "auto")
    load_in_4bit: bool | None = help_field(
        "whether the base was in 4 bits while the adapter was trained; unset: as the run.json beside the adapter says",
        None,
    )
    bnb_4bit_quant_type: str | None = help_field("of those 4 bits: nf4 or fp4; unset: as run.json says, or nf4", None)
    use_bnb_nested_quant: bool | None = help_field(
        "whether their scales were quantised too; unset: as run.json says, or not", None
    )
    any_base: bool = help_field("merge although the adapter's run.json says that it was trained on another base", False)


def main(settings: Settings) -> None:
    """Check that the two fit, load, merge, write.

    Raises:
        UserError: base or adapter are not whole, do not fit each other, or need a package that is missing; the output
            is there already, or the disk is too small.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    adapter = Path(settings.adapter)
    if settings.dtype not in DTYPES:
        raise UserError(f"--dtype {settings.dtype}: choose one of {', '.join(DTYPES)}")
    _check_adapter(adapter)
    if Path(settings.base).exists() or settings.base.startswith((".", "/")) or settings.base.count("/") > 1:
        checkpoint.check(Path(settings.base), chat_template=False)
        _check_trained_on(settings, adapter)
    tokenizer, config = checkpoint.load_tokenizer(settings.base)
    if any((adapter / name).is_file() for name in _TOKENIZER):
        tokenizer = _adapter_tokenizer(adapter)
    quantization = _quantization(settings, adapter, config)
    peft_config = _peft_config(adapter)
    rows, parameters = _check_fits(settings, config, peft_config, len(tokenizer))
    dtype = getattr(torch, settings.dtype) if settings.dtype != "auto" else _own_type(config)
    with (
        whole_folder(Path(settings.output), "merge", parameters * dtype.itemsize) as folder,
        RunInfo(folder, settings) as info,
    ):
        model = _load_base(settings, quantization, torch.promote_types(_own_type(config), dtype))
        merged = _merge(model, settings, peft_config, rows)
        if settings.dtype != "auto" or quantization is not None:
            merged = merged.to(dtype)
        merged.config.dtype = dtype
        _set_generation(merged, adapter, tokenizer)
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        name = str(dtype).removeprefix("torch.")
        info.add(parameters=merged.num_parameters(), vocabulary=rows, dtype=name, from_4_bits=quantization is not None)
    template = "with a chat template" if tokenizer.chat_template else "WITHOUT a chat template"
    print(
        f"{settings.output}: {merged.num_parameters():,} parameters in {name}, vocabulary of {rows:,}, {template}"
        f"{', base dequantised from 4 bits' if quantization is not None else ''}"
    )


def _check_adapter(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such adapter folder. Give the folder that LoRA training wrote.")
    if not (folder / _CONFIG).is_file():
        whole = " It holds a whole model, which needs no merging." if (folder / "config.json").is_file() else ""
        raise UserError(f"{folder}: no {_CONFIG} here, so this is no adapter folder.{whole}")
    if not (folder / _WEIGHTS).is_file():
        raise UserError(f"{folder}: no {_WEIGHTS} here. Did the training come to its end?")


def _check_trained_on(settings: Settings, adapter: Path) -> None:
    """Two models of one shape differ in nothing but their numbers: only the training's own record tells them apart."""
    trained_on = _training_settings(adapter).get("base_digest")
    if settings.any_base or not isinstance(trained_on, str) or len(trained_on) != 64:  # a commit of the hub has 40
        return
    if checkpoint.fingerprint(Path(settings.base)) != trained_on:
        raise UserError(
            f"{settings.base}: is not the base that {adapter} was trained on: its files differ from those that "
            f"{adapter / FILE_NAME} tells of. Give the right --base, or --any_base true to merge all the same."
        )


def _training_settings(adapter: Path) -> dict[str, Any]:
    """The settings of the run that wrote the adapter, where it left a record."""
    try:
        found = json.loads((adapter / FILE_NAME).read_bytes())["settings"]
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _adapter_tokenizer(adapter: Path) -> "PreTrainedTokenizerBase":
    """With the tokens and the chat template of the training."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(adapter)
    except Exception as error:  # the library raises anything for a damaged file
        raise UserError(
            f"{adapter}: its tokenizer cannot be loaded: {_reason(error)}. Copy the folder again."
        ) from error


def _quantization(settings: Settings, adapter: Path, config: "PretrainedConfig") -> Any:
    """How the base is quantised when it is loaded: a BitsAndBytesConfig, "own" as it is stored, or None.

    Raises:
        UserError: bitsandbytes is missing, or the base is quantised in a way that is not undone here.
    """
    own = getattr(config, "quantization_config", None)
    trained = _training_settings(adapter)
    if own is not None:
        own = own if isinstance(own, dict) else own.to_dict()
        if not own.get("load_in_4bit"):
            raise UserError(
                f"{settings.base}: is quantised by {own.get('quant_method')}; of quantised bases only those in 4 bits "
                "by bitsandbytes can be merged into. Give the model in full precision."
            )
    elif not _first(settings.load_in_4bit, trained.get("load_in_4bit"), False):
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "a base in 4 bits needs the package bitsandbytes, which is not installed: pip install the line of it in "
            "requirements-gpu.txt (it works without a GPU too)"
        )
    if own is not None:
        return "own"
    from transformers import BitsAndBytesConfig

    kind = _first(settings.bnb_4bit_quant_type, trained.get("bnb_4bit_quant_type"), "nf4")
    if kind not in ("nf4", "fp4"):
        raise UserError(f"--bnb_4bit_quant_type {kind}: choose nf4 or fp4")
    nested = _first(settings.use_bnb_nested_quant, trained.get("use_bnb_nested_quant"), False)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=bool(nested))


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _peft_config(adapter: Path) -> "LoraConfig":
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(adapter))
    except Exception as error:  # as for tokenizers
        raise UserError(f"{adapter / _CONFIG}: cannot be read: {_reason(error)}. Copy the adapter again.") from error
    if config.peft_type != "LORA":
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise UserError(f"{adapter}: holds an adapter of the kind {kind}, and only LoRA is merged here.")
    return config


def _check_fits(
    settings: Settings, config: "PretrainedConfig", peft_config: "LoraConfig", tokens: int
) -> tuple[int, int]:
    """Compare the adapter's tensors with those that its configuration asks of this base, without the base's weights.

    Returns:
        Rows of the merged model's embeddings (more than the base's where tokens were added), and its parameters.

    Raises:
        UserError: names the first thing that differs.
    """
    from peft import get_peft_model, get_peft_model_state_dict

    stored = _stored_shapes(Path(settings.adapter))
    model = _skeleton(config)
    rows = _rows(settings, model, stored, peft_config, tokens)
    _resize(model, rows)
    parameters = model.num_parameters()
    peft_config = copy.deepcopy(peft_config)
    peft_config.init_lora_weights = False  # some ways of it look at the base's weights
    try:
        with warnings.catch_warnings(action="ignore"):
            fitted = get_peft_model(model, peft_config, low_cpu_mem_usage=True)
            wanted = get_peft_model_state_dict(fitted, save_embedding_layers=False)
            # An adapter of a model that grew also brings the embeddings themselves.
            known = wanted | get_peft_model_state_dict(fitted, save_embedding_layers=True)
    except Exception as error:  # peft raises anything for layers that are not there or not of its kind
        raise _does_not_fit(settings, _reason(error)) from error
    for name, shape in sorted(stored.items()):
        if name not in known:
            raise _does_not_fit(settings, f"the adapter has {name}, and the base no such layer")
        if tuple(known[name].shape) != shape:
            here = list(known[name].shape)
            raise _does_not_fit(settings, f"{name} has the shape {list(shape)}, and for this base it would be {here}")
    missing = sorted(wanted.keys() - stored.keys())
    if missing:
        raise _does_not_fit(settings, f"{len(missing)} tensors are missing in the adapter, such as {missing[0]}")
    return rows, parameters


def _stored_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the adapter's tensors, whose numbers are all finite."""
    shapes = {}
    try:
        with safe_open(adapter / _WEIGHTS, "pt") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                shapes[name] = tuple(tensor.shape)
                if not tensor.isfinite().all():
                    raise UserError(f"{adapter / _WEIGHTS}: {name} holds numbers that are not finite: training failed.")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{adapter / _WEIGHTS}: cannot be read: {_reason(error)}. Copy the adapter again.") from error
    return shapes


def _skeleton(config: "PretrainedConfig") -> "PreTrainedModel":
    """The base without its weights."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _rows(
    settings: Settings,
    model: "PreTrainedModel",
    stored: dict[str, tuple[int, ...]],
    peft_config: "LoraConfig",
    tokens: int,
) -> int:
    """Rows of the embeddings as the adapter has them; at least the base's.

    Raises:
        UserError: they are fewer than the tokenizer's tokens.
    """
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if any(module is layer for layer in layers)]
    own = rows = layers[0].weight.shape[0]
    for key, shape in stored.items():
        if any(f".{name}." in key for name in names):
            if key.endswith("lora_embedding_A"):
                rows = max(rows, shape[1])
            elif key.endswith(".weight") and ".lora_A." not in key:  # the layer itself, or lora_B of the output layer
                rows = max(rows, shape[0])
    indices = peft_config.trainable_token_indices or []
    for chosen in indices.values() if isinstance(indices, dict) else [indices]:
        rows = max([rows, *(index + 1 for index in chosen)])
    if rows < tokens:
        raise _does_not_fit(
            settings,
            f"its tokenizer has {tokens} tokens, the base {own}, and the adapter brings no embeddings for the new ones "
            "(train with modules_to_save embed_tokens and lm_head)",
        )
    return rows


def _resize(model: "PreTrainedModel", rows: int) -> None:
    if rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)


def _does_not_fit(settings: Settings, difference: str) -> UserError:
    return UserError(
        f"{settings.adapter}: does not fit the base {settings.base}: {difference}. Give the base it was trained on."
    )


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _own_type(config: "PretrainedConfig") -> torch.dtype:
    dtype = config.dtype or config.get_text_config().dtype or torch.float32
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype


def _load_base(settings: Settings, quantization: Any, dtype: torch.dtype) -> "PreTrainedModel":
    """The base on the CPU, in `dtype`; from 4 bits in float32, with the numbers that they stand for."""
    if quantization is None:  # "auto" lets weights be that their model keeps in another type
        return checkpoint.load_model(settings.base, "auto" if settings.dtype == "auto" else dtype)
    from transformers import AutoModelForCausalLM

    more = {} if quantization == "own" else {"quantization_config": quantization}
    try:
        model = AutoModelForCausalLM.from_pretrained(settings.base, dtype=torch.float32, device_map="cpu", **more)
        model = model.dequantize(torch.float32)
        # transformers 5.19 remembers how it read the 4 bits, to write them so again, and cannot; None: as new models.
        model._weight_conversions = None
        return model
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise UserError(f"{settings.base}: cannot be loaded in 4 bits: {_reason(error)}.") from error


def _merge(model: "PreTrainedModel", settings: Settings, peft_config: "LoraConfig", rows: int) -> "PreTrainedModel":
    """The base with the adapter's changes in its weights.

    Raises:
        UserError: the adapter brings no numbers for some of the new embeddings.
    """
    from peft import PeftModel

    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    own = model.get_input_embeddings().weight.shape[0]
    _resize(model, rows)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        layer.weight.data[own:] = torch.nan  # resizing invents numbers; what the adapter does not replace is seen below
    with warnings.catch_warnings(action="ignore"):  # peft warns of embeddings that are tied, which `_untie` sees to
        fitted = PeftModel.from_pretrained(model, settings.adapter, config=peft_config, torch_device="cpu")
        _untie(model)
        merged = fitted.merge_and_unload()
    embeddings = (merged.get_input_embeddings().weight, merged.get_output_embeddings().weight)
    if any(weight[own:].isnan().any() for weight in embeddings):
        raise _does_not_fit(
            settings, f"its vocabulary is of {rows}, the base's of {own}, and it lacks embeddings of new tokens"
        )
    if tied and torch.equal(*embeddings):
        merged.config.tie_word_embeddings = True  # peft says no as soon as they lie in two places
        merged.tie_weights()
    return merged


def _untie(model: "PreTrainedModel") -> None:
    """Give the output layer its own weights where the adapter changes one of two layers that share them.

    In training, what was added to the one was not added to the other; merging adds in place, to both.
    """
    from peft.tuners.lora import LoraLayer

    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(isinstance(layer, LoraLayer) for layer in layers):
        first, last = (layer.get_base_layer() if isinstance(layer, LoraLayer) else layer for layer in layers)
        if last.weight is first.weight:
            last.weight = torch.nn.Parameter(last.weight.detach().clone())


def _set_generation(model: "PreTrainedModel", adapter: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Generation stops at the token that the training taught to end a turn with."""
    from transformers import GenerationConfig

    if (adapter / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(adapter)
        return
    chosen = model.generation_config
    known = chosen.eos_token_id if isinstance(chosen.eos_token_id, list) else [chosen.eos_token_id]
    end = _end_of_turn(tokenizer)
    if end is not None and end not in known:
        chosen.eos_token_id = [*(one for one in known if one is not None), end]
    if chosen.pad_token_id is None:
        chosen.pad_token_id = tokenizer.pad_token_id
    checkpoint.drop_unused_sampling(chosen)


def _end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Of the chat template of ours that the tokenizer carries; else its end-of-sequence token."""
    template = tokenizer.chat_template
    try:
        for name in template_names() if template else []:
            try:
                end = set_template(tokenizer, name)
            except UserError:  # a template whose tokens are not there is not this one
                continue
            if tokenizer.chat_template == template:
                return end
        return tokenizer.eos_token_id
    finally:
        tokenizer.chat_template = template


if __name__ == "__main__":
    run(main, Settings)
