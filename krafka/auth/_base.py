"""What every SASL mechanism is to the room that speaks with a broker: a generator of bytes, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Work:
    """What takes too long for the event loop, such as PBKDF2: run in a thread, its result sent back in."""

    run: Callable[[], Any]


Steps: TypeAlias = Generator[bytes | Work, Any, None]
"""One authentication: yields bytes for the broker and is sent the broker's answer to them, or yields `Work` and is
sent its result. It returns when the mechanism is satisfied with the broker, and raises `AuthenticationError` or
`ProtocolError` for an answer that it is not."""


class Auth(ABC):
    """Who this client is to the brokers: what a producer's option `auth` takes.

    Its `repr` and its errors show no secret.
    """

    mechanism: str
    """The mechanism's name as Kafka has it, such as ``SCRAM-SHA-512``."""

    reveals_secret: bool = False
    """Whether who reads along on an unencrypted connection learns what is enough to log in."""

    def advice(self) -> str:
        """What to look at where a broker refuses: the end of the error's text."""
        return "check the credentials given as auth="

    @abstractmethod
    async def begin(self, host: str) -> Steps:
        """Make ready for one authentication with the broker that is `host` to its certificate.

        Here is the place to wait for a token; it is called for each connection and each re-authentication, and never
        while a record waits for it. Raises `AuthenticationError` if there are no credentials to be had for good, and
        `ConnectionFailedError` if it may help to try again.
        """
