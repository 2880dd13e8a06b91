"""Stage 1 killed again and again over a server with faults: its files must be those of an undisturbed run.

    python benchmarks/kills.py [--rows 2000] [--kills 20] [--faults 0.1]

The tests' own server answers for the oracle and injects faults (429, 500, dropped connections, half answers, garbage)
into the given share of its answers. One run is left in peace, without faults; the other is killed with `kill -9` at
random moments and started again, until it ends.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from open_instruct.core.records import write_rows
from open_instruct.miniature.make_data import training_rows

ROOT = Path(__file__).resolve().parent.parent
FILES = ("it.jsonl", "sit.jsonl", "rejected.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--faults", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default=str(ROOT / "output" / "kills"), help="folder of the runs")
    given = parser.parse_args()
    folder = Path(given.output)
    shutil.rmtree(folder, ignore_errors=True)
    write_rows(folder / "in.jsonl", training_rows(given.rows, seed=0))
    rng = random.Random(given.seed)

    with server(0.0) as url:
        begin = time.monotonic()
        subprocess.run(command(folder, "whole", url), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - begin
    kills = 0
    with server(given.faults) as url, (folder / "log").open("w") as log:
        while True:
            process = subprocess.Popen(command(folder, "killed", url), stdout=log, stderr=log)
            try:
                # Moments are spread so that all kills fall within the work of about one run, start-up included.
                process.wait(timeout=rng.uniform(1, 3 + seconds / 3) if kills < given.kills else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                continue
            if process.returncode:
                sys.exit(f"the run ended with code {process.returncode}; see {folder / 'log'}")
            break
    done = json.loads((folder / "killed" / "statistics.json").read_text())
    print(f"{given.rows:,} rows, {kills} kills, {100 * given.faults:.0f} % faults, undisturbed run {seconds:.0f} s")
    for name in FILES:
        same = (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes()
        print(f"  {name}: {'identical' if same else 'DIFFERENT'}")
    adds_up = done["rows_in"] == done["rows_written"] + done["rows_dropped"] == given.rows
    print(
        f"  {done['rows_in']:,} in = {done['rows_written']:,} written + {done['rows_dropped']:,} dropped: "
        f"{'adds up' if adds_up else 'DOES NOT ADD UP'}"
    )
    if kills < given.kills:
        print(f"  the run ended after {kills} kills; give more --rows")


@contextmanager
def server(faults: float):
    """The URL of a fault server."""
    script = ROOT / "tests" / "engines" / "fault_server.py"
    arguments = ["--port", "0", "--faults", str(faults), "--latency_ms", "20", "--seed", "0"]
    process = subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def command(folder: Path, name: str, url: str) -> list[str]:
    options = [f"base_url={url}", "model=oracle", "in_flight=16"]
    return [
        *(sys.executable, "-m", "self_seq.generate", "--input_file", str(folder / "in.jsonl")),
        *("--output_dir", str(folder / name), "--engine", "openai", "--engine_options", *options),
    ]


if __name__ == "__main__":
    main()
