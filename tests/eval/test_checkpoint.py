"""What is no evaluable checkpoint is told before anything is loaded; and one checkpoint is told from another."""

import json
import shutil

import pytest

from eval.checkpoint import check, fingerprint
from open_instruct.core.errors import UserError


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "copy")


def test_a_whole_checkpoint_passes(checkpoint):
    check(checkpoint)


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_a_missing_part_is_named(copy, gone, complaint):
    (copy / gone).unlink()
    with pytest.raises(UserError, match=complaint) as caught:
        check(copy)
    assert str(copy) in str(caught.value) and "\n" not in str(caught.value)


def test_a_template_in_the_tokenizer_configuration_counts(copy):
    (copy / "chat_template.jinja").unlink()
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "{{ messages }}"}))
    check(copy)


def test_a_broken_tokenizer_configuration_is_named(copy):
    (copy / "chat_template.jinja").unlink()
    (copy / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        check(copy)


def test_a_wrong_path_an_adapter_and_a_parent_folder_are_told_apart(checkpoint, tmp_path):
    with pytest.raises(UserError, match="no such checkpoint folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(UserError, match="Did you mean one of its folders: tiny"):
        check(checkpoint.parent)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="LoRA adapter"):
        check(tmp_path)


@pytest.mark.parametrize(
    "changed", ["model.safetensors", "chat_template.jinja", "tokenizer.json", "generation_config.json"]
)
def test_a_change_that_changes_answers_changes_the_fingerprint(checkpoint, copy, changed):
    before = fingerprint(copy)
    assert before == fingerprint(checkpoint)
    content = bytearray((copy / changed).read_bytes())
    content[-1] ^= 1
    (copy / changed).write_bytes(content)
    assert fingerprint(copy) != before


def test_files_that_training_leaves_beside_the_model_do_not_count(copy):
    before = fingerprint(copy)
    (copy / "run.json").write_text("{}")
    (copy / "trainer_state.json").write_text("{}")
    (copy / "optimizer.pt").write_bytes(b"1")
    (copy / "checkpoint-500").mkdir()
    assert fingerprint(copy) == before
