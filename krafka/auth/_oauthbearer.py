"""OAUTHBEARER: a bearer token from the user's own source (RFC 7628, KIP-255, KIP-342)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from krafka.auth._base import Auth
from krafka.auth._callback import result_of
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
        self._callback = token
        self._tokens = TokenCache(self._fetch)
        kind = type(token).__name__
        is_function = _is_function(token)
        del token  # so that no traceback shows it
        if not is_function:
            raise ConfigError(
                f"OAuthBearer: token must be a function that returns a token, not {kind} (its value is not shown)",
                option="auth",
            )

    def __repr__(self) -> str:
        """Where tokens come from."""
        name = getattr(self._callback, "__qualname__", type(self._callback).__qualname__)
        return f"OAuthBearer({name})"

    async def begin(self, host: str) -> Steps:
        """Wait for a token, unless one is at hand."""
        return bearer_steps(await self._tokens.current(), self._tokens)

    async def _fetch(self) -> Token:
        try:
            token = _as_token(await result_of(self._callback))
        except KafkaError as error:
            kind = ConnectionFailedError if error.is_retriable else AuthenticationError
            raise kind(f"OAUTHBEARER: {self!r} gave no token: {error}") from error
        except Exception as error:
            raise ConnectionFailedError(
                f"OAUTHBEARER: {self!r} raised {type(error).__name__} instead of returning a token: {error}"
            ) from error
        if isinstance(token, str):
            raise AuthenticationError(f"OAUTHBEARER: {self!r} {token}")
        return token


def _is_function(token: object) -> bool:
    return callable(token) and not isinstance(token, type)


def _as_token(found: object) -> Token | str:
    """The token, or what is wrong with what was returned; raised by who has no variable with it."""
    if isinstance(found, Token):
        return found
    if not isinstance(found, str):
        return f"must return krafka.auth.Token or str, got {type(found).__name__} (its value is not shown)"
    try:
        return Token(found)
    except ConfigError as error:
        return f"gave no token: {error}"
