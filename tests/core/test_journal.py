"""The journal keeps its promises under kills, torn lines, full disks and second processes."""

import errno
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from open_instruct.core import journal as journal_module
from open_instruct.core.errors import UserError
from open_instruct.core.journal import MAX_ROW, Journal
from open_instruct.core.records import read_rows

ABOUT = {"step": "classify", "settings": {"temperature": 1.0, "stop": ["###"]}, "input": "9k.json"}

WRITER = """
import os, random, sys
from open_instruct.core.journal import Journal
path, last, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shuffled = random.Random(seed)
with Journal(path, {"step": "killed"}) as journal:
    for row in range(last):
        if row not in journal:
            size = shuffled.choice([0, 10, 1000, 300_000])
            journal.add(row, {"text": f"{row} " + "é" * size})
            os.write(1, b"%d\\n" % row)
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "deep" / "classify.jsonl"


def rows_in_file(path: Path) -> list[int]:
    """The row of every line but the first, as any other program reads the file."""
    return [json.loads(line)["row"] for line in path.read_text().splitlines()[1:]]


def test_half_a_character_leaves_a_file_that_any_program_reads(path):
    with Journal(path, ABOUT) as journal:
        journal.add(0, "half: \ud83d")
        assert journal.get(0) == "half: \ufffd"
    assert [row for _, row in read_rows(path)][1] == {"row": 0, "value": "half: \ufffd"}


def test_what_was_added_is_there_after_reopening(path):
    values = {
        3: {"text": "é\n😀"},
        0: None,
        70_000: [1, "x" * 100_000, {"a": 2.5}],
        5: "other line ends: \u2028\x85\0",
    }
    with Journal(path, ABOUT) as journal:
        for row, value in values.items():
            journal.add(row, value)
            assert row in journal
            assert journal.get(row) == value
    for _ in range(2):
        with Journal(path, ABOUT) as journal:
            assert len(journal) == 4
            assert list(journal.rows()) == [0, 3, 5, 70_000]
            assert {row: journal.get(row) for row in journal.rows()} == values
            assert 1 not in journal and -1 not in journal and 70_001 not in journal and MAX_ROW not in journal
            with pytest.raises(KeyError):
                journal.get(1)
            with pytest.raises(KeyError):
                journal.get(-1)


def test_file_is_plain_jsonl_that_begins_with_what_it_is_about(path):
    with Journal(path, ABOUT) as journal:
        journal.add(7, "é")
    assert path.read_text().splitlines() == [
        '{"journal":1,"about":' + json.dumps(ABOUT) + "}",
        '{"row":7,"value":"é"}',
    ]


def test_adding_goes_on_after_reopening(path):
    for start in range(0, 50, 10):
        with Journal(path, ABOUT) as journal:
            assert len(journal) == start
            for row in range(start, start + 10):
                journal.add(row, row * row)
    with Journal(path, ABOUT) as journal:
        assert [journal.get(row) for row in range(50)] == [row * row for row in range(50)]


def test_a_row_is_taken_once(path):
    with Journal(path, ABOUT) as journal:
        journal.add(1, "first")
        with pytest.raises(ValueError, match="row 1 is already in"):
            journal.add(1, "second")
        assert journal.get(1) == "first"
    with Journal(path, ABOUT) as journal, pytest.raises(ValueError, match="row 1 is already in"):
        journal.add(1, "second")
    assert rows_in_file(path) == [1]


@pytest.mark.parametrize("row", [-1, MAX_ROW + 1, 10**15])
def test_row_numbers_out_of_range_are_refused(path, row):
    with Journal(path, ABOUT) as journal, pytest.raises(ValueError, match="is not within 0 and 99999999"):
        journal.add(row, "x")


def test_value_that_is_no_json_leaves_no_trace(path):
    with Journal(path, ABOUT) as journal:
        for value in (float("nan"), {1, 2}):
            with pytest.raises((ValueError, TypeError)):
                journal.add(0, value)
        assert 0 not in journal
        journal.add(0, "fine")
    assert rows_in_file(path) == [0]


def test_closed_journal_takes_nothing_and_closes_again(path):
    journal = Journal(path, ABOUT)
    journal.add(0, "x")
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="is closed"):
        journal.add(1, "y")
    with pytest.raises(ValueError, match="is closed"):
        journal.get(0)


@pytest.mark.parametrize("cut", range(1, 26))
def test_torn_last_line_is_cut_off(path, cut):
    with Journal(path, ABOUT) as journal:
        journal.add(0, "zero")
        journal.add(1, "one")
    whole = path.read_bytes()
    last = len(b'{"row":1,"value":"one"}\n')
    path.write_bytes(whole[:-cut])
    with Journal(path, ABOUT) as journal:
        assert list(journal.rows()) == ([0] if cut <= last else [])
        for row in (0, 1):
            if row not in journal:
                journal.add(row, "again")
    assert rows_in_file(path) == [0, 1]


def test_zeros_behind_the_last_line_are_cut_off(path):
    """Some file systems leave them after a power cut."""
    with Journal(path, ABOUT) as journal:
        journal.add(0, "zero")
    with open(path, "ab") as file:
        file.write(bytes(5000))
    with Journal(path, ABOUT) as journal:
        journal.add(1, "one")
    assert rows_in_file(path) == [0, 1]


def test_file_killed_at_birth_reopens_as_new(path):
    Journal(path, ABOUT).close()
    header = path.read_bytes()
    for left in [header[:length] for length in (0, 1, 5, 11, 12, 13, 40, len(header) - 1)] + [bytes(30)]:
        path.write_bytes(left)
        with Journal(path, ABOUT) as journal:
            assert len(journal) == 0
            journal.add(4, "x")
        assert path.read_bytes() == header + b'{"row":4,"value":"x"}\n'


@pytest.mark.parametrize(
    "content", [b"my precious notes", b"precious\nnotes\n", b'[{"a": 1}]', b'{"journal":"mine"}\n']
)
def test_a_file_that_is_no_journal_is_left_alone(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}:1: not a journal"):
        Journal(path, ABOUT)
    assert path.read_bytes() == content


def test_journal_of_a_later_format_is_refused(path):
    path.parent.mkdir()
    path.write_text('{"journal":2,"about":{}}\n')
    with pytest.raises(UserError, match=":1: journal format 2; expected 1"):
        Journal(path, {})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"row":1,"val', "damaged line"),
        (b"", "damaged line"),
        (b'{"row": 1, "value": 5}', "damaged line"),
        (b'{"row":x,"value":5}', "damaged line"),
        (b'{"row":,"value":5}', "damaged line"),
        (b'{"row":-1,"value":5}', "damaged line"),
        (b'{"row":1,"value":{"a": 5', "damaged line"),
        (bytes(100), "damaged line"),
        (b'{"row":0,"value":5}', "row 0 stands in an earlier line too"),
        (b'{"row":99999999999,"value":5}', "row 99999999999 is over 99999999"),
    ],
)
def test_damaged_line_in_the_middle_is_named_and_its_remedy_works(path, line, problem):
    with Journal(path, ABOUT) as journal:
        journal.add(0, "zero")
        journal.add(2, "two")
    first, second, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, second, line, third, b""]))
    with pytest.raises(UserError) as raised:
        Journal(path, ABOUT)
    message = str(raised.value)
    assert message.startswith(f"{path}:3: {problem}")
    subprocess.run(re.search(r"sed -i 3d \S+(?=\))", message).group(), shell=True, check=True)
    with Journal(path, ABOUT) as journal:
        assert list(journal.rows()) == [0, 2]


def test_damaged_value_is_named_when_it_is_read(path):
    with Journal(path, ABOUT) as journal:
        for row in range(5):
            journal.add(row, "value")
    path.write_bytes(path.read_bytes().replace(b'3,"value":"value"', b'3,"value":"val\x00"'))
    with Journal(path, ABOUT) as journal:
        assert journal.get(4) == "value"
        with pytest.raises(UserError, match=f"^{re.escape(str(path))}:5: damaged line"):
            journal.get(3)


def test_other_settings_are_refused_and_named(path):
    with Journal(path, ABOUT) as journal:
        journal.add(0, "value")
    other = {"step": "classify", "settings": {"temperature": 0.7, "stop": ("###",)}, "seed": 3}
    with pytest.raises(UserError) as raised:
        Journal(path, other)
    message = str(raised.value)
    assert "settings.temperature was 1.0, is now 0.7" in message
    assert 'input was "9k.json", is now not there' in message
    assert "seed was not there, is now 3" in message
    assert "step" not in message and "stop" not in message


def test_a_journal_without_results_takes_other_settings(path):
    """A first try that failed before anything was answered binds nobody."""
    Journal(path, ABOUT).close()
    for about in ({"step": "a much longer word than the one that stood there"}, {"step": "b"}):
        Journal(path, about).close()
        with Journal(path, about) as journal:
            assert len(journal) == 0
    with Journal(path, {"step": "c"}) as journal:
        journal.add(1, "value")
    with pytest.raises(UserError, match='step was "c", is now "b"'):
        Journal(path, {"step": "b"})


def test_equal_settings_in_other_clothes_are_accepted(path):
    Journal(path, {"a": (1, 2), "b": {"c": 1}}).close()
    Journal(path, {"b": {"c": 1}, "a": [1, 2]}).close()


def start_writer(path: Path, last: int, seed: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(path), str(last), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)


def test_kill_at_any_moment_loses_nothing_and_doubles_nothing(path):
    """Twenty kills, at the start and in the middle of writing; each run goes on where the last one fell."""
    moments = random.Random(11)
    promised: set[int] = set()
    torn = 0
    for kill in range(20):
        writer = start_writer(path, 10**6, seed=kill)
        if kill % 4:
            promised.add(int(writer.stdout.readline()))  # it writes now
        time.sleep(moments.uniform(0, 0.12))
        writer.send_signal(signal.SIGKILL)
        output, errors = writer.communicate()
        assert writer.returncode == -signal.SIGKILL, errors.decode()
        promised |= {int(line) for line in output.split(b"\n")[:-1]}
        torn += path.exists() and not path.read_bytes().endswith(b"\n")

    with Journal(path, {"step": "killed"}) as journal:
        done = set(journal.rows())
        assert promised <= done
        assert len(done - promised) <= 20  # written, and killed before saying so: at most one a kill
        for row in done:
            assert journal.get(row)["text"].startswith(f"{row} ")
    assert sorted(rows_in_file(path)) == sorted(done)

    last = max(done) + 20
    assert start_writer(path, last, seed=99).wait() == 0
    assert sorted(rows_in_file(path)) == list(range(last))
    print(f"{len(promised)} rows promised, {torn} torn last lines")


def test_second_process_is_refused_and_told_who_holds_it(path):
    program = (
        "import sys\nfrom open_instruct.core.journal import *\n"
        "try: Journal(sys.argv[1], {})\nexcept UserError as error: print(error)"
    )
    with Journal(path, ABOUT) as journal:
        journal.add(0, "x")
        second = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
        assert second.stdout.startswith(f"{path}: in use by process {os.getpid()}; expected one run at a time.")
        with pytest.raises(UserError, match="in use by process"):
            Journal(path, ABOUT)
        journal.add(1, "y")
    with Journal(path, ABOUT) as journal:
        assert len(journal) == 2


def test_child_process_does_not_keep_the_journal(path):
    """A program that was started while the journal was open must not hold its lock after us."""
    with Journal(path, ABOUT):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        Journal(path, ABOUT).close()
    finally:
        child.kill()
        child.wait()


def test_full_disk_keeps_what_was_added_and_goes_on_when_there_is_room(small_disk):
    path = small_disk / "journal.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    value = (
        "x" * 7001
    )  # lines end within the last page, so that the system takes a part of the line that no longer fits
    with Journal(path, ABOUT) as journal:
        added = 0
        with pytest.raises(UserError, match=r"journal.jsonl: the disk is full \(0 MiB free\)"):
            for row in range(1000):
                journal.add(row, value)
                added += 1
        assert added > 50
        assert len(journal) == added and added not in journal
        assert rows_in_file(path) == list(range(added))
        ballast.unlink()
        journal.add(added, value)
    with Journal(path, ABOUT) as journal:
        assert list(journal.rows()) == list(range(added + 1))
        assert journal.get(added) == value


def test_full_disk_at_birth(small_disk):
    path = small_disk / "journal.jsonl"
    ballast = small_disk / "ballast"
    with pytest.raises(OSError):
        ballast.write_bytes(bytes(2_000_000))
    with pytest.raises(UserError, match="journal.jsonl: the disk is full"):
        Journal(path, ABOUT)
    ballast.unlink()
    with Journal(path, ABOUT) as journal:
        journal.add(0, "x")
    assert rows_in_file(path) == [0]


def test_ctrl_c_within_a_write_leaves_no_half_line(path, monkeypatch):
    write = journal_module._write

    def interrupted(file: int, data: bytes, offset: int) -> None:
        write(file, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    with Journal(path, ABOUT) as journal:
        journal.add(0, "x")
        monkeypatch.setattr(journal_module, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.add(1, "y" * 1000)
        monkeypatch.setattr(journal_module, "_write", write)
        assert rows_in_file(path) == [0]
        journal.add(1, "z")
    assert rows_in_file(path) == [0, 1]


def test_lines_reach_the_disk_soon_and_without_further_adds(path, monkeypatch):
    """No more than 2 s may lie between two flushes; here the wait is shortened."""
    assert journal_module.SYNC_SECONDS < 2
    monkeypatch.setattr(journal_module, "SYNC_SECONDS", 0.01)
    synced = threading.Event()
    with Journal(path, ABOUT) as journal:
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), synced.set()))
        assert not synced.wait(0.1)  # nothing to do
        for row in range(3):
            journal.add(row, "x")
            assert synced.wait(60)
            synced.clear()
        while journal._unsynced:  # a flush of the last row may still be due
            time.sleep(0.01)
    # everything was on the disk already, so that closing had nothing to do


def test_disk_that_fails_to_flush_is_reported(path, monkeypatch):
    monkeypatch.setattr(journal_module, "SYNC_SECONDS", 0.01)
    tried = threading.Event()

    def failing(file: int) -> None:
        tried.set()
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(path, ABOUT)
    monkeypatch.setattr(os, "fsync", failing)
    journal.add(0, "x")
    assert tried.wait(60)
    while journal._sync_error is None:
        time.sleep(0.01)
    with pytest.raises(UserError, match="classify.jsonl: cannot be written: Input/output error"):
        journal.add(1, "y")
    with pytest.raises(UserError, match="Input/output error"):
        journal.close()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl", ABOUT)


def test_far_rows_take_memory_only_up_to_the_highest(path):
    """A single row at 3 million costs 8 bytes a row below it, in a table that other rows share."""
    with Journal(path, ABOUT) as journal:
        journal.add(3_000_000, "x")
        journal.add(3, "y")
        assert journal._offsets.itemsize * len(journal._offsets) < 30 * 2**20
        assert list(journal.rows()) == [3, 3_000_000]
    with Journal(path, ABOUT) as journal:
        assert len(journal) == 2


def test_disk_quota_keeps_what_was_added(path):
    """A limit on the size of files fails in the middle of a line too, and needs no right to mount."""
    with Journal(path, ABOUT) as journal:
        journal.add(0, "x" * 100)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
        try:
            with pytest.raises(UserError, match="classify.jsonl: cannot be written: File too large"):
                journal.add(1, "x" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert rows_in_file(path) == [0]
        journal.add(1, "y")
    assert rows_in_file(path) == [0, 1]
