"""Transactions as Kafka's coordinator keeps them: what each transactional id has begun, and what may follow what.

The rules are those of Kafka 4's `TransactionCoordinator` and `TransactionMetadata`, for both versions of the
transaction protocol (KIP-98, KIP-360, KIP-588, KIP-890). The version of an EndTxn request says which one a client
speaks; what the coordinator does of its own accord, it does in the cluster's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from krafka.errors import (
    ConcurrentTransactionsError,
    InvalidProducerIdMappingError,
    InvalidRequestError,
    InvalidTransactionTimeoutError,
    InvalidTxnStateError,
    ProducerFencedError,
    TransactionAbortableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka.errors import KafkaError

NO_PRODUCER_ID = -1
NO_EPOCH = -1
LAST_EPOCH = 2**15 - 2
"""The highest epoch a producer is given; the one above it is kept to fence whoever has this one."""
EPOCH_BUMP_FROM = 2
"""The transaction version whose every transaction has an epoch of its own (KIP-890)."""

PartitionName = tuple[str, int]


class CoordinatorRefusedError(Exception):
    """A coordinator does not do what it is asked; `code` is its answer."""

    def __init__(self, error: type[KafkaError]) -> None:
        super().__init__(error.__name__)
        assert error.code is not None  # noqa: S101 - only classes of a broker's answers are raised here
        self.error = error
        self.code: int = error.code


class TransactionState(Enum):
    """Where a transactional id stands, in Kafka's words."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


_COMPLETING = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)


@dataclass(eq=False)
class FakeTransaction:
    """What the coordinator knows of one transactional id.

    `partitions` and `groups` are what takes part in the transaction and has no marker yet. `producer_id` and
    `producer_epoch` are what the coordinator takes as the present producer's; it is `ONGOING` since `started_at`, in
    seconds of the event loop's clock, and is aborted `timeout` seconds after that.
    """

    transactional_id: str
    producer_id: int
    timeout: float
    producer_epoch: int = NO_EPOCH
    state: TransactionState = TransactionState.EMPTY
    partitions: dict[PartitionName, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    started_at: float = inf
    last_epoch: int = field(default=NO_EPOCH, repr=False)
    previous_producer_id: int = field(default=NO_PRODUCER_ID, repr=False)
    next_producer_id: int = field(default=NO_PRODUCER_ID, repr=False)

    @property
    def is_completing(self) -> bool:
        """Whether it is decided how the transaction ends, but not every marker is written."""
        return self.state in _COMPLETING

    @property
    def commits(self) -> bool:
        """Whether the transaction that is completing, or was completed last, is a commit."""
        return self.state in {TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT}

    @property
    def deadline(self) -> float:
        """When the coordinator aborts it; infinite while nothing is ongoing."""
        return self.started_at + self.timeout if self.state is TransactionState.ONGOING else inf

    @property
    def promised(self) -> tuple[int, int]:
        """The producer id and epoch of the next transaction."""
        if self.next_producer_id != NO_PRODUCER_ID:
            return self.next_producer_id, 0
        return self.producer_id, self.producer_epoch


class TransactionTable:
    """The transactions of a cluster, by transactional id, and the rules by which they change.

    `mark` writes the markers of a completing transaction as far as it can and takes what has one out of `partitions`
    and `groups`. `began` is told of each transaction's beginning. Methods raise `CoordinatorRefusedError`.
    """

    def __init__(
        self,
        *,
        version: int,
        max_timeout: float,
        new_producer_id: Callable[[], int],
        mark: Callable[[FakeTransaction], None],
        began: Callable[[], None],
    ) -> None:
        self.by_id: dict[str, FakeTransaction] = {}
        self.version = version
        self._max_timeout = max_timeout
        self._new_producer_id = new_producer_id
        self._mark = mark
        self._began = began

    @property
    def next_deadline(self) -> float:
        """When the next transaction is to be aborted; infinite for never."""
        return min((transaction.deadline for transaction in self.by_id.values()), default=inf)

    # -- InitProducerId -------------------------------------------------------------------------------------------

    def initialize(
        self, transactional_id: str, timeout: float, expected: tuple[int, int] | None
    ) -> FakeTransaction:
        """Give a transactional id a new epoch, which fences whoever had it before.

        `expected` is the producer id and epoch that the client has, None for a client that begins (KIP-360).
        """
        if not transactional_id:
            raise CoordinatorRefusedError(InvalidRequestError)
        if not 0 < timeout <= self._max_timeout:
            raise CoordinatorRefusedError(InvalidTransactionTimeoutError)
        transaction = self.by_id.get(transactional_id)
        if transaction is None:
            transaction = FakeTransaction(transactional_id, self._new_producer_id(), timeout)
            self.by_id[transactional_id] = transaction
        if expected is not None and not _may_be(transaction, *expected):
            raise CoordinatorRefusedError(ProducerFencedError)
        if transaction.is_completing:
            raise CoordinatorRefusedError(ConcurrentTransactionsError)
        if transaction.state is TransactionState.ONGOING:
            # The client asks again, and has the epoch after the one that fences here.
            self._fence(transaction)
            raise CoordinatorRefusedError(ConcurrentTransactionsError)
        self._raise_epoch(transaction, expected)
        transaction.timeout = timeout
        transaction.state = TransactionState.EMPTY
        return transaction

    def _raise_epoch(self, transaction: FakeTransaction, expected: tuple[int, int] | None) -> None:
        epoch = transaction.producer_epoch
        exhausted = epoch >= LAST_EPOCH
        if exhausted and (expected is None or expected[1] == epoch):
            self._renew(transaction, self._new_producer_id())
            transaction.last_epoch = NO_EPOCH if expected is None else epoch
        elif expected is None:
            transaction.producer_epoch, transaction.last_epoch = epoch + 1, NO_EPOCH
        elif epoch == NO_EPOCH or expected[1] == epoch:
            transaction.producer_epoch, transaction.last_epoch = epoch + 1, epoch
        elif expected[1] != transaction.last_epoch:
            raise CoordinatorRefusedError(ProducerFencedError)

    @staticmethod
    def _renew(transaction: FakeTransaction, producer_id: int) -> None:
        transaction.previous_producer_id = transaction.producer_id
        transaction.producer_id, transaction.producer_epoch = producer_id, 0

    def _fence(self, transaction: FakeTransaction) -> None:
        """Abort without being asked; the producer's epoch is not the present one any more."""
        bumps = self.version >= EPOCH_BUMP_FROM
        if not bumps:
            # No client is ever given this epoch.
            transaction.producer_epoch += 1
            transaction.last_epoch = NO_EPOCH
        self._prepare(transaction, commit=False, bumps=bumps)

    # -- AddPartitionsToTxn, AddOffsetsToTxn, and what Produce and TxnOffsetCommit add by themselves ------------------

    def add(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        now: float,
        *,
        partitions: Iterable[PartitionName] = (),
        groups: Iterable[str] = (),
    ) -> None:
        """Have partitions and groups take part in a producer's transaction; the first of them begins it."""
        if not transactional_id:
            raise CoordinatorRefusedError(InvalidRequestError)
        transaction = self._of(transactional_id, producer)
        if transaction.is_completing:
            raise CoordinatorRefusedError(ConcurrentTransactionsError)
        if transaction.state is not TransactionState.ONGOING:
            transaction.state = TransactionState.ONGOING
            transaction.started_at = now
            self._began()
        transaction.partitions.update(dict.fromkeys(partitions))
        transaction.groups.update(dict.fromkeys(groups))

    def verify(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        *,
        partition: PartitionName | None = None,
        group: str | None = None,
    ) -> None:
        """Refuse what was not added to the producer's transaction (KIP-890, part 1)."""
        transaction = self._of(transactional_id, producer)
        if transaction.is_completing:
            raise CoordinatorRefusedError(ConcurrentTransactionsError)
        if not (partition in transaction.partitions or group in transaction.groups):
            raise CoordinatorRefusedError(TransactionAbortableError)

    def _of(self, transactional_id: str, producer: tuple[int, int]) -> FakeTransaction:
        transaction = self.by_id.get(transactional_id)
        if transaction is None or transaction.producer_id != producer[0]:
            raise CoordinatorRefusedError(InvalidProducerIdMappingError)
        if transaction.producer_epoch != producer[1]:
            raise CoordinatorRefusedError(ProducerFencedError)
        return transaction

    # -- EndTxn ---------------------------------------------------------------------------------------------------

    def end(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        *,
        commit: bool,
        version: int,
    ) -> tuple[int, int]:
        """End a transaction; gives the producer id and epoch of the next, (-1, -1) in version 1."""
        if not transactional_id:
            raise CoordinatorRefusedError(InvalidRequestError)
        transaction = self.by_id.get(transactional_id)
        if transaction is None:
            raise CoordinatorRefusedError(InvalidProducerIdMappingError)
        if version < EPOCH_BUMP_FROM:
            self._end_1(transaction, producer, commit=commit)
            return NO_PRODUCER_ID, NO_EPOCH
        return self._end_2(transaction, producer, commit=commit)

    def _end_1(self, transaction: FakeTransaction, producer: tuple[int, int], *, commit: bool) -> None:
        self._of(transaction.transactional_id, producer)
        if transaction.state is TransactionState.ONGOING:
            self._prepare(transaction, commit=commit, bumps=False)
        elif transaction.state is TransactionState.EMPTY or transaction.commits is not commit:
            raise CoordinatorRefusedError(InvalidTxnStateError)
        elif transaction.is_completing:
            raise CoordinatorRefusedError(ConcurrentTransactionsError)

    def _end_2(
        self, transaction: FakeTransaction, producer: tuple[int, int], *, commit: bool
    ) -> tuple[int, int]:
        producer_id, epoch = producer
        is_complete = transaction.state in {TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT}
        # Asked again after an answer that was lost: the epoch has grown, or there is a new producer id.
        renewed = (
            transaction.previous_producer_id == producer_id
            and epoch == LAST_EPOCH
            and transaction.producer_epoch == 0
        )
        raised = transaction.producer_epoch == epoch + 1
        is_retry = (raised or (renewed and is_complete)) and (is_complete or transaction.is_completing)
        if transaction.producer_id != producer_id and not renewed:
            raise CoordinatorRefusedError(InvalidProducerIdMappingError)
        is_current = transaction.producer_epoch == epoch and not transaction.is_completing
        if not (is_retry or is_current):
            raise CoordinatorRefusedError(ProducerFencedError)
        if is_retry:
            if transaction.is_completing:
                # Checked by Kafka before it looks at what is asked; so a client cannot take the other way now.
                raise CoordinatorRefusedError(ConcurrentTransactionsError)
            if transaction.commits is not commit:
                raise CoordinatorRefusedError(InvalidTxnStateError)
            return transaction.promised
        if transaction.state is not TransactionState.ONGOING and commit:
            raise CoordinatorRefusedError(InvalidTxnStateError)
        # An abort is taken without anything to abort: records may have been refused before they began it.
        self._prepare(transaction, commit=commit, bumps=True)
        return transaction.promised

    # -- completion -----------------------------------------------------------------------------------------------

    def _prepare(self, transaction: FakeTransaction, *, commit: bool, bumps: bool) -> None:
        if bumps and transaction.producer_epoch >= LAST_EPOCH:
            transaction.next_producer_id = self._new_producer_id()
        if bumps:
            transaction.last_epoch = transaction.producer_epoch
            transaction.producer_epoch += 1
        transaction.state = TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT
        self.complete(transaction)

    def complete(self, transaction: FakeTransaction) -> None:
        """Write what markers can be written; with the last of them the transaction is complete."""
        self._mark(transaction)
        if transaction.partitions or transaction.groups or not transaction.is_completing:
            return
        transaction.state = (
            TransactionState.COMPLETE_COMMIT if transaction.commits else TransactionState.COMPLETE_ABORT
        )
        if transaction.next_producer_id != NO_PRODUCER_ID:
            self._renew(transaction, transaction.next_producer_id)
            transaction.next_producer_id = NO_PRODUCER_ID

    def complete_all(self) -> None:
        """Go on with every transaction that is completing."""
        for transaction in self.by_id.values():
            if transaction.is_completing:
                self.complete(transaction)

    def expire(self, now: float) -> None:
        """Abort the transactions whose time is up, and fence their producers."""
        for transaction in self.by_id.values():
            if transaction.deadline <= now:
                self._fence(transaction)


def _may_be(transaction: FakeTransaction, producer_id: int, epoch: int) -> bool:
    """Whether a producer that tells this id and epoch may be the one that the coordinator knows."""
    return (
        transaction.producer_epoch == NO_EPOCH
        or producer_id == transaction.producer_id
        or (producer_id == transaction.previous_producer_id and epoch >= LAST_EPOCH)
    )
