"""Writes the miniature's pictures and questions, as anybody's own data would look: a folder and rows of JSON.

`run_scripts/blip2/train/train_miniature.sh` calls it, then make_instruct_data.py. The questions of the test set do not
depend on the seed, so that seeds are compared on the same ones.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from lavis.miniature.pictures import draw_scene, picture
from open_instruct.core.command import help_field, run
from open_instruct.core.records import write_rows


@dataclass
class Settings:
    output_dir: str = help_field("folder for pictures, train.jsonl and test.jsonl")
    train: int = help_field("pictures to train on, with one question each", 20_000)
    test: int = help_field("pictures to evaluate on, whose scenes training never shows", 500)
    seed: int = help_field("of the training pictures and questions", 0)


def main(settings: Settings) -> None:
    """Write everything; nothing is drawn twice for the two sets."""
    folder = Path(settings.output_dir)
    rng = Random("test")
    scenes = set()
    for split, count in (("test", settings.test), ("train", settings.train)):
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        rows = []
        while len(rows) < count:
            scene = draw_scene(rng)
            if split == "test":
                scenes.add(scene)
            elif scene in scenes:
                continue
            image = f"{split}/{len(rows):06d}.png"
            picture(scene, rng).save(folder / "images" / image)
            question, answer = scene.question(rng)
            rows.append({"image": image, "question": question, "answer": answer, "caption": scene.description})
        write_rows(folder / f"{split}.jsonl", ({"question_id": f"{split}-{n}", **row} for n, row in enumerate(rows)))
        rng = Random(settings.seed)
    print(f"{settings.train} pictures to train on, {settings.test} to evaluate on, in {folder}")


if __name__ == "__main__":
    run(main, Settings)
