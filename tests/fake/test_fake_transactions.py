"""Transactions in the fake cluster: coordinators, markers, time, and what consumers are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka._wire.api_versions import ApiVersionsRequest
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.find_coordinator import FindCoordinatorRequest
from krafka._wire.frames import decode_response
from krafka._wire.init_producer_id import InitProducerIdRequest
from krafka._wire.produce import ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData
from krafka._wire.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from krafka.errors import CoordinatorLoadInProgressError, UnknownMemberIdError
from krafka.testing import FakeCluster
from krafka.testing.fake import TransactionState
from krafka.testing.fake.transactions import LAST_EPOCH, CoordinatorRefusedError, TransactionTable

from .frames import exchange
from .scripts import Producer, part

if TYPE_CHECKING:
    from krafka.testing.fake import FakeTransaction

pytestmark = pytest.mark.anyio

NOT_LEADER, LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 6, 14, 15, 16
ILLEGAL_GENERATION, UNKNOWN_MEMBER, FENCED_INSTANCE = 22, 25, 82
INVALID_EPOCH, INVALID_STATE, WRONG_PRODUCER, CONCURRENT, FENCED = 47, 48, 49, 51, 90
NAME = "billing"


class Client:
    """Asks the brokers of a fake cluster, each time on a new connection."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    async def ask(self, request: Any, version: int, *, broker: int | None = None) -> Any:
        node_id = self.cluster.coordinator(NAME) if broker is None else broker
        stream = await self.cluster.connect(*self.cluster.addresses[node_id][:2])
        frame = await exchange(stream, request, version)
        await stream.aclose()
        return decode_response(request.RESPONSE, version, frame)

    async def init(self, *, timeout_ms: int = 60_000, broker: int | None = None) -> tuple[int, Producer]:
        request = InitProducerIdRequest(transactional_id=NAME, transaction_timeout_ms=timeout_ms)
        answer = await self.ask(request, 5, broker=broker)
        return answer.error_code, (answer.producer_id, answer.producer_epoch)

    async def produce(
        self, producer: Producer, *values: bytes, sequence: int = 0, partition: int = 0
    ) -> tuple[int, int]:
        request = ProduceRequest(
            acks=-1,
            timeout_ms=1000,
            transactional_id=NAME,
            topic_data=[
                ProduceRequestTopicData(
                    name="t",
                    partition_data=[
                        ProduceRequestPartitionData(
                            index=partition, records=part(producer, sequence, *values)
                        )
                    ],
                )
            ],
        )
        answer = await self.ask(request, 12, broker=self.cluster.leader("t", partition))
        (told,) = answer.responses[0].partition_responses
        return told.error_code, told.base_offset

    async def end(self, producer: Producer, *, commit: bool) -> tuple[int, Producer]:
        request = EndTxnRequest(
            transactional_id=NAME, producer_id=producer[0], producer_epoch=producer[1], committed=commit
        )
        answer = await self.ask(request, 5)
        return answer.error_code, (answer.producer_id, answer.producer_epoch)

    async def commit_offset(self, producer: Producer, group: str, offset: int, **member: Any) -> int:
        committed = TxnOffsetCommitRequestPartition(
            partition_index=0, committed_offset=offset, committed_metadata="so far"
        )
        request = TxnOffsetCommitRequest(
            transactional_id=NAME,
            group_id=group,
            producer_id=producer[0],
            producer_epoch=producer[1],
            topics=[TxnOffsetCommitRequestTopic(name="t", partitions=[committed])],
            **member,
        )
        answer = await self.ask(request, 5, broker=self.cluster.coordinator(group, group=True))
        return answer.topics[0].partitions[0].error_code  # type: ignore[no-any-return]  # responses are Any here

    async def find(self, key: str, *, group: bool = False) -> tuple[int, int]:
        request = FindCoordinatorRequest(coordinator_keys=[key], key_type=0 if group else 1)
        (told,) = (await self.ask(request, 4, broker=1)).coordinators
        return told.error_code, told.node_id


async def test_what_is_aborted_or_open_is_not_committed() -> None:
    async with FakeCluster() as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        _, first = await client.init()
        assert await client.produce(first, b"a", b"b") == (0, 0)
        assert cluster.log("t", committed=True) == []
        _, second = await client.end(first, commit=True)
        assert second == (first[0], 1)
        assert await client.produce(second, b"lost") == (0, 3)
        _, third = await client.end(second, commit=False)
        assert await client.produce(third, b"c") == (0, 5)
        assert [record.value for record in cluster.log("t")] == [b"a", b"b", b"lost", b"c"]
        assert [record.value for record in cluster.log("t", committed=True)] == [b"a", b"b"]
        assert all(record.transactional for record in cluster.log("t"))
        await client.end(third, commit=True)
        assert [record.offset for record in cluster.log("t", 0, committed=True)] == [0, 1, 5]
        assert [(each.offset, each.producer_epoch, each.commit) for each in cluster.markers("t", 0)] == [
            (2, 1, True),
            (4, 2, False),
            (6, 3, True),
        ]


async def test_a_transaction_takes_its_time_to_complete() -> None:
    async with FakeCluster() as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 2)
        _, us = await client.init()
        await client.produce(us, b"a")
        cluster.hold_markers()
        code, then = await client.end(us, commit=True)
        assert code == 0
        assert cluster.transactions[NAME].state is TransactionState.PREPARE_COMMIT
        assert (await client.end(us, commit=True))[0] == CONCURRENT
        assert (await client.init())[0] == CONCURRENT
        assert (await client.produce(then, b"b", partition=1))[0] == CONCURRENT
        assert cluster.log("t", committed=True) == []
        cluster.release_markers()
        assert cluster.transactions[NAME].state is TransactionState.COMPLETE_COMMIT
        assert (await client.produce(then, b"b", partition=1))[0] == 0
        assert [record.value for record in cluster.log("t", committed=True)] == [b"a"]


async def test_markers_wait_for_a_broker_that_is_away() -> None:
    async with FakeCluster(2, replication=1) as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 2)
        cluster.move_coordinator(NAME, to=1)
        _, us = await client.init()
        for partition in (0, 1):
            assert (await client.produce(us, b"v", partition=partition))[0] == 0
        cluster.stop_broker(2)
        _, then = await client.end(us, commit=True)
        assert list(cluster.transactions[NAME].partitions) == [("t", 1)]
        assert [record.partition for record in cluster.log("t", committed=True)] == [0]
        cluster.start_broker(2)
        assert [record.partition for record in cluster.log("t", committed=True)] == [0, 1]
        assert (await client.produce(then, b"v"))[0] == 0
        cluster.pause_broker(1)
        cluster.move_coordinator(NAME, to=2)
        await client.end(then, commit=True)
        assert len(cluster.markers("t", 0)) == 1
        with anyio.fail_after(5):
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(cluster.until, lambda: len(cluster.markers("t", 0)) == 2)
                await anyio.wait_all_tasks_blocked()
                cluster.resume_broker(1)


async def test_a_coordinator_moves_and_what_it_knows_moves_with_it() -> None:
    async with FakeCluster(3) as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        cluster.move_coordinator(NAME, to=2)
        assert await client.find(NAME) == (0, 2)
        _, us = await client.init()
        cluster.move_coordinator(NAME, to=3, propagate=False)
        assert await client.find(NAME) == (0, 2)
        assert (await client.init(broker=2))[0] == NOT_COORDINATOR
        cluster.propagate()
        assert await client.find(NAME) == (0, 3)
        assert await client.init() == (0, (us[0], 1))
        cluster.stop_broker(3)
        assert cluster.coordinator(NAME) in {1, 2}
        assert await client.find(NAME) == (0, cluster.coordinator(NAME))
        assert await client.init() == (0, (us[0], 2))
        with pytest.raises(ValueError, match="no broker 7"):
            cluster.move_coordinator(NAME, to=7)


async def test_there_is_no_coordinator_while_nobody_is_up() -> None:
    async with FakeCluster(1) as cluster:
        cluster.stop_broker(1)
        assert cluster.coordinator("g", group=True) == -1
        cluster.start_broker(1)
        assert await Client(cluster).find("g", group=True) == (0, 1)


async def test_a_coordinator_fails_by_the_script() -> None:
    async with FakeCluster() as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        cluster.fail("FindCoordinator", code=NOT_AVAILABLE)
        assert (await client.find(NAME))[0] == NOT_AVAILABLE
        cluster.fail("InitProducerId", code=CoordinatorLoadInProgressError)
        assert await client.init() == (LOADING, (-1, -1))
        _, us = await client.init()
        assert us[1] == 0
        cluster.fail("TxnOffsetCommit", topic="t", partition=0, code=UnknownMemberIdError)
        assert await client.commit_offset(us, "g", 1) == UNKNOWN_MEMBER
        assert cluster.transactions[NAME].state is TransactionState.EMPTY
        assert await client.commit_offset(us, "g", 1) == 0
        # The answer is lost, the transaction committed: who asks again is told so, with the same epoch.
        cluster.fail("EndTxn", code=NOT_COORDINATOR, after_append=True)
        assert (await client.end(us, commit=True))[0] == NOT_COORDINATOR
        assert cluster.committed_offsets("g") == {("t", 0): 1}
        assert await client.end(us, commit=True) == (0, (us[0], 1))
        assert (await client.end(us, commit=False))[0] == INVALID_STATE


async def test_offsets_count_once_the_transaction_is_committed() -> None:
    async with FakeCluster(2) as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        _, us = await client.init()
        assert await client.commit_offset(us, "g", 5) == 0
        assert cluster.committed_offsets("g") == {}
        _, then = await client.end(us, commit=False)
        assert cluster.committed_offsets("g") == {}
        assert await client.commit_offset(us, "g", 6) == INVALID_EPOCH
        assert await client.commit_offset(then, "g", 7) == 0
        await client.end(then, commit=True)
        assert cluster.committed_offsets("g") == {("t", 0): 7}
        assert cluster.groups["g"].offsets["t", 0] == (7, -1, "so far")


async def test_only_members_of_the_present_generation_commit_offsets() -> None:
    async with FakeCluster() as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        cluster.set_group("g", generation=4, members={"m1": None, "m2": "instance"})
        _, us = await client.init()

        async def code(generation: int, member: str, instance: str | None = None) -> int:
            return await client.commit_offset(
                us, "g", 9, generation_id=generation, member_id=member, group_instance_id=instance
            )

        assert await code(3, "m1") == ILLEGAL_GENERATION
        assert await code(4, "m3") == UNKNOWN_MEMBER
        assert await code(4, "m1", "instance") == FENCED_INSTANCE
        assert await code(4, "m1", "another") == UNKNOWN_MEMBER
        assert await code(4, "m2", "instance") == 0
        assert await code(4, "m1") == 0
        assert await code(-1, "") == 0


async def test_a_transaction_that_takes_too_long_is_aborted() -> None:
    async with FakeCluster() as cluster:
        client = Client(cluster)
        cluster.create_topic("t", 1)
        _, us = await client.init(timeout_ms=50)
        started = anyio.current_time()
        assert (await client.produce(us, b"late"))[0] == 0
        with anyio.fail_after(5):
            await cluster.until(lambda: bool(cluster.markers("t", 0)))
        # uvloop's clock has whole milliseconds.
        assert anyio.current_time() - started >= 0.046  # less by the steps of uvloop's clock
        assert cluster.transactions[NAME].state is TransactionState.COMPLETE_ABORT
        assert (await client.produce(us, b"later", sequence=1))[0] == INVALID_EPOCH
        assert (await client.end(us, commit=True))[0] == INVALID_STATE
        assert cluster.log("t", committed=True) == []
        # The clock goes on for the next.
        _, again = await client.init(timeout_ms=60)
        assert (await client.produce(again, b"late"))[0] == 0
        with anyio.fail_after(5):
            await cluster.until(lambda: len(cluster.markers("t", 0)) == 2)


@pytest.mark.parametrize(
    ("version", "told"), [(2, [("transaction.version", 2)]), (1, [("transaction.version", 1)]), (0, [])]
)
async def test_the_version_of_transactions_is_told(version: int, told: list[tuple[str, int]]) -> None:
    async with FakeCluster(transaction_version=version) as cluster:
        request = ApiVersionsRequest(client_software_name="t", client_software_version="1")
        answer = await Client(cluster).ask(request, 4, broker=1)
        assert [(each.name, each.max_version_level) for each in answer.finalized_features] == told
        assert [(each.name, each.max_version) for each in answer.supported_features] == [
            ("transaction.version", 2)
        ]
    with pytest.raises(ValueError, match="transaction_version is 0 to 2, got 3"):
        FakeCluster(transaction_version=3)


async def test_another_transaction_version_is_told_on_connections_that_come_later() -> None:
    async with FakeCluster(transaction_version=1) as cluster:
        for version in (1, 2, 0):
            cluster.set_transaction_version(version)
            request = ApiVersionsRequest(client_software_name="t", client_software_version="1")
            told = await Client(cluster).ask(request, 4, broker=1)
            levels = {feature.name: feature.max_version_level for feature in told.finalized_features}
            assert levels.get("transaction.version", 0) == version
            assert told.finalized_features_epoch == cluster.features_epoch
        assert cluster.features_epoch == 3
        with pytest.raises(ValueError, match="transaction_version is 0 to 2, got 3"):
            cluster.set_transaction_version(3)


# -- epochs that run out -----------------------------------------------------------------------------------------------


def mark(transaction: FakeTransaction) -> None:
    transaction.partitions.clear()


def table(version: int = 2) -> TransactionTable:
    ids = iter(range(100, 200))
    return TransactionTable(
        version=version,
        max_timeout=900,
        new_producer_id=lambda: next(ids),
        mark=mark,
        began=lambda: None,
    )


def test_a_producer_whose_epochs_run_out_is_given_a_new_id() -> None:
    transactions = table()
    transactions.initialize("x", 60, None)
    transactions.by_id["x"].producer_epoch = LAST_EPOCH
    last = (100, LAST_EPOCH)
    transactions.add("x", last, 0, partitions=[("t", 0)])
    assert transactions.end("x", last, commit=True, version=2) == (101, 0)
    assert transactions.end("x", last, commit=True, version=2) == (101, 0)
    transactions.by_id["x"].producer_epoch = LAST_EPOCH
    renewed = transactions.initialize("x", 60, (101, LAST_EPOCH))
    assert (renewed.producer_id, renewed.producer_epoch) == (102, 0)
    again = transactions.initialize("x", 60, (101, LAST_EPOCH))
    assert (again.producer_id, again.producer_epoch) == (102, 0)


def test_with_the_first_protocol_a_fence_is_an_epoch_nobody_has() -> None:
    transactions = table(version=1)
    transactions.initialize("x", 60, None)
    transactions.add("x", (100, 0), 0, partitions=[("t", 0)])
    with pytest.raises(CoordinatorRefusedError) as refusal:
        transactions.initialize("x", 60, None)
    assert refusal.value.code == CONCURRENT
    with pytest.raises(CoordinatorRefusedError) as refusal:
        transactions.initialize("x", 60, (100, 0))
    assert refusal.value.code == FENCED
    assert transactions.initialize("x", 60, None).producer_epoch == 2
