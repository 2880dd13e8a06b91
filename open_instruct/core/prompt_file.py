"""What every prompt file shares: YAML with a digest, texts with places to fill, and examples in a few fixed orders.

The steps of stage 1 (`self-seq/prompts`) and the judges of evaluation (`eval/judges/prompts`) read their files through
here; which fields a file has, and what fills its places, is theirs. The examples come in a few fixed orders, and rows
next to each other get the same one, so an engine's prefix cache serves everything before the question.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from open_instruct.core.errors import UserError
from open_instruct.engines.base import Message

ROWS_AN_ORDER = 512  # rows that share one order of the examples before the next order's turn

Messages = tuple[Message, ...]
Prompt = TypeVar("Prompt")


def read_prompt_file(path: Path, build: Callable[[Any, str], Prompt], expected: str, remedy: str) -> Prompt:
    """The prompt in a file.

    Args:
        path: the file.
        build: makes it of the file's content and digest, which names the content, so that a journal can tell that the
            prompt has changed; raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` where a field is
            missing or of the wrong kind.
        expected: the fields that a file needs, and their kinds, in two halves of one sentence with ";" between.
        remedy: what to do where there is no such file.

    Raises:
        UserError: no such file, not UTF-8, not YAML, or a field is missing or of the wrong kind.
    """
    needs, _, kinds = expected.partition("; ")
    try:
        text = path.read_text(encoding="utf-8")
        return build(yaml.safe_load(text), hashlib.sha256(text.encode()).hexdigest()[:16])
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such prompt file; {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8. Convert the file (iconv -t UTF-8).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(
            f"{path}:{mark.line + 1 if mark else 1}: not YAML: {getattr(error, 'problem', error)}"
        ) from error
    except KeyError as error:
        raise UserError(f"{path}:1: a prompt file needs {needs}; missing: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}:1: a field is of the wrong kind ({error}); {kinds}") from error


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each `{name}` of `values` filled, in one pass: a brace in a value is never a place to fill."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda place: values[place[1]], template)


def within_tags(text: str, tags: Iterable[str]) -> str:
    """A text that cannot end one of the tags it may stand in: what is judged must not write what the judge is told."""
    return re.sub(rf"</\s*({'|'.join(tags)})\s*>", r"< /\1>", text, flags=re.IGNORECASE)


def orders(turns: list[tuple[Message, Message]], count: int) -> tuple[Messages, ...]:
    """The examples (question and answer each) in `count` fixed orders, each as the messages that show them."""
    rng = random.Random(0)
    found = []
    for _ in range(max(1, count)):
        shuffled = rng.sample(turns, len(turns))
        found.append(tuple(message for turn in shuffled for message in turn))
    return tuple(found)


def order_for(number: int, orders: tuple[Messages, ...]) -> Messages:
    """The one of `orders` that the row of that number gets."""
    return orders[number // ROWS_AN_ORDER % len(orders)]
