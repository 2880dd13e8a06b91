"""A server with OpenAI's chat completions and Batch API whose model is the oracle, and which misbehaves as asked.

    python tests/engines/fault_server.py --faults 0.1 --latency_ms 5 --seed 0      # its first line is its URL

    with fault_server(faults=0.1) as server:                                         # in a thread, for tests
        ... server.url ... server.served["500"] ... server.log ...

Whether a request fails, and how, depends on the seed, on what is sent, and on how often the same has been sent before:
not on the order in which requests come. So the same request, asked again, succeeds sooner or later.

Faults: see `TRANSIENT`, and in `_answer` those that a test asks for by name. A fixed `sequence` of them goes by the
order of arrival (None: no fault); after its end all is well.
"""

import asyncio
import hashlib
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from open_instruct.core.command import help_field, run
from open_instruct.engines import oracle
from open_instruct.engines.base import Request, Sampling

TRANSIENT = ("429", "429_after", "500", "503", "drop", "half", "garbage", "error_object")
MODEL = "oracle"


@dataclass
class Settings:
    port: int = help_field("to listen on; 0: any that is free", 0)
    faults: float = help_field("share of requests that fail, from 0 to 1", 0.0)
    kinds: list[str] = help_field("how they fail", list(TRANSIENT))
    latency_ms: float = help_field("before each answer", 0.0)
    retry_after: float = help_field("seconds that a 429 names", 1.0)
    slow_seconds: float = help_field("how long a slow answer takes", 30.0)
    seed: int = help_field("of the faults", 0)
    key: str = help_field("that must be sent; empty: none", "")
    window: int = help_field("words of prompt and answer together; 0: no limit", 0)
    refused_fields: list[str] = help_field("fields of a request that are refused with HTTP 400", [])
    malformed: float = help_field("share of badly written answers of the oracle", 0.0)
    batch_seconds: float = help_field("until a batch is completed", 0.0)
    batch_line_faults: float = help_field("share of a batch's requests that fail with HTTP 500", 0.0)


@dataclass
class Entry:
    """One request: when it came and when its answer left (monotonic seconds), what of, and how it failed."""

    came: float
    what: str
    body: bytes
    fault: str | None
    headers: dict[str, str]
    left: float = 0.0


@dataclass
class FaultServer:
    """The server's state.

    Attributes:
        url: base URL, up to /v1.
        served: how many requests by fault, "ok" without one.
        log: each request, in the order they came.
        batches: as the Batch API tells them, by id; `created` with the time.
        batch_ends: how the next batches end: "completed" (as also those beyond), "expired", "cancelled" or "failed".
        queue_limit: batches beyond so many that are not done fail, as the account's queue is full; 0: no limit.
    """

    settings: Settings
    sequence: Sequence[str | None] = ()
    url: str = ""
    served: Counter[str] = field(default_factory=Counter)
    log: list[Entry] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    batch_ends: list[str] = field(default_factory=list)
    queue_limit: int = 0

    def __post_init__(self) -> None:
        self._oracle = oracle.Engine(oracle.Settings(malformed=self.settings.malformed))
        self._seen: Counter[bytes] = Counter()

    def chats(self) -> list[Entry]:
        """The requests for a chat completion."""
        return [entry for entry in self.log if entry.what == "POST /v1/chat/completions"]

    async def start(self) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.settings.port, backlog=1024)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await _content(request)
        what = f"{request.method} {request.path}"
        fault = self._fault(f"{what}?{request.query_string}".encode() + body)
        entry = Entry(time.monotonic(), what, body, fault, dict(request.headers))
        self.log.append(entry)
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 1000)
        self.served[fault or "ok"] += 1
        try:
            return await self._answer(request, body, fault)
        finally:
            entry.left = time.monotonic()

    def _fault(self, what: bytes) -> str | None:
        if len(self.log) < len(self.sequence):
            return self.sequence[len(self.log)]
        if not self.settings.faults:
            return None
        name = hashlib.sha256(what).digest()
        self._seen[name] += 1
        chance = random.Random(f"{self.settings.seed} {self._seen[name]} {name.hex()}")
        return chance.choice(self.settings.kinds) if chance.random() < self.settings.faults else None

    async def _answer(self, request: web.Request, body: bytes, fault: str | None) -> web.StreamResponse:
        if fault == "drop":
            return _cut(request)
        if fault is not None and fault.startswith("429"):
            return _error(429, "Rate limit reached", "rate_limit_exceeded", self._retry_header(fault))
        if fault == "quota":
            return _error(429, "You exceeded your current quota", "insufficient_quota")
        if fault == "401":
            sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
            return _error(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
        if fault == "403_flagged":
            return _error(403, "Your input was flagged by moderation", "403")
        if fault == "400":
            return _error(400, "'temperature' is not what it was", "invalid_value")
        if fault == "400_filter":
            return _error(400, "The prompt triggered the content management policy", "content_filter")
        if fault == "302":
            return web.Response(status=302, headers={"Location": "https://elsewhere.example/v1"})
        if fault is not None and fault.isdecimal():
            return _error(int(fault), "the server says so", "")
        if fault == "garbage":
            return web.Response(body=b"<html>Bad gateway \xff", content_type="application/json")
        if fault == "array":
            return web.json_response([])
        if fault == "no_choices":
            return web.json_response({"choices": []})
        if fault == "error_object":
            return web.json_response({"error": {"message": "upstream is overloaded", "code": 502}})
        if fault == "slow":
            await asyncio.sleep(self.settings.slow_seconds)
        if fault in ("endless", "endless_gzip"):
            return await _endless(request, fault)
        answer = self._real_answer(request, body, fault)
        if fault == "half":
            return await _half(request, answer)
        if fault == "drop_after":  # done, and nobody was told
            return _cut(request)
        return answer

    def _retry_header(self, fault: str) -> dict[str, str]:
        if fault == "429_after":
            return {"Retry-After": f"{self.settings.retry_after:g}"}
        if fault == "429_date":
            until = datetime.now(UTC) + timedelta(seconds=self.settings.retry_after)
            return {"Retry-After": format_datetime(until, usegmt=True)}
        if fault == "429_ms":
            return {"Retry-After-Ms": f"{self.settings.retry_after * 1000:g}", "Retry-After": "3"}
        told = {"429_day": "86400", "429_zero": "0", "429_never": "Wed, 21 Oct 999999999999999999999 07:28:30 GMT"}
        return {"Retry-After": told[fault]} if fault in told else {}

    def _real_answer(self, request: web.Request, body: bytes, fault: str | None) -> web.Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.settings.key and sent != self.settings.key:
            return _error(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
        path = request.path.removeprefix("/v1")
        if path == "/chat/completions" and request.method == "POST":
            status, answer = self.chat(json.loads(body), fault)
            return web.json_response(answer, status=status)
        if path == "/files" and request.method == "POST":
            name = f"file-{len(self.files)}"
            self.files[name] = body
            return web.json_response({"id": name, "object": "file", "bytes": len(body), "purpose": "batch"})
        if path.startswith("/files/") and path.endswith("/content"):
            content = self.files.get(path.split("/")[2])
            return _error(404, "no such file", "") if content is None else web.Response(body=content)
        if path == "/batches" and request.method == "POST":
            return web.json_response(self._create_batch(json.loads(body)))
        if path == "/batches":
            return web.json_response(self._list_batches(request.query))
        if path.startswith("/batches/") and (batch := self.batches.get(path.split("/")[2])):
            self._work_on(batch)
            return web.json_response(batch)
        return _error(404, f"no such address: {path}", "")

    def chat(self, sent: dict[str, Any], fault: str | None = None) -> tuple[int, dict[str, Any]]:
        """HTTP status and JSON of one chat completion."""
        if sent.get("model") != MODEL:
            return 404, _told(f"The model `{sent.get('model')}` does not exist", "model_not_found")
        for name in self.settings.refused_fields:
            if name in sent:
                other = "Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                return 400, _told(f"Unsupported parameter: '{name}' is not supported. {other}", "unsupported_parameter")
        limit = sent.get("max_tokens") or sent.get("max_completion_tokens") or 1 << 20
        words = sum(len(message["content"].split()) for message in sent["messages"])
        if self.settings.window and words + limit > self.settings.window:
            return 400, _told(
                f"This model's maximum context length is {self.settings.window} tokens. However, you requested {limit} "
                f"output tokens and your prompt contains {words} input tokens, for a total of {words + limit} tokens.",
                "context_length_exceeded",
            )
        sampling = Sampling(max_tokens=limit, temperature=sent.get("temperature", 0), seed=sent.get("seed", 0))
        (done,) = self._oracle.complete([Request(0, tuple(sent["messages"]), sampling)])
        message: dict[str, Any] = {"role": "assistant", "content": done.text, "refusal": None}
        reason = done.finish_reason
        usage: dict[str, int] | None = {
            "prompt_tokens": done.prompt_tokens,
            "completion_tokens": done.completion_tokens,
            "total_tokens": done.prompt_tokens + done.completion_tokens,
        }
        if fault in ("content_filter", "length", "abort", "tool_calls", "strange"):
            reason = fault
        if fault == "length":
            message["content"] = done.text[: len(done.text) // 2]
        if fault == "refusal":
            message |= {"content": None, "refusal": "I cannot help with that."}
        if fault == "tool_calls":
            message |= {"content": None, "tool_calls": [{"id": "1", "type": "function"}]}
        if fault == "no_text":
            message["content"] = None
        if fault == "parts":
            message["content"] = [{"type": "text", "text": done.text}]
        if fault == "thoughts":
            thought = {"type": "reasoning", "text": "Let me see."}
            message["content"] = [thought, {"type": "text", "text": done.text}, {"type": "text", "text": 5}]
        if fault == "odd_usage":
            usage = {"prompt_tokens": float("nan"), "completion_tokens": 10**40}
        if fault == "no_usage":
            usage = None
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return 200, {"id": "chat-1", "object": "chat.completion", "choices": [choice], "usage": usage}

    def _create_batch(self, sent: dict[str, Any]) -> dict[str, Any]:
        batch = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "endpoint": sent["endpoint"],
            "input_file_id": sent["input_file_id"],
            "completion_window": sent["completion_window"],
            "metadata": sent.get("metadata"),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "created": time.monotonic(),
        }
        running = sum(other["status"] in ("validating", "in_progress") for other in self.batches.values())
        if self.queue_limit and running >= self.queue_limit:
            batch["status"] = "failed"
            batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
        self.batches[batch["id"]] = batch
        return batch

    def _list_batches(self, query: Any) -> dict[str, Any]:
        newest_first = list(self.batches.values())[::-1]
        names = [batch["id"] for batch in newest_first]
        start = names.index(query["after"]) + 1 if "after" in query else 0
        end = start + int(query.get("limit", 20))
        return {"object": "list", "data": newest_first[start:end], "has_more": end < len(names)}

    def _work_on(self, batch: dict[str, Any]) -> None:
        """Let a batch go on as far as it is by now."""
        if batch["status"] not in ("validating", "in_progress"):
            return
        if time.monotonic() < batch["created"] + self.settings.batch_seconds:
            batch["status"] = "in_progress"
            return
        batch["status"] = self.batch_ends.pop(0) if self.batch_ends else "completed"
        if batch["status"] == "failed":
            batch["errors"] = {"data": [{"code": "invalid_json_line", "message": "a line is no JSON", "line": 1}]}
            return
        lines = self.files[batch["input_file_id"]].splitlines()
        answered, failed = [], []
        for number, line in enumerate(lines):
            asked = json.loads(line)
            if batch["status"] != "completed" and number >= len(lines) // 2:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                failed.append({"custom_id": asked["custom_id"], "response": None, "error": error})
                continue
            chance = random.Random(f"{self.settings.seed} {batch['id']} {asked['custom_id']}").random()
            status, answer = self.chat(asked["body"])
            if chance < self.settings.batch_line_faults:
                status, answer = 500, _told("the server had an error", "server_error")
            made = {"custom_id": asked["custom_id"], "response": {"status_code": status, "body": answer}, "error": None}
            (answered if status == 200 else failed).append(made)
        random.Random(self.settings.seed).shuffle(answered)  # their order is not promised
        for name, rows in (("output_file_id", answered), ("error_file_id", failed)):
            if rows:
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def _content(request: web.Request) -> bytes:
    """The body; of a form with a file, the file."""
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    boundary = request.headers["Content-Type"].partition("boundary=")[2].strip('"')
    for part in (await request.read()).split(b"--" + boundary.encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return content.removesuffix(b"\r\n")
    return b""


def _told(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": "invalid_request_error", "param": None}}


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(_told(message, code), status=status, headers=headers)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half(request: web.Request, answer: web.Response) -> web.StreamResponse:
    body = bytes(answer.body)
    half = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


async def _endless(request: web.Request, fault: str) -> web.StreamResponse:
    answer = web.StreamResponse()
    if fault == "endless_gzip":
        answer.enable_compression(web.ContentCoding.gzip)
    await answer.prepare(request)
    with suppress(ConnectionError):
        while True:
            await answer.write(b" " * (1 << 16))
            await asyncio.sleep(0)  # what is compressed to nothing is not waited for
    return answer


@contextmanager
def fault_server(sequence: Sequence[str | None] = (), **settings: Any) -> Iterator[FaultServer]:
    """The server in a thread of its own, for the time of the block; `settings`: the fields of `Settings`."""
    server = FaultServer(Settings(**settings), sequence)
    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main(settings: Settings) -> None:
    """Serve until the process is ended, then tell what was served."""

    async def serve() -> None:
        runner = await server.start()
        print(server.url, flush=True)
        ended = asyncio.Event()
        for kind in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(kind, ended.set)
        await ended.wait()
        await runner.cleanup()

    server = FaultServer(settings)
    asyncio.run(serve())
    print(json.dumps(dict(server.served)), file=sys.stderr)


if __name__ == "__main__":
    run(main, Settings)
