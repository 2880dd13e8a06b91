"""Which weights train, adapters, and the published models built by configuration."""

import pytest
import torch
from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    LlamaConfig,
    T5Config,
)

from lavis.config import MODEL_CONFIGS, ROOT, read
from lavis.images import read_image
from lavis.inputs import Encoder, load_processor
from lavis.miniature.base_model import make_model, make_processor
from lavis.model import add_adapters, load_model, mark_trained, merge_adapters
from lavis.rows import read_splits
from lavis.settings import Training
from open_instruct.core.errors import UserError


def trained(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_query_tokens_qformer_and_projection_train_and_nothing_else(world):
    model = load_model(world.model(), torch.float32)
    names = trained(model)
    assert {name.split(".")[0] for name in names} == {"query_tokens", "qformer", "language_projection"}
    # all of the Q-Former, but what the last layer makes of the text: nobody looks at it
    left = {name for name, _ in model.named_parameters() if name.startswith("qformer.")} - names
    assert {name.split(".")[4] for name in left} == {"intermediate", "output"}
    assert {name.split(".")[3] for name in left} == {"1"}


def test_flags_unfreeze_the_image_encoder_and_the_language_model(world):
    names = trained(load_model(world.model(freeze_vit=False), torch.float32))
    assert any(name.startswith("vision_model.") for name in names)
    assert not any(name.startswith("language_model.") for name in names)
    names = trained(load_model(world.model(freeze_llm=False), torch.float32))
    assert any(name.startswith("language_model.") for name in names)


def test_weights_that_train_are_in_float32_beside_frozen_ones_in_bfloat16(world):
    model = load_model(world.model(), torch.bfloat16)
    for name, weight in model.named_parameters():
        assert weight.dtype == (torch.bfloat16 if "_model." in name else torch.float32), name


def test_adapters_train_beside_a_frozen_language_model_and_merge_into_it(world):
    torch.manual_seed(0)
    model = load_model(world.model(use_lora=True, lora_r=2), torch.float32).eval()  # no dropout
    adapters = {name for name in trained(model) if name.startswith("language_model.")}
    assert adapters and all("lora_" in name for name in adapters)
    assert not any("lm_head" in name for name in adapters)
    ids = torch.arange(10)[None]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
        before = model.language_model(input_ids=ids).logits
        plain = load_model(world.model(), torch.float32).language_model(input_ids=ids).logits
        merge_adapters(model)
        after = model.language_model(input_ids=ids).logits
    assert not torch.allclose(before, plain, atol=1e-2)
    assert torch.allclose(before, after, atol=1e-4)
    assert not any("lora" in name for name in model.state_dict())


@pytest.mark.parametrize("arch", ["blip2_vicuna_instruct", "blip2_t5_instruct"])
def test_frozen_bfloat16_and_trained_float32_meet_under_autocast(arch, world, tmp_path):
    """As on a GPU: nearly the loss of float32, and gradients in float32 for all that trains, adapters too."""
    torch.manual_seed(0)
    if arch == "blip2_t5_instruct":
        processor = make_processor(image_tokens=4)
        make_model(processor, width=24, layers=1, encoder_decoder=True).save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
    base = str(tmp_path) if arch == "blip2_t5_instruct" else str(world.base)
    encoder = Encoder(load_processor(base, 4), arch == "blip2_vicuna_instruct", 64, 64)
    rows, _ = read_splits(world.datasets(), ["train"], 3)
    batch = encoder.batch([encoder.example(read_image(row.image), row.text_input, row.text_output) for row in rows])
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        model = load_model(world.model(pretrained=base, arch=arch, use_lora=True, lora_dropout=0.0), dtype)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None and weight.grad.dtype == torch.float32, name
                assert weight.grad.isfinite().all(), name
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_lora": True, "freeze_llm": False}, "set model.freeze_llm: true"),
        ({"use_lora": True, "lora_target_modules": ["nowhere"]}, "no layer is named .*; there are: .*'q_proj'"),
        ({"arch": "blip2_t5_instruct"}, "one of type llama; it fits model.arch: blip2_vicuna_instruct"),
        ({"arch": "blip2_opt"}, "model.arch: 'blip2_opt' is none of blip2_vicuna_instruct, blip2_t5_instruct"),
        ({"pretrained": "/nowhere"}, "model.pretrained: /nowhere: no checkpoint can be loaded from there"),
        ({"pretrained": str(ROOT / "open_instruct/miniature/base")}, "is of type llama, not instructblip"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, message, world):
    with pytest.raises(UserError, match=message) as caught:
        load_model(world.model(**settings), torch.float32)
    assert "\n" not in str(caught.value)


# Shapes of the published checkpoints: image encoder EVA-CLIP g/14 and Q-Former are the defaults of transformers.
LANGUAGE_MODELS = {
    "vicuna7b": (LlamaConfig(vocab_size=32001, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32), 7.9e9),
    "vicuna13b": (
        LlamaConfig(
            vocab_size=32001, hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40
        ),
        14.2e9,
    ),
    "flant5xl": (T5Config(d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32, feed_forward_proj="gated-gelu",
                          tie_word_embeddings=False), 4.0e9),
    "flant5xxl": (T5Config(d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                           feed_forward_proj="gated-gelu", tie_word_embeddings=False), 12.3e9),
}  # fmt: skip


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_published_models_train_their_qformer_by_configuration(name, tmp_path):
    """On the meta device: every weight has its shape and none takes memory."""
    assert (MODEL_CONFIGS / f"blip2_instruct_{name}.yaml").is_file()
    project = ROOT / "LAVIS/lavis/projects/instructblip/caption_coco_vicuna7b_train.yaml"
    settings = read(Training, str(project), [f"model.model_type={name}"]).model
    text, size = LANGUAGE_MODELS[name]
    config = InstructBlipConfig(
        qformer_config=InstructBlipQFormerConfig(vocab_size=30523).to_dict(), text_config=text.to_dict()
    )
    with torch.device("meta"):
        model = InstructBlipForConditionalGeneration(config)
        settings.use_lora = True
        add_adapters(model, settings)
    mark_trained(model, settings)
    counts = {True: 0, False: 0}
    for parameter, weight in model.named_parameters():
        if "lora_" not in parameter:
            counts[weight.requires_grad] += weight.numel()
    assert sum(counts.values()) == pytest.approx(size, rel=0.03)
    assert 1.8e8 < counts[True] < 2.0e8  # Q-Former of BERT's size, projection, 32 query tokens
    assert any("lora_" in parameter for parameter in trained(model))
