"""What may be shown to strangers of settings and figures: without the folders, hosts and keys of who ran it.

Called by `facts.py` for everything that stands on the page and the card, and for the statistics that are uploaded.
"""

import re
from pathlib import PurePath
from typing import Any

HIDDEN = "(address hidden)"

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s,'\"]+", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.:/])(?:~|\.{1,2})?(?:/[^/\s,'\"=]+){2,}/?")  # two parts and more: "and/or" is none
_SECRET = re.compile(r"(api_?key|password|secret|authorization|(access|auth|hf|hub)_?token)$", re.IGNORECASE)
_PUBLIC_HOSTS = ("huggingface.co", "github.com", "arxiv.org", "creativecommons.org", "doi.org")


def shareable(value: Any) -> Any:
    """`value` again (JSON-able): of each path its last part, of each address its public part or nothing, no secrets."""
    if isinstance(value, dict):
        return {
            str(key): "(hidden)" if _SECRET.search(str(key)) and item else shareable(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [shareable(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    if text.startswith(("/", "~/")) and "," not in text and "\n" not in text:
        return PurePath(text).name  # the whole is one path, which may hold spaces
    parts, done = [], 0
    for found in _ADDRESS.finditer(text):
        parts += [_without_folders(text[done : found.start()]), _address(found[0])]
        done = found.end()
    return "".join([*parts, _without_folders(text[done:])])


def _address(address: str) -> str:
    host = address.partition("://")[2].partition("/")[0].lower()
    public = any(host == one or host.endswith(f".{one}") for one in _PUBLIC_HOSTS)
    return address if public else HIDDEN


def _without_folders(text: str) -> str:
    return _PATH.sub(lambda found: PurePath(found[0]).name, text)
