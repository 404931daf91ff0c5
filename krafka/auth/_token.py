"""Tokens that log in: what one is, and one at a time kept for as long as it is fresh."""

from __future__ import annotations

import re
import time
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from krafka.auth._secret import Secret
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

FRESH_SHARE = 0.8
"""The share of a token's life after which the next is fetched, as in Kafka's Java client. Re-authentication begins
later than that (at 0.85 of what is left), so that it never meets a token it has used before."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_EXTENSION_NAME = re.compile(r"[A-Za-z]+")
_EXTENSION_VALUE = re.compile(r"[\x21-\x7e \t\r\n]+")


class Token:
    """A bearer token, until when it holds, and what goes with it.

    `expires_at` is in seconds since 1970, or an aware `datetime`; None, the default, is unknown, and then a token is
    fetched for each authentication. `extensions` are SASL extensions by name (KIP-342), such as `logicalCluster`.

    Raises `ConfigError` for what cannot be sent. The value is in no `repr`.
    """

    expires_at: float | None = None
    extensions: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        value: str,
        expires_at: float | datetime | None = None,
        extensions: Mapping[str, str] | None = None,
    ) -> None:
        secret = _checked(value)
        del value  # so that no traceback shows it
        if isinstance(secret, ConfigError):
            raise secret
        self._value = secret
        self.expires_at = _seconds(expires_at)
        self.extensions = dict(extensions or {})
        for name, text in self.extensions.items():
            if not _EXTENSION_NAME.fullmatch(name) or name == "auth":
                raise ConfigError(
                    f"Token: an extension's name must be of letters only, and not 'auth', got {name!r}",
                    option="auth",
                )
            if not _EXTENSION_VALUE.fullmatch(text):
                raise ConfigError(f"Token: extension {name!r} must be printable ASCII text", option="auth")

    @property
    def value(self) -> str:
        """The token as it is sent: a secret."""
        return self._value.reveal()

    def __repr__(self) -> str:
        """All but the value, which is not shown."""
        return f"Token(<hidden>, expires_at={self.expires_at!r}, extensions={sorted(self.extensions)!r})"


def _checked(value: object) -> Secret | ConfigError:
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return Secret(value)
    return ConfigError(
        "Token: value must be a str of letters, digits and -._~+/= (RFC 6750), "
        f"got a {type(value).__name__} (its value is not shown)",
        option="auth",
    )


def _seconds(expires_at: object) -> float | None:
    if expires_at is None:
        return None
    if isinstance(expires_at, datetime) and expires_at.tzinfo is not None:
        return expires_at.timestamp()
    if isinstance(expires_at, int | float) and not isinstance(expires_at, bool):
        return float(expires_at)
    raise ConfigError(
        f"Token: expires_at must be seconds since 1970 or an aware datetime, got {expires_at!r}",
        option="auth",
    )


class TokenCache:
    """The current token of one source, fetched when there is none or it is no longer fresh, by one task at a time.

    `fetch` raises what it likes; that reaches whoever asked, and those who waited meanwhile ask again.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token: Token | None = None
        self._stale_at = 0.0
        self._fetching: tuple[object, anyio.Event] | None = None

    async def current(self) -> Token:
        """A token with a fifth of its life or more to come, if its source gives such."""
        loop = anyio.lowlevel.current_token()
        while True:
            if self._token is not None and self._clock() < self._stale_at:
                return self._token
            if self._fetching is None or self._fetching[0] != loop:
                break
            await self._fetching[1].wait()
        mine = self._fetching = (loop, anyio.Event())
        try:
            token = await self._fetch()
        finally:
            if self._fetching is mine:
                self._fetching = None
            mine[1].set()
        self._token = token
        now = self._clock()
        self._stale_at = now if token.expires_at is None else now + (token.expires_at - now) * FRESH_SHARE
        return token

    def forget(self, token: Token) -> None:
        """Fetch anew next time, since a broker would not have this one."""
        if self._token is token:
            self._token = None
