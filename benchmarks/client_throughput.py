"""How fast the `openai` engine asks, beside other clients, against one local server with fixed latency and no limit.

    python benchmarks/client_throughput.py

Server and clients each have a process of their own; the clients take turns. Ideal is `in_flight / latency`: 256
requests in flight, each answered after 200 ms, are 1,280 a second. Wanted: the engine at 80 % of ideal or
more, on under one core, and at least twice a thread pool over the `openai` client. The server must not be what is
measured: its own share of a core stands in the last line, and bare aiohttp shows what the machine allows.
"""

import asyncio
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice

from open_instruct.core.command import help_field, run
from open_instruct.engines.base import Request, Sampling

ENGINE, THREADS = "openai engine (ours)", "ThreadPoolExecutor over openai.OpenAI"
MODEL = "bench"
ANSWER_WORDS = 100


@dataclass
class Settings:
    requests: int = help_field("asked by each client", default=6_000)
    thread_pool_requests: int = help_field("asked by the thread pool, which takes longer", default=3_000)
    in_flight: int = help_field("requests on their way at once", default=256)
    latency_ms: float = help_field("of the server", default=200.0)
    words: int = help_field("in each prompt", default=1_200)
    repeats: int = help_field("times each client runs; the table shows the fastest", default=1)
    part: str = help_field("run this client alone, in this process; used by the bench", default="")
    url: str = help_field("of the server; used by the bench", default="")


def main(settings: Settings) -> None:
    if settings.part:
        print(json.dumps(measured(settings)))
        return
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, settings.latency_ms / 1000))
    server.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}/v1"
        rows = {name: fastest(replace(settings, part=name, url=url)) for name in CLIENTS}
        ours.send("stop")
        server_cores = ours.recv()
    finally:
        server.terminate()
        server.join()
    print_table(settings, rows, server_cores)


def print_table(settings: Settings, rows: dict[str, dict], server_cores: float) -> None:
    ideal = settings.in_flight / settings.latency_ms * 1000
    what = f"{settings.in_flight} in flight, {settings.latency_ms:g} ms, {settings.words:,} words"
    print(f"| {what} | requests/s | of ideal | cores |")
    print("| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        if "skipped" in row:
            print(f"| {name} | skipped: {row['skipped']} | | |")
        else:
            print(f"| {name} | {row['rate']:,.0f} | {row['rate'] / ideal:.2f} | {row['cores']:.2f} |")
    print(f"| ideal | {ideal:,.0f} | 1.00 | |")
    print(
        f"\nthe engine is {rows[ENGINE]['rate'] / rows[THREADS]['rate']:.1f} x the thread pool; "
        f"the server used at most {server_cores:.2f} cores"
    )


def fastest(settings: Settings) -> dict:
    """One client's figures, each time in a new process."""
    rows = []
    for _ in range(settings.repeats):
        command = [sys.executable, __file__]
        for name, value in asdict(settings).items():
            command += [f"--{name}", str(value)]
        rows.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1]))
    return max(rows, key=lambda row: row.get("rate", 0))


def measured(settings: Settings) -> dict:
    """Requests a second and cores of this process, from the first request to the last answer.

    Left out is what a process pays once: imports, and what a client does on its first call, such as compiling types.
    """
    count = settings.thread_pool_requests if settings.part == THREADS else settings.requests
    try:
        ask, close = CLIENTS[settings.part](settings)
    except (ImportError, RuntimeError) as error:
        return {"skipped": str(error).splitlines()[0]}
    stream = requests(settings.words)
    assert len(list(ask(islice(stream, 1)))) == 1
    start, cpu = time.perf_counter(), cpu_seconds()
    answers = 0
    for text in ask(islice(stream, count)):
        assert len(text.split()) == ANSWER_WORDS
        answers += 1
    seconds = time.perf_counter() - start
    cores = (cpu_seconds() - cpu) / seconds
    close()
    assert answers == count, f"{answers} answers to {count} requests"
    return {"rate": count / seconds, "cores": cores}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def requests(words: int) -> Iterator[Request]:
    """Prompts as stage 1 has them: a long part that all share, and a row of their own."""
    system = " ".join(f"word{place % 97}" for place in range(words - 20))
    number = 0
    while True:
        own = " ".join(f"row{number}" for _ in range(20))
        yield Request(
            number, ({"role": "system", "content": system}, {"role": "user", "content": own}), Sampling(512, 1.0)
        )
        number += 1


# The clients: each a function of the settings that gives two, one from requests to the texts of their answers, and one
# that closes it.
Client = tuple[Callable[[Iterator[Request]], Iterable[str]], Callable[[], None]]


def engine(settings: Settings) -> Client:
    from open_instruct.engines import open_engine

    opened = open_engine("openai", [f"model={MODEL}", f"base_url={settings.url}", f"in_flight={settings.in_flight}"])

    def close() -> None:
        assert not opened.troubles, opened.troubles
        opened.close()

    return lambda stream: (completion.text for completion in opened.complete(stream)), close


def thread_pool(settings: Settings) -> Client:
    import openai

    client = openai.OpenAI(base_url=settings.url, api_key="none")
    pool = ThreadPoolExecutor(settings.in_flight)

    def one(request: Request) -> str:
        done = client.chat.completions.create(model=MODEL, messages=list(request.messages), max_tokens=512)
        return done.choices[0].message.content

    return lambda stream: pool.map(one, stream), pool.shutdown


def async_openai(settings: Settings, over_aiohttp: bool = False) -> Client:
    import openai

    http_client = openai.DefaultAioHttpClient() if over_aiohttp else None
    client = openai.AsyncOpenAI(base_url=settings.url, api_key="none", http_client=http_client)

    async def one(request: Request) -> str:
        done = await client.chat.completions.create(model=MODEL, messages=list(request.messages), max_tokens=512)
        return done.choices[0].message.content

    return in_workers(one, settings.in_flight, client.close)


def bare_aiohttp(settings: Settings) -> Client:
    import aiohttp

    session = None
    url = f"{settings.url}/chat/completions"

    async def one(request: Request) -> str:
        nonlocal session
        if session is None:
            session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=settings.in_flight))
        body = {"model": MODEL, "messages": request.messages, "max_tokens": 512}
        async with session.post(url, json=body) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    async def close() -> None:
        await session.close()

    return in_workers(one, settings.in_flight, close)


def in_workers(one: Callable, in_flight: int, close: Callable) -> Client:
    """So many workers over one stream of requests, in a loop of their own."""
    loop = asyncio.new_event_loop()

    def ask(stream: Iterator[Request]) -> list[str]:
        texts: list[str] = []

        async def work() -> None:
            for request in stream:
                texts.append(await one(request))

        async def all_work() -> None:
            await asyncio.gather(*(work() for _ in range(in_flight)))

        loop.run_until_complete(all_work())
        return texts

    return ask, lambda: loop.run_until_complete(close())


CLIENTS = {
    ENGINE: engine,
    THREADS: thread_pool,
    "openai.AsyncOpenAI": async_openai,
    "openai.AsyncOpenAI over DefaultAioHttpClient": partial(async_openai, over_aiohttp=True),
    "bare aiohttp": bare_aiohttp,
}


class Server(asyncio.Protocol):
    """Just enough HTTP to answer each POST with the same completion; aiohttp's own server would be the bottleneck."""

    def __init__(self, latency: float) -> None:
        text = " ".join(["answer"] * ANSWER_WORDS)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1600, "completion_tokens": 130, "total_tokens": 1730}
        told = {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer = head.encode() + body
        self._latency = latency
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._missing = 0  # bytes of the request on its way; 0 while its head is not known

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._parts.append(data)
            head, end, body = b"".join(self._parts).partition(b"\r\n\r\n")
            if not end:
                return
            self._parts = []
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self._missing = int(length.split(b":")[1]) - len(body)
        if self._missing == 0:
            self._loop.call_later(self._latency, self._send)

    def _send(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._answer)


def serve(pipe, latency: float) -> None:
    """Serve in this process until told to stop; then tell the highest share of a core that any second took."""

    async def work() -> float:
        server = await asyncio.get_running_loop().create_server(lambda: Server(latency), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        highest = 0.0
        while not pipe.poll():
            start, cpu = time.perf_counter(), cpu_seconds()
            await asyncio.sleep(1)
            highest = max(highest, (cpu_seconds() - cpu) / (time.perf_counter() - start))
        return highest

    pipe.send(asyncio.run(work()))


if __name__ == "__main__":
    run(main, Settings)
