"""A connection's requests: their order, their responses, and bytes that are no response."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from scripted_peer import (
    METADATA,
    Outcomes,
    ReceivedRequest,
    assert_network_errors,
    connected,
    metadata,
    partition_of,
    produce,
)

from krafka._state.pipeline import LARGEST_CORRELATION_ID, RequestPipeline
from krafka._wire.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from krafka._wire.metadata import MetadataRequest, MetadataResponse
from krafka._wire.produce import (
    ProduceRequest,
    ProduceResponse,
)
from krafka.errors import (
    ProtocolError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

# ---------------------------------------------------------------------- requests and their responses


async def test_a_request_and_its_response() -> None:
    async with connected(client_id="billing") as (connection, peer):
        async with anyio.create_task_group() as task_group:

            async def answer() -> None:
                request = await peer.receive()
                assert request.client_id == "billing"
                assert request.version == 13
                peer.respond(request, metadata("the one"))

            task_group.start_soon(answer)
            response = await connection.request(METADATA)
        assert response.cluster_id == "the one"
        assert connection.in_flight == 0
        assert connection.is_usable


async def test_requests_are_pipelined_and_answered_in_order() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        for name in ("a", "b", "c"):
            await connection.send(METADATA, on_response=outcomes.of(name))
        assert connection.in_flight == 3
        requests = [await peer.receive() for _ in range(3)]
        assert len({request.correlation_id for request in requests}) == 3
        for number, request in enumerate(requests):
            peer.respond(request, metadata(str(number)))
        await outcomes.wait_for("a", "b", "c")
    assert outcomes.order == ["a", "b", "c"]
    assert [outcomes.only(name).cluster_id for name in "abc"] == ["0", "1", "2"]


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 1000])
async def test_any_chunking_of_the_responses(chunk_size: int) -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stream.chunk_size = chunk_size
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await connection.send(InitProducerIdRequest(transactional_id=None), on_response=outcomes.of("b"))
        first, second = await peer.receive(), await peer.receive()
        peer.send(
            peer.frame(first, metadata("first")) + peer.frame(second, InitProducerIdResponse(producer_id=77))
        )
        await outcomes.wait_for("a", "b")
    assert outcomes.only("a").cluster_id == "first"
    assert outcomes.only("b").producer_id == 77


async def test_concurrent_senders_keep_the_order_of_their_calls() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(0)
        called: list[int] = []

        async def send(index: int) -> None:
            called.append(index)
            await connection.send(produce(index=index), on_response=outcomes.of(str(index)))

        async with anyio.create_task_group() as task_group:
            for index in range(20):
                task_group.start_soon(send, index)
            await anyio.wait_all_tasks_blocked()
            sends_before = peer.stream.sends
            peer.stall_after(math.inf)
        received = [partition_of(await peer.receive()) for _ in range(20)]
        # The first write was under way; all that queued behind it went out in one more.
        assert peer.stream.sends == sends_before + 1
    assert received == called
    assert sorted(called) == list(range(20))
    assert_network_errors(outcomes, **{str(index): True for index in range(20)})


async def test_counters() -> None:
    async with connected() as (connection, peer):
        assert connection.requests_sent == 1
        sent, received = connection.bytes_sent, connection.bytes_received
        assert sent > 0
        outcomes = Outcomes()
        await connection.send(produce(1000), on_response=outcomes.of("a"))
        frame = peer.frame(await peer.receive(), ProduceResponse())
        peer.send(frame)
        await outcomes.wait_for("a")
        assert connection.requests_sent == 2
        assert sent + 1000 < connection.bytes_sent < sent + 1200
        assert connection.bytes_received == received + len(frame)


async def test_without_a_response_the_outcome_comes_with_the_write() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(produce(acks=0), on_response=outcomes.of("silent"), expect_response=False)
        await outcomes.wait_for("silent")
        assert outcomes.only("silent") is None
        assert connection.in_flight == 0
        await connection.send(METADATA, on_response=outcomes.of("answered"))
        await peer.receive()
        peer.respond(await peer.receive(), metadata())
        await outcomes.wait_for("answered")
        assert isinstance(outcomes.only("answered"), MetadataResponse)


async def test_a_cancelled_request_leaves_the_connection_in_step() -> None:
    async with connected() as (connection, peer):
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(connection.request, METADATA)
            abandoned = await peer.receive()
            task_group.cancel_scope.cancel()
        assert connection.in_flight == 1
        outcomes = Outcomes()
        await connection.send(METADATA, on_response=outcomes.of("next"))
        peer.respond(abandoned, metadata("abandoned"))
        peer.respond(await peer.receive(), metadata("next"))
        await outcomes.wait_for("next")
        assert outcomes.only("next").cluster_id == "next"
        assert connection.is_usable


async def test_a_caller_cancelled_beforehand_sends_nothing() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await connection.send(METADATA, on_response=outcomes.of("never"))
        assert connection.in_flight == 0
        assert connection.is_usable
        assert not peer.stream.to_peer
    assert outcomes.order == []


def test_correlation_ids_wrap_to_zero() -> None:
    pipeline = RequestPipeline("krafka", "broker", next_correlation_id=LARGEST_CORRELATION_ID)
    for _ in range(2):
        pipeline.queue(METADATA, 1, print, expects_response=True, timeout=1, deadline=1)
    pipeline.take_chunk()
    written, queued = pipeline.drain()
    assert [pending.correlation_id for pending in written] == [2**31 - 1, 0]
    assert queued == []
    assert pipeline.in_flight == 0


def test_a_request_that_cannot_be_encoded_changes_nothing() -> None:
    pipeline = RequestPipeline("krafka", "broker")
    bad = ProduceRequest(acks=2**20)
    with pytest.raises((ValueError, OverflowError)):
        pipeline.queue(bad, 9, print, expects_response=True, timeout=1, deadline=1)
    assert pipeline.in_flight == 0
    pipeline.queue(METADATA, 1, print, expects_response=True, timeout=1, deadline=1)
    assert pipeline.earliest_deadline() is not None


# ---------------------------------------------------------------------- versions and throttling


async def test_versions_are_negotiated_and_their_absence_explained() -> None:
    offered = [(0, 3, 9), (3, 90, 95), (18, 0, 4), (22, 0, 99)]
    async with connected(versions=offered) as (connection, _):
        assert connection.api_version(ProduceRequest) == 9
        assert connection.api_version(InitProducerIdRequest) == 5
        with pytest.raises(
            UnsupportedVersionError, match=r"Metadata versions 0 to 13; broker 1 at kafka:9092 offers 90"
        ):
            connection.api_version(MetadataRequest)
        outcomes = Outcomes()
        with pytest.raises(UnsupportedVersionError, match="upgrade krafka"):
            await connection.send(METADATA, on_response=outcomes.of("never"))
        assert connection.is_usable
    assert outcomes.order == []


async def test_an_old_broker_is_told_from_a_missing_api() -> None:
    async with connected(versions=[(0, 0, 2), (18, 0, 4)]) as (connection, _):
        with pytest.raises(
            UnsupportedVersionError, match=r"offers 0 to 2; the broker is too old: Kafka 2\.1"
        ):
            connection.api_version(ProduceRequest)
        with pytest.raises(UnsupportedVersionError, match="does not offer this API"):
            connection.api_version(MetadataRequest)
        assert connection.versions is not None
        assert not connection.versions.supports(MetadataRequest)


@pytest.mark.parametrize(("highest", "waits"), [(5, False), (6, True)])
async def test_throttling_counts_from_the_version_that_leaves_it_to_clients(
    highest: int, waits: bool
) -> None:
    async with connected(versions=[(3, 0, highest), (18, 0, 4)]) as (connection, peer):
        outcomes = Outcomes()
        await connection.send(METADATA, on_response=outcomes.of("a"))
        before = anyio.current_time()
        peer.respond(await peer.receive(), metadata(throttle_time_ms=5000))
        await outcomes.wait_for("a")
        assert connection.is_usable
        assert (connection.throttled_until >= before + 5) is waits
        assert (connection.throttled_until == -math.inf) is not waits


# ---------------------------------------------------------------------- bytes that cannot be right


async def fails_with_protocol_error(damage: Callable[[Any, ReceivedRequest], None], words: str) -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await connection.send(produce(), on_response=outcomes.of("b"))
        damage(peer, await peer.receive())
        await peer.closed_by_client()
        await outcomes.wait_for("a", "b")
        assert not connection.is_usable
        assert isinstance(connection.close_reason, ProtocolError)
        assert words in str(connection.close_reason)
    assert_network_errors(outcomes, a=True, b=True)
    assert isinstance(outcomes.only("a").__cause__, ProtocolError)


async def test_an_unexpected_correlation_id() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        request.correlation_id = 4711
        peer.respond(request, metadata())

    await fails_with_protocol_error(damage, "4711")


async def test_a_body_that_does_not_decode() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        frame = peer.frame(request, metadata())
        peer.send(frame[:8] + b"\xff" * (len(frame) - 8))

    await fails_with_protocol_error(damage, "Metadata")


async def test_bytes_left_over_after_a_body() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        frame = peer.frame(request, metadata()) + b"rest"
        peer.send((len(frame) - 4).to_bytes(4, "big") + frame[4:])

    await fails_with_protocol_error(damage, "left over")


@pytest.mark.parametrize("size", [-1, 0, 3, 100 * 1024 * 1024 + 1, 2**31 - 1])
async def test_a_hostile_size(size: int) -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        peer.send(size.to_bytes(4, "big", signed=True))

    await fails_with_protocol_error(damage, f"{size} bytes")


async def test_a_response_nobody_asked_for() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        request = await peer.receive()
        peer.send(2 * peer.frame(request, metadata()))
        await peer.closed_by_client()
        assert "while no request was open" in str(connection.close_reason)
    # The first of the two was right, and counts.
    assert isinstance(outcomes.only("a"), MetadataResponse)
