"""How long the programs of a HumanEval run take in the sandbox, beside one interpreter a program without any walls.

    python benchmarks/sandbox.py --problems HumanEval.jsonl.gz

The programs are canonical solutions and, every fourth, one that is wrong. "bare" starts an interpreter with program and
tests in it, as many at once. Wanted: 164 x 20 programs in under 5 minutes on 2 cores.
"""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from eval import sandbox
from eval.code_answers import stub
from eval.sandbox import Case
from open_instruct.core.command import help_field, run


@dataclass
class Settings:
    problems: str = help_field("HumanEval.jsonl.gz")
    samples: int = help_field("programs a problem", 20)
    workers: int = help_field("programs at once; 0 is one a core", 0)


def main(settings: Settings) -> None:
    with gzip.open(settings.problems, "rt") as file:
        problems = [json.loads(line) for line in file]
    cases = [case(problem, sample) for problem in problems for sample in range(settings.samples)]
    workers = settings.workers or len(os.sched_getaffinity(0))
    sandbox.require()
    print(f"| {len(cases):,} programs, {workers} at once | seconds | ms a program and worker | passed |")
    print("| --- | ---: | ---: | ---: |")
    for name, verdicts in (("sandbox", in_sandbox), ("bare", bare)):
        seconds, passed = timed(verdicts, cases, workers)
        print(f"| {name} | {seconds:.1f} | {1000 * seconds * workers / len(cases):.1f} | {passed:,} |", flush=True)


def case(problem: dict, sample: int) -> Case:
    program = problem["prompt"] + (problem["canonical_solution"] if sample % 4 else "    return 'wrong'\n")
    entry = problem["entry_point"]
    return Case(program, f"{problem['test']}\ncheck({entry})\n", (entry,), stub(problem["prompt"]))


def timed(verdicts: Callable[[list[Case], int], list[bool]], cases: list[Case], workers: int) -> tuple[float, int]:
    start = time.perf_counter()
    passed = sum(verdicts(cases, workers))
    return time.perf_counter() - start, passed


def in_sandbox(cases: list[Case], workers: int) -> list[bool]:
    return [verdict.passed for verdict in sandbox.run(cases, sandbox.Limits(seconds=20.0), workers)]


def bare(cases: list[Case], workers: int) -> list[bool]:
    def passes(one: Case) -> bool:
        source = f"{one.program}\n\n{one.tests}"
        command = [sys.executable, "-S", "-c", source]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(passes, cases))


if __name__ == "__main__":
    run(main, Settings)
