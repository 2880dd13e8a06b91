"""Prompt files: a step's system text, examples and question, filled with one row.

The files are in `self-seq/prompts/` (or a folder of the user's); `steps.py` asks with them. What such files share with
those of other stages is in `open_instruct/core/prompt_file.py`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from open_instruct.core.prompt_file import fill, order_for, orders, read_prompt_file
from open_instruct.core.records import Instruction
from open_instruct.engines.base import Message
from self_seq.state import STATE

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
_EXPECTED = (
    "system, question, input_section, examples, orders, and each example instruction and answer; "
    "system, question, input_section and what an example holds are texts, examples is a list, orders a number"
)


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt file. `digest` names its content, so that a journal can tell that the prompt has changed."""

    system: str
    question: str
    input_section: str
    orders: tuple[tuple[Message, ...], ...]
    digest: str

    def fill(self, number: int, row: Instruction) -> tuple[Message, ...]:
        """The messages that ask about `row`, the row number `number` of its file."""
        system = self.system or row.system  # a step's own rules are not the row's to replace
        start = [{"role": "system", "content": system}] if system else []
        return (*start, *order_for(number, self.orders), {"role": "user", "content": self._question(row)})

    def _question(self, row: Instruction) -> str:
        section = self.input_section.replace("{input}", row.input) if row.input else ""
        values = {
            "instruction": row.instruction,
            "original": row.extra.get(STATE, {}).get("original_instruction", row.instruction),
            "prompt": row.prompt,
            "input": section,
        }
        return fill(self.question, values).strip()


def load_prompt(folder: Path, name: str) -> Prompt:
    """Read `folder/name.yaml`.

    Raises:
        UserError: no such file, not YAML, or a field is missing.
    """
    remedy = f"copy {FOLDER.name}/ and change what you need"
    return read_prompt_file(folder / f"{name}.yaml", _prompt, _EXPECTED, remedy)


def _prompt(content: Any, digest: str) -> Prompt:
    """The prompt of a file's content; raises what a missing or wrong field raises by itself."""
    system, question, section = (content[key] for key in ("system", "question", "input_section"))
    bare = Prompt(system.strip(), question, section.rstrip("\n"), ((),), digest)
    turns = []
    for example in content["examples"]:
        extra = {STATE: {"original_instruction": example["original"]}} if "original" in example else {}
        row = Instruction(example["instruction"], example.get("input", ""), "", extra)
        turns.append(
            (
                {"role": "user", "content": bare._question(row)},
                {"role": "assistant", "content": example["answer"].strip()},
            )
        )
    bare._question(Instruction(""))  # a question that is no text shows here, and not after the first rows
    return replace(bare, orders=orders(turns, int(content["orders"])))
