"""What TLS is told: whom to trust, and with which certificate to show who this client is."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

from krafka.auth._secret import Secret, hidden, required_text
from krafka.errors import AuthenticationError, ConfigError

if TYPE_CHECKING:
    import ssl

PemSource: TypeAlias = "str | os.PathLike[str]"
"""The path of a PEM file, or PEM text itself."""

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""What tells a file from its successor: for each, when it was changed, its size, and its number; None: not there."""

_PEM_MARK = "-----BEGIN "


class _Source:
    """A file, or text in its place."""

    __slots__ = ("name", "path", "text")

    def __init__(self, name: str, value: PemSource) -> None:
        self.name = name
        self.path: str | None = None
        self.text: Secret | None = None
        if isinstance(value, os.PathLike):
            self.path = os.fspath(value)
        elif _PEM_MARK in value:
            self.text = Secret(value)
        else:
            self.path = value

    def __repr__(self) -> str:
        return "<PEM text>" if self.path is None else repr(self.path)


class TlsConfig:
    """What a producer's option `tls` takes where True is not enough.

    Each of `ca`, `certificate` and `key` is the path of a PEM file, or PEM text. Files are read when a connection is
    opened, again whenever they have changed, so that certificates can be renewed under a running producer;
    connections that are open stay as they are. PEM text of a certificate is for a moment in a file that only this user
    can read, as OpenSSL takes no other.

    `ca`: the authorities to trust (also a folder as `openssl rehash` makes it); None, the default: the system's.
    `certificate`: this client's certificate and those that lead to its authority; `key`: its private key, None if
    it is in the same file; `key_password`: what the key is encrypted with.
    `check_hostname`: whether the broker's certificate must be for the host connected to; True by default. `server_name`
    is the name to expect and to ask for (SNI) in place of that host, as behind a tunnel.
    `verify`: False trusts whoever answers, which leaves passwords and records to anyone in between; for tests only.

    Raises `ConfigError` for options at odds. A file that is missing or wrong shows at the first connection, as an
    `AuthenticationError`; one that goes wrong later is warned of, and what was read before stays in use.
    """

    check_hostname: bool = True
    server_name: str | None = None
    verify: bool = True
    _ca: _Source | None = None
    _certificate: _Source | None = None
    _key: _Source | None = None
    _key_password: Secret | None = None

    def __init__(
        self,
        *,
        ca: PemSource | None = None,
        certificate: PemSource | None = None,
        key: PemSource | None = None,
        key_password: str | None = None,
        check_hostname: bool = True,
        server_name: str | None = None,
        verify: bool = True,
    ) -> None:
        secret = None if key_password is None else hidden(key_password, "TlsConfig", "key_password")
        sources = [
            _source(name, value) for name, value in (("ca", ca), ("certificate", certificate), ("key", key))
        ]
        del key, certificate, key_password  # so that no traceback shows them
        for problem in (secret, *sources):
            if isinstance(problem, ConfigError):
                raise problem
        self._ca, self._certificate, self._key = [
            each if isinstance(each, _Source) else None for each in sources
        ]
        self._key_password = secret if isinstance(secret, Secret) else None
        self.check_hostname = check_hostname
        self.verify = verify
        self.server_name = (
            None if server_name is None else required_text(server_name, "TlsConfig", "server_name")
        )
        if self._key is not None and self._certificate is None:
            raise ConfigError("TlsConfig: key must go with certificate, and none was given", option="tls")
        if self._key_password is not None and self._certificate is None:
            raise ConfigError(
                "TlsConfig: key_password must go with certificate, and none was given", option="tls"
            )
        if not verify and self._ca is not None:
            raise ConfigError(
                "TlsConfig: verify=False trusts every certificate, so ca cannot be used; leave out one",
                option="tls",
            )

    def __repr__(self) -> str:
        """What was given; keys and passwords are not shown."""
        sources = {"ca": self._ca, "certificate": self._certificate, "key": self._key}
        shown = [f"{name}={source!r}" for name, source in sources.items() if source is not None]
        if self._key_password is not None:
            shown.append(f"key_password={self._key_password!r}")
        if not self.check_hostname:
            shown.append("check_hostname=False")
        if self.server_name is not None:
            shown.append(f"server_name={self.server_name!r}")
        if not self.verify:
            shown.append("verify=False")
        return f"TlsConfig({', '.join(shown)})"

    def stamp(self) -> Stamp:
        """Return what changes when one of the files does. Reads none of them."""
        paths = (each.path for each in (self._ca, self._certificate, self._key) if each is not None)
        return tuple(_stamp(path) for path in paths if path is not None)

    def make_context(self) -> ssl.SSLContext:
        """Read what there is to read; this takes some milliseconds.

        Raises `AuthenticationError` naming the option and the file.
        """
        import ssl  # noqa: PLC0415 - costs as much to import as half of krafka, and most producers do without

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.check_hostname and self.verify
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        elif self._ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            self._trust(context, self._ca)
        if self._certificate is not None:
            self._identify(context, self._certificate)
        return context

    def _trust(self, context: ssl.SSLContext, ca: _Source) -> None:
        try:
            if ca.text is not None:
                context.load_verify_locations(cadata=ca.text.reveal())
            elif os.path.isdir(ca.path or ""):
                context.load_verify_locations(capath=ca.path)
            else:
                context.load_verify_locations(cafile=ca.path)
        except (OSError, ValueError) as error:
            raise AuthenticationError(
                f"TLS: ca {ca!r} cannot be used: {_reason(error)}; it must hold certificates as PEM"
            ) from error

    def _identify(self, context: ssl.SSLContext, certificate: _Source) -> None:
        import ssl  # noqa: PLC0415 - as above

        with ExitStack() as files:
            try:
                chain = _as_file(certificate, files)
                key = None if self._key is None else _as_file(self._key, files)
                # Without a password to be had OpenSSL would ask for one on the terminal.
                context.load_cert_chain(chain, key, self._password)
            except ssl.SSLError as error:
                where = f"certificate {certificate!r}" + (f" with key {self._key!r}" if self._key else "")
                raise AuthenticationError(
                    f"TLS: {where} cannot be used: {_reason(error)}; both must be PEM, the key the certificate's own, "
                    f"and key_password {'right' if self._key_password else 'given if the key is encrypted'}"
                ) from error
            except (OSError, ValueError) as error:
                missing = [
                    each for each in (certificate, self._key) if each is not None and not _is_there(each)
                ]
                which = missing[0] if missing else certificate
                raise AuthenticationError(
                    f"TLS: {which.name} {which!r} cannot be used: {_reason(error)}"
                ) from error

    def _password(self) -> str:
        return "" if self._key_password is None else self._key_password.reveal()


def _source(name: str, value: object) -> _Source | ConfigError | None:
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and value:
        return _Source(name, value)
    return ConfigError(
        f"TlsConfig: {name} must be the path of a PEM file or PEM text, got {type(value).__name__} (its value is not "
        "shown)",
        option="tls",
    )


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_there(source: _Source) -> bool:
    return source.path is None or os.access(source.path, os.R_OK)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error) or type(error).__name__


def _as_file(source: _Source, files: ExitStack) -> str:
    """The path of a file with the source's text, which is gone with `files` if it is a temporary one."""
    if source.text is None:
        return str(source.path)
    import tempfile  # noqa: PLC0415 - where PEM text is given

    # Closed, since not everywhere can an open file be opened again; in a folder that only this user can enter.
    path = os.path.join(files.enter_context(tempfile.TemporaryDirectory(prefix="krafka-")), "pem")
    with open(path, "w", encoding="ascii", opener=_for_owner) as file:
        file.write(source.text.reveal())
    return path


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
