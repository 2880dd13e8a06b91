"""Many requests on their way at once, for engines that wait for somebody else's answers (HTTP, vLLM's own process).

`complete` is a plain iterator; an event loop of the engine's own runs underneath while somebody asks for the next
completion. What arrives meanwhile waits in the sockets.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from open_instruct.engines.base import Completion, Request

T = TypeVar("T")


class Concurrent:
    """An event loop that answers requests; `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of `coroutine`, for opening and closing what `answer` needs."""
        return self._loop.run_until_complete(coroutine)

    def stream(
        self, requests: Iterable[Request], answer: Callable[[Request], Awaitable[Completion]], in_flight: int
    ) -> Iterator[Completion]:
        """Yield the answers in the order they come, with at most `in_flight` on their way.

        What `answer` or `requests` raises is raised here, after everything that was answered before has been yielded;
        what is still on its way is given up then, and also when the caller stops asking.
        """
        source = iter(requests)
        done: deque[Completion] = deque()
        news = asyncio.Event()

        async def work() -> None:
            try:
                for request in source:
                    done.append(await answer(request))
                    news.set()
            finally:
                news.set()

        async def wait_for_news() -> None:
            await news.wait()
            news.clear()

        workers = [self._loop.create_task(work()) for _ in range(in_flight)]
        try:
            while True:
                failed = next((w for w in workers if w.done() and w.exception() is not None), None)
                while done:
                    yield done.popleft()
                if failed is not None:
                    failed.result()
                if all(worker.done() for worker in workers):
                    return
                self._loop.run_until_complete(wait_for_news())
        finally:
            for worker in workers:
                worker.cancel()
            if not self._loop.is_closed():
                self._loop.run_until_complete(asyncio.gather(*workers, return_exceptions=True))

    def close(self) -> None:
        """End the loop."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
