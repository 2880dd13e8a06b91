"""A judge over HTTP for tests: a server with OpenAI's chat completions whose verdicts follow a plain rule.

The longer of two responses is better, and a sentence of the instruction is a task that is done when the response has at
least as many sentences. So a test can work out what must come of it.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!])\s+", text.strip()) if part]


def between(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return found[1] if found else ""


def plain_verdict(asked: str) -> str:
    """The rule of this file, in the form that the prompt wants."""
    if '"model": "model_1"' in asked:  # alpaca_eval's own prompt
        first, second = re.findall(r'"answer": """(.*?)"""\n', asked, re.DOTALL)[-2:]
        ranks = (1, 2) if len(first) >= len(second) else (2, 1)
        return str([{"model": f"model_{n}", "rank": rank} for n, rank in enumerate(ranks, start=1)])
    if "<first_response>" in asked:
        lengths = {name: len(between(asked, f"{name}_response")) for name in ("first", "second")}
        return json.dumps({name: 1 + min(9, length // 200) for name, length in lengths.items()})
    asked_for = sentences(between(asked, "instruction")) or [""]
    given = len(sentences(between(asked, "response")))
    tasks = [{"task": one[:40] or "nothing", "done": place < given} for place, one in enumerate(asked_for[:50])]
    following = all(task["done"] for task in tasks)
    return json.dumps({"tasks": tasks, "following": following, "quality": 4 if following else 2})


class JudgeServer:
    """`url` up to /v1, `asked` all that was asked, `verdict` the rule; a test may put another in its place."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.verdict: Callable[[str], str] = plain_verdict
        self.url = ""

    @property
    def options(self) -> list[str]:
        return [f"base_url={self.url}", "model=judge"]


@contextmanager
def running() -> Iterator[JudgeServer]:
    server = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = body["messages"][-1]["content"]
            server.asked.append(asked)
            text = server.verdict(asked)
            message = {"role": "assistant", "content": text}
            tokens = {"prompt_tokens": len(asked) // 4, "completion_tokens": len(text) // 4}
            answer = json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {**tokens, "total_tokens": sum(tokens.values())},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


@pytest.fixture
def judge_server() -> Iterator[JudgeServer]:
    with running() as server:
        yield server
