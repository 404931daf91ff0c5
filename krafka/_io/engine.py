"""What runs inside a producer's scope: senders, metadata, the producer id and the clock, around one accumulator."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING, NoReturn

from krafka._io.admission import Admission
from krafka._io.alarm import Alarm
from krafka._io.brokers import BrokerPool
from krafka._io.compressing import CompressionWorkers
from krafka._io.connection import Connection, ConnectionOptions
from krafka._io.direct import DirectSend, SenderWakes
from krafka._io.forks import refuse_in_children
from krafka._io.identity import IdentityKeeper
from krafka._io.metadata import MetadataRefresher
from krafka._io.sender import NodeSender
from krafka._io.transport import TcpConnector
from krafka._speedups.waiting import event_loop
from krafka._state.accumulator import RecordAccumulator
from krafka._state.cluster import Broker
from krafka._state.partition import NONE
from krafka._state.sequences import Sequences
from krafka._state.topics import topic_handling
from krafka._version import __version__
from krafka._wire.api_versions import ApiVersionsRequest
from krafka.config import Acks
from krafka.errors import (
    ConcurrentTransactionsError,
    DeliveryTimeoutError,
    KafkaError,
    LeaderNotAvailableError,
)
from krafka.retry import kafka_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anyio.abc import TaskGroup

    from krafka._io.transactor import Transactor
    from krafka._io.transport import Connector
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Partition
    from krafka.config import ProducerConfig

logger = logging.getLogger(__name__)

SOON = 0.001
"""Seconds before a third request, where two came while the transaction before was completed; doubled each time."""
TRANSACTIONAL = 0x10
"""The attribute of batches that belong to a transaction."""


async def _raise(bug: Exception) -> NoReturn:
    raise bug


class Engine:
    """The moving parts of one producer; made and used inside its task group."""

    def __init__(
        self,
        config: ProducerConfig,
        task_group: TaskGroup,
        *,
        connector: Connector | None = None,
        random: Random | None = None,
        wall_clock: Callable[[], int] | None = None,
    ) -> None:
        self.config = config
        self.loop = event_loop()
        self.clock = self.loop.time
        self.retries = 0
        self.splits = 0
        self.failure: KafkaError | None = None
        self._refuses = False
        self._task_group = task_group
        self._random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self.retry_policy = kafka_policy(
            config.retry_backoff, config.retry_backoff_max, max_retries=config.retries
        )
        self._wakes = SenderWakes(self._make_sender, self._sender_failed)
        self._alarm = Alarm(self.clock, self._ring)
        self.look_ahead = self._alarm.look_ahead
        workers = CompressionWorkers(
            task_group, lambda batch: batch.partition.codec.compress, self._compressed
        )
        is_transactional = config.transactional_id is not None
        self.batch_attributes = TRANSACTIONAL if is_transactional else 0
        self.accumulator = RecordAccumulator(
            config,
            sequences=Sequences(transactional=is_transactional) if config.idempotent else None,
            handling=topic_handling(config, seed=lambda: self._random.getrandbits(64)),
            monotonic=self.clock,
            wake=self._wakes.wake,
            wake_at=self._alarm.set,
            wall_clock=wall_clock,
            compress_elsewhere=workers.start,
            enlist=self._enlist if is_transactional else None,
            failed=self._record_failed if is_transactional else None,
        )
        self.accumulator.appender.loop = self.loop
        refuse_in_children(self.accumulator.appender)
        self.pool = self._make_pool(connector)
        self.metadata = MetadataRefresher(
            self.pool,
            config,
            still_used=self._topic_used,
            on_update=self.accumulator.update,
            clock=self.clock,
            random=self._random,
        )
        self.admission = Admission(self)
        self.direct = DirectSend(self.accumulator.appender, self.loop, self.admission, self._wakes)
        self._identity = IdentityKeeper(self)
        self._appended_before: dict[str, int] = {}
        self.transactor: Transactor | None = None
        if config.transactional_id is not None:
            from krafka._io.transactor import Transactor  # noqa: PLC0415 - most producers need none

            self.transactor = Transactor(self, config.transactional_id)

    def _make_pool(self, connector: Connector | None) -> BrokerPool:
        config = self.config
        is_open = connector is None and config.tls is False
        if connector is None:
            connector = TcpConnector(
                tls=config.tls,
                connect_timeout=config.connect_timeout,
                send_buffer_bytes=config.send_buffer_bytes,
                receive_buffer_bytes=config.receive_buffer_bytes,
            )
        authenticator = None
        if config.auth is not None:
            from krafka._io.authentication import Authenticator  # noqa: PLC0415 - most producers do without

            authenticator = Authenticator(config.auth, is_open=is_open, clock=self.clock, random=self._random)
        options = ConnectionOptions(
            client_id=config.client_id,
            request_timeout=config.request_timeout,
            connect_timeout=config.connect_timeout,
            connections_max_idle=config.connections_max_idle,
            max_frame_size=config.max_response_size,
            software_version=__version__,
            authenticator=authenticator,
        )

        def open_connection(address: tuple[str, int], node_id: int | None) -> Connection:
            return Connection(address, connector, options, self.clock, node_id=node_id, loop=self.loop)

        return BrokerPool(
            config.bootstrap_servers,
            open_connection,
            self._task_group,
            backoff=kafka_policy(config.reconnect_backoff, config.reconnect_backoff_max),
            clock=self.clock,
            random=self._random,
        )

    def start(self) -> None:
        """Start the background tasks; the first of them connect at once."""
        self._task_group.start_soon(self.metadata.run, name="krafka metadata")
        self._task_group.start_soon(self._alarm.run, name="krafka alarm")
        if self.transactor is not None:
            self._task_group.start_soon(self.transactor.run, name="krafka transactions")
        elif self.accumulator.sequences is not None:
            self._task_group.start_soon(self._identity.run, name="krafka producer id")

    def backoff(self, attempt: int, error: KafkaError | None = None) -> float:
        """Seconds to wait before sending again after failure number `attempt`, counted from 0, with `error`."""
        wait = self.retry_policy.backoff(attempt, self._random.random())
        if isinstance(error, ConcurrentTransactionsError):
            # The transaction before is being completed, which is often done when the answer is here. After that no
            # wait is shorter than the millisecond in which event loops count.
            return min(wait, SOON * 2.0 ** min(attempt - 1, 16)) if attempt else 0.0
        return wait

    # -- waking ---------------------------------------------------------------------------------------------------

    def _make_sender(self, node_id: int) -> NodeSender | None:
        if node_id == NONE:
            self.metadata.request_update()
            return None
        sender = self._wakes.senders[node_id] = NodeSender(self, self.accumulator.nodes[node_id])
        self._task_group.start_soon(sender.run, name=f"krafka sender to broker {node_id}")
        return sender

    def _sender_failed(self, bug: Exception) -> None:
        # Not the caller's, whose record is in the producer's hands: it ends the producer as a task's would.
        self._task_group.start_soon(_raise, bug, name="krafka sender, failed")

    def _compressed(self, batch: ProducerBatch, body: bytes) -> None:
        self.accumulator.compressed(batch, body)

    def _ring(self, now: float) -> None:
        for batch in self.accumulator.advance(now):
            self.accumulator.withdraw(batch, self.deadline_error(batch))

    def deadline_error(self, batch: ProducerBatch) -> DeliveryTimeoutError:
        """What to tell of a batch whose time is up: where it was by then, and the last thing that went wrong."""
        partition: Partition = batch.partition
        possibly_written = batch.possibly_written or batch.on_wire
        cause = batch.last_error or partition.last_error or self.metadata.last_error or self.pool.last_error
        if batch.on_wire:
            answers = self.config.acks != Acks.NONE
            state = "it was sent and not answered" if answers else "its connection did not take it to the end"
        else:
            state = f"it was sent {batch.attempts} times in vain" if batch.attempts else "it was never sent"
            state += f"; {self._obstacle(partition)}"
            if partition.node is None:
                cause = cause or LeaderNotAvailableError(f"{partition} has no leader in the metadata")
        error = DeliveryTimeoutError(
            f"a batch of {batch.record_count} records for {batch.partition} was not delivered within "
            f"{self.config.delivery_timeout:g} s (delivery_timeout): {state}"
            + (f"; last reason: {cause}" if cause is not None else "")
            + ("; it may be in the log all the same" if possibly_written else "; it is not in the log"),
            possibly_written=possibly_written,
        )
        error.__cause__ = cause
        return error

    def _obstacle(self, partition: Partition) -> str:
        """What is in the way of a partition's batches as of now, as far as that is known."""
        topic = self.accumulator.appender.topics.get(partition.topic)
        if topic is not None and partition.partition >= len(topic.partitions):
            return f"the topic has {len(topic.partitions)} partitions now, so this one is gone"
        if partition.node is None:
            return "the partition has no leader to send it to"
        leader = f"its leader, broker {partition.node.node_id}"
        connection = self.pool.usable(partition.node.node_id)
        if connection is None:
            return f"there is no connection to {leader}"
        if self.needs_identity:
            return "the producer has no producer id yet"
        if connection.throttled_until > self.clock():
            return f"{leader}, has asked this client to pause because of a quota"
        if partition.last_error is not None:
            return f"{leader}, takes no batches of the partition"
        return f"there was no room for it in the requests to {leader}"

    # -- the cluster ----------------------------------------------------------------------------------------------

    def note_leader(
        self,
        topic: str,
        partition: int,
        leader_id: int,
        leader_epoch: int,
        endpoints: Mapping[int, tuple[str, int, str | None]],
    ) -> None:
        """Follow a leader that a Produce response named (KIP-951), before the metadata does."""
        brokers = [Broker(node_id, *address) for node_id, address in endpoints.items()]
        self.metadata.note_leader(topic, partition, leader_id, leader_epoch, brokers)

    def _topic_used(self, name: str) -> bool:
        """Whether a topic had records since this was last asked; one that had none and holds none is dropped."""
        buffer = self.accumulator.appender.topics.get(name)
        if buffer is None:
            return False
        appended = buffer.appended
        before = self._appended_before.get(name)
        self._appended_before[name] = appended
        return appended != before or not self.accumulator.is_idle(name)

    def knows_topic(self, name: str) -> bool:
        """Whether the topic's partitions are known, so that a record of it need not wait for metadata."""
        return name in self.accumulator.appender.topics

    # -- the producer id ------------------------------------------------------------------------------------------

    @property
    def needs_identity(self) -> bool:
        """Whether an idempotent producer is without a producer id; one with transactions asks in its own time."""
        sequences = self.accumulator.sequences
        return sequences is not None and self.transactor is None and not sequences.has_identity

    def request_identity(self) -> None:
        """Ask for a producer id, soon."""
        self._identity.request()

    def take_identity(self, producer_id: int, producer_epoch: int) -> None:
        """Number batches under this id from now on."""
        sequences = self.accumulator.sequences
        assert sequences is not None  # noqa: S101 - only an idempotent producer asks for an id
        sequences.set_identity(producer_id, producer_epoch)
        for partition in self.accumulator.partitions():
            self.accumulator.settle(partition)

    # -- the end --------------------------------------------------------------------------------------------------

    def fail_producer(self, error: KafkaError) -> None:
        """Nothing more can be sent: end every record with this error, and refuse those to come."""
        if self.failure is None:
            self.failure = error
            logger.error("the producer %r cannot go on: %s", self.config.client_id, error)
        self.shut(error)

    def gate(self, refusal: KafkaError | None, *, aborts: bool) -> None:
        """Take records, or refuse those to come with an error; `aborts`: those that wait to be admitted as well."""
        if self._refuses:
            return
        if refusal is None:
            self.accumulator.appender.admit()
        else:
            self.accumulator.appender.refuse_with(refusal, granted=aborts)

    def refuse(self, error: KafkaError) -> None:
        """Take no new records ever; those that wait to be admitted still are."""
        self._refuses = True
        self.accumulator.appender.refuse_with(error)
        self.admission.questions.end(error)

    def shut(self, error: KafkaError, *, refusal: KafkaError | None = None) -> None:
        """Take no records at all any more, and end those without an outcome with this error.

        `refusal` is for those who come later, if there is something else to tell them.
        """
        self._wakes.end()
        if self.transactor is not None:
            self.transactor.end(error)
        self.refuse(error)
        # A wait that is over when it is cancelled ends as if it was not: its record would come after all others ended.
        self.accumulator.appender.refuse_with(refusal or error, granted=True)
        self.metadata.fail(error)
        self.admission.records.end(error)
        self._fail_incomplete(error)

    def _fail_incomplete(self, error: KafkaError) -> None:
        """End every record whose outcome is unknown with this error; those on the wire are possibly written."""
        for batch in list(self.accumulator.incomplete):
            own = error
            if batch.on_wire or batch.possibly_written:
                own = type(error)(f"{error}; {batch.partition}: it may be in the log", possibly_written=True)
                own.__cause__ = error.__cause__
            try:
                self.accumulator.withdraw(batch, own)
            except Exception:
                # A bug with one batch must not cost the records of all others their outcomes.
                logger.exception("%r could not be ended", batch)

    def _enlist(self, partition: Partition) -> None:
        if self.transactor is not None:
            self.transactor.enlist(partition)

    def _record_failed(self, batch: ProducerBatch, error: KafkaError) -> None:
        if self.transactor is not None:
            self.transactor.record_failed(batch, error)

    @property
    def on_refused(self) -> Callable[[KafkaError], None] | None:
        """What to tell at once that a record was not taken; None if nobody has to know."""
        return None if self.transactor is None else self.transactor.record_refused

    async def flush(self) -> None:
        """Return when every record appended before this call has its outcome.

        Where no broker acknowledges anything, return when the brokers have taken what they were sent.
        """
        batches = list(self.accumulator.incomplete)
        self.accumulator.expedite()
        for batch in batches:
            while not batch.done:
                await batch.wait()
        if self.config.acks == Acks.NONE:
            for node_id in list(self._wakes.senders):
                await self._fence(node_id)

    async def wind_up(self) -> None:
        """The producer closes: return when what was begun has come to its end."""
        await self.flush()
        if self.transactor is not None:
            await self.transactor.wind_up()

    async def _fence(self, node_id: int) -> None:
        # A broker serves a connection's requests in order: an answer shows that it took those before. Without it,
        # closing the socket could throw away what the broker has not read yet.
        connection = self.pool.usable(node_id)
        if connection is None:
            return
        request = ApiVersionsRequest(client_software_name="krafka", client_software_version=__version__)
        try:
            await connection.request(request)
        except KafkaError as error:
            # Kafka's brokers say "refused" to unacknowledged records by closing the connection.
            logger.warning("unacknowledged records may be lost: %s", error)
            self.metadata.request_update()
