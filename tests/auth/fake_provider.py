"""An identity provider on loopback: a token endpoint that signs JSON Web Tokens, and the keys to check them with."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.jwk import RSAKey
from loopback_http import Answer, Asked, LoopbackHttp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

TOKENS = "/oauth2/token"
KEYS = "/keys"
ISSUER = "https://provider.example"
AUDIENCE = "kafka"


class FakeProvider(LoopbackHttp):
    """Each token is another, of `lifetime` seconds. `faults` go first; `check` may refuse, by what it returns."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, check: Callable[[Asked], Answer | None] = lambda _: None
    ) -> None:
        super().__init__(self._right_answer, tls)
        self.key = _signing_key()
        self.lifetime = 300
        self.faults: deque[Answer] = deque()
        self.more: dict[str, Any] = {}
        self.tokens: list[str] = []
        self._check = check

    @property
    def token_url(self) -> str:
        return f"{self.url}{TOKENS}"

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "orders",
            "scope": "produce",
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(uuid.uuid4()),
        }
        self.tokens.append(jwt.encode({"alg": "RS256", "kid": "signing"}, claims, self.key))
        return self.tokens[-1]

    def _right_answer(self, asked: Asked) -> Answer:
        if asked.path == KEYS:
            return Answer(body=json.dumps({"keys": [self.key.as_dict(private=False)]}))
        if self.faults:
            return self.faults.popleft()
        if (asked.method, asked.path) != ("POST", TOKENS):
            return Answer(404, "not here", "text/plain")
        refused = self._check(asked)
        if refused is not None:
            return refused
        told = {"access_token": self.token(), "token_type": "bearer", "expires_in": self.lifetime}
        return Answer(body=json.dumps(told | self.more))


@cache
def _signing_key() -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": "signing", "use": "sig", "alg": "RS256"})


def refusal(error: str, description: str | None = None, status: int = 400) -> Answer:
    """What RFC 6749 has a provider say to who may not."""
    told = {"error": error} | ({} if description is None else {"error_description": description})
    return Answer(status, json.dumps(told))
