"""A judge's prompt file: what it is told, what it is shown, and how its verdict is read. Kinds of judges load it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.judges import _verdicts
from open_instruct.core.asking import BadAnswer
from open_instruct.core.estimate import answer_tokens
from open_instruct.core.prompt_file import fill, order_for, orders, read_prompt_file
from open_instruct.engines.base import Message

FOLDER = Path(__file__).parent / "prompts"
_EXPECTED = (
    "verdict, max_tokens, system, question, examples, orders, and each example an answer and what fills the question; "
    f"verdict is one of {', '.join(_verdicts.READERS)}; max_tokens and orders are numbers, examples is a list, the "
    "rest are texts"
)


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt file.

    Attributes:
        verdict: how an answer is read, one of `_verdicts.READERS`.
        max_tokens: the longest answer; one that is cut off there is no verdict.
        digest: names the content, so that verdicts of two prompts are never mixed.
    """

    system: str
    question: str
    orders: tuple[tuple[Message, ...], ...]
    verdict: str
    max_tokens: int
    digest: str

    def messages(self, number: int, values: dict[str, str]) -> tuple[Message, ...]:
        """What the judge is sent about request `number`; `values` fill the question's places."""
        question = {"role": "user", "content": fill(self.question, values).strip()}
        return ({"role": "system", "content": self.system}, *order_for(number, self.orders), question)

    def read(self, text: str) -> dict[str, Any]:
        """The verdict in an answer.

        Raises:
            BadAnswer: there is none that can be trusted; it says why.
        """
        return _verdicts.READERS[self.verdict](text)

    def answer_tokens(self) -> int:
        """About how many tokens a verdict has: as the longest example, or else the most there may be."""
        return answer_tokens(self.orders[0], self.max_tokens)


def load(name: str, folder: str | Path = "") -> Prompt:
    """The prompt file `name`.yaml of `folder`, by default of `eval/judges/prompts`.

    Raises:
        UserError: no such file, or it is no prompt of a judge.
    """
    path = Path(folder or FOLDER) / f"{name}.yaml"
    return read_prompt_file(path, _build, _EXPECTED, f"copy {FOLDER} and change what you need")


def _build(content: Any, digest: str) -> Prompt:
    if content["verdict"] not in _verdicts.READERS:
        raise ValueError(f"verdict is {content['verdict']!r}")
    bare = Prompt(
        system=content["system"].strip(),
        question=content["question"],
        orders=((),),
        verdict=content["verdict"],
        max_tokens=int(content["max_tokens"]),
        digest=digest,
    )
    turns = []
    for example in content["examples"]:
        values = {name: str(value) for name, value in example.items() if name != "answer"}
        try:
            bare.read(example["answer"])
        except BadAnswer as reason:  # it would teach the judge to write such
            raise ValueError(f"the answer of an example is no verdict: {reason}") from reason
        shown = fill(bare.question, values).strip()
        turns.append(({"role": "user", "content": shown}, {"role": "assistant", "content": example["answer"].strip()}))
    return replace(bare, orders=orders(turns, int(content["orders"])))
