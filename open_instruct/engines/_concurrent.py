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
        self._loop.set_exception_handler(_tell)

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
        failed: list[BaseException] = []
        working, waiting = in_flight, False

        def wake() -> None:
            if waiting:  # the loop may also be running for somebody else
                self._loop.stop()

        async def work() -> None:
            for request in source:
                done.append(await answer(request))
                wake()

        def ended(worker: asyncio.Task[None]) -> None:
            nonlocal working
            working -= 1
            if worker.cancelled():  # or the stream would seem to have come to its end
                failed.append(RuntimeError("the engine was closed before all its requests were answered"))
            elif worker.exception() is not None:
                failed.append(worker.exception())
            wake()

        workers = [self._loop.create_task(work()) for _ in range(in_flight)]
        for worker in workers:
            worker.add_done_callback(ended)
        try:
            while True:
                while done:
                    yield done.popleft()
                if failed:
                    raise failed[0]
                if not working:
                    return
                waiting = True
                try:
                    # Until there is news; a task that waits for it would cost more than some answers do.
                    self._loop.run_forever()
                except KeyboardInterrupt as interrupt:
                    failed.append(interrupt)
                finally:
                    waiting = False
        finally:
            self._give_up(workers)

    def give_up(self) -> None:
        """End everything that still runs: streams that nobody asks any more, what a Ctrl-C broke off."""
        self._give_up(list(asyncio.all_tasks(self._loop)))

    def close(self) -> None:
        """End the loop and everything that still runs on it."""
        if not self._loop.is_closed():
            self.give_up()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _give_up(self, tasks: list[asyncio.Task]) -> None:
        """Cancel the tasks and wait until each has put its things away."""
        if self._loop.is_closed():
            return
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))
        for task in tasks:
            if not task.cancelled():
                task.exception()  # heard: or the loop would complain that nobody did


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio says of a task's failure that nobody heard, except of a Ctrl-C: that came out of the loop at once,
    but asyncio also leaves it with the task that it struck, which may be one of the HTTP library's own."""
    if not isinstance(context.get("exception"), KeyboardInterrupt | SystemExit):
        loop.default_exception_handler(context)
