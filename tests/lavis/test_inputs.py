"""The model's inputs: equal to transformers' own processor, padded on the right side, only the target learned."""

import pytest
import torch
from PIL import Image

from lavis.images import read_image
from lavis.inputs import IGNORED, Encoder, encoder_of, load_processor
from lavis.model import load_config
from open_instruct.core.errors import UserError

TEXT, TARGET = "First describe this image then answer the question: what is above the red circle?", "Answer: red"


@pytest.fixture(scope="module")
def processor(world):
    return load_processor(str(world.base), 4)


@pytest.fixture(scope="module")
def image(world):
    return read_image(world.images / "0.png")


def encoder(processor, decoder_only=True, **lengths):
    return Encoder(processor, decoder_only, **{"max_prompt": 64, "max_target": 64} | lengths)


def test_a_prompt_is_what_transformers_processor_makes(processor, image):
    ours = encoder(processor).prompt(image, TEXT)
    theirs = processor(images=image, text=TEXT, return_tensors="pt")
    for name in ("pixel_values", "input_ids", "qformer_input_ids"):
        assert torch.equal(ours[name], theirs[name][0]), name


def test_only_the_target_is_learned_and_it_ends(processor, image):
    made = encoder(processor).example(image, TEXT, TARGET)
    learned = made["labels"] != IGNORED
    assert torch.equal(made["labels"][learned], made["input_ids"][learned])
    assert processor.tokenizer.decode(made["labels"][learned]) == "Answer: red</s>"
    prompt = encoder(processor).prompt(image, TEXT)["input_ids"]
    assert torch.equal(made["input_ids"][~learned], prompt)


def test_an_encoder_decoder_reads_the_prompt_and_learns_the_target_apart(processor, image):
    made = encoder(processor, decoder_only=False).example(image, TEXT, TARGET)
    assert torch.equal(made["input_ids"], encoder(processor).prompt(image, TEXT)["input_ids"])
    assert processor.tokenizer.decode(made["labels"]) == "Answer: red</s>"


def test_training_pads_to_the_right_and_prompts_to_the_left(processor, image):
    made = encoder(processor)
    rows = [made.example(image, text, TARGET) for text in (TEXT, "what is left of")]
    batch = made.batch(rows)
    assert batch["attention_mask"][1].tolist() == [1] * len(rows[1]["input_ids"]) + [0] * (
        len(rows[0]["input_ids"]) - len(rows[1]["input_ids"])
    )
    assert set(batch["labels"][1][batch["attention_mask"][1] == 0].tolist()) == {IGNORED}
    prompts = made.batch([made.prompt(image, text) for text in (TEXT, "what is left of")])
    assert prompts["attention_mask"][1][0] == 0 and prompts["attention_mask"][1][-1] == 1
    assert prompts["pixel_values"].shape == (2, 3, 32, 32)


def test_long_texts_are_cut_off_and_counted(processor, image):
    made = encoder(processor, max_prompt=5, max_target=3)
    example = made.example(image, TEXT, TARGET)
    assert len(example["input_ids"]) == 4 + 5 + 3
    assert example["labels"][-1] == processor.tokenizer.eos_token_id
    assert made.cut_off == 1
    assert encoder(processor).example(image, TEXT, TARGET) and encoder(processor).cut_off == 0


def test_a_checkpoint_without_processor_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="its processor cannot be loaded"):
        load_processor(str(tmp_path), 4)


def test_a_tokenizer_of_another_checkpoint_is_refused(world):
    config = load_config(world.model())
    assert encoder_of(world.model(), config).max_prompt == 128
    config.image_token_index += 1
    with pytest.raises(UserError, match="the image token is 3 in the tokenizer and 4 in config.json"):
        encoder_of(world.model(), config)


def test_pictures_of_any_size_get_the_models(processor):
    made = encoder(processor).prompt(Image.new("RGB", (100, 7)), TEXT)
    assert made["pixel_values"].shape == (3, 32, 32)
