"""Mixtures: which rows, how many of each file, in which order; and what is refused."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_conversations
from open_instruct.mix import MIXES, Settings, main

ROOT = Path(__file__).resolve().parents[1]


def conversations(path, name, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        {
            "dataset": name,
            "id": f"{name}_{n}",
            "messages": [{"role": "user", "content": f"Q{n}"}, {"role": "assistant", "content": f"Ä{n}"}],
        }
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def mix(tmp_path, *inputs, **settings):
    """The mixture's rows, and how many there are of each dataset."""
    output = tmp_path / "out" / "mixed.jsonl"
    main(Settings(output=str(output), inputs=list(inputs), **settings))
    rows = list(read_conversations(output))
    return rows, Counter(row.dataset for row in rows)


def ids(rows):
    return [row.id for row in rows]


def test_rows_are_taken_by_count_by_weight_and_whole(tmp_path):
    a, b, c = (conversations(tmp_path / f"{name}.jsonl", name, 100) for name in "abc")
    rows, counts = mix(tmp_path, f"{a}=30", f"{b}=0.25x", c)
    assert counts == {"a": 30, "b": 25, "c": 100}
    assert len(set(ids(rows))) == 155
    stored = json.loads((tmp_path / "out" / "mixed.counts.json").read_text())
    assert stored["datasets"] == counts and stored["files"][a] == {"rows": 100, "without_answer": 0, "taken": 30}
    assert json.loads((tmp_path / "out" / "run.json").read_text())["results"]["datasets"] == counts


def test_more_rows_than_there_are_come_in_whole_rounds(tmp_path):
    a, b = (conversations(tmp_path / f"{name}.jsonl", name, 10) for name in "ab")
    rows, counts = mix(tmp_path, f"{a}=2.5x", f"{b}=13")
    assert counts == {"a": 25, "b": 13}
    times = Counter(ids(rows))
    assert sorted(times[f"a_{n}"] for n in range(10)) == [2] * 5 + [3] * 5
    assert sorted(times[f"b_{n}"] for n in range(10)) == [1] * 7 + [2] * 3


def test_the_order_is_shuffled_over_all_files_and_comes_from_the_seed(tmp_path):
    a, b = (conversations(tmp_path / f"{name}.jsonl", name, 200) for name in "ab")
    first, _ = mix(tmp_path / "1", a, b)
    assert sorted(ids(first)) == sorted(f"{name}_{n}" for name in "ab" for n in range(200))
    assert 60 < sum(row.dataset == "a" for row in first[:200]) < 140
    assert ids(mix(tmp_path / "2", a, b)[0]) == ids(first)
    assert ids(mix(tmp_path / "3", a, b, seed=1)[0]) != ids(first)
    plain, _ = mix(tmp_path / "4", a, b, shuffle=False)
    assert ids(plain) == [f"{name}_{n}" for name in "ab" for n in range(200)]
    assert plain[7].messages[1]["content"] == "Ä7"


def test_instructions_arrays_and_compressed_files_are_taken_too(tmp_path):
    rows = [
        {"instruction": f"I{n}", "input": "x", "output": f"O{n}" if n else " ", "system_prompt": "S"} for n in range(4)
    ]
    (tmp_path / "sit.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "it.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / "marked.jsonl").write_bytes(b"\xef\xbb\xbf\n" + "\n\n".join(map(json.dumps, rows)).encode())
    files = [str(tmp_path / name) for name in ("sit.json", "it.jsonl.gz", "marked.jsonl")]
    mixed, counts = mix(tmp_path, *files)
    assert counts == {"sit": 3, "it": 3, "marked": 3}
    assert len(set(ids(mixed))) == 9
    asked = sorted(message["content"] for row in mixed for message in row.messages if message["role"] == "user")
    assert asked == sorted([f"I{n}\nx" for n in (1, 2, 3)] * 3)
    assert mixed[0].messages[0] == {"role": "system", "content": "S"}
    stored = json.loads((tmp_path / "out" / "mixed.counts.json").read_text())
    assert [stored["files"][name]["without_answer"] for name in files] == [1, 1, 1]


def test_the_published_mixtures_take_their_sources_whole(tmp_path, capsys):
    for name in MIXES["tulu"]:
        conversations(tmp_path / "processed" / name / f"{name}_data.jsonl", name, 3)
    _, counts = mix(tmp_path, mix="tulu", input_dir=str(tmp_path / "processed"))
    assert counts == dict.fromkeys(["flan_v2", "cot", "dolly", "oasst1", "gpt4_alpaca", "code_alpaca", "sharegpt"], 3)
    assert "published: 490,694" in capsys.readouterr().out  # Tulu v1, table 1: the sum of its sources
    _, counts = mix(tmp_path / "h", "sharegpt=1", mix="human", input_dir=str(tmp_path / "processed"))
    assert counts == {"flan_v2": 3, "cot": 3, "dolly": 3, "oasst1": 3, "sharegpt": 1}
    assert "published: 249,806" in capsys.readouterr().out


def test_a_finished_mixture_is_not_written_again_until_something_changes(tmp_path, capsys):
    a = conversations(tmp_path / "a.jsonl", "a", 10)
    mix(tmp_path, a)
    assert "nothing to do" not in capsys.readouterr().out
    mix(tmp_path, a)
    assert "nothing to do" in capsys.readouterr().out
    conversations(tmp_path / "a.jsonl", "a", 11)
    assert mix(tmp_path, a)[1] == {"a": 11}


def test_a_bad_row_is_named_and_the_mixture_before_stays(tmp_path):
    a = conversations(tmp_path / "a.jsonl", "a", 10)
    mix(tmp_path, a)
    before = (tmp_path / "out" / "mixed.jsonl").read_bytes()
    with open(a, "a") as file:
        file.write('{"dataset": "a", "id"')
    with pytest.raises(UserError, match=r"a.jsonl:11: not JSON .*Is the file cut off\?"):
        mix(tmp_path, a)
    b = tmp_path / "b.jsonl"
    b.write_text('{"dataset": "b", "id": "1", "messages": [{"role": "user", "content": "Q"}]}\n')
    with pytest.raises(UserError, match="b.jsonl:1: no assistant message with text"):
        mix(tmp_path, str(b))
    b.write_text('{"text": "plain"}\n')
    with pytest.raises(UserError, match="b.jsonl:1: field 'instruction' is missing"):
        mix(tmp_path, str(b))
    assert (tmp_path / "out" / "mixed.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing to mix; expected --mix human, --mix tulu or --inputs"),
        ({"mix": "tülu"}, "no mixture named 'tülu'; there are: human, tulu"),
        ({"mix": "human", "input_dir": "nowhere"}, "nowhere/flan_v2/flan_v2_data.jsonl, .*: no such file"),
        ({"inputs": ["a.jsonl=3y"]}, "'3y' is no share; expected FILE, FILE=500 or FILE=0.5x"),
        ({"inputs": ["a.jsonl"], "output": "a.jsonl"}, "a.jsonl: is one of the inputs"),
        ({"inputs": ["a.jsonl=0"]}, "the mixture has no rows"),
        ({"inputs": ["empty.jsonl"]}, "empty.jsonl:1: the file has no rows"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    conversations(tmp_path / "a.jsonl", "a", 3)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match=message) as caught:
        main(Settings(**{"output": "out/mixed.jsonl", **settings}))
    assert "\n" not in str(caught.value)


def test_the_command_prints_each_files_rows_and_the_mixtures_shares(tmp_path):
    a, b = (conversations(tmp_path / f"{name}.jsonl", name, 10) for name in ("dolly", "b"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "open_instruct.mix",
            "--inputs",
            f"{a}=5",
            b,
            "--output",
            str(tmp_path / "m" / "m.jsonl"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "10 rows,         5 taken (=5)" in done.stdout
    assert "dolly                            5   33.3 %  published: 15,011" in done.stdout
    assert "in all                          15" in done.stdout
