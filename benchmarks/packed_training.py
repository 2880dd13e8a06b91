"""Real tokens a second of fine-tuning on a CPU: packed as here, padded, and packed as TRL alone does it.

    python benchmarks/packed_training.py --source alpaca.json --rows 2000
    python benchmarks/packed_training.py --source alpaca.json --rows 200 --model 60m

Every contender trains on the same rows for one epoch, all tokens of all rows, through its own trainer; 128 rows or so
an optimizer step. They take turns `--repeats` times; the table shows the median. Padding is nobody's token. The rows
are drawn from the source; with `--model 60m`, a Llama of 60 M parameters with random weights, and a tokenizer of 32,000
tokens made from the source. Rows longer than the packed length lose their end (ours and TRL's), and those tokens are
not counted. Goals: 1.8 x padded batches of 8, 2.2 x of 16, 1.0 x the better of TRL's.
"""

import json
import random
import statistics
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import datasets
import torch
import transformers
from datasets import Dataset
from prepare_rows import make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Trainer
from trl import SFTConfig, SFTTrainer

from open_instruct.core import checkpoint
from open_instruct.core.records import read_instructions
from open_instruct.finetune import batch_rows, load_tokenizer
from open_instruct.training.rows import Counts, encode_rows, open_rows
from open_instruct.training.settings import Settings, Training
from open_instruct.training.sources import sources
from open_instruct.training.speed import Speed
from open_instruct.training.trainer import build_trainer

BASE = Path(__file__).resolve().parents[1] / "open_instruct" / "miniature" / "base"
ROWS_A_STEP = 128  # about so many examples an optimizer step, for all


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="file of instruction / input / output rows")
    parser.add_argument("--rows", type=int, default=1000, help="rows that are trained on")
    parser.add_argument("--model", choices=("miniature", "60m"), default="miniature")
    parser.add_argument("--length", type=int, default=512, help="tokens of our packed row, and of TRL's")
    parser.add_argument("--batch", type=int, default=4, help="packed rows of ours a forward pass")
    parser.add_argument("--max_length", type=int, default=2048, help="longest row that is padded")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of contenders, as the table shows them")
    given = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = BASE if given.model == "miniature" else make_model(folder / "base", given.source)
        contenders = make_contenders(folder, base, given)
        if given.only:
            contenders = {name: contenders[name] for name in given.only}
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(given.repeats):
            for name, (make, tokens) in contenders.items():
                rates[name].append(tokens / seconds_of(make()))
    print(f"{given.rows:,} rows, {torch.get_num_threads()} threads, {given.model}, median of {given.repeats}")
    print("| batches | real tokens/s | ours is faster by |\n| --- | ---: | ---: |")
    ours = statistics.median(next(iter(rates.values())))
    for name, measured in rates.items():
        rate = statistics.median(measured)
        print(f"| {name} | {rate:,.0f} | {ours / rate:.2f} |")


def seconds_of(trainer: Trainer) -> float:
    """Of the training itself, without what is loaded and written around it."""
    begin = time.perf_counter()
    trainer.train()
    return time.perf_counter() - begin


def make_contenders(folder: Path, base: Path, given) -> dict[str, tuple[Callable[[], Trainer], int]]:
    """What makes the trainer of each, and the real tokens of its epoch."""
    file = folder / "rows.jsonl"
    rows = [row for row in read_instructions(given.source) if row.output.strip()]
    rows = random.Random(0).sample(rows, given.rows)
    file.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    settings = Settings(str(base), [str(file)])
    tokenizer, end_of_turn = load_tokenizer(settings)
    counts = {}
    for length in (given.length, given.max_length):  # rows beyond the packed length are cut off, in TRL's packing too
        counts[length] = encode_rows(sources([str(file)]), length, tokenizer, folder / f"{length}.arrow")
    examples = given.batch * given.length * given.rows / counts[given.length].tokens

    def with_ours(batch: int, length: int, packing: bool, passes: float) -> tuple[Callable[[], Trainer], int]:
        def make() -> Trainer:
            training = Training(
                **_shared(folder), max_length=length, packing=packing, per_device_train_batch_size=batch,
                gradient_accumulation_steps=max(1, round(passes)),
            )  # fmt: skip
            batches = batch_rows(folder / f"{length}.arrow", training)
            return build_trainer(
                settings, training, batches, tokenizer, end_of_turn, {}, Speed(1.0, None, training.device)
            )

        return make, counts[length].tokens

    def with_trl(batch: int) -> tuple[Callable[[], Trainer], int]:
        def make() -> Trainer:
            passes = max(1, round(ROWS_A_STEP / (examples * batch / given.batch)))
            arguments = SFTConfig(
                **_shared(folder), max_length=given.length, packing=True, per_device_train_batch_size=batch,
                gradient_accumulation_steps=passes, lr_scheduler_type="linear", learning_rate=2e-5, bf16=False,
            )  # fmt: skip
            ids: Dataset = open_rows(folder / f"{given.length}.arrow")
            model = checkpoint.load_model(base, torch.float32)
            return SFTTrainer(model, arguments, train_dataset=ids, processing_class=tokenizer)

        return make, counts[given.length].tokens

    found = {
        f"ours, packed {given.batch} x {given.length}": with_ours(
            given.batch, given.length, True, ROWS_A_STEP / examples
        ),
        "padded, 8": with_ours(8, given.max_length, False, ROWS_A_STEP / 8),
        "padded, 16": with_ours(16, given.max_length, False, ROWS_A_STEP / 16),
        f"TRL, packed 1 x {given.length}": with_trl(1),
    }
    if given.batch > 1:
        found[f"TRL, packed {given.batch} x {given.length}"] = with_trl(given.batch)
    _tell(counts[given.max_length])
    return found


def _shared(folder: Path) -> dict:
    return dict(
        output_dir=str(folder / "out"), num_train_epochs=1, gradient_checkpointing=False, use_cpu=True,
        disable_tqdm=True, logging_strategy="no", logging_first_step=False, save_strategy="no", report_to="none",
    )  # fmt: skip


def _tell(counts: Counts) -> None:
    lengths = counts.lengths
    print(f"tokens of a row: mean {lengths.mean():.0f}, longest {lengths.max()}", flush=True)


def make_model(folder: Path, source: str) -> Path:
    """A Llama of 60 M parameters with random weights, and its tokenizer."""
    tokenizer = make_tokenizer(source)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
