"""A transactional producer in raw requests of the first protocol, which repeats what got no answer, and no more.

It is right about everything but one thing: it begins the next transaction under the epoch of the last, whatever
became of the requests of that. What then happens is what a producer has to prevent.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from fake.frames import exchange
from fake.scripts import part

from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest
from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnRequestTopic
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

from .proxy import BROKEN

if TYPE_CHECKING:
    from krafka._wire.schema import Request

SECONDS = 60.0
LATER = {14, 15, 16, 51}


class RawProducer:
    """For a cluster of one broker; each request on a connection of its own."""

    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        host, port = bootstrap.rsplit(":", 1)
        self._address = host, int(port)
        self.name = transactional_id
        self.producer_id, self.producer_epoch = -1, -1
        self.sequences: dict[tuple[str, int], int] = {}

    async def _ask_once(self, request: Request[Any], version: int) -> Any:
        stream = await anyio.connect_tcp(*self._address)
        try:
            return decode_response(request.RESPONSE, version, await exchange(stream, request, version))
        finally:
            await anyio.aclose_forcefully(stream)

    async def ask(self, request: Request[Any], version: int) -> Any:
        """Ask until there is an answer."""
        with anyio.fail_after(SECONDS):
            while True:
                with suppress(*BROKEN):
                    return await self._ask_once(request, version)

    async def _ask_coordinator(self, request: Request[Any], version: int) -> Any:
        """Ask until the coordinator is there and has done what it was asked before."""
        with anyio.fail_after(SECONDS):
            while True:
                answer = await self.ask(request, version)
                if answer.error_code not in LATER:
                    break
                await anyio.sleep(0.02)
        assert answer.error_code == 0, answer
        return answer

    async def init(self) -> None:
        """Take a producer id, or the next epoch of it."""
        # The first to ask for a coordinator has Kafka create what it keeps its state in.
        await self.ask(FindCoordinatorRequest(key_type=1, coordinator_keys=[self.name]), 4)
        request = InitProducerIdRequest(transactional_id=self.name, transaction_timeout_ms=60_000)
        answer = await self._ask_coordinator(request, 4)
        self.producer_id, self.producer_epoch = answer.producer_id, answer.producer_epoch

    async def add(self, topic: str, partition: int) -> None:
        """Make a partition one of the transaction's."""
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.name,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.producer_epoch,
            v3_and_below_topics=[AddPartitionsToTxnRequestTopic(name=topic, partitions=[partition])],
        )
        with anyio.fail_after(SECONDS):
            while True:
                answer = await self.ask(request, 3)
                (told,) = answer.results_by_topic_v3_and_below[0].results_by_partition
                if told.partition_error_code not in LATER:
                    break
                await anyio.sleep(0.02)
        assert told.partition_error_code == 0, answer

    def produce_request(self, topic: str, partition: int, value: bytes) -> ProduceRequest:
        """One record, with the sequence number that comes next."""
        records = part(
            (self.producer_id, self.producer_epoch), self.sequences.get((topic, partition), 0), value
        )
        data = ProduceRequestPartitionData(index=partition, records=records)
        return ProduceRequest(
            acks=-1,
            timeout_ms=10_000,
            transactional_id=self.name,
            topic_data=[ProduceRequestTopicData(name=topic, partition_data=[data])],
        )

    async def write(self, topic: str, partition: int, value: bytes) -> int:
        """Add the partition and write a record; give its offset."""
        await self.add(topic, partition)
        answer = await self.ask(self.produce_request(topic, partition, value), 11)
        (told,) = answer.responses[0].partition_responses
        assert told.error_code == 0, answer
        self.sequences[topic, partition] = self.sequences.get((topic, partition), 0) + 1
        return int(told.base_offset)

    async def write_in_vain(self, topic: str, partition: int, value: bytes) -> None:
        """The same, but for the answer: its record is given up, and its sequence number is the next one's."""
        await self.add(topic, partition)
        with suppress(*BROKEN):
            await self._ask_once(self.produce_request(topic, partition, value), 11)

    async def commit_offset(self, group: str, topic: str, offset: int) -> None:
        """Make the group's offset one of the transaction's."""
        identity = {"producer_id": self.producer_id, "producer_epoch": self.producer_epoch}
        adding = AddOffsetsToTxnRequest(transactional_id=self.name, group_id=group, **identity)
        await self._ask_coordinator(adding, 3)
        committed = TxnOffsetCommitRequestPartition(
            partition_index=0, committed_offset=offset, committed_metadata=""
        )
        request = TxnOffsetCommitRequest(
            transactional_id=self.name,
            group_id=group,
            topics=[TxnOffsetCommitRequestTopic(name=topic, partitions=[committed])],
            **identity,
        )
        with anyio.fail_after(SECONDS):
            while True:
                answer = await self.ask(request, 3)
                code = answer.topics[0].partitions[0].error_code
                if code not in LATER:
                    break
                await anyio.sleep(0.02)
        assert code == 0, answer

    async def end(self, *, commit: bool) -> None:
        """Commit or abort."""
        request = EndTxnRequest(
            transactional_id=self.name,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            committed=commit,
        )
        await self._ask_coordinator(request, 4)
