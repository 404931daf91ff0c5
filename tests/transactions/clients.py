"""The producers that run a workload of transactions: one interface, and an adapter for each client."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from krafka import CommitOutcomeUnknownError, KafkaError, TransactionalProducer, TransactionState

from .judge import End

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from krafka import Delivery

    from .judge import Transaction

GIVE_UP_SECONDS = 120.0
PAUSE_SECONDS = 0.2
CALL_SECONDS = 20.0
TRANSACTION_TIMEOUT = 30.0


class Client(Protocol):
    """One transactional id. A client replaces its producer by another one when that cannot go on."""

    replaced: int
    """How often it had to."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def run(self, transaction: Transaction, *, commit: bool, flush: bool) -> None:
        """Send its records, commit or abort, and note the offsets and the end that the program is told.

        With `flush` all records have their outcome before the end; else an abort may come before they are sent.
        """
        ...


class KrafkaClient:
    """krafka's `TransactionalProducer`."""

    def __init__(self, bootstrap: str, transactional_id: str, **options: Any) -> None:
        self.replaced = -1
        self._bootstrap = bootstrap
        self._options = {
            "transactional_id": transactional_id,
            "transaction_timeout": TRANSACTION_TIMEOUT,
            "request_timeout": 4.0,
            "connect_timeout": 3.0,
            "max_block": 20.0,
            "reconnect_backoff": 0.02,
            "reconnect_backoff_max": 0.2,
            **options,
        }
        self._stack = AsyncExitStack()
        self._producer: TransactionalProducer | None = None

    async def __aenter__(self) -> Self:
        await self._replace()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    async def _replace(self) -> None:
        """End the producer, if there is one, and begin with another, which ends what that one left open."""
        await self._stack.aclose()
        deadline = anyio.current_time() + GIVE_UP_SECONDS
        self._producer = None
        # No cancel scope: the producer's own, which stay open, would be inside.
        while self._producer is None:
            producer = TransactionalProducer(self._bootstrap, **self._options)
            try:
                self._producer = await self._stack.enter_async_context(producer)
            except KafkaError as error:
                if error.is_fatal or anyio.current_time() > deadline:
                    raise
                await anyio.sleep(PAUSE_SECONDS)
        self.replaced += 1

    async def run(self, transaction: Transaction, *, commit: bool, flush: bool) -> None:
        """See `Client.run`."""
        producer = self._producer
        assert producer is not None
        deliveries: dict[int, Delivery] = {}
        try:
            async with producer.transaction():
                for index, sent in enumerate(transaction.records):
                    deliveries[index] = await producer.enqueue(
                        sent.topic, sent.value, partition=sent.partition
                    )
                if flush:
                    await producer.flush()
                leave(commit=commit)
            transaction.end = End.COMMITTED
        except AbortError:
            transaction.end = End.ABORTED
        except CommitOutcomeUnknownError:
            transaction.end = await self._commit_again(producer)
        except KafkaError as error:
            # But for this the commit was not sent, or refused, as the error promises.
            transaction.end = End.UNKNOWN if error.is_fatal and error.possibly_written else End.ABORTED
        for index, delivery in deliveries.items():
            if delivery.done and delivery.metadata is not None:
                transaction.records[index].offset = delivery.metadata.offset
        if producer.transaction_state in {TransactionState.COMMITTING, TransactionState.FATAL_ERROR}:
            await self._replace()

    async def _commit_again(self, producer: TransactionalProducer) -> End:
        with anyio.move_on_after(GIVE_UP_SECONDS / 4):
            while True:
                try:
                    await producer.commit_transaction()
                except CommitOutcomeUnknownError:
                    await anyio.sleep(PAUSE_SECONDS)
                except KafkaError:
                    break
                else:
                    return End.COMMITTED
        return End.UNKNOWN


class AbortError(Exception):
    """The program changes its mind."""


def leave(*, commit: bool) -> None:
    """Go on to the end of the transaction, or out of it."""
    if not commit:
        raise AbortError


class ConfluentClient:
    """confluent-kafka's producer, in a thread: for who wants to know whether the bench is right."""

    def __init__(self, bootstrap: str, transactional_id: str, **options: Any) -> None:
        self.replaced = -1
        self._options = {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(TRANSACTION_TIMEOUT * 1000),
            "socket.timeout.ms": 4000,
            "reconnect.backoff.max.ms": 500,
            "linger.ms": 1,
            "log_level": 0,
            **options,
        }
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        await self._replace()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # Its destructor waits for what is under way.
        producer, self._producer = self._producer, None
        await anyio.to_thread.run_sync(producer.purge)

    async def _replace(self) -> None:
        import confluent_kafka

        with anyio.fail_after(GIVE_UP_SECONDS):
            while True:
                self._producer = confluent_kafka.Producer(self._options)
                try:
                    await self._call(self._producer.init_transactions)
                except confluent_kafka.KafkaException:
                    await anyio.sleep(PAUSE_SECONDS)
                else:
                    break
        self.replaced += 1

    async def _call(self, function: Any) -> None:
        """Call it in a thread, and again for as long as it says that this may help."""
        import confluent_kafka

        with anyio.fail_after(GIVE_UP_SECONDS):
            while True:
                try:
                    await anyio.to_thread.run_sync(partial(function, CALL_SECONDS))
                except confluent_kafka.KafkaException as error:
                    if not error.args[0].retriable():
                        raise
                    await anyio.sleep(PAUSE_SECONDS)
                else:
                    return

    async def run(self, transaction: Transaction, *, commit: bool, flush: bool) -> None:
        """See `Client.run`."""
        import confluent_kafka

        offsets: dict[bytes, int] = {}

        def note(error: object, message: Any) -> None:
            if error is None:
                offsets[message.value()] = message.offset()

        try:
            self._producer.begin_transaction()
            for sent in transaction.records:
                self._producer.produce(sent.topic, sent.value, partition=sent.partition, on_delivery=note)
            if flush:
                await anyio.to_thread.run_sync(self._producer.flush, CALL_SECONDS)
            if commit:
                await self._call(self._producer.commit_transaction)
                transaction.end = End.COMMITTED
            else:
                await self._abort(transaction)
        except confluent_kafka.KafkaException as error:
            if error.args[0].txn_requires_abort():
                await self._abort(transaction)
            else:
                transaction.end = End.UNKNOWN if commit else End.ABORTED
                await self._replace()
        for sent in transaction.records:
            sent.offset = offsets.get(sent.value, -1)

    async def _abort(self, transaction: Transaction) -> None:
        import confluent_kafka

        transaction.end = End.ABORTED
        try:
            await self._call(self._producer.abort_transaction)
        except confluent_kafka.KafkaException:
            await self._replace()


CLIENTS: dict[str, type[Client]] = {"krafka": KrafkaClient, "confluent": ConfluentClient}
