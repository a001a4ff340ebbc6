"""From a call to a request, and from a response to an answer: what both clients do alike."""

import json
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from credence.client.attempts import FIRST_ERROR, CredenceApiError, ServiceUnreachableError, UnexpectedAnswerError
from credence.client.calls import Call, ReadContent

BLOCK_BYTES: Final = 256 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_Answer = TypeVar("_Answer")


def client_options(
    base_url: str, api_key: str | None, *, timeout_seconds: float, connect_seconds: float
) -> dict[str, Any]:
    """Return what either client of httpx is made with. Raises ``ValueError`` for a URL that cannot be asked."""
    if not base_url.startswith(("http://", "https://")):
        raise ValueError("base_url must begin with http:// or https://")
    headers = {"User-Agent": f"credence-client/{version('credence')}"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    # A redirect could lead the key to another host.
    timeout = httpx.Timeout(timeout_seconds, connect=connect_seconds, pool=connect_seconds)
    return {
        "base_url": base_url,
        "headers": headers,
        "timeout": timeout,
        "follow_redirects": False,
        # No proxy leads to this machine itself.
        "trust_env": httpx.URL(base_url).host not in _LOOPBACK,
    }


def request_options(call: Call[Any], timeout: httpx.Timeout) -> dict[str, Any]:
    """Return what ``build_request`` is called with, but for the content of an upload."""
    if call.silence_seconds is not None:
        read = max(timeout.read or call.silence_seconds, call.silence_seconds)
        timeout = httpx.Timeout(connect=timeout.connect, read=read, write=timeout.write, pool=timeout.pool)
    return {
        "method": call.method,
        "url": call.path,
        "params": call.query,
        "headers": call.headers,
        "timeout": timeout,
        **({} if call.body is None else {"json": call.body}),
    }


def is_error(response: httpx.Response) -> bool:
    """Say whether a response is none that was asked for."""
    return response.status_code >= FIRST_ERROR


def check(response: httpx.Response) -> httpx.Response:
    """Return a response, or raise ``CredenceApiError`` with the problem that has been read with it."""
    if not is_error(response):
        return response
    try:
        content = response.json()
    except ValueError:
        content = None
    raise CredenceApiError.from_answer(response.status_code, content, response.headers)


def read_answer(call: Call[_Answer], content: bytes) -> _Answer:
    """Return what a call is answered with. Raises ``UnexpectedAnswerError``."""
    return read_content(call.read, parse_json(content) if content else None)


def parse_json(content: bytes | str) -> Any:
    """Decode JSON. Raises ``UnexpectedAnswerError``."""
    return read_content(json.loads, content)


def read_content(read: ReadContent[_Answer], content: Any) -> _Answer:
    """Return what a reader makes of a content. Raises ``UnexpectedAnswerError``."""
    try:
        return read(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise UnexpectedAnswerError(f"the answer is not one that this client can read ({kind})") from error


def unreachable(error: httpx.TransportError) -> ServiceUnreachableError:
    """Return what is raised where no answer came."""
    return ServiceUnreachableError(f"the service did not answer: {type(error).__name__}")
