"""The miniature world: tasks on short word lists, their phrasings, and the right answer to every instruction.

The oracle engine answers from here, the base model was pretrained on these tasks, and the evaluation's items are
drawn here. An instruction is one task ("Reverse the list.") or a chain ("First reverse the list, then count the
items."); each task of a chain works on the input list itself, so the right response to a chain is one line a task, in
the order asked.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

WORDS = (
    "apple pear fig plum lime kiwi mango grape melon peach "
    "cherry lemon banana olive date guava papaya orange berry quince"
).split()
NUMBERS = "one two three four five six".split()
LIST_LENGTHS = (2, 6)  # words in an input list, both ends included


@dataclass(frozen=True)
class Task:
    """A task on a word list: how people ask for it, and what the right answer is.

    Attributes:
        name: short name, also in the evaluation items.
        phrasings: ways to ask, each fit for "First ..., then ...".
        answer: the right output words for the input words.
        parts: names of the two simple tasks that it falls into, () for a simple task.
    """

    name: str
    phrasings: tuple[str, ...]
    answer: Callable[[list[str]], list[str]]
    parts: tuple[str, ...] = ()


TASKS = {
    task.name: task
    for task in (
        Task("repeat", ("repeat the list", "copy the list", "write the list again"), lambda x: x),
        Task("reverse", ("reverse the list", "write the list backwards", "turn the list around"), lambda x: x[::-1]),
        Task("first", ("name the first item", "give the first item", "say which item comes first"), lambda x: x[:1]),
        Task("last", ("name the last item", "give the last item", "say which item comes last"), lambda x: x[-1:]),
        Task(
            "capitals",
            ("write the list in capitals", "put the list in upper case", "capitalize every item"),
            lambda x: [word.upper() for word in x],
        ),
        Task(
            "count",
            ("count the items", "say how many items there are", "give the number of items"),
            lambda x: [NUMBERS[len(x) - 1]],
        ),
        Task(
            "drop_first",
            ("drop the first item", "leave out the first item", "list all but the first item"),
            lambda x: x[1:],
        ),
        Task(
            "drop_last",
            ("drop the last item", "leave out the last item", "list all but the last item"),
            lambda x: x[:-1],
        ),
        Task(
            "second", ("name the second item", "give the second item", "say which item comes second"), lambda x: x[1:2]
        ),
        Task(
            "double",
            ("write every item twice", "double every item", "say each item two times"),
            lambda x: [word for word in x for _ in range(2)],
        ),
        Task(
            "ends",
            ("name the first and the last item", "give the first and the last item"),
            lambda x: [x[0], x[-1]],
            parts=("first", "last"),
        ),
        Task(
            "both_ways",
            ("write the list forwards and backwards", "give the list in both directions"),
            lambda x: x + x[::-1],
            parts=("repeat", "reverse"),
        ),
    )
}
SIMPLE = tuple(name for name, task in TASKS.items() if not task.parts)
_TASK_OF = {phrase: name for name, task in TASKS.items() for phrase in task.phrasings}


def solve(instruction: str, words: Sequence[str]) -> list[str] | None:
    """The right answer to each task of `instruction` on the list `words`, in order; None if it is not of this world."""
    chain = read_instruction(instruction)
    return None if chain is None else [" ".join(TASKS[name].answer(list(words))) for name in chain]


def read_instruction(instruction: str) -> tuple[str, ...] | None:
    """The names of the tasks that `instruction` asks for, in order; None if a part of it is not of this world."""
    text = instruction.strip().rstrip(".")
    if text.startswith("First "):
        text = text.removeprefix("First ")
        phrases = re.split(r", then ", text)
    else:
        phrases = [text[:1].lower() + text[1:]]
    names = [_TASK_OF.get(phrase) for phrase in phrases]
    return None if None in names else tuple(names)


def phrases_of(instruction: str) -> list[str]:
    """The phrasing of each task of an instruction of this world, as it would stand in a chain."""
    text = instruction.strip().rstrip(".")
    if text.startswith("First "):
        return text.removeprefix("First ").split(", then ")
    return [text[:1].lower() + text[1:]]


def write_instruction(phrases: Sequence[str]) -> str:
    """One instruction that asks for all `phrases` in order."""
    if len(phrases) == 1:
        return phrases[0][:1].upper() + phrases[0][1:] + "."
    return "First " + ", then ".join(phrases) + "."


def draw_words(rng: random.Random) -> list[str]:
    """A random input list."""
    return [rng.choice(WORDS) for _ in range(rng.randint(*LIST_LENGTHS))]


# What training may never show, so that the evaluation measures following, not memory: some pairs of tasks, in neither
# order and however far apart in a chain, and some chains of three. Each task is in one such pair. (Holding out one
# order only teaches the other one: a model then follows the chain in the order that it knows. See docs/log.md.)
def _hold_out() -> tuple[frozenset[tuple[str, ...]], frozenset[tuple[str, ...]]]:
    rng = random.Random(0)
    decomposed = {task.parts for task in TASKS.values()}  # what decomposing yields must stay
    left = list(SIMPLE)
    rng.shuffle(left)
    pairs: set[tuple[str, ...]] = set()
    while left:
        task = left.pop()
        partner = next(other for other in left if not {(task, other), (other, task)} & decomposed)
        left.remove(partner)
        pairs |= {(task, partner), (partner, task)}
    rest = [chain for chain in permutations(SIMPLE, 3) if not _contains(chain, pairs)]
    return frozenset(pairs), frozenset(rng.sample(rest, 100))


def _contains(chain: Sequence[str], pairs) -> bool:
    return any((a, b) in pairs for i, a in enumerate(chain) for b in chain[i + 1 :])


UNSEEN_PAIRS, _HELD_CHAINS = _hold_out()
UNSEEN_CHAINS = frozenset(
    chain for chain in permutations(SIMPLE, 3) if chain in _HELD_CHAINS or _contains(chain, UNSEEN_PAIRS)
)


def may_train(chain: Sequence[str]) -> bool:
    """Whether training data may hold this chain: distinct tasks, at most three, none of the held-out combinations."""
    return (
        len(set(chain)) == len(chain)
        and len(chain) <= 3
        and not _contains(chain, UNSEEN_PAIRS)
        and tuple(chain) not in UNSEEN_CHAINS
    )
