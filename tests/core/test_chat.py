"""Chat templates: what they write, and which tokens are the assistant's."""

from itertools import groupby

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from open_instruct.core.chat import encode, set_template, template_names
from open_instruct.core.errors import UserError
from open_instruct.miniature.pretrain import make_tokenizer

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Copy it.\napple fig"},
    {"role": "assistant", "content": "apple fig"},
    {"role": "user", "content": "Again, in two\nlines."},
    {"role": "assistant", "content": "apple\nfig"},
]
END = {"llama3": "<|eot_id|>"}


@pytest.fixture
def tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], special_tokens=True)
    return tokenizer


@pytest.mark.parametrize("name", template_names())
def test_labels_are_exactly_the_assistants_turns_with_their_end(tokenizer, name):
    end = END.get(name, "</s>")
    assert tokenizer.convert_ids_to_tokens(set_template(tokenizer, name)) == end
    (ids,), (labels,) = encode([TALK], tokenizer)
    learned = tokenizer.decode([label for label in labels if label >= 0])
    gap = " " if name == "vicuna" else ""
    assert learned == f"{gap}apple fig{end}{gap}apple\nfig{end}"
    assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))


@pytest.mark.parametrize("name", template_names())
def test_what_is_asked_at_evaluation_is_the_start_of_what_was_trained(tokenizer, name):
    set_template(tokenizer, name)
    (whole,), _ = encode([TALK], tokenizer)
    for turns in (2, 4):
        asked = tokenizer.apply_chat_template(TALK[:turns], add_generation_prompt=True, return_dict=True)["input_ids"]
        assert whole[: len(asked)] == asked


@pytest.mark.parametrize("name", template_names())
def test_it_begins_with_one_begin_of_sequence_token(tokenizer, name):
    set_template(tokenizer, name)
    (ids,), _ = encode([TALK], tokenizer)
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1


def test_tulu_is_written_as_published(tokenizer):
    set_template(tokenizer, "tulu")
    text = tokenizer.apply_chat_template(TALK[1:3], tokenize=False)
    assert text == "<s><|user|>\nCopy it.\napple fig\n<|assistant|>\napple fig</s>\n"


def test_the_template_travels_with_the_tokenizer(tokenizer, tmp_path):
    set_template(tokenizer, "tulu")
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.chat_template == tokenizer.chat_template
    assert encode([TALK], loaded) == encode([TALK], tokenizer)


def test_an_unknown_template_names_those_there_are(tokenizer):
    with pytest.raises(UserError, match="no chat template named 'tula'; there are: alpaca, llama3, tulu, vicuna"):
        set_template(tokenizer, "tula")


def test_a_tokenizer_without_the_templates_tokens_is_refused():
    with pytest.raises(UserError, match="no token <|eot_id|>"):
        set_template(make_tokenizer(), "llama3")


def test_a_template_that_does_not_mark_the_assistant_is_refused(tokenizer):
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    with pytest.raises(UserError, match="does not mark the assistant's text"):
        encode([TALK], tokenizer)


def merging_tokenizer(kind):
    """A tokenizer that joins spaces, line breaks and role marks, as those of real models do.

    llama3: byte-level, split by Llama 3's expression, in which a run of line breaks is one piece, and so is a bracket
    with the line breaks behind it or the space before it. llama2, mistral: words begin with the space before them, and
    a text begins with one more (SentencePiece); with mistral, a text behind a special token does not.
    """
    specials = ["<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = Tokenizer(models.BPE(byte_fallback=kind != "llama3"))
    if kind == "llama3":
        expression = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+"
        )
        split = pre_tokenizers.Split(Regex(expression), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        if kind == "llama2":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        alphabet = list(map(chr, range(32, 127))) + ["\n", "▁"]
    text = ["fig pear\n\napple\n\n\n  plum", "Copy it:\n\n  fig\n", "### Response:\n\nfig", "ASSISTANT:  fig"] * 50
    text += ["fig <|user|>\nfig <|assistant|>\nfig <b>\n\n", "plum <|assistant|>\n\n<b>"] * 50
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


KINDS = ["llama3", "llama2", "mistral"]
# Answers that begin with what the template ends in, with spaces or with a role's bracket; the last with none of them.
AWKWARD = ["\n\nfig\n", "  pear", "\napple  ", " <b>\n", "<|user|>\n", "plum"]


def decoded(tokenizer, ids):
    """What stands there within a text: a decoder takes the first space for that of the text's beginning."""
    return tokenizer.decode([tokenizer.convert_tokens_to_ids("x"), *ids]).removeprefix("x")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", template_names())
def test_where_spaces_and_line_breaks_merge_each_token_is_the_prompts_or_the_answers(kind, name):
    tokenizer = merging_tokenizer(kind)
    end = tokenizer.convert_ids_to_tokens(set_template(tokenizer, name))
    talk = [{"role": "system", "content": "Be brief.\n"}]
    for number, answer in enumerate(AWKWARD):
        talk += [
            {"role": "user", "content": f"Turn {number}:\n\n  go <b>\n "},
            {"role": "assistant", "content": answer},
        ]
    (ids,), (labels,) = encode([talk], tokenizer)
    gap = " " if name == "vicuna" else ""

    runs = [list(run) for mine, run in groupby(labels, lambda label: label >= 0) if mine]
    assert [decoded(tokenizer, run) for run in runs] == [f"{gap}{answer}{end}" for answer in AWKWARD]
    assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))
    # The first prompt, as it is asked, is what training shows before the first answer, token by token.
    asked = tokenizer.apply_chat_template(talk[:2], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids[: len(asked)] == asked
    assert labels[: len(asked)] == [-100] * len(asked) and labels[len(asked)] >= 0
    # Nothing is lost or added at the borders.
    text = tokenizer.apply_chat_template(talk, tokenize=False)
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", template_names())
def test_before_every_turn_training_shows_the_tokens_that_the_model_is_asked_with(kind, name):
    tokenizer = merging_tokenizer(kind)
    set_template(tokenizer, name)
    talk = [{"role": "user", "content": "Copy it:\n\n  fig <b>"}, {"role": "assistant", "content": "Yes: pear\n\nplum"}]
    talk += [{"role": "user", "content": "Again "}, {"role": "assistant", "content": "No,  fig"}] * 2
    (ids,), (labels,) = encode([talk], tokenizer)
    begins = [at for at in range(1, len(labels)) if labels[at] >= 0 > labels[at - 1]]
    for turn, begin in enumerate(begins):
        asked = talk[: 2 * turn + 1]
        asked = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids[:begin] == asked
    assert len(begins) == 3


def test_the_awkward_answers_do_merge_with_the_template():
    """Else the test above would test nothing."""
    tokenizer = merging_tokenizer("llama3")
    set_template(tokenizer, "tulu")
    talk = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "\n\nfig"}]
    asked = tokenizer.apply_chat_template(talk[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"]
    assert whole[: len(asked)] != asked
    assert encode([talk], tokenizer)[0][0][: len(asked)] == asked
