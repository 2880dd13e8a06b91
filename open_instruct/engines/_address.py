"""Where a server is, and what opens it: base URL, key and proxy, each checked before anything is sent.

No secret may stand in a setting, since settings end in logs and in run.json: the key is read from the environment
alone, and proxies from HTTPS_PROXY and its like. No message repeats what may be a secret.
"""

import os
import re
import urllib.request

from yarl import URL

from open_instruct.core.errors import UserError

OPENAI = "https://api.openai.com/v1"
KEY_LIKE = re.compile(r"\b(?:sk|hf|gsk|xai)[-_][\w*.-]{6,}")  # also half hidden, as OpenAI repeats it

_SECRET_PARAMETER = re.compile(r"key|token|secret|sig|password", re.IGNORECASE)


def address(engine: str, base_url: str) -> URL:
    """The base URL, checked.

    Raises:
        UserError: it is none, or holds a secret, which would end in logs.
    """
    text = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).strip()
    try:
        url = URL(text.rstrip("/"))
        usable = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f"engine {engine}: base_url is no http:// or https:// address; expected such as {OPENAI}")
    secret_parameter = any(_SECRET_PARAMETER.search(name) for name in url.query)
    if url.user or url.password or secret_parameter or KEY_LIKE.search(text):
        raise UserError(f"engine {engine}: base_url holds a secret; put it into an environment variable (api_key_env)")
    return url


def check_key_name(engine: str, api_key_env: str) -> None:
    """Refuse a key where the name of its variable belongs; the message does not repeat it.

    Many keys would do as a name; hardly any has capital letters alone.
    """
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,60}", api_key_env):
        raise UserError(
            f"engine {engine}: api_key_env must be the NAME of an environment variable in capital letters, such as "
            "OPENAI_API_KEY; export the key under that name"
        )


def key(engine: str, api_key_env: str, url: URL) -> str:
    """What the environment holds; "" at a server that may want none.

    Raises:
        UserError: there is none where one is needed, or it cannot be one.
    """
    check_key_name(engine, api_key_env)
    value = os.environ.get(api_key_env, "").strip()
    if not value and (api_key_env != "OPENAI_API_KEY" or url.host == URL(OPENAI).host):
        raise UserError(
            f"engine {engine}: no key: the environment variable {api_key_env} is not set (export {api_key_env}=...; "
            "base_url=ADDRESS names a server of your own, which may want none)"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UserError(
            f"engine {engine}: what {api_key_env} holds is no key: it has spaces, line ends or letters beyond ASCII"
        )
    return value


def proxy(engine: str, url: URL) -> URL | None:
    """HTTPS_PROXY or HTTP_PROXY of the environment, unless NO_PROXY names the host.

    Raises:
        UserError: it is no address of a kind that can be used.
    """
    text = urllib.request.getproxies().get(url.scheme)
    if not text or urllib.request.proxy_bypass(url.host):
        return None
    try:
        found = URL(text if "://" in text else f"http://{text}")
        usable = found.scheme in ("http", "https") and bool(found.host)
    except ValueError:
        usable = False
    if not usable:
        raise UserError(
            f"engine {engine}: the environment's {url.scheme.upper()}_PROXY is no address of an HTTP proxy; expected "
            "such as http://HOST:PORT. Mend it, or name the server in NO_PROXY"
        )
    return found
