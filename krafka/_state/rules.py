"""The outcome rules as one table: for each error, what becomes of the batch, its number, the producer, a transaction.

The rules are those of Kafka's Java client, named in the last column by the class and method, or the KIP, they come
from. Two things are added to them: what each error says about the log, because a caller has to know whether the record
may be there, and what happens to the numbers behind a batch, which `krafka._state.sequences` carries out.

A row speaks of one attempt. After an earlier one whose outcome is unknown no refusal proves anything: "no" is "maybe"
then, and a number that would be missing is in doubt. Without idempotence there are no numbers, and what a row would
renumber fails. Whatever is to be sent again fails with its last error once its deadline or `retries` forbid it.

`rule_for` gives the row of an error. A code without a row is one that no broker is known to answer Produce with; what
becomes of it follows from its class (`rule_for_others`), and so it does for a code that nobody knows yet.
"""

# ruff: noqa: E501 - a row of the table is one line

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from krafka.errors import (
    AuthenticationError,
    BrokerNotAvailableError,
    ClusterAuthorizationFailedError,
    ConcurrentTransactionsError,
    ConnectionFailedError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    CorruptMessageError,
    DeliveryTimeoutError,
    DuplicateSequenceNumberError,
    FencedLeaderEpochError,
    InconsistentTopicIdError,
    InvalidProducerEpochError,
    InvalidProducerIdMappingError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTxnStateError,
    KafkaStorageError,
    LeaderNotAvailableError,
    ListenerNotFoundError,
    MessageTooLargeError,
    NetworkError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceNumberError,
    PolicyViolationError,
    ProducerClosedError,
    ProducerCrashedError,
    ProducerFencedError,
    RecordListTooLargeError,
    ReplicaNotAvailableError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
    TopicAuthorizationFailedError,
    TransactionAbortableError,
    TransactionalIdAuthorizationFailedError,
    UnknownLeaderEpochError,
    UnknownProducerIdError,
    UnknownServerError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka.errors import KafkaError


class Batch(Enum):
    """What becomes of a batch. What is sent again is so until its deadline, or until `retries` are used up."""

    ACKNOWLEDGE = "acknowledged"
    RETRY = "sent again"
    REFRESH_AND_RETRY = "sent again, after new metadata"
    RENUMBER_AND_RETRY = "sent again, with a new number if its own cannot be taken"
    SPLIT = "halved, and its parts are sent; a single record fails"
    FAIL_NAMED = (
        "the records that the answer names fail, the others are sent again; all fail if it names none"
    )
    FAIL = "fails"
    WAIT = "stays in the buffer"


class Written(Enum):
    """What an error says about the log: whether the records may be there in spite of it."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"
    IF_OFFSET = "only if the answer tells an offset"
    EARLIER = "maybe, if an earlier attempt was not answered"


class Number(Enum):
    """What becomes of the sequence numbers of a batch that had been numbered (`krafka._state.sequences`)."""

    NONE = "it has none yet"
    TAKEN = "in the log"
    KEPT = "kept"
    PARTS = "handed on to the parts; what is left over is free again, or missing for good"
    OUT_OF_ORDER = "a new one under a new epoch, if one before it is missing in the log; else kept"
    FORGOTTEN = "a new one under a new epoch, if the answer tells where the log starts; else kept"
    GAP = "missing for good: a new epoch for those behind it"
    UNRESOLVED = "in doubt: nothing new until those under way have ended, then a new epoch if it is missing"
    HELD = "kept until the answer comes or the connection ends"
    ENDED = "of no use any more"


class Producer(Enum):
    """What becomes of the producer."""

    GOES_ON = "goes on"
    ENDS = "ends: every record fails with this error"


class Transaction(Enum):
    """What becomes of the open transaction of a transactional producer, if there is one."""

    CONTINUES = "goes on"
    ABORT = "can only be aborted"
    FATAL = "ends with the producer"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: an error and its effects."""

    error: type[KafkaError]
    batch: Batch
    written: Written
    number: Number
    producer: Producer
    transaction: Transaction
    source: str
    """Where the rule comes from: class and method of Kafka's Java client or broker, or a KIP."""

    @property
    def code(self) -> int | None:
        """Kafka's code of the error; None for what the client itself finds."""
        return self.error.code

    @property
    def is_retried(self) -> bool:
        """Whether the batch is sent again as it is, while time and `retries` allow."""
        return self.batch in {Batch.RETRY, Batch.REFRESH_AND_RETRY}

    @property
    def refreshes_metadata(self) -> bool:
        """Whether the picture of the cluster is stale."""
        return self.batch is Batch.REFRESH_AND_RETRY

    @property
    def ends_producer(self) -> bool:
        """Whether nothing this producer sends can succeed any more."""
        return self.producer is Producer.ENDS

    def is_possibly_written(self, base_offset: int = -1) -> bool:
        """Whether a batch answered with this error and `base_offset` may be in the log."""
        if self.written is Written.IF_OFFSET:
            return base_offset >= 0
        return self.written is Written.MAYBE


_ACKNOWLEDGE, _RETRY, _REFRESH, _RENUMBER, _SPLIT, _NAMED, _FAIL, _WAIT = Batch
_YES, _NO, _MAYBE, _IF_OFFSET, _EARLIER = Written
_NONE, _TAKEN, _KEPT, _PARTS, _OUT_OF_ORDER, _FORGOTTEN, _GAP, _UNRESOLVED, _HELD, _ENDED = Number
_GOES_ON, _ENDS = Producer
_CONTINUES, _ABORT, _FATAL = Transaction

# A row a line, each value below those it is compared with; the formatter would put each on a line of its own.
# fmt: off
PRODUCE_RULES: tuple[Rule, ...] = (
    Rule(UnknownServerError,                       _FAIL,         _MAYBE,      _UNRESOLVED,    _GOES_ON,  _ABORT,      "Sender.completeBatch: not a RetriableException; ReplicaManager: any exception without a code"),
    Rule(CorruptMessageError,                      _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; UnifiedLog.analyzeAndValidateRecords"),
    Rule(UnknownTopicOrPartitionError,             _REFRESH,      _IF_OFFSET,  _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; DelayedProduce.tryComplete"),
    Rule(LeaderNotAvailableError,                  _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException"),
    Rule(NotLeaderOrFollowerError,                 _REFRESH,      _IF_OFFSET,  _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; DelayedProduce.tryComplete; KIP-951"),
    Rule(RequestTimedOutError,                     _RETRY,        _MAYBE,      _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; DelayedProduce"),
    Rule(BrokerNotAvailableError,                  _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch: not a RetriableException"),
    Rule(ReplicaNotAvailableError,                 _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException"),
    Rule(MessageTooLargeError,                     _SPLIT,        _NO,         _PARTS,         _GOES_ON,  _CONTINUES,  "Sender.completeBatch; RecordAccumulator.splitAndReenqueue"),
    Rule(NetworkError,                             _REFRESH,      _MAYBE,      _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; no broker is known to answer it"),
    Rule(CoordinatorLoadInProgressError,           _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; AddPartitionsToTxnManager (KIP-890)"),
    Rule(CoordinatorNotAvailableError,             _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; AddPartitionsToTxnManager (KIP-890)"),
    Rule(NotCoordinatorError,                      _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; AddPartitionsToTxnManager (KIP-890)"),
    Rule(InvalidTopicError,                        _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; ReplicaManager: an internal topic"),
    Rule(RecordListTooLargeError,                  _SPLIT,        _NO,         _PARTS,         _GOES_ON,  _CONTINUES,  "krafka's own: as for MessageTooLargeError; UnifiedLog.append"),
    Rule(NotEnoughReplicasError,                   _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; Partition.appendRecordsToLeader"),
    Rule(NotEnoughReplicasAfterAppendError,        _RETRY,        _MAYBE,      _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; Partition.checkEnoughReplicasReachOffset"),
    Rule(InvalidRequiredAcksError,                 _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; ReplicaManager.isValidRequiredAcks"),
    Rule(TopicAuthorizationFailedError,            _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; KafkaApis.handleProduceRequest"),
    Rule(ClusterAuthorizationFailedError,          _FAIL,         _NO,         _ENDED,         _ENDS,     _FATAL,      "TransactionManager.maybeTransitionToErrorState; KIP-679"),
    Rule(InvalidTimestampError,                    _NAMED,        _NO,         _PARTS,         _GOES_ON,  _ABORT,      "KIP-467, and krafka's own: the innocent are sent again; LogValidator"),
    Rule(UnsupportedVersionError,                  _FAIL,         _NO,         _ENDED,         _ENDS,     _FATAL,      "TransactionManager.maybeTransitionToErrorState"),
    Rule(InvalidRequestError,                      _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; KafkaApis.handleProduceRequest"),
    Rule(UnsupportedForMessageFormatError,         _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; LogValidator"),
    Rule(PolicyViolationError,                     _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch"),
    Rule(OutOfOrderSequenceNumberError,            _RENUMBER,     _NO,         _OUT_OF_ORDER,  _GOES_ON,  _ABORT,      "TransactionManager.canRetry; KIP-360"),
    Rule(DuplicateSequenceNumberError,             _ACKNOWLEDGE,  _YES,        _TAKEN,         _GOES_ON,  _CONTINUES,  "Sender.completeBatch; KIP-98"),
    Rule(InvalidProducerEpochError,                _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; KIP-588"),
    Rule(InvalidTxnStateError,                     _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "TransactionManager.handleFailedBatch; KIP-890"),
    Rule(InvalidProducerIdMappingError,            _FAIL,         _NO,         _ENDED,         _ENDS,     _FATAL,      "TransactionManager.maybeTransitionToErrorState"),
    Rule(ConcurrentTransactionsError,              _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; AddPartitionsToTxnManager (KIP-890)"),
    Rule(TransactionalIdAuthorizationFailedError,  _FAIL,         _NO,         _ENDED,         _ENDS,     _FATAL,      "TransactionManager.maybeTransitionToErrorState"),
    Rule(KafkaStorageError,                        _REFRESH,      _MAYBE,      _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; DelayedProduce.tryComplete"),
    Rule(UnknownProducerIdError,                   _RENUMBER,     _NO,         _FORGOTTEN,     _GOES_ON,  _ABORT,      "TransactionManager.canRetry; KIP-360"),
    Rule(ListenerNotFoundError,                    _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException"),
    Rule(FencedLeaderEpochError,                   _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; KIP-951"),
    Rule(UnknownLeaderEpochError,                  _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException"),
    Rule(UnsupportedCompressionTypeError,          _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "Sender.completeBatch; KIP-110"),
    Rule(InvalidRecordError,                       _NAMED,        _NO,         _PARTS,         _GOES_ON,  _ABORT,      "KIP-467, and krafka's own: the innocent are sent again; LogValidator"),
    Rule(ThrottlingQuotaExceededError,             _RETRY,        _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "RetriableException; KIP-599"),
    Rule(ProducerFencedError,                      _FAIL,         _NO,         _ENDED,         _ENDS,     _FATAL,      "TransactionManager.maybeTransitionToErrorState"),
    Rule(UnknownTopicIdError,                      _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; KIP-516"),
    Rule(InconsistentTopicIdError,                 _REFRESH,      _NO,         _KEPT,          _GOES_ON,  _CONTINUES,  "InvalidMetadataException; KIP-516"),
    Rule(TransactionAbortableError,                _FAIL,         _NO,         _GAP,           _GOES_ON,  _ABORT,      "TransactionManager.handleFailedBatch; KIP-890"),
)
"""What a partition's answer to Produce may carry, in order of the codes."""

CLIENT_RULES: Mapping[str, Rule] = MappingProxyType({
    "there is no connection to the leader, and none can be opened":
        Rule(ConnectionFailedError,    _WAIT,     _EARLIER,  _KEPT,        _GOES_ON,  _CONTINUES,  "Sender.sendProducerData: the node is not ready"),
    "the connection ended before the request was written":
        Rule(NetworkError,             _REFRESH,  _NO,       _KEPT,        _GOES_ON,  _CONTINUES,  "Sender.handleProduceResponse: disconnected"),
    "the connection ended after the request was written, or a part of it":
        Rule(NetworkError,             _REFRESH,  _MAYBE,    _KEPT,        _GOES_ON,  _CONTINUES,  "Sender.handleProduceResponse: disconnected"),
    "no answer came within `request_timeout`; the connection is closed":
        Rule(RequestTimedOutError,     _REFRESH,  _MAYBE,    _KEPT,        _GOES_ON,  _CONTINUES,  "NetworkClient.handleTimedOutRequests"),
    "the answer is not what the protocol says; the connection is closed":
        Rule(NetworkError,             _REFRESH,  _MAYBE,    _KEPT,        _GOES_ON,  _CONTINUES,  "krafka's own: as if no answer had come"),
    "the answer leaves the partition out":
        Rule(NetworkError,             _REFRESH,  _MAYBE,    _KEPT,        _GOES_ON,  _CONTINUES,  "krafka's own: as if no answer had come"),
    "the broker refuses the credentials":
        Rule(AuthenticationError,      _FAIL,     _EARLIER,  _ENDED,       _ENDS,     _FATAL,      "Sender.runOnce: authenticationFailed"),
    "the broker speaks no version of Produce that krafka does":
        Rule(UnsupportedVersionError,  _FAIL,     _EARLIER,  _ENDED,       _ENDS,     _FATAL,      "Sender.handleProduceResponse: version mismatch"),
    "`delivery_timeout` passed before the batch was sent":
        Rule(DeliveryTimeoutError,     _FAIL,     _NO,       _NONE,        _GOES_ON,  _ABORT,      "RecordAccumulator.expiredBatches"),
    "`delivery_timeout` passed while the batch waited to be sent again":
        Rule(DeliveryTimeoutError,     _FAIL,     _EARLIER,  _UNRESOLVED,  _GOES_ON,  _ABORT,      "Sender.sendProducerData: markSequenceUnresolved"),
    "`delivery_timeout` passed while the batch was on the wire":
        Rule(DeliveryTimeoutError,     _FAIL,     _MAYBE,    _HELD,        _GOES_ON,  _ABORT,      "Sender.getExpiredInflightBatches; here its answer still counts for the numbers"),
    "the producer is closed, or its block left, before the batch was sent":
        Rule(ProducerClosedError,      _FAIL,     _EARLIER,  _ENDED,       _ENDS,     _FATAL,      "RecordAccumulator.abortIncompleteBatches"),
    "the producer is closed, or its block left, while the batch is on the wire":
        Rule(ProducerClosedError,      _FAIL,     _MAYBE,    _ENDED,       _ENDS,     _FATAL,      "RecordAccumulator.abortIncompleteBatches"),
    "a background task of the producer failed, which is a bug":
        Rule(ProducerCrashedError,     _FAIL,     _EARLIER,  _ENDED,       _ENDS,     _FATAL,      "krafka's own"),
})
# fmt: on
"""What the client finds by itself, by the condition."""

_RULES_BY_CODE = {rule.code: rule for rule in PRODUCE_RULES}


def rule_for_others(error_class: type[KafkaError]) -> Rule:
    """The rule for an error without a row: sent again if its class says that this may help, else failed.

    No broker is known to answer Produce so, and nothing is known about what it did before. That is also the rule
    for the codes of a Kafka to come, which are `UnknownKafkaError`.
    """
    source = "Sender.completeBatch: by the class of the exception"
    if error_class.is_fatal:
        return Rule(error_class, _FAIL, _MAYBE, _ENDED, _ENDS, _FATAL, source)
    if not error_class.is_retriable:
        return Rule(error_class, _FAIL, _MAYBE, _UNRESOLVED, _GOES_ON, _ABORT, source)
    batch = _REFRESH if error_class.refreshes_metadata else _RETRY
    return Rule(error_class, batch, _MAYBE, _KEPT, _GOES_ON, _CONTINUES, source)


def rule_for(error: type[KafkaError] | KafkaError) -> Rule:
    """The rule of an error that a batch was answered with, or that ended the hope for an answer."""
    error_class = error if isinstance(error, type) else type(error)
    return _RULES_BY_CODE.get(error_class.code) or rule_for_others(error_class)
