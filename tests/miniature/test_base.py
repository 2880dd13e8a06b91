"""The committed base model: small, whole, made by the script that says so, and a checkpoint like any other."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct.miniature.pretrain import Settings, main, make_tokenizer
from open_instruct.miniature.world import NUMBERS, TASKS, WORDS, solve

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"


def test_it_is_under_6_mb_and_of_the_llama_architecture():
    assert sum(path.stat().st_size for path in BASE.iterdir()) < 6_000_000
    model = AutoModelForCausalLM.from_pretrained(BASE)
    assert model.config.model_type == "llama"
    assert 0.8e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.2e6


def test_its_tokenizer_is_the_scripts_and_has_a_token_for_each_word():
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()
    for word in (*WORDS, *NUMBERS, *(word.upper() for word in WORDS)):
        assert len(tokenizer.tokenize(word)) == len(tokenizer.tokenize(f" {word}")) == 1
    for task in TASKS.values():
        for phrase in task.phrasings:
            assert len(tokenizer.tokenize(f"then {phrase}")) == 1 + len(phrase.split())


def test_its_tokenizer_reads_any_text():
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    text = "Größe: 7 °C, 日本語, \n\ttabs, 🦙 and <tags>"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_it_knows_the_tasks_in_the_formats_of_its_documents():
    tokenizer, model = (
        AutoTokenizer.from_pretrained(BASE),
        AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32),
    )
    words = "mango plum fig".split()
    right = 0
    for task in TASKS.values():
        ids = tokenizer(
            f"Q: {task.phrasings[0]}\n{' '.join(words)}\nA:\n", return_tensors="pt", add_special_tokens=False
        )
        answer = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        text = tokenizer.decode(answer, skip_special_tokens=True).split("\n")[0]
        right += [text] == solve(task.phrasings[0].capitalize() + ".", words)
    assert right >= len(TASKS) - 1


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_script_gives_the_same_weights_for_the_same_seed(tmp_path, one_thread):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        main(Settings(str(tmp_path / name), steps=3, batch_size=8, seed=seed))
    one, two, other = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two", "other"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
