"""Requests and answers as /chat/completions has them: what is sent of a request, and what an answer means.

Used by `openai` and `openai_batch`. What servers differ in is learnt from what they refuse (`Chat.mend`): the name of
the token limit, fields they do not know, the length of their window.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json
from open_instruct.engines._address import KEY_LIKE, address, check_key_name
from open_instruct.engines._http import Refused, Trouble
from open_instruct.engines.base import Completion, Request

CHARACTERS_A_TOKEN = 4
TOO_LONG = "the prompt is longer than the model's window"
FILTERED = "the provider's filter refused it"
REFUSED = "the server refuses the request"

_OURS = ("model", "messages", "n", "stream")
_MAY_LEAVE_OUT = ("top_k", "seed")
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
_MOST_TOKENS = 1 << 32  # one answer has fewer; more would spoil every sum
_SECRET_FIELD = re.compile(  # as the name of a field, at any depth
    r'"[^"]*(api[-_]?key|authorization|secret|password|(access|auth|bearer)[-_]?token)[^"]*"\s*:', re.IGNORECASE
)
_LEAST_ROOM = 16  # tokens: an answer that has less is none
_STOP = ("stop", "eos", "eos_token", "stop_sequence", "end_turn", None)
_LENGTH = ("length", "max_tokens")
_GIVEN_UP = ("error", "abort", "cancelled")
_NO_WINDOW = re.compile(
    r"context.?length|context.?window|context size|max_model_len|maximum model length|too many tokens"
    r"|prompt is too long|max_total_tokens|max_new_tokens` must be",
    re.IGNORECASE,
)
_WINDOW = re.compile(
    r"(?:context length|context window|context size|max_model_len|model length)\D{0,25}(\d+)", re.IGNORECASE
)
_PROMPT = re.compile(r"(?<!least )\b(\d+) (?:input tokens|prompt tokens|in the messages|in the prompt)")
_UNKNOWN = re.compile(r"unsupported|not supported|not permitted|unknown|unrecogni|unexpected|extra", re.IGNORECASE)
_FILTER = re.compile(r"content.?filter|content management policy|content.?policy|moderat|flagged", re.IGNORECASE)


class Chat:
    """The form of one server's requests.

    Args:
        engine: its name, for messages.
        model: as the server names it.
        extra: more fields of the body, as a JSON object; null takes a field out.
        max_tokens_field: "max_tokens", "max_completion_tokens", or "auto" for what the server takes.
        openai: whether the server is OpenAI's own, which knows no top_k.

    Raises:
        UserError: a setting is wrong.
    """

    def __init__(self, engine: str, model: str, extra: str, max_tokens_field: str, openai: bool) -> None:
        if max_tokens_field not in ("auto", *_LIMIT_FIELDS):
            raise UserError(
                f"engine {engine}: max_tokens_field is auto, {' or '.join(_LIMIT_FIELDS)}, not {max_tokens_field!r}"
            )
        if not model:
            raise UserError(
                f"engine {engine}: model is empty; expected a name that the server knows (GET /models lists them)"
            )
        self._engine, self._model = engine, model
        self._extra = read_extra(engine, extra)
        self._auto = max_tokens_field == "auto"
        # OpenAI's newer models know the second name alone, its older ones both; other servers often the first alone.
        self._limit_field = max_tokens_field if not self._auto else _LIMIT_FIELDS[openai]
        self._openai = openai
        self._left_out: set[str] = set()
        self._window = 0  # tokens, as far as a refusal told it

    def body(self, request: Request, max_tokens: int = 0) -> dict[str, Any]:
        """What is sent.

        Args:
            max_tokens: instead of the request's; 0 for that.
        """
        sampling = request.sampling
        fields: dict[str, Any] = {
            "model": self._model,
            "messages": request.messages,
            self._limit_field: max_tokens or sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }
        if sampling.top_p != 1:  # some models refuse it whatever it is
            fields["top_p"] = sampling.top_p
        if sampling.top_k:
            if self._openai:
                self._leave_out("top_k", "OpenAI has no such parameter")
            fields["top_k"] = sampling.top_k
        if sampling.stop:
            fields["stop"] = list(sampling.stop)
        for name in self._left_out:
            fields.pop(name, None)
        if self._extra:
            fields |= self._extra
            return {name: value for name, value in fields.items() if value is not None}
        return fields

    def first_limit(self, request: Request) -> int:
        """The longest answer to ask for, where an earlier refusal told a window that has no room for more; else 0."""
        if not self._window:
            return 0
        room = self._window - prompt_tokens(request)
        return room if _LEAST_ROOM <= room < request.sampling.max_tokens else 0

    def mend(self, refused: Refused, sent: dict[str, Any]) -> int | None:
        """Learn from a refusal.

        Args:
            sent: the body that was refused.

        Returns:
            The longest answer to ask for when the request is sent again (0: as before); None if that would not help.
        """
        words = str(refused)
        if _FILTER.search(f"{refused.code} {words}"):  # it may quote the prompt, which says nothing of the fields
            return None
        learnt_since = next((name for name in _LIMIT_FIELDS if name in sent and name != self._limit_field), None)
        limit = sent.get(learnt_since or self._limit_field, 0)
        if is_too_long(refused):
            return None if self._limit_field in self._extra else self._shorter(words, limit)
        if learnt_since and learnt_since in words and learnt_since not in self._extra:
            return limit
        if self._auto and self._limit_field in words and _UNKNOWN.search(words):
            self._auto = False  # or a server that knows neither would be asked for ever
            self._limit_field = _LIMIT_FIELDS[self._limit_field == _LIMIT_FIELDS[0]]
            return limit
        for name in _MAY_LEAVE_OUT:
            if name in sent and name not in self._extra and re.search(rf"\b{name}\b", words):
                self._leave_out(name, f"the server refuses it: {words}")
                return limit
        return None

    def _shorter(self, words: str, limit: int) -> int | None:
        window = _WINDOW.search(words)
        prompt = _PROMPT.search(words)
        if window:
            self._window = int(window[1])
        room = limit // 2
        if window and prompt:
            room = min(int(window[1]) - int(prompt[1]), limit - 1)
        elif window:
            room = min(room, int(window[1]) - _LEAST_ROOM)
        return room if room >= _LEAST_ROOM else None

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            print(f"engine {self._engine}: {name} is not sent: {why}", file=sys.stderr)

    def completion(self, request: Request, answer: dict[str, Any]) -> Completion:
        """What an answer's JSON object means.

        Raises:
            Trouble: it has no answer in it, so it is worth asking again.
        """
        try:
            choice = answer["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
            text, refusal = message.get("content"), message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Trouble("garbage", "the server's answer has no choices[0].message") from None
        if isinstance(text, list):  # parts, as some servers send them
            text = "".join(map(_part, text))
        usage = answer.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        tokens_in = _count(usage.get("prompt_tokens"), lambda: prompt_tokens(request))
        tokens_out = _count(usage.get("completion_tokens"), lambda: len(text or "") // CHARACTERS_A_TOKEN)

        def error(why: str) -> Completion:
            return Completion(request.key, "", "error", tokens_in, tokens_out, why)

        if reason in _GIVEN_UP:
            raise Trouble("error in answer", f"the server gave the answer up ({reason})")
        if isinstance(refusal, str) and refusal:
            return error(f"the model refused: {' '.join(refusal.split())[:300]}")
        if reason == "content_filter":
            return error("the provider's filter refused it")
        if message.get("tool_calls") or reason in ("tool_calls", "function_call"):
            return error("the model called a tool instead of answering")
        if reason in _LENGTH:
            return Completion(request.key, text if isinstance(text, str) else "", "length", tokens_in, tokens_out)
        if not isinstance(text, str):
            return error("the answer has no text")
        if reason not in _STOP:
            return error(f"the server ended the answer for a reason of its own: {str(reason)[:80]}")
        return Completion(request.key, text, "stop", tokens_in, tokens_out)


def is_too_long(refused: Refused) -> bool:
    """Whether the prompt, or the prompt and the longest answer, are beyond the model's window."""
    return refused.status == 413 or bool(_NO_WINDOW.search(f"{refused.code} {refused}"))


def refusal_reason(refused: Refused) -> str:
    """Why there is no answer, for the row's reason."""
    if is_too_long(refused):
        return f"{TOO_LONG}: {refused}"
    if _FILTER.search(f"{refused.code} {refused}"):
        return f"{FILTERED}: {refused}"
    return f"{REFUSED} (HTTP {refused.status}): {refused}"


def is_filtered(reason: str) -> bool:
    """Whether that is why there is no answer: the provider will not have this text read or written."""
    return reason.startswith(FILTERED)


def is_about_the_row(refused: Refused) -> bool:
    """Whether the prompt's text is at fault, and not the settings that all requests share."""
    return is_too_long(refused) or bool(_FILTER.search(f"{refused.code} {refused}"))


def prompt_tokens(request: Request) -> int:
    """About how many tokens the prompt has, at 4 characters each."""
    return sum(len(message["content"]) for message in request.messages) // CHARACTERS_A_TOKEN


def read_extra(engine: str, extra: str) -> dict[str, Any]:
    """The setting `extra`.

    Raises:
        UserError: it is no JSON object, or holds what the engine decides itself, or a secret.
    """
    if not extra:
        return {}
    try:
        value = json.loads(extra, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f'engine {engine}: extra is no JSON object; expected such as {{"min_p": 0.1}}')
    for name in _OURS:
        if name in value:
            raise UserError(f"engine {engine}: extra must not hold {name!r}, which the engine sets itself")
    if _SECRET_FIELD.search(extra) or KEY_LIKE.search(extra):
        raise UserError(f"engine {engine}: extra holds a secret; put it into an environment variable (api_key_env)")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def content(engine: str, options: dict[str, str]) -> str:
    """For `identity`: the fields in `extra`, however they are written.

    It is asked before anything else is done, so that a key in a wrong place is refused before it stands in a run.json.

    Raises:
        UserError: `extra`, `base_url` or `api_key_env` is wrong.
    """
    address(engine, options.get("base_url", ""))
    check_key_name(engine, options.get("api_key_env", "OPENAI_API_KEY"))
    return encode_json(dict(sorted(read_extra(engine, options.get("extra", "")).items()))).decode()


def _part(part: Any) -> str:
    """The text of a part of an answer; "" for what the model thought, and for pictures."""
    if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _count(told: Any, estimate: Callable[[], int]) -> int:
    return told if type(told) is int and 0 <= told <= _MOST_TOKENS else estimate()
