"""When the next request may leave: limits a minute, and the pauses that a busy server asks for.

One `Pace` stands before one server. Requests leave evenly spaced rather than in bursts, so that no window of a minute
holds more than the limit wherever the server's own minute begins.
"""

import asyncio
import time

_BELOW = 0.98  # of a limit: the way through the network moves requests together


class Pace:
    """Args:
    requests_per_minute, tokens_per_minute: limits; 0 for none.
    """

    def __init__(self, requests_per_minute: float = 0, tokens_per_minute: float = 0) -> None:
        self._seconds_a_request = 60 / (requests_per_minute * _BELOW) if requests_per_minute else 0.0
        self._seconds_a_token = 60 / (tokens_per_minute * _BELOW) if tokens_per_minute else 0.0
        self._next = 0.0  # when the limits let the next one leave
        self._paused_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a request that counts `tokens` may leave. The waiting leave in the order they came."""
        while True:
            now = time.monotonic()
            start = max(now, self._paused_until, self._next)
            if self._seconds_a_request or self._seconds_a_token:
                self._next = start + max(self._seconds_a_request, tokens * self._seconds_a_token)
            if start > now:
                await asyncio.sleep(start - now)
            if start >= self._paused_until:  # or a pause began meanwhile, and the turn is lost
                return

    def pause(self, seconds: float) -> None:
        """Nothing leaves for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    @property
    def paused(self) -> bool:
        """Whether a pause is on."""
        return time.monotonic() < self._paused_until
