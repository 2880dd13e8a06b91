"""A model of lm-evaluation-harness whose answers come one by one, as they are finished: what `vllm` and `api` share.

Tokens are made as lm_eval's own model for transformers makes them, so that all backends read the same prompts.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix, normalize_gen_kwargs, postprocess_generated_text

from eval.resume import draws_of

Answer = str | tuple[float, bool]


class Streamed(TemplateLM):
    """Say how requests are answered in `answers`; all else is here.

    Args:
        tokenizer: transformers'; None where the server has the only one.
        max_length: tokens that prompt and answer may have together; None where nobody knows.
    """

    max_gen_toks = 256  # of a task that does not say, as in lm_eval's models

    def __init__(self, tokenizer: Any, max_length: int | None) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.add_bos_token: bool | None = False  # None: as the tokenizer does by itself

    @abstractmethod
    def answers(self, kind: str, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, Answer]]:
        """Yield (place in `requests`, answer) of each, in the order they are finished.

        Args:
            kind: "generate_until" or "loglikelihood".
            requests: lm_eval's; their `args` alone count.
            draws: how often the same request stood before it: several answers to one prompt are different draws.
        """

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        return self._all("generate_until", requests)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return self._all("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        raise NotImplementedError("refused before loading: see `check` of the backend")

    def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        raise NotImplementedError("`loglikelihood` does it")

    def _all(self, kind: str, requests: list[Any]) -> list[Any]:
        found = dict(self.answers(kind, requests, draws_of(requests)))
        return [found[place] for place in range(len(requests))]

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has no prompt."""
        found = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if found is None else found

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__") if self.tokenizer else ""

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        add = self.add_bos_token if add_special_tokens is None else add_special_tokens
        if add_special_tokens is None and has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id)):
            add = False
        return self.tokenizer.encode(string, **({} if add is None else {"add_special_tokens": add}))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def prompt(self, text: str, longest_answer: int) -> list[int]:
        """The tokens of a prompt; its beginning goes where the longest answer has no room behind it."""
        tokens = self.tok_encode(text) or [self.prefix_token_id]
        return tokens if self.max_length is None else tokens[-(self.max_length - longest_answer) :]

    def scored(self, prompt: str, answer: str) -> tuple[list[int], int]:
        """The tokens of prompt and answer together, as many of the last as fit, and how many of these are answer."""
        if prompt:
            before, after = self._encode_pair(prompt, answer)
        else:
            before, after = [self.prefix_token_id], self.tok_encode(answer, add_special_tokens=False)
            if after[0] == before[0]:
                after = after[1:]
        tokens = before + after
        return (tokens if self.max_length is None else tokens[-(self.max_length + 1) :]), len(after)


def generation(settings: dict[str, Any], default_tokens: int) -> tuple[list[str], int, dict[str, Any]]:
    """Of a task's settings: the texts that end an answer, its longest length in tokens, and how it is drawn."""
    found = dict(normalize_gen_kwargs(settings, default_tokens))
    until, longest = [text for text in found.pop("until") if text], found.pop("max_gen_toks")
    if not found.pop("do_sample"):
        return until, longest, {"temperature": 0.0}
    return until, longest, found


def ended(text: str, until: list[str]) -> str:
    """The answer up to the first text that ends it."""
    return postprocess_generated_text(text, until, None)
