"""What the model is asked and what it is to answer, in one place: data making, evaluation and metrics read it here.

The wording is the publication's (its `make_instruct_data.py` and test scripts), typing errors left out.
"""

from random import Random

from open_instruct.core.errors import UserError

# Training, describe first: one wording, so that what differs from the direct set is the order of tasks alone.
DESCRIBE_FIRST = "First describe this image then answer the question: {question}"
# Training, direct: one of these is drawn for each row.
DIRECT = (
    "Answer the question directly: {question}",
    "Please answer the following question: {question}",
    "Answer this question: {question}",
    "You should answer the following question: {question}",
)

_DESCRIPTION = "Description: "
_ANSWER = "Answer: "


def direct_target(answer: str) -> str:
    """What the direct model is to write. (The published script wrote the caption here.)"""
    return f"{_ANSWER}{answer}"


def describe_first_target(description: str, answer: str) -> str:
    """What the describe-first model is to write: two lines."""
    return f"{_DESCRIPTION}{_one_line(description)}\n{_ANSWER}{answer}"


# How a question is put in evaluation, by the name that `run.prompt` gives. `distraction` is a description of another
# image, for the one prompt that shows a wrong one.
_EVALUATION: dict[str, str] = {
    "direct": "Please answer the question: {question}",
    "describe_first": "Please first describe the input image then answer the question: {question}",
    "distracted": "First describe the image then answer the question: {question}\nDescription: {distraction}",
    # The training wordings, for a model that was tuned on few rows and knows no other.
    "direct_as_trained": DIRECT[0],
    "describe_first_as_trained": DESCRIBE_FIRST,
    "distracted_as_trained": DESCRIBE_FIRST + "\nDescription: {distraction}",
}
NAMES = tuple(_EVALUATION)


def needs_distraction(name: str) -> bool:
    """Whether the prompt of that name shows the description of another image."""
    return "{distraction}" in _EVALUATION[name]


def asks_for_description(name: str) -> bool:
    """Whether the prompt of that name asks for a description before the answer."""
    return not name.startswith("direct")


def evaluation_prompt(name: str, question: str, distraction: str = "") -> str:
    """The text for the model.

    Raises:
        UserError: no prompt has that name.
    """
    if name not in _EVALUATION:
        raise UserError(f"run.prompt: {name!r} is none of {', '.join(NAMES)}")
    return _EVALUATION[name].format(question=question, distraction=_one_line(distraction))


def direct_prompt(question: str, rng: Random) -> str:
    """One of the direct wordings, drawn by `rng`."""
    return rng.choice(DIRECT).format(question=question)


def describe_first_prompt(question: str) -> str:
    return DESCRIBE_FIRST.format(question=question)


def _one_line(text: str) -> str:
    """So that "Answer:" on a line of its own ends the description."""
    return " ".join(text.split())
