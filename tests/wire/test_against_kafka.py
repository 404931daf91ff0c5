"""Apache Kafka itself reads what is encoded and writes what is decoded, in every version both sides speak."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder  # type: ignore[import-untyped]  # it has none

from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest
from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnRequestTopic
from krafka._wire.api import APIS, APIS_BY_KEY, negotiate
from krafka._wire.api_versions import ApiVersionsRequest
from krafka._wire.create_topics import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    CreateTopicsRequestCreatableTopicConfig,
)
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.find_coordinator import FindCoordinatorRequest
from krafka._wire.frames import decode_response, encode_request, response_correlation_id
from krafka._wire.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from krafka._wire.list_offsets import ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponseTopic
from krafka._wire.produce import ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData
from krafka._wire.sasl_authenticate import SaslAuthenticateRequest
from krafka._wire.sasl_handshake import SaslHandshakeRequest
from krafka._wire.schema import Request, Response
from krafka._wire.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kafka

ResponseT = TypeVar("ResponseT", bound=Response)

PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SASL_PROPERTIES = {
    "sasl.enabled.mechanisms": "PLAIN",
    "connections.max.reauth.ms": "20000",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
        f'{PLAIN_MODULE} required user_alice="alice-secret";'
    ),
}
UNKNOWN_TOPIC_ID = 100
STILL_LOADING = {14, 15, 16, 51}
"""COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS.

A broker is named as coordinator a moment before it takes the office up."""


class Wire:
    """One blocking connection; one question at a time."""

    def __init__(self, address: str) -> None:
        host, port = address.split(",", maxsplit=1)[0].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=90)
        self.correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            assert chunk, "the broker closed the connection"
            data += chunk
        return data

    def ask(self, request: Request[ResponseT], version: int) -> ResponseT:
        self.correlation_id += 1
        for part in encode_request(request, version, self.correlation_id, "wire-test"):
            self.socket.sendall(part)
        frame = self.read(int.from_bytes(self.read(4)))
        assert response_correlation_id(frame) == self.correlation_id
        return cast("ResponseT", decode_response(request.RESPONSE, version, frame))

    def ask_until_loaded(
        self, request: Request[ResponseT], version: int, error_of: Callable[[Any], int]
    ) -> ResponseT:
        """Asks again while a fresh cluster's coordinator comes up, of which it sends no notice."""
        deadline = time.monotonic() + 90
        response = self.ask(request, version)
        while error_of(response) in STILL_LOADING and time.monotonic() < deadline:
            time.sleep(0.05)
            response = self.ask(request, version)
        return response


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    kafka = KafkaCluster(listeners={"SASL_PLAINTEXT": "SASL_PLAINTEXT"}, properties=SASL_PROPERTIES)
    with kafka.sync:
        kafka.sync.create_topic("wire", 3)
        yield kafka


@pytest.fixture
def wire(cluster: KafkaCluster) -> Iterator[Wire]:
    with Wire(cluster.bootstrap) as connection:
        yield connection


def versions_of(name: str) -> range:
    api = next(api for api in APIS if api.name == name)
    return range(api.min_version, api.max_version + 1)


def topic_of(wire: Wire, name: str) -> MetadataResponseTopic:
    (topic,) = wire.ask(MetadataRequest(topics=[MetadataRequestTopic(name=name)]), 12).topics
    return topic


def batch(value: bytes, **transaction: Any) -> bytes:
    identity = {"is_transactional": 0, "producer_id": -1, "producer_epoch": -1, "base_sequence": -1}
    identity |= transaction
    builder = DefaultRecordBatchBuilder(magic=2, compression_type=0, batch_size=100_000, **identity)
    builder.append(0, 1_700_000_000_000, b"key", value, [])
    return bytes(builder.build())


@pytest.mark.parametrize("version", versions_of("ApiVersions"))
def test_api_versions(wire: Wire, version: int) -> None:
    request = ApiVersionsRequest(client_software_name="krafka", client_software_version="1.0")
    response = wire.ask(request, version)
    assert response.error_code == 0
    offered = {entry.api_key: (entry.min_version, entry.max_version) for entry in response.api_keys}
    assert offered[0] == (0, 13)
    for name in ("Produce", "Metadata", "InitProducerId", "EndTxn", "TxnOffsetCommit"):
        api = next(api for api in APIS if api.name == name)
        assert negotiate(api, *offered[api.key]) == api.max_version
    if version >= 3:
        assert "metadata.version" in {feature.name for feature in response.finalized_features}
        assert response.finalized_features_epoch >= 0


@pytest.mark.parametrize("version", versions_of("Metadata"))
def test_metadata(cluster: KafkaCluster, wire: Wire, version: int) -> None:
    response = wire.ask(MetadataRequest(topics=[MetadataRequestTopic(name="wire")]), version)
    (broker,) = response.brokers
    assert f"{broker.host}:{broker.port}" == cluster.bootstrap
    (topic,) = response.topics
    assert (topic.name, topic.error_code, topic.is_internal) == ("wire", 0, False)
    assert sorted(partition.partition_index for partition in topic.partitions) == [0, 1, 2]
    for partition in topic.partitions:
        assert partition.error_code == 0
        assert [partition.leader_id] == partition.replica_nodes == partition.isr_nodes == [broker.node_id]
        assert (partition.leader_epoch >= 0) == (version >= 7)
    assert bool(response.cluster_id) == (version >= 2)
    assert any(topic.topic_id) == (version >= 10)
    if version >= 12:
        by_id = MetadataRequest(topics=[MetadataRequestTopic(name=None, topic_id=topic.topic_id)])
        assert wire.ask(by_id, version).topics == [topic]


@pytest.mark.parametrize("version", versions_of("CreateTopics"))
def test_create_topics(wire: Wire, version: int) -> None:
    config = CreateTopicsRequestCreatableTopicConfig(name="retention.ms", value="60000")
    created = CreateTopicsRequestCreatableTopic(
        name=f"created-{version}", num_partitions=2, replication_factor=1, configs=[config]
    )
    (result,) = wire.ask(CreateTopicsRequest(topics=[created]), version).topics
    assert (result.name, result.error_code) == (created.name, 0)
    if version >= 5:
        assert result.num_partitions == 2
        assert result.configs is not None
        assert "60000" in {entry.value for entry in result.configs if entry.name == "retention.ms"}
    (refused,) = wire.ask(CreateTopicsRequest(topics=[created]), version).topics
    assert refused.error_code == 36
    assert refused.error_message is not None
    assert created.name in refused.error_message


@pytest.mark.parametrize("version", versions_of("Produce"))
@pytest.mark.parametrize("size", [5, 5000])
def test_produce(wire: Wire, version: int, size: int) -> None:
    encoded = batch(b"v" * size)
    records = (bytearray(encoded[:61]), encoded[61:])
    topic_id = topic_of(wire, "wire").topic_id
    offsets = []
    for _ in range(2):
        partitions = [ProduceRequestPartitionData(index=index, records=records) for index in (0, 2)]
        topic = ProduceRequestTopicData(name="wire", topic_id=topic_id, partition_data=partitions)
        (answer,) = wire.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[topic]), version).responses
        assert (answer.name, answer.topic_id) == (("wire", bytes(16)) if version < 13 else ("", topic_id))
        entries = sorted(
            answer.partition_responses, key=lambda entry: entry.index
        )  # brokers answer in any order
        assert [(entry.index, entry.error_code) for entry in entries] == [(0, 0), (2, 0)]
        offsets.append([entry.base_offset for entry in entries])
    assert [later - earlier for earlier, later in zip(*offsets, strict=True)] == [1, 1]


def test_produce_errors(wire: Wire) -> None:
    broken = batch(b"value")[:-1] + b"?"
    topic_id = topic_of(wire, "wire").topic_id
    data = [ProduceRequestPartitionData(index=0, records=broken)]
    topics = [
        ProduceRequestTopicData(topic_id=topic_id, partition_data=data),
        ProduceRequestTopicData(topic_id=b"nobody's topic..", partition_data=data),
    ]
    response = wire.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=topics), 13)
    codes = {answer.topic_id: answer.partition_responses[0].error_code for answer in response.responses}
    assert codes == {topic_id: 2, b"nobody's topic..": UNKNOWN_TOPIC_ID}


@pytest.mark.parametrize("version", versions_of("ListOffsets"))
def test_list_offsets(wire: Wire, version: int) -> None:
    partition = ListOffsetsRequestPartition(partition_index=1, timestamp=-1)
    topic = ListOffsetsRequestTopic(name="wire", partitions=[partition])
    request = ListOffsetsRequest(replica_id=-1, topics=[topic], timeout_ms=1000)
    (answer,) = wire.ask(request, version).topics
    assert [(entry.partition_index, entry.error_code, entry.offset) for entry in answer.partitions] == [
        (1, 0, 0)
    ]


@pytest.mark.parametrize("version", versions_of("FindCoordinator"))
def test_find_coordinator(wire: Wire, version: int) -> None:
    if version < 4:
        request = FindCoordinatorRequest(key="some-group")
        single = wire.ask_until_loaded(request, version, lambda response: int(response.error_code))
        assert (single.error_code, single.node_id) == (0, 1)
        return
    request = FindCoordinatorRequest(coordinator_keys=["tx-a", "tx-b"], key_type=1)
    several = wire.ask_until_loaded(
        request, version, lambda response: max(entry.error_code for entry in response.coordinators)
    )
    assert [(entry.key, entry.error_code, entry.node_id) for entry in several.coordinators] == [
        ("tx-a", 0, 1),
        ("tx-b", 0, 1),
    ]


def init_producer(wire: Wire, version: int, transactional_id: str | None) -> InitProducerIdResponse:
    wire.ask_until_loaded(
        FindCoordinatorRequest(coordinator_keys=[transactional_id or "any"], key_type=1),
        4,
        lambda response: int(response.coordinators[0].error_code),
    )
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=10_000)
    return wire.ask_until_loaded(request, version, lambda response: int(response.error_code))


@pytest.mark.parametrize("version", versions_of("InitProducerId"))
def test_init_producer_id(wire: Wire, version: int) -> None:
    first, second = (init_producer(wire, version, None) for _ in range(2))
    assert (first.error_code, second.error_code) == (0, 0)
    assert 0 <= first.producer_id < second.producer_id
    before, after = (init_producer(wire, version, f"fenced-{version}") for _ in range(2))
    assert (before.error_code, after.error_code) == (0, 0)
    assert 0 <= before.producer_epoch < after.producer_epoch


@pytest.mark.parametrize("version", range(6))
def test_a_transaction(wire: Wire, version: int) -> None:
    """Each of the four APIs at this version, or at its newest if it has not so many."""
    transactional_id, group = f"tx-{version}", f"group-{version}"
    producer = init_producer(wire, 4, transactional_id)
    identity = (producer.producer_id, producer.producer_epoch)

    def within(name: str) -> int:
        return min(version, versions_of(name)[-1])

    partitions = [AddPartitionsToTxnRequestTopic(name="wire", partitions=[0, 1])]
    added = wire.ask_until_loaded(
        AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=transactional_id,
            v3_and_below_producer_id=identity[0],
            v3_and_below_producer_epoch=identity[1],
            v3_and_below_topics=partitions,
        ),
        within("AddPartitionsToTxn"),
        lambda response: int(
            response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        ),
    )
    (result,) = added.results_by_topic_v3_and_below
    assert sorted(
        (entry.partition_index, entry.partition_error_code) for entry in result.results_by_partition
    ) == [
        (0, 0),
        (1, 0),
    ]
    offsets = AddOffsetsToTxnRequest(
        transactional_id=transactional_id, producer_id=identity[0], producer_epoch=identity[1], group_id=group
    )
    assert wire.ask(offsets, within("AddOffsetsToTxn")).error_code == 0

    wire.ask_until_loaded(
        FindCoordinatorRequest(coordinator_keys=[group]),
        4,
        lambda response: response.coordinators[0].error_code,
    )
    committed = TxnOffsetCommitRequestPartition(
        partition_index=2, committed_offset=17, committed_metadata="note"
    )
    commit = TxnOffsetCommitRequest(
        transactional_id=transactional_id,
        group_id=group,
        producer_id=identity[0],
        producer_epoch=identity[1],
        topics=[TxnOffsetCommitRequestTopic(name="wire", partitions=[committed])],
    )
    (answer,) = wire.ask_until_loaded(
        commit, version, lambda response: int(response.topics[0].partitions[0].error_code)
    ).topics
    assert [(entry.partition_index, entry.error_code) for entry in answer.partitions] == [(2, 0)]

    end = EndTxnRequest(
        transactional_id=transactional_id, producer_id=identity[0], producer_epoch=identity[1], committed=True
    )
    ended = wire.ask(end, version)
    assert ended.error_code == 0
    if version >= 5:
        assert (ended.producer_id, ended.producer_epoch) == (identity[0], identity[1] + 1), "KIP-890"
    else:
        assert (ended.producer_id, ended.producer_epoch) == (-1, -1)


@pytest.mark.parametrize("version", versions_of("SaslAuthenticate"))
def test_sasl(cluster: KafkaCluster, version: int) -> None:
    with Wire(cluster.bootstrap_of("SASL_PLAINTEXT")) as wire:
        refused = wire.ask(SaslHandshakeRequest(mechanism="NO-SUCH"), 1)
        assert (refused.error_code, refused.mechanisms) == (33, ["PLAIN"])
    with Wire(cluster.bootstrap_of("SASL_PLAINTEXT")) as wire:
        assert wire.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1).error_code == 0
        answer = wire.ask(SaslAuthenticateRequest(auth_bytes=b"\0alice\0alice-secret"), version)
        assert (answer.error_code, answer.auth_bytes) == (0, b"")
        assert (answer.session_lifetime_ms > 0) == (version >= 1)
        assert wire.ask(MetadataRequest(topics=[]), 13).error_code == 0
    with Wire(cluster.bootstrap_of("SASL_PLAINTEXT")) as wire:
        wire.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1)
        wrong = wire.ask(SaslAuthenticateRequest(auth_bytes=b"\0alice\0wrong"), version)
        assert wrong.error_code == 58
        assert wrong.error_message


def test_the_handshake_of_old_clients(cluster: KafkaCluster) -> None:
    """SaslHandshake v0 is followed by bare tokens, so only its own answer is looked at."""
    with Wire(cluster.bootstrap_of("SASL_PLAINTEXT")) as wire:
        assert wire.ask(SaslHandshakeRequest(mechanism="PLAIN"), 0).mechanisms == ["PLAIN"]


def test_every_api_of_the_broker_that_is_in_the_catalogue_shares_a_version(wire: Wire) -> None:
    response = wire.ask(ApiVersionsRequest(client_software_name="krafka", client_software_version="1"), 4)
    offered = {entry.api_key: entry for entry in response.api_keys}
    missing = {api.name for api in APIS if api.key not in offered}
    assert missing <= {"GetTelemetrySubscriptions", "PushTelemetry"}
    for key in offered.keys() & APIS_BY_KEY.keys():
        assert negotiate(APIS_BY_KEY[key], offered[key].min_version, offered[key].max_version) is not None
