"""What the prompts of benchmarks with examples cost: ours, built by functions, and the same by templates in YAML.

    SIT_EVAL_DATA=DATA python benchmarks/prompt_building.py

lm-evaluation-harness compiles a template anew for each item and each example, which is how its own definitions of these
benchmarks are written. The prompts of both ways are compared.
"""

import argparse
import logging
import os
import sys
import time

from eval.benchmarks import TASKS_FOLDER
from open_instruct.core.errors import UserError

ITEMS = 500  # of each benchmark, by both ways; ours also makes them all
_QUESTION = "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
TEMPLATES = {
    "mmlu_5shot": _QUESTION,
    "arc_challenge": "Question: {{question}}\nAnswer:",
    "bbh_cot": "Q: {{input}}\nA: Let's think step by step.\n",
}


def main() -> None:
    """Print one table.

    Raises:
        UserError: the evaluation data is not there.
    """
    print(f"{'benchmark':14} {'items':>6} {'ours, s':>8} {'ours, s, of all':>18} {'templates, s':>13}")
    for name, template in TEMPLATES.items():
        whole, _ = _built(name, None)
        ours, prompts = _built(name, ITEMS)
        theirs, same = _built(name, ITEMS, template)
        if prompts != same:
            sys.exit(f"{name}: the prompts of both ways differ")
        print(f"{name:14} {ITEMS:6,} {ours:8.3f} {whole:8.2f} of {len(_task(name).eval_docs):6,} {theirs:13.2f}")


def _built(name: str, limit: int | None, template: str = "") -> tuple[float, list[str]]:
    """CPU seconds of all requests, and their prompts."""
    task = _task(name)
    if template:
        task.set_config("doc_to_text", template)
        task.fewshot_cfg.doc_to_text = template
    began = time.process_time()
    task.build_all_requests(limit=limit)
    return time.process_time() - began, [one.args[0] for one in task.instances]


def _task(name: str):
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    (task,) = manager.load([name])["tasks"].values()
    task.set_fewshot_seed(0)
    return task


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.disable(logging.WARNING)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
