"""The model's responses to questions, in batches, one share a process, each kept in a journal as soon as it is there.

`evaluation.py` calls `respond`. Whatever the number of processes, and whenever they are killed, a question is answered
once: a process writes into a journal of its own, and the next start gathers them all.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import InstructBlipForConditionalGeneration

from lavis.images import DamagedImage, read_image
from lavis.inputs import Encoder
from lavis.rows import Row
from lavis.settings import EvaluationRun
from open_instruct.core.journal import Journal

Answer = dict[str, str]  # {"response": text}, or {"damaged": reason}


class Answers:
    """The journals of one evaluation.

    Args:
        folder: of the benchmark.
        name: tells this evaluation from others: a digest of what the answers depend on. Journals of others go.
        about: what the answers depend on.
    """

    def __init__(self, folder: Path, name: str, about: dict[str, Any]) -> None:
        self._folder = folder
        self._name = f"answers-{name[:16]}"
        self._about = about

    def gathered(self) -> dict[int, Answer]:
        """Every answer there is, by row; the processes' own journals become one. By the first process alone."""
        for other in self._folder.glob("answers-*.journal"):
            if not other.name.startswith(self._name):
                other.unlink()
        with Journal(self._folder / f"{self._name}.journal", self._about) as whole:
            for path in sorted(self._folder.glob(f"{self._name}.of-*.journal")):
                with Journal(path, self._about) as share:
                    for row in share.rows():
                        if row not in whole:
                            whole.add(row, share.get(row))
                path.unlink()
            return {row: whole.get(row) for row in whole.rows()}

    def of_process(self, process: int) -> Journal:
        """A process's own journal."""
        return Journal(self._folder / f"{self._name}.of-{process}.journal", self._about)


def respond(
    model: InstructBlipForConditionalGeneration,
    encoder: Encoder,
    rows: list[Row],
    asked: list[str],
    run: EvaluationRun,
    answers: Answers,
) -> dict[int, Answer] | None:
    """The answers to all rows; to the first process, None to the others.

    Args:
        model: on its device.
        asked: the text to show for each row.
        answers: where they are kept; what is there is not asked again.
    """
    state = PartialState()
    found: list[Any] = [None]
    if state.is_main_process:
        found = [sorted(answers.gathered())]
    if state.num_processes > 1:
        broadcast_object_list(found)
    done = set(found[0])
    missing = [row for row in range(len(rows)) if row not in done]
    mine = missing[state.process_index :: state.num_processes]
    if mine:
        with (
            answers.of_process(state.process_index) as journal,
            tqdm(
                total=len(rows), initial=len(done), desc=run.benchmark, unit="item", mininterval=1,
                disable=not state.is_main_process,
            ) as progress,
        ):  # fmt: skip
            for row, answer in _generated(model, encoder, rows, asked, mine, run):
                journal.add(row, answer)
                progress.update(state.num_processes)
    state.wait_for_everyone()
    return answers.gathered() if state.is_main_process else None


def _generated(
    model: InstructBlipForConditionalGeneration,
    encoder: Encoder,
    rows: list[Row],
    asked: list[str],
    numbers: list[int],
    run: EvaluationRun,
) -> Iterator[tuple[int, Answer]]:
    loader = DataLoader(
        _Prompts(rows, asked, numbers, encoder),
        batch_size=run.batch_size_eval,
        num_workers=run.num_workers,
        collate_fn=list,  # as they are
    )
    device = model.device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=run.amp and device.type == "cuda")
    for batch in loader:
        yield from ((row, {"damaged": found}) for row, found in batch if isinstance(found, str))
        good = [(row, found) for row, found in batch if not isinstance(found, str)]
        if not good:
            continue
        inputs = {name: value.to(device) for name, value in encoder.batch([found for _, found in good]).items()}
        with autocast:
            made = model.generate(
                **inputs,
                num_beams=run.num_beams,
                length_penalty=run.length_penalty,
                max_new_tokens=run.max_len,
                min_new_tokens=run.min_len,
                do_sample=False,
            )
        if encoder.decoder_only:  # it begins with the prompt
            made = made[:, inputs["input_ids"].shape[1] :]
        texts = encoder.processor.tokenizer.batch_decode(made, skip_special_tokens=True)
        yield from ((row, {"response": text.strip()}) for (row, _), text in zip(good, texts, strict=True))


class _Prompts(Dataset):
    """(row number, inputs of the model, or why the picture cannot be read)."""

    def __init__(self, rows: list[Row], asked: list[str], numbers: list[int], encoder: Encoder) -> None:
        self._rows, self._asked, self._numbers, self._encoder = rows, asked, numbers, encoder

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> tuple[int, dict[str, torch.Tensor] | str]:
        number = self._numbers[place]
        try:
            image = read_image(self._rows[number].image)
        except DamagedImage as damage:
            return number, str(damage)
        return number, self._encoder.prompt(image, self._asked[number])
