"""AWS Signature Version 4, as far as a broker of Amazon MSK asks for it: a presigned request, told as JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from krafka.auth._secret import Secret

VERSION = "2020_10_22"
"""Of the payload and of the broker's answer to it."""
LIFETIME = 900
"""Seconds that a signed payload is good for."""

_SERVICE = "kafka-cluster"
_ACTION = "kafka-cluster:Connect"
_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWS access key, with the token of the session it belongs to if it is a temporary one."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None


def connect_payload(host: str, credentials: Credentials, region: str, now: float, user_agent: str) -> bytes:
    """What logs in to the broker `host` in `region`, signed at `now`, in seconds since 1970."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{date[:8]}/{region}/{_SERVICE}/aws4_request"
    query = {
        "Action": _ACTION,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(LIFETIME),
        "X-Amz-SignedHeaders": "host",
    }
    signature = _signature(credentials, query, host, date, scope)
    told = {name.lower(): value for name, value in query.items()}
    told |= {"version": VERSION, "host": host, "user-agent": user_agent, "x-amz-signature": signature}
    return json.dumps(told | _session(credentials, "x-amz-security-token"), ensure_ascii=False).encode()


def _session(credentials: Credentials, name: str) -> dict[str, str]:
    token = credentials.session_token
    return {} if token is None else {name: token.reveal()}


def _signature(credentials: Credentials, query: dict[str, str], host: str, date: str, scope: str) -> str:
    signed_query = "&".join(
        f"{_quoted(name)}={_quoted(value)}"
        for name, value in sorted((query | _session(credentials, "X-Amz-Security-Token")).items())
    )
    no_body = hashlib.sha256(b"").hexdigest()
    request = "\n".join(("GET", "/", signed_query, f"host:{host}", "", "host", no_body))
    text = "\n".join((_ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()))
    return _keyed(_signing_key(credentials, scope), text).hex()


def _signing_key(credentials: Credentials, scope: str) -> bytes:
    key = b"AWS4" + credentials.secret_key.reveal().encode()
    for part in scope.split("/"):
        key = _keyed(key, part)
    return key


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _quoted(text: str) -> str:
    """The text as it stands in a signed query: every byte but unreserved ones as %XX."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())
