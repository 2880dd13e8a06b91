"""Writes report.html and the dataset card of a finished folder again, and uploads the set where asked to.

python -m self_seq.report --output_dir DIR [--push_to_hub OWNER/NAME]
"""

from dataclasses import dataclass
from pathlib import Path

from open_instruct.core.command import help_field, run
from self_seq import hub
from self_seq.report.page import write_report


@dataclass
class Settings:
    output_dir: str = help_field("folder that self_seq.generate wrote")
    push_to_hub: str = help_field("upload the set as this dataset, OWNER/NAME (HF_TOKEN says who you are)", "")
    hub_public: bool = help_field("let everybody see it", False)


def main(settings: Settings) -> None:
    """Write both files, and upload the set where asked to."""
    folder = Path(settings.output_dir)
    if settings.push_to_hub:
        hub.check(settings.push_to_hub)
    write_report(folder)
    if settings.push_to_hub:
        print(f"uploaded: {hub.push(folder, settings.push_to_hub, not settings.hub_public)}")


if __name__ == "__main__":
    run(main, Settings)
