"""The source dataset of docs/extending.md works as it stands there: one file, and it is listed, converted and mixed."""

import json
import re
import sys
from pathlib import Path

import pytest

from open_instruct import mix, reformat
from open_instruct.core.records import read_conversations
from open_instruct.reformat import __main__ as command
from open_instruct.reformat import _downloads

DOCS = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture
def riddles(tmp_path, monkeypatch):
    """The source's file as the page shows it, in a folder where sources are looked for."""
    name, code = re.search(
        r"<!-- open_instruct/reformat/(\w+\.py) -->\n```python\n(.*?)```", DOCS.read_text(), re.S
    ).groups()
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / name).write_text(code)
    monkeypatch.setattr(reformat, "__path__", [*reformat.__path__, str(folder)])
    yield name.removesuffix(".py")
    sys.modules.pop("open_instruct.reformat.riddles", None)


def test_one_file_makes_a_source(riddles, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert riddles in reformat.names()
    _downloads.main([riddles])
    assert capsys.readouterr().out.split("\t")[:3] == [
        "riddles",
        "riddles.jsonl",
        "https://example.org/riddles/riddles.jsonl",
    ]

    rows = [{"question": f"What is {n}?", "answer": "?" if n == 3 else f"It is {n}."} for n in range(1200)]
    rows[0]["hint"] = "a number"
    Path("riddles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = Path("data/riddles/riddles_data.jsonl")
    command.main(command.Settings(riddles, "riddles.jsonl", str(output), draw=0))
    found = list(read_conversations(output))
    assert len(found) == 1199
    assert found[0].messages[0]["content"] == "What is 0?\nHint: a number"
    assert "riddles: 1,199 conversations; published: 1,000 (its page)" in capsys.readouterr().out
    command.main(command.Settings(riddles, "riddles.jsonl", "drawn/rows.jsonl"))
    assert json.loads(Path("drawn/run.json").read_text())["results"]["not_drawn"] == 200

    mix.main(mix.Settings(output="mixed/rows.jsonl", inputs=["riddles=500"], input_dir="data"))
    assert {row.dataset for row in read_conversations("mixed/rows.jsonl")} == {"riddles"}
