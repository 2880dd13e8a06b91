"""Chat templates: what they write, and which tokens are the assistant's."""

import pytest
from transformers import AutoTokenizer

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
