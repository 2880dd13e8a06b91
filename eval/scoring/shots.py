"""Few-shot examples that belong to an item: those of its own language.

A YAML names it as `fewshot_config.sampler`, with `split: test`, upon which lm-evaluation-harness tells it the item.
Each item brings its examples along in `examples`, a list of {"question", "answer"}.
"""

from typing import Any

from lm_eval.api.samplers import ContextSampler

from open_instruct.core.errors import UserError


class ItsExamples(ContextSampler):
    """Gives the first `n` of the item's own examples, in their order."""

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
