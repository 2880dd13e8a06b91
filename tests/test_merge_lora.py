"""A merged checkpoint answers as base and adapter together did; an adapter that does not fit is told in one line."""

import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from open_instruct import merge_lora
from open_instruct.core import shards
from open_instruct.core.chat import set_template
from open_instruct.core.checkpoint import check, fingerprint
from open_instruct.core.errors import UserError
from open_instruct.merge_lora import Settings, main

ROOT = Path(__file__).parents[1]
BASE = ROOT / "open_instruct" / "miniature" / "base"
IDS = torch.arange(3, 60)[None]
LINEAR = ["q_proj", "v_proj", "down_proj"]


def tokenizer_of(folder, template="tulu", added=()):
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tokenizer.add_tokens(list(added))
    if template:
        set_template(tokenizer, template)
    tokenizer.save_pretrained(folder)
    return tokenizer


def adapter_of(folder, base=BASE, rows=None, dtype=torch.float32, tokenizer=True, added=(), **options):
    """An adapter of random weights, as peft saves it, on the base; and the logits of the two together."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    torch.manual_seed(2)
    if rows:
        model.resize_token_embeddings(rows)
    options = {"r": 4, "lora_alpha": 8, "target_modules": LINEAR, "init_lora_weights": False, **options}
    with warnings.catch_warnings(action="ignore"):
        fitted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
        for name, parameter in fitted.named_parameters():
            if "lora_embedding" in name:
                parameter.data *= 0.05  # peft draws them from a wide normal distribution
            elif parameter.requires_grad and "lora_" not in name:
                parameter.data += 0.02 * torch.randn_like(parameter)
        fitted.save_pretrained(folder)
    if tokenizer:
        tokenizer_of(folder, added=added)
    return folder, logits_of(fitted.eval())


def logits_of(model, ids=IDS):
    """In float64: what is left of a difference is the merged weights', not the noise of two ways to add."""
    with torch.no_grad():
        return model.double()(ids).logits


def merged(tmp_path, adapter, base=BASE, **more):
    main(Settings(str(base), str(adapter), str(tmp_path / "merged"), **more))
    return tmp_path / "merged"


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def refusal(tmp_path, adapter, base=BASE, **more):
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError) as caught:
        merged(tmp_path, adapter, base, **more)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    return str(caught.value)


def untied_base(folder, **config):
    """A base whose output layer has its own weights, of the miniature's tokenizer."""
    torch.manual_seed(5)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=660)
    LlamaForCausalLM(LlamaConfig(**{**shape, "tie_word_embeddings": False, **config})).save_pretrained(folder)
    tokenizer_of(folder, template=None)
    return folder


VARIANTS = {
    "linear": {},
    "all linear": {"target_modules": "all-linear"},
    "ranks of layers": {"rank_pattern": {"layers.1.self_attn.q_proj": 8}, "alpha_pattern": {"v_proj": 3}},
    "rank-stabilised": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "norms trained": {"modules_to_save": ["input_layernorm"]},
    "embeddings by LoRA": {"target_modules": [*LINEAR, "embed_tokens"]},
    "output layer by LoRA": {"target_modules": [*LINEAR, "lm_head"]},
    "both by LoRA": {"target_modules": [*LINEAR, "embed_tokens", "lm_head"]},
    "both by LoRA, tied": {"target_modules": [*LINEAR, "embed_tokens"], "ensure_weight_tying": True},
    "embeddings trained": {"modules_to_save": ["embed_tokens"]},
    "both trained": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "both trained, tied": {"modules_to_save": ["embed_tokens", "lm_head"], "ensure_weight_tying": True},
    "some tokens trained": {"trainable_token_indices": {"embed_tokens": [5, 9]}},
}


@pytest.mark.parametrize("kind", ["tied", "untied"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_merged_model_gives_the_logits_of_base_and_adapter(tmp_path, variant, kind):
    base = BASE if kind == "tied" else untied_base(tmp_path / "base")
    adapter, expected = adapter_of(tmp_path / "adapter", base, **VARIANTS[variant])
    assert (logits_of(load(base)) - expected).abs().max() > 0.01  # the adapter does something
    assert (logits_of(PeftModel.from_pretrained(load(base), adapter).eval()) - expected).abs().max() < 1e-5
    output = merged(tmp_path, adapter, base)
    check(output)
    model = load(output)
    assert model.dtype == torch.float32
    assert (logits_of(model) - expected).abs().max() < 1e-5
    assert not list(output.glob("adapter*"))


def test_weights_that_stay_tied_are_written_once(tmp_path):
    adapter, _ = adapter_of(tmp_path / "adapter")
    assert "lm_head.weight" not in load_file(merged(tmp_path, adapter) / "model.safetensors")
    for number, variant in enumerate(("both trained, tied", "both by LoRA, tied", "some tokens trained")):
        adapter, _ = adapter_of(tmp_path / f"tied {number}", **VARIANTS[variant])
        shutil.rmtree(tmp_path / "merged")
        output = merged(tmp_path, adapter)
        assert "lm_head.weight" not in load_file(output / "model.safetensors"), variant
        assert load(output).config.tie_word_embeddings
    adapter, _ = adapter_of(tmp_path / "untied", target_modules=["embed_tokens"])
    shutil.rmtree(tmp_path / "merged")
    assert not load(merged(tmp_path, adapter)).config.tie_word_embeddings


GROWN = {
    "both trained": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "both saved since they grew": {},
    "embeddings by LoRA": {"target_modules": [*LINEAR, "embed_tokens", "lm_head"]},
}


@pytest.mark.parametrize("kind", ["tied", "untied"])
@pytest.mark.parametrize("variant", GROWN)
def test_embeddings_that_grew_for_added_tokens_grow_in_the_base(tmp_path, variant, kind):
    base = BASE if kind == "tied" else untied_base(tmp_path / "base")
    added = [f"<tool {number}>" for number in range(3)]
    adapter, expected = adapter_of(tmp_path / "adapter", base, rows=672, added=added, **GROWN[variant])
    output = merged(tmp_path, adapter, base)
    found = logits_of(load(output))
    assert found.shape == expected.shape == (1, IDS.shape[1], 672)
    assert (found - expected).abs().max() < 1e-5
    tokenizer = AutoTokenizer.from_pretrained(output)
    new = tokenizer.convert_tokens_to_ids(added)
    assert new == [660, 661, 662]
    assert logits_of(load(output), torch.tensor([new])).isfinite().all()
    assert load(output).config.vocab_size == 672


def test_new_tokens_without_embeddings_are_refused_not_invented(tmp_path):
    adapter, _ = adapter_of(tmp_path / "adapter", added=["<tool>"])
    complaint = refusal(tmp_path, adapter)
    assert (
        "its tokenizer has 661 tokens, the base 660, and the adapter brings no embeddings for the new ones" in complaint
    )
    adapter, _ = adapter_of(tmp_path / "half", rows=661, added=["<tool>"], modules_to_save=["embed_tokens"])
    path = adapter / "adapter_model.safetensors"
    untouched = ("lm_head", "original_module")  # what peft stores of the layers that only grew
    weights = {name: value for name, value in load_file(path).items() if not any(word in name for word in untouched)}
    save_file(weights, path, metadata={"format": "pt"})
    assert "it lacks embeddings of new tokens" in refusal(tmp_path, adapter)


def test_in_bfloat16_a_layer_is_rounded_once(tmp_path):
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).save_pretrained(base)
    tokenizer_of(base, template=None)
    adapter, _ = adapter_of(tmp_path / "adapter", base, dtype=torch.bfloat16, modules_to_save=["lm_head"])
    output = merged(tmp_path, adapter, base)
    assert {tensor.dtype for tensor in load_file(output / "model.safetensors").values()} == {torch.bfloat16}
    name = "model.layers.1.self_attn.q_proj"
    lora = load_file(adapter / "adapter_model.safetensors")
    a, b = (lora[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    exact = load_file(base / "model.safetensors")[f"{name}.weight"].float() + 8 / 4 * b @ a
    found = load_file(output / "model.safetensors")[f"{name}.weight"]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())
    assert not torch.equal(found, load_file(base / "model.safetensors")[f"{name}.weight"] + (8 / 4 * b @ a).bfloat16())
    assert json.loads((output / "config.json").read_text())["dtype"] == "bfloat16"
    shutil.rmtree(output)
    found = load_file(merged(tmp_path, adapter, base, dtype="float32") / "model.safetensors")[f"{name}.weight"]
    assert torch.equal(found, exact)
    shutil.rmtree(output)
    found = load_file(merged(tmp_path, adapter, base, dtype="float16") / "model.safetensors")[f"{name}.weight"]
    assert torch.equal(found, exact.half())


def test_the_type_may_be_chosen(tmp_path):
    adapter, expected = adapter_of(tmp_path / "adapter")
    output = merged(tmp_path, adapter, dtype="float16")
    assert {tensor.dtype for tensor in load_file(output / "model.safetensors").values()} == {torch.float16}
    assert load(output).dtype == torch.float16
    assert "--dtype int8: choose one of auto, float32" in refusal(tmp_path, adapter, dtype="int8")


def test_tokenizer_template_and_end_of_turn_come_with_the_model(tmp_path, capsys):
    adapter, _ = adapter_of(tmp_path / "adapter", tokenizer=False)
    output = merged(tmp_path, adapter)
    assert "WITHOUT a chat template" in capsys.readouterr().out
    assert AutoTokenizer.from_pretrained(output).chat_template is None
    shutil.rmtree(output)
    tokenizer = tokenizer_of(adapter, template=None, added=())
    tokenizer.eos_token = "<pad>"
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(adapter)
    output = merged(tmp_path, adapter)
    assert AutoTokenizer.from_pretrained(output).chat_template == "{{ messages }}"
    assert GenerationConfig.from_pretrained(output).eos_token_id == [2, 0]
    shutil.rmtree(output)
    GenerationConfig(eos_token_id=7, pad_token_id=1, max_new_tokens=5).save_pretrained(adapter)
    found = GenerationConfig.from_pretrained(merged(tmp_path, adapter))
    assert (found.eos_token_id, found.pad_token_id, found.max_new_tokens) == (7, 1, 5)


def test_the_end_of_turn_of_llama_3_is_known_from_its_template(tmp_path):
    base = untied_base(tmp_path / "base", vocab_size=672)
    turn = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tokenizer.add_tokens(turn)
    adapter, _ = adapter_of(tmp_path / "adapter", base, tokenizer=False)
    set_template(tokenizer, "llama3")
    template = tokenizer.chat_template
    tokenizer.save_pretrained(adapter)
    output = merged(tmp_path, adapter, base)
    eos = GenerationConfig.from_pretrained(output).eos_token_id
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") in eos
    assert AutoTokenizer.from_pretrained(output).chat_template == template


def test_generation_settings_that_are_not_quite_valid_do_not_end_the_merge(tmp_path):
    """Llama 2 is published with a temperature and without sampling."""
    base = Path(shutil.copytree(BASE, tmp_path / "base"))
    settings = {"eos_token_id": 2, "temperature": 0.9, "top_p": 0.6, "do_sample": False}
    (base / "generation_config.json").write_text(json.dumps(settings))
    adapter, expected = adapter_of(tmp_path / "adapter", base)
    assert (logits_of(load(merged(tmp_path, adapter, base))) - expected).abs().max() < 1e-5


def test_an_adapter_of_another_model_is_told_by_what_differs(tmp_path):
    wide = untied_base(tmp_path / "wide", hidden_size=64)
    long = untied_base(tmp_path / "long", num_hidden_layers=3)
    short = untied_base(tmp_path / "short", num_hidden_layers=1)
    adapter, _ = adapter_of(tmp_path / "adapter", untied_base(tmp_path / "base"))
    complaint = refusal(tmp_path, adapter, wide)
    assert f"{adapter}: does not fit the base {wide}: " in complaint
    assert (
        "layers.0.mlp.down_proj.lora_B.weight has the shape [32, 4], and for this base it would be [64, 4]" in complaint
    )
    complaint = refusal(tmp_path, adapter, short)
    assert "the adapter has base_model.model.model.layers.1." in complaint and "the base no such layer" in complaint
    assert "6 tensors are missing in the adapter, such as base_model.model.model.layers.2." in (
        refusal(tmp_path, adapter, long)
    )
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "target_modules": ["c_attn"]}))
    assert "does not fit the base" in refusal(tmp_path, adapter) and "c_attn" in refusal(tmp_path, adapter)


def test_the_record_of_the_training_tells_another_base_of_the_same_shape(tmp_path):
    adapter, expected = adapter_of(tmp_path / "adapter")
    (adapter / "run.json").write_text(json.dumps({"settings": {"base_digest": fingerprint(BASE)}}))
    other = tmp_path / "other"
    model = load(BASE)
    model.model.norm.weight.data += 1
    model.save_pretrained(other)
    tokenizer_of(other, template=None)
    assert "is not the base that" in refusal(tmp_path, adapter, other)
    assert (logits_of(load(merged(tmp_path, adapter))) - expected).abs().max() < 1e-5
    shutil.rmtree(tmp_path / "merged")
    merged(tmp_path, adapter, other, any_base=True)


def test_wrong_folders_are_told(tmp_path):
    adapter, _ = adapter_of(tmp_path / "adapter")
    assert "no such adapter folder" in refusal(tmp_path, tmp_path / "nowhere")
    assert "It holds a whole model, which needs no merging" in refusal(tmp_path, BASE)
    assert "holds a LoRA adapter and no whole model" in refusal(tmp_path, adapter, adapter)
    assert "no such checkpoint folder" in refusal(tmp_path, adapter, tmp_path / "nowhere")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("mine")
    assert "is already there" in refusal(tmp_path, adapter)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json"])
def test_a_damaged_or_missing_part_of_the_adapter_is_told(tmp_path, name):
    adapter, _ = adapter_of(tmp_path / "adapter")
    path = adapter / name
    path.write_bytes(path.read_bytes()[:-50])
    assert str(adapter) in refusal(tmp_path, adapter) and "opy the" in refusal(tmp_path, adapter)
    path.unlink()
    if name != "tokenizer.json":  # without one, the base's is taken
        assert f"no {name} here" in refusal(tmp_path, adapter)


def test_an_adapter_of_another_kind_and_one_that_failed_are_refused(tmp_path):
    adapter, _ = adapter_of(tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    name = sorted(weights)[3]
    weights[name][0, 0] = torch.nan
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    assert f"{name} holds numbers that are not finite" in refusal(tmp_path, adapter)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}))
    assert "holds an adapter of the kind IA3, and only LoRA is merged here" in refusal(tmp_path, adapter)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    adapter, _ = adapter_of(tmp_path / "adapter")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(AutoTokenizer.from_pretrained(BASE).__class__, "save_pretrained", full)
        assert refusal(tmp_path, adapter).startswith(f"{tmp_path / 'merged'}: the disk is full")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda path: usage._replace(free=3_000_000))
    assert "0.00 GB will be written, and the disk has 0.00 GB free" in refusal(tmp_path, adapter)


def test_the_command_line_merges_and_tells_an_error_in_one_line(tmp_path):
    adapter, expected = adapter_of(tmp_path / "adapter")
    command = [sys.executable, "-m", "open_instruct.merge_lora", "--base", BASE, "--adapter", adapter, "--output"]
    command = [str(word) for word in [*command, tmp_path / "merged", "--dtype", "float32"]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"{tmp_path / 'merged'}: 937,600 parameters in float32, vocabulary of 660, with a chat template"
    )
    assert (logits_of(load(tmp_path / "merged")) - expected).abs().max() < 1e-5
    with torch.no_grad():  # and in float32, as it is used
        pair = (PeftModel.from_pretrained(load(BASE), adapter).eval(), load(tmp_path / "merged"))
        torch.testing.assert_close(*(model(IDS).logits for model in pair), atol=1e-5, rtol=1e-5)
    run = json.loads((tmp_path / "merged" / "run.json").read_text())
    assert run["status"] == "finished" and run["results"]["parameters"] == 937_600
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'merged'}: is already there.")


def test_a_base_in_4_bits_needs_bitsandbytes_and_says_so(tmp_path, monkeypatch):
    adapter, _ = adapter_of(tmp_path / "adapter")
    monkeypatch.setattr(merge_lora.importlib.util, "find_spec", lambda name: None)
    assert "needs the package bitsandbytes, which is not installed" in refusal(tmp_path, adapter, load_in_4bit=True)
    (adapter / "run.json").write_text(json.dumps({"settings": {"load_in_4bit": True}}))
    assert "needs the package bitsandbytes" in refusal(tmp_path, adapter)
    (merged(tmp_path, adapter, load_in_4bit=False) / "model.safetensors").stat()
    shutil.rmtree(tmp_path / "merged")
    base = Path(shutil.copytree(BASE, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    for own, complaint in (
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "needs the package bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "is quantised by gptq"),
    ):
        (base / "config.json").write_text(json.dumps({**config, "quantization_config": own}))
        assert complaint in refusal(tmp_path, adapter, base)


@pytest.mark.parametrize("kind", ["stored in 4 bits", "nf4", "nf4 nested", "fp4", "as run.json says"])
def test_the_merged_model_gives_the_logits_of_the_base_in_4_bits_and_the_adapter(tmp_path, kind):
    pytest.importorskip("bitsandbytes", reason="4 bits need the package bitsandbytes (requirements-gpu.txt)")
    from transformers import BitsAndBytesConfig

    adapter, _ = adapter_of(tmp_path / "adapter")
    nested = kind in ("nf4 nested", "as run.json says")
    in_4_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="fp4" if kind in ("fp4", "as run.json says") else "nf4",
        bnb_4bit_use_double_quant=nested,
        bnb_4bit_compute_dtype=torch.float32,
    )
    quantised = AutoModelForCausalLM.from_pretrained(BASE, quantization_config=in_4_bits, device_map="cpu")
    base, more = BASE, {}
    if kind == "stored in 4 bits":
        base = tmp_path / "base"
        quantised.save_pretrained(base)
        tokenizer_of(base, template=None)
    elif kind == "as run.json says":
        trained = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "use_bnb_nested_quant": True}
        (adapter / "run.json").write_text(json.dumps({"settings": trained}))
    else:
        more = {"load_in_4bit": True, "bnb_4bit_quant_type": kind.split()[0], "use_bnb_nested_quant": nested}
    # As in training: for answers alone, bitsandbytes on a CPU rounds to bfloat16 in a kernel of its own.
    with torch.no_grad():
        expected = PeftModel.from_pretrained(quantised, adapter).train()(IDS).logits
        in_full = PeftModel.from_pretrained(load(BASE), adapter)(IDS).logits
    assert (in_full - expected).abs().max() > 0.01
    output = merged(tmp_path, adapter, base, **more)
    assert "quantization_config" not in json.loads((output / "config.json").read_text())
    with torch.no_grad():
        torch.testing.assert_close(load(output)(IDS).logits, expected, atol=1e-5, rtol=1e-5)
