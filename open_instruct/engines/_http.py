"""One OpenAI-compatible server: sends a request to it until there is an answer, and knows when to stop trying.

Used by `openai` and `openai_batch`. What comes back sorts into three:

- `Trouble`: worth asking again (busy, broken, cut off). `Server.insist` does so, with pauses that grow and are random
  ("full jitter"), or as long as the server asks for. When the server asks for a pause, all requests to it pause.
- `Refused`: this request will never be answered.
- `UserError`: no request will be: a wrong key, model or address, no money left, a server that is gone.

The key stands in the request's header alone; where a server's words repeat it, it is cut out. Certificates are taken
from SSL_CERT_FILE, where that is set; address, key and proxy: see `_address.py`.
"""

import asyncio
import json
import math
import random
import re
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from open_instruct.core.errors import UserError
from open_instruct.engines._address import KEY_LIKE, address, key, proxy
from open_instruct.engines._pace import Pace

T = TypeVar("T")

_FIRST_PAUSE = 0.5  # seconds: the longest first pause; doubles with each try
_LONGEST_PAUSE = 60.0
_LONGEST_WAIT = 3600.0  # a server that asks for more is out of quota for today
_CONNECT_SECONDS = 30.0
_BUSY_SHARE = 0.2  # of a try: refused as busy while others are answered is a queue, not a fault
_LARGEST = 8 * 2**20  # bytes of one answer, or of a line in a file of answers; whatever is longer never ends


class Trouble(Exception):
    """Worth asking again.

    Attributes:
        kind: for the counts: "429", "timeout", ...
        wait: seconds the server asks for; None if it does not say.
        tries: how often the request was sent, when `Server.insist` gives it up.
    """

    tries = 1

    def __init__(self, kind: str, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.kind, self.wait = kind, wait


class Refused(Exception):
    """The server will not answer this request; its words, and `code`, its name for the reason ("" without one)."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status, self.code = status, code


class Gone(UserError):
    """The server knows no such model, address, batch or file (HTTP 404)."""


class Server:
    """Make it within the running loop that asks it.

    Args:
        engine: its name, for messages.
        base_url: without the last part: https://api.openai.com/v1; "" for OPENAI_BASE_URL, or else OpenAI's.
        api_key_env: name of the environment variable that holds the key.
        connections: most at once.
        timeout: seconds for one answer.
        retries: times that a request is asked again; more often as long as nobody is answered, up to `give_up_after`.
        give_up_after: seconds without any connection after which the run stops.
        pace: limits a minute.
        troubles: what was got over, by kind; counted here.

    Raises:
        UserError: the address or the key cannot be used.
    """

    def __init__(
        self,
        engine: str,
        base_url: str,
        api_key_env: str,
        connections: int,
        timeout: float,
        retries: int,
        give_up_after: float,
        pace: Pace,
        troubles: Counter[str],
    ) -> None:
        self._engine = engine
        self.url = address(engine, base_url)
        self._key = key(engine, api_key_env, self.url)
        self._key_env = api_key_env
        self._timeout, self._retries, self._give_up_after = timeout, retries, give_up_after
        self._pace, self._troubles = pace, troubles
        self._served = 0  # answers to what was asked
        self._busy = 0  # pauses for want of room since the last answer
        self._gone_since: float | None = None
        self._urls: dict[str, URL] = {}
        # aiohttp's trust_env would look the proxy up, and read ~/.netrc, for each request anew.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(_CONNECT_SECONDS, timeout)),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            proxy=proxy(engine, self.url),
        )

    async def close(self) -> None:
        await self._session.close()

    async def insist(self, once: Callable[[], Awaitable[T]], tokens: int = 0) -> T:
        """The result of `once`, called again after each `Trouble`.

        Args:
            tokens: that one call counts against the limit a minute.

        Raises:
            Trouble: the last one, when no try is left.
            Refused, UserError: see above.
        """
        spent, tries = 0.0, 0
        begun, served_at_first = time.monotonic(), self._served
        served = served_at_first  # when this request last failed
        while True:
            await self._pace.turn(tokens)
            try:
                result = await once()
            except Trouble as trouble:
                self._troubles[trouble.kind] += 1
                tries += 1
                if trouble.kind == "no connection" and self._gone_since is not None:
                    pass  # the server as a whole is away: `give_up_after` bounds that
                elif trouble.kind == "429" and self._served > served:
                    spent += _BUSY_SHARE
                else:
                    spent += 1
                served = self._served
                # While nobody is answered, the fault is the server's and not this request's: it may come back.
                alone = self._served > served_at_first or time.monotonic() - begun >= self._give_up_after
                if spent > self._retries and alone:
                    trouble.tries = tries
                    raise
                await asyncio.sleep(self._pause(trouble, tries))
            else:
                self._served += 1
                self._busy = 0
                return result

    def _pause(self, trouble: Trouble, tries: int) -> float:
        """How long this request waits before its next try; where the server is busy, everybody waits a little."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries - 1, 20))
        if trouble.wait:  # 0 is no pause to keep to: then ours, which grow
            if trouble.wait > _LONGEST_WAIT:
                raise UserError(
                    f"engine {self._engine}: {self.url} asks to wait {trouble.wait / 3600:.1f} hours ({trouble}). What "
                    "is done is kept: the same command goes on from there then"
                )
            self._pace.pause(trouble.wait)
            # The others begin at once when the pause ends; those that were refused, a little after one another.
            return trouble.wait + random.uniform(0, min(longest, 1.0))
        if trouble.kind == "429" and not self._pace.paused:  # what left before the pause is no news
            self._busy += 1
            self._pace.pause(min(_LONGEST_PAUSE, _FIRST_PAUSE / 8 * 2 ** min(self._busy - 1, 10)))
        return random.uniform(0, longest)

    async def ask(self, method: str, path: str, **content: Any) -> bytes:
        """One request, one try: the body of the answer.

        Args:
            path: behind the base URL: "chat/completions".
            content: what `aiohttp` sends: data=, json=, params=, headers=.

        Raises:
            Trouble, Refused, UserError: see above.
        """
        try:
            async with self._session.request(method, self._url(path), allow_redirects=False, **content) as response:
                self._answered()
                body = await _whole(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise self._network_trouble(error) from None
        if 200 <= response.status < 300:
            return body
        raise self._bad_status(response.status, response.headers, body)

    async def download(self, path: str, take: Callable[[bytes], None]) -> None:
        """Hand each line of a large answer to `take`; one try, which must start anew after a `Trouble`.

        Raises:
            Trouble, Refused, UserError: see above.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._timeout)
        try:
            async with self._session.get(self._url(path), timeout=timeout) as response:
                self._answered()
                if response.status != 200:
                    raise self._bad_status(response.status, response.headers, await _whole(response))
                rest = b""
                async for block in response.content.iter_any():
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        take(line)
                    if len(rest) > _LARGEST:
                        raise _too_large()
                take(rest)
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise self._network_trouble(error) from None

    def object(self, body: bytes) -> dict[str, Any]:
        """The JSON object that `body` is.

        Raises:
            Trouble: it is none, or it holds an error under a good status, as some proxies send it.
        """
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            start = self.clean(body[:2000].decode(errors="replace"))[:80]
            raise Trouble("garbage", f"the server's answer is no JSON: {start!r}") from None
        if not isinstance(value, dict):
            raise Trouble("garbage", "the server's answer is no JSON object")
        if value.get("error"):
            raise Trouble("error in answer", f"the server answered with an error: {self.words(value)[1]}")
        return value

    def clean(self, text: str) -> str:
        """A server's words on one line, shortened, without the key."""
        if self._key:
            text = text.replace(self._key, "(key)")
        text = " ".join(KEY_LIKE.sub("(key)", text).split())
        return text if len(text) <= 300 else f"{text[:300]}..."

    def _url(self, path: str) -> URL:
        if path not in self._urls:
            if len(self._urls) > 1000:  # a batch has addresses of its own
                self._urls.clear()
            self._urls[path] = (self.url / path).with_query(self.url.query)  # Azure has its version there
        return self._urls[path]

    def _answered(self) -> None:
        self._gone_since = None

    def _network_trouble(self, error: Exception) -> Trouble:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            raise UserError(
                f"engine {self._engine}: the certificate of {self.url} is not trusted "
                f"({self.clean(str(error.__cause__ or error))}). "
                "If it is your own server's, name a file with its certificate in SSL_CERT_FILE"
            ) from None
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | ConnectionRefusedError):
            return self._no_connection(error)
        if isinstance(error, TimeoutError):
            return Trouble("timeout", f"no answer within {self._timeout:g} seconds")
        if isinstance(error, aiohttp.ClientPayloadError):
            return Trouble("half answer", "the connection ended in the middle of the answer")
        return Trouble("dropped connection", f"the connection ended without an answer ({type(error).__name__})")

    def _no_connection(self, error: Exception) -> Trouble:
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
            print(
                f"engine {self._engine}: no connection to {self.url}; trying on for {self._give_up_after:g} seconds",
                file=sys.stderr,
            )
        words = self.clean(str(error)) or type(error).__name__
        if (gone := now - self._gone_since) >= self._give_up_after:
            raise UserError(
                f"engine {self._engine}: no connection to {self.url} for {gone:.0f} seconds ({words}). "
                "Is the server running, and base_url right? What is done is kept: the same command goes on from there"
            )
        return Trouble("no connection", f"no connection to the server ({words})")

    def _bad_status(self, status: int, headers: Any, body: bytes) -> Trouble | Refused:
        code, words = self.words(body)
        told = f"HTTP {status}: {words}" if words else f"HTTP {status}"
        if status in (408, 409, 425, 429) or status >= 500:
            if code == "insufficient_quota":
                raise UserError(f"engine {self._engine}: the account has no quota left ({told})")
            return Trouble(str(status), f"the server answers {told}", _wait(headers))
        if status == 401 or (status == 403 and not re.search(r"moderat|flagged|content.?filter", f"{code} {words}")):
            about = "is refused" if self._key else "is not set, and the server wants a key"
            raise UserError(
                f"engine {self._engine}: the key in {self._key_env} {about}, or may not use this model ({told})"
            )
        if status == 402:
            raise UserError(f"engine {self._engine}: the account has no money left ({told})")
        if status in (404, 405):
            raise Gone(
                f"engine {self._engine}: {self.url} does not know this model or address ({told}). Mend model or "
                "base_url; the latter ends in /v1 at most servers"
            )
        if status < 400:
            place = self.clean(headers.get("Location", "another address"))
            raise UserError(f"engine {self._engine}: {self.url} sends us to {place} (HTTP {status}). Mend base_url")
        return Refused(status, code, words or f"HTTP {status}")

    def words(self, answer: bytes | dict[str, Any]) -> tuple[str, str]:
        """The error's code, and what the server says; each has its own form."""
        try:
            value = json.loads(answer) if isinstance(answer, bytes) else answer
        except (ValueError, RecursionError):
            return "", self.clean(answer[:2000].decode(errors="replace"))
        error = value
        if isinstance(value, dict):
            error = value.get("error") or value.get("detail") or value
        if isinstance(error, dict):
            words = error.get("message") or error.get("detail") or json.dumps(error)
            return str(error.get("code") or error.get("type") or ""), self.clean(str(words))
        return "", self.clean(error if isinstance(error, str) else json.dumps(error))


def _wait(headers: Any) -> float | None:
    """Seconds until the server wants to be asked again, from its headers.

    `retry-after-ms` as OpenAI sends it; `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), which is
    counted from the server's own clock, where it tells that.
    """
    text = headers.get("Retry-After", "")
    for seconds, unit in ((headers.get("retry-after-ms", ""), 1000), (text, 1)):
        try:
            if math.isfinite(wait := float(seconds) / unit):
                return max(0.0, wait)
        except ValueError:
            pass
    until, now = _time(text), _time(headers.get("Date", ""))
    return None if until is None else max(0.0, until - (time.time() if now is None else now))


def _time(date: str) -> float | None:
    """Seconds since 1970; None if it is no date."""
    try:
        return parsedate_to_datetime(date.strip()).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, unless it is beyond what any answer can be: so many on their way at once would fill the memory."""
    if (response.content_length or 0) > _LARGEST:
        raise _too_large()
    if response.content_length is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > _LARGEST:
            raise _too_large()
    return bytes(body)


def _too_large() -> Trouble:
    return Trouble("too large", f"the server's answer is longer than {_LARGEST >> 20} MiB")
