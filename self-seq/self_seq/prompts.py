"""Prompt files: a step's system text, examples and question, filled with one row.

The files are in `self-seq/prompts/` (or a folder of the user's); `steps.py` asks with them. The examples come in a
few fixed orders, and rows next to each other get the same one, so an engine's prefix cache serves everything before
the question.
"""

import hashlib
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction
from open_instruct.engines.base import Message
from self_seq.state import STATE

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
ROWS_AN_ORDER = 512  # rows that share one order of the examples before the next order's turn


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
        examples = self.orders[number // ROWS_AN_ORDER % len(self.orders)]
        return (*start, *examples, {"role": "user", "content": self._question(row)})

    def _question(self, row: Instruction) -> str:
        section = self.input_section.replace("{input}", row.input) if row.input else ""
        values = {
            "{instruction}": row.instruction,
            "{original}": row.extra.get(STATE, {}).get("original_instruction", row.instruction),
            "{prompt}": row.prompt,
            "{input}": section,
        }
        # One pass, so that a brace in a row's text is never taken for a place to fill.
        return re.sub(
            r"\{(?:instruction|original|prompt|input)\}", lambda place: values[place[0]], self.question
        ).strip()


def load_prompt(folder: Path, name: str) -> Prompt:
    """Read `folder/name.yaml`.

    Raises:
        UserError: no such file, not YAML, or a field is missing.
    """
    path = folder / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        return _prompt(yaml.safe_load(text), hashlib.sha256(text.encode()).hexdigest()[:16])
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such prompt file; copy {FOLDER.name}/ and change what you need") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8. Convert the file (iconv -t UTF-8).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(
            f"{path}:{mark.line + 1 if mark else 1}: not YAML: {getattr(error, 'problem', error)}"
        ) from error
    except KeyError as error:
        raise UserError(
            f"{path}:1: a prompt file needs system, question, input_section, examples, orders, and each example "
            f"instruction and answer; missing: {error}"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}:1: a field is of the wrong kind ({error}); system, question, input_section and what an example "
            "holds are texts, examples is a list, orders a number"
        ) from error


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
    return replace(bare, orders=_orders(turns, int(content["orders"])))


def _orders(turns: list[tuple[Message, Message]], count: int) -> tuple[tuple[Message, ...], ...]:
    rng = random.Random(0)
    orders = []
    for _ in range(max(1, count)):
        shuffled = rng.sample(turns, len(turns))
        orders.append(tuple(message for turn in shuffled for message in turn))
    return tuple(orders)
