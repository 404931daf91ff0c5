"""The requests of a transaction, in the version that the cluster's transactions take, and what their answers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._version import __version__
from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest
from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnRequestTopic
from krafka._wire.api_versions import ApiVersionsRequest
from krafka._wire.describe_transactions import DescribeTransactionsRequest
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.init_producer_id import InitProducerIdRequest
from krafka._wire.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from krafka.errors import ConcurrentTransactionsError, UnsupportedVersionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from krafka._io.connection import Connection
    from krafka._io.engine import Engine
    from krafka._state.partition import Partition
    from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnResponse
    from krafka._wire.api_versions import ApiVersionsResponse
    from krafka._wire.describe_transactions import DescribeTransactionsResponse
    from krafka._wire.txn_offset_commit import TxnOffsetCommitResponse
    from krafka.groups import ConsumerGroupMetadata, OffsetAndMetadata
    from krafka.records import TopicPartition

FEATURE = "transaction.version"
LAST_PRODUCE_1 = 11
"""The last version of Produce whose partitions were added to their transaction before (KIP-890)."""
_SECOND = 2
_ADD_PARTITIONS_BY_CLIENTS = 3
_EPOCHS_FROM = 3
_END_TXN_1 = 4
_TXN_OFFSET_COMMIT_1 = 4
_COMPLETING = frozenset({"PrepareCommit", "PrepareAbort"})
_CONCURRENT = ConcurrentTransactionsError.code or 0


class TransactionRequests:
    """Makes the requests of one transactional id, under the id and epoch that the producer has at that time."""

    def __init__(self, engine: Engine, transactional_id: str) -> None:
        self.version = 1
        """2 where partitions and groups take part by themselves, and each transaction has its own epoch (KIP-890)."""
        self._engine = engine
        self._transactional_id = transactional_id
        self._newest_told = -1
        self._asked_at = engine.clock()

    def learn_version(self, connection: Connection) -> bool:
        """Make transactions as the cluster does by now; True if a new epoch has to come between the two kinds."""
        versions = connection.versions
        if versions is None:
            return False
        return self._learn(versions.finalized_features.get(FEATURE, 0), versions.finalized_features_epoch)

    def learn_answer(self, response: ApiVersionsResponse) -> bool:
        """The same by an answer to `versions`."""
        levels = [each.max_version_level for each in response.finalized_features if each.name == FEATURE]
        return self._learn(max(levels, default=0), response.finalized_features_epoch)

    def _learn(self, level: int, told_in: int) -> bool:
        if told_in <= self._newest_told:
            return False
        self._newest_told = told_in
        before = self.version
        self.version = 2 if level >= _SECOND else 1
        return self.version > before

    def may_have_changed(self) -> bool:
        """Whether the cluster was last asked for what it can do so long ago that it is time to ask again."""
        now = self._engine.clock()
        if self.version > 1 or now < self._asked_at + self._engine.config.metadata_max_age:
            return False
        self._asked_at = now
        return True

    @staticmethod
    def versions(connection: Connection) -> tuple[ApiVersionsRequest, int]:
        """Ask for what the cluster can do by now; a connection knows what that was when it was opened."""
        request = ApiVersionsRequest(client_software_name="krafka", client_software_version=__version__)
        return request, connection.api_version(ApiVersionsRequest)

    def produce_version(self, newest: int) -> int:
        """The version of Produce for this transaction, at most `newest`, the highest of a connection."""
        if self.version == 1:
            return min(newest, LAST_PRODUCE_1)
        if newest <= LAST_PRODUCE_1:
            raise UnsupportedVersionError(
                f"the cluster has transaction.version 2, which needs Produce {LAST_PRODUCE_1 + 1}, and one of its "
                f"brokers speaks {newest} at most; upgrade it"
            )
        return newest

    @property
    def _identity(self) -> tuple[int, int]:
        sequences = self._engine.accumulator.sequences
        assert sequences is not None  # noqa: S101 - every transactional producer has them
        return sequences.producer_id, sequences.producer_epoch

    def init(self, connection: Connection, expected: tuple[int, int]) -> tuple[InitProducerIdRequest, int]:
        """Ask for an id and epoch that come after `expected`, or after any if that is -1 and -1."""
        version = connection.api_version(InitProducerIdRequest)
        if expected[0] >= 0 and version < _EPOCHS_FROM:
            raise UnsupportedVersionError(
                "a new epoch is needed, since the fate of a request or record of the transaction is unknown or one "
                f"failed, and {connection.peer} is too old to give one (Kafka 2.5, KIP-360); close this producer and "
                "make a new one"
            )
        request = InitProducerIdRequest(
            transactional_id=self._transactional_id,
            transaction_timeout_ms=int(self._engine.config.transaction_timeout * 1000),
            producer_id=expected[0],
            producer_epoch=expected[1],
        )
        return request, version

    def add_partitions(
        self, connection: Connection, partitions: Iterable[Partition]
    ) -> tuple[AddPartitionsToTxnRequest, int]:
        """Tell the coordinator which partitions take part, before they get a record."""
        topics: dict[str, AddPartitionsToTxnRequestTopic] = {}
        for partition in partitions:
            topic = topics.setdefault(partition.topic, AddPartitionsToTxnRequestTopic(name=partition.topic))
            topic.partitions.append(partition.partition)
        producer_id, epoch = self._identity
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self._transactional_id,
            v3_and_below_producer_id=producer_id,
            v3_and_below_producer_epoch=epoch,
            v3_and_below_topics=list(topics.values()),
        )
        # The later versions are the brokers' own.
        return request, min(connection.api_version(AddPartitionsToTxnRequest), _ADD_PARTITIONS_BY_CLIENTS)

    @staticmethod
    def partition_codes(response: AddPartitionsToTxnResponse) -> list[tuple[int, str]]:
        """Each partition's error."""
        return [
            (result.partition_error_code, f"AddPartitionsToTxn for {topic.name}-{result.partition_index}")
            for topic in response.results_by_topic_v3_and_below
            for result in topic.results_by_partition
        ]

    def add_offsets(self, connection: Connection, group_id: str) -> tuple[AddOffsetsToTxnRequest, int]:
        """Tell the coordinator that a group takes part, before it gets offsets."""
        producer_id, epoch = self._identity
        request = AddOffsetsToTxnRequest(
            transactional_id=self._transactional_id,
            producer_id=producer_id,
            producer_epoch=epoch,
            group_id=group_id,
        )
        return request, connection.api_version(AddOffsetsToTxnRequest)

    def commit_offsets(
        self,
        connection: Connection,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        group: ConsumerGroupMetadata,
    ) -> tuple[TxnOffsetCommitRequest, int]:
        """Give a group offsets that count once the transaction is committed."""
        topics: dict[str, TxnOffsetCommitRequestTopic] = {}
        for place, position in offsets.items():
            topic = topics.setdefault(place.topic, TxnOffsetCommitRequestTopic(name=place.topic))
            topic.partitions.append(
                TxnOffsetCommitRequestPartition(
                    partition_index=place.partition,
                    committed_offset=position.offset,
                    committed_leader_epoch=position.leader_epoch,
                    committed_metadata=position.metadata,
                )
            )
        producer_id, epoch = self._identity
        request = TxnOffsetCommitRequest(
            transactional_id=self._transactional_id,
            group_id=group.group_id,
            producer_id=producer_id,
            producer_epoch=epoch,
            generation_id=group.generation_id,
            member_id=group.member_id,
            group_instance_id=group.group_instance_id,
            topics=list(topics.values()),
        )
        version = connection.api_version(TxnOffsetCommitRequest)
        return request, version if self.version > 1 else min(version, _TXN_OFFSET_COMMIT_1)

    @staticmethod
    def offset_codes(response: TxnOffsetCommitResponse, group_id: str) -> list[tuple[int, str]]:
        """Each partition's error."""
        return [
            (
                result.error_code,
                f"the offset of {topic.name}-{result.partition_index} for the group {group_id!r}",
            )
            for topic in response.topics
            for result in topic.partitions
        ]

    def describe(self, connection: Connection) -> tuple[DescribeTransactionsRequest, int]:
        """Ask where the transactional id stands."""
        request = DescribeTransactionsRequest(transactional_ids=[self._transactional_id])
        return request, connection.api_version(DescribeTransactionsRequest)

    @staticmethod
    def description_codes(response: DescribeTransactionsResponse) -> list[tuple[int, str]]:
        """The error, which is the one that records would meet if the transaction before is being completed."""
        return [
            (
                _CONCURRENT if each.transaction_state in _COMPLETING else each.error_code,
                "DescribeTransactions",
            )
            for each in response.transaction_states
        ]

    def end(self, connection: Connection, *, commit: bool) -> tuple[EndTxnRequest, int]:
        """Ask for the end of the transaction."""
        producer_id, epoch = self._identity
        request = EndTxnRequest(
            transactional_id=self._transactional_id,
            producer_id=producer_id,
            producer_epoch=epoch,
            committed=commit,
        )
        version = connection.api_version(EndTxnRequest)
        return request, version if self.version > 1 else min(version, _END_TXN_1)
