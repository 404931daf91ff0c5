"""What a broker is asked, step by step, in raw requests; and what of its answers has to be the same everywhere."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from krafka._speedups.record_batch import RecordBuffer, batch_header
from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest
from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnRequestTopic
from krafka._wire.describe_transactions import DescribeTransactionsRequest
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.find_coordinator import FindCoordinatorRequest
from krafka._wire.frames import decode_response, encode_request
from krafka._wire.init_producer_id import InitProducerIdRequest
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic
from krafka._wire.produce import (
    ProduceRequest,
    ProduceRequestPartitionData,
    ProduceRequestTopicData,
    ProduceResponsePartition,
)
from krafka._wire.schema import Request, Response
from krafka._wire.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Answers = list[tuple[str, object]]
Producer = tuple[int, int]
ResponseT = TypeVar("ResponseT", bound=Response)

LATER = {14, 15, 16, 51}
"""The coordinator is not there yet, or completes a transaction: the client asks again."""
TRANSACTIONAL = 0x10
ENDLESS = 20.0
STRANGE_EPOCH = 32000


class Peer:
    """A broker, asked one thing at a time, and the notes of what it answered."""

    def __init__(
        self,
        address: str,
        name: str,
        *,
        create_topic: Callable[..., None],
        committed: Callable[[str], list[Any]],
    ) -> None:
        host, port = address.split(",", maxsplit=1)[0].rsplit(":", 1)
        self._address = host, int(port)
        self._connect()
        self._create_topic = create_topic
        self._committed = committed
        self._correlation_id = 0
        self._topics: dict[str, bytes] = {}
        self._producers: dict[int, int] = {-1: -1}
        self.name = name
        self.answers: Answers = []

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=ENDLESS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    # -- frames ---------------------------------------------------------------------------------------------------

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError("the broker closed the connection")
            data += chunk
        return data

    def ask(self, request: Request[ResponseT], version: int) -> ResponseT:
        self._correlation_id += 1
        for part in encode_request(request, version, self._correlation_id, "script"):
            self._socket.sendall(part)
        frame = self._read(int.from_bytes(self._read(4)))
        return cast("ResponseT", decode_response(request.RESPONSE, version, frame))

    def patiently(
        self, request: Request[ResponseT], version: int, code_of: Callable[[ResponseT], int]
    ) -> ResponseT:
        """Ask again while a coordinator is on its way or a transaction is being completed."""
        deadline = time.monotonic() + ENDLESS
        while code_of(response := self.ask(request, version)) in LATER and time.monotonic() < deadline:
            time.sleep(0.02)
        return response

    def note(self, step: str, answer: object) -> None:
        self.answers.append((step, answer))

    def producer(self, producer_id: int) -> int:
        """A producer id as the number of its first appearance, which is the same everywhere."""
        return self._producers.setdefault(producer_id, len(self._producers))

    # -- topics ---------------------------------------------------------------------------------------------------

    def topic(self, suffix: str = "t", *, partitions: int = 2, **config: str) -> str:
        name = f"{self.name}-{suffix}"
        self._create_topic(
            name, partitions=partitions, config={key.replace("_", "."): each for key, each in config.items()}
        )
        (told,) = self.ask(MetadataRequest(topics=[MetadataRequestTopic(name=name)]), 12).topics
        self._topics[name] = told.topic_id
        return name

    def read(self, topic: str) -> None:
        self.note("committed records", sorted(self._committed(topic)))

    # -- produce --------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        data: bytes,
        *,
        partition: int = 0,
        version: int = 13,
        transactional_id: str | None = None,
        acks: int = -1,
        step: str = "produce",
    ) -> None:
        entry = ProduceRequestTopicData(
            partition_data=[ProduceRequestPartitionData(index=partition, records=data)]
        )
        if version >= 13:
            entry.topic_id = self._topics[topic]
        else:
            entry.name = topic
        request = ProduceRequest(
            acks=acks, timeout_ms=5000, transactional_id=transactional_id, topic_data=[entry]
        )

        def first(response: Any) -> ProduceResponsePartition:
            (told,) = response.responses
            (answer,) = told.partition_responses
            return cast("ProduceResponsePartition", answer)

        # A Kafka of one broker says NOT_ENOUGH_REPLICAS while it completes a transaction, to clients of old.
        patient = LATER | ({19} if transactional_id else set())
        deadline = time.monotonic() + ENDLESS
        while True:
            answer = first(self.ask(request, version))
            if answer.error_code not in patient or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        blamed = sorted(each.batch_index for each in answer.record_errors)
        stamped = answer.log_append_time_ms != -1
        self.note(
            f"{step} v{version}",
            (answer.error_code, answer.base_offset, blamed, stamped, answer.log_start_offset),
        )

    # -- transactions ---------------------------------------------------------------------------------------------

    def init(
        self,
        transactional_id: str | None,
        *,
        expected: Producer = (-1, -1),
        timeout_ms: int = 60_000,
        version: int = 5,
        step: str = "init",
    ) -> Producer:
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
        if version >= 3:
            request.producer_id, request.producer_epoch = expected
        answer = self.patiently(request, version, lambda response: response.error_code)
        self.note(
            f"{step} v{version}",
            (answer.error_code, self.producer(answer.producer_id), answer.producer_epoch),
        )
        return answer.producer_id, answer.producer_epoch

    def settle(self, transactional_id: str, producer: Producer) -> None:
        """Return once the transaction is completed; asks for what is refused then, and changes nothing."""
        request = InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout_ms=60_000,
            producer_id=producer[0],
            producer_epoch=STRANGE_EPOCH,
        )
        answer = self.patiently(request, 5, lambda response: response.error_code)
        self.note("a strange epoch", answer.error_code)

    def describe(self, transactional_id: str) -> None:
        request = DescribeTransactionsRequest(transactional_ids=[transactional_id])
        answer = self.patiently(request, 0, lambda response: response.transaction_states[0].error_code)
        (told,) = answer.transaction_states
        producer = self.producer(told.producer_id) if not told.error_code else None
        partitions = [sorted(topic.partitions) for topic in told.topics]
        place = told.transactional_id == transactional_id, told.transaction_state, partitions
        self.note(
            "describe", (told.error_code, producer, told.producer_epoch, told.transaction_timeout_ms, *place)
        )

    def add(
        self, transactional_id: str, producer: Producer, topic: str, *partitions: int, version: int = 3
    ) -> None:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=transactional_id,
            v3_and_below_producer_id=producer[0],
            v3_and_below_producer_epoch=producer[1],
            v3_and_below_topics=[AddPartitionsToTxnRequestTopic(name=topic, partitions=list(partitions))],
        )

        def codes(response: Any) -> list[int]:
            (told,) = response.results_by_topic_v3_and_below
            return [
                each.partition_error_code
                for each in sorted(told.results_by_partition, key=lambda each: each.partition_index)
            ]

        answer = self.patiently(request, version, lambda response: codes(response)[0])
        self.note(f"add v{version}", codes(answer))

    def add_offsets(self, transactional_id: str, producer: Producer, group: str, *, version: int = 3) -> None:
        request = AddOffsetsToTxnRequest(
            transactional_id=transactional_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            group_id=group,
        )
        answer = self.patiently(request, version, lambda response: response.error_code)
        self.note(f"add offsets v{version}", answer.error_code)

    def commit_offsets(
        self,
        transactional_id: str,
        producer: Producer,
        group: str,
        topic: str,
        *,
        partition: int = 0,
        version: int = 5,
        metadata: str = "",
        **member: Any,
    ) -> None:
        request = TxnOffsetCommitRequest(
            transactional_id=transactional_id,
            group_id=group,
            producer_id=producer[0],
            producer_epoch=producer[1],
            topics=[
                TxnOffsetCommitRequestTopic(
                    name=topic,
                    partitions=[
                        TxnOffsetCommitRequestPartition(
                            partition_index=partition, committed_offset=3, committed_metadata=metadata
                        )
                    ],
                )
            ],
            **member,
        )
        answer = self.patiently(
            request, version, lambda response: response.topics[0].partitions[0].error_code
        )
        self.note(f"commit offsets v{version}", answer.topics[0].partitions[0].error_code)

    def end(
        self,
        transactional_id: str,
        producer: Producer,
        *,
        commit: bool,
        version: int = 5,
        settle: bool = True,
    ) -> Producer:
        request = EndTxnRequest(
            transactional_id=transactional_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            committed=commit,
        )
        answer = self.patiently(request, version, lambda response: response.error_code)
        self.note(
            f"{'commit' if commit else 'abort'} v{version}",
            (answer.error_code, self.producer(answer.producer_id), answer.producer_epoch),
        )
        if settle:
            self.settle(transactional_id, producer)
        return answer.producer_id, answer.producer_epoch

    def find(self, key: str, key_type: int, *, version: int) -> None:
        request = FindCoordinatorRequest(key_type=key_type)
        if version >= 4:
            request.coordinator_keys = [key]
        else:
            request.key = key

        def code(response: Any) -> int:
            return cast("int", response.coordinators[0].error_code if version >= 4 else response.error_code)

        answer = self.patiently(request, version, code)
        told: Any = answer.coordinators[0] if version >= 4 else answer
        self.note(f"find v{version}", (told.error_code, told.node_id >= 0, bool(told.host), told.port > 0))


def batch(
    *values: bytes,
    producer: Producer = (-1, -1),
    sequence: int = -1,
    transactional: bool = False,
    keys: tuple[bytes | None, ...] = (),
    timestamps: tuple[int, ...] = (),
    attributes: int = 0,
) -> bytes:
    """An encoded batch of records without compression."""
    now = int(time.time() * 1000)
    records = RecordBuffer()
    for index, value in enumerate(values):
        records.append(timestamps[index] if timestamps else now, keys[index] if keys else b"k", value, [])
    header = batch_header(
        memoryview(records),
        count=len(values),
        base_timestamp=records.base_timestamp,
        max_timestamp=records.max_timestamp,
        attributes=attributes | (TRANSACTIONAL if transactional else 0),
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
    )
    return header + bytes(memoryview(records))


def part(producer: Producer, sequence: int, *values: bytes) -> bytes:
    """A batch that is part of a transaction."""
    return batch(*values or (b"v",), producer=producer, sequence=sequence, transactional=True)


def raised(producer: Producer, by: int = 1) -> Producer:
    """The same producer with another epoch."""
    return producer[0], producer[1] + by


# -- scripts -----------------------------------------------------------------------------------------------------------


def coordinators(peer: Peer) -> Answers:
    for version in range(7):
        peer.find(peer.name, 0, version=version)
        if version >= 1:
            peer.find(peer.name, 1, version=version)
            peer.find(peer.name, 9, version=version)
    return peer.answers


def producer_ids(peer: Peer) -> Answers:
    name = peer.name
    peer.init(None)
    peer.init(None, expected=(1000, 3))
    peer.init("")
    peer.init(name, timeout_ms=0)
    peer.init(name, timeout_ms=900_001)
    peer.init(name, timeout_ms=-1)
    peer.init(name, expected=(1000, -1))
    peer.init(name, expected=(-1, 0))
    one = peer.init(name, timeout_ms=900_000)
    two = peer.init(name)
    peer.init(name, expected=one)
    three = peer.init(name, expected=two)
    peer.init(name, expected=two, step="the same again")
    peer.init(name, expected=three)
    peer.init(name, expected=one)
    peer.init(name, expected=one, version=3)
    peer.init(name, expected=(one[0] + 1_000_000, 0))
    for version in range(6):
        peer.init(name, version=version)
    peer.init(f"{name}-new", expected=(one[0], 7))
    return peer.answers


def first_protocol(peer: Peer) -> Answers:
    topic, name = peer.topic(), peer.name
    us = peer.init(name)
    peer.end(name, us, commit=True, version=4, settle=False)
    peer.produce(topic, part(us, 0), version=11, transactional_id=name, step="not added")
    peer.produce(topic, part(us, 0), version=10, transactional_id=name, step="not added")
    peer.add(name, us, topic, 0)
    peer.add(name, us, topic, 0)
    peer.add(name, us, topic, 1, 7)
    peer.add(name, raised(us), topic, 0)
    peer.add(name, raised(us), topic, 0, version=1)
    peer.add(name, (us[0] + 1, 0), topic, 0)
    peer.add(f"{name}-unknown", us, topic, 0)
    peer.add("", us, topic, 0)
    peer.produce(topic, part(us, 0, b"a", b"b"), version=11, transactional_id=name)
    peer.produce(topic, part(us, 0, b"a", b"b"), version=11, transactional_id=name, step="again")
    peer.produce(topic, part(us, 3), version=11, transactional_id=name, step="gap")
    peer.produce(topic, part(us, 0), version=9, partition=1, transactional_id=name, step="not added")
    peer.produce(topic, part(us, 2, b"c"), version=9, transactional_id=name)
    peer.produce(topic, batch(b"x", producer=us, sequence=3), version=11, step="outside")
    peer.produce(topic, part(us, 3), version=11, step="nameless")
    peer.end(name, raised(us), commit=True, version=4, settle=False)
    peer.end(name, raised(us), commit=True, version=1, settle=False)
    peer.end(name, (us[0] + 1, 0), commit=True, version=4, settle=False)
    peer.end(f"{name}-unknown", us, commit=True, version=4, settle=False)
    peer.end(name, us, commit=True, version=4)
    peer.end(name, us, commit=True, version=4)
    peer.end(name, us, commit=False, version=4)
    peer.read(topic)
    peer.produce(topic, part(us, 3), version=11, transactional_id=name, step="after the end")
    peer.add(name, us, topic, 0, 1, version=0)
    peer.produce(topic, part(us, 3, b"lost"), version=11, transactional_id=name)
    peer.produce(topic, part(us, 0, b"lost"), version=11, partition=1, transactional_id=name)
    peer.end(name, us, commit=False, version=2)
    peer.end(name, us, commit=True, version=2)
    peer.read(topic)
    peer.add(name, us, topic, 0)
    peer.produce(topic, part(us, 4, b"fenced"), version=11, transactional_id=name)
    them = peer.init(name, step="a successor")
    peer.produce(topic, part(us, 5), version=11, transactional_id=name, step="fenced")
    peer.produce(topic, batch(b"x", producer=us, sequence=5), version=11, step="fenced, outside")
    peer.add(name, us, topic, 0)
    peer.add(name, us, topic, 0, version=1)
    peer.end(name, us, commit=True, version=4, settle=False)
    peer.end(name, us, commit=True, version=1, settle=False)
    peer.add(name, them, topic, 0)
    peer.produce(topic, part(them, 1), version=11, transactional_id=name, step="gap")
    peer.produce(topic, part(them, 0, b"d"), version=11, transactional_id=name)
    peer.end(name, them, commit=True, version=4)
    peer.read(topic)
    return peer.answers


def second_protocol(peer: Peer) -> Answers:
    topic, name = peer.topic(), peer.name
    peer.describe(f"{name}-x")
    us = peer.init(name)
    peer.describe(name)
    peer.produce(topic, part(us, 5), version=12, transactional_id=name, step="begins late")
    peer.produce(topic, part(us, 0, b"a"), version=12, transactional_id=name)
    peer.produce(topic, part(us, 0, b"a"), version=13, transactional_id=name, step="again")
    peer.produce(topic, part(us, 1, b"b"), version=13, transactional_id=name)
    peer.describe(name)
    peer.produce(
        topic, part(raised(us), 0), version=13, partition=1, transactional_id=name, step="epoch ahead"
    )
    peer.produce(
        topic, part((us[0] + 9, 0), 0), version=13, partition=1, transactional_id=name, step="not ours"
    )
    peer.produce(topic, part(us, 0), version=13, partition=1, transactional_id=f"{name}-x", step="unknown")
    peer.produce(topic, batch(b"x", producer=us, sequence=2), step="outside")
    peer.end(name, raised(us), commit=True, settle=False)
    peer.end(f"{name}-x", us, commit=True, settle=False)
    peer.end(name, (us[0] + 9, 0), commit=True, settle=False)
    then = peer.end(name, us, commit=True)
    peer.describe(name)
    peer.end(name, us, commit=True)
    peer.end(name, us, commit=False)
    peer.end(name, then, commit=True)
    peer.read(topic)
    peer.produce(topic, part(us, 2), version=13, transactional_id=name, step="epoch of the last")
    peer.produce(topic, batch(b"x", producer=us, sequence=2), step="epoch of the last, outside")
    peer.produce(topic, part(then, 2), version=13, transactional_id=name, step="sequence of the last")
    peer.produce(topic, part(then, 0, b"lost"), version=13, transactional_id=name)
    peer.end(name, us, commit=True, settle=False)
    third = peer.end(name, then, commit=False)
    peer.end(name, then, commit=False)
    peer.end(name, then, commit=True)
    peer.read(topic)
    fourth = peer.end(name, third, commit=False)
    peer.end(name, raised(fourth, 5), commit=False, settle=False)
    peer.produce(topic, part(fourth, 0, b"fenced"), version=13, transactional_id=name)
    them = peer.init(name, step="a successor")
    peer.produce(topic, part(fourth, 1), version=13, transactional_id=name, step="fenced")
    peer.end(name, fourth, commit=True, settle=False)
    peer.init(name, expected=fourth, step="the fenced one")
    peer.end(name, them, commit=True, settle=False)
    fifth = peer.end(name, them, commit=False)
    peer.produce(topic, part(fifth, 0, b"d"), version=13, transactional_id=name)
    sixth = peer.end(name, fifth, commit=True)
    peer.init(name, expected=sixth)
    peer.read(topic)
    return peer.answers


def fencing(peer: Peer) -> Answers:
    """A successor begins, and the one before it is heard of before the successor asks again."""
    topic = peer.topic()
    for version in (4, 5):
        name = f"{peer.name}-{version}"
        us = peer.init(name)
        if version == 4:
            peer.add(name, us, topic, 0)
        peer.produce(topic, part(us, 0), version=11 if version == 4 else 13, transactional_id=name)
        answer = peer.ask(InitProducerIdRequest(transactional_id=name, transaction_timeout_ms=60_000), 5)
        peer.note("a successor is told to wait", answer.error_code)
        peer.settle(name, us)
        peer.produce(topic, part(us, 1), version=13, transactional_id=name, step="meanwhile")
        peer.end(name, us, commit=True, version=version, settle=False)
        peer.end(name, us, commit=False, version=version, settle=False)
        peer.end(name, raised(us), commit=False, version=version, settle=False)
        peer.settle(name, us)
        peer.init(name, expected=us, step="meanwhile")
        peer.init(name, step="the successor")
        peer.init(name, expected=us, step="too late")
    peer.read(topic)
    return peer.answers


def both_protocols(peer: Peer) -> Answers:
    topic, name = peer.topic(), peer.name
    us = peer.init(name)
    peer.add(name, us, topic, 0)
    peer.produce(topic, part(us, 0, b"a"), version=11, transactional_id=name)
    then = peer.end(name, us, commit=True)
    peer.produce(topic, part(then, 0, b"b"), version=13, transactional_id=name)
    peer.end(name, then, commit=True, version=4)
    peer.produce(topic, part(then, 1, b"c"), version=13, transactional_id=name)
    peer.end(name, then, commit=True)
    peer.read(topic)
    return peer.answers


def offsets(peer: Peer) -> Answers:
    topic, name, group = peer.topic(), peer.name, f"{peer.name}-group"
    us = peer.init(name)
    peer.find(group, 0, version=4)
    peer.commit_offsets(name, us, group, topic, version=3)
    peer.commit_offsets(name, us, group, topic, version=4)
    peer.add_offsets(name, raised(us), group)
    peer.add_offsets(name, raised(us), group, version=1)
    peer.add_offsets(f"{name}-x", us, group)
    peer.add_offsets(name, us, group)
    peer.commit_offsets(name, us, group, topic, version=3)
    peer.commit_offsets(name, us, group, topic, version=3, generation_id=4)
    peer.commit_offsets(name, us, f"{group}-2", topic, version=3)
    peer.commit_offsets(name, us, group, topic, partition=7, version=3)
    peer.commit_offsets(name, us, group, topic, metadata="x" * 4097, version=3)
    peer.commit_offsets(name, us, group, topic, metadata="x" * 4096, version=3)
    peer.end(name, us, commit=True, version=4)
    peer.commit_offsets(name, us, group, topic, version=5)
    peer.commit_offsets(name, us, f"{group}-3", topic, version=5)
    peer.commit_offsets(name, us, f"{group}-4", topic, version=5, generation_id=2, member_id="m")
    peer.commit_offsets(name, us, f"{group}-5", topic, version=5, member_id="m")
    peer.commit_offsets(name, us, group, topic, version=5, member_id="m")
    peer.commit_offsets(name, us, group, topic, version=5, group_instance_id="i")
    peer.commit_offsets(name, us, group, topic, version=5, generation_id=3, member_id="m")
    peer.commit_offsets(name, raised(us), group, topic, version=5)
    peer.commit_offsets(name, (us[0] + 9, 0), group, topic, version=5)
    peer.commit_offsets(f"{name}-x", us, group, topic, version=5)
    then = peer.end(name, us, commit=False)
    peer.commit_offsets(name, us, group, topic, version=5)
    peer.commit_offsets(name, then, group, topic, version=5)
    peer.end(name, then, commit=True)
    return peer.answers


def expiry(peer: Peer) -> Answers:
    topic = peer.topic(partitions=1)
    for version in (4, 5):
        name = f"{peer.name}-{version}"
        us = peer.init(name, timeout_ms=600)
        if version == 4:
            peer.add(name, us, topic, 0)
        peer.produce(topic, part(us, 0, b"late"), version=11 if version == 4 else 13, transactional_id=name)
        # Longer than the timeout and the time between two looks at it, of a Kafka that keeps its own clock.
        time.sleep(1.5)
        peer.produce(
            topic, part(us, 1), version=11 if version == 4 else 13, transactional_id=name, step="late"
        )
        peer.end(name, us, commit=True, version=version, settle=False)
        peer.init(name, expected=us, step="recovers")
        then = peer.init(name, step="begins anew")
        peer.produce(topic, part(then, 0, b"in time"), version=13, transactional_id=name)
        peer.end(name, then, commit=True)
        peer.read(topic)
    return peer.answers


def idempotence(peer: Peer) -> Answers:
    topic = peer.topic()
    us = peer.init(None)
    for sequence in (0, 1, 1, 0, 3, 2):
        peer.produce(topic, batch(b"v", producer=us, sequence=sequence), step=f"sequence {sequence}")
    for sequence in (3, 4, 5, 6, 2, 1, 7):
        peer.produce(topic, batch(b"v", producer=us, sequence=sequence), step=f"sequence {sequence}")
    peer.produce(topic, batch(b"v", b"w", producer=us, sequence=7), step="another length")
    peer.produce(topic, batch(b"v", producer=raised(us), sequence=8), step="new epoch")
    peer.produce(topic, batch(b"v", producer=raised(us), sequence=0), step="new epoch")
    peer.produce(topic, batch(b"v", producer=us, sequence=8), step="old epoch")
    peer.produce(topic, batch(b"v", producer=us, sequence=7), step="old epoch")
    peer.produce(topic, batch(b"v", producer=us, sequence=17), partition=1, step="begins late")
    peer.produce(topic, batch(b"v", producer=us, sequence=2**31 - 1), partition=1, step="gap")
    them = peer.init(None)
    peer.produce(topic, batch(b"v", b"w", producer=them, sequence=2**31 - 2), partition=1, step="goes round")
    peer.produce(topic, batch(b"v", producer=them, sequence=0), partition=1, step="goes round")
    peer.produce(topic, batch(b"v"), step="plain")
    peer.produce(topic, batch(b"v", producer=us, sequence=-1), step="no sequence")
    return peer.answers


def limits(peer: Peer) -> Answers:
    small = peer.topic("small", max_message_bytes="200")
    for size in (128, 129, 130, 131, 132, 133, 134, 300):
        peer.produce(small, batch(b"x" * size), partition=size % 2, step=f"{size} bytes")
    compacted = peer.topic("compacted", cleanup_policy="compact")
    peer.produce(compacted, batch(b"a", b"b", b"c", keys=(b"k", None, None)), step="no key")
    peer.produce(compacted, batch(b"a", keys=(b"",)), step="empty key")
    now = int(time.time() * 1000)
    timely = peer.topic(
        "timely", message_timestamp_before_max_ms="60000", message_timestamp_after_max_ms="50000"
    )
    ages = (0, -70_000, 40_000, 70_000, -40_000)
    stamps = tuple(now + each for each in ages)
    peer.produce(timely, batch(*[b"v"] * 5, timestamps=stamps), step="two out of range")
    peer.produce(timely, batch(b"v", b"w", timestamps=(now, now - 40_000)), step="in range")
    default = peer.topic("default")
    peer.produce(default, batch(b"v", b"w", timestamps=(0, now + 3_700_000)), step="the future")
    peer.produce(default, batch(b"v", b"w", timestamps=(0, now + 3_500_000)), step="an hour")
    stamped = peer.topic("stamped", message_timestamp_type="LogAppendTime")
    peer.produce(stamped, batch(b"v", b"w", timestamps=(0, now + 3_700_000)), step="the broker's time")
    strict = peer.topic("strict", cleanup_policy="compact", message_timestamp_before_max_ms="60000")
    peer.produce(
        strict, batch(b"a", b"b", b"c", keys=(None, b"k", None), timestamps=(now, 5, 5)), step="both"
    )
    safe = peer.topic("safe", min_insync_replicas="2")
    peer.produce(safe, batch(b"v"), step="alone, all")
    peer.produce(safe, batch(b"v"), acks=1, step="alone, leader")
    return peer.answers


def malformed(peer: Peer) -> Answers:
    topic = peer.topic()
    good = batch(b"a", b"b")
    us = peer.init(None)

    def changed(at: int, value: bytes) -> bytes:
        return good[:at] + value + good[at + len(value) :]

    for version in (3, 8, 13):
        for step, data in {
            "empty": b"",
            "cut": good[:-1],
            "half a header": good[:40],
            "damaged": changed(70, b"\xff"),
            "two batches": good + good,
            "magic 1": changed(16, b"\x01"),
            "control": batch(b"v", attributes=0x20),
            "transactional, no name": part(us, 0),
            "good": good,
        }.items():
            peer.produce(topic, data, version=version, step=step)
    peer.produce(topic, good, partition=9, step="no such partition")
    peer.produce(topic, good, partition=9, version=8, step="no such partition")
    peer.produce(topic, good, acks=5, step="acks")
    return peer.answers


SCRIPTS: list[Callable[[Peer], Answers]] = [
    coordinators,
    producer_ids,
    first_protocol,
    second_protocol,
    fencing,
    both_protocols,
    offsets,
    expiry,
    idempotence,
    limits,
    malformed,
]
