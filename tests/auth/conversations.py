"""Plays a mechanism without a network: what it sends, and what a server of the test answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any

import anyio

from krafka.auth import OAuthBearer, Plain, ScramSha256, ScramSha512, Token
from krafka.auth._base import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.auth import Auth
    from krafka.auth._base import Steps

PASSWORD = "pencil-pencil-pencil"
TOKEN = "ey.secret-token.x"


def begin(auth: Auth) -> Steps:
    """The steps of one authentication, made ready on an event loop of its own."""
    return anyio.run(auth.begin, "kafka.example")


def play(steps: Steps, server: Callable[[bytes], bytes]) -> list[bytes]:
    """What the mechanism sent until it was satisfied; raises what it raises."""
    sent: list[bytes] = []
    outcome: Any = None
    try:
        while True:
            step = steps.send(outcome)
            if isinstance(step, Work):
                outcome = step.run()
            else:
                sent.append(step)
                outcome = server(step)
    except StopIteration:
        return sent


class ScramServer:
    """The server's side of RFC 5802, written from its section 3, with a place to change each message."""

    def __init__(
        self,
        hash_name: str = "sha256",
        password: str = PASSWORD,
        iterations: int = 4096,
        salt: bytes = b"salt-of-the-test",
        change: Callable[[bytes], bytes] = lambda message: message,
    ) -> None:
        self.hash_name = hash_name
        self.iterations = iterations
        self.salt = salt
        self.change = change
        self.salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
        self.first_bare = self.server_first = ""
        self.messages: list[bytes] = []

    def __call__(self, message: bytes) -> bytes:
        self.messages.append(message)
        text = message.decode()
        answer = self._first(text) if text.startswith("n,,") else self._final(text)
        return self.change(answer.encode())

    def _first(self, text: str) -> str:
        self.first_bare = text.removeprefix("n,,")
        nonce = re.search(r"r=([^,]+)", text)
        assert nonce is not None
        salt = base64.b64encode(self.salt).decode()
        self.server_first = f"r={nonce[1]}3rfcNHYJY1ZVvWVs7j,s={salt},i={self.iterations}"
        return self.server_first

    def _final(self, text: str) -> str:
        without_proof, _, proof = text.rpartition(",p=")
        auth_message = f"{self.first_bare},{self.server_first},{without_proof}".encode()

        def mac(key: bytes, message: bytes) -> bytes:
            return hmac.new(key, message, self.hash_name).digest()

        stored = hashlib.new(self.hash_name, mac(self.salted, b"Client Key")).digest()
        signature = mac(stored, auth_message)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.new(self.hash_name, key).digest() != stored:
            return "e=invalid-proof"
        return f"v={base64.b64encode(mac(mac(self.salted, b'Server Key'), auth_message)).decode()}"


def every_mechanism() -> list[tuple[Auth, Callable[[], Callable[[bytes], bytes]]]]:
    """Each mechanism, and a maker of a server that lets it in."""
    return [
        (Plain("user", PASSWORD), lambda: lambda message: b""),
        (ScramSha256("user", PASSWORD), ScramServer),
        (ScramSha512("user", PASSWORD), lambda: ScramServer("sha512")),
        (OAuthBearer(lambda: Token(TOKEN)), lambda: lambda message: b""),
    ]
