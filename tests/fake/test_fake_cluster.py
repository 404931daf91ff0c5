"""The fake cluster as its users meet it: topics, brokers, faults and its scope."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest

from krafka import ConnectionFailedError, NotLeaderOrFollowerError, Producer
from krafka._wire.api_versions import ApiVersionsRequest, ApiVersionsResponse
from krafka._wire.frames import decode_response, encode_request
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from krafka._wire.produce import ProduceRequest
from krafka.testing import FakeCluster, Fault
from krafka.testing.pytest_plugin import fake_kafka

from .frames import exchange

__all__ = ["fake_kafka"]

pytestmark = pytest.mark.anyio


class OopsError(Exception):
    pass


async def metadata(cluster: FakeCluster, *topics: str, version: int = 13) -> MetadataResponse:
    stream = await cluster.connect("fake-1", 9092)
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name=name) for name in topics], allow_auto_topic_creation=version < 4
    )
    frame = await exchange(stream, request, version)
    await stream.aclose()
    return decode_response(MetadataResponse, version, frame)


# -- scope -------------------------------------------------------------------------------------------------------------


async def test_the_fixture(fake_kafka: FakeCluster) -> None:
    async with Producer(fake_kafka.bootstrap, connector=fake_kafka.connector) as producer:
        result = await producer.send(
            "orders", b"two coffees", key=b"table-7", headers=[("n", b"1")], timestamp=5
        )
    (record,) = fake_kafka.log("orders")
    assert record[:7] == ("orders", 0, result.offset, 5, b"table-7", b"two coffees", (("n", b"1"),))
    assert fake_kafka.requests["Produce"] == 1


async def test_an_error_of_the_body_comes_out_bare() -> None:
    with pytest.raises(OopsError):
        async with FakeCluster() as cluster:
            stream = await cluster.connect("fake-1", 9092)
            raise OopsError
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()


async def test_nobody_answers_outside_the_block() -> None:
    cluster = FakeCluster()
    with pytest.raises(ConnectionFailedError, match="refused"):
        await cluster.connect("fake-1", 9092)
    async with cluster:
        await (await cluster.connect("fake-1", 9092)).aclose()
        with pytest.raises(ConnectionFailedError, match="refused"):
            await cluster.connect("fake-2", 9092)
    with pytest.raises(ConnectionFailedError, match="refused"):
        await cluster.connect("fake-1", 9092)


async def test_a_mistake_in_an_edit_is_not_swallowed() -> None:
    def mistaken(response: Any) -> None:
        raise OopsError

    with pytest.raises(ExceptionGroup) as caught:
        async with FakeCluster() as cluster:
            cluster.fail("Metadata", edit=mistaken)
            await metadata(cluster)
    assert caught.group_contains(OopsError)


# -- topics ------------------------------------------------------------------------------------------------------------


async def test_topics_are_told_with_leaders_in_turn() -> None:
    async with FakeCluster(3, replication=2) as cluster:
        cluster.create_topic("t", 4)
        response = await metadata(cluster, "t")
        assert sorted(broker.node_id for broker in response.brokers) == [1, 2, 3]
        (topic,) = response.topics
        assert topic.topic_id == cluster.topics["t"].topic_id
        assert [partition.leader_id for partition in topic.partitions] == [1, 2, 3, 1]
        assert [partition.replica_nodes for partition in topic.partitions] == [[1, 2], [2, 3], [3, 1], [1, 2]]


@pytest.mark.parametrize("version", range(14))
async def test_every_version_of_metadata_is_served(version: int) -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 2)
        response = await metadata(cluster, "t", "absent", "not legal", version=version)
        assert [(topic.name, topic.error_code) for topic in response.topics] == [
            ("t", 0),
            ("absent", 3),
            ("not legal", 17),
        ]
        assert [partition.leader_id for partition in response.topics[0].partitions] == [1, 2]
        # Before version 4 a client cannot keep a broker from creating a topic.
        assert ("absent" in cluster.topics) is (version < 4)


async def test_a_topic_created_on_demand_is_told_the_next_time() -> None:
    async with FakeCluster(default_partitions=3) as cluster:
        first = await metadata(cluster, "t", version=3)
        second = await metadata(cluster, "t", version=3)
        assert first.topics[0].error_code == 3
        assert len(second.topics[0].partitions) == 3
        cluster.auto_create_topics = False
        await metadata(cluster, "u", version=3)
        assert "u" not in cluster.topics


async def test_topic_ids_are_the_same_each_time_and_new_for_a_new_topic() -> None:
    ids = []
    for _ in range(2):
        cluster = FakeCluster(random=Random(3))
        cluster.create_topic("t")
        first = cluster.topics["t"].topic_id
        cluster.delete_topic("t")
        cluster.create_topic("t")
        ids.append((first, cluster.topics["t"].topic_id))
    assert ids[0] == ids[1]
    assert ids[0][0] != ids[0][1]


def test_mistakes_are_told() -> None:
    cluster = FakeCluster(2)
    cluster.create_topic("t", 1)
    with pytest.raises(ValueError, match="at least 1 broker"):
        FakeCluster(0)
    with pytest.raises(ValueError, match="'Fetch'"):
        FakeCluster(api_versions={"Fetch": (0, 1)})
    with pytest.raises(ValueError, match="'t' already"):
        cluster.create_topic("t")
    with pytest.raises(ValueError, match="legal name"):
        cluster.create_topic("no good")
    with pytest.raises(ValueError, match=r"'retention\.ms'"):
        cluster.create_topic("u", config={"retention.ms": "1"})
    with pytest.raises(ValueError, match="no topic 'u'"):
        cluster.log("u")
    with pytest.raises(ValueError, match="no partition 1"):
        cluster.log("t", 1)
    with pytest.raises(ValueError, match="no broker 3"):
        cluster.move_leader("t", 0, to=3)
    with pytest.raises(ValueError, match="'Fetch'"):
        cluster.fail("Fetch", code=6)
    with pytest.raises(ValueError, match="do nothing"):
        cluster.fail("Produce")
    with pytest.raises(ValueError, match="needs the topic"):
        cluster.fail("Produce", partition=0, code=6)
    with pytest.raises(ValueError, match="ConnectionFailedError"):
        cluster.fail("Produce", code=ConnectionFailedError)


# -- brokers and leaders -----------------------------------------------------------------------------------------------


async def test_metadata_follow_at_once_or_when_told_to() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 1)
        cluster.move_leader("t", 0, to=2, propagate=False)
        assert cluster.leader("t", 0) == 2
        assert (await metadata(cluster, "t")).topics[0].partitions[0].leader_id == 1
        cluster.propagate()
        told = (await metadata(cluster, "t")).topics[0].partitions[0]
        assert (told.leader_id, told.leader_epoch) == (2, 1)
        cluster.move_leader("t", 0, to=-1)
        told = (await metadata(cluster, "t")).topics[0].partitions[0]
        assert (told.leader_id, told.leader_epoch, told.error_code) == (-1, 2, 5)


async def test_a_broker_stops_and_starts() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 2)
        stream = await cluster.connect("fake-2", 9092)
        await cluster.until(lambda: cluster.brokers[2].connections == 1)
        cluster.stop_broker(2)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(ConnectionFailedError, match="refused"):
            await cluster.connect("fake-2", 9092)
        response = await metadata(cluster, "t")
        assert [broker.node_id for broker in response.brokers] == [1]
        assert [partition.leader_id for partition in response.topics[0].partitions] == [1, 1]
        assert response.topics[0].partitions[1].offline_replicas == [2]
        cluster.start_broker(2)
        assert len((await metadata(cluster, "t")).brokers) == 2
        await (await cluster.connect("fake-2", 9092)).aclose()


async def test_a_paused_broker_is_silent_and_goes_on() -> None:
    async with FakeCluster() as cluster:
        stream = await cluster.connect("fake-1", 9092)
        cluster.pause_broker(1)
        request = ApiVersionsRequest(client_software_name="t", client_software_version="1")
        with anyio.move_on_after(0.05) as scope:
            await exchange(stream, request, 4)
        assert scope.cancelled_caught
        assert cluster.requests["ApiVersions"] == 0
        cluster.resume_broker(1)
        await stream.receive()
        assert cluster.requests["ApiVersions"] == 1


# -- the protocol ------------------------------------------------------------------------------------------------------


async def test_versions_are_negotiated_as_kafka_does() -> None:
    async with FakeCluster(
        api_versions={"ApiVersions": (0, 2), "Produce": (3, 7), "InitProducerId": None}
    ) as cluster:
        stream = await cluster.connect("fake-1", 9092)
        request = ApiVersionsRequest(client_software_name="t", client_software_version="1")
        refused = decode_response(ApiVersionsResponse, 0, await exchange(stream, request, 4))
        assert refused.error_code == 35
        assert [(api.api_key, api.max_version) for api in refused.api_keys] == [(18, 2)]
        served = decode_response(ApiVersionsResponse, 2, await exchange(stream, request, 2))
        assert {api.api_key: (api.min_version, api.max_version) for api in served.api_keys} == {
            0: (3, 7),
            3: (0, 13),
            10: (0, 6),
            18: (0, 2),
            24: (0, 3),
            25: (0, 4),
            26: (0, 5),
            28: (0, 5),
            65: (0, 0),
        }
        # What is not offered ends the connection.
        with pytest.raises(anyio.EndOfStream):
            await exchange(stream, ProduceRequest(acks=1), 8)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x00\x00\x00",
        b"\x7f\xff\xff\xff",
        b"\0\0\0\x08\0\x63\0\0\0\0\0\1",
        b"\0\0\0\x02\0\0",
        b"\0\0\0\0",
    ],
    ids=["negative", "endless", "unknown api", "too short", "empty"],
)
async def test_requests_that_make_no_sense_end_the_connection(data: bytes) -> None:
    async with FakeCluster() as cluster:
        stream = await cluster.connect("fake-1", 9092)
        await stream.send(data)
        with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_requests_arrive_in_any_pieces() -> None:
    async with FakeCluster() as cluster:
        stream = await cluster.connect("fake-1", 9092)
        request = b"".join(encode_request(MetadataRequest(topics=[]), 12, 7, "test"))
        for byte in request * 3:
            await stream.send(bytes([byte]))
        await cluster.until(lambda: cluster.requests["Metadata"] == 3)
        assert [each.correlation_id for each in cluster.received] == [7, 7, 7]
        assert {each.client_id for each in cluster.received} == {"test"}


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_faults_strike_the_requests_they_are_for() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 2)
        cluster.create_topic("u", 2)
        other = cluster.fail("Metadata", topic="u", code=29)
        second = cluster.fail("Metadata", topic="t", code=5, skip=1, times=2)
        codes = [(await metadata(cluster, "t")).topics[0].error_code for _ in range(4)]
        assert codes == [0, 5, 5, 0]
        assert (other.hits, second.hits) == (0, 2)
        both = await metadata(cluster, "t", "u")
        assert [topic.error_code for topic in both.topics] == [0, 29]


async def test_the_oldest_fault_decides_and_the_next_follows() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic("t", 1)
        cluster.fail("Metadata", code=5)
        cluster.fail("Metadata", code=29)
        # One that acts on the request as a whole goes along with one that has a code.
        delayed = cluster.fail("Metadata", delay=0.01)
        codes = [(await metadata(cluster, "t")).topics[0].error_code for _ in range(3)]
        assert codes == [5, 29, 0]
        assert delayed.hits == 1


async def test_a_fault_for_one_partition() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic("t", 3)
        cluster.fail("Metadata", topic="t", partition=1, code=5)
        (topic,) = (await metadata(cluster, "t")).topics
        assert [(p.error_code, p.leader_id) for p in topic.partitions] == [(0, 1), (5, -1), (0, 1)]


async def test_a_fault_with_a_condition() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic("t", 1)
        cluster.fail("Metadata", when=lambda request: request.version == 9, code=5, times=None)
        assert (await metadata(cluster, "t", version=8)).topics[0].error_code == 0
        assert (await metadata(cluster, "t", version=9)).topics[0].error_code == 5


async def test_what_is_held_is_released_or_healed() -> None:
    async with FakeCluster() as cluster:
        for release in (Fault.release, cluster.heal, lambda _: cluster.heal()):
            fault = cluster.fail("Metadata", hold=True, times=None)
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(metadata, cluster)
                await fault.struck()
                release(fault)
            cluster.heal()


async def test_stale_metadata_are_held_back_and_arrive_late() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 1)
        late = cluster.fail("Metadata", hold=True, after_append=True)
        answers: list[MetadataResponse] = []

        async def ask() -> None:
            answers.append(await metadata(cluster, "t"))

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(ask)
            await late.struck()
            await anyio.wait_all_tasks_blocked()
            cluster.move_leader("t", 0, to=2)
            await ask()
            late.release()
        assert [answer.topics[0].partitions[0].leader_id for answer in answers] == [2, 1]


async def test_a_fault_for_one_broker() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic("t", 2)
        fault = cluster.fail("Produce", broker=2, code=NotLeaderOrFollowerError, times=None)
        async with Producer(cluster.bootstrap, connector=cluster, retries=0) as producer:
            assert (await producer.send("t", b"v", partition=0)).offset == 0
            with pytest.raises(NotLeaderOrFollowerError, match="broker 2"):
                await producer.send("t", b"v", partition=1)
        assert fault.hits == 1
