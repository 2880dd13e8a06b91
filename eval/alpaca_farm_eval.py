"""AlpacaEval under the name and with the flags that users of open-instruct know.

    python eval/alpaca_farm_eval.py --model CHECKPOINT --batch_size 8
    python eval/alpaca_farm_eval.py --model CHECKPOINT --judge openai --judge_options model=gpt-4.1

is `python -m eval.run --tasks alpaca_eval`, with the results in results/<name of the checkpoint>: every flag of
eval.run works. Without --judge the responses are written and not judged; the second command judges them, and generates
nothing again.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules are eval.results and so on, and not `results`
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # as eval.run, before the first import that reads it
    os.environ.setdefault("TQDM_DISABLE", "1")

from eval import run as evaluation
from open_instruct.core.command import help_field, run

_ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Settings(evaluation.Settings):
    output_dir: str = help_field("folder of this run's results; by default results/<name of the checkpoint>", "")
    tasks: str = help_field("benchmarks, separated by commas", "alpaca_eval")


def main(settings: Settings) -> None:
    """See `eval.run.main`."""
    settings.output_dir = settings.output_dir or str(_ROOT / "results" / Path(settings.model).resolve().name)
    evaluation.main(settings)


if __name__ == "__main__":
    run(main, Settings)
