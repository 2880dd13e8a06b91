"""The judge of docs/extending.md works as it stands there: a file and its prompt."""

import json
import re
import sys
from pathlib import Path

import pytest

import eval.judges
from eval import results
from eval.judges import _prompt

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extending.md"


@pytest.fixture
def politeness(tmp_path, monkeypatch):
    """The files of the page, where kinds and prompts are looked for."""
    shown = dict(re.findall(r"<!-- eval/judges/([\w./]+) -->\n```\w+\n(.*?)```", DOCS.read_text(), re.DOTALL))
    assert set(shown) == {"politeness.py", "prompts/politeness.yaml"}
    (tmp_path / "kinds" / "prompts").mkdir(parents=True)
    for name, text in shown.items():
        (tmp_path / "kinds" / name).write_text(text)
    monkeypatch.setattr(eval.judges, "__path__", [*eval.judges.__path__, str(tmp_path / "kinds")])
    monkeypatch.setattr(_prompt, "FOLDER", tmp_path / "kinds" / "prompts")
    yield "politeness"
    sys.modules.pop("eval.judges.politeness", None)


def test_a_file_and_its_prompt_make_a_judge(politeness, benchmark):
    assert politeness in eval.judges.kinds()
    eval.judges.check(politeness, "oracle", [], "")
    eval.judges.judge(politeness, benchmark, "oracle", [], "")
    found = results.read(benchmark)
    assert found.metrics["polite"].value == 0.25 and found.metrics["answered"].value == 0.75
    verdicts = [json.loads(line) for line in (benchmark / "verdicts.jsonl").read_text().splitlines()]
    assert verdicts[0] == {"id": "c0", "polite": True}
