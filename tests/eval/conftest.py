"""A tiny checkpoint with random weights, and a few items of the miniature's world, for the tests of stage 3."""

import json
import os
from pathlib import Path

import pytest

from eval.scoring import data_files

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
STEPS = {
    "repeat": ("repeat the list", lambda words: " ".join(words)),
    "reverse": ("reverse the list", lambda words: " ".join(reversed(words))),
    "first": ("name the first item", lambda words: words[0]),
    "capitals": ("write the list in capitals", lambda words: " ".join(words).upper()),
}
WORDS = "apple pear fig plum lime kiwi mango grape".split()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A random Llama of two layers in float32, a BPE tokenizer that would put `<s>` first, a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS), *(phrase for phrase, _ in STEPS.values())] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=CHAT_TEMPLATE
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.5,  # with the usual 0.02 every prompt gets nearly the same answer
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def item(number: int, steps: list[str]) -> dict:
    """One row of the miniature's evaluation data."""
    words = [WORDS[(number * 3 + place) % len(WORDS)] for place in range(2 + number % 4)]
    phrases = [STEPS[step][0] for step in steps]
    chain = "First " + ", then ".join(phrases) + "." if len(steps) > 1 else phrases[0].capitalize() + "."
    answers = [STEPS[step][1](words) for step in steps]
    return {"id": f"item-{number}", "instruction": chain, "input": " ".join(words), "steps": steps, "answers": answers}


@pytest.fixture
def eval_data(tmp_path, monkeypatch) -> Path:
    """The data folder with 12 items of each length, named to every process by SIT_EVAL_DATA."""
    folder = tmp_path / "eval_data"
    (folder / "miniature").mkdir(parents=True)
    names = list(STEPS)
    for length, name in enumerate(("single", "pairs", "chains", "longer"), start=1):
        rows = [item(number, [names[(number + place) % 4] for place in range(length)]) for number in range(12)]
        (folder / "miniature" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("SIT_EVAL_DATA", str(folder))
    return folder


@pytest.fixture
def one_thread(monkeypatch) -> dict[str, str]:
    """The environment for programs started by a test: a single thread, so that tests share the machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return dict(os.environ)


@pytest.fixture(autouse=True)
def nothing_told_yet():
    """What the data lacks is told once in a process; here in every test."""
    data_files._told.clear()
