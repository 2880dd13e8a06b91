"""Makes training and evaluation rows of questions, answers and captions: base (direct), describe (first) and merge.

    python LAVIS/make_instruct_data.py --questions v2_OpenEnded_mscoco_train2014_questions.json \\
        --annotations v2_mscoco_train2014_annotations.json --captions captions_train2014.json --output_dir DIR
    python LAVIS/make_instruct_data.py --questions my_rows.jsonl --images my_pictures --output_dir DIR
"""

from lavis.data.instruct_data import Settings, make
from open_instruct.core.command import run


def main(settings: Settings) -> None:
    """Make the rows."""
    make(settings)


if __name__ == "__main__":
    run(main, Settings)
