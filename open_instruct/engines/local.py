"""A checkpoint folder answers, through transformers: any architecture, on a GPU or a CPU, batch by batch.

For small models and for the tests; `vllm` is faster on a GPU. In float32, no answer depends on the batch size, greedy
or drawn: each has random numbers of its own, from its request's seed and its prompt. (In bfloat16 and float16, rounding
depends on the padding, so a near tie may fall otherwise.)
"""

import gc
import random
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jinja2 import TemplateError
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError
from open_instruct.engines.base import Completion, Request, Sampling

SPEED_ONLY = ("batch_size", "device")  # settings that do not decide what is answered

_CHUNK_BATCHES = 8  # taken at once and sorted by length, so that a batch holds little padding
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass
class Settings:
    """`path`: a checkpoint folder whose tokenizer has a chat template. `batch_size`: answers written at once; more are
    faster and take more memory. `dtype`: float32, bfloat16, float16 or auto (the checkpoint's; float32 on a CPU).
    `device`: cpu, cuda, cuda:1 or auto (the first GPU, if there is one)."""

    path: str
    batch_size: int = 32
    dtype: str = "auto"
    device: str = "auto"


class Engine:
    """See `engines/base.py`.

    Raises:
        UserError: the folder is no whole checkpoint, has no chat template, or does not fit the settings or the machine.
    """

    def __init__(self, settings: Settings) -> None:
        self._batch_size = settings.batch_size
        self._device, dtype = _placement(settings)
        folder = Path(settings.path)
        checkpoint.check(folder)
        self._tokenizer, config = checkpoint.load_tokenizer(folder)
        self._window = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._model = checkpoint.load_model(folder, dtype).to(self._device).eval()
        self._ends = _end_tokens(self._model.generation_config.eos_token_id, self._tokenizer.eos_token_id)
        # What the checkpoint suggests (a temperature, a penalty) must not mix with what a request asks for.
        self._model.generation_config = GenerationConfig(do_sample=False, pad_token_id=self._padding())

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the completions batch by batch; within `_CHUNK_BATCHES` batches the longest come first."""
        stream = iter(requests)
        while chunk := list(islice(stream, _CHUNK_BATCHES * self._batch_size)):
            tasks = []
            for request in chunk:
                task = self._prepared(request)
                if isinstance(task, Completion):
                    yield task
                else:
                    tasks.append(task)
            for batch in self._batches(tasks):
                yield from self._answer(batch)

    def close(self) -> None:
        """Give the memory back."""
        self._model = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _prepared(self, request: Request) -> "_Task | Completion":
        """The request as tokens, or a completion that says why it cannot be answered."""
        try:
            prompt = self._tokenizer.apply_chat_template(
                list(request.messages), add_generation_prompt=True, tokenize=True, return_dict=True
            )["input_ids"]
        except TemplateError as error:
            return Completion(request.key, "", "error", 0, 0, f"the chat template refuses the messages: {error}")
        except (TypeError, ValueError) as error:  # half a surrogate pair, which no UTF-8 can hold
            return Completion(request.key, "", "error", 0, 0, f"the tokenizer cannot read the messages: {error}")
        max_tokens = request.sampling.max_tokens
        if self._window is not None:
            max_tokens = min(max_tokens, self._window - len(prompt))
        if max_tokens < 1:
            error = f"the prompt of {len(prompt)} tokens leaves no room for an answer in the window of {self._window}"
            return Completion(request.key, "", "error", len(prompt), 0, error)
        return _Task(request, prompt, max_tokens)

    def _batches(self, tasks: list["_Task"]) -> Iterator[list["_Task"]]:
        """Batches of alike tasks. In none does the longest prompt with the longest answer go beyond the window: a row
        that is done is written on until the last one is, and some models fall over beyond their window."""
        tasks.sort(key=lambda task: (task.max_tokens, len(task.prompt)), reverse=True)
        batch: list[_Task] = []
        for task in tasks:
            beyond = self._window is not None and batch and len(task.prompt) + batch[0].max_tokens > self._window
            if beyond or len(batch) == self._batch_size:
                yield batch
                batch = []
            batch.append(task)
        if batch:
            yield batch

    @torch.inference_mode()
    def _answer(self, tasks: list["_Task"]) -> list[Completion]:
        length = max(len(task.prompt) for task in tasks)
        ids = torch.full((len(tasks), length), self._padding())
        mask = torch.zeros_like(ids)
        for row, task in enumerate(tasks):
            ids[row, length - len(task.prompt) :] = torch.tensor(task.prompt)
            mask[row, length - len(task.prompt) :] = 1
        watch = _Ends(tasks, self._ends, self._tokenizer)
        draw = [_Draw(tasks)] if any(task.request.sampling.temperature > 0 for task in tasks) else []
        try:
            self._model.generate(
                ids.to(self._device),
                attention_mask=mask.to(self._device),
                max_new_tokens=max(task.max_tokens for task in tasks),
                logits_processor=LogitsProcessorList(draw),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"engine local: the GPU's memory is too small for {len(tasks)} answers at once. What is done is kept; "
                f"run again with --engine_options batch_size={len(tasks) // 2 or 1}"
            ) from error
        return watch.completions()

    def _padding(self) -> int:
        """What fills a batch on the left; it is masked, so any token will do."""
        return next((token for token in (self._tokenizer.pad_token_id, *self._ends) if token is not None), 0)


@dataclass(slots=True)
class _Task:
    request: Request
    prompt: list[int]
    max_tokens: int


class _Ends(StoppingCriteria):
    """Follows a batch as it is written: where each answer ends, and why.

    Attributes:
        ended: for each row its finish reason; None while it is written.
    """

    def __init__(self, tasks: list[_Task], end_tokens: set[int], tokenizer: PreTrainedTokenizerBase) -> None:
        self._tasks = tasks
        self._end_tokens = end_tokens
        self._tokenizer = tokenizer
        self._written: list[list[int]] = [[] for _ in tasks]
        self.ended: list[str | None] = [None] * len(tasks)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **more: object) -> torch.Tensor:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self.ended[row] is None:
                self._written[row].append(token)
                self.ended[row] = self._reason(row, token)
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)

    def completions(self) -> list[Completion]:
        return [
            Completion(
                key=task.request.key,
                text=_before_stop(self._text(row), task.request.sampling.stop),
                finish_reason=self.ended[row],
                prompt_tokens=len(task.prompt),
                completion_tokens=len(self._written[row]),
            )
            for row, task in enumerate(self._tasks)
        ]

    def _reason(self, row: int, token: int) -> str | None:
        stop = self._tasks[row].request.sampling.stop
        if token in self._end_tokens or (stop and self._stopped(row, stop)):
            return "stop"
        return "length" if len(self._written[row]) == self._tasks[row].max_tokens else None

    def _stopped(self, row: int, stop: tuple[str, ...]) -> bool:
        """Whether a stop text has just been written out. The last tokens tell, since each has a byte or more."""
        longest = max(len(text.encode()) for text in stop)
        last = self._tokenizer.decode(self._written[row][-longest - 4 :], skip_special_tokens=True)
        return any(text in last for text in stop) and any(text in self._text(row) for text in stop)

    def _text(self, row: int) -> str:
        tokens = self._written[row]
        if tokens and tokens[-1] in self._end_tokens:
            tokens = tokens[:-1]
        return self._tokenizer.decode(tokens, skip_special_tokens=True)


class _Draw(LogitsProcessor):
    """Draws the next token of each row as its own request asks, and leaves `generate` no other choice."""

    def __init__(self, tasks: list[_Task]) -> None:
        self._samplings = [task.request.sampling for task in tasks]
        # The prompt is in the seed, so that equal seeds do not make one draw for all the rows of a file.
        self._random = [
            random.Random(f"{task.request.sampling.seed} {zlib.crc32(array('q', task.prompt))}") for task in tasks
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        uniform = torch.tensor([numbers.random() for numbers in self._random], device=scores.device)
        chosen = draw(scores.float(), self._samplings, uniform)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def draw(logits: torch.Tensor, samplings: list[Sampling], uniform: torch.Tensor) -> torch.Tensor:
    """The next token of each row, drawn with one random number a row (inverse of the cumulative distribution).

    Args:
        logits: (rows, vocabulary), float32.
        samplings: one a row; those with temperature 0 take the likeliest token.
        uniform: (rows,), numbers from 0 to below 1.

    Returns:
        (rows,) token ids.
    """

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=logits.device)[:, None]

    temperature = column([sampling.temperature or 1.0 for sampling in samplings])
    ordered, tokens = (logits / temperature).sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    # Greedy is the case of one token kept.
    kept = column([1 if sampling.temperature == 0 else sampling.top_k or logits.shape[1] for sampling in samplings])
    probabilities = ordered.masked_fill(rank >= kept, -torch.inf).softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    before_limit = column([sampling.top_p for sampling in samplings])
    probabilities = probabilities.masked_fill((before >= before_limit) & (rank > 0), 0.0)
    reached = probabilities.cumsum(dim=-1)
    place = (reached <= uniform[:, None] * reached[:, -1:]).sum(dim=-1, keepdim=True)
    last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1  # rounding may point behind it
    return tokens.gather(1, place.minimum(last))[:, 0]


def _before_stop(text: str, stop: tuple[str, ...]) -> str:
    found = [place for place in map(text.find, stop) if place >= 0]
    return text[: min(found)] if found else text


def _placement(settings: Settings) -> tuple[torch.device, str | torch.dtype]:
    """Device and dtype, checked."""
    if settings.batch_size < 1:
        raise UserError(f"engine local: batch_size is {settings.batch_size}; expected 1 or more")
    if settings.dtype not in _DTYPES:
        raise UserError(f"engine local: no dtype {settings.dtype!r}; there are: {', '.join(_DTYPES)}")
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"engine local: device {name!r} is not usable here ({reason}); try cpu or cuda") from error
    if settings.dtype != "auto":
        return device, getattr(torch, settings.dtype)
    return device, torch.float32 if device.type == "cpu" else "auto"  # half precision is slow on most CPUs


def _end_tokens(*tokens: int | list[int] | None) -> set[int]:
    """All ids in `tokens`: a model may have several tokens that end an answer."""
    ends: set[int] = set()
    for token in tokens:
        ends.update(token if isinstance(token, list) else [] if token is None else [token])
    return ends
