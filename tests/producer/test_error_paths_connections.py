"""Connections that end, lie or fall silent, leaders that move, and brokers of other ages."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from faulty import (
    ONE_RECORD_A_BATCH,
    TOPIC,
    causes,
    enqueue,
    error_of,
    faulty,
    numbered,
    numbers,
    offsets,
)

from krafka import DeliveryTimeoutError, NotLeaderOrFollowerError, Producer, RequestTimedOutError
from krafka.errors import (
    NetworkError,
    ProtocolError,
    UnsupportedCompressionTypeError,
    UnsupportedVersionError,
)
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio

APPEND = pytest.mark.parametrize("after_append", [False, True], ids=["before the append", "after the append"])


@APPEND
@pytest.mark.parametrize("skip", range(5))
async def test_a_connection_ends_with_five_requests_in_flight(skip: int, after_append: bool) -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        fault = cluster.fail("Produce", disconnect=True, skip=skip, after_append=after_append)
        deliveries = await enqueue(producer, numbered(range(1, 21)))
        assert await offsets(deliveries) == list(range(1, 21))
        assert cluster.brokers[1].connects >= 2
    assert fault.hits == 1
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(21))
    assert [record.sequence for record in records] == list(range(21))
    assert {record.producer_epoch for record in records} == {0}


@APPEND
async def test_connections_end_again_and_again(after_append: bool) -> None:
    async with faulty(partitions=3, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send_many(TOPIC, [b"warm"] * 6)
        for skip in (2, 4, 7, 11):
            cluster.fail("Produce", disconnect=True, skip=skip, after_append=after_append)
        deliveries = [
            await producer.enqueue(TOPIC, value, partition=number % 3)
            for number, value in enumerate(numbered(range(60)))
        ]
        for delivery in deliveries:
            await delivery
    for partition in range(3):
        values = [record for record in cluster.log(TOPIC, partition) if record.value != b"warm"]
        assert numbers(values) == list(range(partition, 60, 3))


async def test_a_plain_producer_keeps_its_order_when_a_connection_ends() -> None:
    async with faulty(idempotent=False, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        cluster.fail("Produce", disconnect=True, skip=3)
        deliveries = await enqueue(producer, numbered(range(20)))
        assert await offsets(deliveries) == list(range(20))
    assert numbers(cluster.log(TOPIC)) == list(range(20))


async def test_a_plain_producer_writes_twice_rather_than_not_at_all() -> None:
    async with faulty(idempotent=False) as (cluster, producer):
        cluster.fail("Produce", disconnect=True, after_append=True)
        assert (await producer.send(TOPIC, b"v")).offset == 1
    assert [record.value for record in cluster.log(TOPIC)] == [b"v", b"v"]


async def test_without_retries_the_record_is_in_doubt() -> None:
    async with faulty(retries=0) as (cluster, producer):
        cluster.fail("Produce", disconnect=True, after_append=True)
        with pytest.raises(NetworkError, match=rf"{TOPIC}-0, attempt 1") as caught:
            await producer.send(TOPIC, b"v")
        assert caught.value.possibly_written
        assert "broker 1 at fake-1:9092 closed the connection" in str(caught.value)
        assert (await producer.send(TOPIC, b"w")).offset == 1
    records = cluster.log(TOPIC)
    assert [record.value for record in records] == [b"v", b"w"]
    # The fate of the first is unknown, so its number is not given away.
    assert (records[1].producer_epoch, records[1].sequence) != (0, 0)


# -- bytes that are not what they should be ----------------------------------------------------------------------------

DAMAGES: dict[str, dict[str, Any]] = {
    "a foreign correlation id": {"correlation_id": 77},
    "a negative length": {"frame_size": -5},
    "a length without end": {"frame_size": 2**31 - 1},
    "a length too short": {"frame_size": 3},
    "half an answer": {"cut_at": 20},
    "an answer of one byte": {"cut_at": 1},
    "no answer": {"cut_at": 0},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_answer_costs_a_connection_and_no_record(
    damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="krafka"):
        async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
            await producer.send(TOPIC, b"0:")
            cluster.fail("Produce", skip=1, after_append=True, **damage)
            deliveries = await enqueue(producer, numbered(range(1, 11)))
            assert await offsets(deliveries) == list(range(1, 11))
            assert cluster.brokers[1].connects == 2
            assert (await producer.send(TOPIC, b"11:")).offset == 11
    assert numbers(cluster.log(TOPIC)) == list(range(12))
    assert any("fake-1:9092" in record.getMessage() for record in caplog.records)


async def test_the_error_names_what_was_wrong_with_the_bytes() -> None:
    async with faulty(retries=0) as (cluster, producer):
        cluster.fail("Produce", correlation_id=77)
        with pytest.raises(NetworkError, match="correlation id 77") as caught:
            await producer.send(TOPIC, b"v")
        assert any(isinstance(cause, ProtocolError) for cause in causes(caught.value))
        cluster.fail("Produce", frame_size=2**31 - 1)
        with pytest.raises(NetworkError, match="2147483647 bytes"):
            await producer.send(TOPIC, b"v")


@pytest.mark.parametrize("api", ["ApiVersions", "Metadata", "InitProducerId"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_damaged_answers_before_the_first_record(api: str, damage: dict[str, Any]) -> None:
    async with FakeCluster() as cluster:
        fault = cluster.fail(api, **damage)
        with anyio.fail_after(60):
            async with Producer(
                cluster.bootstrap,
                connector=cluster,
                retry_backoff=0.001,
                reconnect_backoff=0.001,
                connect_timeout=0.2,
            ) as producer:
                assert (await producer.send(TOPIC, b"v")).offset == 0
        assert fault.hits == 1


async def test_an_answer_in_single_bytes() -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", chunk_size=1)
        assert (await producer.send(TOPIC, b"v")).offset == 0
        assert cluster.brokers[1].connects == 1


async def test_an_answer_that_leaves_partitions_out() -> None:
    async with faulty(partitions=2, retry_backoff=0.001) as (cluster, producer):
        cluster.fail("Produce", edit=lambda response: response.responses.clear(), after_append=True)
        deliveries = [producer.enqueue_nowait(TOPIC, b"v", partition=number) for number in range(2)]
        assert await offsets(deliveries) == [0, 0]
    assert [record.value for record in cluster.log(TOPIC)] == [b"v", b"v"]


async def test_an_answer_about_what_was_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    def confuse(response: Any) -> None:
        response.responses[0].partition_responses[0].index = 9

    with caplog.at_level(logging.WARNING, logger="krafka"):
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", edit=confuse, after_append=True)
            assert (await producer.send(TOPIC, b"v")).offset == 0
    assert len(cluster.log(TOPIC)) == 1
    assert any(f"{TOPIC}-9" in record.getMessage() for record in caplog.records)


@APPEND
async def test_a_broker_that_does_not_answer_in_time(after_append: bool) -> None:
    async with faulty(request_timeout=0.1) as (cluster, producer):
        fault = cluster.fail("Produce", hold=True, after_append=after_append)
        assert (await producer.send(TOPIC, b"v")).offset == 0
        fault.release()
    assert [record.value for record in cluster.log(TOPIC)] == [b"v"]


async def test_no_answer_in_time_and_no_retries() -> None:
    async with faulty(request_timeout=0.1, retries=0) as (cluster, producer):
        cluster.fail("Produce", stall=True)
        with pytest.raises(RequestTimedOutError, match=r"request_timeout") as caught:
            await producer.send(TOPIC, b"v")
        assert caught.value.possibly_written
        assert f"{TOPIC}-0" in str(caught.value)


async def test_a_slow_reader_gets_everything_once() -> None:
    async with faulty(cluster={"capacity": 100}, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.pause_broker(1)
        deliveries = await enqueue(producer, numbered(range(1, 21)))
        await anyio.wait_all_tasks_blocked()
        assert len(cluster.log(TOPIC)) == 1
        cluster.resume_broker(1)
        assert await offsets(deliveries) == list(range(1, 21))
        assert cluster.brokers[1].connects == 1
    assert numbers(cluster.log(TOPIC)) == list(range(21))


# -- leaders -----------------------------------------------------------------------------------------------------------


async def test_a_leader_moves_and_the_old_one_tells_where() -> None:
    async with faulty(brokers=2) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.move_leader(TOPIC, 0, to=2, propagate=False)
        # Metadata are stale for ever here: only the hint can help.
        assert (await producer.send(TOPIC, b"1:")).offset == 1
        produced = [request.broker for request in cluster.received if request.api == "Produce"]
    assert produced == [1, 1, 2]


async def test_a_leader_moves_and_metadata_follow_late() -> None:
    async with faulty(brokers=2, cluster={"leader_hints": False}) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.move_leader(TOPIC, 0, to=2, propagate=False)
        deliveries = await enqueue(producer, numbered(range(1, 11)))
        asked = cluster.requests["Metadata"]
        await cluster.until(lambda: cluster.requests["Metadata"] >= asked + 2)
        assert len(cluster.log(TOPIC)) == 1
        cluster.propagate()
        assert await offsets(deliveries) == list(range(1, 11))
    assert numbers(cluster.log(TOPIC)) == list(range(11))


@pytest.mark.parametrize("skip", range(5))
async def test_a_leader_moves_with_five_requests_in_flight(skip: int) -> None:
    async with faulty(brokers=2, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        held = cluster.fail("Produce", hold=True, skip=skip, after_append=True)
        deliveries = await enqueue(producer, numbered(range(1, 21)))
        await held.struck()
        cluster.move_leader(TOPIC, 0, to=2)
        held.release()
        assert await offsets(deliveries) == list(range(1, 21))
    assert numbers(cluster.log(TOPIC)) == list(range(21))
    assert {record.producer_epoch for record in cluster.log(TOPIC)} == {0}


async def test_leaders_move_to_and_fro_under_load() -> None:
    async with faulty(brokers=3, partitions=2, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        deliveries = []
        for number, value in enumerate(numbered(range(300))):
            if number % 20 == 0:
                cluster.move_leader(TOPIC, number // 20 % 2, to=number // 20 % 3 + 1)
            deliveries.append(await producer.enqueue(TOPIC, value, partition=number % 2))
        for delivery in deliveries:
            await delivery
    for partition in (0, 1):
        assert numbers(cluster.log(TOPIC, partition)) == list(range(partition, 300, 2))


async def test_a_broker_dies_and_another_leads() -> None:
    async with faulty(brokers=3, partitions=3) as (cluster, producer):
        before = [await producer.send(TOPIC, b"a", partition=number) for number in range(3)]
        cluster.stop_broker(1)
        after = [await producer.send(TOPIC, b"b", partition=number) for number in range(3)]
        cluster.start_broker(1)
        cluster.stop_broker(2)
        cluster.stop_broker(3)
        last = [await producer.send(TOPIC, b"c", partition=number) for number in range(3)]
    assert [[m.offset for m in each] for each in (before, after, last)] == [[0] * 3, [1] * 3, [2] * 3]


async def test_no_broker_for_a_while() -> None:
    async with faulty(brokers=2) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.stop_broker(1)
        cluster.stop_broker(2)
        deliveries = await enqueue(producer, numbered(range(1, 6)))
        await anyio.wait_all_tasks_blocked()
        cluster.start_broker(2)
        assert await offsets(deliveries) == [1, 2, 3, 4, 5]
    assert numbers(cluster.log(TOPIC)) == list(range(6))


async def test_a_hint_to_a_broker_that_is_down_is_not_the_last_word() -> None:
    async with faulty(brokers=3) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.move_leader(TOPIC, 0, to=2, propagate=False)
        cluster.brokers[2].is_up = False
        delivery = await producer.enqueue(TOPIC, b"1:")
        await cluster.until(lambda: cluster.requests["Produce"] >= 2)
        cluster.brokers[2].is_up = True
        cluster.move_leader(TOPIC, 0, to=3)
        assert (await delivery).offset == 1


async def test_a_topic_made_anew_under_its_name_is_written_to() -> None:
    async with faulty() as (cluster, producer):
        await producer.send(TOPIC, b"old")
        cluster.delete_topic(TOPIC)
        cluster.create_topic(TOPIC, 1)
        assert (await producer.send(TOPIC, b"new")).offset == 0
    assert [record.value for record in cluster.log(TOPIC)] == [b"new"]


async def test_a_topic_that_grows_is_used_whole() -> None:
    async with faulty(metadata_max_age=0.05) as (cluster, producer):
        cluster.add_partitions(TOPIC, 3)
        assert (await producer.send(TOPIC, b"v", partition=2)).offset == 0


# -- other brokers -----------------------------------------------------------------------------------------------------

OTHERS: list[dict[str, Any]] = [
    *({"Produce": (3, version)} for version in range(3, 14)),
    *({"Metadata": (0, version)} for version in range(14)),
    *({"InitProducerId": (0, version)} for version in range(6)),
    *({"ApiVersions": (0, version)} for version in range(5)),
]


@pytest.mark.parametrize("versions", OTHERS, ids=lambda each: "-".join(f"{k}{v[1]}" for k, v in each.items()))
async def test_brokers_of_other_versions(versions: dict[str, Any]) -> None:
    async with faulty(brokers=2, partitions=2, cluster={"api_versions": versions}) as (cluster, producer):
        for partition in (0, 1):
            assert (await producer.send(TOPIC, b"a", partition=partition)).offset == 0
        cluster.move_leader(TOPIC, 0, to=2)
        cluster.fail("Produce", topic=TOPIC, partition=1, disconnect=True, after_append=True)
        assert (await producer.send(TOPIC, b"b", key=b"k", headers=[("h", None)], partition=0)).offset == 1
        assert (await producer.send(TOPIC, b"b", partition=1)).offset == 1
    api, (_, newest) = next(iter(versions.items()))
    assert {request.version for request in cluster.received if request.api == api} == {newest}
    assert [len(cluster.log(TOPIC, partition)) for partition in (0, 1)] == [2, 2]


async def test_zstd_is_refused_by_a_broker_that_does_not_know_it() -> None:
    old = {"api_versions": {"Produce": (3, 6)}}
    async with faulty(cluster=old, compression="zstd") as (_, producer):
        with pytest.raises(UnsupportedCompressionTypeError, match=f"{TOPIC}-0"):
            await producer.send(TOPIC, b"v")


@pytest.mark.parametrize(
    ("offered", "advice"), [((0, 2), "Kafka 2.1 or later"), ((14, 15), "upgrade krafka")], ids=["old", "new"]
)
async def test_a_broker_too_old_or_too_new_for_produce(offered: tuple[int, int], advice: str) -> None:
    async with faulty(cluster={"api_versions": {"Produce": offered}}) as (cluster, producer):
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        assert type(error) is UnsupportedVersionError
        assert "Produce versions 3 to 13" in str(error)
        assert advice in str(error)
        assert not error.possibly_written
        with pytest.raises(UnsupportedVersionError):
            await producer.send(TOPIC, b"v")
    assert cluster.requests["Produce"] == 0


# -- fewer acknowledgements --------------------------------------------------------------------------------------------


async def test_acks_of_all_unless_told_otherwise() -> None:
    async with faulty() as (cluster, producer):
        assert (await producer.send(TOPIC, b"v")).offset == 0
    assert {request.body.acks for request in cluster.received if request.api == "Produce"} == {-1}


async def test_acks_of_the_leader_alone() -> None:
    async with faulty(acks="leader") as (cluster, producer):
        cluster.fail("Produce", code=NotLeaderOrFollowerError)
        assert (await producer.send(TOPIC, b"v")).offset == 0
    assert {request.body.acks for request in cluster.received if request.api == "Produce"} == {1}


async def test_no_acks_are_no_offsets_and_the_log_has_the_records() -> None:
    async with faulty(acks="none") as (cluster, producer):
        deliveries = await enqueue(producer, numbered(range(20)))
        assert await offsets(deliveries) == [-1] * 20
        await producer.flush()
        assert numbers(cluster.log(TOPIC)) == list(range(20))


async def test_no_acks_and_a_leader_that_moved() -> None:
    async with faulty(brokers=2, acks="none") as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        await producer.flush()
        cluster.move_leader(TOPIC, 0, to=2)
        # Nothing but the end of the connection tells that this one is lost.
        await producer.send(TOPIC, b"lost:")
        await producer.flush()
        await cluster.until(lambda: cluster.brokers[1].connections == 0)
        for number in range(1, 50):
            await producer.send(TOPIC, b"%d:" % number)
            await producer.flush()
            if cluster.log(TOPIC)[-1].value != b"0:":
                break
        assert len(cluster.log(TOPIC)) == 2


async def test_no_acks_and_a_record_for_another_broker_during_a_flush() -> None:
    async with faulty(brokers=2, partitions=2, acks="none") as (cluster, producer):
        await enqueue(producer, [b"0:", b"1:"], 0)
        await cluster.until(lambda: len(cluster.log(TOPIC, 0)) == 2)
        asked = cluster.requests["ApiVersions"]
        held = cluster.fail("ApiVersions", hold=True)
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.flush)
            await cluster.until(lambda: cluster.requests["ApiVersions"] > asked)
            await enqueue(producer, [b"2:"], 1)
            await cluster.until(lambda: len(cluster.log(TOPIC, 1)) == 1)
            held.release()
    assert numbers(cluster.log(TOPIC, 0)) == [0, 1]


async def test_the_broker_goes_away_for_good() -> None:
    async with faulty(delivery_timeout=1.0) as (cluster, producer):
        await producer.send(TOPIC, b"v")
        cluster.stop_broker(1, propagate=False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(DeliveryTimeoutError, match="refused") as caught:
            await producer.send(TOPIC, b"w")
        assert not caught.value.possibly_written
