"""Difficulty without a judge: how badly a base model foresees the answer, and how much the instruction helps it.

    loss   mean negative log-likelihood of the answer's tokens, given the instruction (nats a token)
    ratio  loss / loss of the same tokens without the instruction: the instruction-following difficulty of Cherry LLM
           (arXiv 2308.12032); near 1 the instruction tells the model nothing, small where it makes the answer plain

Both are means over tokens, so long answers do not weigh more. They are no grades from 1 to 5: stages are then cut by
equal size. `score.py` calls it; a row that is done is in the journal and never worked out again.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from open_instruct.core import checkpoint
from open_instruct.core.chat import encode, set_template
from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction
from open_instruct.phased.judge import Rows

LOSS, RATIO = "loss", "ratio"
_CHUNK = 1024  # rows taken at once and sorted by length, so that a batch holds little padding
_UNLEARNED = -100


@dataclass(frozen=True)
class Base:
    """A base model, and how it is shown a row.

    Attributes:
        folder: its checkpoint.
        template: chat template, or "model" for the checkpoint's own.
        max_length: tokens of a row; an answer's tokens beyond are left out.
        batch_tokens: tokens of a forward pass, padding included.
    """

    folder: Path
    template: str
    max_length: int
    batch_tokens: int


@dataclass(frozen=True)
class _Row:
    """Of an answer with `tokens` tokens, ids and labels once behind its instruction and once alone."""

    number: int
    given: tuple[list[int], list[int]]
    alone: tuple[list[int], list[int]]
    tokens: int


def foresee(rows: Rows, count: int, folder: Path, base: Base, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The losses of each row in order: {"loss", "alone", "tokens"}, or {"failed": reason}.

    Args:
        rows: starts a pass over the rows.
        count: rows of a pass.
        about: what the losses depend on beside the base: the rows.

    Raises:
        UserError: the base is no whole checkpoint, or the journal in `folder` is about other rows or another base.
    """
    checkpoint.check(base.folder, chat_template=base.template == "model")
    shown = {"template": base.template, "max_length": base.max_length, "base": checkpoint.fingerprint(base.folder)}
    with Journal(folder / "losses.journal.jsonl", {"step": "losses", **about, **shown}) as journal:
        if len(journal) < count:
            _work_out(rows, count, journal, base)
        for number in range(count):
            yield journal.get(number)


def _work_out(rows: Rows, count: int, journal: Journal, base: Base) -> None:
    tokenizer, _ = checkpoint.load_tokenizer(base.folder)
    if base.template != "model":
        set_template(tokenizer, base.template)
    cuda = torch.cuda.is_available()
    model = checkpoint.load_model(base.folder, torch.bfloat16 if cuda else torch.float32)
    model = model.to("cuda" if cuda else "cpu").eval()
    stream = ((number, row) for number, row in rows() if number not in journal)
    pause = 1 if sys.stderr.isatty() else 30  # seconds between lines of progress
    with tqdm(total=count, initial=len(journal), desc="losses", unit=" rows", mininterval=pause) as bar:
        while chunk := list(islice(stream, _CHUNK)):
            ready = []
            for number, row in chunk:
                encoded = _encoded(number, row, tokenizer, base.max_length)
                if isinstance(encoded, str):
                    journal.add(number, {"failed": encoded})
                    bar.update()
                else:
                    ready.append(encoded)
            for batch in _batches(ready, base.batch_tokens):
                given, alone = (_losses(model, [getattr(row, name) for row in batch]) for name in ("given", "alone"))
                for row, loss, bare in zip(batch, given, alone, strict=True):
                    finite = math.isfinite(loss) and math.isfinite(bare)
                    found = {"loss": loss, "alone": bare, "tokens": row.tokens}
                    journal.add(row.number, found if finite else {"failed": "the base's loss is no finite number"})
                    bar.update()


def _encoded(number: int, row: Instruction, tokenizer: Any, max_length: int) -> _Row | str:
    """A row ready for the model, or why it cannot be."""
    if not row.output.strip():
        return "no answer"
    system = [{"role": "system", "content": row.system}] if row.system else []
    turns = [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.output}]
    (ids,), (labels,) = encode([[*system, *turns]], tokenizer)
    ids, labels = ids[:max_length], labels[:max_length]
    answer = [label for label in labels if label != _UNLEARNED]
    if not answer:
        return f"the instruction leaves no room for its answer within {max_length} tokens"
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    alone = ([first, *answer], [_UNLEARNED, *answer])  # something must stand before the first token, to foresee it
    return _Row(number, (ids, labels), alone, len(answer))


def _batches(rows: list[_Row], batch_tokens: int) -> Iterator[list[_Row]]:
    """Rows of like lengths, as many as make `batch_tokens` together, at least one."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: -len(row.given[0])):
        if batch and (len(batch) + 1) * len(batch[0].given[0]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def _losses(model: Any, rows: list[tuple[list[int], list[int]]]) -> list[float]:
    """Mean loss over the labelled tokens of each row."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, _UNLEARNED)
    for place, (tokens, wanted) in enumerate(rows):
        ids[place, : len(tokens)] = torch.tensor(tokens)
        mask[place, : len(tokens)] = 1
        labels[place, : len(wanted)] = torch.tensor(wanted)
    ids, mask, labels = (tensor.to(model.device) for tensor in (ids, mask, labels))
    try:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is too small for {ids.numel():,} tokens at once. What is done is kept; run again with a "
            "smaller --batch_tokens"
        ) from error
    wanted = labels[:, 1:]
    learned = wanted != _UNLEARNED
    each = torch.zeros(wanted.shape, device=model.device)
    each[learned] = cross_entropy(logits[learned].float(), wanted[learned], reduction="none")
    return (each.sum(dim=1) / learned.sum(dim=1)).tolist()
