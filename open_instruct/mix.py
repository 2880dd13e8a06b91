"""A training mixture: rows of several files in one, drawn by count or weight, and shuffled.

    python -m open_instruct.mix --mix tulu --input_dir data/train/processed --output tulu_data.jsonl
    python -m open_instruct.mix --inputs sit.jsonl dolly_data.jsonl=5000 lima_data.jsonl=3x --output mixed.jsonl

Files hold conversations or instructions; the mixture holds conversations, without the instructions that have no answer,
which are counted. `mixed.counts.json` and run.json stand beside it. The files are read twice: once to find and check
their rows, once in the mixture's order. About 26 bytes a row are kept in memory.
"""

import json
import random
import re
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from open_instruct import reformat
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import Conversation, Instruction, encode_json, read_rows, replacing, write_json
from open_instruct.core.run_info import RunInfo, finished
from open_instruct.reformat.base import turns

# Tulu v1, arXiv 2306.04751, section 2.2: plain concatenation.
HUMAN = ("flan_v2", "cot", "dolly", "oasst1")
MIXES = {"human": HUMAN, "tulu": (*HUMAN, "gpt4_alpaca", "code_alpaca", "sharegpt")}

MAX_ROW_BYTES = 64_000_000


@dataclass
class Settings:
    output: str = help_field("JSONL file of the mixture")
    mix: str = help_field("human (FLAN v2, CoT, Dolly, OASST1), tulu (human and GPT's), or none of them", "")
    inputs: list[str] = help_field(
        "files, or names of sources in --input_dir; FILE=500 takes so many rows, FILE=0.5x half of them, FILE=3x "
        "each three times",
        [],
    )
    input_dir: str = help_field("folder with NAME/NAME_data.jsonl for each source NAME", "data/train/processed")
    seed: int = help_field("of the rows drawn and of their order", 42)
    shuffle: bool = help_field("false keeps the files one after the other", True)


@dataclass
class Part:
    """One file of a mixture: of its `rows` with an answer, `taken` are taken, some perhaps more than once."""

    path: Path
    share: str  # "" for all, "500", or "0.5x"
    rows: int = 0
    without_answer: int = 0
    taken: int = 0


def main(settings: Settings) -> None:
    parts = _parts(settings)
    output = Path(settings.output)
    if output.resolve() in [part.path.resolve() for part in parts]:
        raise UserError(f"{output}: is one of the inputs; name another --output")
    described = {**vars(settings), "files": {str(part.path.resolve()): _state(part.path) for part in parts}}
    if finished(output.parent, described) and output.exists():
        print(f"{output} is there and its inputs have not changed; nothing to do")
        return
    with RunInfo(output.parent, described, settings.seed) as info:
        datasets = _mix(parts, output, settings.seed, settings.shuffle)
        counted = ("rows", "without_answer", "taken")
        files = {str(part.path): {name: getattr(part, name) for name in counted} for part in parts}
        write_json(output.with_suffix(".counts.json"), {"files": files, "datasets": dict(datasets)})
        info.add(files=files, datasets=dict(datasets))
    for line in _report(settings.mix, parts, datasets):
        print(line)
    print(f"written: {output}")


def _parts(settings: Settings) -> list[Part]:
    """The files of a mixture and how much of each; every one is there."""
    if settings.mix and settings.mix not in MIXES:
        raise UserError(f"no mixture named {settings.mix!r}; there are: {', '.join(MIXES)}")
    named = [*MIXES.get(settings.mix, ()), *settings.inputs]
    if not named:
        raise UserError("nothing to mix; expected --mix human, --mix tulu or --inputs FILE ...")
    parts = [_part(text, Path(settings.input_dir)) for text in named]
    missing = [str(part.path) for part in parts if not part.path.is_file()]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: no such file; expected rows for the mixture. "
            "scripts/prepare_train_data.sh SOURCE makes those of a source; --input_dir names their folder"
        )
    return parts


def _part(text: str, folder: Path) -> Part:
    path, _, share = text.rpartition("=")
    if not path or not re.fullmatch(r"\d+(\.\d+)?x|\d+", share):
        if path and not Path(text).exists():
            raise UserError(f"{text!r}: {share!r} is no share; expected FILE, FILE=500 or FILE=0.5x")
        path, share = text, ""
    if path in reformat.names() and not Path(path).is_file():
        return Part(folder / path / f"{path}_data.jsonl", share)
    return Part(Path(path), share)


def _mix(parts: list[Part], output: Path, seed: int, shuffle: bool) -> Counter[str]:
    """Write the mixture; returns its rows by dataset."""
    draw = random.Random(f"{seed}/mix")
    offsets, of_part = array("q"), array("H")
    datasets: Counter[str] = Counter()
    with ExitStack() as opened:
        files = []
        for number, part in enumerate(parts):
            files.append(opened.enter_context(_as_lines(part.path)))
            taken = _taken(_offsets(files[-1], part), part, draw)
            part.taken = len(taken)
            offsets.extend(taken)
            of_part.extend(array("H", [number]) * len(taken))
        order = array("q", range(len(offsets)))
        if shuffle:
            draw.shuffle(order)
        if not order:
            raise UserError(f"{output}: the mixture has no rows; raise the counts or weights of its files")
        write = opened.enter_context(replacing(output))
        for row in order:
            number, offset = of_part[row], offsets[row]
            files[number].seek(offset)
            conversation = _conversation(json.loads(files[number].readline()), parts[number].path, offset)
            datasets[conversation.dataset] += 1
            write(encode_json(conversation.to_json()) + b"\n")
    return datasets


def _taken(there: array, part: Part, draw: random.Random) -> array:
    """The offsets of the rows that are taken: whole rounds over the file, and a draw without repeats for the rest."""
    if not part.share:
        return there
    weight = part.share.endswith("x")
    wanted = round(float(part.share[:-1]) * len(there)) if weight else int(part.share)
    rounds, rest = divmod(wanted, len(there))
    drawn = sorted(draw.sample(range(len(there)), rest))
    return there * rounds + array("q", (there[row] for row in drawn))


def _as_lines(path: Path) -> BinaryIO:
    """The file, open for reading, one row a line; an array or a compressed file is written out as such first."""
    with path.open("rb") as file:
        start = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"{":
        return path.open("rb")
    lines = tempfile.TemporaryFile()
    for where, row in read_rows(path, max_row_bytes=MAX_ROW_BYTES):
        _conversation(row, path, 0, where)
        lines.write(encode_json(row) + b"\n")
    return lines


def _offsets(file: BinaryIO, part: Part) -> array:
    """Where each row begins; every row is checked, so that a bad one ends the run before anything is written."""
    found, offset, path = array("q"), 0, part.path
    file.seek(0)
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if text.strip():
            where = f"{path}:{number}"
            try:
                row = json.loads(text)
            except ValueError as error:
                raise UserError(
                    f"{where}: not JSON ({error}); expected one row a line. Is the file cut off?"
                ) from error
            if _conversation(row, path, offset, where) is None:
                part.without_answer += 1
            else:
                found.append(offset + len(line) - len(text))
        offset += len(line)
    part.rows = len(found)
    if not found:
        raise UserError(f"{path}: no row with an answer; expected conversations or instructions with their answers")
    return found


def _conversation(row: dict, path: Path, offset: int, where: str = "") -> Conversation | None:
    """A row as a conversation; None for an instruction without an answer.

    An instruction is named after its file, and by the byte where it begins there.
    """
    where = where or str(path)
    if not isinstance(row, dict):
        raise UserError(f"{where}: the row is no object; expected a conversation or an instruction")
    if "messages" in row:
        return Conversation.from_json(row, where)
    record = Instruction.from_json(row, where)
    if not record.output.strip():
        return None
    name = path.name.partition(".")[0]
    return Conversation(name, f"{name}_{offset}", turns(record.prompt, record.output, record.system))


def _report(mix: str, parts: list[Part], datasets: Counter[str]) -> Iterator[str]:
    width = max(len(str(part.path)) for part in parts)
    for part in parts:
        share = f" (={part.share})" if part.share else ""
        left = f", {part.without_answer:,} without an answer left out" if part.without_answer else ""
        yield f"{part.path!s:{width}}  {part.rows:>9,} rows, {part.taken:>9,} taken{share}{left}"
    total = datasets.total()
    for name, count in datasets.most_common():
        yield f"  {name:24} {count:>9,}  {100 * count / total:5.1f} %{_published(name)}"
    published = sum(reformat.module(name).SOURCE.published for name in MIXES.get(mix, ()))
    yield f"  {'in all':24} {total:>9,}" + (f"           published: {published:,}" if published else "")


def _published(name: str) -> str:
    if name not in reformat.names():
        return ""
    return f"  published: {reformat.module(name).SOURCE.published:,}"


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


if __name__ == "__main__":
    run(main, Settings)
