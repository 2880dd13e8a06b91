"""Few-shot examples that belong to an item: those of its own language, subject or task.

A YAML names one as `fewshot_config.sampler`, with `split: test`, upon which lm-evaluation-harness tells it the item.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from lm_eval.api.samplers import ContextSampler

from open_instruct.core.errors import UserError


class ItsExamples(ContextSampler):
    """Gives the first `n` of the item's own examples, a list of {"question", "answer"} in its field `examples`."""

    def sample(self, n: int, eval_doc: dict[str, Any] | None = None, df: Any = None, **_: Any) -> list[dict[str, str]]:
        """The examples of `eval_doc`.

        Raises:
            UserError: it has fewer than `n`.
        """
        examples = (eval_doc or {}).get("examples") or []
        if len(examples) < n:
            raise UserError(
                f"item {(eval_doc or {}).get('id')}: {n} examples asked for, there are {len(examples)}. Name a task "
                f"that has them (such as mgsm_cot_8shot), or --num_fewshot {len(examples)}"
            )
        return examples[:n]


class OfItsFile(ContextSampler):
    """Gives the first `n` examples of the file that the item names in its field `shown`; a task says how it is read."""

    read: ClassVar[Callable[[str], list[dict[str, Any]]]]

    def sample(self, n: int, eval_doc: dict[str, Any] | None = None, df: Any = None, **_: Any) -> list[dict[str, Any]]:
        """The examples for `eval_doc`.

        Raises:
            UserError: there are fewer than `n`.
        """
        file = (eval_doc or {})["shown"]
        examples = type(self).read(file)
        if len(examples) < n:
            raise UserError(f"{file}: {n} examples asked for, there are {len(examples)}: --num_fewshot {len(examples)}")
        return examples[:n]
