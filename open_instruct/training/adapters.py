"""LoRA adapters on a base in full precision or, for QLoRA, in 4 bits.

`finetune.py` uses it. Formulas: LoRA, arXiv 2106.09685; QLoRA, arXiv 2305.14314.
"""

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from open_instruct.core.errors import UserError
from open_instruct.training.settings import Settings

# How QLoRA rounds its base to 4 bits. It stands in run.json beside the adapter, by the names of merge_lora's flags:
# the adapter fits the base so rounded, and merging rounds it so again.
IN_4_BITS = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}


def adapter_config(settings: Settings) -> LoraConfig | None:
    """What peft makes the adapter from; None where all weights are trained.

    Raises:
        UserError: both kinds are asked for, or one that cannot be.
    """
    if not settings.adapter:
        return None
    if settings.use_lora and settings.use_qlora:
        raise UserError("--use_lora and --use_qlora: choose one (QLoRA is LoRA on a base in 4 bits)")
    if settings.use_qlora:
        _need_bitsandbytes()
    if settings.lora_r < 1:
        raise UserError(f"--lora_r {settings.lora_r}: expected 1 or more")
    targets = settings.lora_target_modules
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets[0] if targets == ["all-linear"] else list(targets),
        task_type="CAUSAL_LM",
    )


def refuse_missing_layers(model: PreTrainedModel, settings: Settings) -> None:
    """Refuse `--lora_target_modules` of which the model has none.

    Raises:
        UserError: names one, and those the model has.
    """
    if not settings.adapter or settings.lora_target_modules == ["all-linear"]:
        return
    linear = {name for name, layer in model.named_modules() if hasattr(layer, "in_features")}
    for target in settings.lora_target_modules:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            endings = sorted({name.rpartition(".")[2] for name in linear})
            raise UserError(f"--lora_target_modules {target}: the model has no such layer; it has {', '.join(endings)}")


def load_in_4_bits(base: str, bf16: bool) -> PreTrainedModel:
    """The base with its linear layers in NF4, as QLoRA trains on it.

    Args:
        base: folder, or name on the hub.
        bf16: whether its arithmetic is in bfloat16; else in float32.

    Raises:
        UserError: bitsandbytes does not run here.
    """
    kind = torch.bfloat16 if bf16 else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=IN_4_BITS["load_in_4bit"],
        bnb_4bit_quant_type=IN_4_BITS["bnb_4bit_quant_type"],
        bnb_4bit_use_double_quant=IN_4_BITS["use_bnb_nested_quant"],
        bnb_4bit_compute_dtype=kind,
        # As wide as the other weights, so that FSDP and ZeRO-3 can shard them all alike.
        bnb_4bit_quant_storage=kind if bf16 else torch.uint8,
    )
    device = {"": torch.cuda.current_device()} if torch.cuda.is_available() else {"": "cpu"}
    if is_deepspeed_zero3_enabled():  # it deals the weights out by itself
        device = None
    try:
        return AutoModelForCausalLM.from_pretrained(
            base, dtype=kind, quantization_config=quantization, device_map=device
        )
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"--use_qlora: bitsandbytes cannot make 4-bit weights here ({str(error).strip().splitlines()[0]}); "
            "--use_lora trains the same adapter on a base in full precision"
        ) from error


def _need_bitsandbytes() -> None:
    try:
        import bitsandbytes  # noqa: F401
    except Exception as error:  # a wrong build fails with whatever it likes
        raise UserError(
            "--use_qlora needs bitsandbytes, which does not load here "
            f"({next(iter(str(error).splitlines()), type(error).__name__)}): pip install 'bitsandbytes>=0.50,<0.51'; "
            "--use_lora trains the same adapter on a base in full precision"
        ) from error
