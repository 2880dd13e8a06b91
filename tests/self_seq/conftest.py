"""A finished run of stage 1 as its files stand in a folder, for the tests of the report, the card and the upload."""

import json
from pathlib import Path

import pytest

NASTY = '</script><script>alert(1)</script> <img src=x onerror=alert(2)> {{ 7 * 7 }} ``` | --- & "quoted" \u2028'


def row(number: int, **more) -> dict:
    return {
        "id": number,
        "instruction": f"First write a short story about town {number}, then name its hero.",
        "input": "",
        "output": f"A story of {number} words.\nIts hero is Ada.",
        "options": ["C", "D"],
        "original_instruction": f"Write a short story about town {number}.",
        **more,
    }


@pytest.fixture
def finished_run(tmp_path):
    """Makes the folder: `finished_run(rows=..., statistics=..., it=True)`; what is given replaces the usual."""

    def make(rows: list[dict] | None = None, statistics: dict | None = None, it: bool = True) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        kept = {"instruction": "Describe a lake.", "original_instruction": "Describe a lake.", "options": ["D"]}
        rows = [row(n) for n in range(30)] + [row(n, **kept) for n in range(30, 40)] if rows is None else rows
        plain = [
            {key: value for key, value in one.items() if key != "original_instruction"}
            | {"instruction": one.get("original_instruction", one["instruction"]), "output": "Short."}
            for one in rows
        ]
        rejected = [
            {
                "id": 40 + n,
                "row": 40 + n,
                "instruction": f"Draw {NASTY}",
                "dropped": n < 4,
                "failures": [{"step": "respond_sit", "reason": f"empty answer\nof row {n}", "answer": NASTY * 100}],
            }
            for n in range(5)
        ]
        for name, lines in {"sit": rows, "rejected": rejected, **({"it": plain} if it else {})}.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        (folder / "statistics.json").write_text(json.dumps(STATISTICS | (statistics or {})))
        (folder / "run.json").write_text(json.dumps(RUN))
        return folder

    return make


STATISTICS = {
    "rows_in": 50,
    "rows_written": 40,
    "rows_dropped": 10,
    "rows_written_with_a_failed_step": 1,
    "rows_screened": {"near-duplicate": 4, "contaminated": 2},
    "iterations": [
        {"A": 0, "B": 0, "C": 33, "D": 10, "unreadable": 1},
        {"A": 4, "B": 0, "C": 0, "D": 40, "unreadable": 0},
    ],
    "rejected": {"respond_sit: empty answer": 5},
    "tokens": {
        "classify": {"answers": 84, "in": 8400, "out": 840},
        "respond_sit": {"answers": 44, "in": 880, "out": 990},
    },
    "spent": {
        "classify": {"answers": 84, "tokens_in": 8400, "tokens_out": 840, "seconds": 40.0},
        "respond_sit": {"answers": 44, "tokens_in": 880, "tokens_out": 990, "seconds": 60.0},
    },
    "seconds": 100.0,
    "cost": 0.25,
    "judge": {
        "rows": 20,
        "engine": "openai",
        "tasks_before": {"1": 15, "2": 3},
        "tasks_after": {"2": 14, "3": 4},
        "longer": 16,
        "unreadable": 2,
    },
    "source": {"name": "Towns", "file": "towns.json", "license": "CC BY 4.0", "url": "https://huggingface.co/x/towns"},
    "settings": {"input_file": "/home/somebody/data/towns.json", "engine_options": ["path=/home/somebody/llama"]},
    "generator": {"name": "local", "model": "llama"},
    "published": {
        "name": "Alpaca, Llama-3-70B-Instruct",
        "iterations": [{"A": 24.50, "B": 51.24, "C": 7.41, "D": 16.85}],
    },
}
RUN = {
    "command": "python -m self_seq.generate --output_dir /home/somebody/out",
    "folder": "/home/somebody/checkout",
    "host": "secret-machine",
    "settings": {"seed": 42},
    "versions": {"python": "3.11.7", "vllm": "0.32.0"},
    "git": {"commit": "0123456789abcdef0123", "dirty": False},
    "start": "2026-11-21T09:25:37+00:00",
}
