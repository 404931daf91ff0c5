"""GSSAPI: logging in with Kerberos (RFC 4752)."""

from __future__ import annotations

import os
import secrets
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from krafka.auth._base import Auth, Work
from krafka.auth._secret import required_text
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.auth._base import Steps
    from krafka.errors import KafkaError

_NO_LAYER = 1
_NO_LAYER_AND_NO_IDENTITY_BUT_MY_OWN = b"\x01\x00\x00\x00"
_OFFER_BYTES = 4
_MAX_ROUNDS = 8
"""Kerberos has two; more than a few are somebody who keeps the client busy."""

_KRB5 = -1765328384
"""What the numbers of Kerberos' errors are counted from; the names below are those of RFC 4120 and MIT."""
_PRINCIPAL_UNKNOWN = _KRB5 + 6
_SERVICE_UNKNOWN = _KRB5 + 7
_UNAVAILABLE = _KRB5 + 29
_CLOCK_SKEW = _KRB5 + 37
_UNREACHABLE = _KRB5 + 156
_NO_CACHE = _KRB5 + 195
_NOT_IN_CACHE = _KRB5 + 141


class Gssapi(Auth):
    """SASL's GSSAPI: Kerberos, with whatever ``krb5.conf`` says of realms and where their servers are.

    Needs the extra, ``pip install 'krafka[gssapi]'``, whose package is compiled against Kerberos' own library and its
    headers. `service_name` is the first part of the brokers' principals (``kafka/host@REALM``), whose host has to
    be the broker's as it is advertised.

    Without more, the tickets that ``kinit`` got are used, for its user. `keytab` is a file with the key of
    `principal` (or of whom it names first), for who cannot be asked for a password: tickets are got, and got anew,
    with it, and kept in memory. `credential_cache` names another cache than ``KRB5CCNAME``, or than memory.
    Identities are proven both ways; what is sent afterwards is not protected by Kerberos, so use it with `tls`.

    Raises `ConfigError`, and `ModuleNotFoundError` without the extra.
    """

    mechanism = "GSSAPI"

    def __init__(
        self,
        service_name: str = "kafka",
        *,
        principal: str | None = None,
        keytab: str | os.PathLike[str] | None = None,
        credential_cache: str | None = None,
    ) -> None:
        if find_spec("gssapi") is None:
            raise ModuleNotFoundError(
                "krafka.auth.Gssapi needs the package 'gssapi', which is not installed; install it with: "
                "pip install 'krafka[gssapi]' (it needs a C compiler and Kerberos' headers: libkrb5-dev, krb5-devel)",
                name="gssapi",
            )
        self._service = required_text(service_name, "Gssapi", "service_name")
        if "/" in service_name or "@" in service_name:
            raise ConfigError(
                f"Gssapi: service_name must be the first part of the brokers' principals only, such as 'kafka', got "
                f"{service_name!r}",
                option="auth",
            )
        self._principal = None if principal is None else required_text(principal, "Gssapi", "principal")
        self._store: dict[str, str] = {}
        if credential_cache is not None:
            self._store["ccache"] = required_text(credential_cache, "Gssapi", "credential_cache")
        if keytab is not None:
            path = os.fspath(keytab) if isinstance(keytab, os.PathLike) else keytab
            self._store["client_keytab"] = required_text(path, "Gssapi", "keytab")
            self._store.setdefault("ccache", f"MEMORY:krafka-{secrets.token_hex(8)}")

    def __repr__(self) -> str:
        """Who logs in, and with which key; the key is not shown."""
        keytab = self._store.get("client_keytab")
        return f"Gssapi({self._service!r}, principal={self._principal!r}, keytab={keytab!r})"

    async def begin(self, host: str) -> Steps:
        """Get the ticket for this broker, which may ask servers of Kerberos, in a thread."""
        start = partial(self._start, host)
        context, token = await anyio.to_thread.run_sync(start, abandon_on_cancel=True)
        return self._steps(context, token, host)

    def _start(self, host: str) -> tuple[Any, bytes]:
        gssapi = import_module("gssapi")
        try:
            credentials = None
            if self._principal is not None or self._store:
                name = self._principal and gssapi.Name(self._principal, gssapi.NameType.kerberos_principal)
                credentials = gssapi.Credentials(
                    usage="initiate",
                    name=name or None,
                    store=self._store or None,
                    mechs=[gssapi.MechType.kerberos],
                )
            flags = gssapi.RequirementFlag
            context = gssapi.SecurityContext(
                name=gssapi.Name(f"{self._service}@{host}", gssapi.NameType.hostbased_service),
                creds=credentials,
                usage="initiate",
                mech=gssapi.MechType.kerberos,
                flags=flags.mutual_authentication | flags.integrity | flags.out_of_sequence_detection,
            )
            return context, context.step()
        except gssapi.exceptions.GSSError as error:
            raise self._no_ticket(error, host) from error

    def _steps(self, context: Any, token: bytes, host: str) -> Steps:
        gssapi = import_module("gssapi")
        answer = yield token
        rounds = 0
        while not context.complete:
            rounds += 1
            if rounds > _MAX_ROUNDS:
                raise ProtocolError(
                    f"GSSAPI: {host} goes on after {_MAX_ROUNDS} messages, and Kerberos needs two"
                )
            answer = yield (yield self._work(context.step, answer, host)) or b""
        if gssapi.RequirementFlag.mutual_authentication not in context.actual_flags:
            raise AuthenticationError(f"GSSAPI: {host} did not prove who it is")
        offer = yield self._work(context.unwrap, answer, host)
        if len(offer.message) != _OFFER_BYTES:
            raise ProtocolError(f"GSSAPI: {host} offers security layers in {len(offer.message)} bytes, not 4")
        if not offer.message[0] & _NO_LAYER:
            raise AuthenticationError(
                f"GSSAPI: {host} insists on protecting what follows by Kerberos, which Kafka's clients do not do; "
                "use TLS for that (a SASL_SSL listener), and let the broker's sasl.qop be auth"
            )
        wrapped = yield self._work(
            lambda data: context.wrap(data, False), _NO_LAYER_AND_NO_IDENTITY_BUT_MY_OWN, host
        )
        yield wrapped.message

    def _work(self, call: Callable[[bytes], Any], data: bytes, host: str) -> Work:
        """One call of the library, whose errors are told in our words."""
        gssapi = import_module("gssapi")

        def run() -> Any:
            try:
                return call(bytes(data))
            except gssapi.exceptions.GSSError as error:
                text = f"GSSAPI: the answer of {host} was not accepted: {_words(error)}"
                bad = (gssapi.exceptions.InvalidTokenError, gssapi.exceptions.BadMICError)
                raise (ProtocolError if isinstance(error, bad) else AuthenticationError)(text) from error

        return Work(run)

    def _no_ticket(self, error: Any, host: str) -> KafkaError:
        code = error.min_code - (1 << 32) if error.min_code >= 1 << 31 else error.min_code
        service = f"{self._service}/{host}"
        hint = {
            _PRINCIPAL_UNKNOWN: "; check principal, and krb5.conf's realm",
            _SERVICE_UNKNOWN: f"; the broker's principal has to be {service}: service_name and the host it advertises",
            _CLOCK_SKEW: "; set the clock of this machine, or of Kerberos' server",
            _NO_CACHE: "; run kinit, or check keytab and principal",
            _NOT_IN_CACHE: "; run kinit, or give principal and keytab",
        }.get(code, "")
        text = f"GSSAPI: no ticket for {service} ({self!r}): {_words(error)}{hint}"
        passing = code in {_UNAVAILABLE, _UNREACHABLE}
        return ConnectionFailedError(text) if passing else AuthenticationError(text)


def _words(error: Any) -> str:
    """What Kerberos says, without the numbers; GSSAPI's own words where Kerberos says nothing."""
    kerberos = str(error).partition("Minor (")[2].partition("): ")[2]
    return kerberos or str(error)
