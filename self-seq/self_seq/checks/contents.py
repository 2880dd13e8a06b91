"""What stands in an instruction and must not get lost: options, table rows, code, addresses, quotations, passages.

`rewrites.py` asks for the pieces of an original and whether another text still holds them; numbers are in `quantities`.
Lenient about form (a table may get other separators), strict about what it says.
"""

import re
import unicodedata
from collections import Counter
from difflib import get_close_matches
from itertools import pairwise

from self_seq.words import words


class Held:
    """A text in which pieces are looked for."""

    def __init__(self, text: str) -> None:
        tokens = words(text)
        self._joined = f" {' '.join(tokens)} "
        self._counts = Counter(tokens)
        self._bare = _without_spaces(text)

    def words(self, piece: str, spread: Counter[str], share: float = 0.8) -> bool:
        """Whether the words of `piece` stand here in a row, or of a longer one at least `share` of them anywhere.

        One word may be spelled another way: "pedaling" for "pedalling" (Command R+).

        Args:
            spread: in how many pieces each word stands; of the words that only `piece` has, `share` must be here too.
        """
        tokens = words(piece)
        if f" {' '.join(tokens)} " in self._joined:
            return True
        if len(tokens) == 1 and len(piece) > 5 and get_close_matches(tokens[0], self._counts, 1, 0.9):
            return True
        return len(tokens) >= 5 and self._most_of(tokens, spread, share)

    def option(self, option: str, spread: Counter[str]) -> bool:
        """As `words`; of a short option all words in any order: "related to sales" for "sales related" (Llama-3-8B)."""
        tokens = words(option)
        return self.words(option, spread) or 1 < len(tokens) < 5 and self._most_of(tokens, spread, 1)

    def _most_of(self, tokens: list[str], spread: Counter[str], share: float) -> bool:
        own = [token for token in tokens if spread[token] == 1]
        return all((Counter(part) & self._counts).total() >= share * len(part) for part in (tokens, own))

    def verbatim(self, piece: str) -> bool:
        """Whether it stands here, up to spaces and line ends."""
        return _without_spaces(piece) in self._bare


# --- options and other lists

_ROMAN = "i ii iii iv v vi vii viii ix x".split()
_LABEL = r"[A-Za-z]|\d{1,2}|[ivxIVX]{1,4}"
_MARKED_LINE = re.compile(
    rf"^[ \t]*(?:(?P<bullet>[-*•–]{{1,2}})|[(\[]?(?P<label>{_LABEL})[)\].:]{{1,2}}\.?)[ \t]*(?P<item>\S.*)$"
)
_INLINE_MARK = re.compile(
    rf"(?:^|(?<=[\s;:,.]))(?:[(\[](?P<a>{_LABEL})[)\]]\.?|(?P<b>{_LABEL})(?:\)\.?|\.|:))\s*(?=\S)"
)
_LEAD = re.compile(
    r"\b(?:options?|choices?|choose|select|pick|answers?)\b[^:\n]{0,40}:[ \t]*(?P<items>-{1,2}.*|\*.*|•.*)$",
    re.IGNORECASE | re.MULTILINE,
)


def options(text: str) -> list[str]:
    """The items of the lists in a text: answer options, most of all. Marked by letters, numbers, bullets or dashes."""
    items = []
    run: list[str] = []
    for line in [*text.split("\n"), ""]:
        match = _MARKED_LINE.match(line)
        if match and (match["bullet"] or not match["label"].isalpha() or len(line.strip()) > 2):
            run.append(match["item"])
            continue
        if len(run) > 1:
            items += [*run[:-1], _last_item(run[-1], run[:-1])]
        run = []
    for line in text.split("\n"):
        items += _inline(line)
    for match in _LEAD.finditer(text):
        parts = re.split(r"(?:^|\s)[-*•]{1,2}\s?(?=\S)", match["items"])
        parts = [part for part in parts if part.strip()]
        items += parts if len(parts) > 1 else []
    return [item for item in dict.fromkeys(item.strip(" \t;.,") for item in items) if words(item)]


def _inline(line: str) -> list[str]:
    """The items of "(A) red (B) green", whose marks stand in their order."""
    marks: list[re.Match] = []
    for match in _INLINE_MARK.finditer(line):
        label, before = match["a"] or match["b"], line[max(match.start() - 100, 0) : match.start()]
        if match["b"] and before.count("(") > before.count(")"):
            continue  # "f(n - 1)"
        if marks and label in _followers(marks[-1]["a"] or marks[-1]["b"]):
            marks.append(match)
        elif label in ("a", "A", "i", "I", "1") and len(marks) < 2:
            marks = [match]
    if len(marks) < 2:
        return []
    items = [line[mark.end() : following.start()] for mark, following in pairwise(marks)]
    items = [re.sub(r"[,;]?\s*(?:and|or)?\s*$", "", item.strip()) for item in items]
    return [*items, _last_item(line[marks[-1].end() :], items)]


def _last_item(text: str, others: list[str]) -> str:
    """The last item without the text that may follow it on its line: "(E) 520 Now, let's think a bit."

    Of one that is longer than every other, only its beginning is sure to belong to it.
    """
    last = re.split(r";|\.\s", text)[0].split()
    if not any(char.isupper() for char in "".join(others)):  # "no Now, let's think"
        last = last[: next((i for i, word in enumerate(last) if i and word[0].isupper()), None)]
    lengths = [len(item.split()) for item in others]
    return " ".join(last if len(last) <= max(lengths) else last[: min(lengths)])


def _followers(label: str) -> set[str]:
    if label.isdigit():
        return {str(int(label) + 1)}
    following = set()
    if len(label) == 1 and label not in "zZ":
        following.add(chr(ord(label) + 1))
    if label.lower() in _ROMAN[:-1]:
        roman = _ROMAN[_ROMAN.index(label.lower()) + 1]
        following.add(roman.upper() if label.isupper() else roman)
    return following


# --- tables, code, addresses

_SEPARATOR_ROW = re.compile(r"[\s|:+=-]*")


def table_rows(text: str) -> list[str]:
    """The rows of Markdown tables and of tables with tabs: two lines or more with equally many separators."""
    rows, run, count = [], [], 0
    for line in [*text.split("\n"), ""]:
        separators = (line.count("|"), line.count("\t"))
        now = max(separators) if separators[0] > 1 or (separators[1] and line.strip()) else 0
        if run and now != count:
            rows += run if len(run) > 1 else []
            run = []
        if now:
            run.append(line)
        count = now
    return [row.strip() for row in rows if not _SEPARATOR_ROW.fullmatch(row)]


_FENCED = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<code>.*?)^[ \t]*(?P=fence)", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CODE_LINE = re.compile(
    r"(?:async )?(?:def|class) \w.*:|(?:for|while|if|elif|with) .+:|import \w+(?:\.\w+)*|from \S+ import .+"
    r"|#include ?[<\"].+|(?:public|private|static|void|int|const|let|var) .*[;{]|.*[\w)\]\"'];|.*\) ?\{|\};?"
    r"|\w[\w.\[\]]* ?[-+*/]?= ?\S.*|print\(.*\)|return .+"
)
_MOST_CODE_LINE = 500  # characters; a longer line is prose


def code(text: str) -> list[str]:
    """The pieces of code: fenced blocks, what stands between backticks, and three lines or more that look like code."""
    pieces = [match["code"] for match in _FENCED.finditer(text)]
    rest = _FENCED.sub("\n", text)
    pieces += _INLINE_CODE.findall(rest)
    run: list[str] = []
    for line in [*rest.split("\n"), ""]:
        if len(line) <= _MOST_CODE_LINE and _CODE_LINE.fullmatch(line.strip()):
            run.append(line)
            continue
        if len(run) > 2:
            pieces += run
        run = []
    return [piece for piece in pieces if piece.strip()]


_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'”“)\]]+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", re.IGNORECASE
)


def addresses(text: str) -> list[str]:
    """The addresses of pages and mailboxes."""
    return [address.rstrip(".,;:!?") for address in _ADDRESS.findall(text)]


# --- quotations and passages

_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»|「([^」\n]+)」|『([^』\n]+)』")
_LEAST_PASSAGE = 8  # words
# A line that asks may be put in other words; it is polite, or speaks of a text elsewhere.
_ASKS = re.compile(r"^\W*(?:please|kindly)\b|\b(?:the|these) (?:following|above|below|given)\b", re.IGNORECASE)


def quotations(text: str) -> list[str]:
    """What stands between double quotes, on lines where each has its pair."""
    found = []
    for line in text.split("\n"):
        if line.count('"') % 2 == 0:
            found += [next(filter(None, groups)) for groups in _QUOTED.findall(line)]
    return [quotation for quotation in found if words(quotation)]


def passages(text: str) -> list[str]:
    """The texts that an instruction works on: long lines beside the line that asks, and what follows a colon."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    found = lines if len(lines) > 1 else []
    found = [*found, *(line.partition(": ")[2] for line in lines if ": " in line)]
    return [
        line
        for line in found
        if len(words(line)) >= _LEAST_PASSAGE and not line.endswith(("?", ":")) and not _ASKS.search(line)
    ]


def _without_spaces(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())
