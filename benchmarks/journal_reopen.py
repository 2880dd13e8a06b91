"""How long it takes to reopen a journal, and how much memory, beside reading every line into a dict.

    python benchmarks/journal_reopen.py

Each line of the table comes from a process of its own. "naive" is what one would write first: `json.loads` of every
line, kept in a dict by row. Wanted: 1,000,000 rows reopened in under 5 s and 200 MiB.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from open_instruct.core.command import help_field, run

ABOUT = {"step": "respond", "input": "benchmark"}


@dataclass
class Settings:
    rows: int = help_field("rows in the journal", default=1_000_000)
    characters: int = help_field("length of each stored answer; 650 are about 150 tokens", default=650)
    folder: str = help_field("where the journal is written, and removed again", default=tempfile.gettempdir())
    part: str = help_field("measure one part only, in this process, on the file FOLDER; used by the bench", default="")


def main(settings: Settings) -> None:
    if settings.part:
        print(json.dumps(measured(settings)))
        return
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        path = os.path.join(folder, "journal.jsonl")
        write, reopen, naive = (in_its_own_process(part, path, settings) for part in ("write", "reopen", "naive"))
        megabytes = os.path.getsize(path) / 2**20
    print(f"| {settings.rows:,} rows, {megabytes:,.0f} MiB | seconds | peak memory, MiB |")
    print("| --- | ---: | ---: |")
    for name, part in (("write", write), ("reopen", reopen), ("naive: json.loads each line", naive)):
        print(f"| {name} | {part['seconds']:.2f} | {part['mebibytes']:.0f} |")


def in_its_own_process(part: str, path: str, settings: Settings) -> dict:
    command = [sys.executable, __file__, "--part", part, "--folder", path]
    command += ["--rows", str(settings.rows), "--characters", str(settings.characters)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measured(settings: Settings) -> dict:
    """Seconds of one part and the peak memory of this process, Python and its command line included."""
    start = time.perf_counter()
    PARTS[settings.part](settings)
    seconds = time.perf_counter() - start
    with open("/proc/self/status") as status:  # `ru_maxrss` begins with the memory of the process that started this one
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return {"seconds": seconds, "mebibytes": peak / 1024}


def write(settings: Settings) -> None:
    from open_instruct.core.journal import Journal

    text = ("A sequence of tasks is followed one by one. " * settings.characters)[: settings.characters]
    with Journal(settings.folder, ABOUT) as journal:
        for row in range(settings.rows):
            journal.add(row, {"text": text, "finish_reason": "stop"})


def reopen(settings: Settings) -> None:
    from open_instruct.core.journal import Journal

    with Journal(settings.folder, ABOUT) as journal:
        assert len(journal) == settings.rows


def naive(settings: Settings) -> None:
    with open(settings.folder) as file:
        next(file)
        done = {row["row"]: row["value"] for row in map(json.loads, file)}
    assert len(done) == settings.rows


PARTS = {"write": write, "reopen": reopen, "naive": naive}

if __name__ == "__main__":
    run(main, Settings)
