"""The dataset card: what the hub and `datasets` read from it, and what a reader does."""

import json
import re

import pytest
import yaml

from self_seq.report.card import _plain
from self_seq.report.page import write_report

NASTY = 'a: "b"\n---\n# heading | cell ``` </div> <b>x</b> [l](http://x) * _ \\ & \u2028'


def card_of(folder):
    """(what its YAML says, its Markdown)."""
    write_report(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    empty, header, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(header), body


def test_datasets_loads_both_sets_from_the_folder(finished_run, tmp_path):
    from datasets import load_dataset

    folder = finished_run()
    write_report(folder)
    (folder / "iteration_1").mkdir()  # as they lie beside the training files in a real folder
    (folder / "iteration_1" / "classify.journal.jsonl").write_text('{"key": 1}\n')
    (folder / "instructions.jsonl").write_text('{"other": 1}\n')
    for name in ("sit", "it"):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        loaded = load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))
        assert list(loaded) == ["train"] and list(loaded["train"]) == rows
    default = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert "original_instruction" in default.column_names and len(default) == 40


def test_the_header_is_as_the_hub_wants_it(finished_run):
    header, _ = card_of(finished_run())
    assert header == {
        "pretty_name": "Sequential instructions: Towns",
        "license": "cc-by-4.0",
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "tags": ["instruction-tuning", "sequential-instructions", "synthetic"],
        "configs": [
            {"config_name": "sit", "default": True, "data_files": "sit.jsonl"},
            {"config_name": "it", "data_files": "it.jsonl"},
        ],
    }


def test_the_client_of_the_hub_reads_the_header(finished_run):
    from huggingface_hub import DatasetCard

    folder = finished_run()
    write_report(folder)
    assert DatasetCard.load(folder / "README.md").data.license == "cc-by-4.0"


@pytest.mark.parametrize(
    ("given", "header", "told"),
    [
        ("", {"license": "unknown"}, "is not stated.** Find it out"),
        ("CC BY-NC 4.0", {"license": "cc-by-nc-4.0"}, "published under CC BY-NC 4.0"),
        ("Our own: terms", {"license": "other", "license_name": "our-own-terms"}, "published under Our own: terms"),
    ],
)
def test_the_licence_of_the_source(finished_run, given, header, told):
    found, body = card_of(finished_run(statistics={"source": {"name": "Towns", "license": given}}))
    assert {key: value for key, value in found.items() if key.startswith("license")} == header
    assert told in body


def test_figures_and_settings_stand_in_it(finished_run):
    _, body = card_of(finished_run())
    for line in (
        "| rows in | 50 |",
        "| screened out: near-duplicate | 4 |",
        "| dropped | 4 |",
        "| written | 40 |",
        "| iteration 1 | 0.00 | 0.00 | 75.00 | 22.73 | 2.27 |",
        "| published | 24.50 | 51.24 | 7.41 | 16.85 |  |",
        "| respond\\_sit: empty answer | 5 | 4 |",
        "| answer in sit | 9.0 | 9 | 9 | 9 | 22.5 |",
        "| generator | local \\(model llama\\) |",
        "| commit | 0123456789ab |",
        "| versions | python 3.11.7, vllm 0.32.0 |",
        "| `options` | what was done to the instruction in each iteration: A decompose,",
        "D keep | sit, it |",
        "40 instructions for fine-tuning language models, 30 of them rewritten from one task into a chain",
    ):
        assert line in body, body
    assert "arXiv:2403.07794" in body and "somebody" not in body


def test_what_others_wrote_ends_neither_the_header_nor_a_table(finished_run):
    row = dict.fromkeys(("instruction", "input", "output", "original_instruction"), NASTY + "`````")
    nasty = {
        "source": {"name": NASTY, "file": NASTY, "license": NASTY, "url": NASTY},
        "generator": {"name": NASTY},
        "settings": {NASTY: NASTY},
        "rows_screened": {NASTY: 2},
    }
    header, body = card_of(finished_run(rows=[{"id": 0, **row, "options": ["C"], NASTY: 1}], statistics=nasty))
    assert header["pretty_name"] == f"Sequential instructions: {NASTY}"
    assert re.fullmatch(r"[a-z0-9.-]+", header["license_name"])
    fences = re.findall(r"^(`{3,})\w*$", body, re.MULTILINE)
    assert fences == ["```", "```", "``````", "``````", "```", "```"]
    text = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^#+ ", text, re.MULTILINE)) == 11  # our headings and no other
    assert not re.search(r"(?<!\\)<|(?<!\\)</", text)
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_plain_text_in_markdown():
    assert _plain("a|b\n # *c* <d> [e](f) `g` \\") == r"a\|b \# \*c\* \<d\> \[e\]\(f\) \`g\` \\"


def test_without_an_it_file_there_is_one_set(finished_run):
    header, body = card_of(finished_run(it=False))
    assert [one["config_name"] for one in header["configs"]] == ["sit"]
    assert '"it"' not in body and "answer in it" not in body


def test_of_very_many_reasons_the_card_shows_the_most_frequent_and_counts_the_rest(finished_run):
    folder = finished_run()
    failures = [{"step": "classify", "reason": f"a prompt of {n} tokens is too long", "answer": ""} for n in range(70)]
    rows = [{"id": n, "instruction": "x", "dropped": True, "failures": [one]} for n, one in enumerate(failures)]
    (folder / "rejected.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    _, body = card_of(folder)
    shown = body.count("tokens is too long")
    assert 0 < shown < 70 and f"{70 - shown} rarer reasons stand in" in body
