"""From what a model wrote to a program that can run, and from verdicts to pass@k.

Called by the scoring of `eval/tasks/codex_humaneval` and `mbpp`. A model may go on with the code, or answer as people
do: with prose around it, in a code fence, with the signature said again. Nothing is run here, only parsed.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence

from eval.sandbox import Case, run
from open_instruct.core.errors import UserError

_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_CODE = re.compile(r"(from\s+[\w.]+\s+import\s|import\s+\w|def\s+\w+\s*\(|class\s+\w+\s*[:(]|@\w|[A-Za-z_]\w*\s*=\s)")
_MAX_LINES = 400  # of an answer; each line that is cut off its end costs one parse
_INDENT = "    "


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that one of k answers drawn from n is right, without bias (Chen et al. 2021, arXiv 2107.03374, eq. 1).

    Args:
        n: answers drawn of one problem.
        correct: how many of them are right.
        k: at most n.

    Raises:
        UserError: k is more than n.
    """
    if k > n:
        raise UserError(f"pass@{k} needs {k} answers a problem at least, not {n}: raise `repeats` of the task")
    missed = 1.0
    for place in range(n - correct + 1, n + 1):
        missed *= max(0.0, 1 - k / place)
    return 1.0 - missed


def scores(cases: Sequence[Case], k: int) -> dict[str, float]:
    """pass@k over the answers of one problem; the programs run in the sandbox."""
    verdicts = run(cases)
    return {f"pass_at_{k}": pass_at_k(len(verdicts), sum(verdict.passed for verdict in verdicts), k)}


def completed(prompt: str, name: str, answer: str) -> str:
    """The program of an answer to "complete this function", whatever form the answer has.

    Args:
        prompt: imports, perhaps other functions, and at last the signature and docstring of the function.
        name: of the function.
        answer: the model's text: the body, the whole function, a code fence with either, prose around any of them.

    Returns:
        A program that defines all of the prompt and the function. Where the answer holds no code, prompt and answer
        as they are, which will not run.
    """
    pieces = list(_pieces(answer))
    for code in pieces:
        if text := _whole_function(code, name):
            return f"{stub(prompt)}\n\n{text}\n\n"
    for code in pieces:
        if body := _body(prompt, code):
            return f"{prompt.rstrip(' ')}{_joint(prompt)}{body}\n\n"
    return f"{prompt}{answer}\n\n"


def written(name: str, answer: str) -> str:
    """The program of an answer to "write a function", whatever form the answer has.

    Args:
        name: of the function that the tests call.
        answer: the model's text.

    Returns:
        The code that defines `name`; where none does, the first code there is, or the answer as it is.
    """
    pieces = list(_pieces(answer))
    for code in pieces:
        if text := _whole_function(code, name):
            return f"{text}\n\n"
    return next((f"{code}\n\n" for code in pieces if _parses(code)), f"{answer}\n\n")


def stub(prompt: str) -> str:
    """The prompt of a function to complete as a program: its last function has the docstring for a body, or `pass`."""
    return prompt if _parses(prompt) else f"{prompt.rstrip()}\n{_INDENT}pass\n"


def _pieces(answer: str) -> Iterator[str]:
    """Texts that may be the code, the likeliest first: what stands in fences, then what stands outside of them."""
    answer = answer.replace("\r\n", "\n")
    fences = list(_FENCE.finditer(answer))
    if not fences:
        yield answer
        return
    before = answer[: fences[0].start()]
    begun = len(fences) % 2 == 1 and not fences[0].group(1) and before.lstrip("\n")[:1] in (" ", "\t")
    if begun:  # the fence that opens stood before the answer began, and this one closes
        yield before
        fences = fences[1:]
    ends = [fence.start() for fence in fences[1::2]] + [len(answer)]  # the last may have been cut off
    for opens, end in zip(fences[::2], ends, strict=False):
        yield answer[opens.end() : end].removeprefix("\n")
    if not begun:
        yield before
    yield answer


def _whole_function(code: str, name: str) -> str:
    """The code without the prose around it, if it defines `name`; else ""."""
    code = textwrap.dedent(code)
    if whole := _longest(code, lambda text: _defines(text, name)):
        return whole
    lines = [line for line in code.split("\n") if not _FENCE.match(line)]
    at = next((i for i, line in enumerate(lines) if re.match(rf"\s*(async\s+)?def\s+{re.escape(name)}\b", line)), None)
    if at is None:
        return ""
    starts = dict.fromkeys((_head(lines, at), at))  # prose may look like code: then without it
    found = (_longest(_from(lines, first), lambda text: _defines(text, name)) for first in starts)
    return next(filter(None, found), "")


def _head(lines: list[str], at: int) -> int:
    """Where the code begins whose function begins at line `at`: at the first import or definition before it."""
    return next((i for i, line in enumerate(lines[:at]) if _CODE.match(line)), at)


def _from(lines: list[str], first: int) -> str:
    return textwrap.dedent("\n".join(lines[first:]))


def _body(prompt: str, code: str) -> str:
    """`code` as the body of the prompt's function, with the indentation that it lacks; "" if that cannot be.

    Of the ways to indent it, the one under which the most of it is code.
    """
    inside = _last_indent(prompt)
    forms = (code, inside + code.lstrip(), textwrap.indent(textwrap.dedent(code.strip("\n")), inside))
    found = [_longest(form, lambda text: _adds_body(prompt, text)) for form in dict.fromkeys(forms) if form.strip()]
    return max(found, key=lambda text: text.rstrip().count("\n") + bool(text), default="")


def _joint(prompt: str) -> str:
    return "" if prompt.rstrip(" ").endswith("\n") else "\n"


def _adds_body(prompt: str, text: str) -> bool:
    """Whether the prompt goes on with `text`, which adds statements to its last function or after it."""
    tree = _parsed(f"{prompt.rstrip(' ')}{_joint(prompt)}{text}\n\n")
    before = _parsed(stub(prompt))
    if tree is None or before is None or not before.body:
        return False
    here, there = tree.body[len(before.body) - 1 : len(before.body)], before.body[-1]
    docstring = isinstance(there, ast.FunctionDef) and ast.get_docstring(there) is not None
    return bool(here) and isinstance(here[0], ast.FunctionDef) and len(here[0].body) > int(docstring)


def _last_indent(prompt: str) -> str:
    """The indentation of the function's body, as the prompt's docstring shows it."""
    last = prompt.rstrip().rsplit("\n", 1)[-1]
    return last[: len(last) - len(last.lstrip())] or _INDENT


def _longest(text: str, fits: Callable[[str], bool]) -> str:
    """As many of the first lines as fit, without a last one that is a bare word or mark; "" if none do.

    Only prose is cut off, which is not indented more than the code: an error within a function stays in it, and fails.
    """
    lines = text.split("\n")[:_MAX_LINES]
    outermost = _indentation(next((line for line in lines if line.strip()), ""))
    for end in range(len(lines), 0, -1):
        cut_within = end < len(lines) and _indentation(lines[end]) > outermost
        bare = re.fullmatch(r"(\w+|\[\w+\])?\s*", lines[end - 1])  # "Explanation", "[DONE]": these parse, and then fail
        if not cut_within and not bare and fits(kept := "\n".join(lines[:end])):
            return kept
    return ""


def _indentation(line: str) -> int:
    """Columns before the first letter; 0 for a blank line."""
    return len(line.expandtabs()) - len(line.expandtabs().lstrip()) if line.strip() else 0


def _defines(code: str, name: str) -> bool:
    tree = _parsed(code)
    if tree is None:
        return False
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.name == name:
            return True
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in statement.targets
        ):
            return True
    return False


def _parses(code: str) -> bool:
    return bool(code.strip()) and _parsed(code) is not None


def _parsed(code: str) -> ast.Module | None:
    """The syntax tree, or None; code of models breaks a parser in more ways than by its syntax."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that will be errors one day
            compile(code, "<answer>", "exec", dont_inherit=True)  # a parser alone lets a return outside functions pass
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
