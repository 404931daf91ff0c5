"""PLAIN: user and password as they are (RFC 4616), safe inside TLS only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.auth._base import Auth
from krafka.auth._secret import hidden, required_text
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from krafka.auth._base import Steps


class Plain(Auth):
    """SASL's PLAIN: the password travels as it is, so use it with `tls` only.

    Raises `ConfigError` for an empty user name or password, or one with a NUL character.
    """

    mechanism = "PLAIN"
    reveals_secret = True
    username: str = ""

    def __init__(self, username: str, password: str) -> None:
        secret = hidden(password, "Plain", "password")
        del password  # so that no traceback shows it
        if isinstance(secret, ConfigError):
            raise secret
        self.username = required_text(username, "Plain", "username")
        self._password = secret

    def __repr__(self) -> str:
        """The user; the password is not shown."""
        return f"Plain(username={self.username!r})"

    async def begin(self, host: str) -> Steps:
        """Return the one step there is."""
        return self._steps()

    def _steps(self) -> Steps:
        # Whether the broker is content its error code tells; the mechanism has no answer of its own.
        yield f"\0{self.username}\0{self._password.reveal()}".encode()
