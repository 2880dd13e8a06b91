"""Reads what a generator answered in stage 1: the option it chose, the instruction it wrote, its verdict on one.

`generate` calls this on every completion, `check_completions` on stored ones. Lenient about form, strict about meaning:
what cannot be read for certain is None, with the reason, and is asked again; nothing is guessed, there is no default.
The rules name forms that real generators wrote (Llama-3-8B, Command R+, GPT-3.5). Knows no engine, file or prompt.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

OPTIONS = {"A": "decompose", "B": "prefix", "C": "suffix", "D": "keep"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, or why nothing could be.

    Attributes:
        value: the option or instruction; None when the text cannot be read.
        reason: why `value` is None, for `rejected.jsonl`; "" otherwise.
    """

    value: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refinement:
    """The verdict of the refine step.

    Attributes:
        complete: the rewritten instruction has everything needed to answer it.
        instruction: the repaired instruction; None where it is complete, or was called incomplete and not repaired.
    """

    complete: bool
    instruction: str | None = None


def parse_option(text: str) -> str | None:
    """The option a classify completion chooses: "A", "B", "C" or "D"; None if it states none, or two."""
    return read_option(text).value


def parse_rewrite(text: str, original: str | None = None) -> str | None:
    """The new instruction in a rewrite completion; None if there is none or no telling which; see `read_rewrite`."""
    return read_rewrite(text, original).value


def parse_refinement(text: str, original: str | None = None) -> Refinement | None:
    """The verdict in a refine completion, with the repaired instruction if there is one; None if it gives none, or two.

    The verdict stands before the new instruction: the first word of the text or a line of its own (Command R+: "No",
    GPT-3.5: "Answer: No###"). Llama-3-8B repeats the prompt's examples and judges them all: that is unreadable.
    """
    text = _without_thoughts(text)
    marker = _MARKER.search(text) or _SOURCE.search(text)
    verdicts = {
        m["verdict"].lower() for m in _VERDICT.finditer(_without_long_runs(text[: marker.start()] if marker else text))
    }
    if len(verdicts) != 1:
        return None
    if verdicts == {"yes"}:
        return Refinement(complete=True)
    return Refinement(complete=False, instruction=parse_rewrite(text, original))


def read_option(text: str) -> Reading:
    """The option a classify completion chooses, with the reason where it cannot be read.

    A statement of the choice ("So the option is: B.") stands above a heading ("B. Add a prefix task."), and that above
    an aside ("This addition (Option B) ..."): Llama-3-8B wrote "(Option C)" in the middle and "So the option is: B." at
    the end, which is B. Two different choices of equal standing are none. An option that is only spoken of ("option A
    does not apply") is no choice.
    """
    text = _before_next_example(_without_long_runs(_without_thoughts(text)))
    for choices_in in (_stated, _headed, _mentioned):
        choices = choices_in(text)
        if len(choices) == 1:
            return Reading(choices.pop())
        if len(choices) > 1:
            return Reading(None, f"names several choices: {', '.join(sorted(choices))}")
    return Reading(None, "states no choice")


def read_rewrite(text: str, original: str | None = None) -> Reading:
    """The new instruction in a rewrite completion, with the reason where it cannot be read.

    Args:
        text: the completion.
        original: the instruction that was to be rewritten. It settles which one is meant where the text holds several:
            Llama-3-8B and Command R+ often rewrite the prompt's examples once more before they come to the row's
            instruction, if they come to it. Without it, several are readable only as an answer with examples after it.
    """
    blocks = list(_blocks(_without_thoughts(text)))
    if not blocks:
        return Reading(None, "holds no new instruction")
    if original is not None:
        blocks = _answering(original, blocks)
        if not blocks:
            return Reading(None, "rewrites other instructions (the prompt's examples?), not this row's")
    elif not blocks[0].source and all(b.source for b in blocks[1:]):
        blocks = blocks[:1]
    if len(_different(blocks)) > 1:
        return Reading(None, f"holds {len(_different(blocks))} new instructions, and no telling which is meant")
    return Reading(blocks[0].instruction)


def without_wrapping_quotes(text: str) -> str:
    """The text without spaces and quotes around the whole of it: `"Name the "first" word."` loses the outer pair only.

    A quote that closes within the text stays (Command R+: `“Write a sentence in English." Then, rewrite ...`); one that
    is never closed goes (Llama-3-8B: `“Find a word that ...`).
    """
    text = text.strip()
    for _ in range(3):  # as many pairs as any generator wrote around one text, and one more
        if len(text) < 2:
            break
        quotes = [m.start() for m in _DOUBLE_QUOTE.finditer(text)]
        if quotes == [0]:
            text = text[1:].strip()
        elif quotes == [len(text) - 1] and not text[-2].isdecimal():  # 5" is a length
            text = text[:-1].strip()
        elif _is_wrapped(text):
            # Command R+: `"Write a dialogue with the premise, "Max will bring red wine."`; the last closes the second
            first_only = text[0] not in "'‘" and len(quotes) % 2
            text = text[1:].strip() if first_only else text[1:-1].strip()
        else:
            break
    return text


# --- the option

_LETTER = (  # alone or dressed up, as in **B**, (B), "B", Option B, \boxed{B}; a small one only at the end of a line
    r"[\s*_\"'“‘(\[`]*(?:\\boxed\{)?(?i:option\s*)?[\"'“‘(\[*_]*"
    r"(?P<letter>[A-D]|[a-d](?=[\s.)\]}*_\"'`]*(?:$|\n|#)))(?![\w'’])"
)
_WORDS = {
    "A": r"decompos\w+",
    "B": r"(?:(?:add|includ|insert|us)\w*\s+)?(?:a\s+|the\s+)?prefix\b",
    "C": r"(?:(?:add|includ|insert|us)\w*\s+)?(?:a\s+|the\s+)?suffix\b",
    "D": r"(?:keep|leav)\w*\s+(?:it\b|as\b|the\s+\w*\s*(?:original|instruction|version)\b|unchanged\b)",
}
_OPTION_WORDS = "(?i:" + "|".join(f"(?P<said_{letter}>{words})" for letter, words in _WORDS.items()) + ")"
_LEAD = (
    r"(?i:\b(?:option|choice|answer|pick)\b[\"'*_]*\s*(?:is|would\s+be|should\s+be|will\s+be|must\s+be)\b\s*[:\-–]?"
    r"|\b(?:i|we)(?:['’](?:d|ll))?\s+(?:(?:would|will|should|therefore|thus)\s+)*"
    r"(?:pick|choose|select|go\s+(?:with|for)|opt\s+for|recommend|suggest|prefer)\b\s*:?)"
)
_STATEMENTS = [
    # "So the option is: B.", "I would pick D, since option A does not apply"
    re.compile(_LEAD + _LETTER, re.MULTILINE),
    # "So the option is: Keep as original version."
    re.compile(_LEAD + r"[\s*_\"“]*(?i:to\s+|an?\s+)*" + _OPTION_WORDS),
    # "Option: C. Add a suffix task.", "Answer: B", {"option": "B"}
    re.compile(
        r"(?:^|[{,])[\s*_#\"'>-]*(?i:(?:final\s+|my\s+)?(?:option|choice|answer|decision))[\"'*_]*\s*[:=]" + _LETTER,
        re.MULTILINE,
    ),
    # "..., so D."
    re.compile(
        r"(?i:\b(?:so|thus|therefore|hence)\b[,:]?\s*(?:it\s+is\s|it['’]s\s)?)"
        + _LETTER
        + r"(?=[\s.!*_)\]#]*(?:$|\n))",
        re.MULTILINE,
    ),
    # "Option D fits best"
    re.compile(
        r"(?i:\b(?:option|choice)\s+)" + _LETTER + r"(?i:\s+(?:is|fits|seems)\s+(?:the\s+)?"
        r"(?:best|right|correct|most|suitable|appropriate))"
    ),
]
_HEADING = re.compile(
    r"^[\s*_#\"'(\[>-]*(?P<named>(?i:option)\s+)?[*_(\[]*(?P<letter>[A-D])[*_\"')\]]*\s*(?P<end>[.:)\]#*]|-\s|–|$)",
    re.MULTILINE,
)
# "This addition (Option B) prepares the user by ..."
_ASIDE = re.compile(r"\(\s*(?i:option|choice)\s*" + _LETTER + r"\s*\)")
_SUITABLE = re.compile(  # "a suitable adaptation is to add a prefix task"
    r"(?i:\b(?:suitable|best|appropriate|right)\s+(?:adaptation|modification|choice|option|way)\s+"
    r"(?:(?:here|for\s[^.\n]{1,60}?)\s+)?(?:is|would\s+be)\s+(?:to\s+)?)" + _OPTION_WORDS
)
_MORE = re.compile(
    r"[\s*_)\].\"']*(?:,|/|&|(?i:and/or|or|and)\b)\s*(?:(?i:option)\s+)?[*_(\[\"]*(?P<letter>[A-D])(?![\w'’])(?!\s+[a-z])"
)
_ARTICLE = re.compile(r"\s+(?!(?:because|since|as|for|which|and|or|here|decompose)\b)[a-z]")
_OWN_WORDS = re.compile(  # "B. Add a prefix task.", and not "D, a prefix task is not needed"
    r"[\s.:,)\]*_\"'–-]*(?i:to\s+)?"
    + _OPTION_WORDS
    + r"(?i:\s+(?:it|as|the|into|two|tasks?|original|version))*\W*?(?:[.!#\n]|$)"
)
_NEXT_EXAMPLE = re.compile(r"^[\s#*]*(?i:(?:given|original|next)\s+)?(?i:instruction|prompt)[\s#*]*:", re.MULTILINE)


def _stated(text: str) -> set[str]:
    """The options that the text says it chooses."""
    choices: set[str] = set()
    for pattern in _STATEMENTS:
        for match in pattern.finditer(text):
            choices |= _letters(match, text)
    return choices


def _headed(text: str) -> set[str]:
    """The option that stands as a heading: "A. Decompose it into two tasks.###" or "Option C: Add a suffix task."

    A list of the options has several headings and chooses none of them.
    """
    headings = list(_HEADING.finditer(text))
    if len({m["letter"] for m in headings}) != 1:
        return set()
    choices: set[str] = set()
    for match in headings:
        alone = not match["end"] or match["end"] == "#"
        if match["named"] or alone or not text[: match.start()].strip():
            choices |= _letters(match, text)
    return choices


def _mentioned(text: str) -> set[str]:
    """The options in an aside, or told by their task: "a suitable adaptation is to add a prefix task"."""
    choices: set[str] = set()
    for pattern in (_ASIDE, _SUITABLE):
        for match in pattern.finditer(text):
            choices |= _letters(match, text)
    return choices


def _letters(match: re.Match, text: str) -> set[str]:
    """The options that a match chooses: several in "A or B", and in "B. Add a suffix", which are the words for C."""
    groups = match.groupdict()
    said = {name.removeprefix("said_") for name, words in groups.items() if name.startswith("said_") and words}
    if not groups.get("letter"):
        return said
    rest = match.end("letter")
    if match["letter"] == "A" and _ARTICLE.match(text, rest):
        return said  # "So the option is: A prefix task ...": an article
    letters = {match["letter"].upper()} | said
    while more := _MORE.match(text, rest):
        letters.add(more["letter"])
        rest = more.end()
    if words := _OWN_WORDS.match(text, rest):
        letters |= {name.removeprefix("said_") for name, found in words.groupdict().items() if found}
    return letters


def _before_next_example(text: str) -> str:
    """The text up to where the generator, having chosen, goes on to invent the next instruction and its choice."""
    ends = [match.end() for pattern in _STATEMENTS for match in pattern.finditer(text)]
    following = _NEXT_EXAMPLE.search(text, min(ends)) if ends else None
    return text[: following.start()] if following else text


# --- the new instruction


@dataclass(frozen=True, slots=True)
class _Block:
    """One new instruction in a completion, and the original that stands above it, if one does."""

    instruction: str
    source: str


_MARKER = re.compile(
    r"#{1,4} ?new\s{1,4}instruction\b ?#{0,4}\s{0,4}:?"  # "#New Instruction#: “Define what a tweet is, ...”###"
    r"|^[ *_>]{0,8}(?:new|rewritten|revised)\s{1,4}instruction[*_\s]{0,4}:",  # 'New Instruction: "How does ..."'
    re.IGNORECASE | re.MULTILINE,
)
_SOURCE = re.compile(r"#{1,4} ?(?:original\s{1,4}instruction|given\s{1,4}prompt)\b ?#{0,4}\s{0,4}:?", re.IGNORECASE)
# "###" ends the instruction, but at the start of a line and before text it is a heading ("###Suffix Task: Now, ...")
_END_MARK = re.compile(r"(?<=[^\n#])#{3,}|^[ \t]*#{3,}(?!#)(?![ \t]*\w)", re.MULTILINE)
_CHATTER = re.compile(  # a paragraph about the rewriting; often follows where the end mark was forgotten
    r"\n[ \t]{0,8}\n[ \t#*_]{0,8}(?:"
    # Here's the step-by-step thought process:
    r"here(?:['’]s|\s+is|\s+are)\b[^\n]*\b(?:step|thought|thinking|breakdown|explanation|reasoning)"
    # This new instruction maintains the core of the original prompt while adding a suffix task
    r"|(?:this|the|these|my|adding)\b[^\n.]{0,80}\b(?:(?:new|original|rewritten)\s+instruction|decomposition|(?:pre|suf)fix\s+task)\b"
    # By breaking down the instruction into these two steps, we can ensure ...
    r"|by\s+(?:breaking|decomposing|following\s+these\s+two)\b"
    # Explanation: The original instruction asks for a list of causes, but ...
    r"|(?:explanation|rationale|(?:my\s+)?thought\s+process|note)[*_]*\s*:|thinking\s+step"
    # Please let me know if you'd like me to explain the thought process behind this decomposition.
    r"|(?:please\s+)?let\s+me\s+know\b)",
    re.IGNORECASE,
)
_DOUBLE_QUOTE = re.compile(r"[\"“”„«»]")
_WORD = re.compile(r"\w{4,}")  # shorter ones ("the", "is") say nothing about what an instruction is about


def _blocks(text: str) -> Iterator[_Block]:
    """Each new instruction with the original that stands above it."""
    markers = list(_MARKER.finditer(text))
    previous_end = 0
    for marker, following in zip_longest(markers, markers[1:]):
        sources = list(_SOURCE.finditer(text, previous_end, marker.start()))
        source = text[sources[-1].end() : marker.start()] if sources else ""
        end = following.start() if following else len(text)
        if next_source := _SOURCE.search(text, marker.end(), end):
            end = next_source.start()
        instruction = _instruction(text[marker.end() : end])
        previous_end = marker.end()
        if instruction:
            yield _Block(instruction, source.strip())


def _instruction(text: str) -> str:
    """The instruction at the beginning of what follows a marker."""
    text = re.sub(r"^[\s:]+", "", text)
    if end := _END_MARK.search(text):
        text = text[: end.start()]
    if chatter := _CHATTER.search(text):
        text = text[: chatter.start()]
    for mark in ("**", "`"):  # **New Instruction:** Do ...
        if text.startswith(mark) and text.count(mark) % 2:
            text = text.removeprefix(mark)
    return without_wrapping_quotes(text)


def _answering(original: str, blocks: list[_Block]) -> list[_Block]:
    """The new instructions for this original: those that stand below it; or the only one; or those with its words."""
    below = [block for block in blocks if block.source and _stands_below(original, block)]
    if below:
        return below
    unclaimed = [block for block in blocks if not block.source]
    if len(_different(blocks)) == 1:
        return unclaimed
    return [block for block in unclaimed if _share_of_words(original, block.instruction) > 0.5]


def _different(blocks: list[_Block]) -> set[str]:
    return {_bare(block.instruction) for block in blocks}


def _stands_below(original: str, block: _Block) -> bool:
    """Whether the original that the text repeats above the new instruction is this one.

    The first line tells: Llama-3-8B leaves out the passage or the answers to choose from, and adds its thoughts.
    """
    line = block.source.partition("\n")[0]
    if _bare(line) and _bare(line) in _bare(original) or _bare(original) in _bare(block.source):
        return True
    return _share_of_words(line, original) > 0.8


def _share_of_words(text: str, other: str) -> float:
    """How many of the longer words of `text`'s first paragraph are in `other`: from 0 to 1."""
    words = set(_WORD.findall(text.partition("\n\n")[0].lower()))
    return len(words & set(_WORD.findall(other.lower()))) / max(len(words), 1)


def _bare(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def _is_wrapped(text: str) -> bool:
    """Whether the quotes at both ends belong together: the next one within, if any, does not close the first."""
    single = text[0] in "'‘" and text[-1] in "'’"
    if not single and not (text[0] in '"“„«”' and text[-1] in '"”“»'):
        return False
    inner = re.compile(r"(?<!\w)['‘’]|['‘’](?!\w)" if single else _DOUBLE_QUOTE).search(text, 1, len(text) - 1)
    if not inner:
        return True
    before, after = text[inner.start() - 1], text[inner.end()]
    if inner[0] in "“„«‘":
        return True
    return inner[0] not in "”»" and (before.isspace() or before in "([:\"'“‘") and not after.isspace()


# --- the verdict

_VERDICT = re.compile(
    r"(?:\A|^)[\s*_#\">]*(?:(?:so,?\s+)?(?:the\s+)?(?:final\s+)?(?:answer|verdict)(?:\s+is)?[*_]*\s*:?)?[\s*_\"]*(?P<verdict>yes|no)[*_\"]*"
    r"(?=\s*(?:[.,:;!#–—\n]|-\s|$)|\s+it\s+(?:does|is|has)\b)",  # and not "No information is missing"
    re.IGNORECASE | re.MULTILINE,
)


def _without_thoughts(text: str) -> str:
    """The answer without the thoughts that reasoning models write first; nothing if they never came to an answer."""
    if "<think>" in text and "</think>" not in text:
        return ""
    return text.rpartition("</think>")[2]


def _without_long_runs(text: str) -> str:
    """The text with runs of line ends, stars, ... shortened: patterns that try each place of a run take its square."""
    return re.sub(r"(\W{20})\W+(\W{20})", r"\1\2", text)
