"""No password, key or token shows: not in errors, logs and reprs, nor in the variables of a traceback's functions."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import traceback
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute
from sasl_peer import answer_handshake, answer_token, authenticated, expect, let_in, refusal_of
from scripted_peer import Peer, autojump

from krafka._io.handshake import StreamExchange
from krafka._io.tls import TlsContexts
from krafka._io.transport import TcpConnector
from krafka._io.writer import RequestWriter
from krafka._state.framing import FrameReader
from krafka._state.pipeline import RequestPipeline
from krafka._wire.sasl_authenticate import SaslAuthenticateRequest
from krafka.auth import AwsMskIam, OAuthBearer, Plain, ScramSha256, ScramSha512, TlsConfig, Token
from krafka.auth._base import Work
from krafka.auth._secret import Secret, required_text
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from anyio.abc import ByteStream

    from krafka.auth import Auth

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-0f-alice"


def in_any_form() -> list[str]:
    """The secret as it could be printed: as it is, and as parts of bytes and of base64."""
    encoded = base64.b64encode(SECRET.encode()).decode().rstrip("=")
    return [SECRET, encoded, encoded[2:-2]]


def assert_hidden(error: BaseException, caplog: pytest.LogCaptureFixture | None = None) -> None:
    """Neither the error nor those behind it show the secret to who prints variables, and krafka is in the traceback."""
    frames = 0
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        todo += [each.__cause__, each.__context__]
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        told.stack[:] = [frame for frame in told.stack if "krafka/" in frame.filename]
        frames += len(told.stack)
        shown = "".join(told.format())
        assert [form for form in in_any_form() if form in shown] == [], shown
    assert frames
    if caplog is not None:
        assert [form for form in in_any_form() if form in caplog.text] == []


def every_auth() -> dict[str, Auth]:
    return {
        "plain": Plain("alice", SECRET),
        "scram-256": ScramSha256("alice", SECRET),
        "scram-512": ScramSha512("alice", SECRET, delegation_token=True),
        "oauthbearer": OAuthBearer(lambda: Token(SECRET)),
        "aws": AwsMskIam("AKIA", SECRET, "eu-central-1", SECRET),
    }


async def refuse(peer: Peer) -> None:
    await answer_token(peer, error_code=58, error_message="no")


async def leave(peer: Peer) -> None:
    await expect(peer, SaslAuthenticateRequest)
    peer.end()


async def break_off(peer: Peer) -> None:
    await expect(peer, SaslAuthenticateRequest)
    peer.reset()


async def answer_with(peer: Peer, answer: bytes) -> None:
    while True:
        await answer_token(peer, auth_bytes=answer)


async def say_nothing(peer: Peer) -> None:
    await expect(peer, SaslAuthenticateRequest)


async def first_of_scram(peer: Peer, iterations: bytes = b"4096") -> None:
    """As far as the proof; what comes then is no signature."""
    request = await expect(peer, SaslAuthenticateRequest)
    nonce = re.search(rb"r=([^,]+)", bytes(request.body.auth_bytes))
    answer = b"r=" + (nonce[1] if nonce else b"") + b"x,s=c2FsdA==,i=" + iterations
    peer.respond(request, request.body.RESPONSE(auth_bytes=answer))
    await answer_with(peer, b"v=AAAA")


ENDS: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "refused": refuse,
    "left": leave,
    "broken off": break_off,
    "unanswered": say_nothing,
    "nonsense": partial(answer_with, answer=b"\xff\0"),
    "a proof that is not answered": first_of_scram,
    "too few iterations": partial(first_of_scram, iterations=b"1"),
}


@pytest.mark.parametrize(
    ("name", "end"),
    [(name, end) for name in sorted(every_auth()) for end in list(ENDS)[: 4 if name == "plain" else None]],
)
async def test_a_login_that_fails(name: str, end: str, caplog: pytest.LogCaptureFixture) -> None:
    auth = every_auth()[name]

    async def script(peer: Peer) -> None:
        await peer.answer_versions()
        await answer_handshake(peer, auth.mechanism)
        await ENDS[end](peer)

    with caplog.at_level(logging.DEBUG):
        assert_hidden(await refusal_of(auth, script, connect_timeout=0.3), caplog)


@contextlib.asynccontextmanager
async def broken_stream() -> AsyncIterator[ByteStream]:
    """A TCP stream that fails in the system's call when something is sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        async with await TcpConnector().connect("127.0.0.1", listener.getsockname()[1]) as stream:
            stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)
            yield stream


async def first_step(name: str) -> SaslAuthenticateRequest:
    steps = await every_auth()[name].begin("127.0.0.1")
    while isinstance(step := next(steps), Work):
        step.run()
    return SaslAuthenticateRequest(auth_bytes=memoryview(step))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(every_auth()))
async def test_a_socket_that_breaks_while_the_secret_leaves(name: str) -> None:
    async with broken_stream() as stream:
        frames = FrameReader(1000, "broker")
        exchange = StreamExchange(stream, frames, client_id="c", peer="broker", host="127.0.0.1")
        with pytest.raises(ConnectionFailedError) as caught:
            await exchange.ask(await first_step(name), 2)
    assert_hidden(caught.value)


@pytest.mark.parametrize("name", sorted(every_auth()))
async def test_a_socket_that_breaks_while_the_secret_leaves_again(name: str) -> None:
    pipeline = RequestPipeline("c", "broker")
    broke: list[Exception] = []
    async with broken_stream() as stream:
        writer = RequestWriter(stream, pipeline, wrote=lambda *_: None, broke=broke.append)
        pipeline.park()
        pending = pipeline.queue(
            await first_step(name), 2, lambda *_: None, expects_response=True, timeout=1, deadline=1
        )
        pipeline.let_through(pending)
        writer.push()
    (error,) = broke
    assert_hidden(error)


@autojump()
async def test_a_renewal_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with authenticated(every_auth()["plain"], partial(let_in, lifetime_ms=100_000)) as (
            connection,
            peer,
        ):
            await anyio.sleep(91)
            await answer_handshake(peer)
            await refuse(peer)
            await peer.closed_by_client()
    assert isinstance(connection.close_reason, AuthenticationError)
    assert_hidden(connection.close_reason, caplog)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plain("", SECRET),
        lambda: Plain("alice", SECRET + "\0"),
        lambda: ScramSha256("alice\0", SECRET),
        lambda: Token(SECRET + " "),
        lambda: Token(SECRET, expires_at="x"),  # type: ignore[arg-type]
        lambda: OAuthBearer(SECRET),  # type: ignore[arg-type]
        lambda: TlsConfig(key_password=SECRET),
        lambda: TlsConfig(key=f"-----BEGIN PRIVATE KEY-----{SECRET}", server_name=""),
    ],
)
def test_what_is_wrong_where_it_is_given(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert_hidden(caught.value)


async def test_a_key_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
    (tmp_path / "both.pem").write_text(text)
    for config in (
        TlsConfig(certificate=text, key_password=SECRET),
        TlsConfig(certificate=tmp_path / "both.pem", key=text, key_password=SECRET),
        TlsConfig(ca=f"-----BEGIN CERTIFICATE-----\n{SECRET}"),
    ):
        with pytest.raises(AuthenticationError) as caught:
            await TlsContexts(config).current()
        assert_hidden(caught.value, caplog)


async def test_a_source_of_tokens_that_returns_something_else() -> None:
    for wrong in (SECRET.encode(), f"{SECRET} with blanks", [SECRET]):
        with pytest.raises(AuthenticationError) as caught:
            await OAuthBearer(lambda wrong=wrong: wrong).begin("kafka")  # type: ignore[misc]
        assert_hidden(caught.value)


@pytest.mark.parametrize(
    "shown", [*every_auth().values(), Token(SECRET), Secret(SECRET)], ids=lambda each: type(each).__name__
)
def test_reprs(shown: object) -> None:
    for text in (repr(shown), str(shown), f"{shown}"):
        assert [form for form in in_any_form() if form in text] == []


def test_what_is_hidden_would_be_found() -> None:
    """The judge of these tests sees a secret in a variable of krafka's."""
    with pytest.raises(ConfigError) as caught:
        required_text(SECRET + "\0", "Plain", "username")
    with pytest.raises(AssertionError):
        assert_hidden(caught.value)
