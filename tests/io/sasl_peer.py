"""The broker's side of SASL for the scripted peer: it lets in, refuses, or does what a test says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
from scripted_peer import Peer, PeerConnector

from krafka._io.authentication import Authenticator
from krafka._io.connection import Connection, ConnectionOptions
from krafka._wire.api import APIS_BY_KEY
from krafka._wire.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from krafka._wire.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from krafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from scripted_peer import ReceivedRequest

    from krafka.auth import Auth


class MidRange:
    """In place of a random generator: the middle of every range."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.5


RENEWAL = 0.9
"""The share of a session's life after which `MidRange` has it renewed."""


async def expect(peer: Peer, kind: type) -> ReceivedRequest:
    request = await peer.receive()
    assert isinstance(request.body, kind), request.body
    return request


async def answer_handshake(peer: Peer, mechanism: str = "PLAIN", **fields: Any) -> ReceivedRequest:
    request = await expect(peer, SaslHandshakeRequest)
    assert request.version == 1
    assert request.body.mechanism == mechanism
    peer.respond(request, SaslHandshakeResponse(mechanisms=[mechanism], **fields))
    return request


async def answer_token(peer: Peer, lifetime_ms: int = 0, **fields: Any) -> bytes:
    request = await expect(peer, SaslAuthenticateRequest)
    peer.respond(request, SaslAuthenticateResponse(session_lifetime_ms=lifetime_ms, **fields))
    return bytes(request.body.auth_bytes)


async def let_in(peer: Peer, lifetime_ms: int = 0) -> None:
    """ApiVersions, the handshake, and one token."""
    await peer.answer_versions()
    await answer_handshake(peer)
    await answer_token(peer, lifetime_ms)


def authenticating(auth: Auth, *, is_open: bool = False, **options: Any) -> ConnectionOptions:
    random: Any = MidRange()
    return ConnectionOptions(authenticator=Authenticator(auth, is_open=is_open, random=random), **options)


@contextlib.asynccontextmanager
async def authenticated(
    auth: Auth, script: Callable[[Peer], Awaitable[None]] = let_in, **options: Any
) -> AsyncIterator[tuple[Connection, Peer]]:
    """A running connection that has logged in, and its peer. Closed on leaving, and its task with it."""
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, authenticating(auth, **options), node_id=1)
    async with anyio.create_task_group() as task_group:
        peers: list[Peer] = []

        async def accept() -> None:
            peers.append(await connector.accept())
            await script(peers[0])

        task_group.start_soon(accept)
        await task_group.start(connection.run)
        yield connection, peers[0]
        connection.close()


async def refusal_of(
    auth: Auth,
    script: Callable[[Peer], Awaitable[None]],
    *,
    host: str = "kafka",
    is_open: bool = False,
    **options: Any,
) -> KafkaError:
    """The error with which logging in fails when the peer follows `script`."""
    connector = PeerConnector()
    connection = Connection(
        (host, 9092), connector, authenticating(auth, is_open=is_open, **options), node_id=1
    )
    failure: KafkaError | None = None

    async def play() -> None:
        await script(await connector.accept())

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(play)
        try:
            await task_group.start(connection.run)
        except KafkaError as error:
            failure = error
        task_group.cancel_scope.cancel()
    assert failure is not None
    return failure


def without(*api_keys: int, **ranges: tuple[int, int]) -> list[tuple[int, int, int]]:
    """What the client knows, but some APIs, and others in other versions (`k36=(0, 1)`)."""
    known = {api.key: (api.min_version, api.max_version) for api in APIS_BY_KEY.values()}
    return [(key, *ranges.get(f"k{key}", known[key])) for key in known if key not in api_keys]
