"""OAUTHBEARER with tokens of an identity provider: client credentials (KIP-768) and JWT bearer (KIP-1139)."""

from __future__ import annotations

import os
from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypedDict

from krafka.auth._assertion import Assertion, SignedAssertion, current, missing_extra, wrong_assertion
from krafka.auth._oauthbearer import OAuthBearer
from krafka.auth._secret import hidden, required_text, taken
from krafka.auth._token import Token
from krafka.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from krafka.auth._token_endpoint import Form
    from krafka.retry import RetryPolicy

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Patience(TypedDict):
    tls: ssl.SSLContext | None
    timeout: float
    request_timeout: float
    retry: RetryPolicy | None


class _Oidc(OAuthBearer):
    """Tokens by one form, which is filled in anew for each."""

    def __init__(
        self,
        token_url: str,
        fields: Mapping[str, str | None],
        parameters: Mapping[str, str] | None,
        extensions: Mapping[str, str] | None,
        patience: _Patience,
    ) -> None:
        owner = type(self).__name__
        if find_spec("httpx2") is None:
            raise missing_extra(owner, "httpx2")
        from krafka.auth._token_endpoint import TokenEndpoint  # noqa: PLC0415 - needs an extra, and is slow to import

        super().__init__(self._ask)
        self._fields = {
            name: required_text(value, owner, name) for name, value in fields.items() if value is not None
        }
        for name, value in (parameters or {}).items():
            if name in self._fields:
                raise ConfigError(
                    f"{owner}: parameters must not have {name!r}, which it sends itself", option="auth"
                )
            self._fields[name] = required_text(value, owner, f"parameters[{name!r}]")
        self._extensions = Token("checked", None, extensions).extensions
        self._endpoint = TokenEndpoint(token_url, owner=owner, **patience)

    async def _ask(self) -> Token:
        return await self._endpoint.ask(await self._form(), self._extensions)

    @abstractmethod
    async def _form(self) -> Form:
        """What to send for the next token."""


class OidcClientCredentials(_Oidc):
    """Tokens that an identity provider gives to this client itself (OAuth's client credentials, KIP-768).

    Needs the extra: ``pip install 'krafka[oauth]'``. `token_url` is the provider's token endpoint. The client is
    `client_id` with either `client_secret` or `client_assertion`, a signed JSON Web Token in its place (RFC 7523; see
    `SignedAssertion`). The secret goes in the HTTP header ``Authorization``, or with `secret_in="form"` in the body.
    `scope`, `audience` and `parameters` are what the provider wants besides; `extensions` go to the brokers
    (KIP-342).

    A token serves all connections until four fifths of its life are over; then the next is asked for, once however
    many wait. Its end is the earlier of ``expires_in`` and, where it is a JWT, its ``exp``. A request has
    `request_timeout` seconds (10); one that fails by the network or by a status that passes is made again as `retry`
    says (3 times, from 0.2 s on), all of it within `timeout` (30 s). A refusal ends the producer, in the
    provider's own words. `tls` is for https, in place of the system's authorities.

    Raises `ConfigError`, in which no secret is shown, and `ModuleNotFoundError` without the extra.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | None = None,
        scope: str | None = None,
        audience: str | None = None,
        *,
        client_assertion: Assertion | None = None,
        secret_in: str = "header",  # noqa: S107 - where it goes, not what it is
        parameters: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 30.0,
        request_timeout: float = 10.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        hidden_secret = (
            None if client_secret is None else hidden(client_secret, type(self).__name__, "client_secret")
        )
        self._assertion = client_assertion
        del client_secret, client_assertion  # before anything can fail, so that no traceback shows them
        self._client_id = required_text(client_id, type(self).__name__, "client_id")
        self._secret = None if hidden_secret is None else taken(hidden_secret)
        if (self._secret is None) == (self._assertion is None):
            raise ConfigError(
                "OidcClientCredentials: give one of client_secret and client_assertion, by which the client proves "
                "who it is",
                option="auth",
            )
        if self._assertion is not None:
            wrong = wrong_assertion(self._assertion, type(self).__name__, "client_assertion")
            if wrong is not None:
                raise wrong
        if secret_in not in {"header", "form"}:
            raise ConfigError(
                f"OidcClientCredentials: secret_in must be 'header' or 'form', got {secret_in!r}",
                option="auth",
            )
        self._in_header = secret_in == "header"  # noqa: S105 - the same
        super().__init__(
            token_url,
            {"grant_type": "client_credentials", "scope": scope, "audience": audience},
            parameters,
            extensions,
            {"tls": tls, "timeout": timeout, "request_timeout": request_timeout, "retry": retry},
        )

    def __repr__(self) -> str:
        """Who asks whom; the secret is not shown."""
        return f"OidcClientCredentials({str(self._endpoint.url)!r}, client_id={self._client_id!r})"

    async def _form(self) -> Form:
        from krafka.auth._token_endpoint import Form  # noqa: PLC0415 - needs an extra

        if self._assertion is not None:
            fields = {
                **self._fields,
                "client_id": self._client_id,
                "client_assertion_type": _CLIENT_ASSERTION,
            }
            return Form(fields, {"client_assertion": await current(self._assertion)})
        assert self._secret is not None  # noqa: S101 - the constructor has seen to one of the two
        if self._in_header:
            return Form(self._fields, {}, (self._client_id, self._secret))
        return Form({**self._fields, "client_id": self._client_id}, {"client_secret": self._secret})


class OidcJwtBearer(_Oidc):
    """Tokens that an identity provider gives for a signed JSON Web Token (OAuth's JWT bearer grant, KIP-1139).

    Needs the extra: ``pip install 'krafka[oauth]'``. `assertion` is that JWT's source: a `SignedAssertion`, a
    `pathlib.Path` of a file that somebody else renews and that is read each time, or a function, plain or async, that
    returns one. `client_id` is sent where it is given. Everything else is as with `OidcClientCredentials`.
    """

    def __init__(
        self,
        token_url: str,
        assertion: Assertion,
        scope: str | None = None,
        *,
        client_id: str | None = None,
        parameters: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 30.0,
        request_timeout: float = 10.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._assertion = assertion
        del assertion  # before anything can fail, so that no traceback shows one that was given as text
        wrong = wrong_assertion(self._assertion, type(self).__name__, "assertion")
        if wrong is not None:
            raise wrong
        super().__init__(
            token_url,
            {"grant_type": _JWT_BEARER, "scope": scope, "client_id": client_id},
            parameters,
            extensions,
            {"tls": tls, "timeout": timeout, "request_timeout": request_timeout, "retry": retry},
        )

    def __repr__(self) -> str:
        """Who asks whom, and with what."""
        assertion = self._assertion
        named = isinstance(assertion, SignedAssertion | os.PathLike)
        shown = repr(assertion) if named else getattr(assertion, "__qualname__", type(assertion).__qualname__)
        return f"OidcJwtBearer({str(self._endpoint.url)!r}, {shown})"

    async def _form(self) -> Form:
        from krafka.auth._token_endpoint import Form  # noqa: PLC0415 - needs an extra

        return Form(self._fields, {"assertion": await current(self._assertion)})
