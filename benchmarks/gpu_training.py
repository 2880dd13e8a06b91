"""Tokens a second and MFU of fine-tuning on a GPU, ours beside TRL with its own defaults, in one run.

    python benchmarks/gpu_training.py                                  # Llama-3-8B's shape, one GPU of 80 GB or more
    python benchmarks/gpu_training.py --only lora trl_lora --length 8192
    python benchmarks/gpu_training.py --shape miniature --length 128   # on a CPU, to see that it runs: no figures

Random weights in the shape of the model, packed rows, bfloat16, gradient checkpointing; the loss is of the assistant's
tokens, for TRL too, which else has every default of its own. Each contender is a process of its own: what another left
in memory is not its memory. Tokens are real ones, MFU is of the model's arithmetic by `training/speed.py`, also for
TRL; the first two steps are not counted. Out of memory is a result. Without --source the rows are made up, of words, as
long as Alpaca's. The base is written to --folder (16 GB for 8B) and used again. Goal: MFU 50 % on an H100 or H200.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from prepare_rows import make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Trainer
from trl import SFTConfig, SFTTrainer

from open_instruct.core.chat import set_template
from open_instruct.core.records import read_instructions
from open_instruct.finetune import batch_rows, load_tokenizer
from open_instruct.training import plan
from open_instruct.training.adapters import adapter_config
from open_instruct.training.offloading import compile_adam
from open_instruct.training.packing import real_tokens
from open_instruct.training.rows import encode_rows
from open_instruct.training.settings import Settings, Training
from open_instruct.training.sources import conversations, sources
from open_instruct.training.speed import Speed, flops_per_token, peak_flops, peak_memory
from open_instruct.training.trainer import build_trainer

ROOT = Path(__file__).resolve().parents[1]
WARM = 2  # steps that are not counted
SHAPES = {
    "llama3-8b": LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    ),
    "miniature": LlamaConfig(
        vocab_size=32_000, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=8192, tie_word_embeddings=False,
    ),
}  # fmt: skip
# Ours, and TRL with the same optimizer. 8-bit Adam over float32 weights wants 82 GB for 8B: an H200.
CONTENDERS = {
    "lora": dict(lora=True),
    "trl_lora": dict(lora=True),
    "full_offload": dict(deepspeed="zero2_offload"),
    "full_8bit": dict(optim="adamw_8bit"),
    "trl_full_8bit": dict(optim="adamw_8bit"),
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama3-8b")
    parser.add_argument("--length", type=int, default=4096, help="tokens of a packed row")
    parser.add_argument("--batch", type=int, default=1, help="packed rows a forward pass")
    parser.add_argument("--passes", type=int, default=4, help="forward passes an optimizer step")
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps; the first two are not counted")
    parser.add_argument("--source", help="file of instruction / input / output rows; none: made up")
    parser.add_argument("--folder", help="for the base and the rows; kept. None: a temporary one")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--one", choices=CONTENDERS, help="(the process of one contender)")
    given = parser.parse_args()
    if given.shape != "miniature" and not has_gpu():
        parser.error(f"torch sees no GPU for {given.shape}; --shape miniature --length 256 tries the command on a CPU")
    if given.one:
        measure(given, Path(given.folder))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(given.folder or name)
        make_base(folder, given)
        print(f"{device_name()}, {given.shape}, {given.batch} x {given.length} tokens x {given.passes} passes")
        print("| contender | real tokens/s | MFU | peak GiB | last loss |\n| --- | ---: | ---: | ---: | ---: |")
        for one in given.only:
            print(row_of(one, folder), flush=True)


def row_of(one: str, folder: Path) -> str:
    """Run a contender in a process of its own; its line of the table."""
    launcher = ["-m", "open_instruct.training.launch", "--standalone", "--nproc_per_node", "1"]
    command = [sys.executable, *launcher, __file__, *sys.argv[1:], "--folder", str(folder), "--one", one]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    figures = folder / f"{one}.json"
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no word"]
        why = "out of memory" if "out of memory" in done.stderr.lower() else next(
            (line for line in reversed(said) if "Error" in line or "error" in line), said[-1]
        )  # fmt: skip
        return f"| {one} | {why[:100]} | | | |"
    found = json.loads(figures.read_text())
    figures.unlink()
    mfu = "-" if found["mfu"] is None else f"{found['mfu']:.1%}"
    return f"| {one} | {found['rate']:,.0f} | {mfu} | {found['memory']:.1f} | {found['loss']:.3f} |"


def measure(given: Namespace, folder: Path) -> None:
    """Train as the contender does and write its figures."""
    chosen = CONTENDERS[given.one]
    settings = Settings(str(folder / "base"), [str(folder / "rows.jsonl")], use_lora=chosen.get("lora", False))
    common = dict(
        output_dir=str(folder / "out"), max_length=given.length, packing=True, max_steps=given.steps,
        per_device_train_batch_size=given.batch, gradient_accumulation_steps=given.passes, use_cpu=not has_gpu(),
        optim=chosen.get("optim", "adamw_torch_fused"), learning_rate=1e-5, save_strategy="no", logging_steps=1,
        report_to="none", disable_tqdm=True, bf16=has_gpu(),
    )  # fmt: skip
    deepspeed = chosen.get("deepspeed")
    training = Training(**common, deepspeed=deepspeed and str(ROOT / "ds_configs" / f"{deepspeed}.json"))
    if deepspeed:
        compile_adam()
    tokenizer, end_of_turn = load_tokenizer(settings)
    counts = encode_rows(sources(settings.train_file), given.length, tokenizer, folder / "rows.arrow")
    if given.one.startswith("trl_"):
        talks = [{"messages": messages} for messages, _ in conversations(sources(settings.train_file)[0], 0)]
        trainer = trl_trainer(settings, common, talks, tokenizer)
    else:
        rows = batch_rows(folder / "rows.arrow", training)
        trainer = build_trainer(settings, training, rows, tokenizer, end_of_turn, {}, Speed(1.0, None, training.device))
    clock = Clock(trainer, given.passes)
    trainer.train()
    rate = clock.rate()
    flops = flops_per_token(shape_of(settings), counts, settings.adapter)
    peak = peak_flops(training.device, training.bf16)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    figures = {
        "rate": rate,
        "mfu": rate * flops / peak if peak else None,
        "memory": peak_memory(training.device),
        "loss": losses[-1],
    }
    (folder / f"{given.one}.json").write_text(json.dumps(figures))


def trl_trainer(settings: Settings, common: dict, talks: list[dict], tokenizer) -> Trainer:
    """TRL as it comes: it loads the model, packs and batches by itself."""
    from datasets import Dataset

    return SFTTrainer(
        settings.model_name_or_path,
        SFTConfig(**common, assistant_only_loss=True),
        train_dataset=Dataset.from_list(talks),
        processing_class=tokenizer,
        peft_config=adapter_config(settings),
    )


class Clock:
    """Real tokens and seconds of each optimizer step, whoever trains."""

    def __init__(self, trainer: Trainer, passes: int) -> None:
        self._passes = passes
        self._tokens: list[int] = []
        self._times: list[float] = []
        inner = trainer.training_step

        def training_step(model, inputs, *more):
            self._tokens.append(real_tokens(inputs))
            loss = inner(model, inputs, *more)
            if has_gpu():
                torch.cuda.synchronize()
            self._times.append(time.perf_counter())
            return loss

        trainer.training_step = training_step

    def rate(self) -> float:
        """The median over the steps that count; a step is from the end of its first pass to that of the next step's."""
        starts = range(WARM * self._passes, len(self._times) - self._passes, self._passes)
        rates = [
            sum(self._tokens[at + 1 : at + 1 + self._passes]) / (self._times[at + self._passes] - self._times[at])
            for at in starts
        ]
        return statistics.median(rates)


def shape_of(settings: Settings) -> plan.Shape:
    config = AutoConfig.from_pretrained(settings.model_name_or_path)
    return plan.shape_of(config, adapter_config(settings))


def make_base(folder: Path, given: Namespace) -> None:
    """Rows, tokenizer and random weights, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    make_rows(folder / "rows.jsonl", given)
    if (folder / "base" / "config.json").exists():
        return
    tokenizer = make_tokenizer(str(folder / "rows.jsonl"))
    set_template(tokenizer, "tulu")
    config = SHAPES[given.shape]
    config.update({"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id})
    torch.manual_seed(0)
    with torch.device("cuda" if has_gpu() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if has_gpu() else torch.float32)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")


def make_rows(path: Path, given: Namespace) -> None:
    """Enough rows for all steps."""
    wanted = given.steps * given.batch * given.passes * given.length * 1.2  # tokens
    draw = random.Random(0)
    if given.source:
        rows = [row.to_json() for row in read_instructions(given.source) if row.output.strip()]
    else:
        words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
        rows = [
            {
                "instruction": " ".join(draw.choices(words, k=draw.randint(5, 25))),
                "output": " ".join(draw.choices(words, k=round(draw.lognormvariate(3.8, 0.9)) + 1)),
            }
            for _ in range(20_000)
        ]
    size = 0
    with path.open("w") as file:
        while size < 4 * wanted:  # characters
            for row in rows:
                line = json.dumps(row) + "\n"
                file.write(line)
                size += len(row["output"])
                if size >= 4 * wanted:
                    break


def has_gpu() -> bool:
    return torch.cuda.is_available()


def device_name() -> str:
    return torch.cuda.get_device_name() if has_gpu() else f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
