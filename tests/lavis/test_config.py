"""YAML settings: what is laid over what, and one clear line for each mistake."""

from pathlib import Path

import pytest

from lavis.config import ROOT, read
from lavis.settings import ARCHITECTURES, Evaluation, Training
from open_instruct.core.errors import UserError

PROJECTS = ROOT / "LAVIS" / "lavis" / "projects" / "instructblip"
COCO = PROJECTS / "caption_coco_vicuna7b_train.yaml"


def test_the_published_training_settings_are_the_defaults_of_the_project_file():
    settings = read(Training, str(COCO), [])
    run = settings.run
    assert (run.init_lr, run.min_lr, run.warmup_lr, run.warmup_steps) == (1e-5, 0, 1e-8, 1000)
    assert (run.weight_decay, run.max_epoch, run.batch_size_train, run.seed) == (0.05, 5, 16, 42)
    assert settings.model.freeze_vit and settings.model.freeze_llm and not settings.model.use_lora


@pytest.mark.parametrize("path", sorted(PROJECTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_project_file_is_right(path, monkeypatch):
    monkeypatch.setenv("OUTPUT", "/somewhere")
    monkeypatch.setenv("DATA", "/elsewhere")
    settings = read(Evaluation if "eval" in path.stem else Training, str(path), [])
    assert settings.model.arch in ARCHITECTURES
    for dataset in settings.datasets.values():
        assert Path(dataset.build_info.images.storage).is_absolute()


def test_options_win_over_the_file_and_the_file_over_the_models_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(COCO.read_text().replace("model_type: vicuna7b", "model_type: flant5xl\n  max_txt_len: 77"))
    settings = read(Training, str(file), ["run.max_epoch=1", "run.init_lr=3e-4", "model.use_lora=true"])
    assert settings.model.arch == "blip2_t5_instruct"  # of the model's own file
    assert settings.model.max_txt_len == 77
    assert (settings.run.max_epoch, settings.run.init_lr, settings.model.use_lora) == (1, 3e-4, True)


def test_a_value_may_name_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", "/pictures")
    storage = "datasets.coco_vqa.build_info.images.storage"
    settings = read(Training, str(COCO), [f"{storage}=${{PICTURES}}/coco"])
    assert settings.datasets["coco_vqa"].build_info.images.storage == "/pictures/coco"
    with pytest.raises(UserError, match=r"images.storage names \$\{NOWHERE\}, and no such variable is set"):
        read(Training, str(COCO), [f"{storage}=${{NOWHERE}}"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("run.max_epochs=1", "no setting run.max_epochs; did you mean max_epoch?"),
        ("modell.use_lora=true", "no setting modell; did you mean model?"),
        ("datasets.coco_vqa.build_info.image.storage=x", "build_info.image; did you mean images?"),
        ("model.model_type=vicuna7", "model.model_type: 'vicuna7' has no file .*; did you mean vicuna7b?"),
        ("run.max_epoch=five", "run.max_epoch is 'five', expected a whole number"),
        ("run.amp=1", "run.amp is 1, expected true or false"),
        ("run.world_size=8", "no setting run.world_size; the launcher says how many processes there are; leave it out"),
        ("run.max_epoch", "--options run.max_epoch: expected section.key=value"),
        ("run.output_dir.x=1", "--options run.output_dir.x=1: output_dir is no section"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_nearest_right_one(option, message):
    with pytest.raises(UserError, match=message):
        read(Training, str(COCO), [option])


def test_a_mistake_in_the_models_own_file_is_told_with_that_files_name(tmp_path, monkeypatch):
    monkeypatch.setattr("lavis.config.MODEL_CONFIGS", tmp_path)
    (tmp_path / "blip2_instruct_vicuna7b.yaml").write_text("model:\n  arch: blip2_vicuna_instruct\n  freeze_vitt: 1\n")
    with pytest.raises(UserError, match=r"blip2_instruct_vicuna7b.yaml: no setting model.freeze_vitt; .* freeze_vit"):
        read(Training, str(COCO), [])


def test_a_missing_setting_is_named_with_what_it_is(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model:\n  model_type: vicuna7b\nrun:\n  output_dir: x\n")
    with pytest.raises(UserError, match="mine.yaml: datasets is missing: on what"):
        read(Training, str(file), [])
    with pytest.raises(UserError, match="no.yaml: cannot be read"):
        read(Training, str(tmp_path / "no.yaml"), [])
