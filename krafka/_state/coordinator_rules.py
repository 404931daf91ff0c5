"""What each answer of a coordinator means, by request and error: one table, as `krafka._state.rules` is for Produce.

The rules are those of the handlers in Kafka's Java client (`TransactionManager`). An error that a request's rows do not
name is handled by its class: what passes by itself is asked again, anything else ends the producer.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from krafka.errors import (
    AuthenticationError,
    ClusterAuthorizationFailedError,
    ConnectionFailedError,
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    InvalidProducerEpochError,
    InvalidProducerIdMappingError,
    InvalidTxnStateError,
    NetworkError,
    NotCoordinatorError,
    OperationNotAttemptedError,
    ProducerFencedError,
    RequestTimedOutError,
    StaleMemberEpochError,
    TopicAuthorizationFailedError,
    TransactionAbortableError,
    TransactionalIdAuthorizationFailedError,
    UnknownMemberIdError,
    UnknownProducerIdError,
    UnsupportedVersionError,
    error_for_code,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka.errors import KafkaError


class Effect(Enum):
    """What becomes of a request that was answered with an error."""

    RETRY = "asked again, after a backoff"
    FIND_AND_RETRY = "asked again of the coordinator that is found anew"
    REFUSE = "fails; the same call may be made again"
    ABORT = "fails; the transaction can only be aborted"
    FATAL = "fails; the producer cannot go on"


class Ask(Enum):
    """The requests that go to coordinators, or ask for them."""

    FIND_COORDINATOR = "FindCoordinator"
    INIT = "InitProducerId"
    NEW_EPOCH = "InitProducerId for a new epoch"
    VERSIONS = "ApiVersions"
    ADD_PARTITIONS = "AddPartitionsToTxn"
    ADD_OFFSETS = "AddOffsetsToTxn"
    COMMIT_OFFSETS = "TxnOffsetCommit"
    COMMIT = "EndTxn to commit"
    ABORT = "EndTxn to abort"
    DESCRIBE = "DescribeTransactions"

    @property
    def changes_nothing(self) -> bool:
        """Whether it is all the same if a request whose answer was lost was answered."""
        return self in {Ask.FIND_COORDINATOR, Ask.VERSIONS, Ask.DESCRIBE}


_RETRY, _FIND, _REFUSE, _ABORT, _FATAL = Effect

_EVERYWHERE: dict[type[KafkaError], Effect] = {
    NotCoordinatorError: _FIND,
    CoordinatorNotAvailableError: _FIND,
    ConnectionFailedError: _FIND,
    NetworkError: _FIND,
    RequestTimedOutError: _FIND,
    AuthenticationError: _FATAL,
    UnsupportedVersionError: _FATAL,
}

COORDINATOR_RULES: Mapping[Ask, Mapping[type[KafkaError], Effect]] = MappingProxyType(
    {
        Ask.FIND_COORDINATOR: {
            CoordinatorNotAvailableError: _RETRY,
            ConnectionFailedError: _RETRY,
            NetworkError: _RETRY,
            RequestTimedOutError: _RETRY,
            GroupAuthorizationFailedError: _ABORT,
            TransactionAbortableError: _ABORT,
        },
        Ask.INIT: {
            TransactionalIdAuthorizationFailedError: _REFUSE,
            ClusterAuthorizationFailedError: _REFUSE,
            TransactionAbortableError: _REFUSE,
        },
        Ask.NEW_EPOCH: {},
        Ask.VERSIONS: {},
        Ask.ADD_PARTITIONS: {
            TopicAuthorizationFailedError: _ABORT,
            OperationNotAttemptedError: _ABORT,
            TransactionAbortableError: _ABORT,
            UnknownProducerIdError: _ABORT,
        },
        Ask.ADD_OFFSETS: {
            GroupAuthorizationFailedError: _ABORT,
            TransactionAbortableError: _ABORT,
            UnknownProducerIdError: _ABORT,
        },
        Ask.COMMIT_OFFSETS: {
            GroupAuthorizationFailedError: _ABORT,
            TransactionAbortableError: _ABORT,
            FencedInstanceIdError: _ABORT,
            UnknownMemberIdError: _ABORT,
            IllegalGenerationError: _ABORT,
            StaleMemberEpochError: _ABORT,
        },
        Ask.COMMIT: {
            TransactionAbortableError: _ABORT,
            UnknownProducerIdError: _ABORT,
        },
        Ask.ABORT: {},
        Ask.DESCRIBE: {},
    }
)
"""The rows of each request; what holds for all requests is not repeated in them."""

_PRODUCERS_FAULT = (
    InvalidProducerEpochError,
    InvalidProducerIdMappingError,
    InvalidTxnStateError,
    ProducerFencedError,
    TransactionalIdAuthorizationFailedError,
)


def effect_of(ask: Ask, error: KafkaError) -> Effect:
    """What an error means to a request, whether a broker answered it or the connection failed."""
    rules = COORDINATOR_RULES[ask]
    for table in (rules, _EVERYWHERE):
        for kind in type(error).__mro__:
            if kind in table:
                return table[kind]
    if error.is_retriable:
        return _RETRY
    # A partition that cannot be added is the transaction's misfortune; what is wrong with the producer was named above.
    if ask is Ask.ADD_PARTITIONS and not isinstance(error, _PRODUCERS_FAULT):
        return _ABORT
    return _FATAL


def error_of(code: int, where: str, transactional_id: str) -> KafkaError:
    """The error of a coordinator's answer; an old epoch says what a newer producer of the same id says."""
    error = error_for_code(code, where)
    if isinstance(error, InvalidProducerEpochError | ProducerFencedError):
        return fenced(where, transactional_id)
    if isinstance(error, InvalidTxnStateError):
        return InvalidTxnStateError(
            f"INVALID_TXN_STATE (48): {where}: the coordinator has no such transaction open for transactional_id "
            f"{transactional_id!r}; most likely it was open for longer than transaction_timeout and was aborted. Close "
            "this producer and make a new one, and see what the transactions wait for"
        )
    return error


def fenced(where: str, transactional_id: str) -> ProducerFencedError:
    """The error of a producer whose `transactional_id` is another's by now."""
    return ProducerFencedError(
        f"PRODUCER_FENCED (90): {where}: another producer with transactional_id {transactional_id!r} has taken over, "
        "or the transaction was open for longer than transaction_timeout; close this producer. Run one producer of an "
        "id at a time, and make a new one only where this one is meant to go on"
    )
