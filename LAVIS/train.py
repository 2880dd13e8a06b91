"""Fine-tunes an InstructBLIP: Q-Former and projection, and what the YAML unfreezes or adapts.

    python LAVIS/train.py --cfg-path LAVIS/lavis/projects/instructblip/caption_coco_vicuna7b_train.yaml
    accelerate launch --num_processes 8 LAVIS/train.py --cfg-path FILE.yaml --options run.max_epoch=1
    python LAVIS/train.py --cfg-path FILE.yaml --merge FOLDER      # writes a whole checkpoint, too

A run that was interrupted goes on from its last whole checkpoint when the same command is given again.
"""

from dataclasses import dataclass

from lavis.config import read
from lavis.settings import Training
from open_instruct.core.command import help_field, run


@dataclass
class Settings:
    cfg_path: str = help_field("YAML file with the sections model, datasets and run")
    options: list[str] = help_field("section.key=value of the YAML file, as many as wanted", [])
    merge: str = help_field("folder for a whole checkpoint: the base with what was trained; none: not written", "")


def main(settings: Settings) -> None:
    """Read the settings, train."""
    chosen = read(Training, settings.cfg_path, settings.options)
    from lavis.training import train  # after the settings are known to be right: torch takes seconds to load

    train(chosen, settings.merge)


if __name__ == "__main__":
    run(main, Settings)
