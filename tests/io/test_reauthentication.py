"""A session is renewed on the live connection before it ends, what is sent meanwhile waits, and nothing is lost."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sasl_peer import RENEWAL, answer_handshake, answer_token, authenticated, authenticating, expect, let_in
from scripted_peer import METADATA, Outcomes, Peer, PeerConnector, autojump, metadata, partition_of, produce

from krafka._io.authentication import RENEW_SHARES, SHORTEST_INTERVAL, Authenticator
from krafka._io.connection import Connection
from krafka._wire.produce import ProduceRequest, ProduceResponse
from krafka._wire.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from krafka._wire.sasl_handshake import SaslHandshakeRequest
from krafka.auth import OAuthBearer, Plain, Token
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NetworkError,
    SaslAuthenticationFailedError,
)

if TYPE_CHECKING:
    from krafka.auth._base import Steps

pytestmark = pytest.mark.anyio

ALICE = Plain("alice", "alice-secret")
LIFETIME_MS = 100_000
RENEWED_AT = LIFETIME_MS / 1000 * RENEWAL
lasting = partial(let_in, lifetime_ms=LIFETIME_MS)


async def answer_produce(peer: Peer, index: int) -> None:
    request = await expect(peer, ProduceRequest)
    assert partition_of(request) == index
    peer.respond(request, ProduceResponse())


@pytest.mark.parametrize("lifetime_ms", [2000])
async def test_a_live_connection_logs_in_again_and_again(lifetime_ms: int) -> None:
    begun = anyio.current_time()
    outcomes = Outcomes()
    async with authenticated(ALICE, partial(let_in, lifetime_ms=lifetime_ms)) as (connection, peer):
        for _ in range(2):
            await answer_handshake(peer)
            assert await answer_token(peer, lifetime_ms) == b"\0alice\0alice-secret"
        assert 2 * RENEWAL * 2 <= anyio.current_time() - begun < 6
        await connection.send(METADATA, on_response=outcomes.of("after"))
        peer.respond(await peer.receive(), metadata())
        await outcomes.wait_for("after")
    assert outcomes.only("after").cluster_id == "answer"


@autojump()
async def test_it_begins_before_the_session_ends() -> None:
    async with authenticated(ALICE, lasting) as (_, peer):
        begun = anyio.current_time()
        with anyio.fail_after(1000):
            while not peer.stream.to_peer:
                await peer.stream.changed.wait()
        assert anyio.current_time() - begun == pytest.approx(RENEWED_AT)


@autojump()
async def test_without_a_limit_nothing_is_renewed() -> None:
    async with authenticated(ALICE, connections_max_idle=math.inf) as (connection, peer):
        await anyio.sleep(80_000)
        assert connection.is_usable
        assert not peer.stream.to_peer


@autojump()
async def test_what_is_under_way_is_answered_first_and_what_comes_waits() -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE, lasting, request_timeout=1000) as (connection, peer):
        for index in (1, 2):
            await connection.send(produce(index=index), on_response=outcomes.of(str(index)))
        await anyio.sleep(RENEWED_AT + 1)
        for index in (3, 4):
            await connection.send(produce(index=index), on_response=outcomes.of(str(index)))
        assert connection.in_flight == 5
        for index in (1, 2):
            await answer_produce(peer, index)
        await answer_handshake(peer)
        await outcomes.wait_for("1", "2")
        await connection.send(produce(index=5), on_response=outcomes.of("5"))
        request = await expect(peer, SaslAuthenticateRequest)
        await anyio.sleep(1)
        assert not peer.stream.to_peer
        assert set(outcomes.by_name) == {"1", "2"}
        peer.respond(request, SaslAuthenticateResponse(session_lifetime_ms=LIFETIME_MS))
        for index in (3, 4, 5):
            await answer_produce(peer, index)
        await outcomes.wait_for("3", "4", "5")
        assert outcomes.order == ["1", "2", "3", "4", "5"]
        assert all(isinstance(outcomes.only(name), ProduceResponse) for name in outcomes.order)
        assert connection.in_flight == 0


@autojump()
async def test_unacknowledged_records_wait_as_well() -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE, lasting) as (connection, peer):
        await anyio.sleep(RENEWED_AT + 1)
        request = await expect(peer, SaslHandshakeRequest)
        await connection.send(produce(acks=0), on_response=outcomes.of("a"), expect_response=False)
        await anyio.sleep(1)
        assert outcomes.by_name == {}
        peer.respond(request, SaslHandshakeRequest.RESPONSE(mechanisms=["PLAIN"]))  # type: ignore[call-arg]
        await answer_token(peer)
        await expect(peer, ProduceRequest)
        await outcomes.wait_for("a")


@autojump()
async def test_a_refusal_ends_the_connection_in_the_brokers_words(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE, lasting) as (connection, peer):
        await anyio.sleep(RENEWED_AT + 1)
        await answer_handshake(peer)
        await connection.send(produce(), on_response=outcomes.of("parked"))
        await answer_token(peer, error_code=58, error_message="the user is gone")
        await peer.closed_by_client()
        await outcomes.wait_for("parked")
        assert isinstance(connection.close_reason, SaslAuthenticationFailedError)
        assert "the user is gone" in str(connection.close_reason)
    parked = outcomes.only("parked")
    assert type(parked) is NetworkError
    assert not parked.possibly_written
    assert isinstance(parked.__cause__, AuthenticationError)
    assert "alice-secret" not in caplog.text


@autojump()
async def test_a_broker_that_does_not_answer_is_overdue() -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE, lasting, request_timeout=5) as (connection, peer):
        await anyio.sleep(RENEWED_AT + 1)
        await connection.send(produce(), on_response=outcomes.of("parked"))
        begun = anyio.current_time()
        await peer.closed_by_client()
        assert anyio.current_time() - begun <= 5
        assert "did not answer SaslHandshake v1 within 5 s" in str(connection.close_reason)
    assert not outcomes.only("parked").possibly_written


@autojump()
async def test_closing_meanwhile_fails_what_waits() -> None:
    outcomes = Outcomes()
    async with authenticated(ALICE, lasting) as (connection, peer):
        await anyio.sleep(RENEWED_AT + 1)
        await connection.send(produce(), on_response=outcomes.of("parked"))
        connection.close("the test says so")
        await peer.closed_by_client()
        await outcomes.wait_for("parked")
    assert not outcomes.only("parked").possibly_written


@autojump()
async def test_renewing_is_no_use_of_an_idle_connection() -> None:
    async with authenticated(ALICE, lasting, connections_max_idle=250) as (connection, peer):
        begun = anyio.current_time()
        for _ in range(2):
            await anyio.sleep(RENEWED_AT)
            await answer_handshake(peer)
            await answer_token(peer, LIFETIME_MS)
        await peer.closed_by_client(within=1000)
        assert anyio.current_time() - begun == pytest.approx(250)
        assert connection.has_idled


class Fetching:
    """A source of tokens that fails when a test wants it to."""

    def __init__(self) -> None:
        self.fetched: list[float] = []
        self.failure: Exception | None = None
        self.takes = 1.0

    async def __call__(self) -> Token:
        self.fetched.append(anyio.current_time())
        await anyio.sleep(self.takes)
        if self.failure is not None:
            raise self.failure
        return Token("t")


async def bearer(peer: Peer) -> None:
    await peer.answer_versions()
    await answer_handshake(peer, "OAUTHBEARER")
    await answer_token(peer, LIFETIME_MS)


@autojump()
async def test_the_token_is_fetched_before_anything_waits_for_it() -> None:
    source = Fetching()
    outcomes = Outcomes()
    async with authenticated(OAuthBearer(source), bearer) as (connection, peer):
        begun = anyio.current_time()
        await anyio.sleep(RENEWED_AT + 0.5)
        assert len(source.fetched) == 2
        await connection.send(produce(index=1), on_response=outcomes.of("1"))
        await answer_produce(peer, 1)
        await outcomes.wait_for("1")
        assert anyio.current_time() - begun == pytest.approx(RENEWED_AT + 0.5)
        await answer_handshake(peer, "OAUTHBEARER")
        assert anyio.current_time() - begun == pytest.approx(RENEWED_AT + 1)


@autojump()
async def test_a_source_that_fails_is_asked_again_while_the_session_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Fetching()
    outcomes = Outcomes()
    with caplog.at_level(logging.WARNING, logger="krafka"):
        async with authenticated(OAuthBearer(source), bearer) as (connection, peer):
            source.failure = OSError("the token server is away")
            await anyio.sleep(RENEWED_AT + 5)
            assert 3 <= len(source.fetched) <= 8
            await connection.send(produce(index=1), on_response=outcomes.of("1"))
            await answer_produce(peer, 1)
            source.failure = None
            await answer_handshake(peer, "OAUTHBEARER")
            await answer_token(peer, LIFETIME_MS)
            assert connection.is_usable
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "session with broker 1 at kafka:9092 ends in" in warned[0]
    assert "the token server is away" in warned[0]


@autojump()
@pytest.mark.parametrize(
    ("failure", "kind"),
    [(OSError("away"), NetworkError), (AuthenticationError("the secret was revoked"), AuthenticationError)],
)
async def test_a_session_that_cannot_be_renewed_ends_its_connection(
    failure: Exception, kind: type[Exception]
) -> None:
    source = Fetching()
    async with authenticated(OAuthBearer(source), bearer) as (connection, peer):
        begun = anyio.current_time()
        source.failure = failure
        await peer.closed_by_client(within=1000)
        assert LIFETIME_MS / 1000 <= anyio.current_time() - begun <= LIFETIME_MS / 1000 + 3
        assert type(connection.close_reason) is kind
        assert "could not be renewed" in str(connection.close_reason)
        assert str(failure) in str(connection.close_reason)


@autojump()
async def test_a_source_that_hangs_does_not_outlast_the_session() -> None:
    source = Fetching()
    async with authenticated(OAuthBearer(source), bearer) as (connection, peer):
        begun = anyio.current_time()
        source.takes = math.inf
        await peer.closed_by_client(within=1000)
        assert anyio.current_time() - begun == pytest.approx(LIFETIME_MS / 1000, abs=1)
        assert "was still getting ready" in str(connection.close_reason)


class Buggy(Plain):
    """Has a bug that shows at the second time."""

    times = 0

    async def begin(self, host: str) -> Steps:
        self.times += 1
        if self.times > 1:
            raise ZeroDivisionError
        return await super().begin(host)


@autojump()
async def test_a_bug_comes_to_light() -> None:
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, authenticating(Buggy("alice", "alice-secret")))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with anyio.create_task_group() as task_group:

            async def accept() -> None:
                await lasting(await connector.accept())

            task_group.start_soon(accept)
            await task_group.start(connection.run)
            await anyio.sleep(1000)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


def test_when_a_session_is_renewed() -> None:
    authenticator = Authenticator(ALICE, is_open=False)
    shares = [authenticator._renew_after(1000.0) / 1000 for _ in range(500)]
    low, high = RENEW_SHARES
    assert low <= min(shares) < low + 0.02
    assert high - 0.02 < max(shares) <= high
    assert authenticator._renew_after(0.5) == SHORTEST_INTERVAL


async def test_no_token_is_fetched_twice_at_once() -> None:
    fetched = 0

    async def token() -> Token:
        nonlocal fetched
        fetched += 1
        await anyio.sleep(0.05)
        return Token(f"t{fetched}", expires_at=4e9)

    auth = OAuthBearer(token)
    begun: list[Any] = []

    async def begin() -> None:
        begun.append(await auth.begin("kafka"))

    async with anyio.create_task_group() as task_group:
        for _ in range(10):
            task_group.start_soon(begin)
    assert fetched == 1
    assert {next(steps) for steps in begun} == {b"n,,\x01auth=Bearer t1\x01\x01"}
    for steps in begun:
        # One that is not let in has the next ask for another token.
        steps.close()
    await auth.begin("kafka")
    assert fetched == 2


async def test_who_waits_for_a_fetch_that_fails_tries_by_itself() -> None:
    tries = 0

    async def token() -> str:
        nonlocal tries
        tries += 1
        await anyio.sleep(0.01)
        if tries == 1:
            raise OSError("first")
        return "t"

    auth = OAuthBearer(token)
    failures: list[Exception] = []

    async def begin() -> None:
        try:
            await auth.begin("kafka")
        except ConnectionFailedError as error:
            failures.append(error)

    async with anyio.create_task_group() as task_group:
        for _ in range(3):
            task_group.start_soon(begin)
    assert len(failures) == 1
    assert "raised OSError instead of returning a token: first" in str(failures[0])


async def test_a_fresh_token_serves_until_four_fifths_of_its_life_are_over() -> None:
    now = 1000.0
    made: list[Token] = []

    async def fetch() -> Token:
        made.append(Token(f"t{len(made)}", expires_at=now + 100))
        return made[-1]

    from krafka.auth._token import TokenCache

    cache = TokenCache(fetch, clock=lambda: now)
    assert await cache.current() is made[0]
    now = 1079.9
    assert await cache.current() is made[0]
    now = 1080.0
    assert await cache.current() is made[1]


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (ValueError("x"), ConnectionFailedError, "raised ValueError instead of returning a token: x"),
        (NetworkError("x"), ConnectionFailedError, "gave no token: x"),
        (AuthenticationError("x"), AuthenticationError, "gave no token: x"),
        (None, AuthenticationError, "must return krafka.auth.Token or str, got NoneType"),
        (b"s3cr3t", AuthenticationError, "got bytes"),
        ("not a token", AuthenticationError, "gave no token: Token: value must be"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_source_may_do(answer: Any, kind: type[Exception], text: str, *, is_async: bool) -> None:
    def plain() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def coroutine() -> Any:
        return plain()

    with pytest.raises(kind, match=text) as caught:
        await OAuthBearer(coroutine if is_async else plain).begin("kafka")
    assert "s3cr3t" not in str(caught.value)
    assert "not a token" not in str(caught.value).replace("not a token source", "")
