"""Asking an identity provider for a token: one form to its token endpoint (RFC 6749), again where that may help."""

from __future__ import annotations

import base64
import json
import logging
import math
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

import anyio
import httpx2

from krafka._version import __version__
from krafka.auth._foreign import reason, without_frames
from krafka.auth._secret import Secret
from krafka.auth._token import Token
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, KafkaError
from krafka.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger(__name__)

MAX_ANSWER = 1024 * 1024
"""The longest answer that is read, in bytes: tokens are some kilobytes long."""

_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses after which the same request may succeed."""
_HINTS: Mapping[int | str, str] = {
    "invalid_client": "; check client_id and the secret or the client's assertion",
    "invalid_grant": "; check the assertion: its key, issuer, subject and audience, and the clock of this machine",
    "invalid_scope": "; check scope",
    "unauthorized_client": "; the provider has to allow this client to ask for tokens in this way",
    401: "; check client_id and the secret",
    404: "; is it the address of a token endpoint?",
}
_LONGEST_QUOTE = 500


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked: fields that may be shown, fields that may not, and the name and secret of the HTTP header."""

    fields: Mapping[str, str]
    secrets: Mapping[str, Secret]
    basic: tuple[str, Secret] | None = None

    def encoded(self) -> str:
        """The body of the request; use it within an expression."""
        return urlencode({**self.fields, **{name: each.reveal() for name, each in self.secrets.items()}})

    def headers(self) -> dict[str, str]:
        """The headers of the request; use them within an expression."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.basic is not None:
            pair = f"{quote_plus(self.basic[0])}:{quote_plus(self.basic[1].reveal())}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers

    def without_secrets(self, text: str) -> str:
        """The text with each secret of the form hidden, should somebody have repeated it there."""
        for secret in (*self.secrets.values(), *(() if self.basic is None else self.basic[1:])):
            for shape in (secret.reveal(), quote_plus(secret.reveal())):
                text = text.replace(shape, repr(secret))
        return text


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str | None
    body: Secret


class TokenEndpoint:
    """Where tokens are to be had, and how patiently they are asked for."""

    def __init__(
        self,
        url: str,
        *,
        owner: str,
        tls: ssl.SSLContext | None,
        timeout: float,
        request_timeout: float,
        retry: RetryPolicy | None,
    ) -> None:
        self.url = _checked_url(url, owner)
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise ConfigError(
                f"{owner}: tls must be an ssl.SSLContext, got {type(tls).__name__}", option="auth"
            )
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise ConfigError(
                f"{owner}: retry must be a RetryPolicy, got {type(retry).__name__}", option="auth"
            )
        self._tls = tls
        self._timeout = _checked_seconds(timeout, owner, "timeout")
        self._request_timeout = _checked_seconds(request_timeout, owner, "request_timeout")
        self._retry = retry or RetryPolicy(initial_backoff=0.2, max_backoff=5.0)
        self._warned = False

    async def ask(self, form: Form, extensions: Mapping[str, str]) -> Token:
        """A token, within `timeout`.

        Raises `AuthenticationError` in the provider's own words where it refuses, and `ConnectionFailedError` where
        it could not be asked.
        """
        self._warn_once()
        last: KafkaError | None = None

        async def attempt() -> Token:
            nonlocal last
            try:
                return self._understood(await self._post(form), form, extensions)
            except KafkaError as error:
                last = error
                raise

        with anyio.move_on_after(self._timeout):
            deadline = anyio.current_time() + self._timeout
            return await self._retry.run(attempt, name=f"a token from {self.url}", deadline=deadline)
        said = f"; before that: {last}" if last is not None else ""
        raise ConnectionFailedError(
            f"{self.url} gave no token within timeout ({self._timeout:g} s){said}"
        ) from last

    def _warn_once(self) -> None:
        if self.url.scheme == "http" and not self._warned and not _is_loopback(self.url.host):
            self._warned = True
            _logger.warning(
                "%s is asked for tokens without TLS: whoever can read along learns the secret and the tokens; "
                "use its https address",
                self.url,
            )

    async def _post(self, form: Form) -> _Answer:
        try:
            with anyio.fail_after(self._request_timeout):
                async with (
                    httpx2.AsyncClient(
                        headers={"Accept": "application/json", "User-Agent": f"krafka/{__version__}"},
                        verify=self._tls if self._tls is not None else True,
                        timeout=None,  # an attempt has one clock, around all of it
                    ) as client,
                    client.stream(
                        "POST", self.url, content=form.encoded(), headers=form.headers()
                    ) as response,
                ):
                    return _Answer(
                        response.status_code, response.headers.get("location"), await self._read(response)
                    )
        except TimeoutError as error:
            raise ConnectionFailedError(
                f"{self.url} gave no answer within request_timeout ({self._request_timeout:g} s)"
            ) from without_frames(error)
        except httpx2.RequestError as error:
            text = f"{self.url} could not be asked for a token: {reason(error)}"
            if _is_certificate(error):
                raise AuthenticationError(
                    f"{text}; give the authority of its certificate in tls="
                ) from without_frames(error)
            raise ConnectionFailedError(text) from without_frames(error)

    async def _read(self, response: httpx2.Response) -> Secret:
        parts: list[bytes] = []
        length = 0
        async for part in response.aiter_bytes():
            length += len(part)
            # What is too long is read to its end all the same, in the attempt's time: trio wants generators finished.
            if length <= MAX_ANSWER:
                parts.append(part)
        if length > MAX_ANSWER:
            parts.clear()
            raise AuthenticationError(
                f"{self.url} answered with more than {MAX_ANSWER} bytes; is it a token endpoint?"
            )
        return Secret(b"".join(parts).decode(errors="replace"))

    def _understood(self, answer: _Answer, form: Form, extensions: Mapping[str, str]) -> Token:
        """The token, if the answer has one. What the answer says is in no variable here, for it may repeat a secret."""
        if not 200 <= answer.status < 300:
            text = f"{self.url} answered with HTTP status {answer.status}{_own_words(answer, form)}"
            raise ConnectionFailedError(text) if answer.status in _PASSING else AuthenticationError(text)
        found = _token_in(_json(answer.body), extensions)
        if isinstance(found, str):
            raise AuthenticationError(
                f"{self.url} answered without a token that can be used: {found}; is it a token endpoint?"
            )
        return found


def _json(body: Secret) -> Any:
    try:
        return json.loads(body.reveal())
    except (ValueError, RecursionError):
        return None


def _own_words(answer: _Answer, form: Form) -> str:
    """What the provider says of its refusal (RFC 6749, 5.2), else the answer itself; and what to do about it."""
    said = _json(answer.body)
    code = said.get("error") if isinstance(said, dict) else None
    if isinstance(code, str):
        more = (said.get("error_description"), said.get("error_uri"))
        words = "".join(f": {part}" for part in (code, *more) if isinstance(part, str) and part)
    elif answer.location is not None:
        words = f", it refers to {answer.location}"
    else:
        shown = form.without_secrets(answer.body.reveal().strip())
        words = f": {shown[:_LONGEST_QUOTE]!r}" if shown else ""
    hint = _HINTS.get(code if isinstance(code, str) else "") or _HINTS.get(answer.status, "")
    return form.without_secrets(words)[:_LONGEST_QUOTE] + hint


def _token_in(said: Any, extensions: Mapping[str, str]) -> Token | str:
    """The token of an answer, or what is wrong; the answer is in no frame of an error."""
    if not isinstance(said, dict):
        return "it is no JSON object"
    value, kind = said.get("access_token"), said.get("token_type", "Bearer")
    if not isinstance(value, str) or not value:
        return f"it has no access_token but {', '.join(map(repr, sorted(map(str, said)))) or 'nothing'}"
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return f"its token_type is {kind!r}, not 'Bearer'"
    lives = _seconds(said.get("expires_in"))
    if "expires_in" in said and said["expires_in"] is not None and lives is None:
        return f"its expires_in is no number of seconds above 0, but {said['expires_in']!r}"
    ends = [each for each in (lives and time.time() + lives, expiry_of(Secret(value))) if each is not None]
    try:
        return Token(value, min(ends, default=None), extensions)
    except ConfigError as error:
        return str(error)


def expiry_of(token: Secret) -> float | None:
    """When a JWT says that it expires, in seconds since 1970; None for any other token."""
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return _seconds(claims.get("exp")) if isinstance(claims, dict) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        return None
    return float(value)


def _is_certificate(error: BaseException) -> bool:
    """Whether it failed by the certificate of the server, which no other attempt changes."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return True
        found = found.__cause__ or found.__context__
    return False


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.endswith(".localhost") or host.startswith("127.")


def _checked_url(given: object, owner: str) -> httpx2.URL:
    try:
        url = httpx2.URL(given)  # type: ignore[arg-type]  # anything is refused in its own words
    except (httpx2.InvalidURL, TypeError) as error:
        raise ConfigError(f"{owner}: token_url is not an address: {error}", option="auth") from error
    if url.userinfo:
        raise ConfigError(
            f"{owner}: token_url has a user in it, which is not sent: give client_id and client_secret "
            f"({url.copy_with(userinfo=b'')})",
            option="auth",
        )
    if url.scheme not in {"http", "https"} or not url.host or url.fragment:
        raise ConfigError(
            f"{owner}: token_url must be like 'https://login.example/oauth2/token', got {str(url)!r}",
            option="auth",
        )
    return url


def _checked_seconds(given: object, owner: str, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise ConfigError(f"{owner}: {name} must be above 0 seconds and finite, got {given!r}", option="auth")
    return float(given)
