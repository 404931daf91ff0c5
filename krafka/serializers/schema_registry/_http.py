"""Requests to a schema registry: its addresses in turn, again where that may help, and errors for the log."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import anyio
import httpx2

from krafka._version import __version__
from krafka.errors import SchemaRegistryError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from krafka.retry import RetryPolicy

    Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

MAX_ANSWER = 16 * 1024 * 1024
"""The longest answer that is read, in bytes: schemas are some kilobytes long."""

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses after which the same request may succeed."""
_SHOWN = 200


class Address(NamedTuple):
    """One address of a registry, with the user and password for it."""

    url: httpx2.URL
    auth: tuple[str, str] | None

    def __str__(self) -> str:
        return str(self.url)


@dataclass(frozen=True, slots=True)
class Access:
    """Where a registry is, and how to get in."""

    addresses: tuple[Address, ...]
    token: Token | None
    tls: ssl.SSLContext | None
    headers: Mapping[str, str]
    timeout: float
    request_timeout: float
    retries: int
    backoff: RetryPolicy


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a registry. `purpose` completes "cannot ..." in an error's text."""

    method: str
    path: str
    purpose: str
    subject: str | None = None
    body: Mapping[str, Any] | None = None


class _AttemptError(Exception):
    """One address did not do what was asked; another, or another time, may."""

    def __init__(self, error: SchemaRegistryError) -> None:
        super().__init__(str(error))
        self.error = error


async def ask(access: Access, request: Request) -> Any:
    """The registry's answer. Raises `SchemaRegistryError`, within `access.timeout`.

    No connection outlives the call: requests are rare, and so nothing has to be closed, and a registry
    belongs to no event loop.
    """
    last: SchemaRegistryError | None = None
    asked = 0
    with anyio.move_on_after(access.timeout):
        async with _client(access) as client:
            for attempt in range(access.retries + 1):
                for address in access.addresses:
                    asked += 1
                    try:
                        return await _ask_one(client, access, request, address)
                    except _AttemptError as failed:
                        last = failed.error
                if attempt < access.retries:
                    await anyio.sleep(access.backoff.backoff(attempt, random.random()))  # noqa: S311 - jitter
    raise _given_up(access, request, last, asked)


def _given_up(
    access: Access, request: Request, last: SchemaRegistryError | None, asked: int
) -> SchemaRegistryError:
    if last is not None:
        last.args = (f"{last} (asked {asked} times)" if asked > 1 else str(last),)
        return last
    shown = ", ".join(map(str, access.addresses))
    return SchemaRegistryError(
        f"schema registry {shown} cannot {request.purpose}: no answer within timeout ({access.timeout:g} s)",
        url=str(access.addresses[0]),
        subject=request.subject,
        is_retriable=True,
    )


def _client(access: Access) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        headers={
            "Accept": f"{_MEDIA_TYPE}, application/json",
            "User-Agent": f"krafka/{__version__}",
            **access.headers,
        },
        verify=access.tls if access.tls is not None else True,
        timeout=None,  # an attempt has one clock, around all of it
    )


async def _ask_one(client: httpx2.AsyncClient, access: Access, request: Request, base: Address) -> Any:
    """One request to one address. Raises `_AttemptError` where another attempt may help."""
    headers = {}
    content = None
    if request.body is not None:
        headers["Content-Type"] = _MEDIA_TYPE
        content = json.dumps(request.body, ensure_ascii=False).encode()
    if access.token is not None:
        headers["Authorization"] = f"Bearer {await _current(access.token)}"
    url = base.url.copy_with(raw_path=base.url.raw_path.rstrip(b"/") + request.path.encode("ascii"))
    try:
        with anyio.fail_after(access.request_timeout):
            asked = client.stream(request.method, url, content=content, headers=headers, auth=base.auth)
            async with asked as response:
                answer = await _read(response, request, base)
    except TimeoutError as error:
        raise _AttemptError(
            _failure(
                request,
                base,
                f"no answer within request_timeout ({access.request_timeout:g} s)",
                retriable=True,
                cause=error,
            )
        ) from error
    except httpx2.RequestError as error:
        raise _AttemptError(
            _failure(
                request,
                base,
                _reason(error),
                retriable=True,
                cause=error,
            )
        ) from error
    return _understood(response, answer, request, base)


async def _current(token: Token) -> str:
    found = token if isinstance(token, str) else token()
    if isawaitable(found):
        return await found
    return found


async def _read(response: httpx2.Response, request: Request, base: Address) -> bytes:
    parts = []
    length = 0
    async for part in response.aiter_bytes():
        length += len(part)
        # What is too long is read to its end all the same, within the attempt's time: trio wants generators finished.
        if length <= MAX_ANSWER:
            parts.append(part)
    if length > MAX_ANSWER:
        raise _failure(
            request, base, f"its answer is longer than {MAX_ANSWER} bytes", status=response.status_code
        )
    return b"".join(parts)


def _understood(response: httpx2.Response, answer: bytes, request: Request, base: Address) -> Any:
    """What the answer says, if it says what was asked for."""
    status = response.status_code
    try:
        said = json.loads(answer)
    except ValueError as error:
        said = None
        if 200 <= status < 300:
            raise _failure(
                request,
                base,
                f"its answer is not JSON: {_shown(answer)}; is this the address of a schema registry?",
                status=status,
                cause=error,
            ) from error
    if 200 <= status < 300:
        return said
    code, message = _own_words(said)
    if message is None:
        told = f": {_shown(answer)}" if answer.strip() else ""
        told += f", it refers to {response.headers['location']}" if "location" in response.headers else ""
    else:
        told = f": {message}"
    hint = {
        401: "; check auth or token",
        403: "; the user lacks a permission in the registry",
        409: "; change the schema, or the subject's compatibility in the registry",
    }.get(status, "")
    number = "" if code is None else f", error code {code}"
    refusal = _failure(
        request,
        base,
        f"HTTP status {status}{number}{told}{hint}",
        status=status,
        code=code,
        message=message,
        retriable=status in _PASSING,
    )
    if refusal.is_retriable:
        raise _AttemptError(refusal)
    raise refusal


def _own_words(said: Any) -> tuple[int | None, str | None]:
    """The registry's code and message out of the body of an error."""
    if not isinstance(said, dict):
        return None, None
    code, message = said.get("error_code"), said.get("message")
    return (code if isinstance(code, int) else None), (message if isinstance(message, str) else None)


def _failure(
    request: Request,
    base: Address,
    reason: str,
    *,
    status: int | None = None,
    code: int | None = None,
    message: str | None = None,
    retriable: bool = False,
    cause: BaseException | None = None,
) -> SchemaRegistryError:
    error = SchemaRegistryError(
        f"schema registry {base} cannot {request.purpose}: {reason}",
        url=str(base),
        subject=request.subject,
        status=status,
        registry_code=code,
        registry_message=message,
        is_retriable=retriable,
    )
    error.__cause__ = cause
    return error


def _reason(error: BaseException) -> str:
    """What a failed connection failed by: trio's errors say nothing themselves, those behind them do."""
    found: BaseException | None = error
    while found is not None and not str(found):
        found = found.__cause__ or found.__context__
    told = error if found is None else found
    return f"{type(told).__name__}: {told}" if str(told) else type(told).__name__


def _shown(answer: bytes) -> str:
    text = answer.decode(errors="replace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
