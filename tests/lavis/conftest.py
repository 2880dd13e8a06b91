"""A random InstructBLIP with very few weights, pictures with questions about them, and settings that name both."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from lavis.settings import BuildInfo, Dataset, Evaluation, EvaluationRun, Model, Storage, Training, TrainingRun
from open_instruct.core.records import write_rows


@dataclass
class World:
    """Where everything lies.

    Attributes:
        base: the checkpoint.
        images: folder of the pictures.
        direct, describe: files of rows.
    """

    base: Path
    images: Path
    direct: Path
    describe: Path

    def model(self, **settings) -> Model:
        return Model(**{"arch": "blip2_vicuna_instruct", "model_type": "tiny", "pretrained": str(self.base)} | settings)

    def datasets(self, rows: Path | None = None) -> dict[str, Dataset]:
        file = Storage(str(rows or self.describe))
        return {"shapes": Dataset(BuildInfo({"train": file, "test": file}, Storage(str(self.images))))}

    def training(self, output: Path, rows: Path | None = None, model: dict | None = None, **run) -> Training:
        settings = {
            "warmup_steps": 2, "init_lr": 1e-2, "max_steps": 4, "batch_size_train": 4, "num_workers": 0,
            "gradient_checkpointing": False, "save_steps": 2, "report_to": "none", "device": "cpu", "logging_steps": 1,
        }  # fmt: skip
        run = TrainingRun(**{"output_dir": str(output)} | settings | run)
        return Training(self.model(**(model or {})), self.datasets(rows), run)

    def evaluation(self, output: Path, rows: Path | None = None, model: dict | None = None, **run) -> Evaluation:
        settings = {
            "run_name": "tiny", "metric": "exact", "num_beams": 1, "max_len": 12, "num_workers": 0, "device": "cpu"
        }  # fmt: skip
        run = EvaluationRun(**{"results_dir": str(output)} | settings | run)
        return Evaluation(self.model(**(model or {})), self.datasets(rows), run)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Twelve pictures with a question each."""
    import torch

    from lavis.data.instruct_data import Settings, make
    from lavis.miniature.base_model import make_model, make_processor
    from lavis.miniature.pictures import draw_scene, picture

    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    processor = make_processor(image_tokens=4)
    make_model(processor, width=24, layers=2).save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    rng = Random(0)
    rows = []
    (folder / "images").mkdir()
    for number in range(12):
        scene = draw_scene(rng)
        picture(scene, rng).save(folder / "images" / f"{number}.png")
        question, answer = scene.question(rng)
        rows.append(
            {"question_id": f"q{number}", "image": f"{number}.png", "question": question, "answer": answer}
            | {"caption": scene.description}
        )
    write_rows(folder / "own.jsonl", rows)
    make(Settings([str(folder / "own.jsonl")], str(folder / "rows"), images=str(folder / "images")))
    return World(
        folder / "base",
        folder / "images",
        folder / "rows" / "base_vqa_train.json",
        folder / "rows" / "describe_vqa_train.json",
    )
