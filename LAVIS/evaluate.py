"""Evaluates an InstructBLIP on questions about pictures, and writes results that `eval.report` shows.

    python LAVIS/evaluate.py --cfg-path LAVIS/lavis/projects/instructblip/vqav2_vicuna7b_eval.yaml \\
        --options model.finetuned=output/vqa_describe run.run_name=sit run.prompt=describe_first
    accelerate launch --num_processes 8 LAVIS/evaluate.py --cfg-path FILE.yaml      # a share of the questions each

Answers are kept as they come: killed, the same command goes on, on any number of processes.
"""

from dataclasses import dataclass

from lavis.config import read
from lavis.settings import Evaluation
from open_instruct.core.command import help_field, run


@dataclass
class Settings:
    cfg_path: str = help_field("YAML file with the sections model, datasets and run")
    options: list[str] = help_field("section.key=value of the YAML file, as many as wanted", [])


def main(settings: Settings) -> None:
    """Read the settings, evaluate."""
    chosen = read(Evaluation, settings.cfg_path, settings.options)
    from lavis.evaluation import evaluate  # after the settings are known to be right: torch takes seconds to load

    evaluate(chosen)


if __name__ == "__main__":
    run(main, Settings)
