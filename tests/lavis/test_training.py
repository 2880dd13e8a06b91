"""Training: transformers' own loss, frozen weights untouched, checkpoints of what trained alone, and going on."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lavis import trained
from lavis.images import read_image
from lavis.inputs import Encoder, load_processor
from lavis.miniature.base_model import make_model, make_processor
from lavis.rows import read_splits
from lavis.settings import Model
from lavis.training import train
from open_instruct.core.errors import UserError
from open_instruct.core.exit_codes import INTERRUPTED
from open_instruct.core.interruption import Interrupted, StopOnSigterm
from open_instruct.core.records import read_rows, write_rows
from open_instruct.core.resume import WHOLE


def results_of(folder):
    return json.loads((folder / "run.json").read_text())["results"]


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """The folder of a finished run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(world.training(folder))
    return folder


def test_the_first_loss_is_that_of_transformers_model_on_the_same_rows(world, tmp_path):
    """All rows in one batch, so that their order does not matter; inputs made by transformers' processor."""
    train(world.training(tmp_path / "run", batch_size_train=12, max_steps=1))
    processor = load_processor(str(world.base), 4)
    model = InstructBlipForConditionalGeneration.from_pretrained(world.base)
    losses, tokens = 0.0, 0
    for _, row in read_rows(world.describe):
        made = processor(images=read_image(world.images / row["image"]), text=row["text_input"], return_tensors="pt")
        target = processor.tokenizer(row["text_output"] + "</s>", return_tensors="pt")["input_ids"]
        labels = torch.cat([torch.full_like(made["input_ids"], -100), target], dim=1)
        made["input_ids"] = torch.cat([made["input_ids"], target], dim=1)
        made["attention_mask"] = torch.ones_like(made["input_ids"])
        with torch.no_grad():
            losses += model(**made, labels=labels).loss.item() * target.shape[1]
        tokens += target.shape[1]
    assert results_of(tmp_path / "run")["first_loss"] == pytest.approx(losses / tokens, abs=2e-5)


def test_frozen_weights_do_not_move_and_those_that_train_all_get_gradient(world, run):
    base = InstructBlipForConditionalGeneration.from_pretrained(world.base)
    tuned = trained.load_trained(world.model(finetuned=str(run)), torch.float32)
    for (name, before), (_, after) in zip(base.named_parameters(), tuned.named_parameters(), strict=True):
        if after.requires_grad:
            assert not torch.equal(before, after), f"{name} did not move"
        else:
            assert torch.equal(before, after), f"{name} moved"
    processor = load_processor(str(world.base), 4)
    encoder = Encoder(processor, True, 64, 64)
    rows, _ = read_splits(world.datasets(), ["train"], 4)
    batch = encoder.batch([encoder.example(read_image(row.image), row.text_input, row.text_output) for row in rows])
    tuned(**batch).loss.backward()
    for name, weight in tuned.named_parameters():
        assert (weight.grad is not None and weight.grad.abs().max() > 0) == weight.requires_grad, name


def test_checkpoints_hold_only_what_was_trained(world, run):
    names = set(load_file(run / trained.WEIGHTS))
    assert names and all(name.split(".")[0] in ("query_tokens", "qformer", "language_projection") for name in names)
    checkpoint = run / "checkpoint-4"
    assert set(load_file(checkpoint / trained.WEIGHTS)) == names
    assert not list(checkpoint.glob("model*")) and (checkpoint / WHOLE).is_file()


def test_the_learning_rate_rises_linearly_and_falls_with_a_cosine(world, tmp_path):
    train(world.training(tmp_path / "run", max_steps=6, min_lr=1e-3, warmup_lr=1e-4, save_steps=6))
    state = json.loads((tmp_path / "run" / "checkpoint-6" / "trainer_state.json").read_text())
    rates = [entry["learning_rate"] for entry in state["log_history"] if "loss" in entry]
    cosine = [1e-3 + 9e-3 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(1, 5)]
    assert rates == pytest.approx([1e-4, 1e-2, *cosine], rel=1e-4)  # two steps of warm-up, the second at the peak


def test_a_killed_run_goes_on_to_the_same_weights(world, run, tmp_path):
    """As after a kill while the second checkpoint was written: the first is taken, the torn one goes."""
    shutil.copytree(run / "checkpoint-2", tmp_path / "run" / "checkpoint-2")
    (tmp_path / "run" / "checkpoint-4").mkdir()
    train(world.training(tmp_path / "run"))
    expected, found = (load_file(folder / trained.WEIGHTS) for folder in (run, tmp_path / "run"))
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())


def test_after_a_sigterm_a_checkpoint_is_saved_and_the_run_goes_on_to_the_same_weights(
    world, run, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(StopOnSigterm, "_any_asked", lambda self, device: True)
        with pytest.raises(Interrupted) as stopped:
            train(world.training(tmp_path / "run"))
    assert stopped.value.code == INTERRUPTED and (tmp_path / "run" / "checkpoint-1" / WHOLE).is_file()
    train(world.training(tmp_path / "run"))
    expected, found = (load_file(folder / trained.WEIGHTS) for folder in (run, tmp_path / "run"))
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())


def test_a_run_killed_after_its_last_step_only_writes_its_result(world, run, tmp_path):
    shutil.copytree(run / "checkpoint-4", tmp_path / "run" / "checkpoint-4")
    train(world.training(tmp_path / "run"))
    expected, found = (load_file(folder / trained.WEIGHTS) for folder in (run, tmp_path / "run"))
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())


def test_a_finished_run_is_not_done_again_and_one_of_other_settings_is_refused(world, run, capsys):
    before = (run / trained.WEIGHTS).stat().st_mtime_ns
    train(world.training(run))
    assert "already finished" in capsys.readouterr().out
    assert (run / trained.WEIGHTS).stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"another run\.init_lr \(0\.01, now 0\.001\)\. Give another run\.output_dir"):
        train(world.training(run, init_lr=1e-3))


def test_a_truncated_picture_is_a_rejected_row_with_its_name(world, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(world.images, images)
    whole = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes(whole[: len(whole) // 2])
    settings = world.training(tmp_path / "run", max_steps=-1, max_epoch=2, num_workers=1)
    settings.datasets["shapes"].build_info.images.storage = str(images)
    train(settings)
    rejected = [row for _, row in read_rows(tmp_path / "run" / "rejected.jsonl")]
    assert [row["question_id"] for row in rejected] == ["q3"]  # once, in however many passes
    assert "3.png: cannot be read as a picture" in rejected[0]["reason"]
    assert results_of(tmp_path / "run")["rejected"] == 1
    assert "1 of 12 rows had a damaged picture" in capsys.readouterr().out


def test_missing_pictures_end_the_run_in_one_line(world, tmp_path):
    settings = world.training(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    settings.datasets["shapes"].build_info.images.storage = str(tmp_path / "empty")
    with pytest.raises(UserError, match=r"12 images are not there, such as .*0.png. Bring them"):
        train(settings)
    settings.datasets["shapes"].build_info.images.storage = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"shapes.build_info.images.storage: .*nowhere: no such folder of images"):
        train(settings)


def test_a_row_without_target_is_named_with_its_line(world, tmp_path):
    rows = [row for _, row in read_rows(world.describe)]
    del rows[2]["text_output"]
    write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"rows.jsonl:3: field 'text_output' must be text and not blank"):
        train(world.training(tmp_path / "run", rows=tmp_path / "rows.jsonl"))


def test_long_targets_are_cut_off_counted_and_listed(world, tmp_path):
    train(world.training(tmp_path / "run", model={"max_output_txt_len": 8}, max_steps=3))
    assert results_of(tmp_path / "run")["cut_off"] == 12
    reasons = {row["reason"] for _, row in read_rows(tmp_path / "run" / "rejected.jsonl")}
    assert reasons == {"kept, but its text_output is cut off after 8 tokens"}


def test_parts_of_another_architecture_are_refused_in_one_line(world, run, tmp_path):
    processor = make_processor(image_tokens=4)
    make_model(processor, width=12, layers=1).save_pretrained(tmp_path / "other")
    processor.save_pretrained(tmp_path / "other")
    settings = Model("blip2_vicuna_instruct", "tiny", str(tmp_path / "other"), finetuned=str(run))
    with pytest.raises(UserError, match="another architecture .*language_width 24, here 12.* Give its own base"):
        trained.load_trained(settings, torch.float32)
    with pytest.raises(UserError, match="no trained parts here"):
        trained.load_trained(world.model(finetuned=str(tmp_path)), torch.float32)


def test_adapters_are_trained_stored_and_merged_into_a_whole_checkpoint(world, tmp_path):
    """What `--merge` writes is loaded by transformers alone and gives the logits of base and parts together."""
    settings = world.training(tmp_path / "run", model={"use_lora": True, "lora_r": 2})
    train(settings, str(tmp_path / "merged"))
    assert any("lora_B" in name for name in load_file(tmp_path / "run" / trained.WEIGHTS))
    merged = InstructBlipForConditionalGeneration.from_pretrained(tmp_path / "merged").eval()
    # the settings of the adapters come from trained.json
    tuned = trained.load_trained(world.model(finetuned=str(tmp_path / "run")), torch.float32).eval()
    processor = InstructBlipProcessor(
        BlipImageProcessorPil.from_pretrained(tmp_path / "merged"),
        *(load_processor(str(tmp_path / "merged"), 4).__dict__[name] for name in ("tokenizer", "qformer_tokenizer")),
        num_query_tokens=4,
    )
    made = processor(images=read_image(world.images / "1.png"), text="what is above?", return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(merged(**made).logits, tuned(**made).logits, atol=1e-4)
    base = InstructBlipForConditionalGeneration.from_pretrained(world.base)
    assert set(merged.state_dict()) == set(base.state_dict())
    with pytest.raises(UserError, match="is already there"):
        trained.write_merged(world.model(finetuned=str(tmp_path / "run")), tmp_path / "merged")


def test_training_goes_on_from_trained_parts_with_or_without_adapters(world, run, tmp_path):
    """What was trained without adapters gets new ones; what was trained with some keeps them, whatever the settings."""
    first = {"finetuned": str(run), "use_lora": True, "lora_r": 2}
    train(world.training(tmp_path / "first", model=first, max_steps=1))
    train(world.training(tmp_path / "second", model={"finetuned": str(tmp_path / "first")}, max_steps=1))
    names = [set(load_file(tmp_path / name / trained.WEIGHTS)) for name in ("first", "second")]
    assert names[0] == names[1] and any("lora_A" in name for name in names[0])
    assert trained.about(tmp_path / "second")["model"]["lora_r"] == 2
    trained.load_trained(world.model(finetuned=str(tmp_path / "second")), torch.float32)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """Settings of a model with an encoder and a decoder, as the FlanT5 models."""
    folder = tmp_path_factory.mktemp("t5")
    processor = make_processor(image_tokens=4)
    torch.manual_seed(1)
    make_model(processor, width=24, layers=1, encoder_decoder=True).save_pretrained(folder)
    processor.save_pretrained(folder)
    return {"pretrained": str(folder), "arch": "blip2_t5_instruct"}


def test_an_encoder_decoder_trains_too(world, t5, tmp_path):
    train(world.training(tmp_path / "run", model=t5, max_steps=3, gradient_checkpointing=True))
    results = results_of(tmp_path / "run")
    assert results["steps"] == 3 and results["last_loss"] < results["first_loss"]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_accumulated_passes_are_one_step_over_all_their_rows(kind, world, t5, tmp_path):
    """The same rows in one pass and in three: equal losses and gradient norms."""
    found = []
    for name, passes in (("one", 1), ("three", 3)):
        batch = {"batch_size_train": 12 // passes, "accum_grad_iters": passes, "max_steps": 1, "save_steps": 1}
        train(world.training(tmp_path / name, model=t5 if kind == "t5" else None, max_grad_norm=1e9, **batch))
        state = json.loads((tmp_path / name / "checkpoint-1" / "trainer_state.json").read_text())
        found.append([state["log_history"][0][key] for key in ("loss", "grad_norm")])
    # T5's own loss is a mean over each pass, whose numbers of tokens differ a little
    assert found[1] == pytest.approx(found[0], rel=0.05 if kind == "t5" else 1e-3)
