"""How long rows take from a file to packed batches, and how much memory: read, template, mask, pack.

    python benchmarks/prepare_rows.py --source alpaca.json --rows 50000
    python benchmarks/prepare_rows.py --source alpaca.json --rows 1000000

The rows of --source come again and again until there are so many. Without --tokenizer, one of 32,000 tokens is made
from the source first, which is not timed. Memory is the greatest of the process that does it, with all its libraries;
"own" leaves out what is mapped from files, which the system takes back when it wants.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from pathlib import Path

import psutil
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from open_instruct.core.chat import set_template
from open_instruct.core.records import read_instructions


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="file of instruction / input / output rows")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--length", type=int, default=2048, help="tokens of a packed row")
    parser.add_argument("--tokenizer", help="folder; none: made from the source")
    parser.add_argument("--in_folder", help="(the timed process)")
    given = parser.parse_args()
    if given.in_folder:
        measure(Path(given.in_folder), given.length)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = AutoTokenizer.from_pretrained(given.tokenizer) if given.tokenizer else make_tokenizer(given.source)
        set_template(tokenizer, "tulu")
        tokenizer.save_pretrained(folder)
        repeat(given.source, given.rows, folder / "rows.jsonl")
        print(f"{given.rows:,} rows, {(folder / 'rows.jsonl').stat().st_size / 2**20:,.0f} MiB", flush=True)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--in_folder", name], check=True)


def measure(folder: Path, length: int) -> None:
    """Encode and pack in this process, and print the table."""
    from open_instruct.finetune import batch_rows
    from open_instruct.training.rows import encode_rows
    from open_instruct.training.settings import Training
    from open_instruct.training.sources import sources

    tokenizer = AutoTokenizer.from_pretrained(folder)
    training = Training(str(folder / "out"), max_length=length, use_cpu=True, report_to="none")
    watch = Watch()
    libraries = watch.own
    begin = time.monotonic()
    counts = encode_rows(sources([str(folder / "rows.jsonl")]), length, tokenizer, folder / "train.arrow")
    encoded = time.monotonic()
    rows = batch_rows(folder / "train.arrow", training)
    packed = time.monotonic()
    watch.stop()
    filled = counts.tokens / (len(rows) * length)
    print("| step | seconds | rows/s |\n| --- | ---: | ---: |")
    for name, seconds in (
        ("read, template, mask", encoded - begin),
        ("pack, shuffle", packed - encoded),
        ("all", packed - begin),
    ):
        print(f"| {name} | {seconds:.1f} | {counts.rows_read / seconds:,.0f} |")
    print(f"{counts.tokens:,} tokens in {len(rows):,} packed rows, {filled:.1%} filled")
    print(
        f"memory: {watch.most / 2**30:.2f} GiB at most, own {watch.most_own / 2**30:.2f} GiB, "
        f"{libraries / 2**30:.2f} GiB of which are the libraries"
    )


class Watch:
    """The memory of this process, looked at every 50 ms."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.most = self.most_own = 0
        self._look()
        self._stopped = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def own(self) -> int:
        """Bytes that are mapped from no file."""
        memory = self._process.memory_info()
        return memory.rss - memory.shared

    def stop(self) -> None:
        """Look a last time."""
        self._stopped.set()
        self._look()

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            self._look()

    def _look(self) -> None:
        self.most = max(self.most, self._process.memory_info().rss)
        self.most_own = max(self.most_own, self.own)


def repeat(source: str, number: int, into: Path) -> None:
    """Write `number` rows, those of the source again and again."""
    lines = [json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in read_instructions(source)]
    with into.open("w") as file:
        for at in range(number):
            file.write(lines[at % len(lines)])


def make_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 32,000 tokens, trained on the source."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f"{row.prompt}\n{row.output}" for row in read_instructions(source)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


if __name__ == "__main__":
    main()
