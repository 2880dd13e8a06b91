"""How much of a prompt an engine's prefix cache can serve: tokens shared with the request before, a step.

    python benchmarks/prefix_share.py --source ROWS.json [--tokenizer FOLDER]

Stage 1 runs over real rows with an engine that only counts: it chooses options with the published shares, puts a task
in front of each instruction, and compares each prompt's tokens with those of the request before it. Goal: 85 % or more
in the steps that have a prompt with examples. `respond` shows a row as any user would, so it shares next to nothing.
"""

import argparse
import contextlib
import io
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from open_instruct.core.chat import set_template
from open_instruct.core.checkpoint import load_tokenizer
from open_instruct.engines.base import Completion, Request
from self_seq import generate
from self_seq.published import OPTIONS

ROOT = Path(__file__).resolve().parent.parent


class Counting:
    """An engine that answers by rule and counts the tokens that consecutive requests share."""

    def __init__(self, tokenizer) -> None:
        self._tokenizer = tokenizer
        self._random = random.Random(0)
        self.tokens: dict[str, int] = defaultdict(int)
        self.shared: dict[str, int] = defaultdict(int)

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        before: list[int] = []
        for request in requests:
            text = self._tokenizer.apply_chat_template(
                list(request.messages), add_generation_prompt=True, tokenize=False
            )
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            same = next((place for place, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), None)
            self.tokens[request.step] += len(ids)
            self.shared[request.step] += min(len(before), len(ids)) if same is None else same
            before = ids
            yield Completion(request.key, self._answer(request), "stop", len(ids), 0)

    def close(self) -> None:
        pass

    def _answer(self, request: Request) -> str:
        if request.step == "classify":
            shares = OPTIONS["alpaca"]["iterations"][0]
            return f"So the option is: {self._random.choices(list(shares), list(shares.values()))[0]}."
        if request.step == "rewrite":
            question = request.messages[-1]["content"].partition("#Original Instruction#:")[2]
            return f"#New Instruction#: List what is asked for, then: {question.rpartition(chr(10))[0].strip()}###"
        return {"extract": "#Input#: none###", "judge": "Number of tasks: 2", "refine": "Yes"}.get(
            request.step, "An answer."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="instruction rows")
    parser.add_argument("--tokenizer", default=str(ROOT / "open_instruct" / "miniature" / "base"))
    parser.add_argument("--rows", type=int, default=2_000)
    given = parser.parse_args()
    tokenizer, _ = load_tokenizer(Path(given.tokenizer))
    if not tokenizer.chat_template:
        set_template(tokenizer, "tulu")
    engine = Counting(tokenizer)
    generate.open_engine = lambda *arguments: engine
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        settings = {"iterations": 1, "extract": True, "refine": True, "judge_rows": 500, "max_rows": given.rows}
        generate.main(generate.Settings(given.source, folder, **settings))
    print(f"{given.rows:,} rows of {Path(given.source).name}, tokenizer {given.tokenizer}")
    print("| step | prompt tokens | shared with the request before |")
    print("| --- | ---: | ---: |")
    for step, tokens in engine.tokens.items():
        print(f"| {step} | {tokens:,} | {100 * engine.shared[step] / tokens:.1f} % |")


if __name__ == "__main__":
    main()
