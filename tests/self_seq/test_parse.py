"""Tests of `self_seq.parse`. Texts marked with a generator's name are its own words, some of them shortened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_instruct.core.records import read_rows
from self_seq.parse import (
    Refinement,
    parse_option,
    parse_refinement,
    parse_rewrite,
    read_option,
    read_rewrite,
    without_wrapping_quotes,
)

# Llama-3-8B: a prefix task in its words, "(Option C)" in the middle, B at the end
LLAMA_CONTRADICTS_ITSELF = (
    "For the given instruction, a suitable adaptation is to add a prefix task. This would involve asking the user to "
    'define what they understand by "taxonomy" before providing their answer. New instruction: '
    '"Define what you understand '
    "by 'taxonomy', and then explain the taxonomy of a human.\"\nThis modification (Option C) helps to ensure that the "
    "user has a clear understanding of the term.\nSo the option is: B."
)
# Llama-3-8B: no last line at all
LLAMA_WITHOUT_LAST_LINE = (
    "For the given instruction, a suitable adaptation is to add a prefix task. This would involve "
    "asking the user to think "
    "about the context in which the person is being cheerful. New instruction: \"Think about a children's party. Then, "
    'provide an adjective."\n\nThis addition (Option B) encourages the user to consider the context.'
)
# Command R+: two instructions in one, two choices
COMMAND_R_CHOOSES_TWICE = (
    "a suitable adaptation is to decompose it into two tasks.\n\nThis modification (Option A) better structures the "
    'process.\n\nThe second part of the instruction, "Capitalize this past sentence correctly," is a '
    "separate, basic task "
    "(Option D) and doesn't need adaptation. \n\nSo, the options are: \nA. Decompose the first "
    "instruction into two tasks. "
    "\nD. Keep the second instruction as the original version."
)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("Making the reader check the sources first would help. So the option is: B.###", "B"),
        ("I would pick D, since option A does not apply", "D"),
        (LLAMA_CONTRADICTS_ITSELF, "B"),
        (LLAMA_WITHOUT_LAST_LINE, "B"),
        ("A.###", "A"),  # GPT-3.5
        (
            'A. Decompose it into two tasks.###\n\nThe new instruction can be: "First, list the ingredients."',
            "A",
        ),  # GPT-3.5
        ("This addition (Option C) encourages a deeper analysis.###\n\nThe option is: C.###", "C"),  # GPT-3.5
        ("So the option is: B.###\n\n###", "B"),  # GPT-3.5
        (
            "Option: C. Add a suffix task. \n\nExplanation: The original instruction asks for the question.",
            "C",
        ),  # Command R+
        (
            "Option C: Add a suffix task.\n\nBy adding a suffix task (Option C), we can explore its impact.",
            "C",
        ),  # Command R+
        (
            "Option: B. Add a prefix task.\n\nLet's think. So, the final option is: B, Add a prefix task.",
            "B",
        ),  # Command R+
        ("No additional context is needed. Thus, the option is: D.", "D"),  # Command R+
        ("So, the option is: D. Keep as original version.", "D"),  # Command R+
        ("So, the option is: **B**.", "B"),  # Command R+
        ("So the option is: **A.**", "A"),  # Command R+
        ("a suitable adaptation is to decompose it into two tasks:\n\nA. First, explain it. \n\nThus (Option A).", "A"),
        ("B", "B"),
        ("(C)", "C"),
        ('{"option": "B"}', "B"),
        ("**Answer:** c", "C"),
        ("The answer is \\boxed{C}.", "C"),
        ("We'd go with option C because it deepens the task.", "C"),
        ("None of A, B and C adds anything, so D.", "D"),
        ("Option D fits best.", "D"),
        ("I would not pick A. I would pick B.", "B"),
        ("I choose D, a prefix task is not needed.", "D"),
        ("So the option is: Keep as original version.", "D"),
        ("A. Decompose\nB. Add a prefix\nC. Add a suffix\nD. Keep\n\nSo the option is: C.", "C"),
        ("<think>Perhaps the option is: A.</think>So the option is: D.", "D"),
        ("So the option is: A.###\n\n#Given Instruction#: Name a river.\nSo the option is: D.###", "A"),
    ],
)
def test_reads_the_option_that_a_text_states(text: str, option: str):
    assert parse_option(text) == option


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "A good way to begin is with the definition.",  # an article, no option
        "Plan B would be fine, and so would vitamin C.",
        "Option A does not apply here.",
        "The option is not A but something else.",
        "A. Decompose\nB. Add a prefix\nC. Add a suffix\nD. Keep",  # only says what there is
        "<think>The option is: A, or rather",  # cut off before its answer
    ],
)
def test_an_option_is_not_guessed(text: str):
    reading = read_option(text)
    assert (reading.value, reading.reason) == (None, "states no choice")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("So the option is: A.\nWait. So the option is: B.", "A, B"),
        ("I would pick A or D.", "A, D"),
        ("Option: C. Add a suffix task.\n\nSo the option is: B.", "B, C"),
        ("So the option is: B. Add a suffix task.", "B, C"),  # the letter of one, the words of another
        (COMMAND_R_CHOOSES_TWICE, "A, D"),
    ],
)
def test_two_choices_are_none_and_the_reason_names_them(text: str, named: str):
    reading = read_option(text)
    assert (reading.value, reading.reason) == (None, f"names several choices: {named}")


def test_an_article_after_the_colon_is_not_option_a():
    assert parse_option("So the option is: A prefix task would help most.") == "B"


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("#New Instruction#: Name a river. Then, name its source.###", "Name a river. Then, name its source."),
        # Llama-3-8B: curly and straight quotes mixed
        ('#New Instruction#: “List 5 words, then list 5 more."###', "List 5 words, then list 5 more."),
        # Llama-3-8B: never closed, no end mark
        (
            "#New Instruction#: “Find a word that starts with the letter 'b'.",
            "Find a word that starts with the letter 'b'.",
        ),
        # GPT-3.5: the quote after the end mark
        ("#New Instruction#: “Identify the conflict and explain it.###”", "Identify the conflict and explain it."),
        ('#New Instruction#: "Outline the benefits."###\n###', "Outline the benefits."),  # GPT-3.5
        # Command R+: end mark, then an explanation
        (
            '#New Instruction#: "List the causes. Then, propose solutions." ###\n\nExplanation: The '
            "original asks less.",
            "List the causes. Then, propose solutions.",
        ),
        # Llama-3-8B: an explanation and no end mark
        (
            "#New Instruction#: “What is the dataset about? Then, analyze it.”\n\nHere's the "
            "step-by-step thought process:"
            "\n\n1. We need to know it.",
            "What is the dataset about? Then, analyze it.",
        ),
        (
            '#New Instruction#: “Analyze the tone of: "We need to act now". Then, explain '
            'it."\n\nThis new instruction adds '
            "a suffix task.\n\n###",
            'Analyze the tone of: "We need to act now". Then, explain it.',
        ),
        # Command R+: the sentence before the marker names it, too
        (
            "Here's how we can structure the new instructions:\n\n#New Instruction#: First, read the "
            "article. ###\n\nThis "
            "decomposition maintains the original objective.",
            "First, read the article.",
        ),
        # Command R+: a second task under a heading that looks like the end mark
        (
            '#New Instruction#: "Compare the two amounts. \n\n###Suffix Task: Now, consider the impact."###',
            "Compare the two amounts. \n\n###Suffix Task: Now, consider the impact.",
        ),
        # Command R+: the first sentence alone is quoted
        (
            '#New Instruction#: “Write a sentence in English." Then, rewrite it in the past tense.###',
            '“Write a sentence in English." Then, rewrite it in the past tense.',
        ),
        ("#new instruction#\n1. Add it up.\n2. Halve it.\n###", "1. Add it up.\n2. Halve it."),
        ("**New Instruction:** Add it up, then **halve** it.", "Add it up, then **halve** it."),
        ("New instruction: Add it up, then halve it.", "Add it up, then halve it."),
        (
            "<think>#New Instruction#: no###</think>#New Instruction#: Add it up, then halve it.###",
            "Add it up, then halve it.",
        ),
    ],
)
def test_reads_the_new_instruction(text: str, instruction: str):
    assert parse_rewrite(text) == instruction


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#New Instruction#: ###",
        "I cannot provide an answer that promotes bullying or harassment. Can I help you with something else?",  # Llama
        "Define the word, then use it.",  # what it is for is not said
    ],
)
def test_a_text_without_a_new_instruction_is_unreadable(text: str):
    reading = read_rewrite(text)
    assert (reading.value, reading.reason) == (None, "holds no new instruction")


# Llama-3-8B: rewrites two of the prompt's examples before it comes to the row's instruction
ECHO = (
    "Here are my responses:\n\n#Original Instruction#:'What is an example of a tweet?'\n\n#New "
    "Instruction#: “Define what a "
    "tweet is. Then, provide an example.”###\n\n#Original Instruction#:'Describe the structure of an atom.'\n\n"
    "#New Instruction#: “Explore the basic components of an atom.”###\n\n#Original Instruction#: 'Adjust the following "
    "sentence to change the verb tense to past perfect:'\n\n#New Instruction#: “Identify the verb. "
    "Then, adjust the verb.”###"
)


def test_the_original_tells_which_of_several_new_instructions_is_meant():
    original = "Adjust the following sentence to change the verb tense to past perfect:"
    assert parse_rewrite(ECHO, original) == "Identify the verb. Then, adjust the verb."


def test_echoed_examples_alone_are_no_new_instruction_for_the_row():
    reading = read_rewrite(ECHO, "Translate the following sentence to Romanian:\nWhy?")
    assert reading.value is None
    assert "rewrites other instructions" in reading.reason


def test_without_the_original_several_new_instructions_are_unreadable():
    assert parse_rewrite(ECHO) is None


def test_an_answer_with_invented_examples_after_it_is_the_first_one():
    text = (
        "#New Instruction#: Name a river, then its source.###\n\n"
        "#Original Instruction#: Sing.\n#New Instruction#: Hum.###"
    )
    assert parse_rewrite(text) == "Name a river, then its source."
    assert parse_rewrite(text, "Name a river.") == "Name a river, then its source."


def test_command_r_examples_without_their_originals_are_told_by_their_words():
    text = (
        '#New Instruction#: "How did Julius Caesar die, and what followed?"\n\n###\n\n#New '
        'Instruction#: "Generate three '
        "verbs that mean 'to apologize'.\"\n\n###\n\n#New Instruction#: \"Explain why an "
        "organization might choose open-source "
        'software, and discuss the drawbacks." ###'
    )
    original = "Explain why an organization might use open source software"
    assert parse_rewrite(text, original).startswith("Explain why an organization might choose")
    assert parse_rewrite(text, "Change the statement into a rhetorical question.") is None


def test_an_original_repeated_without_its_passage_is_still_the_rows():
    # Llama-3-8B
    text = (
        "#Original Instruction#: 'Can we draw the following conclusion?\nAll members are "
        "Americans.'\n\nLet's break it down.\n\n"
        "#New Instruction#: “Gather information about the band. Then, judge the conclusion.”###"
    )
    original = (
        "Countdown to Nowhere is the fourth studio album from Allister.\n\nCan we draw the following "
        "conclusion?\nAll members "
        "are Americans."
    )
    assert parse_rewrite(text, original) == "Gather information about the band. Then, judge the conclusion."


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('"Name the "first" word."', 'Name the "first" word.'),
        ('"Hello" means what in "French"', '"Hello" means what in "French"'),
        ("““Say it.””", "Say it."),
        ("'Do it and don't stop.'", "Do it and don't stop."),
        (
            '"Write a dialogue with the premise, "Max will bring wine."',
            'Write a dialogue with the premise, "Max will bring wine."',
        ),
        ('Draw a line of 5"', 'Draw a line of 5"'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_only_quotes_around_the_whole_are_taken_off(text: str, bare: str):
    assert without_wrapping_quotes(text) == bare


@pytest.mark.parametrize(
    ("text", "refinement"),
    [
        ("Yes", Refinement(True)),  # Command R+
        ("Answer: Yes", Refinement(True)),  # GPT-3.5
        ("**Yes.** It has the table.", Refinement(True)),
        ("No\n#New Instruction#: “Read the passage.”###", Refinement(False, "Read the passage.")),  # Command R+
        ("Answer: No\n#New Instruction#: Read the passage.###", Refinement(False, "Read the passage.")),  # GPT-3.5
        ("Answer: No###", Refinement(False)),  # GPT-3.5: called incomplete, not repaired
        ("No, the table is missing.\n#New Instruction#: Read it.###", Refinement(False, "Read it.")),
        ("The passage is missing.\nAnswer: No\n#New Instruction#: Read it.###", Refinement(False, "Read it.")),
        # Command R+: the instruction itself speaks of an answer "yes"
        (
            'No\n#New Instruction#: Imagine a question and its answer is "yes." Then, explain it. ###',
            Refinement(False, 'Imagine a question and its answer is "yes." Then, explain it.'),
        ),
    ],
)
def test_reads_the_verdict(text: str, refinement: Refinement):
    assert parse_refinement(text) == refinement


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I know that it has everything.",
        "No information is missing.",  # means yes
        "Not sure",
        "Yes and no.",
        "Yes\nNo\nYes",  # Command R+, judging the prompt's examples
        # Llama-3-8B
        "Here are the answers:\n\n1. #New Instruction#: No\n#New Instruction#: “Read.”\n\n2. #New Instruction#: Yes",
    ],
)
def test_no_verdict_is_guessed(text: str):
    assert parse_refinement(text) is None


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        " ",
        "*",
        "# ",
        "- ",
        '"a ',
        "the option is ",
        "answer: ",
        " or A",
        "#New Instruction#: ",
        "\n\nthis ",
        "\n\nhere is ",
    ],
)
def test_a_long_run_of_anything_is_read_in_linear_time(piece: str):
    """A rule that tries ever more ways through the text would take minutes on this, and the test run with it."""
    run = piece * 30_000
    assert parse_option(run + "\nSo the option is: B.") == "B"
    assert parse_rewrite(f"#New Instruction#: Name a river.###{run}", "Name a river.") == "Name a river."
    in_the_instruction = "New Instruction" in piece
    assert parse_refinement(f"{run}\nAnswer: No\n") == (None if in_the_instruction else Refinement(False))


PIECES = [
    "#New Instruction#:",
    "#Original Instruction#:",
    "###",
    "So the option is:",
    "Option",
    " A",
    " D",
    "B.",
    "(",
    ")",
    '"',
    "“",
]
PIECES += ["”", "'", "\n", " ", "Yes", "No", "Answer:", "word", "**", "<think>", "</think>", "."]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join), st.text(max_size=8))
def test_any_text_is_read_or_refused_with_a_reason(text: str, original: str):
    option, rewrite = read_option(text), read_rewrite(text, original)
    assert option.value in ("A", "B", "C", "D") or (option.value is None and option.reason)
    assert rewrite.value == rewrite.value.strip() != "" if rewrite.value is not None else rewrite.reason
    assert parse_refinement(text, original) in (None, Refinement(True), Refinement(False, rewrite.value))


def test_reads_the_verdicts_of_real_generators(shared):
    """Command R+ and GPT-3.5 answer the question: what they repaired is what was stored (a few tails aside)."""
    for generator in ("c4ai-command-r-plus", "gpt-3.5-turbo"):
        file = shared / f"data/generation/alpaca/alpaca-cleaned-{generator}-generate_instruct-refine.jsonl"
        rows = [row for _, row in read_rows(file) if "refine_instruction" in row]
        read = [(row, parse_refinement(row["refine_instruction"], row["instruction"])) for row in rows]
        # Command R+ once judges the prompt's examples, too: "Yes\nNo\nYes\nNo"
        assert [row["idx"] for row, verdict in read if verdict is None] == ([33] if "command" in generator else [])
        for row, verdict in read:
            if verdict:
                stored = row["extracted_refined_instruction"]
                assert verdict.complete == (stored is None)
                assert verdict.complete or without_wrapping_quotes(stored).startswith(verdict.instruction)


def test_judging_the_examples_one_by_one_is_no_verdict(shared):
    """Llama-3-8B answers "1. ... 2. ... 3. ..." to the refine prompt; hardly any of it is a verdict on the row."""
    file = shared / "data/generation/alpaca/alpaca-cleaned-Meta-Llama-3-8B-Instruct-generate_instruct-refine.jsonl"
    readable = [row["idx"] for _, row in read_rows(file) if parse_refinement(row["refine_instruction"])]
    assert readable == [35]
