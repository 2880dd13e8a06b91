"""Every good form of a file gives the same rows, every bad one a message with FILE:LINE; writing is all or nothing."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from open_instruct.core.errors import UserError
from open_instruct.core.records import (
    MAX_ROW_BYTES,
    Conversation,
    Instruction,
    read_conversations,
    read_instructions,
    read_rows,
    write_json,
    write_rows,
)

ROWS = [
    {"instruction": "List the words.", "input": "a\nb", "output": 'quote " and \\ and ]'},
    {"instruction": "翻译。", "input": "", "output": "é 😀 \u2028", "idx": 7, "nested": {"list": [1, 2.5, None, True]}},
    {"instruction": "last", "input": "}],[{", "output": ""},
]
JSONL = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()

CHARACTERS = st.characters(codec="utf-8")
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)

FORMS = {
    "lines": JSONL,
    "lines with a last line end": JSONL + b"\n",
    "escaped characters": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "blank lines": b"\n\n" + JSONL.replace(b"\n", b"\n \t\n\n") + b"\n\n",
    "line ends of Windows": JSONL.replace(b"\n", b"\r\n") + b"\r\n",
    "byte order mark": b"\xef\xbb\xbf" + JSONL,
    "byte order mark, then blank lines": b"\xef\xbb\xbf\r\n\n" + JSONL,
    "array on one line": json.dumps(ROWS, ensure_ascii=False).encode(),
    "pretty array": json.dumps(ROWS, ensure_ascii=False, indent=4).encode() + b"\n",
    "pretty array, byte order mark, Windows": b"\xef\xbb\xbf"
    + json.dumps(ROWS, indent=1).replace("\n", "\r\n").encode(),
    "array after blank lines": b"\n \n" + json.dumps(ROWS).encode() + b"\n \n",
    "array behind more spaces than are read at a time": b" " * 70_000 + json.dumps(ROWS).encode(),
    "array of tight rows": b"[" + b",".join(json.dumps(row, separators=(",", ":")).encode() for row in ROWS) + b"]",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_rows(tmp_path, form, packed):
    path = tmp_path / "rows.data"
    path.write_bytes(gzip.compress(FORMS[form]) if packed else FORMS[form])
    assert [row for _, row in read_rows(path)] == ROWS


def test_where_is_the_line_on_which_the_row_begins(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(FORMS["blank lines"])
    assert [where for where, _ in read_rows(path)] == [f"{path}:{line}" for line in (3, 6, 9)]
    path.write_text('[\n  {\n    "a": 1\n  },\n\n  {"a": 2}, {"a": 3}\n  , {"a":\n 4}\n]')
    assert [where for where, _ in read_rows(path)] == [f"{path}:{line}" for line in (2, 6, 6, 7)]


def test_rows_are_found_wherever_a_chunk_of_reading_ends(tmp_path):
    """Rows and characters of many bytes lie across the 64 KiB that are read at a time."""
    path = tmp_path / "rows.json"
    rows = [{"n": n, "text": 'é😀\\"\n' * (n % 97)} for n in range(3000)]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    assert path.stat().st_size > 20 * 65536
    lines = path.read_text().split("\n")
    for (where, row), expected in zip(read_rows(path), rows, strict=True):
        assert row == expected
        assert lines[int(where.rpartition(":")[2]) - 1].strip() == "{"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(
            st.text(CHARACTERS, max_size=5),
            st.recursive(
                st.none() | st.booleans() | NUMBERS | st.text(CHARACTERS),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=5,
            ),
            max_size=4,
        ),
        max_size=6,
    ),
    name=st.sampled_from(["rows.jsonl", "rows.json", "rows.jsonl.gz", "rows.json.gz"]),
)
def test_what_is_written_is_read_again(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("written") / name
    assert write_rows(path, iter(rows)) == len(rows)
    assert [row for _, row in read_rows(path, may_be_empty=True)] == rows
    assert path.read_bytes()[:2] == b"\x1f\x8b" if name.endswith(".gz") else True


GOOD = b'{"a": 1}\n'
BAD_FILES = {
    "empty": (b"", 1, "has no rows"),
    "only spaces": (b"\n \n", 1, "has no rows"),
    "empty array": (b"[ ]\n", 1, "has no rows"),
    "plain text": (b"hello\n", 1, "not JSON"),
    "second line is no JSON": (GOOD + b"{'a': 1}\n" + GOOD, 2, "not JSON (Expecting property name"),
    "cut-off last line": (GOOD + GOOD + b'{"a": "x', 3, "not JSON (Unterminated string"),
    "two rows on a line": (GOOD + b'{"a": 1} {"a": 2}', 2, "not JSON (Extra data at column 10"),
    "a list a line": (GOOD + b"[1, 2]\n", 2, "the row is an array"),
    "a text a line": (GOOD + b'"x"\n', 2, "the row is text"),
    "null": (GOOD + b"null\n", 2, "the row is null"),
    "a number a line": (b"12\n13\n", 1, "the row is a number"),
    "NaN": (GOOD + b'{"a": NaN}\n', 2, "NaN is no JSON number"),
    "minus infinity": (GOOD + b'{"a": -Infinity}\n', 2, "-Infinity is no JSON number"),
    "deep nesting": (GOOD + b'{"a": ' + b"[" * 200_000 + b"\n", 2, "nested too deeply"),
    "endless number": (GOOD + b'{"a": ' + b"9" * 5000 + b"}\n", 2, "Exceeds the limit"),
    "invalid UTF-8": (GOOD + GOOD + b'{"a": "\xff"}\n', 3, "byte 0xff is not UTF-8"),
    "UTF-16": ('{"a": 1}\n'.encode("utf-16"), 1, "byte 0xff is not UTF-8"),
    "half a character": (GOOD + b'{"a": "x\\ud83d y"}\n', 2, "\\ud83d is half a character"),
    "array: number in it": (b'[\n{"a": 1},\n5\n]', 3, "the row is a number"),
    "array: not closed": (b'[\n{"a": 1},\n{"a": 2}\n', 4, "the end of the file after a row"),
    "array: cut off in a row": (b'[\n{"a": 1},\n{"a":\n"x', 4, "Unterminated string"),
    "array: cut off after a comma": (b'[\n{"a": 1},\n', 3, "not JSON (Expecting value"),
    "array: comma missing": (b'[\n{"a": 1}\n{"a": 2}\n]', 3, "'{' after a row"),
    "array: comma too many": (b'[\n{"a": 1},\n]', 3, "no row after the comma"),
    "array: text behind it": (b'[\n{"a": 1}\n]\n{"a": 2}', 4, "text after the end"),
    "array: wrong within a pretty row": (b'[\n{\n"a": 1,\n"b" 2\n}]' + b" " * 200_000, 4, "Expecting ':' delimiter"),
    "array: line end in a text": (b'[\n{"a": "x\ny"}]' + b" " * 200_000, 2, "Invalid control character"),
    "array: NaN": (b'[\n{"a": 1},\n{"a": NaN}]', 3, "NaN is no JSON number"),
    "array: invalid UTF-8": (b'[\n{"a": 1},\n\n{"a": "\xc3\x28"}]', 4, "byte 0xc3 is not UTF-8"),
    "array: half a character": (b'[\n{"a": "\\udc00"}]', 2, "\\udc00 is half a character"),
    "array: ends within a character": (b'[\n{"a": "\xf0\x9f', 2, "byte 0xf0 is not UTF-8"),
    "array: deep nesting": (b"[\n\n" + b"[" * 200_000, 3, "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_reported_with_its_line_and_what_was_expected(tmp_path, case, packed):
    content, line, problem = BAD_FILES[case]
    path = tmp_path / "rows.unknown"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError) as raised:
        list(read_rows(path))
    message = str(raised.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message
    assert "expected" in message
    assert "\n" not in message


def test_rows_before_a_bad_one_are_handed_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD * 5 + b"oops\n")
    rows = read_rows(path)
    assert [next(rows)[1] for _ in range(5)] == [{"a": 1}] * 5
    with pytest.raises(UserError, match=":6: "):
        next(rows)


@pytest.mark.parametrize("array", [False, True], ids=["lines", "array"])
def test_row_of_one_megabyte_is_refused_and_one_byte_less_is_not(tmp_path, array, monkeypatch):
    path = tmp_path / "rows"
    around = len('{"a": ""}')

    def write(length: int) -> None:
        row = '{"a": "' + "x" * (length - around) + '"}'
        path.write_text(f'[\n{{"b": 1}},\n{row}\n]' if array else f'{{"b": 1}}\n\n{row}\n')

    write(MAX_ROW_BYTES - 1)
    assert len(list(read_rows(path))) == 2
    write(MAX_ROW_BYTES)
    with pytest.raises(UserError, match=r":3: the row is 1,000,000 bytes or longer; .*SIT_MAX_ROW_BYTES=10000000"):
        list(read_rows(path))
    assert len(list(read_rows(path, max_row_bytes=2 * MAX_ROW_BYTES))) == 2
    monkeypatch.setenv("SIT_MAX_ROW_BYTES", "2000000")
    assert len(list(read_rows(path))) == 2
    monkeypatch.setenv("SIT_MAX_ROW_BYTES", "2 MB")
    with pytest.raises(UserError, match="SIT_MAX_ROW_BYTES='2 MB' is no number of bytes"):
        list(read_rows(path))


def test_length_of_a_row_counts_bytes_not_characters(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"a": "é" * (MAX_ROW_BYTES // 2)}], ensure_ascii=False))
    with pytest.raises(UserError, match=":1: the row is 1,000,000 bytes"):
        list(read_rows(path))


# Of this program alone: `ru_maxrss` begins with the memory of the process that started it.
PEAK = """
import sys
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
"""


def refusal_and_memory(path: Path) -> tuple[str, int]:
    """What reading `path` is refused with, and the MiB that took, in a process of its own."""
    program = (
        f"{PEAK}"
        "from open_instruct.core.records import read_rows, UserError\n"
        "before = peak()\n"
        "try: list(read_rows(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
        "print((peak() - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    return message, int(grown)


@pytest.mark.parametrize("start", ['{"a": "', '[\n{"a": "', "", "[", '[{"a": 1}'])
def test_a_file_without_line_ends_is_never_held_whole(tmp_path, start):
    """A sparse file of 3 GB (of zeros behind `start`) is refused with the memory of a row."""
    path = tmp_path / "rows"
    path.write_text(start)
    os.truncate(path, 3 * 10**9)
    message, grown = refusal_and_memory(path)
    assert message.startswith(f"{path}:")
    assert grown < 30


@pytest.mark.parametrize("start", ['{"a": "', '[\n{"a": "'], ids=["line", "array"])
def test_a_row_of_200_megabytes_is_never_held_whole(tmp_path, start):
    path = tmp_path / "rows.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start.encode())
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    message, grown = refusal_and_memory(path)
    assert message.startswith(
        f"{path}:{1 + start.count(chr(10))}: the row is 1,000,000 bytes or longer; expected less."
    )
    assert grown < 30


def test_long_file_is_streamed(tmp_path):
    """60 MB of rows, as an array on one line, pass through less than 30 MiB."""
    path = tmp_path / "rows.json.gz"
    row = json.dumps({"instruction": "x" * 5900}).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"[" + row)
        for _ in range(9_999):
            file.write(b"," + row)
        file.write(b"]")
    program = (
        f"{PEAK}"
        "from open_instruct.core.records import read_instructions\n"
        "before = peak()\n"
        "print(sum(len(row.instruction) for row in read_instructions(sys.argv[1])))\n"
        "print((peak() - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    characters, grown = map(int, done.stdout.split())
    assert characters == 5900 * 10_000
    assert grown < 30


@pytest.mark.parametrize("array", [False, True], ids=["lines", "array"])
def test_gzip_that_is_cut_off_or_damaged(tmp_path, array):
    rows = [{"n": n, "noise": os.urandom(20).hex()} for n in range(5000)]
    text = json.dumps(rows, indent=0) if array else "\n".join(map(json.dumps, rows))
    packed = gzip.compress(text.encode())
    path = tmp_path / "rows.jsonl.gz"

    path.write_bytes(packed[: len(packed) // 2])
    seen = []
    with pytest.raises(
        UserError, match=r"rows\.jsonl\.gz:\d+: the gzip file ends here, cut off; expected its end"
    ) as raised:
        seen.extend(row["n"] for _, row in read_rows(path))
    assert int(str(raised.value).split(":")[1]) > 2000

    path.write_bytes(packed[:20_000] + bytes(2000) + packed[22_000:])
    with pytest.raises(UserError, match=r"rows\.jsonl\.gz:\d+: "):
        list(read_rows(path))


def test_missing_file_folder_and_forbidden_file(tmp_path):
    with pytest.raises(UserError, match="nowhere.jsonl: no such file; expected"):
        list(read_rows(tmp_path / "nowhere.jsonl"))
    with pytest.raises(UserError, match="is a folder; expected a file"):
        list(read_rows(tmp_path))
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        (tmp_path / "file").write_text("x")
        list(read_rows(tmp_path / "file" / "rows.jsonl"))


def test_instruction_keeps_its_other_fields():
    row = {"idx": 3, "instruction": "Reverse.", "input": "a b", "output": "b a", "system_prompt": ""}
    record = Instruction.from_json(row, "f:1")
    assert record == Instruction("Reverse.", "a b", "b a", {"idx": 3, "system_prompt": ""})
    assert record.to_json() == row


def test_prompt_joins_instruction_and_input_by_a_line_end():
    assert Instruction("Reverse.", "a b").prompt == "Reverse.\na b"
    assert Instruction("Say hello.").prompt == "Say hello."


def test_instruction_alone_is_enough():
    assert Instruction.from_json({"instruction": "x"}, "f:1") == Instruction("x", "", "", {})


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"input": "x"}, "field 'instruction' is missing"),
        ({"instruction": " \n"}, "field 'instruction' is blank"),
        ({"instruction": 5}, "field 'instruction' is a number, not text"),
        ({"instruction": "x", "input": None}, "field 'input' is null, not text"),
        ({"instruction": "x", "output": ["y"]}, "field 'output' is an array, not text"),
        ({"instruction": "x", "output": True}, "field 'output' is true, not text"),
        ({"instruction": "x", "input": {}}, "field 'input' is an object, not text"),
    ],
)
def test_wrong_instruction_is_reported(tmp_path, row, problem):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"instruction": "fine"}}\n{json.dumps(row)}\n')
    with pytest.raises(UserError) as raised:
        list(read_instructions(path))
    assert str(raised.value).startswith(f"{path}:2: {problem}; expected {{")


def turns(*roles: str) -> list[dict]:
    return [{"role": role, "content": f"{role} text"} for role in roles]


def test_conversation_goes_there_and_back():
    row = {"dataset": "lima", "id": "7", "messages": turns("system", "user", "assistant", "user", "assistant")}
    assert Conversation.from_json(row, "f:1").to_json() == row


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dataset": None}, "field 'dataset' is null, not text; expected {"),
        ({"id": 7}, "field 'id' is a number, not text; expected {"),
        ({"messages": "hello"}, "field 'messages' is text; expected {"),
        ({"messages": []}, "no assistant message with text; expected at least one"),
        ({"messages": turns("user")}, "no assistant message with text; expected at least one"),
        ({"messages": turns("user", "bot")}, "message 2 has role 'bot'; expected one of system, user, assistant"),
        ({"messages": turns("assistant", "user")}, "message 1 has role 'assistant' as the first; expected 'system' or"),
        ({"messages": turns("user", "user")}, "message 2 has role 'user' after 'user'; expected 'assistant'"),
        ({"messages": turns("user", "system")}, "message 2 has role 'system' after 'user'; expected 'assistant'"),
        ({"messages": turns("system", "system")}, "message 2 has role 'system' after 'system'; expected 'user'"),
        ({"messages": turns("user", "assistant", "assistant")}, "message 3 has role 'assistant' after 'assistant'"),
        ({"messages": ["hello"]}, "message 1 is text; expected {"),
        ({"messages": [{"role": "user"}]}, "message 1: field 'content' is missing; expected {"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1: field 'content' is null, not text; expected {"),
        ({"messages": [*turns("user"), {"role": "assistant", "content": " "}]}, "no assistant message with text"),
    ],
)
def test_wrong_conversation_is_reported(tmp_path, change, problem):
    row = {"dataset": "d", "id": "0", "messages": turns("user", "assistant")}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n\n{json.dumps(row | change)}\n")
    with pytest.raises(UserError) as raised:
        list(read_conversations(path))
    message = str(raised.value)
    assert message.startswith(f"{path}:3: ")
    assert problem in message


@pytest.mark.parametrize("name", ["dataset", "id", "messages"])
def test_missing_field_of_a_conversation(name):
    row = {"dataset": "d", "id": "0", "messages": turns("user", "assistant")}
    del row[name]
    with pytest.raises(UserError, match=f"^f:1: field '{name}' is missing; expected"):
        Conversation.from_json(row, "f:1")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError("the engine fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        write_rows(path, rows())
    with pytest.raises(ValueError, match="Out of range float"):
        write_rows(path, [{"a": float("nan")}])
    assert path.read_text() == '{"a": 1}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_error_of_the_rows_is_not_blamed_on_the_disk(tmp_path):
    def rows():
        yield {"a": 2}
        raise ConnectionError("the server went away")

    with pytest.raises(ConnectionError):
        write_rows(tmp_path / "rows.jsonl", rows())


def test_writing_makes_folders_and_keeps_links(tmp_path):
    write_rows(tmp_path / "one" / "two" / "rows.jsonl", [{"a": 1}])
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "one" / "two" / "rows.jsonl")
    write_rows(link, [{"a": 2}])
    assert link.is_symlink()
    assert (tmp_path / "one" / "two" / "rows.jsonl").read_text() == '{"a": 2}\n'


def test_equal_rows_make_equal_gzip_files(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_rows(tmp_path / name, ROWS)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz"])
def test_what_we_write_of_half_characters_can_be_read(tmp_path, name):
    hostile = [
        {"a": "é\ud83d"},
        {"\udc00": ["\ud83d\ude00", "\ude00\ud83d", '\ud83d"}']},
        {"a": "\u2028\0\x85</script>"},
    ]
    assert write_rows(tmp_path / name, hostile) == 3
    assert [row for _, row in read_rows(tmp_path / name)] == [
        {"a": "é\ufffd"}, {"\ufffd": ["😀", "\ufffd\ufffd", '\ufffd"}']}, hostile[2],
    ]  # fmt: skip


def test_write_json_is_indented_and_readable(tmp_path):
    write_json(tmp_path / "value.json", {"a": ["é"]})
    assert (tmp_path / "value.json").read_text() == '{\n  "a": [\n    "é"\n  ]\n}\n'


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json.gz"])
def test_full_disk_while_writing_keeps_the_old_file(small_disk, name):
    path = small_disk / name
    write_rows(path, [{"a": 1}])
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"{name}: the disk is full \(0 MiB free\)"):
        write_rows(path, ({"noise": os.urandom(500).hex()} for _ in range(10_000)))
    assert path.read_bytes() == before
    assert [entry.name for entry in small_disk.iterdir()] == [name]


def test_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write_rows(tmp_path / "file" / "rows.jsonl", ROWS)
