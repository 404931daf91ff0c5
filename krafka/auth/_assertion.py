"""JSON Web Tokens by which a client proves to an identity provider who it is (RFC 7523)."""

from __future__ import annotations

import os
import time
import uuid
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread

from krafka.auth._callback import result_of
from krafka.auth._foreign import without_frames
from krafka.auth._secret import Secret, hidden, required_text, taken
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

ALGORITHMS = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "Ed25519": "OKP",
}
"""Each algorithm, and the kind of its keys; those with a shared secret are not for this."""

_PEM = "-----BEGIN "


class SignedAssertion:
    """An assertion that is signed here, anew for each token.

    `private_key` is a PEM file's path or the PEM text itself, with `private_key_password` if it is encrypted; a file is
    read each time. `issuer`, `subject` and `audience` are the claims of those names, as the provider wants them;
    `claims` are more of them. `algorithm` is RS256, the default, or another of RS, PS and ES with 256, 384 or 512, or
    Ed25519. `key_id` becomes the header `kid`. It is good for `lifetime` seconds (300) and says when it was made
    and, by a random `jti`, which it is.

    Raises `ConfigError`, and `ModuleNotFoundError` without ``pip install 'krafka[oauth]'``.
    """

    def __init__(
        self,
        private_key: str | os.PathLike[str],
        *,
        issuer: str,
        subject: str,
        audience: str,
        algorithm: str = "RS256",
        key_id: str | None = None,
        private_key_password: str | None = None,
        lifetime: float = 300.0,
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        if find_spec("joserfc") is None:
            raise missing_extra("SignedAssertion", "joserfc")
        hidden_key = hidden(
            os.fspath(private_key) if isinstance(private_key, os.PathLike) else private_key,
            "SignedAssertion",
            "private_key",
        )
        hidden_password = (
            None
            if private_key_password is None
            else hidden(private_key_password, "SignedAssertion", "private_key_password")
        )
        del private_key, private_key_password  # before anything can fail, so that no traceback shows them
        self._key = taken(hidden_key)
        self._password = None if hidden_password is None else taken(hidden_password)
        if algorithm not in ALGORITHMS:
            raise ConfigError(
                f"SignedAssertion: algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}",
                option="auth",
            )
        if not _is_number(lifetime) or not 1 <= lifetime <= 86400:
            raise ConfigError(
                f"SignedAssertion: lifetime must be 1 to 86400 seconds, got {lifetime!r}", option="auth"
            )
        self._header = {"alg": algorithm}
        if key_id is not None:
            self._header["kid"] = required_text(key_id, "SignedAssertion", "key_id")
        self._lifetime = lifetime
        self._claims = {
            "iss": required_text(issuer, "SignedAssertion", "issuer"),
            "sub": required_text(subject, "SignedAssertion", "subject"),
            "aud": required_text(audience, "SignedAssertion", "audience"),
            **(claims or {}),
        }

    def __repr__(self) -> str:
        """Who it speaks for; the key is not shown."""
        return (
            f"SignedAssertion({self._where()}, issuer={self._claims['iss']!r}, subject={self._claims['sub']!r}, "
            f"algorithm={self._header['alg']!r})"
        )

    def sign(self) -> Secret:
        """An assertion that is good from now on. Reads the key's file, and takes its time for RSA.

        Raises `AuthenticationError` where the key cannot be read or is not for the algorithm.
        """
        from joserfc import jwk, jwt  # noqa: PLC0415 - of an extra, and slow to import

        now = int(time.time())
        claims = {"iat": now, "exp": now + int(self._lifetime), "jti": str(uuid.uuid4()), **self._claims}
        kinds: dict[str, type[jwk.RSAKey | jwk.ECKey | jwk.OKPKey]]
        kinds = {"RSA": jwk.RSAKey, "EC": jwk.ECKey, "OKP": jwk.OKPKey}
        try:
            key = kinds[ALGORITHMS[self._header["alg"]]].import_key(
                self._pem().reveal(), password=None if self._password is None else self._password.reveal()
            )
            return Secret(jwt.encode(self._header, claims, key, algorithms=[self._header["alg"]]))
        except OSError as error:
            raise AuthenticationError(
                f"the private key {self._where()} cannot be read: {error.strerror or error}"
            ) from error
        except Exception as error:  # joserfc's and cryptography's own, of many kinds
            raise AuthenticationError(
                f"the private key {self._where()} cannot sign with {self._header['alg']}: "
                f"{type(error).__name__}: {error}; is it the right kind of key, and its password right?"
            ) from without_frames(error)

    def _pem(self) -> Secret:
        if self._key.reveal().lstrip().startswith(_PEM):
            return self._key
        with open(self._key.reveal(), encoding="ascii") as file:
            return Secret(file.read())

    def _where(self) -> str:
        return "given as PEM" if _PEM in self._key.reveal() else repr(self._key.reveal())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


Assertion: TypeAlias = "SignedAssertion | os.PathLike[str] | Callable[[], str | Awaitable[str]]"
"""Where an assertion comes from: signed here, a file that somebody else renews, or a function, plain or async."""


def wrong_assertion(given: object, owner: str, name: str) -> ConfigError | None:
    """What to raise if no assertion can come from there; not raised here, where `given` may be one itself."""
    if isinstance(given, SignedAssertion | os.PathLike) or (callable(given) and not isinstance(given, type)):
        return None
    return ConfigError(
        f"{owner}: {name} must be a SignedAssertion, a pathlib.Path of a file with one, or a function that returns "
        f"one, not {type(given).__name__} (its value is not shown)",
        option="auth",
    )


async def current(assertion: Assertion) -> Secret:
    """An assertion to send now. Raises `AuthenticationError` or `ConnectionFailedError`."""
    if isinstance(assertion, SignedAssertion):
        return await anyio.to_thread.run_sync(assertion.sign, abandon_on_cancel=True)
    if isinstance(assertion, os.PathLike):
        return await anyio.to_thread.run_sync(_in_file, os.fspath(assertion), abandon_on_cancel=True)
    name = getattr(assertion, "__qualname__", type(assertion).__qualname__)
    try:
        found = await _called(assertion)
    except KafkaError:
        raise
    except Exception as error:
        raise ConnectionFailedError(
            f"{name} raised {type(error).__name__} instead of returning an assertion: {error}"
        ) from error
    return _checked(found, f"{name} returned")


async def _called(function: Callable[[], Any]) -> str | Secret:
    """What the function returned: hidden if it is text, else the name of its type."""
    found = await result_of(function)
    return Secret(found) if isinstance(found, str) else type(found).__name__


def _in_file(path: str) -> Secret:
    try:
        with open(path, encoding="utf-8") as file:
            found = Secret(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(
            f"the assertion's file {path!r} cannot be read: {error}"
        ) from without_frames(error)
    return _checked(found, f"the assertion's file {path!r} has")


def _checked(found: Secret | str, where: str) -> Secret:
    if isinstance(found, str):
        raise AuthenticationError(f"{where} {found} where an assertion, a str, should be")
    stripped = Secret(found.reveal().strip())
    if stripped.reveal().count(".") != 2 or not stripped.reveal().isascii():
        raise AuthenticationError(f"{where} no JSON Web Token (its text is not shown)")
    return stripped


def missing_extra(owner: str, package: str) -> ModuleNotFoundError:
    """The error to raise where a package of the extra is not installed."""
    return ModuleNotFoundError(
        f"krafka.auth.{owner} needs the package {package!r}, which is not installed; "
        "install it with: pip install 'krafka[oauth]'",
        name=package,
    )
