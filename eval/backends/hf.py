"""The checkpoint in transformers: on any device, the reference for the other backends; the slowest of them on a GPU."""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from eval.backends.base import NONE, Needs, Plan
from eval.backends.window import SPARE
from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError


def check(plan: Plan, needs: Needs) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: the folder is no whole checkpoint, or there are options.
    """
    if plan.options:
        raise UserError("backend hf has no --backend_options; its settings are --device, --dtype and --batch_size")
    checkpoint.check(Path(plan.model), chat_template=bool(needs.chat))


def identity(plan: Plan) -> dict[str, Any]:
    """What answers depend on; in number formats shorter than float32 also the batch, and what works it out."""
    found = {"checkpoint": checkpoint.fingerprint(Path(plan.model)), "dtype": plan.dtype}
    if (plan.dtype if plan.dtype != "auto" else _dtype_of(Path(plan.model))) == "float32":
        return found
    import torch

    device = plan.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with suppress(ValueError, RuntimeError, AssertionError):  # no GPU; a device that is not there is told on loading
        device = torch.cuda.get_device_name(device)
    return {**found, "batch_size": plan.batch_size, "device": device}


def open_model(plan: Plan, needs: Needs = NONE) -> Any:
    """lm_eval's own model for transformers.

    Raises:
        UserError: a file of the checkpoint is damaged, or the device is not usable.
    """
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM

    transformers.logging.set_verbosity_error()
    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)  # warns of a model that is loaded already
    tokenizer, _ = checkpoint.load_tokenizer(plan.model)  # by name, HFLM would load one that never writes a first token
    model = checkpoint.load_model(plan.model, plan.dtype)
    ends = model.generation_config.eos_token_id
    # What the checkpoint suggests (top_p, a penalty) must not mix with what a task asks for.
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends)
    device = plan.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not usable for this model ({str(error).splitlines()[0]})") from error
    found = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=plan.batch_size,
        add_bos_token=False,  # the chat template puts in every special token that belongs there
        softmax_dtype="float32",  # likelihoods in bfloat16 would have three digits
    )
    found._max_length = found.max_length - SPARE
    return found


def _dtype_of(model: Path) -> str:
    """The number format of a checkpoint's weights; "" where its configuration does not say."""
    try:
        config = json.loads((model / "config.json").read_bytes())
        return config.get("dtype") or config.get("torch_dtype") or ""
    except (ValueError, AttributeError):  # damaged, which is told on loading
        return ""
