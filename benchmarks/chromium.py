"""A headless Chromium that opens a local page, for measuring and testing it: over its debugging pipe, with no package.

Used by `benchmarks/report.py` and `tests/eval/test_page.py`. The protocol is Chromium's (DevTools Protocol): JSON
messages, each ended by a zero byte, written to file descriptor 3 of the browser and read from its 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "google-chrome", "chromium-browser")


def executable() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Chromium:
    """One page in one browser, which ends with the `with` block."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False, seconds: float = 120):
        """Start the browser.

        Args:
            width, height: of the window, in CSS pixels.
            dark: whether the reader prefers dark colours.
            seconds: after which an answer that has not come is a failure.
        """
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        flags += ["--disable-dev-shm-usage", f"--user-data-dir={self._folder.name}", "--remote-debugging-pipe"]
        self._browser = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "_", executable(), *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._left, self._number, self._session = b"", 0, ""
        self._loaded: set[str] = set()  # documents, by their loader's name
        try:
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._ask("Page.enable")
            self._ask("Page.setLifecycleEventsEnabled", enabled=True)
            self._ask(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            if dark:
                self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.terminate()
        try:
            self._browser.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._browser.kill()
            self._browser.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def open(self, page: Path) -> None:
        """Load a page, to its load event."""
        loader = self._ask("Page.navigate", url=page.resolve().as_uri())["loaderId"]
        while loader not in self._loaded:  # what is asked before may still be answered by the document that goes
            self._next()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for.

        Raises:
            RuntimeError: the script threw.
        """
        told = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(json.dumps(told["exceptionDetails"].get("exception", told["exceptionDetails"]))[:2000])
        return told["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true.

        Raises:
            TimeoutError: it does not become true.
        """
        deadline = time.monotonic() + self._seconds
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and let go a key, as a reader does: "j", "ArrowDown"."""
        text = {"text": key} if len(key) == 1 else {}
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what the window shows, or the whole page, as PNG."""
        told = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            found = self._next()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._seconds
        pieces = [self._left]
        while b"\0" not in pieces[-1]:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._in, 1 << 20) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer")
            pieces.append(piece)
        message, _, self._left = b"".join(pieces).partition(b"\0")
        found = json.loads(message)
        if found.get("method") == "Page.lifecycleEvent" and found["params"]["name"] == "load":
            self._loaded.add(found["params"]["loaderId"])
        return found
