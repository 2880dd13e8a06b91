"""OpenAI's Batch API: half the price, and the answers within a day. Also at servers that have the same API.

    --engine openai-batch --engine_options model=gpt-4.1-mini state=FOLDER

The requests of a call go into files ("chunks"), each file into a batch, and when a batch ends its answers come out.
All that is in `state` (`_batch_state.py`): after a kill, the same command finds the batches that it sent and waits for
them; nothing is sent twice, and no answer that was fetched is asked again. A request is known by its key and by what
is sent, so it does not matter how a later run cuts its requests into chunks. Within one run an answer is given out
once: asked the same again, the server is asked again.

What a batch leaves unanswered (expired, cancelled, server errors) is asked again in another, `tries` times in all.
"""

import asyncio
import json
import math
import secrets
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import aiohttp
from yarl import URL

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json
from open_instruct.engines import _chat
from open_instruct.engines._address import OPENAI
from open_instruct.engines._batch_files import ENDPOINT, Chunk, line_of, lines_of, name_of, read_line
from open_instruct.engines._batch_state import BatchState, Known
from open_instruct.engines._concurrent import Concurrent
from open_instruct.engines._http import Gone, Refused, Server, Trouble
from open_instruct.engines._pace import Pace
from open_instruct.engines.base import Completion, Request

SPEED_ONLY = (  # see engines/openai.py
    *("base_url", "timeout", "retries", "give_up_after", "api_key_env", "max_tokens_field", "extra", "state"),
    *("poll_seconds", "chunk_requests", "chunk_mib", "open_batches", "stop_after_failures", "tries"),
    "completion_window",
)

_ENDED = ("completed", "failed", "expired", "cancelled")
_QUEUE_FULL = "token_limit_exceeded"
_QUEUE_TRIES = 100
_GIVEN_AT_ONCE = 1000  # what is noted of them concerns this process alone, so it may wait
_LIST_PAGES = 10  # of 100 batches, newest first: one that a killed process created is among them


@dataclass
class Settings:
    model: str = help_field("name of the model, as the server knows it")
    state: str = help_field("folder that remembers the batches; the same folder again goes on with them")
    base_url: str = help_field(f"address up to /v1; empty: OPENAI_BASE_URL of the environment, or {OPENAI}", "")
    poll_seconds: float = help_field("between two looks at the open batches", 30.0)
    chunk_requests: int = help_field("most requests in a batch; OpenAI takes 50,000", 50_000)
    chunk_mib: float = help_field("most MiB in a batch; OpenAI takes 200 MB", 180.0)
    open_batches: int = help_field("most batches at once", 4)
    stop_after_failures: int = help_field(
        "the run stops after a batch whose requests, so many or more, were all refused (HTTP 400); 0: never", 20
    )
    tries: int = help_field("batches that may end without an answer to a request before its row is given up", 3)
    completion_window: str = help_field("time that the server is given for a batch", "24h")
    timeout: float = help_field("seconds for one call, but for files, which take longer", 600.0)
    retries: int = help_field("times a failed call is made again", 10)
    give_up_after: float = help_field("seconds that a server may be away, or answer no call", 3600.0)
    api_key_env: str = help_field("name of the environment variable that holds the key", "OPENAI_API_KEY")
    extra: str = help_field('more fields of each request, as JSON: {"min_p": 0.1}; null takes a field out', "")
    max_tokens_field: str = help_field("max_tokens or max_completion_tokens; auto: the latter at OpenAI", "auto")


class Engine:
    """See `engines/base.py`.

    Raises:
        UserError: a setting is wrong, there is no key where one is needed, or another process has the state.
    """

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self._settings = settings
        self.troubles: Counter[str] = Counter()
        self._given_names: list[str] = []
        self._run = secrets.token_hex(8)
        self._most_open, self._queue_full = settings.open_batches, 0
        self._state: BatchState | None = None
        self._server: Server | None = None
        self._concurrent = Concurrent()
        try:
            self._server = self._concurrent.run(self._open())
            at_openai = self._server.url.host == URL(OPENAI).host
            self._chat = _chat.Chat(
                "openai-batch", settings.model, settings.extra, settings.max_tokens_field, at_openai
            )
            self._state = BatchState(settings.state)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections and the state; batches that are on their way stay so."""
        self._concurrent.give_up()  # a call that a Ctrl-C broke off
        if self._server is not None:
            self._concurrent.run(self._server.close())
            self._server = None
        if self._state is not None:
            self._state.close()
            self._state = None
        self._concurrent.close()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the completions batch by batch; of the requests, only `open_batches` chunks are taken at once."""
        chunk = Chunk(self._state)
        waiting: dict[int, Counter[str]] = {}  # names by the number of their batch
        try:
            for request in requests:
                body = encode_json(self._chat.body(request))
                name = name_of(body, request.key)
                known = self._state.find(name)
                if known and known.batch is not None:
                    waiting.setdefault(known.batch, Counter())[name] += 1
                elif known and known.given != self._run and (known.answer is not None or self._given_up(known)):
                    yield self._given(name, known)
                else:
                    self._add(chunk, waiting, name, line_of(name, body))
                while len(waiting) >= self._most_open:
                    yield from self._next_ended(chunk, waiting)
            while chunk.names or waiting:
                if chunk.names and len(waiting) < self._most_open:
                    self._submit(chunk, waiting)
                yield from self._next_ended(chunk, waiting)
        finally:
            chunk.discard()
            self._note_given()

    def _add(self, chunk: Chunk, waiting: dict[int, Counter[str]], name: str, line: bytes) -> None:
        settings = self._settings
        full = len(chunk.names) >= settings.chunk_requests or chunk.size + len(line) > settings.chunk_mib * 2**20
        if chunk.names and full and name not in chunk.names:
            self._submit(chunk, waiting)
        chunk.add(name, line)

    def _submit(self, chunk: Chunk, waiting: dict[int, Counter[str]]) -> None:
        number = self._state.add_batch(chunk.whole(), chunk.names)
        waiting[number] = chunk.names
        chunk.empty()
        self._concurrent.run(self._start(number))

    def _next_ended(self, chunk: Chunk, waiting: dict[int, Counter[str]]) -> Iterator[Completion]:
        """Wait until one of the batches has ended, give out its answers, and put what has none into the chunk."""
        number, batch = self._concurrent.run(self._wait(list(waiting)))
        names = waiting.pop(number)
        asked = self._state.names(number)  # also those that only an earlier process asked for
        answers, counts = self._concurrent.run(self._fetch(asked, batch))
        self._check_refusals(answers)
        rest = self._state.end(number, answers, counts)
        self._check_failed(batch, bool(waiting))
        again = Counter({n: names[n] for n in rest if names[n] and not self._given_up(self._state.find(n))})
        for name, times in names.items():
            if name not in again:
                for _ in range(times):
                    yield self._given(name, self._state.find(name))
        for name, line in lines_of(self._state, number, again):
            for _ in range(again.pop(name)):
                self._add(chunk, waiting, name, line)
        self._state.drop_chunk(number)
        for name, times in again.items():  # somebody removed the chunk
            for _ in range(times):
                yield self._given(name, self._state.find(name))

    def _given_up(self, known: Known) -> bool:
        return known.tries >= self._settings.tries

    def _note_given(self) -> None:
        if self._state is not None:
            self._state.give(self._given_names, self._run)
        self._given_names = []

    def _given(self, name: str, known: Known) -> Completion:
        self._given_names.append(name)
        if len(self._given_names) >= _GIVEN_AT_ONCE:
            self._note_given()
        key = int(name.partition("-")[2])
        if known.answer is None:
            return Completion(key, "", "error", 0, 0, f"{known.tries} batches ended without an answer")
        return Completion(key, *json.loads(known.answer))

    def _check_failed(self, batch: dict[str, Any], others: bool) -> None:
        """Stop after a batch that was not taken at all: no other would be. But a full queue empties itself."""
        if batch["status"] != "failed":
            self._queue_full = 0
            return
        code, words = _why_failed(batch)
        if code != _QUEUE_FULL:
            raise UserError(
                f"engine openai-batch: the server did not take a batch: {self._server.clean(words)}. Mend that and run "
                "the same command again"
            )
        self.troubles["queue full"] += 1
        self._most_open = max(1, self._most_open - 1)
        self._queue_full += not others
        if self._queue_full > _QUEUE_TRIES:
            raise UserError(
                f"engine openai-batch: the account's queue stays full: {self._server.clean(words)}. If a whole batch "
                "is more than it holds, set a smaller chunk_requests"
            )
        if not others:
            self._concurrent.run(asyncio.sleep(self._settings.poll_seconds))

    async def _open(self) -> Server:
        settings = self._settings
        return Server(
            engine="openai-batch",
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            connections=4,
            timeout=settings.timeout,
            retries=settings.retries,
            give_up_after=settings.give_up_after,
            pace=Pace(),
            troubles=self.troubles,
        )

    async def _start(self, number: int) -> str:
        """Upload a chunk and create its batch, as far as an earlier process has not; the batch's id."""
        file_id, batch_id = self._state.ids(number)
        if batch_id:
            return batch_id
        # A batch may have been created by a process that was killed before it could note its id. Its file is its alone.
        look_first = file_id is not None
        if file_id is None:
            file_id = await self._call(lambda: self._upload(number))
            self._state.set_file(number, file_id)

        async def create() -> str:
            nonlocal look_first
            if look_first and (found := await self._created(file_id)):
                return found
            look_first = True  # if this call breaks off, the batch may be there all the same
            body = {
                "input_file_id": file_id,
                "endpoint": ENDPOINT,
                "completion_window": self._settings.completion_window,
            }
            return _text(self._server.object(await self._server.ask("POST", "batches", json=body)), "id")

        batch_id = await self._call(create)
        self._state.set_batch(number, batch_id)
        print(f"engine openai-batch: batch {batch_id} is on its way", file=sys.stderr)
        return batch_id

    async def _call(self, once) -> Any:
        """The result of a call that the whole run depends on."""
        try:
            return await self._server.insist(once)
        except (Trouble, Refused) as error:
            raise self._stopped(error) from error

    def _stopped(self, error: Exception) -> UserError:
        return UserError(
            f"engine openai-batch: {self._server.url}: {error}. What was sent is kept in {self._settings.state}: "
            "the same command goes on from there"
        )

    def _unknown(self, what: str, error: Exception) -> UserError:
        return UserError(
            f"{error}. {self._settings.state} remembers {what} there: are base_url and the key's account the same as "
            "then? If it was removed at the server, remove that folder; its open requests are then asked and paid again"
        )

    async def _upload(self, number: int) -> str:
        try:
            file = self._state.chunk(number).open("rb")
        except OSError as error:
            raise UserError(
                f"{self._state.chunk(number)}: {error.strerror}. Part of the state is gone: name another state folder"
            ) from error
        with file:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", file, filename=f"{number}.jsonl", content_type="application/jsonl")
            timeout = aiohttp.ClientTimeout(total=max(3600.0, self._settings.timeout))
            body = await self._server.ask("POST", "files", data=form, timeout=timeout)
        return _text(self._server.object(body), "id")

    async def _created(self, file_id: str) -> str | None:
        """The batch that was made of a file, if there is one."""
        query: dict[str, str] = {"limit": "100"}
        for _ in range(_LIST_PAGES):
            page = self._server.object(await self._server.ask("GET", "batches", params=query))
            batches = page.get("data") or []
            for batch in batches:
                if batch.get("input_file_id") == file_id:
                    return _text(batch, "id")
            if not batches or not page.get("has_more"):
                break
            query["after"] = batches[-1]["id"]
        return None

    async def _wait(self, numbers: list[int]) -> tuple[int, dict[str, Any]]:
        """The first of the batches that has ended, as the server tells it."""
        pause = min(1.0, self._settings.poll_seconds)
        while True:
            for number in numbers:
                batch_id = await self._start(number)
                try:
                    batch = await self._call(lambda batch_id=batch_id: self._batch(batch_id))
                except Gone as error:
                    raise self._unknown(f"batch {batch_id}", error) from error
                if batch["status"] in _ENDED:
                    return number, batch
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.poll_seconds)

    async def _batch(self, batch_id: str) -> dict[str, Any]:
        batch = self._server.object(await self._server.ask("GET", f"batches/{batch_id}"))
        _text(batch, "status")
        return batch

    async def _fetch(self, names: Container[str], batch: dict[str, Any]) -> tuple[dict[str, str], bool]:
        """The answers that an ended batch brought to the requests `names`, as `_state` keeps them; and whether it was a
        try for the others."""
        answers: dict[str, str] = {}
        for field in ("output_file_id", "error_file_id"):
            if isinstance(file_id := batch.get(field), str):
                answers |= await self._download(file_id, names)
        return answers, batch["status"] != "failed"

    def _check_refusals(self, answers: dict[str, str]) -> None:
        """Stop if a wrong setting is behind a batch's errors, before the next batch has them too."""
        enough = self._settings.stop_after_failures
        if enough and len(answers) >= enough and all(_chat.REFUSED in answer for answer in answers.values()):
            reason = json.loads(next(iter(answers.values())))[-1]
            raise UserError(
                f"engine openai-batch: all {len(answers):,} answers of a batch are refusals ({reason}). A setting or a "
                "field in extra may be wrong; if it is these rows alone, set stop_after_failures=0"
            )

    async def _download(self, file_id: str, names: Container[str]) -> dict[str, str]:
        """The answers in an output or error file. It is fetched again before a line that cannot be read is left out."""
        answers: dict[str, str] = {}
        troubles: Counter[str] = Counter()

        async def once() -> None:
            answers.clear()
            troubles.clear()
            unreadable = 0

            def take(line: bytes) -> None:
                nonlocal unreadable
                told = read_line(line)
                unreadable += told is None and bool(line.strip())
                if told and told[0] in names:
                    try:
                        answers[told[0]] = json.dumps(astuple(self._read(*told[1:]))[1:])
                    except Trouble as trouble:
                        troubles[trouble.kind] += 1

            await self._server.download(f"files/{file_id}/content", take)
            if unreadable:
                raise Trouble("garbage", f"{unreadable} lines of a file of answers cannot be read")

        try:
            await self._server.insist(once)
        except (Trouble, Refused) as error:
            if not isinstance(error, Trouble) or error.kind != "garbage":
                raise self._stopped(error) from error
        except Gone as error:
            raise self._unknown("a file of answers", error) from error
        self.troubles.update(troubles)
        return answers

    def _read(self, key: int, told: dict[str, Any]) -> Completion:
        """What one line of an output or error file tells.

        Raises:
            Trouble: no answer, so that the request is worth asking again.
        """
        response = told.get("response")
        response = response if isinstance(response, dict) else {}
        status, body = response.get("status_code"), response.get("body")
        if status == 200 and isinstance(body, dict):
            return self._chat.completion(Request(key, ()), body)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429):
            refused = Refused(status, *self._server.words(body if isinstance(body, dict) else {}))
            return Completion(key, "", "error", 0, 0, _chat.refusal_reason(refused))
        error = told.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        raise Trouble(str(code or status or "no answer")[:80], "the batch has no answer to it")


def _text(answer: dict[str, Any], name: str) -> str:
    if not isinstance(answer.get(name), str):
        raise Trouble("garbage", f"the server's answer has no {name}")
    return answer[name]


def _why_failed(batch: dict[str, Any]) -> tuple[str, str]:
    """The code of a batch's first error, and what the server says."""
    try:
        error = batch["errors"]["data"][0]
        where = f" (line {error['line']})" if error.get("line") else ""
        return str(error.get("code")), f"{error.get('message')}{where}"
    except (KeyError, IndexError, TypeError, AttributeError):
        return "", "it does not say why"


def content(options: dict[str, str]) -> str:
    """See `engines.identity`."""
    return _chat.content("openai-batch", options)


def _check(settings: Settings) -> None:
    for name in ("poll_seconds", "chunk_requests", "chunk_mib", "open_batches", "tries", "timeout"):
        if not 0 < getattr(settings, name) < math.inf:
            raise UserError(f"engine openai-batch: {name} is {getattr(settings, name):g}; expected more than 0")
    for name in ("retries", "give_up_after"):
        if not 0 <= getattr(settings, name) < math.inf:
            raise UserError(f"engine openai-batch: {name} is {getattr(settings, name):g}; expected 0 or more")
    if not settings.state:
        raise UserError("engine openai-batch: state is empty; expected a folder")
