"""Tests of `self_seq.checks`, `contents` and `refusals`. Texts marked with a generator's name are its own words."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from open_instruct.core.records import Instruction, read_rows
from self_seq.checks import contents
from self_seq.checks.quantities import numbers
from self_seq.checks.refusals import refusal
from self_seq.checks.rewrites import complaint
from self_seq.parse import read_rewrite

SUFFIX = " Then say in one sentence how sure you are."
TABLE = "Which month was best?\n| month | sales |\n|---|---|\n| May | 17 |\n| June | 21 |"
OPTIONS = "Does the claim hold?\nOptions:\n- yes\n- it is not possible to tell\n- no Now, let's be accurate. Thoughts:"
CODE = "What does this print?\n```python\nfor i in range(3):\n    print(i)\n```"
REVIEW = (
    "Review: One of my favourite films of all time, the acting is at its best and the story moved everybody I know.\n"
    "What is its sentiment?"
)


def kind(original: str, new: str, given_input: str = "") -> str | None:
    found = complaint(Instruction(original, given_input), new)
    return found and found.partition("\n")[0]


@pytest.mark.parametrize(
    ("original", "new", "reason"),
    [
        ("Name a river.", " \n", "the new instruction is empty"),
        ("Name a river.", "“name a RIVER”", "the new instruction equals the original"),
        ("Name 3 rivers.", "Think of rivers, then name some.", "a number of the original is missing"),
        ("Name three rivers.", "Think of rivers, then name some.", "a number of the original is missing"),
        ("Add 2.5 to ٧.", "Explain sums. Then add 2.5 to 8.", "a number of the original is missing"),
        # Llama-3-8B
        ("List 10 synonyms for 'sad'.", "List 5 words like 'sad', then 5 more.", "a number of the original is missing"),
        (TABLE, "Say which months there are, then which was best: May 17.", "a table row of the original is missing"),
        ("Sum up:\na\tb\tc\n1\t2\t3", "Read, then sum up:\na\tb\tc", "a table row of the original is missing"),
        (OPTIONS, "Define the claim, then say whether it holds: yes or no.", "an option of the original is missing"),
        ("Pick: (A) red (B) green (C) blue", "Think. Pick: (A) red (C) blue", "an option of the original is missing"),
        ("Is it? Pick from: --yes --maybe --no", "Think. Is it, yes or no?", "an option of the original is missing"),
        # the word stands in the passage still, but no longer as an option
        (
            "The whole world looked at Athens that day.\nTopic?\n[i] World. [ii] Sports.",
            "The whole world looked at Athens that day.\nSum it up, then name the topic: Sports or another.",
            "an option of the original is missing",
        ),
        (CODE, "What does the loop do? Then say what it prints.", "a piece of code of the original is missing"),
        ("Explain `a[::-1]`.", "Explain slices, then `a[:-1]`.", "a piece of code of the original is missing"),
        ("Sum up https://a.org/x?y=1.", "Open the page, then sum it up.", "an address of the original is missing"),
        # Llama-3-8B
        (
            'Change the sentence to past perfect: "She wrote an article."',
            "Identify the verb in the sentence. Then change it to past perfect.",
            "a quotation of the original is missing",
        ),
        (REVIEW, "Read the review, then tell its sentiment.", "a passage of the original is missing"),
        # Command R+
        (
            "Describe how the moon affects tides",
            "The original instruction asks for the moon's role in tides. \"Describe how the moon affects tides. Now, "
            'predict them."',
            "text of the prompt leaked into the new instruction",
        ),
        ("Name a river.", "#New Instruction#: Name a river.", "text of the prompt leaked into the new instruction"),
        ("Name a river.", "Name a river: {input}", "text of the prompt leaked into the new instruction"),
        ("Name a river.", "Define it, name it. Answer: Yes", "text of the prompt leaked into the new instruction"),
        ("Name a river in Italy.", "说明什么是河流，然后说出一条河", "the new instruction is in another script"),
        (
            "Explain in a few words why the sky is blue.",
            "Erkläre zuerst, was Licht ist, und dann mit wenigen Worten, warum der Himmel blau ist.",
            "the new instruction is in another language",
        ),
        ("Name a river.", "Name a river. " + "Tell more of it. " * 200, "the new instruction is too long"),
    ],
)
def test_a_loss_is_told_by_its_kind(original, new, reason):
    assert kind(original, new) == reason


@pytest.mark.parametrize(
    ("original", "new"),
    [
        ("Name 3 rivers.", "Say what a river is, then name three rivers."),
        ("Name three rivers.", "Say what a river is, then name 3 of them."),
        ("Spend 1,000 dollars.", "Make a plan, then spend 1000 dollars."),
        ("Spend 1,000 dollars.", "Make a plan, then spend one thousand dollars."),
        ("It has 1.7million people.", "Where is it? It has 1,700,000 people."),
        ("He has 25 sheep; count them.", "He has twenty-five sheep. Name and count them."),
        ("Add 1,5 and 2.", "Define a sum, then add 1.5 and 2."),
        ("Sum 1,2,3.", "Define a sum, then sum 1, 2 and 3."),
        ("Compute ３ + ٤.", "Say what a sum is, then compute 3 + 4."),
        ("Take 50% of it.", "Explain percent, then take 50 percent of it."),
        # Llama-3-8B: "05/11/03"
        ("Athens, 05/11/03. Translate.", "Read about May 11, 2003, in Athens, then translate."),
        ("How much CO2?", "What is carbon dioxide, and how much of it?"),
        # GPT-3.5
        ("In the world #39;s focus: sum up.", "Explain, then sum up: in the world's focus."),
        ("Do this: 1. Cut it. 2. Cook it.", "Do this: cut it, cook it, and taste it."),
        (TABLE, "Name the months, then say which was best:\nmonth, sales\nMay, 17\nJune, 21"),
        (CODE, "Say what a loop is, then what this prints:\n```\nfor i in range(3):\n  print(i)\n```"),
        (OPTIONS, "Define the claim. Does it hold? Choose from yes, it is not possible to tell, or no."),
        # Llama-3-8B
        ("Is it (1) sales related or (2) help related", "Read it. Is it related to sales or to help?"),
        # Command R+
        ("Choose:\n- practice\n- pedalling", "Think, then choose: A) Practice B) Pedaling"),
        (REVIEW, REVIEW.partition("\n")[0] + "\nList its praise, then say how it feels."),
        (
            'Translate "Esta función le permite aumentar o disminuir el tamaño de la imagen" to English.',
            "Understand the idioms of the sentence, and then translate "
            '"Esta función le permite aumentar o disminuir el tamaño de la imagen" to English.',
        ),
        (
            "使用Adobe Illustrator创建Ocean Blue的标志。",
            "先说明什么是标志，然后创建Ocean Blue的标志，使用Adobe Illustrator。",
        ),
        # Llama-3-8B
        ("Imagine a question for this answer: yes", "Think of a topic, then imagine a question for this answer: yes."),
        ("Improve the original instruction.", "Read it, then improve the original instruction."),
    ],
)
def test_another_form_of_the_same_is_no_loss(original, new):
    assert complaint(Instruction(original), new) is None


def test_what_stands_in_the_input_is_not_lost_and_details_name_the_piece():
    row = Instruction("Categorize 'It costs 25 dollars' below.", "It costs 25 dollars")
    assert complaint(row, "Read the text, then categorize it.") is None
    assert complaint(Instruction("Name 3 rivers."), "Name rivers, then rank them.").endswith("missing\n3")


@pytest.mark.parametrize("unit", ["7", "1,000 ", "a@", "#", '"a" ', "a) ", "- x\n", "| a | b |\n", "(", "`", "我", " "])
def test_a_hundred_thousand_characters_of_anything_are_read(unit):
    text = unit * (100_000 // len(unit))
    found = kind(f"Sum it up: {text}.", f"Read it. Sum it up: {text}.")
    assert found is None or found.startswith("text of the prompt")
    assert refusal(f"I'm sorry {text}") is None


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=200) | st.lists(
    st.sampled_from(
        ["12", "3.5", "1,000", "(A) red", "(B) blue", "- x", "\n", '"to be"', "`a`", "| a | b |", "why?", ":"]
    ),
    max_size=15,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_no_text_breaks_it_and_the_same_again_is_equal(text):
    if not re.search(r"[^\W_]", text):
        return
    assert (
        kind(text, f" “{text.swapcase()}” ")
        in (
            "the new instruction equals the original",
            "the new instruction is empty",
            *(["a piece of code of the original is missing"] if "`" in text else []),
        )
        or text.swapcase().casefold() != text.casefold()
    )
    assert kind(text, text) in ("the new instruction equals the original", "the new instruction is empty")


@settings(max_examples=300, deadline=None)
@given(texts)
def test_adding_a_sentence_loses_nothing(text):
    found = kind(f"Look: {text}", f"Look: {text}\n{SUFFIX}")
    assert found is None or "missing" not in found


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["{}", "{:,}", "{}.0", "${}", "{}%"]))
def test_a_number_is_found_in_any_form_and_missed_when_gone(number, form):
    original = f"Tell me of {form.format(number)} things."
    assert kind(original, f"Look around. Tell me then of {number} things.") is None
    assert kind(original, "Look around. Tell me then of many things.") == "a number of the original is missing"


# --- refusals


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I cannot browse the internet.",
        "I cannot assist with that request.",
        "“I’m sorry, I cannot fulfill that request.",
        "I'm sorry, but you didn't provide the song lyrics. Can you please provide them?",  # GPT-4, in alpaca_claude
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "К сожалению, я не могу помочь с этим.",
        "对不起，我无法回答您的问题，因为您并未提供诗歌的具体内容。",
        "申し訳ありませんが、そのご要望にはお応えできません。",
        "<nooutput> - Visuals cannot be created by a language model.",  # Alpaca
    ],
)
def test_a_refusal_is_told_with_its_words(text):
    assert refusal(text) and refusal(text) in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry to hear that you lost your keys. Here is the letter to your landlord: ...",
        "Dear Ann,\nI am sorry that I cannot come to your party.",
        "I'm sorry, but I'm unable to come into work today due to unforeseen medical issues.",  # Alpaca
        "We apologize for the delay you experienced with your order.",
        "Sorry seems to be the hardest word.",
        "I can't repudiate my fears.",  # Alpaca
        "The robot said: I'm sorry, I can't help with that.",
        "As an AI, I don't have the ability to taste, but here is a recipe. " + "Stir it well and taste it. " * 12,
        "Es tut mir leid, dass du krank bist. Werde schnell gesund!",
        "Lo siento mucho por tu pérdida.",
        "抱歉让您久等了，您的订单已发货。",
    ],
)
def test_an_answer_is_no_refusal(text):
    assert refusal(text) is None


# --- real rows


def rewrites(shared):
    """(original, new instruction) of the stored rewrites that can be read."""
    for file in sorted((shared / "data" / "generation").rglob("*-generate_instruct.jsonl")):
        for _, row in read_rows(file):
            read = read_rewrite(row["new_instruction"], row["instruction"])
            if row["option"] != "D" and read.value:
                yield Instruction(row["instruction"], row["input"]), read.value, file.parent.name


def test_few_rewrites_of_alpaca_and_many_of_flan_lost_something(shared):
    complaints = {"alpaca": [], "flancot": []}
    for row, new, source in rewrites(shared):
        complaints[source].append(complaint(row, new) is not None)
    # FLAN's instructions hold their passages and options, and four in ten rewrites left some out; all were read by eye
    assert sum(complaints["alpaca"]) / len(complaints["alpaca"]) < 0.05
    assert 0.3 < sum(complaints["flancot"]) / len(complaints["flancot"]) < 0.6


@pytest.mark.parametrize(
    ("pieces", "least"),
    [(numbers, 0.9), (contents.options, 0.8), (contents.quotations, 0.9), (contents.passages, 0.9)],
)
def test_a_piece_cut_out_of_a_real_rewrite_is_missed(shared, pieces, least):
    caught = []
    for row, new, _ in rewrites(shared):
        if row.input or complaint(row, new):
            continue
        for piece in pieces(row.instruction):
            text = getattr(piece, "text", piece)
            without = re.sub(rf"(?<![\w.,]){re.escape(text)}(?!\w|[.,]\d)", "", new)
            if without != new:
                caught.append(complaint(row, without) is not None)
    assert len(caught) > 30
    assert sum(caught) >= least * len(caught)


def test_real_rows_with_a_task_added_raise_no_complaint(shared):
    for name in ("alpaca/alpaca_random_9k.json", "code_alpaca/new_codealpaca.json"):
        rows = [Instruction.from_json(row, where) for where, row in read_rows(shared / "data" / "train" / name)][::9]
        assert len(rows) > 500
        for row in rows:
            row = Instruction(row.prompt)
            assert complaint(row, f"Read it with care first. {row.instruction}\n{SUFFIX}") is None


def test_questions_and_their_translations_are_told_apart(shared):
    questions = {}
    for language in ("en", "de", "zh"):
        data = json.loads((shared / "data" / "eval" / "xquad" / f"xquad.{language}.json").read_text())["data"]
        questions[language] = [qa["question"] for text in data for part in text["paragraphs"] for qa in part["qas"]][
            ::5
        ]
    for language, least in (("de", 0.85), ("zh", 0.99)):
        pairs = zip(questions["en"], questions[language], questions[language][1:], strict=False)
        found = [kind(one, f"{other} {more}") or "" for one, other, more in pairs]
        told = sum("another" in reason for reason in found)
        assert told >= least * len(found)
