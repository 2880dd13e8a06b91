"""Recovered weights are the tuned ones byte for byte, whatever they hold and however they are cut; a wrong base and a
damaged diff are refused, and nothing that looks finished is left."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct import weight_diff
from open_instruct.core import shards
from open_instruct.core.checkpoint import check, fingerprint
from open_instruct.core.errors import UserError
from open_instruct.core.only_run import only_run
from open_instruct.core.shards import Weights
from open_instruct.weight_diff import make_diff, recover

ROOT = Path(__file__).parents[1]
BASE = ROOT / "open_instruct" / "miniature" / "base"
SCRIPT = ROOT / "scripts" / "weight_diff.py"
TYPES = [torch.bfloat16, torch.float16, torch.float32]


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """The miniature with other weights, in bfloat16 and several shards, with a chat template."""
    return tuned_model(tmp_path_factory.mktemp("weight_diff") / "tuned")


def tuned_model(folder, rows=660, **save):
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16)
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    if rows != 660:
        model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(folder, **{"max_shard_size": "300KB", **save})
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(folder)
    return folder


def folder_of(path, tensors, shards=1, **config):
    """A checkpoint folder of these tensors in so many files."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"vocab_size": 6, **config}))
    (path / "tokenizer.json").write_text("{}")
    if shards == 1:
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        return path
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        names = list(tensors)[number::shards]
        save_file({name: tensors[name] for name in names}, path / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return path


def there_and_back(tmp_path, raw, tuned):
    make_diff(raw, tuned, tmp_path / "diff")
    recover(raw, tmp_path / "back", tmp_path / "diff")
    return tmp_path / "back"


def refusal(of, *arguments):
    with pytest.raises(UserError) as caught:
        of(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def every_pattern(dtype, seed):
    """Every bit pattern of a 16-bit type, or random ones and the special ones of a 32-bit type, in random order."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.itemsize == 2:
        return torch.randperm(1 << 16, generator=generator).to(torch.uint16).view(dtype).reshape(256, 256)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, -torch.nan, 1e-45, 3.4e38, -3.4e38])
    pairs = torch.cartesian_prod(special, special)[:, seed % 2]
    random = torch.randint(-(1 << 31), 1 << 31, (5_000,), generator=generator, dtype=torch.int64).to(torch.int32)
    return torch.cat([pairs, random.view(torch.float32)])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_number_comes_back_bit_for_bit_also_infinities_nans_and_minus_zero(tmp_path, dtype):
    raw, tuned = ({"a.weight": every_pattern(dtype, seed)} for seed in (0, 1))
    assert not torch.equal(bits(raw["a.weight"]), bits(tuned["a.weight"]))
    for name, tensors in (("raw", raw), ("tuned", tuned)):
        folder_of(tmp_path / name, tensors)
    back = there_and_back(tmp_path, tmp_path / "raw", tmp_path / "tuned")
    found = load_file(back / "model.safetensors")["a.weight"]
    assert found.dtype == dtype
    assert torch.equal(bits(found), bits(tuned["a.weight"]))


def test_a_difference_of_numbers_would_not_come_back():
    """Why the difference is one of bit patterns."""
    raw, tuned = (every_pattern(torch.bfloat16, seed) for seed in (0, 1))
    assert not torch.equal(bits(raw + (tuned - raw)), bits(tuned))
    in_float32 = raw.float() + (tuned.float() - raw.float())
    assert not torch.equal(bits(in_float32.bfloat16()), bits(tuned))


@pytest.mark.parametrize("raw_type", TYPES, ids=str)
@pytest.mark.parametrize("tuned_type", TYPES, ids=str)
def test_a_base_stored_in_another_type_serves_too(tmp_path, raw_type, tuned_type):
    torch.manual_seed(0)
    values = torch.randn(300, 7)
    raw = folder_of(tmp_path / "raw", {"a.weight": values.to(raw_type)})
    tuned = folder_of(tmp_path / "tuned", {"a.weight": (values + 1e-3).to(tuned_type)})
    back = there_and_back(tmp_path, raw, tuned)
    assert (back / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
    small = load_file(tmp_path / "diff" / "diff-00001-of-00001.safetensors")["a.weight"]
    assert small.dtype == {2: torch.uint16, 4: torch.uint32}[tuned_type.itemsize]


def test_other_types_scalars_and_empty_tensors_come_back(tmp_path):
    tensors = {
        "flags": torch.tensor([True, False, True]),
        "steps": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "small": torch.randn(4, 4).to(torch.float8_e4m3fn),
        "double": torch.randn(3, dtype=torch.float64),
    }
    raw = folder_of(tmp_path / "raw", tensors)
    changed = {name: torch.roll(tensor, 1) if tensor.dim() else tensor + 3 for name, tensor in tensors.items()}
    tuned = folder_of(tmp_path / "tuned", changed)
    back = there_and_back(tmp_path, raw, tuned)
    assert (back / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
    wrong = folder_of(tmp_path / "wrong", {**tensors, "steps": torch.tensor(7.0)})
    assert "steps is of type I64 and F32 in the base" in refusal(make_diff, wrong, tuned, tmp_path / "other")


def test_a_tensor_may_lie_in_other_shards_and_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_diff, "_PIECE", 64)
    torch.manual_seed(0)
    names = [f"layer.{number}.weight" for number in range(11)]
    raw = folder_of(tmp_path / "raw", {name: torch.randn(9, 5) for name in names}, shards=3)
    tuned = folder_of(tmp_path / "tuned", {name: torch.randn(9, 5) for name in reversed(names)}, shards=4)
    back = there_and_back(tmp_path, raw, tuned)
    with Weights(raw) as one, Weights(tuned) as other:
        assert any(one.tensors[name].shard[:11] != other.tensors[name].shard[:11] for name in names)
    assert fingerprint(back) == fingerprint(tuned)


def test_the_whole_model_travels_and_loads(tmp_path, tuned):
    back = there_and_back(tmp_path, BASE, tuned)
    check(back)
    assert fingerprint(back) == fingerprint(tuned)
    assert left(back) == sorted([*left(tuned), "run.json"])
    assert len(list(back.glob("*.safetensors"))) > 3
    assert AutoTokenizer.from_pretrained(tmp_path / "diff").chat_template == "{{ messages }}"
    ids = torch.arange(3, 40)[None]
    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in (tuned, back)]
    assert torch.equal(*(model(ids).logits for model in models))
    run = json.loads((tmp_path / "diff" / "run.json").read_text())
    assert run["status"] == "finished" and run["results"]["tensors"] == 38


def test_a_diff_cannot_be_taken_for_a_model(tmp_path, tuned):
    make_diff(BASE, tuned, tmp_path / "diff")
    assert "no weights here" in refusal(check, tmp_path / "diff")


@pytest.mark.parametrize("rows", [700, 640])
def test_an_embedding_may_have_more_rows_or_fewer(tmp_path, rows, capsys):
    tuned = tuned_model(tmp_path / "tuned", rows)
    back = there_and_back(tmp_path, BASE, tuned)
    assert fingerprint(back) == fingerprint(tuned)
    assert f"model.embed_tokens.weight: 660 rows in the base, {rows} in the tuned model" in capsys.readouterr().out
    if rows > 660:
        with Weights(tmp_path / "diff", left_diffs(tmp_path / "diff")) as diff:
            shard = diff.tensors["model.embed_tokens.weight"].shard
        name = next(path for path in tuned.glob("*.safetensors") if "model.embed_tokens.weight" in load_file(path))
        new = load_file(name)["model.embed_tokens.weight"][660:]
        stored = load_file(tmp_path / "diff" / shard)["model.embed_tokens.weight"][660:]
        assert torch.equal(bits(stored), bits(new))


def left_diffs(folder):
    return [name for name in left(folder) if name.startswith("diff-")]


def test_only_embeddings_may_change_their_rows(tmp_path):
    raw = folder_of(tmp_path / "raw", {"k_proj.weight": torch.randn(4, 3)})
    tuned = folder_of(tmp_path / "tuned", {"k_proj.weight": torch.randn(8, 3)})
    complaint = refusal(make_diff, raw, tuned, tmp_path / "diff")
    assert "k_proj.weight has the shape [4, 3]" in complaint and "[8, 3]" in complaint
    assert left(tmp_path) == ["raw", "tuned"]


def test_an_output_layer_that_was_tied_is_stored_as_a_difference_to_the_embeddings(tmp_path):
    torch.manual_seed(0)
    embeddings = torch.randn(6, 4)
    raw = folder_of(tmp_path / "raw", {"model.embed_tokens.weight": embeddings}, tie_word_embeddings=True)
    untied = {"model.embed_tokens.weight": embeddings + 1, "lm_head.weight": embeddings.clone()}
    tuned = folder_of(tmp_path / "tuned", untied, tie_word_embeddings=False)
    back = there_and_back(tmp_path, raw, tuned)
    assert (back / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
    stored = load_file(tmp_path / "diff" / "diff-00001-of-00001.safetensors")
    assert (stored["lm_head.weight"].view(torch.int32) == 0).all()


def test_a_base_whose_names_lack_the_prefix_and_unused_tensors_of_the_base(tmp_path, capsys):
    values = torch.randn(3, 3)
    raw = folder_of(tmp_path / "raw", {"wpe.weight": values, "h.0.attn.bias": torch.ones(2)})
    tuned = folder_of(tmp_path / "tuned", {"transformer.wpe.weight": values + 1})
    back = there_and_back(tmp_path, raw, tuned)
    assert (back / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
    assert "1 tensors of the base have no counterpart in the tuned model, such as h.0.attn.bias" in (
        capsys.readouterr().out
    )


def to_binary(folder, target):
    """The same checkpoint in pytorch_model.bin files."""
    shutil.copytree(folder, target)
    weight_map = {}
    for path in sorted(target.glob("*.safetensors")):
        tensors = load_file(path)
        name = path.name.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        torch.save(tensors, target / name)
        weight_map |= dict.fromkeys(tensors, name)
        path.unlink()
    (target / "model.safetensors.index.json").unlink(missing_ok=True)
    if len(set(weight_map.values())) > 1:
        (target / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return target


def test_bin_files_are_read_and_come_back_as_safetensors(tmp_path, tuned):
    raw = to_binary(BASE, tmp_path / "raw")
    binary = to_binary(tuned, tmp_path / "tuned")
    back = there_and_back(tmp_path, raw, binary)
    check(back)
    assert not list(back.glob("*.bin*"))
    expected, found = ({}, {})
    for path in tuned.glob("*.safetensors"):
        expected |= load_file(path)
        found |= load_file(back / path.name)
    assert expected.keys() == found.keys()
    assert all(torch.equal(bits(expected[name]), bits(found[name])) for name in expected)
    recover(BASE, tmp_path / "again", tmp_path / "diff")  # from safetensors: the base's numbers count, not its files
    (raw / "pytorch_model.bin").write_bytes(b"x" * 1000)
    assert "pytorch_model.bin: cannot be read as weights" in refusal(make_diff, raw, tuned, tmp_path / "other")


def test_a_wrong_base_is_refused_and_leaves_nothing(tmp_path, tuned):
    make_diff(BASE, tuned, tmp_path / "diff")
    wrong = Path(shutil.copytree(BASE, tmp_path / "wrong"))
    weights = load_file(wrong / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"][5, 5] += 1
    save_file(weights, wrong / "model.safetensors", metadata={"format": "pt"})
    complaint = refusal(recover, wrong, tmp_path / "back", tmp_path / "diff")
    assert "wrong: is not the base that" in complaint and "model.layers.2.mlp.up_proj.weight" in complaint
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, wrong / "model.safetensors", metadata={"format": "pt"})
    assert "it has no tensor model.layers.2.mlp.up_proj.weight" in (
        refusal(recover, wrong, tmp_path / "back", tmp_path / "diff")
    )
    assert "has no tensor model.layers.2.mlp.up_proj.weight" in refusal(make_diff, wrong, tuned, tmp_path / "other")
    assert left(tmp_path) == ["diff", "wrong"]


@pytest.mark.parametrize("where", ["weights", "header", "tokenizer", "template", "about", "shard", "cut"])
def test_a_damaged_diff_is_refused_and_leaves_nothing(tmp_path, tuned, where):
    diff = tmp_path / "diff"
    make_diff(BASE, tuned, diff)
    shard = diff / left_diffs(diff)[2]
    path = {"tokenizer": diff / "tokenizer.json", "template": diff / "chat_template.jinja"}.get(where, shard)
    if where == "about":
        path = diff / "weight_diff.json"
    content = bytearray(path.read_bytes())
    if where == "shard":
        path.unlink()
    elif where == "cut":
        path.write_bytes(content[:-100])
    else:
        content[{"weights": -1, "header": 20}.get(where, len(content) // 2)] ^= 1
        path.write_bytes(content)
    complaint = refusal(recover, BASE, tmp_path / "back", diff)
    assert path.name in complaint and "opy the" in complaint
    assert left(tmp_path) == ["diff"]


def test_a_change_in_the_record_alone_is_seen(tmp_path, tuned):
    make_diff(BASE, tuned, tmp_path / "diff")
    path = tmp_path / "diff" / "weight_diff.json"
    changed = path.read_text().replace('\\"pt\\"', '\\"tf\\"')
    assert changed != path.read_text()
    path.write_text(changed)
    assert "weight_diff.json: is damaged" in refusal(recover, BASE, tmp_path / "back", tmp_path / "diff")


def test_a_diff_that_names_files_elsewhere_is_refused(tmp_path, tuned):
    make_diff(BASE, tuned, tmp_path / "diff")
    path = tmp_path / "diff" / "weight_diff.json"
    about = json.loads(path.read_text())
    del about["sha256"]
    about["shards"]["../outside.safetensors"] = about["shards"].pop(next(iter(about["shards"])))
    path.write_text(json.dumps({**about, "sha256": weight_diff._digest_of(about)}))
    assert "names files outside of its folder" in refusal(recover, BASE, tmp_path / "back", tmp_path / "diff")


def test_wrong_folders_are_told(tmp_path, tuned):
    assert "no such checkpoint folder" in refusal(make_diff, tmp_path / "nowhere", tuned, tmp_path / "diff")
    assert "holds no weight_diff.json" in refusal(recover, BASE, tmp_path / "back", tuned)
    other = folder_of(tmp_path / "other", {"a.weight": torch.zeros(2)})
    assert "it is not the model that was tuned" in refusal(make_diff, other, tuned, tmp_path / "diff")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    assert "is already there" in refusal(make_diff, BASE, tuned, tmp_path / "there")
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"
    assert left(tmp_path) == ["other", "there"]


def test_a_second_process_is_kept_out(tmp_path, tuned):
    with only_run(tmp_path / ".diff.part", "weight diff"):
        assert "another weight diff is writing here" in refusal(make_diff, BASE, tuned, tmp_path / "diff")


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path, tuned, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    complaint = refusal(make_diff, BASE, tuned, tmp_path / "diff")
    assert complaint.startswith(f"{tmp_path / 'diff'}: 0.00 GB will be written") and "Make room" in complaint
    assert left(tmp_path) == []


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, tuned, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_diff(BASE, tuned, tmp_path / "diff")
    monkeypatch.setattr(os, "fsync", full)
    complaint = refusal(recover, BASE, tmp_path / "back", tmp_path / "diff")
    assert complaint.startswith(f"{tmp_path / 'back'}: the disk is full")
    assert left(tmp_path) == ["diff"]


def test_killed_half_way_there_is_no_output_and_the_same_command_succeeds(tmp_path, tuned):
    diff = tmp_path / "diff"
    slow = (
        "import sys, time; from open_instruct import weight_diff as w; subtract = w._subtract\n"
        "w._subtract = lambda *a: (print('tensor', flush=True), time.sleep(0.05), subtract(*a))[2]\n"
        "w.main(sys.argv[1:])"
    )
    command = ["make_diff", "--path_raw", BASE, "--path_tuned", tuned, "--path_diff", diff]
    process = subprocess.Popen([sys.executable, "-c", slow, *map(str, command)], stdout=subprocess.PIPE, cwd=ROOT)
    for _ in range(10):
        assert process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert left(tmp_path) == [".diff.part"]
    assert left_diffs(tmp_path / ".diff.part")
    (tmp_path / ".diff.part" / "litter").mkdir()
    make_diff(BASE, tuned, diff)
    assert left(tmp_path) == ["diff"] and "litter" not in left(diff)
    recover(BASE, tmp_path / "back", diff)
    assert fingerprint(tmp_path / "back") == fingerprint(tuned)


def test_the_command_needs_only_the_packages_of_its_own_requirements(tmp_path, tuned):
    """As users type it, from elsewhere, where nothing else is installed."""
    wanted = {line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    own = [line.split("#")[0].strip() for line in (ROOT / "weight-diff-requirements.txt").read_text().splitlines()]
    own = [line for line in own if line]
    assert own and set(own) <= wanted
    absent = ("transformers", "peft", "accelerate", "datasets", "tokenizers", "huggingface_hub", "trl", "tqdm", "yaml")
    (tmp_path / "site").mkdir()
    for name in absent:
        (tmp_path / "site" / f"{name}.py").write_text("raise ImportError('not installed here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for verb, target in (("make_diff", tuned), ("recover", tmp_path / "back")):
        paths = ["--path_raw", BASE, "--path_tuned", target, "--path_diff", tmp_path / "diff"]
        command = [sys.executable, str(SCRIPT), verb, *map(str, paths)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert fingerprint(tmp_path / "back") == fingerprint(tuned)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {tmp_path / 'back'}: is already there. Name another folder, or delete this one first.\n"
    )
