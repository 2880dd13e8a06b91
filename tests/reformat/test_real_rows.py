"""The sources on real rows: what the shared data holds of them, with the counts of its MANIFEST.tsv."""

import csv
import json
from pathlib import Path

import pytest

from open_instruct import reformat
from open_instruct.core.records import Conversation
from open_instruct.reformat._convert import Counts, convert
from open_instruct.reformat._files import find
from open_instruct.reformat.base import Rejected


@pytest.fixture(scope="session")
def records(shared) -> dict[str, int]:
    """Rows of each file, by its path under the shared data."""
    with (shared / "data" / "MANIFEST.tsv").open(newline="") as file:
        return {row["file"]: int(row["records"]) for row in csv.DictReader(file, delimiter="\t") if row["records"]}


def run(name: str, place: Path) -> tuple[list[Conversation], list[Rejected], Counts]:
    module, counts = reformat.module(name), Counts()
    paths, _ = find(name, module.SOURCE, place)
    results = list(convert(name, module, paths, counts))
    rejected = [result for result in results if isinstance(result, Rejected)]
    return [result for result in results if not isinstance(result, Rejected)], rejected, counts


# The rejected rows are those with a blank answer; no other row of these files may go.
@pytest.mark.parametrize(
    ("name", "place", "rejected"),
    [
        ("dolly", "dolly/dolly_3k.json", 0),
        ("code_alpaca", "code_alpaca/new_codealpaca.json", 0),
        ("self_instruct", "self_instruct/seed_tasks.jsonl", 0),
        ("oasst1", "oasst/oasstcommitpackft.jsonl", 0),
        ("lima", "lima/lima.jsonl", 0),
        ("gsm8k", "gsm8k/train.jsonl", 0),
        ("stanford_alpaca", "alpaca/alpaca_claude_t45.json", 4),
        ("stanford_alpaca", "alpaca/alpaca_en_demo.json", 0),
        ("stanford_alpaca", "alpaca/alpaca_random_9k.json", 4),
        ("stanford_alpaca", "alpaca/alpaca_zh_demo.json", 0),
        ("stanford_alpaca", "alpaca/cherry_alpaca_5_percent.json", 0),
        ("alpaca_cleaned", "alpaca/alpaca_random_9k.json", 4),
    ],
)
def test_every_row_comes_out_or_is_rejected_for_a_blank_answer(name, place, rejected, shared, records):
    conversations, left_out, counts = run(name, shared / "data" / "train" / place)
    assert counts.rows == records[f"train/{place}"]
    assert (counts.written, counts.rejected) == (counts.rows - rejected, rejected)
    assert all("blank" in one.reason or "no assistant message with text" in one.reason for one in left_out)
    assert len({one.id for one in conversations}) == len(conversations)


def test_flans_tables_come_out_whole(shared, records):
    conversations, _, counts = run("cot", shared / "data" / "train" / "cot")
    assert counts.rows == counts.written == sum(rows for file, rows in records.items() if file.startswith("train/cot/"))
    assert all("So the answer is " in one.messages[1]["content"] for one in conversations)
    assert not any("\\n" in message["content"] for one in conversations[:2000] for message in one.messages)


def test_super_ni_takes_80_instances_of_each_task(shared, records):
    folder = shared / "data" / "train" / "super_ni"
    conversations, rejected, counts = run("super_ni", folder)
    tasks = [json.loads(path.read_text()) for path in folder.iterdir()]
    assert counts.rows == sum(len(task["Instances"]) for task in tasks)
    assert (counts.written, rejected) == (80 * len(tasks), [])
    ids = [one.id.removeprefix("super_ni_") for one in conversations]
    answers = {instance["id"]: instance["output"][0].strip() for task in tasks for instance in task["Instances"]}
    assert len(set(ids)) == len(ids)
    assert all(
        one.messages[-1]["content"].strip() == answers[name] for one, name in zip(conversations, ids, strict=True)
    )
    assert sum(one.messages[0]["content"].endswith("\nOutput:\n") for one in conversations) == 20 * len(tasks)


def test_published_runs_give_each_answered_instruction(shared):
    files = sorted((shared / "data" / "generation").glob("*/*-final.jsonl"))
    assert files
    for path in files:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        answered = [row for row in rows if row.get("final_refined_instruction_reponse")]
        conversations, rejected, counts = run("seqins", path)
        assert (counts.rows, counts.written, len(rejected)) == (100, len(answered), 100 - len(answered))
        for row, conversation in zip(answered, conversations, strict=True):
            assert conversation.messages[-1]["content"] == row["final_refined_instruction_reponse"]
            system = [message["content"] for message in conversation.messages if message["role"] == "system"]
            assert system == ([row["system_prompt"]] if row.get("system_prompt") else [])
