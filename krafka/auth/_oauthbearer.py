"""OAUTHBEARER: a bearer token from the user's own source (RFC 7628, KIP-255, KIP-342)."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from krafka.auth._base import Auth
from krafka.auth._token import Token, TokenCache
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from krafka.auth._base import Steps

_SEPARATOR = "\x01"
_LONGEST_QUOTE = 500


def bearer_steps(token: Token, tokens: TokenCache) -> Steps:
    """One authentication with this token; one that does not succeed has the cache fetch another next time."""
    accepted = False
    try:
        extensions = "".join(f"{_SEPARATOR}{name}={text}" for name, text in token.extensions.items())
        refusal = yield f"n,,{_SEPARATOR}auth=Bearer {token.value}{extensions}{_SEPARATOR}{_SEPARATOR}".encode()
        if refusal:
            words = _own_words(bytes(refusal))
            # RFC 7628 has the client say something before the server ends the exchange with its error.
            yield _SEPARATOR.encode()
            raise AuthenticationError(f"OAUTHBEARER: the broker refused the token: {words}")
        accepted = True
    finally:
        if not accepted:
            tokens.forget(token)


def _own_words(refusal: bytes) -> str:
    """What the JSON says that a broker answers an unwelcome token with."""
    text = refusal.decode(errors="replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("status"):
        text = ", ".join(f"{name} {value}" for name, value in said.items() if value)
    return text[:_LONGEST_QUOTE]


class OAuthBearer(Auth):
    """SASL's OAUTHBEARER with tokens of a function of your own.

    `token` is called without arguments and returns a `Token`, or the token as a str. An async function runs on the
    event loop, a plain one in a thread, so that it may block. It is called for one connection at a time, and its token
    serves all connections until four fifths of its life are over; one whose end is unknown serves once. What it raises
    counts as a fault that may pass, and is retried; `AuthenticationError` ends the producer.

    A token is enough to log in, so use it with `tls` only.
    """

    mechanism = "OAUTHBEARER"
    reveals_secret = True

    def __init__(self, token: Callable[[], Token | str | Awaitable[Token | str]]) -> None:
        if isinstance(token, type | str | bytes | Token) or not callable(token):
            kind = type(token).__name__
            raise ConfigError(
                f"OAuthBearer: token must be a function that returns a token, not {kind} (its value is not shown)",
                option="auth",
            )
        self._callback = token
        self._tokens = TokenCache(self._fetch)

    def __repr__(self) -> str:
        """Where tokens come from."""
        name = getattr(self._callback, "__qualname__", type(self._callback).__qualname__)
        return f"OAuthBearer({name})"

    async def begin(self, host: str) -> Steps:
        """Wait for a token, unless one is at hand."""
        return bearer_steps(await self._tokens.current(), self._tokens)

    async def _fetch(self) -> Token:
        try:
            found = await self._call()
        except KafkaError as error:
            if error.is_retriable:
                raise ConnectionFailedError(f"OAUTHBEARER: {self!r} gave no token: {error}") from error
            raise AuthenticationError(f"OAUTHBEARER: {self!r} gave no token: {error}") from error
        except Exception as error:
            raise ConnectionFailedError(
                f"OAUTHBEARER: {self!r} raised {type(error).__name__} instead of returning a token: {error}"
            ) from error
        if not isinstance(found, Token):
            kind = type(found).__name__
            raise AuthenticationError(
                f"OAUTHBEARER: {self!r} must return krafka.auth.Token or str, got {kind} (its value is not shown)"
            )
        return found

    async def _call(self) -> Any:
        is_async = inspect.iscoroutinefunction(self._callback) or inspect.iscoroutinefunction(
            getattr(self._callback, "__call__", None)  # noqa: B004 - for its kind, not for whether it is there
        )
        found: Any
        if is_async:
            found = self._callback()
        else:
            found = await anyio.to_thread.run_sync(self._callback, abandon_on_cancel=True)
        if inspect.isawaitable(found):
            found = await found
        return Token(found) if isinstance(found, str) else found
