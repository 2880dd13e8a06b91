"""What is no whole checkpoint is told before anything is loaded, one checkpoint is told from another, and none is
loaded with invented weights."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from open_instruct.core.checkpoint import check, fingerprint, load_model, load_tokenizer
from open_instruct.core.errors import UserError

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"


@pytest.fixture
def whole(tmp_path):
    """The miniature's base model, to be damaged, with a chat template."""
    folder = Path(shutil.copytree(BASE, tmp_path / "parent" / "whole"))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def refusal(of, *arguments, **more):
    with pytest.raises(UserError) as caught:
        of(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_checkpoint_passes_and_loads_with_its_tied_weights(whole):
    check(whole)
    stored = load_file(whole / "model.safetensors")
    assert "lm_head.weight" not in stored
    model = load_model(whole, "float32")
    assert (model.lm_head.weight == stored["model.embed_tokens.weight"]).all()
    assert len(load_tokenizer(whole)[0]) <= model.config.vocab_size


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_a_missing_part_is_named(whole, gone, complaint):
    (whole / gone).unlink()
    assert refusal(check, whole).startswith(f"{whole}: ") and complaint in refusal(check, whole)


def test_a_base_model_needs_no_chat_template():
    check(BASE, chat_template=False)
    assert "no chat template" in refusal(check, BASE)


def test_a_template_in_the_tokenizer_configuration_counts(whole):
    (whole / "chat_template.jinja").unlink()
    path = whole / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "{{ messages }}"}))
    check(whole)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_tokenizer_configuration_is_named(whole, content):
    (whole / "chat_template.jinja").unlink()
    (whole / "tokenizer_config.json").write_text(content)
    assert refusal(check, whole).startswith(f"{whole}/tokenizer_config.json: is no JSON object")


def test_a_shard_that_the_index_lists_must_be_there(whole):
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (whole / "model.safetensors").rename(whole / shards["a"])
    (whole / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "model-00002-of-00002.safetensors is missing, which model.safetensors.index.json" in refusal(check, whole)


WROTE = "Give the folder that save_pretrained or training wrote"


def test_a_wrong_path_an_adapter_and_a_parent_folder_are_told_apart(whole, tmp_path):
    assert refusal(check, tmp_path / "nowhere").endswith("no such checkpoint folder. " + WROTE + ".")
    fetched = "if it is a name on the hub: `hf download owner/name --local-dir FOLDER`, and then that folder."
    assert refusal(check, Path("owner/name")) == f"owner/name: no such checkpoint folder. {WROTE}; {fetched}"
    assert "is a file, not a checkpoint folder" in refusal(check, whole / "config.json")
    assert "Did you mean one of its folders: whole" in refusal(check, whole.parent)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "LoRA adapter" in refusal(check, tmp_path)


def test_missing_weights_are_refused_not_invented(whole):
    weights = load_file(whole / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
    assert "1 weights are missing (model.layers.1.mlp.up_proj.weight, ...)" in refusal(load_model, whole, "float32")


def test_damaged_weights_are_refused(whole):
    content = (whole / "model.safetensors").read_bytes()
    (whole / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert refusal(load_model, whole, "float32").startswith(f"{whole}: the checkpoint cannot be loaded: ")
    (whole / "model.safetensors").unlink()
    (whole / "pytorch_model.bin").write_bytes(b"x" * 100)
    assert refusal(load_model, whole, "float32").startswith(f"{whole}: the checkpoint cannot be loaded: ")


@pytest.mark.parametrize(("damaged", "content"), [("config.json", "not JSON"), ("tokenizer.json", "{}")])
def test_a_damaged_configuration_or_tokenizer_is_refused(whole, damaged, content):
    (whole / damaged).write_text(content)
    assert refusal(load_tokenizer, whole).startswith(f"{whole}: the checkpoint cannot be loaded: ")


def test_the_tokenizer_of_another_model_is_refused(whole):
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    assert "tokens, the model 100: they do not belong together" in refusal(load_tokenizer, whole)


@pytest.mark.parametrize(
    "changed", ["model.safetensors", "chat_template.jinja", "tokenizer.json", "generation_config.json"]
)
def test_a_change_that_changes_answers_changes_the_fingerprint(whole, changed):
    before = fingerprint(whole)
    content = bytearray((whole / changed).read_bytes())
    content[-1] ^= 1
    (whole / changed).write_bytes(content)
    after = fingerprint(whole)
    content[-1] ^= 1
    (whole / changed).write_bytes(content)
    assert after != before == fingerprint(whole)


def test_files_that_training_leaves_beside_the_model_do_not_count(whole):
    before = fingerprint(whole)
    (whole / "run.json").write_text("{}")
    (whole / "trainer_state.json").write_text("{}")
    (whole / "optimizer.pt").write_bytes(b"1")
    (whole / "checkpoint-500").mkdir()
    assert fingerprint(whole) == before
