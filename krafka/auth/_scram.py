"""SCRAM-SHA-256 and SCRAM-SHA-512: both sides prove that they know the password, and neither tells it (RFC 5802)."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from krafka.auth._base import Auth, Work
from krafka.auth._secret import hidden, required_text
from krafka.errors import AuthenticationError, ConfigError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.auth._base import Steps

LEAST_ITERATIONS = 4096
MOST_ITERATIONS = 1_000_000
"""What a broker may ask for: fewer make a stolen exchange cheap to guess from, more only keep this client busy."""

LONGEST_MESSAGE = 4096
"""Bytes of a broker's message, some ten times what a long nonce and a long salt take."""

_NONCE_BYTES = 24
_NO_CHANNEL_BINDING = "biws"
_SERVER_FIRST = re.compile(
    r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,10})(?:,[A-Za-z]=[^\0]*)?"
)
_SERVER_FINAL = re.compile(r"([ev])=([^,\0]+)(?:,[A-Za-z]=[^\0]*)?")


class _SaltedPassword:
    """What PBKDF2 made of the password: as good as the password itself, so it is hidden like that."""

    __slots__ = ("bytes", "iterations", "salt")

    def __init__(self, salt: bytes, iterations: int, salted: bytes) -> None:
        self.salt = salt
        self.iterations = iterations
        self.bytes = salted


class Scram(Auth):
    """The exchange of RFC 5802, for any hash."""

    _hash: str
    username: str = ""
    delegation_token: bool = False

    def __init__(self, username: str, password: str, *, delegation_token: bool = False) -> None:
        self.delegation_token = bool(delegation_token)
        secret = hidden(password, type(self).__name__, "password")
        del password  # so that no traceback shows it
        if isinstance(secret, ConfigError):
            raise secret
        self.username = required_text(username, type(self).__name__, "username")
        self._password = secret
        self._salted: _SaltedPassword | None = None

    def __repr__(self) -> str:
        """The user; the password is not shown."""
        token = ", delegation_token=True" if self.delegation_token else ""
        return f"{type(self).__name__}(username={self.username!r}{token})"

    async def begin(self, host: str) -> Steps:
        """Return the two steps, with a nonce of their own."""
        return self._steps(secrets.token_urlsafe(_NONCE_BYTES))

    def _steps(self, nonce: str) -> Steps:
        name = self.username.replace("=", "=3D").replace(",", "=2C")
        first = f"n={name},r={nonce}" + (",tokenauth=true" if self.delegation_token else "")
        server_first = self._text((yield f"n,,{first}".encode()), "first")
        server_nonce, salt, iterations = self._parameters(server_first, nonce)
        salted = self._salted
        if salted is None or (salted.salt, salted.iterations) != (salt, iterations):
            salted = yield Work(self._derive(salt, iterations))
            self._salted = salted
        final = f"c={_NO_CHANNEL_BINDING},r={server_nonce}"
        proof, signature = self._proofs(salted, f"{first},{server_first},{final}".encode())
        server_final = self._text((yield f"{final},p={proof}".encode()), "final")
        self._check_final(server_final, signature)

    def _derive(self, salt: bytes, iterations: int) -> Callable[[], _SaltedPassword]:
        # Kafka takes the password's UTF-8 as it is, without SASLprep (ScramFormatter), and so must its clients.
        def derive() -> _SaltedPassword:
            return _SaltedPassword(
                salt,
                iterations,
                hashlib.pbkdf2_hmac(self._hash, self._password.reveal().encode(), salt, iterations),
            )

        return derive

    def _text(self, message: object, which: str) -> str:
        if not isinstance(message, bytes | bytearray | memoryview) or len(message) > LONGEST_MESSAGE:
            raise ProtocolError(
                f"{self.mechanism}: the broker's {which} message has {len(message)} bytes; "  # type: ignore[arg-type]
                f"at most {LONGEST_MESSAGE} are taken"
            )
        try:
            return bytes(message).decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"{self.mechanism}: the broker's {which} message is not UTF-8") from error

    def _parameters(self, message: str, nonce: str) -> tuple[str, bytes, int]:
        """Nonce, salt and iterations of the broker's first message, if they may be used."""
        if message.startswith("m="):
            raise ProtocolError(
                f"{self.mechanism}: the broker asks for an extension that krafka does not know"
            )
        match = _SERVER_FIRST.fullmatch(message)
        if match is None:
            raise ProtocolError(
                f"{self.mechanism}: the broker's first message is malformed: {message[:200]!r}"
            )
        server_nonce, salt_text, iterations_text = match.groups()
        if not server_nonce.startswith(nonce) or len(server_nonce) == len(nonce):
            raise AuthenticationError(
                f"{self.mechanism}: the broker's nonce does not go on from the client's; its answer belongs to another "
                "exchange, or somebody in between replays one"
            )
        iterations = int(iterations_text)
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise AuthenticationError(
                f"{self.mechanism}: the broker asks for {iterations} iterations, and {LEAST_ITERATIONS} to "
                f"{MOST_ITERATIONS} are allowed; create the user's credentials anew with a number in between"
            )
        return server_nonce, self._base64(salt_text, "salt"), iterations

    def _base64(self, text: str, what: str) -> bytes:
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise ProtocolError(
                f"{self.mechanism}: the broker's {what} is not base64: {text[:200]!r}"
            ) from error

    def _proofs(self, salted: _SaltedPassword, auth_message: bytes) -> tuple[str, bytes]:
        """The client's proof, as it is sent, and the signature that only a broker with this user's keys can make."""
        client_key = hmac.digest(salted.bytes, b"Client Key", self._hash)
        stored_key = hashlib.new(self._hash, client_key).digest()
        client_signature = hmac.digest(stored_key, auth_message, self._hash)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
        server_key = hmac.digest(salted.bytes, b"Server Key", self._hash)
        return (
            binascii.b2a_base64(proof, newline=False).decode(),
            hmac.digest(server_key, auth_message, self._hash),
        )

    def _check_final(self, message: str, signature: bytes) -> None:
        match = _SERVER_FINAL.fullmatch(message)
        if match is None:
            raise ProtocolError(
                f"{self.mechanism}: the broker's final message is malformed: {message[:200]!r}"
            )
        kind, value = match.groups()
        if kind == "e":
            raise AuthenticationError(
                f"{self.mechanism}: the broker refused user {self.username!r}: {value[:200]}"
            )
        if not hmac.compare_digest(self._base64(value, "signature"), signature):
            raise AuthenticationError(
                f"{self.mechanism}: the broker's signature is wrong: it let user {self.username!r} in without knowing "
                "the password, so it is not the broker it claims to be"
            )


class ScramSha256(Scram):
    """SASL's SCRAM-SHA-256: the password is not sent, and the broker proves that it knows the user.

    With `delegation_token` user and password are a delegation token's id and HMAC (KIP-48). A broker that asks for
    fewer than 4,096 iterations or more than 1,000,000 is refused. As Kafka does, the password's UTF-8 is taken as it
    is, without SASLprep. Without `tls` who reads along can try out passwords at leisure.

    Raises `ConfigError` for an empty user name or password, or one with a NUL character.
    """

    mechanism = "SCRAM-SHA-256"
    _hash = "sha256"


class ScramSha512(Scram):
    """SASL's SCRAM-SHA-512; otherwise as `ScramSha256`."""

    mechanism = "SCRAM-SHA-512"
    _hash = "sha512"
