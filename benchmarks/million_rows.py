"""One step of stage 1 over a million rows: rows a second, memory, and going on after `kill -9` at half way.

    python benchmarks/million_rows.py [--rows 1000000]

Rows are those of an Alpaca file, numbered to be different; the step is `classify`, answered by the replay engine from
stored answers, so nothing but our own work is timed: reading rows, filling prompts, reading answers, journaling them.
The command that is run is `self_seq.generate` itself; it counts on the side which requests the engine answered. Goals:
at least 5,000 rows/s, memory under 500 MiB and flat from row 100,000 on, going on within 10 s, under 0.1 % asked twice.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
ANSWER = "Its result can be built on, so a task {} is natural.\nSo the option is: {}."
CHILD = """
import os, sys
from open_instruct.core.command import run
from self_seq import generate
counter = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
opened = generate.open_engine
def counting(*arguments):
    engine = opened(*arguments)
    complete = engine.complete
    def counted(requests):
        for completion in complete(requests):
            os.write(counter, b".")
            yield completion
    engine.complete = counted
    return engine
generate.open_engine = counting
run(generate.main, generate.Settings)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--source", help="instruction rows to repeat; default: rows of the embedded miniature")
    parser.add_argument("--output", default=str(ROOT / "output" / "million_rows"), help="folder of the run")
    given = parser.parse_args()
    folder = Path(given.output)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*.journal.jsonl"):
        path.unlink()
    (folder / "answered").unlink(missing_ok=True)
    _write_input(folder, given.rows, given.source)
    journal = folder / "run" / "iteration_1" / "classify.journal.jsonl"

    first = _Run(folder, journal, until=given.rows // 2)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    done = _lines(journal)
    answered = (folder / "answered").stat().st_size
    second = _Run(folder, journal, until=given.rows, before=done)
    second.process.terminate()
    second.process.wait()

    rows = [json.loads(line)["row"] for line in journal.open("rb").readlines()[1:] if line.endswith(b"\n")]
    asked = (folder / "answered").stat().st_size
    share = journal.stat().st_size
    in_step = min(asked, given.rows + answered - done)
    print(f"| {given.rows:,} rows, journal {share / 2**20:,.0f} MiB | first half | second half |")
    print("| --- | ---: | ---: |")
    print(f"| rows/s | {first.rate:,.0f} | {second.rate:,.0f} |")
    print(f"| seconds from the start to the first row | {first.start:.1f} | {second.start:.1f} |")
    print(f"| memory at row 100,000 (second half: at its beginning), MiB | {first.early:,.0f} | {second.early:,.0f} |")
    print(f"| most memory, MiB | {first.most:,.0f} | {second.most:,.0f} |")
    print(f"\nkilled at row {done:,}; rows in the journal: {len(rows):,}, different ones: {len(set(rows)):,};")
    print(f"requests answered until the kill {answered:,}, so asked twice: {answered - done} of {in_step:,}")


class _Run:
    """One process, followed until its journal has `until` rows."""

    def __init__(self, folder: Path, journal: Path, until: int, before: int = 0) -> None:
        command = [sys.executable, "-c", CHILD, str(folder / "answered")]
        command += ["--input_file", str(folder / "in.jsonl"), "--output_dir", str(folder / "run")]
        command += ["--engine", "replay", "--engine_options", f"files={folder / 'answers.jsonl'}"]
        command += ["--iterations", "1", "--it_answers", "none", "--attempts", "1"]
        size_before = journal.stat().st_size if journal.exists() else 0
        begin = time.monotonic()
        self.process = subprocess.Popen(command, stderr=(folder / "log").open("a"))
        memory = psutil.Process(self.process.pid)
        self.start = self.early = self.most = 0.0
        count, lines = before, None
        while count < until:
            if self.process.poll() is not None:
                sys.exit(f"the run ended with code {self.process.returncode}; see {folder / 'log'}")
            time.sleep(0.05)
            now = memory.memory_info().rss / 2**20
            self.most = max(self.most, now)
            size = journal.stat().st_size if journal.exists() else 0
            if size > size_before + 1000 and not self.start:  # the header is shorter
                self.start = time.monotonic() - begin
                lines = _Lines(journal, before)
                began, base = time.monotonic(), lines.count()
            if lines is not None:
                count = lines.count()
                if not self.early and count >= max(100_000 if not before else 0, base):
                    self.early = now
        self.rate = (count - base) / (time.monotonic() - began)


class _Lines:
    """Counts the rows of a growing journal."""

    def __init__(self, path: Path, known: int) -> None:
        self._file = path.open("rb")
        self._count = -1  # the header

    def count(self) -> int:
        while chunk := self._file.read(1 << 22):
            self._count += chunk.count(b"\n")
        return self._count


def _lines(path: Path) -> int:
    return _Lines(path, 0).count()


def _write_input(folder: Path, rows: int, source: str | None) -> None:
    if source:
        from open_instruct.core.records import read_rows

        known = [row for _, row in read_rows(source)]
    else:
        from open_instruct.miniature.make_data import training_rows

        known = list(training_rows(2_000, seed=0))
    with (folder / "in.jsonl").open("w") as inputs, (folder / "answers.jsonl").open("w") as answers:
        for number in range(rows):
            row = known[number % len(known)]
            text = {name: row.get(name, "") for name in ("instruction", "input", "output")}
            text["instruction"] += f" (row {number})"
            inputs.write(json.dumps(text) + "\n")
            where, option = ("before it", "B") if number % 2 else ("after it", "C")
            stored = {"key": number, "step": "classify", "text": ANSWER.format(where, option), "finish_reason": "stop"}
            answers.write(json.dumps(stored) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    main()
