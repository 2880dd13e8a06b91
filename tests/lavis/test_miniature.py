"""The world of pictures, and its committed base model: it describes what it sees, and never learned to answer."""

from random import Random

import numpy as np
import pytest
import torch

from lavis.config import MODEL_CONFIGS
from lavis.inputs import encoder_of
from lavis.miniature import make_data
from lavis.miniature.pictures import COLOURS, PLACES, Scene, draw_scene, picture
from lavis.miniature.pretrain import PROMPT
from lavis.model import load_config, load_model
from lavis.settings import Model
from open_instruct.core.records import read_rows

BASE = MODEL_CONFIGS.parents[2] / "miniature" / "base"


@pytest.fixture
def scene():
    return Scene((("red", "circle"), ("blue", "square"), ("green", "triangle"), ("yellow", "circle")))


def test_a_description_names_each_thing_with_its_place(scene):
    assert scene.description == (
        "top left red circle, top right blue square, bottom left green triangle, bottom right yellow circle"
    )


def test_the_answer_is_the_neighbour_in_that_direction(scene):
    asked = dict(scene.question(Random(seed)) for seed in range(200))
    assert asked["what is right of the red circle?"] == "blue square"
    assert asked["what is above the green triangle?"] == "red circle"
    assert asked["what is left of the yellow circle?"] == "green triangle"
    assert asked["what is below the blue square?"] == "yellow circle"
    assert len(asked) == 8  # two neighbours for each of the four


def test_a_picture_shows_each_thing_in_its_place(scene):
    points = np.asarray(picture(scene, Random(0))).astype(float)
    for place, (colour, _) in enumerate(scene.things):
        row, column = divmod(place, 2)
        middle = points[16 * row + 6 : 16 * row + 10, 16 * column + 6 : 16 * column + 10].mean(axis=(0, 1))
        nearest = min(COLOURS, key=lambda one: np.abs(middle - COLOURS[one]).sum())
        assert nearest == colour, PLACES[place]


def test_things_of_a_scene_differ_and_pictures_of_one_scene_too(scene):
    assert all(len(set(draw_scene(Random(seed)).things)) == 4 for seed in range(50))
    assert picture(scene, Random(0)).tobytes() != picture(scene, Random(1)).tobytes()


def test_test_questions_do_not_depend_on_the_seed_and_training_never_shows_their_scenes(tmp_path):
    for seed in (0, 1):
        make_data.main(make_data.Settings(str(tmp_path / str(seed)), train=40, test=10, seed=seed))
    first, second = (list(map(str, _rows(tmp_path / seed / "test.jsonl"))) for seed in "01")
    assert first == second
    train = _rows(tmp_path / "0" / "train.jsonl")
    assert train != _rows(tmp_path / "1" / "train.jsonl")
    assert not {row["caption"] for row in train} & {row["caption"] for row in _rows(tmp_path / "0" / "test.jsonl")}


def _rows(path):
    return [row for _, row in read_rows(path)]


def test_the_committed_base_describes_pictures_that_it_never_saw():
    assert sum(file.stat().st_size for file in BASE.rglob("*") if file.is_file()) < 6_000_000
    settings = Model("blip2_vicuna_instruct", "miniature", str(BASE))
    model = load_model(settings, torch.float32).eval()
    encoder = encoder_of(settings, load_config(settings))
    rng = Random("unseen")
    scenes = [draw_scene(rng) for _ in range(16)]
    inputs = encoder.batch([encoder.prompt(picture(scene, rng), PROMPT) for scene in scenes])
    made = model.generate(**inputs, max_new_tokens=30, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    texts = encoder.processor.tokenizer.batch_decode(made, skip_special_tokens=True)
    assert texts == [f"Description: {scene.description}" for scene in scenes]
