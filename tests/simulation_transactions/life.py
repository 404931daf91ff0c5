"""One producer of the transactional id: the task that makes its transactions, and what is checked of every call."""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from krafka import (
    ConsumerGroupMetadata,
    KafkaError,
    TopicPartition,
    TransactionalProducer,
)
from krafka._state.transaction_table import TRANSITIONS
from krafka.errors import (
    CloseTimeoutError,
    CommitOutcomeUnknownError,
    InvalidTransactionStateError,
    ProducerClosedError,
    TransactionTimeoutError,
)
from krafka.testing.fake.transactions import TransactionState as FakeState
from tests.simulation.witness import make_witnesses
from tests.simulation.world import BodyError

from .calls import Calls, State
from .ledger import Fate, SentOffsets, Transaction
from .plan import TRANSACTIONAL_ID
from .senders import Sender
from .weather import GROUPS, MEMBER

if TYPE_CHECKING:
    from krafka import Delivery, RecordMetadata
    from krafka._io.engine import Engine
    from tests.simulation.record import Record

    from .plan import LifePlan
    from .world import TransactionWorld

TRIES = 6


class Life(Calls):
    """A producer from its opening to its end."""

    def __init__(self, world: TransactionWorld, plan: LifePlan) -> None:
        super().__init__(world, plan)
        self.engine: Engine
        self.transactions: list[Transaction] = []
        self.is_over = anyio.Event()
        self.is_ready = anyio.Event()
        """Set when its transactions begin, or when it is over."""
        self._driven = anyio.Event()
        self._senders = 0

    # -- the block ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the producer, make its transactions, and leave it as its plan says."""
        world, plan = self.world, self.plan
        scope = anyio.CancelScope()
        leaving_since: list[float] = []
        raised: BaseException | None = None
        witnesses = make_witnesses(world, str(plan.number))
        world.witnesses += witnesses
        try:
            with scope:
                async with TransactionalProducer(
                    world.cluster.bootstrap,
                    connector=world.cluster,
                    init_on_enter=False,
                    interceptors=witnesses,
                    **self.options,
                ) as producer:
                    self._opened(producer)
                    try:
                        await self._body(scope)
                    finally:
                        leaving_since.append(anyio.current_time())
                        self._closed_since = min(self._closed_since, anyio.current_time())
                        self._is_left = True
                        world.note("leaving", plan.number, plan.ending, producer.transaction_state)
        except BodyError as error:
            raised = error
        self.left_at = anyio.current_time()
        self._judge_leaving(anyio.current_time() - leaving_since[0], raised, scope)
        await self._driven.wait()

    def _opened(self, producer: TransactionalProducer) -> None:
        self.producer = producer
        assert producer._engine_or_none is not None
        self.engine = producer._engine_or_none
        self._watch_states()
        self.world.opened(self)
        self.world.start(self._drive)

    def _watch_states(self) -> None:
        assert self.engine.transactor is not None
        table = self.engine.transactor.table
        swap = table.swap

        def noted(expected: State, new: State) -> bool:
            before = table.state
            self.world.check(
                before is not expected or new in TRANSITIONS[before],
                "state",
                f"no way from {before} to {new}",
            )
            done = swap(expected, new)
            if done:
                self.world.note("state", self.plan.number, str(before), str(new))
            return done

        table.swap = noted  # type: ignore[method-assign]  # so that every change is in the trace

    async def _body(self, scope: anyio.CancelScope) -> None:
        plan = self.plan
        if plan.ending == "finish":
            await self._driven.wait()
            return
        with anyio.move_on_after(plan.ends_at):
            await self._driven.wait()
        if plan.ending == "close":
            await self._close()
        elif plan.ending == "raise":
            raise BodyError
        elif plan.ending == "cancel":
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def _close(self) -> None:
        limit = self.plan.close_timeout
        began = self._closed_since = anyio.current_time()
        self.world.note("close", limit)
        timed_out = False
        try:
            await self.producer.close(timeout=limit)
        except CloseTimeoutError:
            timed_out = True
        took = anyio.current_time() - began
        bound = self._end_takes() if limit is None else limit
        self._check_time(f"close(timeout={limit})", took, bound)
        self.world.check(not timed_out or limit is not None, "close", "CloseTimeoutError without a timeout")
        self._check_ended("close()")

    def _end_takes(self) -> float:
        """How long an end that waits may take: the records' outcomes, and an abort."""
        return float(self.options["delivery_timeout"] + self._abort_takes())

    def _commit_takes(self) -> float:
        """Records that wait to be admitted, and then for their outcomes, and the coordinator."""
        return float(self.options["delivery_timeout"] + self.options["max_block"])

    def _abort_takes(self) -> float:
        """What is on the wire is waited for, and the coordinator is asked why an epoch is old, and for the abort."""
        return float(self.options["delivery_timeout"] + 2 * self.options["max_block"])

    def _judge_leaving(self, took: float, raised: BaseException | None, scope: anyio.CancelScope) -> None:
        ending, check = self.plan.ending, self.world.check
        hurried = ending in {"raise", "cancel"}
        bound = self.options["close_timeout"] if hurried else self._end_takes()
        if ending == "close":
            # It has ended already.
            bound = 0.0
        self._check_time(f"leaving by {ending}", took, bound)
        check((raised is not None) == (ending == "raise"), "body", f"raised {raised!r} out of {ending}")
        check(scope.cancelled_caught == (ending == "cancel"), "body", "the cancellation was lost")
        self._check_ended(f"the block left by {ending}")
        if self.closes_in_peace and self.world.plan.must_succeed:
            known = self.world.cluster.transactions.get(TRANSACTIONAL_ID)
            is_open = known is not None and known.state is FakeState.ONGOING
            check(not is_open, "hanging", f"{known} after the block was left by {ending}")
        state = self.producer.transaction_state
        check(state is State.FATAL_ERROR, "state", f"{state} after the block was left")

    def _check_ended(self, after: str) -> None:
        waiting = [
            record.name
            for transaction in self.transactions
            for record in transaction.records
            if record.delivery is not None and not record.delivery.done
        ]
        self.world.check(not waiting, "outcome", f"after {after} the deliveries of {waiting} are not done")

    # -- what a `Caller` takes a world for ------------------------------------------------------------------------

    @property
    def weather(self) -> Any:
        """The run's."""
        return self.world.weather

    def note(self, what: str, *details: Any) -> None:
        """Add a line to the trace."""
        self.world.note(what, *details)

    def check(self, holds: bool, kind: str, text: str) -> None:
        """Note a broken promise unless it holds."""
        self.world.check(holds, kind, text)

    def acknowledged(self, record: Record, metadata: RecordMetadata) -> None:
        """A sender was told that its record is in the log."""
        self.world.acknowledged(record, metadata)

    def failed(self, record: Record, error: KafkaError, *, refused: bool = False) -> None:
        """A sender was told that its record failed."""
        self.world.failed(record, error, refused=refused)

    def accepted(self, record: Record, delivery: Delivery) -> None:
        """A record is in the producer's hands."""
        self.world.accepted(record, delivery)

    # -- transactions ---------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        try:
            if await self._init():
                self.is_ready.set()
                for number in range(self.plan.transactions):
                    if not await self._make(number):
                        break
                    await anyio.sleep(self.plan.pause * self.random.random() * 2)
            if self.producer.transaction_state is State.FATAL_ERROR:
                await self._check_fatal()
        finally:
            self.is_ready.set()
            self._driven.set()

    async def _init(self) -> bool:
        for _ in range(TRIES):
            error = await self.call("init_transactions", self.options["max_block"])
            if error is None:
                return True
            if self._state is State.FATAL_ERROR or self.producer.closed:
                return False
            self.world.check(
                self._state is State.UNINITIALIZED,
                "state",
                f"{self._state} after init_transactions: {error!r}",
            )
        return False

    async def _make(self, number: int) -> bool:
        """Make a transaction and end it; False if there can be no more."""
        way = self.random.choice(self.plan.ways)
        transaction = Transaction(self.plan.number, number)
        if self._state is State.ABORTING and not await self._go_on_aborting(transaction):
            return False
        self.transactions.append(transaction)
        self.world.note("transaction", transaction.name, way)
        if way in {"scope", "raise", "cancel", "impatient_scope"}:
            return await self._make_scope(transaction, way)
        for _ in range(TRIES):
            error = await self.call("begin_transaction", self.options["max_block"])
            if error is None:
                break
            if not isinstance(error, TransactionTimeoutError) or self.producer.closed:
                return False
        else:
            return False
        transaction.told("began")
        async with anyio.create_task_group() as senders:
            is_careless = await self._fill(transaction, senders)
            if is_careless:
                return await self._end(transaction, way)
        return await self._end(transaction, way)

    async def _fill(self, transaction: Transaction, senders: anyio.abc.TaskGroup) -> bool:
        """Start the senders, and send offsets; True if the transaction is to be ended while they go on."""
        for _ in range(self.plan.senders):
            self._senders += 1
            senders.start_soon(Sender(self, transaction, self._senders).run)
        if self.random.random() < self.plan.offsets:
            await anyio.sleep(0.01 * self.random.random())
            groups = GROUPS[: self.random.randint(1, 2)]
            aside = Random(f"{self.world.plan.seed} offsets {transaction.name}").random() < self.plan.careless
            for group in groups:
                if aside:
                    senders.start_soon(self._send_offsets, transaction, group)
                else:
                    await self._send_offsets(transaction, group)
        is_careless = self.random.random() < self.plan.careless
        if is_careless:
            await anyio.sleep(self.random.choice([0.0, 0.001, 0.02]) * self.random.random())
        return is_careless

    async def _send_offsets(self, transaction: Transaction, group: str) -> None:
        sent = SentOffsets(group, self.world.next_offset())
        transaction.offsets.append(sent)
        partitions = {
            TopicPartition(topic.name, number): sent.offset
            for topic in self.world.plan.topics
            for number in range(topic.partitions)
        }
        metadata: Any = group
        if group == GROUPS[0] and self.random.random() < 0.7:
            metadata = ConsumerGroupMetadata(group, self.world.weather.generation, MEMBER)
        patience = self.random.choice([0.0, 0.002, 0.5]) if self._is_impatient else inf
        with anyio.move_on_after(patience) as scope:
            error = await self.call(
                "send_offsets_to_transaction", self.options["max_block"], partitions, metadata
            )
            if error is None:
                sent.taken = True
                transaction.told("offsets")
            else:
                # A commit came before them.
                sent.may_be_taken = isinstance(error, InvalidTransactionStateError)
                transaction.told(f"offsets: {error!r}")
        if scope.cancelled_caught:
            sent.may_be_taken = True
            transaction.told("offsets cancelled")

    @property
    def _is_impatient(self) -> bool:
        return any(way.startswith("impatient") for way in self.plan.ways) and self.random.random() < 0.3

    # -- scopes ---------------------------------------------------------------------------------------------------

    async def _make_scope(self, transaction: Transaction, way: str) -> bool:
        patience = self.random.choice([0.0, 0.005, 0.1, 1.0]) if way == "impatient_scope" else inf
        is_through = False
        error: BaseException | None = None
        began = anyio.current_time()
        left: float | None = None
        with anyio.move_on_after(patience) as scope:
            try:
                async with self.producer.transaction():
                    transaction.told("began")
                    try:
                        async with anyio.create_task_group() as senders:
                            await self._fill(transaction, senders)
                        if way == "raise":
                            raise BodyError
                        if way == "cancel":
                            scope.cancel()
                            await anyio.lowlevel.checkpoint()
                        is_through = True
                    finally:
                        left = anyio.current_time()
            except (BodyError, KafkaError) as raised:
                error = raised
        if scope.cancelled_caught:
            self._abandon(transaction)
        self.world.note(
            "scope ended", transaction.name, repr(error), scope.cancelled_caught, str(self._state)
        )
        if left is not None:
            bound = self.options["close_timeout"] + (self._commit_takes() if is_through else 0.0)
            self._check_time(f"the end of the scope {transaction.name}", anyio.current_time() - left, bound)
            self._check_outlived(f"the scope {transaction.name}", left)
        else:
            bound = self._abort_takes() + self.options["max_block"]
            self._check_time(
                f"the begin of the scope {transaction.name}", anyio.current_time() - began, bound
            )
        return await self._judge_scope(transaction, way, error, is_through=is_through, began=left is not None)

    def _abandon(self, transaction: Transaction) -> None:
        """The senders of a transaction were cancelled with it."""
        for record in transaction.records:
            if record.delivery is None and record.outcomes == 0:
                record.was_abandoned = True
                record.was_refused = record.verb in {"enqueue", "nowait"}

    async def _judge_scope(
        self,
        transaction: Transaction,
        way: str,
        error: BaseException | None,
        *,
        is_through: bool,
        began: bool,
    ) -> bool:
        transaction.told(f"scope: {error!r}, {self._state}")
        if not began:
            return self._state in {State.READY, State.ABORTING} and not self.producer.closed
        if isinstance(error, KafkaError):
            transaction.error = error
        if is_through and error is None:
            # A cancelled scope does not tell whether it was the commit that was done, or the abort.
            was_cancelled = way == "impatient_scope"
            transaction.fate = Fate.UNKNOWN if was_cancelled else Fate.COMMITTED
        elif is_through and isinstance(error, KafkaError) and error.possibly_written:
            transaction.fate = Fate.UNKNOWN
        elif self._state is State.READY:
            transaction.fate = Fate.ABORTED
        if self._state is State.COMMITTING and not self.producer.closed:
            return await self._commit(transaction, None)
        if self._state in {State.IN_TRANSACTION, State.ABORTABLE_ERROR} and not self.producer.closed:
            # The abort of a cancelled scope is shielded; only a close_timeout of nothing leaves it undone.
            self.world.check(
                self.options["close_timeout"] == 0.0,
                "scope",
                f"{self._state} after {transaction.name}: {error!r}",
            )
            return await self._abort(transaction, None)
        return self._state in {State.READY, State.ABORTING} and not self.producer.closed

    # -- ends -----------------------------------------------------------------------------------------------------

    async def _end(self, transaction: Transaction, way: str) -> bool:
        patience: float | None = None
        if way.startswith("impatient"):
            patience = self.random.choice([0.0, 0.0005, 0.005, 0.3]) * self.random.random()
        if way.endswith("commit"):
            return await self._commit(transaction, patience)
        return await self._abort(transaction, patience)

    async def _commit(self, transaction: Transaction, patience: float | None) -> bool:
        for _ in range(TRIES):
            if self._state is State.COMMITTING:
                await self._check_only_commit()
            error, cancelled = await self._impatiently("commit_transaction", self._commit_takes(), patience)
            patience = None
            state = self._state
            transaction.told(f"commit: {'cancelled' if cancelled else repr(error)}, {state}")
            if error is not None:
                transaction.error = error
            if cancelled:
                if state is State.READY:
                    transaction.fate = Fate.COMMITTED
                    return True
                if state is not State.IN_TRANSACTION and state is not State.ABORTABLE_ERROR:
                    transaction.fate = Fate.UNKNOWN
            elif error is None:
                transaction.fate = Fate.COMMITTED
                self.world.check(
                    state in {State.READY, State.FATAL_ERROR}, "state", f"{state} after a commit"
                )
                return state is State.READY
            else:
                self._judge_refusal(transaction, error, state)
            if self.producer.closed or state is State.FATAL_ERROR:
                return False
            if state is State.ABORTABLE_ERROR or (
                state is State.IN_TRANSACTION and self.random.random() < 0.5
            ):
                return await self._abort(transaction, None)
        return False

    def _judge_refusal(self, transaction: Transaction, error: KafkaError, state: State) -> None:
        """A commit raised: what that says about the transaction."""
        was_unknown = transaction.fate is Fate.UNKNOWN
        if isinstance(error, CommitOutcomeUnknownError) or error.possibly_written:
            transaction.fate = Fate.UNKNOWN
        elif was_unknown and not isinstance(error, InvalidTransactionStateError):
            self.world.check(
                state in {State.COMMITTING, State.ABORTABLE_ERROR} or self.producer.closed,
                "lie",
                f"{transaction} was in doubt, and {error!r} says it was not committed, in {state}",
            )
        if isinstance(error, CommitOutcomeUnknownError):
            self.world.check(
                state in {State.COMMITTING, State.FATAL_ERROR}, "state", f"{state} after {error!r}"
            )
        elif isinstance(error, TransactionTimeoutError):
            expected = {State.IN_TRANSACTION, State.ABORTABLE_ERROR, State.FATAL_ERROR}
            self.world.check(state in expected, "state", f"{state} after {error!r}")
        elif state is State.ABORTABLE_ERROR and not isinstance(error, ProducerClosedError):
            self.world.check(error.requires_abort, "error", f"{error!r} does not say that the abort is due")

    async def _abort(self, transaction: Transaction, patience: float | None) -> bool:
        for _ in range(TRIES):
            error, cancelled = await self._impatiently("abort_transaction", self._abort_takes(), patience)
            patience = None
            state = self._state
            transaction.told(f"abort: {'cancelled' if cancelled else repr(error)}, {state}")
            if error is not None:
                transaction.error = error
            if (error is None and not cancelled) or (cancelled and state is State.READY):
                transaction.fate = Fate.ABORTED
                self.world.check(
                    state in {State.READY, State.FATAL_ERROR}, "state", f"{state} after an abort"
                )
                return state is State.READY
            if self.producer.closed or state is State.FATAL_ERROR:
                return False
        return False

    async def _go_on_aborting(self, transaction: Transaction) -> bool:
        last = self.transactions[-1] if self.transactions else transaction
        return await self._abort(last, None)
