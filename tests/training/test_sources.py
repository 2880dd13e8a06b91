"""Files of training rows: every format, several files in parts, and what is refused."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from open_instruct.core.errors import UserError
from open_instruct.training.sources import Source, conversations, sources

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "generation"
TALK = [{"role": "user", "content": "Copy it: fig"}, {"role": "assistant", "content": "fig"}]
ALPACA = {"instruction": "Copy it:", "input": "fig", "output": "fig"}


def read(path, **amount):
    return list(conversations(Source(str(path), **amount), seed=1))


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_conversation_needs_no_origin(tmp_path):
    assert read(lines(tmp_path / "a.jsonl", {"messages": TALK}, {"messages": TALK, "id": 7})) == [(TALK, 1)] * 2


def test_the_same_rows_are_read_from_every_container(tmp_path):
    rows = [dict(ALPACA, output=str(number)) for number in range(5)]
    lines(tmp_path / "a.jsonl", *rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    expected = read(tmp_path / "a.jsonl")
    assert [messages[1]["content"] for messages, _ in expected] == list("01234")
    for name in ("a.json", "a.jsonl.gz", "a.parquet"):
        assert read(tmp_path / name) == expected


def test_conversations_of_a_parquet_file(tmp_path):
    pq.write_table(pa.Table.from_pylist([{"messages": TALK}] * 2), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(TALK, 1)] * 2


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="a.parquet: cannot be read as Parquet"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (  # refined: that instruction was answered, and its quotation marks are no part of it
            {
                "extracted_instruction": "List.",
                "extracted_refined_instruction": "“List, then count.”",
                "final_refined_instruction_reponse": "fig. One.",
            },
            ("List, then count.\nfig", "fig. One."),
        ),
        (  # not refined
            {
                "extracted_instruction": "List, then sort.",
                "extracted_refined_instruction": None,
                "final_instruction": "<|user|>List, then sort.",
                "final_instruction_response": "fig",
            },
            ("List, then sort.\nfig", "fig"),
        ),
        ({"new_instruction": "List.", "final_instruction_response": "fig"}, ("List.\nfig", "fig")),  # kept as it was
        (  # its own quotation marks stay
            {"extracted_instruction": '"List" or "count"', "final_instruction_response": "fig"},
            ('"List" or "count"\nfig', "fig"),
        ),
        ({"option": "D", "new_instruction": "List."}, None),  # nothing was answered
    ],
)
def test_published_rows(tmp_path, row, expected):
    path = lines(tmp_path / "a.jsonl", {"instruction": "List.", "input": "fig", "completions": "A", **row})
    ((messages, _),) = read(path)
    if expected is None:
        assert messages is None
    else:
        prompt, answer = expected
        assert messages[0]["content"].startswith(prompt) and messages[1]["content"] == answer
        assert messages[0]["content"].count("fig") == 1


def test_the_published_files_are_read_to_their_end():
    files = sorted(PUBLISHED.glob("*/*-final.jsonl"))
    if not files:
        pytest.skip(f"{PUBLISHED}: no published rows here")
    for path in files:
        rows = read(path)
        raw = [json.loads(line) for line in path.open()]
        assert len(rows) == len(raw)
        answered = [
            row.get("final_refined_instruction_reponse") or row.get("final_instruction_response") for row in raw
        ]
        told = [messages[-1]["content"] if messages else "" for messages, _ in rows]
        assert told == [(answer or "").strip() for answer in answered]
        system = [messages[0]["content"] for messages, _ in rows if messages and messages[0]["role"] == "system"]
        assert bool(system) == ("flancot" in path.name)


def test_a_row_of_two_kinds_is_refused(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"messages": TALK}, {"messages": TALK, **ALPACA})
    with pytest.raises(UserError, match="a.jsonl:2: the row has 'messages' and 'instruction' too"):
        read(path)


def test_a_file_of_two_kinds_is_refused(tmp_path):
    path = lines(tmp_path / "a.jsonl", ALPACA, {"messages": TALK})
    with pytest.raises(UserError, match="a.jsonl:2: this row is a conversation .*, those before it are an instruction"):
        read(path)


def test_a_conversation_without_an_answer_is_refused(tmp_path):
    with pytest.raises(UserError, match="a.jsonl:1: no assistant message with text"):
        read(lines(tmp_path / "a.jsonl", {"messages": TALK[:1]}))


def test_parts_of_a_file_are_drawn_and_repeated(tmp_path):
    path = lines(tmp_path / "a.jsonl", *(dict(ALPACA, output=str(number)) for number in range(10)))
    assert sum(times for _, times in read(path, rows=3)) == 3
    assert {times for _, times in read(path, rows=3)} == {0, 1}
    assert read(path, rows=3) == read(path, rows=3)
    assert {times for _, times in read(path, times=2.5)} == {2, 3}
    assert sum(times for _, times in read(path, times=2.5)) == 25
    assert sum(times for _, times in read(path, rows=12)) == 12


def test_amounts_of_files(tmp_path):
    odd = lines(tmp_path / "odd=name.jsonl", ALPACA)
    assert sources(["a", "b=20", "c=0.5x", str(odd)]) == [
        Source("a"),
        Source("b", rows=20),
        Source("c", times=0.5),
        Source(str(odd)),
    ]
    for wrong in ("a=half", "a=0", "a=1.5", "a=0x"):
        with pytest.raises(UserError, match="is no amount; expected FILE, FILE=20000"):
            sources([wrong])
