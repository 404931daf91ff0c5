"""The producer with transactions: its scope, and the calls that begin and end a transaction."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from krafka._state.transaction_table import TransactionState
from krafka.errors import ConfigError, KafkaError
from krafka.groups import ConsumerGroupMetadata, checked_offsets
from krafka.producer import Producer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime
    from typing import Self, Unpack

    from krafka._io.transactor import Transactor
    from krafka._io.transport import Connector
    from krafka._speedups.delivery import Delivery
    from krafka._speedups.record_metadata import RecordMetadata
    from krafka.config import BootstrapServers, ProducerConfig, ProducerOptions
    from krafka.groups import OffsetAndMetadata
    from krafka.records import Headers, Serializable, TopicPartition

__all__ = ["TransactionState", "TransactionalProducer"]

_logger = logging.getLogger(__name__)


class TransactionalProducer(Producer):
    """A producer whose records become visible together, or not at all, with the consumer offsets they came from.

    ``async with TransactionalProducer("localhost:9092", transactional_id="billing-1") as producer:`` opens it and,
    unless `init_on_enter` is False, calls `init_transactions()`, which shuts out an older producer of the same
    `transactional_id` and ends what that left open. Then::

        async with producer.transaction():
            await producer.enqueue("invoices", b"...")
            await producer.send_offsets_to_transaction(offsets, group)

    All other arguments, and what leaving the block does, are `Producer`'s; an open transaction is aborted. Its verbs
    send records only while a transaction is open, in the same batches and under the same rules, and a record that
    fails, or is refused with an error other than `anyio.WouldBlock`, leaves only `abort_transaction()`. Readers that
    set ``isolation.level=read_committed`` see nothing of a transaction before its commit, and of an aborted one never.

    Calls that change the transaction are for one task at a time; one that does not fit the state changes nothing and
    raises `InvalidTransactionStateError`. Records may come from any number of tasks.
    """

    def __init__(
        self,
        bootstrap_servers: BootstrapServers | ProducerConfig | None = None,
        *,
        init_on_enter: bool = True,
        connector: Connector | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        super().__init__(bootstrap_servers, connector=connector, **options)
        self._init_on_enter = init_on_enter

    def _check_config(self, config: ProducerConfig) -> None:
        if config.transactional_id is None:
            raise ConfigError(
                "transactional_id is missing; give this producer a name that is the same after each restart and that "
                "no other producer has at the same time",
                option="transactional_id",
            )

    @property
    def transaction_state(self) -> TransactionState:
        """Where the producer stands."""
        engine = self._engine_or_none
        if engine is None or engine.transactor is None:
            return TransactionState.FATAL_ERROR if self._closing else TransactionState.UNINITIALIZED
        return engine.transactor.table.state

    # -- the life of a transaction --------------------------------------------------------------------------------

    async def init_transactions(self) -> None:
        """Make ready for transactions: shut out older producers of the `transactional_id`, end what they left open.

        Raises `TransactionTimeoutError` after `max_block` and `TransactionalIdAuthorizationFailedError`, after both of
        which it may be called again; `InvalidTransactionTimeoutError` (`transaction_timeout` is more than brokers
        allow) and others that end the producer.
        """
        await self._transactor().init()

    async def begin_transaction(self) -> None:
        """Open a transaction. Brokers hear of it with its first record, and `transaction_timeout` counts from there.

        After trouble in the transaction before, a new producer epoch is fetched first, so that nothing of that can
        reach this one: `TransactionTimeoutError` if that takes longer than `max_block`.
        """
        transactor = self._transactor()
        await checkpoint()
        await transactor.begin()

    async def commit_transaction(self) -> None:
        """Wait for the outcome of every record of the transaction, then make it visible as a whole.

        Raises the error of the first record that failed: then nothing was committed, and `abort_transaction()` is the
        only way on. Raises `CommitOutcomeUnknownError` if the coordinator was asked and did not answer for `max_block`:
        then only `commit_transaction()` may be called, until it returns. Raises `TransactionTimeoutError` if the
        coordinator could not even be asked; the transaction is still open then. An error with `is_fatal`, such as
        `ProducerFencedError`, ends the producer; its `possibly_written` says that the commit may have happened.

        Cancelled before the coordinator was asked, the transaction is still open. Cancelled later, the answer is still
        waited for during `close_timeout`, so that the outcome is known as a rule.
        """
        await self._transactor().commit()

    async def abort_transaction(self) -> None:
        """End the transaction so that no reader of committed records sees any of it.

        Records that were not sent yet fail with `TransactionAbortedError`; those that were are answered first. Raises
        `TransactionTimeoutError` after `max_block`, and may be called again then, or after it was cancelled; an error
        with `is_fatal`, such as `ProducerFencedError`, ends the producer.
        """
        await self._transactor().abort()

    async def send_offsets_to_transaction(
        self,
        offsets: Mapping[TopicPartition, int | OffsetAndMetadata]
        | Mapping[tuple[str, int], int | OffsetAndMetadata],
        group: str | ConsumerGroupMetadata,
    ) -> None:
        """Commit offsets of a consumer group with the transaction, if and only if that is committed.

        `offsets` are those of the next record to process, by topic and partition. `group` is a
        `ConsumerGroupMetadata`, as `ConsumerGroupMetadata.of(consumer)` gives it, so that a consumer that lost its
        partitions is refused (KIP-447); or the group's id alone, when nobody checks that.

        Raises `ConfigError` for what is no offset or group; and what makes the transaction abortable:
        `IllegalGenerationError`, `UnknownMemberIdError` or `FencedInstanceIdError` (the consumer lost its partitions),
        `GroupAuthorizationFailedError`, `TransactionTimeoutError` after `max_block`; cancelled, it does so too.
        """
        transactor = self._transactor()
        await checkpoint()
        whose = ConsumerGroupMetadata(group) if isinstance(group, str) else group
        if not isinstance(whose, ConsumerGroupMetadata):
            raise ConfigError(
                f"group must be a group id or a ConsumerGroupMetadata, got {type(group).__name__}",
                option="group",
            )
        positions = checked_offsets(offsets)
        transactor.table.check("send_offsets_to_transaction")
        if positions:
            await transactor.send_offsets(positions, whose)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Self]:
        """A transaction for the time of an ``async with`` block: committed at its end, aborted if that is by exception.

        The exception comes out as it is; that of a commit as well, after the abort, which is shielded from cancellation
        and takes at most `close_timeout`. What an abort could not finish by then is finished when the next transaction
        begins. After `CommitOutcomeUnknownError` nothing is aborted.
        """
        if self.transaction_state is TransactionState.ABORTING:
            await self.abort_transaction()
        await self.begin_transaction()
        try:
            yield self
            await self.commit_transaction()
        except BaseException as error:
            await self._abort_in_a_hurry(error)
            raise

    async def _abort_in_a_hurry(self, error: BaseException) -> None:
        transactor = self._engine_or_none and self._engine_or_none.transactor
        if not transactor or transactor.table.refusal("abort_transaction") is not None:
            # There is nothing left to abort, or the commit may have happened.
            return
        timeout = self._config.close_timeout
        with anyio.move_on_after(timeout, shield=True):
            try:
                await transactor.abort()
            except KafkaError as reason:
                error.add_note(f"and the transaction could not be aborted: {reason}")
                _logger.warning("the transaction could not be aborted: %s", reason)
            return
        _logger.warning(
            "aborting the transaction took longer than %g s (close_timeout); it goes on with the next transaction",
            timeout,
        )

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        value: Serializable = None,
        *,
        key: Serializable = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> RecordMetadata:
        """Send a record of the open transaction; as `Producer.send`, whose errors leave only the abort."""
        try:
            return await super().send(
                topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
        except KafkaError as error:
            self._note(error)
            raise

    async def enqueue(
        self,
        topic: str,
        value: Serializable = None,
        *,
        key: Serializable = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> Delivery:
        """Put a record of the open transaction into the buffer; as `Producer.enqueue`."""
        try:
            return await super().enqueue(
                topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
        except KafkaError as error:
            self._note(error)
            raise

    def _note(self, error: KafkaError) -> None:
        """A record was refused: it is missing in the transaction, so that must not be committed."""
        engine = self._engine_or_none
        if engine is not None and engine.transactor is not None:
            engine.transactor.record_refused(error)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        engine = self._engine_or_none
        if engine is not None:
            append = self.__dict__["enqueue_nowait"]

            def enqueue_nowait(*arguments: Any, **fields: Any) -> Any:
                try:
                    return append(*arguments, **fields)
                except KafkaError as error:
                    self._note(error)
                    raise

            self.__dict__["enqueue_nowait"] = enqueue_nowait
        if self._init_on_enter:
            await self.init_transactions()

    def _transactor(self) -> Transactor:
        transactor = self._opened().transactor
        assert transactor is not None  # noqa: S101 - a transactional_id was given
        return transactor
