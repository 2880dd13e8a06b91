"""The dataset card: README.md as the Hugging Face hub reads it, YAML above and Markdown below.

Called by `page.py`. The YAML names one configuration a training file, so that `datasets.load_dataset(folder, "sit")`
works from the folder as from the hub. What models and people wrote is escaped: it can end neither the YAML nor a table.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from open_instruct.core.records import replacing
from self_seq.report.facts import OPTIONS, Facts
from self_seq.report.survey import Lengths

CARD_FILE = "README.md"

_PAPER = "https://arxiv.org/abs/2403.07794"
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
_HUGE = "10M<n<100M"
# Identifiers of licences that the hub knows; any other goes by "other" and its name.
_LICENCES = {
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nd-4.0", "odc-by", "odbl", "pddl", "bsd-3-clause", "bsd-2-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
    *("mpl-2.0", "openrail", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma", "cdla-permissive-2.0"),
    *("cdla-sharing-1.0", "unlicense", "wtfpl", "other", "unknown"),
}
_FIELDS = {
    "id": "name of the row in the source: its `id`, or `idx`, or the row's number; the same in both files",
    "instruction": "what is asked: in `sit` the chain of tasks, in `it` the original instruction",
    "input": "the text it works on; empty where there is none",
    "output": "the answer: the training target",
    "options": "what was done to the instruction in each iteration: A decompose, B prefix, C suffix, D keep",
    "original_instruction": "in `sit`: the instruction before it was rewritten",
    "system_prompt": "the source's system prompt, where the row has one",
}
_SHOWN = 1200  # characters of each text in the example
_MOST_REASONS = 30


def write_card(folder: Path, facts: Facts) -> None:
    """Write README.md into the run's folder."""
    with replacing(folder / CARD_FILE) as write:
        write(card(facts).encode(errors="replace"))


def card(facts: Facts) -> str:
    """The text of the card."""
    header = yaml.safe_dump(_header(facts), allow_unicode=True, sort_keys=False, width=1000)
    sections = [
        [f"# Sequential instructions: {_plain(facts.name)}"],
        _about(facts),
        _load(facts),
        _example(facts),
        _fields(facts),
        _made(facts),
        _counts(facts),
        _options(facts),
        _lengths(facts),
        _rejected(facts),
        _licence(facts),
        _citation(),
    ]
    return f"---\n{header}---\n\n" + "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _header(facts: Facts) -> dict[str, Any]:
    configs = [{"config_name": "sit", "default": True, "data_files": "sit.jsonl"}]
    if facts.survey.it_rows:
        configs.append({"config_name": "it", "data_files": "it.jsonl"})
    rows = facts.survey.sit_rows
    return {
        "pretty_name": f"Sequential instructions: {facts.name}",
        **_licence_fields(facts),
        "task_categories": ["text-generation"],
        "size_categories": [next((name for below, name in _SIZES if rows < below), _HUGE)],
        "tags": ["instruction-tuning", "sequential-instructions", "synthetic"],
        "configs": configs,
    }


def _licence_fields(facts: Facts) -> dict[str, str]:
    """As the hub wants them: an identifier of its own list, or "other" with a name."""
    given = facts.source["license"].strip()
    name = re.sub(r"[\s_]+", "-", given.lower())
    if not given:
        return {"license": "unknown"}
    if name in _LICENCES:
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name).strip("-")[:100] or "other"}


def _about(facts: Facts) -> list[str]:
    survey = facts.survey
    files = "`sit.jsonl` holds the chains and their answers"
    if survey.it_rows:
        files += "; `it.jsonl` the same rows in the same order with the original instructions, answered: the baseline"
    return [
        f"{survey.sit_rows:,} instructions for fine-tuning language models, {survey.rewritten:,} of them rewritten "
        f"from one task into a chain of several (sequential instruction tuning, [arXiv 2403.07794]({_PAPER})). "
        f"{files}.",
        *("" for _ in facts.notes[:1]),
        *(f"> {_plain(note)}" for note in facts.notes),
        "",
        "`report.html` shows the same figures as pictures, and rows before and after.",
    ]


def _load(facts: Facts) -> list[str]:
    lines = ["## Loading", "", "```python", "from datasets import load_dataset", ""]
    lines.append('sit = load_dataset("FOLDER_OR_NAME", "sit", split="train")')
    if facts.survey.it_rows:
        lines.append('it = load_dataset("FOLDER_OR_NAME", "it", split="train")')
    return [*lines, "```"]


def _example(facts: Facts) -> list[str]:
    if facts.survey.example is None:
        return []
    row = {
        key: value[:_SHOWN] + " …" if isinstance(value, str) and len(value) > _SHOWN else value
        for key, value in facts.survey.example.items()
    }
    text = json.dumps(row, ensure_ascii=False, indent=2)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))  # longer than any in the text
    return ["## A row of `sit`", "", f"{fence}json", text, fence]


def _fields(facts: Facts) -> list[str]:
    files = facts.survey.fields
    names = list(dict.fromkeys(name for fields in files.values() for name in fields))
    rows = [
        [
            f"`{name}`" if name in _FIELDS else _plain(name),
            _FIELDS.get(name, "from the source"),
            ", ".join(file for file, fields in files.items() if name in fields),
        ]
        for name in names
    ]
    return ["## Fields", "", *_table(["field", "meaning", "in"], rows)]


def _made(facts: Facts) -> list[str]:
    settings = facts.settings
    steps = [
        "In each iteration the generator was asked to **classify** the instruction (A decompose, B prefix, C suffix, "
        "D keep), then to **rewrite** it by that option",
    ]
    if settings.get("refine"):
        steps.append("then to **refine** it: is everything there that is needed to answer?")
    both = " and to the original one" if settings.get("it_answers") == "generator" else ""
    steps.append(
        f"at the end to **respond** to the sequential instruction{both}. A row that was kept (D) stays as it is."
    )
    told = [
        ("source", facts.source["name"] or facts.source["file"] or "not stated"),
        ("where it is", facts.source["url"]),
        ("generator", facts.generator),
        ("made", str(facts.run.get("start", ""))[:10]),
        ("commit", facts.commit),
        ("versions", ", ".join(f"{name} {version}" for name, version in (facts.run.get("versions") or {}).items())),
        *facts.settings_told(),
    ]
    rows = [[_plain(name), _plain(value)] for name, value in told if value]
    return ["## How it was made", "", "; ".join(steps), "", *_table(["", ""], rows)]


def _counts(facts: Facts) -> list[str]:
    flow = facts.flow
    rows = [["rows in", f"{flow.rows_in:,}"]]
    rows += [[f"screened out: {_plain(reason)}", f"{number:,}"] for reason, number in flow.screened.items()]
    rows += [["dropped", f"{flow.dropped:,}"], ["written", f"{flow.written:,}"]]
    rows += [["of these, with a failed step", f"{flow.with_a_failed_step:,}"]]
    rows += [["of these, rewritten", f"{facts.survey.rewritten:,}"]]
    return ["## Counts", "", *_table(["", "rows"], rows, numbers_from=1)]


def _options(facts: Facts) -> list[str]:
    if not facts.iterations:
        return []
    options = [one for one in OPTIONS if one in "ABCD" or any(it.counts.get(one) for it in facts.iterations)]
    rows = []
    for iteration in facts.iterations:
        cells = [f"{iteration.percent(option):.2f}" for option in options]
        rows.append([f"iteration {iteration.number}", *cells])
        if iteration.published:
            rows.append(["published", *(_percent(iteration.published.get(option)) for option in options)])
    name = (facts.statistics.get("published") or {}).get("name")
    about = f"Percent of {facts.iterations_of}; a row that was kept (D) counts as D ever after."
    about += f" Published: {_plain(str(name))}." if name else ""
    head = [f"{option} {what}" if option in "ABCD" else what for option, what in OPTIONS.items() if option in options]
    return ["## Options chosen", "", about, "", *_table(["", *head], rows, numbers_from=1)]


def _percent(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _lengths(facts: Facts) -> list[str]:
    survey, tokens = facts.survey, facts.statistics.get("tokens") or {}
    texts: list[tuple[str, Lengths, str]] = [
        ("original instruction", survey.original, ""),
        ("sequential instruction", survey.sequential, ""),
        ("answer in sit", survey.sit_answers, "respond_sit"),
    ]
    if survey.it_rows:
        texts.append(("answer in it", survey.it_answers, "respond_it"))
    rows = []
    for name, lengths, step in texts:
        spent = tokens.get(step) if isinstance(tokens, dict) else None
        known = isinstance(spent, dict) and spent.get("answers") and spent.get("out")
        rows.append(
            [
                name,
                f"{lengths.mean:.1f}",
                f"{lengths.quantile(0.5):,}",
                f"{lengths.quantile(0.95):,}",
                f"{lengths.longest:,}",
                f"{spent['out'] / spent['answers']:.1f}" if known else "",
            ]
        )
    about = "In words between spaces; tokens are the generator's, of the answers that were asked for."
    head = ["", "mean", "median", "95 % are no longer than", "longest", "mean tokens"]
    if not any(row[-1] for row in rows):
        head, rows, about = head[:-1], [row[:-1] for row in rows], "In words between spaces."
    return ["## Lengths", "", about, "", *_table(head, rows, numbers_from=1)]


def _rejected(facts: Facts) -> list[str]:
    told = list(facts.survey.rejected.items())
    if not told:
        return []
    rows = [[_plain(reason), f"{one.rows:,}", f"{one.dropped:,}"] for reason, one in told[:_MOST_REASONS]]
    more = len(told) - len(rows)
    table = _table(["step and reason", "times", "in dropped rows"], rows, numbers_from=1)
    rarer = ["", f"{more:,} rarer reasons stand in `rejected.jsonl`."] if more else []
    return ["## What failed, by reason", "", *table, *rarer]


def _licence(facts: Facts) -> list[str]:
    given = facts.source["license"].strip()
    source = _plain(facts.source["name"] or facts.source["file"] or "the source")
    if given:
        text = f"{source} is published under {_plain(given)}; what was taken over from it stays under that licence."
    else:
        text = (
            f"**The licence of the source ({source}) is not stated.** Find it out before you publish or use this set."
        )
    model = f"The texts of the generator ({_plain(facts.generator)}) are under the terms of that model."
    return ["## Licence", "", f"{text} {model}"]


def _citation() -> list[str]:
    return [
        "## Citing",
        "",
        "```bibtex",
        "@inproceedings{hu2025sequential,",
        "  title     = {Fine-tuning Large Language Models with Sequential Instructions},",
        "  author    = {Hu, Hanxu and Yu, Simon and Chen, Pinzhen and Ponti, Edoardo M.},",
        "  booktitle = {Proceedings of NAACL 2025},",
        "  pages     = {5589--5610},",
        "  year      = {2025},",
        "  note      = {arXiv:2403.07794}",
        "}",
        "```",
    ]


def _table(head: list[str], rows: list[list[str]], numbers_from: int | None = None) -> list[str]:
    marks = ["---" if numbers_from is None or place < numbers_from else "---:" for place in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *rows)]


def _plain(text: str) -> str:
    """`text` as Markdown shows it unchanged, on one line, in a table too."""
    return re.sub(r"([\\`*_{}\[\]()<>|#~&$!])", r"\\\1", " ".join(str(text).split()))
