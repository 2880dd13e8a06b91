"""Any server that speaks OpenAI's chat completions: OpenAI, `vllm serve`, llama.cpp, TGI, Ollama, ...

    --engine openai --engine_options model=gpt-4.1-mini
    --engine openai --engine_options model=NAME base_url=http://localhost:8000/v1

Many requests are on their way at once, from one process. A busy server, a dropped connection, half an answer or a
broken one is asked again (`_http.py`); how often that happened, by kind, stands in the progress line. The key comes
from the environment alone; a server that wants none needs none. Tokens are counted by the server; where it does not
tell them, they are estimated at 4 characters each.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from yarl import URL

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json
from open_instruct.engines import _chat
from open_instruct.engines._address import OPENAI
from open_instruct.engines._concurrent import Concurrent
from open_instruct.engines._http import Refused, Server, Trouble
from open_instruct.engines._pace import Pace
from open_instruct.engines.base import Completion, Request

# Settings that do not decide what is answered. The address is one: a model that is served from another machine tonight
# goes on with the journal of yesterday. Whoever means another model names another model. `extra` is in `content`.
SPEED_ONLY = (
    *("base_url", "in_flight", "timeout", "retries", "give_up_after", "requests_per_minute", "tokens_per_minute"),
    *("api_key_env", "max_tokens_field", "stop_after_failures", "extra"),
)


@dataclass
class Settings:
    model: str = help_field("name of the model, as the server knows it")
    base_url: str = help_field(f"address up to /v1; empty: OPENAI_BASE_URL of the environment, or {OPENAI}", "")
    in_flight: int = help_field("requests on their way at once", 256)
    timeout: float = help_field("seconds for one answer", 600.0)
    retries: int = help_field("times a request is asked again before its row is given up", 10)
    give_up_after: float = help_field("seconds that a server may be away, or answer nobody", 600.0)
    requests_per_minute: float = help_field("limit; 0: none", 0.0)
    tokens_per_minute: float = help_field(
        "limit; 0: none. A request counts its prompt at 4 characters a token, and its max_tokens, as OpenAI counts", 0.0
    )
    api_key_env: str = help_field("name of the environment variable that holds the key", "OPENAI_API_KEY")
    extra: str = help_field('more fields of each request, as JSON: {"min_p": 0.1}; null takes a field out', "")
    max_tokens_field: str = help_field("max_tokens, max_completion_tokens, or auto: what the server takes", "auto")
    stop_after_failures: int = help_field(
        "the run stops if so many requests are refused (HTTP 400) before any is answered, or given up one after "
        "another; 0: never",
        20,
    )


class Engine:
    """See `engines/base.py`.

    Raises:
        UserError: a setting is wrong, or there is no key where one is needed. No request is sent yet.
    """

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self._settings = settings
        self.troubles: Counter[str] = Counter()
        self._answered = self._refusals = self._given_up = 0  # requests; the last: in a row
        self._concurrent = Concurrent()
        self._server: Server | None = None
        try:
            self._server = self._concurrent.run(self._open())
            at_openai = self._server.url.host == URL(OPENAI).host
            self._chat = _chat.Chat("openai", settings.model, settings.extra, settings.max_tokens_field, at_openai)
        except BaseException:
            self.close()
            raise

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the completions as they come from the server."""
        return self._concurrent.stream(requests, self._answer, self._settings.in_flight)

    def post(self, path: str, bodies: Iterable[tuple[int, dict]]) -> Iterator[tuple[int, dict | str]]:
        """Send requests of another kind to the same server, for who needs more of it than chat (evaluation).

        Args:
            path: behind the base URL: "completions".
            bodies: a key that comes back, and what is sent, as JSON.

        Yields:
            Key and the server's answer, as they come; instead of an answer the reason, in words, why there is none.
        """

        async def once(body: dict) -> dict:
            return self._server.object(await self._server.ask("POST", path, data=encode_json(body), headers=_JSON))

        async def answer(keyed: tuple[int, dict]) -> tuple[int, dict | str]:
            key, body = keyed
            try:
                return key, await self._server.insist(lambda: once(body))
            except Trouble as trouble:
                return key, f"{trouble}; asked {trouble.tries} times"
            except Refused as refused:
                return key, _chat.refusal_reason(refused)

        return self._concurrent.stream(bodies, answer, self._settings.in_flight)

    def close(self) -> None:
        """Close the connections."""
        self._concurrent.give_up()  # first, or it would find its connections closed
        if self._server is not None:
            self._concurrent.run(self._server.close())
            self._server = None
        self._concurrent.close()

    async def _open(self) -> Server:
        settings = self._settings
        return Server(
            engine="openai",
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            connections=settings.in_flight,
            timeout=settings.timeout,
            retries=settings.retries,
            give_up_after=settings.give_up_after,
            pace=Pace(settings.requests_per_minute, settings.tokens_per_minute),
            troubles=self.troubles,
        )

    async def _answer(self, request: Request) -> Completion:
        """The completion, whatever it takes; a refusal that can be mended is mended and asked again."""
        limit = self._chat.first_limit(request)
        while True:
            body = self._chat.body(request, limit)
            try:
                completion = await self._ask(request, body)
                self._answered += 1
                self._given_up = 0
                return completion
            except Trouble as trouble:
                return self._give_up(request, trouble)
            except Refused as refused:
                limit = self._chat.mend(refused, body)
                if limit is None:
                    return self._refused(request, refused)

    async def _ask(self, request: Request, body: dict) -> Completion:
        data = encode_json(body)

        async def once() -> Completion:
            answer = await self._server.ask("POST", "chat/completions", data=data, headers=_JSON)
            return self._chat.completion(request, self._server.object(answer))

        # Estimated only where there is a limit: it reads the whole prompt.
        tokens = 0
        if self._settings.tokens_per_minute:
            tokens = _chat.prompt_tokens(request) + request.sampling.max_tokens
        return await self._server.insist(once, tokens)

    def _give_up(self, request: Request, trouble: Trouble) -> Completion:
        reason = f"{trouble}; asked {trouble.tries} times"
        self._given_up += 1
        if self._given_up == self._settings.stop_after_failures:
            raise UserError(
                f"engine openai: {self._given_up} requests in a row had to be given up, the last because {reason}. "
                "What is done is kept: the same command goes on from there once the server is well"
            )
        return Completion(request.key, "", "error", 0, 0, reason)

    def _refused(self, request: Request, refused: Refused) -> Completion:
        reason = _chat.refusal_reason(refused)
        if not _chat.is_about_the_row(refused):
            self._refusals += 1
            if self._refusals == self._settings.stop_after_failures and not self._answered:
                raise UserError(
                    f"engine openai: the first {self._refusals} requests were all refused ({reason}). A setting or a "
                    "field in extra may be wrong; if it is these rows alone, set stop_after_failures=0"
                )
        return Completion(request.key, "", "error", 0, 0, reason)


_JSON = {"Content-Type": "application/json"}


def content(options: dict[str, str]) -> str:
    """See `engines.identity`."""
    return _chat.content("openai", options)


def _check(settings: Settings) -> None:
    if settings.in_flight < 1:
        raise UserError(f"engine openai: in_flight is {settings.in_flight}; expected 1 or more")
    if not 0 < settings.timeout < math.inf:
        raise UserError(f"engine openai: timeout is {settings.timeout:g}; expected seconds, more than 0")
    for name in ("retries", "give_up_after", "requests_per_minute", "tokens_per_minute", "stop_after_failures"):
        if not 0 <= getattr(settings, name) < math.inf:  # "nan" and "inf" are read as numbers, too
            raise UserError(f"engine openai: {name} is {getattr(settings, name):g}; expected 0 or more")
