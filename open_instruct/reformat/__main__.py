"""A source dataset to conversations, one a line: {"dataset", "id", "messages": [{"role", "content"}]}.

    python -m open_instruct.reformat --source dolly --input data/train/dolly --output dolly_data.jsonl

Beside the output stand `rejected.jsonl` (what could not become a conversation, and why) and `run.json`. Both files are
written whole or not at all; a finished run is not done again. Memory does not grow with the input.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from open_instruct import reformat
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, replacing
from open_instruct.core.run_info import RunInfo, finished
from open_instruct.reformat import _files
from open_instruct.reformat._convert import Counts, convert
from open_instruct.reformat._split import token_counter
from open_instruct.reformat.base import Rejected, Source


@dataclass
class Settings:
    source: str = help_field("name of the source dataset; a wrong one lists those there are")
    input: str = help_field("file of the source, or folder with its files")
    output: str = help_field("JSONL file of conversations; rejected.jsonl and run.json are written beside it")
    seed: int = help_field("of the rows and templates drawn", 42)
    draw: int = help_field("rows drawn of each file: 0 all, -1 as the published recipe does", -1)
    max_length: int = help_field("longer conversations are split at turn borders; tokens. 0 never, -1 as published", -1)
    tokenizer: str = help_field("folder of the tokenizer that counts tokens; without one, 4 characters are a token", "")


def main(settings: Settings) -> None:
    module = reformat.module(settings.source)
    source: Source = module.SOURCE
    paths, note = _files.find(settings.source, source, Path(settings.input))
    output = Path(settings.output)
    if output.name in (_REJECTED, "run.json"):
        raise UserError(f"{output}: that name is taken by a file of ours; name another --output")
    if output.resolve() in [path.resolve() for path in paths]:
        raise UserError(f"{output}: is the input itself; name another --output")
    # What the files are is part of the settings: a run over other files is another run.
    described = {**vars(settings), "files": {str(path.resolve()): _state(path) for path in paths}}
    if note:
        print(f"note: {note}")
    if finished(output.parent, described) and output.exists():
        print(f"{settings.source}: {output} is there and its input has not changed; nothing to do")
        return
    max_length = source.max_length if settings.max_length < 0 else settings.max_length
    tokens = token_counter(settings.tokenizer if max_length else "")
    if max_length and not settings.tokenizer:
        print(f"note: {settings.source}: --tokenizer not given; {max_length} tokens are counted as 4 characters each")
    counts = Counts()
    draw = None if settings.draw < 0 else settings.draw
    with RunInfo(output.parent, described, settings.seed) as info:
        results = convert(settings.source, module, paths, counts, settings.seed, draw, max_length, tokens)
        _write(output, results, counts)
        info.add(**counts.to_json(), published=source.published)
    for line in report(settings.source, source, counts):
        print(line)
    print(f"written: {output}")


_REJECTED = "rejected.jsonl"


def report(name: str, source: Source, counts: Counts) -> list[str]:
    """The counts as lines for people; the published number stands beside ours."""
    published = f"{source.published:,} ({source.published_in})" if source.published else "not stated"
    lines = [f"{name}: {counts.written:,} conversations; published: {published}"]
    lines.append(f"  rows read {counts.rows:,}, of them not drawn {counts.not_drawn:,}")
    lines.append(f"  examples {counts.examples:,} = written {counts.written:,} + rejected {counts.rejected:,}")
    lines += [f"  rejected {count:,}: {reason}" for reason, count in counts.reasons.most_common(8)]
    lines += [f"  note ({count:,}): {text}" for text, count in counts.notes.most_common()]
    return lines


def _write(output: Path, results: Iterator, counts: Counts) -> None:
    with ExitStack() as files:
        write = files.enter_context(replacing(output))
        reject = files.enter_context(replacing(output.parent / _REJECTED))
        for result in results:
            if isinstance(result, Rejected):
                reject(encode_json({"where": result.where, "reason": result.reason}) + b"\n")
            else:
                write(encode_json(result.to_json()) + b"\n")
        if not counts.written:
            raise UserError(f"{output}: not written: none of the {counts.examples} examples can become a conversation")


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


if __name__ == "__main__":
    run(main, Settings)
