"""Pretrains the miniature base model: it knows the world's tasks, but has never seen an instruction or a chain.

Called by `scripts/miniature/pretrain.sh`; the result is committed in `open_instruct/miniature/base`. Its documents use
other formats than instruction tuning (`reverse the list : a b c => c b a`, question and answer, input first), so what
fine-tuning adds is the instruction format and, with sequential data, following every task of a chain.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from open_instruct.core.command import help_field, run
from open_instruct.miniature.world import NUMBERS, TASKS, WORDS, draw_words


@dataclass
class Settings:
    output_dir: str = help_field("folder of the checkpoint", "output/miniature_base")
    steps: int = help_field("optimizer steps", 1800)
    batch_size: int = help_field("documents a step", 128)
    learning_rate: float = help_field("peak, after 100 steps of warm-up; falls linearly to a twentieth", 3e-3)
    hidden_size: int = help_field("width", 128)
    layers: int = help_field("depth", 4)
    seed: int = help_field("of the weights and the documents", 0)


def main(settings: Settings) -> None:
    """Train tokenizer and model, print the loss, write the checkpoint folder."""
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, settings)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters:,} parameters, {len(tokenizer)} tokens in the vocabulary")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.05, 1 - step / settings.steps)
    )
    model.train()
    progress = tqdm(range(settings.steps), desc="pretraining", mininterval=2)
    for _ in progress:
        batch = _batch([document(rng) for _ in range(settings.batch_size)], tokenizer)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    print(f"loss of the last batch: {loss.item():.4f}")
    Path(settings.output_dir).mkdir(parents=True, exist_ok=True)
    model.save_pretrained(settings.output_dir)
    tokenizer.save_pretrained(settings.output_dir)


def document(rng: random.Random) -> list[tuple[str, bool]]:
    """One to three solved tasks, as (text, is an answer) pieces: answered one by one, or a quiz with its answers below.

    Each task has a list of its own: that two tasks can be asked of one list is left to fine-tuning.
    """
    solved = []
    for _ in range(rng.randint(1, 3)):
        task = TASKS[rng.choice(list(TASKS))]
        words = draw_words(rng)
        solved.append((rng.choice(task.phrasings), " ".join(words), " ".join(task.answer(words))))
    if rng.random() < 0.5:
        questions = "".join(f"Q: {phrase} : {given}\n" for phrase, given, _ in solved)
        answers = [piece for _, _, answer in solved for piece in (("A:\n", False), (f"{answer}\n", True))]
        return [(questions, False), *answers]
    return [piece for one in solved for piece in _answered(*one, rng)]


def _answered(phrase: str, given: str, answer: str, rng: random.Random) -> tuple[tuple[str, bool], tuple[str, bool]]:
    before, after = rng.choice(
        (
            (f"{phrase} : {given} =>", f" {answer}\n"),
            (f"Q: {phrase}\n{given}\nA:\n", f"{answer}\n"),
            (f"Q: {phrase} : {given}\nA:", f" {answer}\n"),
            (f"{given}\n{phrase} =>\n", f"{answer}\n"),
            (f"{given}\n=> {phrase}\n", f"{answer}\n"),
        )
    )
    return (before, False), (after, True)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: reads any text, and each word of the world is one token."""
    words = set(WORDS) | {word.upper() for word in WORDS} | set(NUMBERS) | {"First", "then", "and"}
    for task in TASKS.values():
        for phrase in task.phrasings:
            words |= set(phrase.split()) | {phrase.split()[0].capitalize()}
    tokenizer = Tokenizer(models.BPE())
    # Llama-3's split of text into words, numbers and white space: a line break stays apart from the word after it.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
                "isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,  # more than the merges there are: training stops when every word is one token
        min_frequency=1,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = sorted(words) + [f" {word}" for word in sorted(words)] + [" =>", "=>", " :"]
    tokenizer.train_from_iterator(lines, trainer)
    # The roles of the tulu template, so that a chat line of the world stays short.
    tokenizer.add_tokens([AddedToken(f"<|{role}|>", normalized=False) for role in ("system", "user", "assistant")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=2048
    )


def make_model(tokenizer: PreTrainedTokenizerFast, settings: Settings) -> LlamaForCausalLM:
    """A small Llama with fresh weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=3 * settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _batch(documents: list[list[tuple[str, bool]]], tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    """Padded input ids, labels (answers and the document's end only) and attention mask, each [documents, tokens]."""
    pieces = tokenizer([text for doc in documents for text, _ in doc], add_special_tokens=False)["input_ids"]
    rows, labels, place = [], [], 0
    for doc in documents:
        ids, label = [], []
        for _, is_answer in doc:
            ids += pieces[place]
            label += pieces[place] if is_answer else [-100] * len(pieces[place])
            place += 1
        rows.append(torch.tensor([*ids, tokenizer.eos_token_id]))
        labels.append(torch.tensor([*label, tokenizer.eos_token_id]))
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    return {
        "input_ids": ids,
        "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
        "attention_mask": torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
    }


if __name__ == "__main__":
    run(main, Settings)
