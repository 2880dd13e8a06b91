"""README.md of a fine-tuned checkpoint: what it was made from, on what, how, and with which code.

`finetune.py` writes it, into the folder that is shared.
"""

from pathlib import Path
from typing import Any

from open_instruct.core.records import replacing
from open_instruct.core.run_info import git_state, versions

# Settings that a reader wants to know; all of them stand in run.json.
_TOLD = (
    *("total_batch_size", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "num_train_epochs"),
    *("max_steps", "max_length", "packing", "bf16", "optim", "seed", "world_size", "sharding", "prompt_template"),
    *("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"),
)


def write_model_card(folder: Path, description: dict[str, Any], results: dict[str, Any]) -> None:
    """Write `folder/README.md`.

    Args:
        folder: of the checkpoint.
        description: what the result depends on, as `finetune.describe` gives it.
        results: counts of rows and tokens, first and last loss, steps.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    with replacing(folder / "README.md") as write:
        write(_card(folder.name, description, results).encode())


def _card(name: str, description: dict[str, Any], results: dict[str, Any]) -> str:
    adapter = description["use_lora"] or description["use_qlora"]
    base = _public_name(description["model_name_or_path"])
    head = ["---", f"library_name: {'peft' if adapter else 'transformers'}", "pipeline_tag: text-generation"]
    if "/" in base:
        head.append(f"base_model: {base}")
    head += ["tags:", "- sequential-instruction-tuning", "- sft", *(["- lora"] if adapter else []), "---"]
    what = "A LoRA adapter for" if adapter else "A fine-tuned"
    held_out = f", {results['eval_loss']:.4f} on held-out rows then" if "eval_loss" in results else ""
    body = [
        f"# {name}",
        f"{what} `{base}`{'' if adapter else ' model'}, trained to follow instructions. The chat template "
        f"(`{description['prompt_template']}`) is in the tokenizer: `tokenizer.apply_chat_template(messages, "
        "add_generation_prompt=True)`.",
        "## Data",
        _table(
            ("file", "amount", "SHA-256"),
            [
                (Path(text).name.partition("=")[0], f"{rows:,} rows" if rows else f"{times:g}x", f"`{digest}`")
                for text, (rows, times), digest in zip(
                    description["train_file"],
                    description["train_file_amount"],
                    description["train_file_sha256"],
                    strict=True,
                )
            ],
        ),
        f"{results['rows_kept']:,} rows of {results['rows_read']:,}, {results['rows_truncated']:,} of them cut off at "
        f"{description['max_length']:,} tokens; {results['tokens']:,} tokens, the loss taken on the "
        f"{results['trained_tokens']:,} that the assistant says.",
        "## Training",
        _table(
            ("setting", "value"),
            [
                (f"`{name}`", str(description[name]))
                for name in _TOLD
                if description.get(name) not in (None, "") and (adapter or not name.startswith("lora_"))
            ],
        ),
        f"Loss {results['first_loss']:.4f} at the first step, {results['last_loss']:.4f} at the last of "
        f"{results['steps']:,}{held_out}.",
        "## Made with",
        _made_with(),
    ]
    return "\n".join(head) + "\n\n" + "\n\n".join(body) + "\n"


def _made_with() -> str:
    git = git_state()
    commit = f"commit `{git['commit']}`{', with local changes' if git['dirty'] else ''}; " if git else ""
    packages = {name: version for name, version in versions().items() if name not in ("vllm", "lm-eval", "numpy")}
    return commit + ", ".join(f"{package} {version}" for package, version in packages.items())


def _public_name(model: str) -> str:
    """A hub name as it is; of a folder its last part, since where it lies is nobody's business."""
    return model if model.count("/") == 1 and not model.startswith((".", "/", "~")) else Path(model).name


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
