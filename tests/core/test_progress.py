"""The live line: what it counts, costs and says in a log and on a terminal of 80 columns."""

import os
import pty
import subprocess
import sys
import termios
from collections import Counter

from open_instruct.core import progress
from open_instruct.core.progress import Prices, Progress, duration, kind_of, short
from open_instruct.engines.base import Completion


def test_a_log_gets_whole_lines_with_cost_and_troubles(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    troubles = Counter({"429": 5})  # of an earlier step
    with Progress("classify", 4, 1, Prices(1_000_000, 2_000_000), troubles) as live:
        live.answered(Completion(1, "good", "stop", 3, 1))
        live.row_done()
        troubles["429"] += 2
        live.answered(Completion(2, "bad", "stop", 3, 1), "refuses to answer\nI cannot help")
    lines = capsys.readouterr().err.splitlines()
    assert all("\r" not in line for line in lines)
    assert "classify: 2 of 4 rows" in lines[-1]
    assert "left" in lines[-1]
    # Two answers cost 10; one of three rows is done, so all will cost 30.
    assert "cost 10.00 of 30.00" in lines[-1]
    assert "bad answers 1 (refuses to answer 1)" in lines[-1] and "429 2" in lines[-1]
    assert (live.answers, live.tokens_in, live.tokens_out) == (2, 6, 2)


def test_a_step_with_nothing_left_to_do_says_nothing(capsys):
    with Progress("classify", 4, 4, Prices(), Counter()):
        pass
    assert capsys.readouterr().err == ""


def test_on_a_terminal_no_line_is_longer_than_80_columns():
    code = """
from collections import Counter
from open_instruct.engines.base import Completion
from open_instruct.core.progress import Prices, Progress
with Progress("iteration 1: classify", 51760, 40000, Prices(2.5, 10), Counter()) as live:
    for key in range(2000):
        live.answered(Completion(key, "", "stop", 900, 130), "" if key % 3 else "cut off at the token limit")
        live.row_done()
"""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait() == 0
    text = shown.decode().replace("\x1b[A", "")
    lines = [part for line in text.split("\n") for part in line.split("\r") if part.strip()]
    assert any("iteration 1: classify" in line for line in lines)
    assert any("tokens/s" in line and "bad answers" in line for line in lines)
    assert max(len(line) for line in lines) <= 80


def test_reasons_of_one_kind_count_together():
    reasons = [
        f"the prompt of {n} tokens leaves no room for an answer in the window of 2048\nrow {n}" for n in (3000, 4100)
    ]
    assert {kind_of(reason) for reason in reasons} == {
        "the prompt of N tokens leaves no room for an answer in the window of N"
    }


def test_numbers_and_times_are_short():
    assert [short(n) for n in (0, 950, 3_400, 12_000, 3_400_000)] == ["0", "950", "3.4k", "12k", "3.4M"]
    assert [duration(s) for s in (12, 200, 18_120)] == ["12 s", "3 min 20 s", "5 h 2 min"]
