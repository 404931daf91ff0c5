"""SASL when a connection opens: what is asked in which order and version, and what each refusal is told as."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from sasl_peer import answer_handshake, answer_token, authenticated, expect, let_in, refusal_of, without
from scripted_peer import METADATA, Outcomes, Peer, metadata

from krafka._io.authentication import is_loopback
from krafka._wire.metadata import MetadataRequest
from krafka._wire.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from krafka.auth import Auth, AwsMskIam, OAuthBearer, Plain, Token
from krafka.auth._base import Work
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    IllegalSaslStateError,
    NetworkError,
    ProtocolError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from krafka.auth._base import Steps

pytestmark = pytest.mark.anyio

ALICE = Plain("alice", "alice-secret")
TOKEN = b"\0alice\0alice-secret"


async def test_the_handshake_comes_first_and_the_first_request_after() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer)
        assert await answer_token(peer) == TOKEN

    outcomes = Outcomes()
    async with authenticated(ALICE, script) as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        request = await expect(peer, MetadataRequest)
        assert request.correlation_id == 3
        peer.respond(request, metadata())
        await outcomes.wait_for("a")
        assert connection.requests_sent == 4


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_a_broker_with_an_older_version_of_the_tokens_request(version: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions(without(k36=(0, version)))
        await answer_handshake(peer)
        request = await expect(peer, SaslAuthenticateRequest)
        assert request.version == version
        peer.respond(request, SaslAuthenticateResponse())

    async with authenticated(ALICE, script) as (connection, _):
        assert connection.is_usable


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        (without(36), "SaslAuthenticate"),
        (without(17), "SaslHandshake"),
        (without(k17=(0, 0)), "SaslHandshake v0 only, and krafka needs v1; the broker is too old"),
    ],
)
async def test_a_broker_without_these_requests(ranges: list[tuple[int, int, int]], text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions(ranges)

    error = await refusal_of(ALICE, script)
    assert isinstance(error, UnsupportedVersionError)
    assert text in str(error)


class Counting(Auth):
    """A mechanism of three messages, with something to compute in between."""

    mechanism = "COUNTING"

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.computed_in = 0
        self.closed = False

    def compute(self) -> bytes:
        self.computed_in = threading.get_ident()
        return b"computed"

    async def begin(self, host: str) -> Steps:
        return self._steps(host)

    def _steps(self, host: str) -> Steps:
        try:
            self.heard.append((yield host.encode()))
            self.heard.append((yield (yield Work(self.compute))))
            self.heard.append((yield b""))
        finally:
            self.closed = True


async def test_steps_alternate_with_answers() -> None:
    auth = Counting()
    sent: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer, "COUNTING")
        sent.extend([await answer_token(peer, auth_bytes=word) for word in (b"one", b"two", b"three")])

    async with authenticated(auth, script):
        assert sent == [b"kafka", b"computed", b""]
        assert auth.heard == [b"one", b"two", b"three"]
        assert auth.closed
        assert auth.computed_in not in {0, threading.get_ident()}


@pytest.mark.parametrize(
    ("code", "mechanisms", "kind", "text"),
    [
        (
            33,
            ["SCRAM-SHA-512", "X"],
            UnsupportedSaslMechanismError,
            "offer PLAIN; it offers: SCRAM-SHA-512, X; give",
        ),
        (33, [], UnsupportedSaslMechanismError, "it offers: none"),
        (34, ["PLAIN"], IllegalSaslStateError, "expects no SASL on this port"),
        (58, [], SaslAuthenticationFailedError, "refused to begin PLAIN"),
        (-1, [], AuthenticationError, "UNKNOWN_SERVER_ERROR"),
        (7, [], ConnectionFailedError, "REQUEST_TIMED_OUT"),
    ],
)
async def test_a_refused_handshake(
    code: int, mechanisms: list[str], kind: type[Exception], text: str
) -> None:
    from krafka._wire.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse

    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        request = await expect(peer, SaslHandshakeRequest)
        peer.respond(request, SaslHandshakeResponse(error_code=code, mechanisms=mechanisms))

    error = await refusal_of(ALICE, script)
    assert type(error) is kind
    assert text in str(error)
    assert "broker 1 at kafka:9092" in str(error)


@pytest.mark.parametrize(
    ("code", "message", "kind", "text"),
    [
        (
            58,
            "no such user, says LDAP",
            SaslAuthenticationFailedError,
            "PLAIN: no such user, says LDAP; check the cred",
        ),
        (58, None, SaslAuthenticationFailedError, "it gave no reason"),
        (34, "out of order", IllegalSaslStateError, "out of order"),
        (999, "new", AuthenticationError, "999"),
        (-1, "boom", AuthenticationError, "boom"),
        (14, "loading", ConnectionFailedError, "loading"),
    ],
)
async def test_a_refused_token(code: int, message: str | None, kind: type[Exception], text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer)
        await answer_token(peer, error_code=code, error_message=message)

    auth = ALICE
    error = await refusal_of(auth, script)
    assert type(error) is kind
    assert text in str(error)
    assert "broker 1 at kafka:9092" in str(error)
    assert "PLAIN" in str(error)


async def test_a_mechanism_says_what_to_look_at_where_it_is_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer, "AWS_MSK_IAM")
        await answer_token(peer, error_code=58, error_message="[6a1f]: Access denied")

    error = await refusal_of(AwsMskIam("AKIA", "secret", "eu-central-1"), script)
    assert isinstance(error, SaslAuthenticationFailedError)
    assert "refused AWS_MSK_IAM: [6a1f]: Access denied; check that AwsMskIam('AKIA', region=" in str(error)
    assert str(error).endswith("UTC here")
    assert str(await refusal_of(ALICE, refuse)).endswith("; check the credentials given as auth=")


async def refuse(peer: Peer) -> None:
    await peer.answer_versions()
    await answer_handshake(peer)
    await answer_token(peer, error_code=58, error_message="no")


async def test_the_steps_are_closed_when_the_broker_refuses() -> None:
    auth = Counting()

    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer, "COUNTING")
        await answer_token(peer, error_code=58, error_message="no")

    assert isinstance(await refusal_of(auth, script), SaslAuthenticationFailedError)
    assert auth.closed


async def test_what_a_mechanism_says_names_the_broker() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer, "OAUTHBEARER")
        await answer_token(peer, auth_bytes=b'{"status":"invalid_token"}')
        assert await answer_token(peer) == b"\x01"

    error = await refusal_of(OAuthBearer(lambda: Token("t")), script)
    assert isinstance(error, AuthenticationError)
    assert str(error) == (
        "broker 1 at kafka:9092: OAUTHBEARER: the broker refused the token: status invalid_token"
    )


@pytest.mark.parametrize("reset", [False, True])
async def test_an_end_during_authentication_may_have_two_reasons(*, reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer)
        await expect(peer, SaslAuthenticateRequest)
        peer.reset() if reset else peer.end()

    error = await refusal_of(ALICE, script)
    assert type(error) is ConnectionFailedError
    assert "it may not accept the credentials" in str(error)
    assert "shutting down or overloaded" in str(error)
    assert error.is_retriable


async def test_an_end_after_it_is_a_fault_of_the_network() -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE) as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await peer.receive()
        peer.end()
        await outcomes.wait_for("a")
        assert type(connection.close_reason) is NetworkError
        assert "SASL" not in str(connection.close_reason)
    assert outcomes.only("a").is_retriable


async def test_nonsense_is_not_the_end_of_the_client() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        request = await peer.receive()
        peer.send(b"\0\0\0\x06" + request.correlation_id.to_bytes(4, "big") + b"\0\0")

    error = await refusal_of(ALICE, script)
    assert type(error) is ConnectionFailedError
    assert isinstance(error.__cause__, ProtocolError)


class Slow(Plain):
    """Never ready."""

    async def begin(self, host: str) -> Steps:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        (
            Slow("alice", "alice-secret"),
            "Plain(username='alice') was still getting ready, as by fetching a token",
        ),
        (ALICE, "it was still busy with PLAIN"),
    ],
)
async def test_all_of_it_is_within_connect_timeout(auth: Auth, text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer)

    error = await refusal_of(auth, script, connect_timeout=0.3)
    assert type(error) is ConnectionFailedError
    assert "within 0.3 s (connect_timeout)" in str(error)
    assert text in str(error)


@pytest.mark.parametrize(
    ("auth", "host", "is_open", "warnings"),
    [
        (ALICE, "kafka", True, 1),
        (ALICE, "kafka", False, 0),
        (ALICE, "localhost", True, 0),
        (Counting(), "kafka", True, 0),
        (OAuthBearer(lambda: "t"), "10.0.0.1", True, 1),
    ],
)
async def test_a_password_in_the_clear_is_warned_of(
    auth: Auth, host: str, *, is_open: bool, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        peer.end()

    with caplog.at_level(logging.WARNING, logger="krafka"):
        await refusal_of(auth, script, host=host, is_open=is_open)
    told = [record.getMessage() for record in caplog.records if "without TLS" in record.getMessage()]
    assert len(told) == warnings
    assert all(auth.mechanism in text and host in text and "tls=True" in text for text in told)
    assert "alice-secret" not in caplog.text


async def test_it_is_warned_of_once() -> None:
    from krafka._io.authentication import Authenticator

    heard: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    handler = Handler()
    logging.getLogger("krafka").addHandler(handler)
    try:
        authenticator = Authenticator(ALICE, is_open=True)
        for host in ("localhost", "a", "b", "a"):
            (await authenticator.begin(host)).close()
    finally:
        logging.getLogger("krafka").removeHandler(handler)
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("kafka.localhost", True),
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost.example", False),
        ("127.evil.example", False),
        ("10.0.0.1", False),
        ("kafka", False),
    ],
)
def test_what_looks_like_this_machine(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_let_in_is_let_in() -> None:
    async with authenticated(ALICE, let_in) as (connection, _):
        assert connection.is_usable


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_plain_source_of_tokens_may_block_and_an_async_one_runs_on_the_loop(
    *, is_async: bool
) -> None:
    called_in = []

    def plain() -> str:
        called_in.append(threading.get_ident())
        return "t"

    async def coroutine() -> str:
        return plain()

    (await OAuthBearer(coroutine if is_async else plain).begin("kafka")).close()
    assert (called_in == [threading.get_ident()]) is is_async
