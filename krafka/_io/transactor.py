"""The transactions of one producer: what its verbs do at the coordinator, and what its records do to them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import anyio

from krafka._io.admission import Waits
from krafka._io.completion import Completion
from krafka._io.coordinator import Coordinators, RefusedError
from krafka._io.transaction_errors import NO_PART_OF_IT, given_up, outcome_unknown, timed_out
from krafka._io.transaction_requests import TransactionRequests
from krafka._state.coordinator_rules import Ask, Effect
from krafka._state.open_transaction import OpenTransaction
from krafka._state.outcomes import Verdict
from krafka._state.partition import NONE
from krafka._state.sequences import is_behind_gap
from krafka._state.transaction_table import TransactionState, TransactionTable
from krafka.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    KafkaError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionAbortedError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from krafka._io.connection import Connection
    from krafka._io.engine import Engine
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Partition
    from krafka._wire.end_txn import EndTxnResponse
    from krafka.groups import ConsumerGroupMetadata, OffsetAndMetadata
    from krafka.records import TopicPartition

logger = logging.getLogger(__name__)


class Transactor:
    """Begins and ends transactions, tells the coordinator what takes part in them, and gates the producer's records.

    Requests to the coordinator go one at a time. After one whose fate is unknown, or records whose fate is, the next
    transaction begins under a new epoch only: whatever is still on its way could reach that otherwise.
    """

    def __init__(self, engine: Engine, transactional_id: str) -> None:
        self.table = TransactionTable()
        self._engine = engine
        self._accumulator = engine.accumulator
        assert engine.accumulator.sequences is not None  # noqa: S101 - every transactional producer has them
        self._sequences = engine.accumulator.sequences
        self._coordinators = Coordinators(engine, transactional_id)
        self._requests = TransactionRequests(engine, transactional_id)
        self._calls = Waits()
        self._completion = Completion(engine, self._coordinators, self._requests)
        self._one_at_a_time = anyio.Lock()
        self._changed = anyio.Event()
        self._adding: anyio.CancelScope | None = None
        self._shield: anyio.CancelScope | None = None
        self._open = OpenTransaction(self._sequences)
        self._needs_epoch = False
        # What the coordinator answered to an end that was asked for before the transaction's records had theirs.
        self._early_end: tuple[EndTxnResponse, Connection] | None = None
        self._questioned: list[tuple[ProducerBatch, KafkaError]] = []
        self._explained = anyio.Event()
        self._returned = anyio.Event()
        self._refuse()

    @property
    def version(self) -> int:
        """The transactions that are made: 2 where the cluster has `transaction.version` 2 (KIP-890), else 1."""
        return self._requests.version

    # -- what the records do --------------------------------------------------------------------------------------

    def enlist(self, partition: Partition) -> None:
        """A partition has its first record in this transaction."""
        if self._open.enlist(partition, at_once=self.version > 1 and self._completion.is_over):
            self._changed.set()

    def record_failed(self, batch: ProducerBatch, error: KafkaError) -> None:
        """A batch failed, and with it the transaction."""
        if batch.on_wire or batch.possibly_written:
            self._coordinators.in_doubt = True
        if batch.base_sequence != NONE:
            self._needs_epoch = True
        self.fail(error)

    def record_refused(self, error: KafkaError) -> None:
        """A record was not taken: it is missing in the transaction, unless it came out of turn."""
        if not isinstance(error, NO_PART_OF_IT):
            self.fail(error)

    def fail(self, error: KafkaError) -> None:
        """The open transaction, if there is one, can only be aborted."""
        if self.table.fail(error):
            logger.warning("the transaction can only be aborted: %s", error)
            self._refuse()
        # What follows a batch that failed has to go, whether that was the first failure or not.
        self._changed.set()

    @property
    def gives_up(self) -> bool:
        """Whether nothing of this transaction is to be sent again."""
        return self.table.state in {TransactionState.ABORTING, TransactionState.FATAL_ERROR}

    def takes(self, batch: ProducerBatch, error: KafkaError, verdict: Verdict) -> bool:
        """Look at a batch that met an error; True if what becomes of it is decided here, and not by the verdict."""
        if error.possibly_written:
            self._coordinators.in_doubt = True
        if verdict is Verdict.RETRY and (self.gives_up or self._is_stuck(batch)):
            self._accumulator.fail(batch, given_up(batch, self.table.error), refused=True)
            return True
        if isinstance(error, InvalidProducerEpochError) and not batch.done and not self.gives_up:
            # The coordinator knows whether another producer took over, or the transaction was open for too long.
            self._questioned.append((batch, error))
            self.fail(error)
            return True
        return False

    def produce_version(self, newest: int) -> int:
        """The version of Produce for this transaction, at most `newest`, the highest of a connection."""
        return self._requests.produce_version(newest)

    # -- the background -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do what records ask for, since they cannot wait: add partitions, drop what need not be sent any more."""
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            if self.table.state is TransactionState.ABORTABLE_ERROR:
                self._drop(only_stuck=True)
            if self._questioned:
                await self._ask_why()
            while self._open.wanted and self._is_going_on:
                with anyio.CancelScope() as self._adding:
                    await self._add_partitions()
                self._adding = None

    @property
    def _is_going_on(self) -> bool:
        return self.table.state in {TransactionState.IN_TRANSACTION, TransactionState.COMMITTING}

    async def _add_partitions(self) -> None:
        async with self._one_at_a_time:
            wanted, self._open.wanted = self._open.wanted, []
            if not self._is_going_on:
                return
            self._coordinators.may_be_done = False
            try:
                if self.version > 1:
                    await self._completion.wait()
                else:
                    add = partial(self._requests.add_partitions, partitions=wanted)
                    await self._coordinators.ask(Ask.ADD_PARTITIONS, add, self._requests.partition_codes)
                    self._open.started = True
            except RefusedError as refused:
                self._take_refusal(refused)
                return
            finally:
                self._open.maybe_started = self._open.maybe_started or self._coordinators.may_be_done
            for partition in wanted:
                partition.enrolled = True
                self._accumulator.settle(partition)

    async def _ask_why(self) -> None:
        """Ask for the transaction's abort, which fences out nobody: the answer tells who made the epoch old."""
        reason: KafkaError | None = None
        if self.table.state is TransactionState.ABORTABLE_ERROR:
            with anyio.move_on_after(self._engine.config.max_block):
                async with self._one_at_a_time:
                    try:
                        self._early_end = await self._ask_end(commit=False)
                    except RefusedError as refused:
                        reason = refused.error
        questioned, self._questioned = self._questioned, []
        for batch, error in questioned:
            if not batch.done:
                why = f"{batch.partition}: {reason}"
                own = type(reason)(why) if isinstance(reason, ProducerFencedError) else error
                self._accumulator.fail(batch, own, refused=True)
        if reason is not None:
            reason.is_fatal = True
            self._engine.fail_producer(reason)
        self._explained.set()

    def _drop(self, *, only_stuck: bool) -> None:
        """End batches that are not on the wire: those that are not to be sent any more, or all."""
        for batch in list(self._accumulator.incomplete):
            if not batch.on_wire and not batch.done and (not only_stuck or self._is_stuck(batch)):
                self._accumulator.withdraw(batch, given_up(batch, self.table.error))

    def _is_stuck(self, batch: ProducerBatch) -> bool:
        """Whether a batch can only wait for the abort: never sent, or behind a number that is missing in the log."""
        return self.table.state is TransactionState.ABORTABLE_ERROR and (
            batch.base_sequence == NONE or is_behind_gap(batch.partition, batch)
        )

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def init(self) -> None:
        """Get the producer id and epoch of the transactional id, and fence out whoever had them before."""
        with self._running("init_transactions"):
            self.table.swap(TransactionState.UNINITIALIZED, TransactionState.INITIALIZING)
            try:
                with anyio.move_on_after(self._engine.config.max_block):
                    async with self._one_at_a_time:
                        await self._take_identity(Ask.INIT, expected=(NONE, NONE))
                    self.table.swap(TransactionState.INITIALIZING, TransactionState.READY)
                    return
            except RefusedError as refused:
                self._take_refusal(refused)
                raise refused.error from refused.error.__cause__
            finally:
                self.table.swap(TransactionState.INITIALIZING, TransactionState.UNINITIALIZED)
            raise timed_out("init_transactions", self._engine.config.max_block, self._last_reason)

    async def begin(self) -> None:
        """Open a transaction, under a new epoch if need be; the coordinator hears of it with the first record."""
        with self._running("begin_transaction"):
            with anyio.move_on_after(self._engine.config.max_block):
                await self._look_for_upgrade()
                if self._needs_epoch or self._coordinators.in_doubt:
                    await self._renew_epoch()
                self.table.swap(TransactionState.READY, TransactionState.IN_TRANSACTION)
                return
            raise timed_out("begin_transaction", self._engine.config.max_block, self._last_reason)

    async def _look_for_upgrade(self) -> None:
        # The connection to the coordinator may be older than what the cluster can do by now.
        if not self._requests.may_have_changed():
            return
        async with self._one_at_a_time:
            try:
                response, _ = await self._coordinators.ask(
                    Ask.VERSIONS,
                    self._requests.versions,
                    lambda response: [(response.error_code, "ApiVersions")],
                )
            except RefusedError as refused:
                self._raise_refusal(refused)
            if self._requests.learn_answer(response):
                self._needs_epoch = True

    async def commit(self) -> None:
        """Wait for every record of the transaction and commit it; see `TransactionalProducer.commit_transaction`."""
        with self._running("commit_transaction"):
            self.table.swap(TransactionState.IN_TRANSACTION, TransactionState.COMMITTING)
            self._refuse()
            try:
                await self._engine.admission.records.wait_until_empty()
                await self._engine.flush()
                if self.table.state is not TransactionState.COMMITTING:
                    self._raise_reason("commit_transaction")
                await self._end_in_time(commit=True)
            finally:
                if not self._open.end_asked:
                    # The coordinator knows nothing of a commit, so it is not one.
                    self.table.swap(TransactionState.COMMITTING, TransactionState.IN_TRANSACTION)

    async def abort(self) -> None:
        """Drop what was not sent, wait for the answers to what was, and abort the transaction."""
        with self._running("abort_transaction"):
            if not self.table.swap(TransactionState.IN_TRANSACTION, TransactionState.ABORTING):
                self.table.swap(TransactionState.ABORTABLE_ERROR, TransactionState.ABORTING)
            self._refuse()
            if self._adding is not None:
                self._adding.cancel()
            while self._questioned:
                self._explained = anyio.Event()
                await self._explained.wait()
            if self.table.state is not TransactionState.ABORTING:
                self._raise_reason("abort_transaction")
            reason = TransactionAbortedError("the transaction was aborted before the record was accepted")
            records = self._engine.admission.records
            while True:
                records.interrupt(reason)
                self._drop(only_stuck=False)
                if not self._accumulator.incomplete:
                    break
                await self._engine.flush()
            await records.wait_until_empty()
            self._open.wanted.clear()
            await self._end_in_time(commit=False)

    async def send_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: ConsumerGroupMetadata
    ) -> None:
        """Have a group's offsets committed with the transaction, which can only be aborted if they are not taken."""
        call = "send_offsets_to_transaction"
        with self._calls.one():
            try:
                with anyio.move_on_after(self._engine.config.max_block):
                    async with self._one_at_a_time:
                        self.table.check(call)
                        self._open.maybe_started = True
                        await self._send_offsets(offsets, group)
                        self._open.started = True
                    return
            except RefusedError as refused:
                self._raise_refusal(refused)
            except anyio.get_cancelled_exc_class():
                self.fail(TransactionAbortableError(f"{call}() was cancelled before it was done"))
                raise
            limit = self._engine.config.max_block
            timeout = timed_out(call, limit, self._last_reason, then="the transaction can only be aborted")
            self.fail(timeout)
            raise timeout

    async def _send_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: ConsumerGroupMetadata
    ) -> None:
        if self.version == 1:
            await self._coordinators.ask(
                Ask.ADD_OFFSETS,
                lambda connection: self._requests.add_offsets(connection, group.group_id),
                lambda response: [(response.error_code, f"the group {group.group_id!r}")],
            )
        await self._coordinators.ask(
            Ask.COMMIT_OFFSETS,
            lambda connection: self._requests.commit_offsets(connection, offsets, group),
            lambda response: self._requests.offset_codes(response, group.group_id),
            group=group.group_id,
        )

    async def wind_up(self) -> None:
        """The producer closes: wait for the call that is under way, and end what is open, if that can be done."""
        while self.table.running is not None:
            if self._returned.is_set():
                self._returned = anyio.Event()
            await self._returned.wait()
        if self.table.state in {
            TransactionState.IN_TRANSACTION,
            TransactionState.ABORTABLE_ERROR,
            TransactionState.ABORTING,
        }:
            try:
                await self.abort()
            except KafkaError as error:
                logger.warning("the open transaction was not aborted at the close: %s", error)

    def end(self, error: KafkaError) -> None:
        """Nothing is possible any more; calls that have not returned end with this error."""
        self.table.end(error)
        self._calls.end(error)
        if self._shield is not None:
            self._shield.cancel()

    # -- ending ---------------------------------------------------------------------------------------------------

    async def _end_in_time(self, *, commit: bool) -> None:
        """End the transaction within `max_block`; a short while longer than that if who waits is cancelled."""
        config = self._engine.config
        is_done = False
        with anyio.move_on_after(config.max_block):
            # A cancellation now would make a riddle of what is answered in a moment, as a rule.
            with anyio.move_on_after(
                min(config.close_timeout, config.max_block), shield=commit
            ) as self._shield:
                await self._end(commit=commit)
                is_done = True
            self._shield = None
            if not is_done:
                await self._end(commit=commit)
                is_done = True
        if is_done:
            return
        if commit and self._open.end_asked:
            raise outcome_unknown(config.max_block, self._last_reason)
        call = "commit_transaction" if commit else "abort_transaction"
        raise timed_out(call, config.max_block, self._last_reason)

    async def _end(self, *, commit: bool) -> None:
        state = TransactionState.COMMITTING if commit else TransactionState.ABORTING
        async with self._one_at_a_time:
            if self.table.state is not state:
                # Offsets that were under way before failed.
                self._raise_reason("commit_transaction" if commit else "abort_transaction")
            answer = self._early_end
            try:
                if answer is None and self._open.is_to_be_ended(self.version):
                    if commit or self._open.is_begun(self.version):
                        answer = await self._ask_end(commit=commit)
                    else:
                        await self._take_new_epoch()
            except RefusedError as refused:
                self._raise_refusal(refused)
            if answer is not None:
                self._completion.begin()
                self._adopt(*answer)
            self._open.clear()
            self._early_end = None
            self.table.swap(state, TransactionState.READY)

    async def _ask_end(self, *, commit: bool) -> tuple[EndTxnResponse, Connection] | None:
        """Have the transaction ended; None if there turned out to be none."""
        self._coordinators.may_be_done = False
        try:
            answer = await self._coordinators.ask(
                Ask.COMMIT if commit else Ask.ABORT,
                lambda connection: self._requests.end(connection, commit=commit),
                lambda response: [(response.error_code, f"EndTxn to {'commit' if commit else 'abort'}")],
            )
        except RefusedError as refused:
            is_sure = self._open.started or self.version > 1
            if commit or is_sure or not isinstance(refused.error, InvalidTxnStateError):
                raise
            # What would have begun the transaction never came, so that there is nothing to abort.
            return None
        finally:
            self._open.end_asked = self._open.end_asked or self._coordinators.may_be_done
        self._open.end_asked = True
        return answer

    def _adopt(self, response: EndTxnResponse, connection: Connection) -> None:
        """Go on under what the coordinator gave for the next transaction."""
        if response.producer_id >= 0:
            # Whatever was in doubt was so under the epoch before.
            self._coordinators.in_doubt = self._needs_epoch = False
            self._engine.take_identity(response.producer_id, response.producer_epoch)
            self._requests.learn_version(connection)
        elif self._requests.learn_version(connection):
            self._needs_epoch = True

    async def _renew_epoch(self) -> None:
        async with self._one_at_a_time:
            try:
                if self.version == 1 and self._coordinators.in_doubt:
                    # What came late may have opened a transaction, for which the coordinator would fence the producer.
                    await self._ask_end(commit=False)
                await self._take_new_epoch()
            except RefusedError as refused:
                self._raise_refusal(refused)
            self._open.clear()

    async def _take_new_epoch(self) -> None:
        present = self._sequences.producer_id, self._sequences.producer_epoch
        await self._take_identity(Ask.NEW_EPOCH, present)

    async def _take_identity(self, ask: Ask, expected: tuple[int, int]) -> None:
        response, connection = await self._coordinators.ask(
            ask,
            lambda connection: self._requests.init(connection, expected),
            lambda response: [(response.error_code, "InitProducerId")],
        )
        self._coordinators.in_doubt = self._needs_epoch = False
        self._requests.learn_version(connection)
        self._engine.take_identity(response.producer_id, response.producer_epoch)

    # -- errors ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _running(self, call: str) -> Generator[None]:
        self.table.check(call)
        self.table.running = call
        try:
            with self._calls.one():
                yield
        except KafkaError as error:
            is_over = self.table.state is TransactionState.FATAL_ERROR
            if is_over and self._open.end_asked and call == "commit_transaction":
                # It may have been done, and what ended the producer does not say so.
                error.possibly_written = True
            raise
        finally:
            self.table.running = None
            self._returned.set()
            self._refuse()

    def _refuse(self) -> None:
        """Take records while, and only while, a transaction is open."""
        self._engine.gate(self.table.refusal("send"), aborts=self.gives_up)

    def _take_refusal(self, refused: RefusedError) -> None:
        refused.error.is_fatal = refused.effect is Effect.FATAL
        if refused.effect is Effect.ABORT:
            refused.error.requires_abort = True
            self.fail(refused.error)
        elif refused.effect is Effect.FATAL:
            self._engine.fail_producer(refused.error)

    def _raise_refusal(self, refused: RefusedError) -> NoReturn:
        self._take_refusal(refused)
        raise refused.error from refused.error.__cause__

    @property
    def _last_reason(self) -> KafkaError | None:
        return self._coordinators.last_error or self._engine.pool.last_error

    def _raise_reason(self, call: str) -> None:
        self.table.running = None
        self.table.check(call)
