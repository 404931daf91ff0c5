"""The sender of one broker: every ready partition it leads in one Produce request, and what its answer means."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from krafka._state.outcomes import (
    NAMES_LEADER,
    Verdict,
    append_time,
    judge,
    partition_error,
    record_errors_of,
)
from krafka._wire.produce import ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData
from krafka._wire.schema import NO_UUID
from krafka.config import Acks
from krafka.errors import (
    AuthenticationError,
    DuplicateSequenceNumberError,
    KafkaError,
    NetworkError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from krafka._io.connection import Connection
    from krafka._io.engine import Engine
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Node
    from krafka._wire.produce import ProduceResponse, ProduceResponsePartition
    from krafka.config import ProducerConfig

logger = logging.getLogger(__name__)

REQUEST_OVERHEAD = 512
THROTTLE_LOOK = 1.0
"""Seconds after which a sender that holds back because of a quota looks at its connection again."""
LAST_VERSION_BY_NAME = 12


def produce_form(config: ProducerConfig) -> ProduceRequest:
    """A Produce request of this producer, without its topics."""
    return ProduceRequest(
        transactional_id=config.transactional_id,
        acks=int(config.acks),
        timeout_ms=int(config.request_timeout * 1000),
    )


# A part of a request whose fields are all set next: as its class would make it, but without running Python.
_blank = object.__new__


class NodeSender:
    """Sends what is ready for one broker, as long as no more than `max_in_flight` requests are unanswered."""

    def __init__(self, engine: Engine, node: Node) -> None:
        self._engine = engine
        self._config = engine.config
        self._accumulator = engine.accumulator
        self._node = node
        self._max_bytes = max(engine.config.max_request_size - REQUEST_OVERHEAD, 1)
        self._max_in_flight = engine.config.max_in_flight
        # Filled in anew for each request, which is encoded before the next one is made.
        self.form = produce_form(engine.config)
        self._woken = anyio.Event()
        self._sleeps = True
        self._is_held = False
        self._was_connected = False
        # The connection last sent on, and its version of Produce.
        self._known_connection: Connection | None = None
        self._known_version = -1

    def wake(self) -> None:
        """Look at the queue again, soon: when whoever runs now has done what it does."""
        if self._sleeps and not self._is_held:
            self._sleeps = False
            self._woken.set()

    def wake_now(self) -> None:
        """Look at the queue at once where nothing is gained by waiting: full batches, or a record nobody adds to."""
        ready = self._node.ready
        if ready and (ready[0].pending or not self._node.in_flight):
            self.pump()
        elif ready:
            self.wake()

    def hold(self) -> bool:
        """Heed no `wake` until `release`; True if that goes on already, and is another's to end."""
        held, self._is_held = self._is_held, True
        return held

    def release(self) -> None:
        """End what `hold` began, and look at what became ready meanwhile."""
        self._is_held = False
        self.wake_now()

    async def run(self) -> None:
        """Send for ever; never returns."""
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            self._sleeps = True
            self._accumulator.begin_turn()
            while self._may_send():
                connection = self._engine.pool.usable(self._node.node_id) or await self._connect()
                if connection is not None and not await self._waited_for_quota(connection):
                    self.pump()
                if self._accumulator.needs_turn:
                    break

    def _may_send(self) -> bool:
        return (
            bool(self._node.ready)
            and self._node.in_flight < self._max_in_flight
            and self._engine.failure is None
        )

    async def _connect(self) -> Connection | None:
        if self._was_connected:
            # Unacknowledged records that the broker refuses show in nothing but a closed connection.
            self._engine.metadata.request_update()
        try:
            connection = await self._engine.pool.connection(self._node.node_id)
        except (AuthenticationError, UnsupportedVersionError) as error:
            self._engine.fail_producer(error)
        except KafkaError as error:
            for partition in self._node.ready:
                for batch in (*partition.pending, partition.open_batch):
                    if batch is not None:
                        batch.last_error = error
            # A broker that is gone leaves this queue by new metadata; a record that is gone by its deadline.
            self._engine.metadata.request_update()
            self._accumulator.prune(self._node)
        else:
            self._was_connected = True
            return connection
        return None

    async def _waited_for_quota(self, connection: Connection) -> bool:
        wait = connection.throttled_until - self._engine.clock()
        if wait <= 0:
            return False
        # A connection may end meanwhile, and with it what its broker asked for.
        await anyio.sleep(min(wait, THROTTLE_LOOK))
        return True

    def _version_on(self, connection: Connection) -> int:
        if connection is not self._known_connection:
            self._known_version = connection.api_version(ProduceRequest)
            self._known_connection = connection
        version = self._known_version
        transactor = self._engine.transactor
        return version if transactor is None else transactor.produce_version(version)

    def pump(self) -> None:
        """Send what may go now on the connection there is. To connect, and to wait for a quota, is the task's part."""
        if self._is_held:
            return
        self._is_held = True
        try:
            while self._may_send():
                now = self._engine.clock()
                connection = self._engine.pool.usable(self._node.node_id, now)
                if connection is None or connection.throttled_until > now:
                    break
                try:
                    version = self._version_on(connection)
                except UnsupportedVersionError as error:
                    self._engine.fail_producer(error)
                    break
                batches = self._accumulator.drain(self._node, now, self._max_bytes)
                if not batches:
                    return
                exchange = ProduceExchange(self._engine, self, self._node, connection, batches)
                self._node.in_flight += 1
                exchange.send(version, now)
            else:
                return
        finally:
            self._is_held = False
            if self._accumulator.needs_turn:
                self.wake()
        self.wake()


class ProduceExchange:
    """One Produce request and the batches whose fate its answer tells."""

    def __init__(
        self,
        engine: Engine,
        sender: NodeSender,
        node: Node,
        connection: Connection,
        batches: list[ProducerBatch],
    ) -> None:
        self._engine = engine
        self._accumulator = engine.accumulator
        self._sender = sender
        self._node = node
        self._connection = connection
        self._batches = batches
        self._topic_names: dict[bytes, str] = {}
        self._fatal: KafkaError | None = None

    def send(self, version: int, now: float) -> None:
        """Hand the request to the connection, in at most this version; it calls `_answered` exactly once."""
        form = self._sender.form
        form.topic_data, version = self._topics(version)
        self._connection.put(
            form,
            version,
            self._answered,
            form.acks != Acks.NONE,
            self._engine.config.request_timeout,
            now,
        )
        form.topic_data = []

    def _topics(self, version: int) -> tuple[list[ProduceRequestTopicData], int]:
        topics: dict[str, ProduceRequestTopicData] = {}
        # From version 13 on topics travel by id (KIP-516); one whose id is unknown needs the names.
        known = self._engine.metadata.cluster.topics
        ids_known = version > LAST_VERSION_BY_NAME
        for batch in self._batches:
            name = batch.partition.topic
            topic = topics.get(name)
            if topic is None:
                topic_id = known[name].topic_id if name in known else NO_UUID
                ids_known = ids_known and topic_id != NO_UUID
                topic = topics[name] = _blank(ProduceRequestTopicData)
                topic.name = name
                topic.topic_id = topic_id
                topic.partition_data = []
            data: ProduceRequestPartitionData = _blank(ProduceRequestPartitionData)
            data.index = batch.partition.partition
            data.records = self._stamped(batch)
            topic.partition_data.append(data)
        if ids_known:
            self._topic_names = {topic.topic_id: name for name, topic in topics.items()}
        else:
            version = min(version, LAST_VERSION_BY_NAME)
        return list(topics.values()), version

    def _stamped(self, batch: ProducerBatch) -> tuple[bytes, memoryview | bytes]:
        """The batch as it goes on the wire: a header stamped for this attempt, and the records as they are."""
        body = batch.body
        assert body is not None  # noqa: S101 - draining made it
        return batch.header(batch.partition.codec.id | self._engine.batch_attributes), body

    # -- the answer -----------------------------------------------------------------------------------------------

    def _answered(self, outcome: ProduceResponse | KafkaError | None, now: float) -> None:
        is_pump = self._sender.hold()
        self._node.in_flight -= 1
        for batch in self._batches:
            self._accumulator.left_wire(batch)
        if outcome is None:
            for batch in self._batches:
                self._accumulator.acknowledge(batch, -1, -1)
        elif isinstance(outcome, KafkaError):
            self._lost(outcome, now)
        else:
            self._take_response(outcome, now)
        for batch in self._batches:
            self._accumulator.settle(batch.partition)
        if self._fatal is not None:
            self._engine.fail_producer(self._fatal)
        sequences = self._accumulator.sequences
        if sequences is not None and not sequences.has_identity and self._engine.needs_identity:
            self._engine.request_identity()
        self._engine.look_ahead(now)
        if not is_pump:
            self._sender.release()

    def _lost(self, error: KafkaError, now: float) -> None:
        for batch in self._batches:
            self._judged(batch, self._named(error, batch), now)
        self._engine.metadata.request_update()

    def _take_response(self, response: ProduceResponse, now: float) -> None:
        unanswered = {(batch.partition.topic, batch.partition.partition): batch for batch in self._batches}
        moved = False
        for topic in response.responses:
            name = self._topic_names.get(topic.topic_id) or topic.name
            for partition in topic.partition_responses:
                batch = unanswered.pop((name, partition.index), None)
                if batch is None:
                    logger.warning(
                        "%s answered for %s-%d, which was not asked",
                        self._connection.peer,
                        name,
                        partition.index,
                    )
                    continue
                moved = self._take_partition(batch, partition, now) or moved
                if partition.error_code != 0:
                    self._note_leader(name, partition, response)
        for batch in unanswered.values():
            error = NetworkError(
                f"the answer of {self._connection.peer} left out {batch.partition}", possibly_written=True
            )
            self._judged(batch, error, now)
            moved = True
        if moved:
            self._engine.metadata.request_update()

    def _take_partition(self, batch: ProducerBatch, answer: ProduceResponsePartition, now: float) -> bool:
        """Apply one partition's answer; True if it says that the cluster's picture is stale."""
        if answer.error_code == 0:
            stamped = append_time(batch, answer.log_append_time_ms)
            self._accumulator.acknowledge(batch, answer.base_offset, stamped)
            return False
        where = f"{batch.partition} on {self._connection.peer}"
        error = partition_error(
            answer.error_code, answer.error_message, where, batch, base_offset=answer.base_offset
        )
        messages = {
            entry.batch_index: entry.batch_index_error_message or answer.error_message
            for entry in answer.record_errors
        }
        record_errors = record_errors_of(batch, error, messages, where)
        self._judged(batch, error, now, log_start_offset=answer.log_start_offset, record_errors=record_errors)
        return error.refreshes_metadata

    def _note_leader(self, topic: str, answer: ProduceResponsePartition, response: ProduceResponse) -> None:
        leader = answer.current_leader
        if answer.error_code in NAMES_LEADER and leader.leader_id >= 0:
            endpoints = {node.node_id: (node.host, node.port, node.rack) for node in response.node_endpoints}
            self._engine.note_leader(topic, answer.index, leader.leader_id, leader.leader_epoch, endpoints)

    def _named(self, error: KafkaError, batch: ProducerBatch) -> KafkaError:
        named = type(error)(
            f"{batch.partition}, attempt {batch.attempts}: {error}", possibly_written=error.possibly_written
        )
        named.__cause__ = error.__cause__ or error
        return named

    def _judged(
        self,
        batch: ProducerBatch,
        error: KafkaError,
        now: float,
        *,
        log_start_offset: int = -1,
        record_errors: dict[int, KafkaError] | None = None,
    ) -> None:
        record_errors = record_errors or {}
        verdict = judge(
            batch,
            error,
            sequences=self._accumulator.sequences,
            retry_policy=self._engine.retry_policy,
            now=now,
            log_start_offset=log_start_offset,
            names_records=bool(record_errors),
        )
        transactor = self._engine.transactor
        if transactor is not None and transactor.takes(batch, error, verdict):
            return
        if verdict is Verdict.RETRY:
            # A leader elected since this attempt has not refused anything yet (KIP-951).
            moved = batch.partition.leader_epoch > batch.attempt_leader_epoch
            wait = 0.0 if moved else self._engine.backoff(batch.attempts - 1, error)
            self._accumulator.reenqueue(batch, not_before=now + wait)
            self._engine.retries += 1
        elif verdict is Verdict.ACKNOWLEDGE:
            assert isinstance(error, DuplicateSequenceNumberError)  # noqa: S101 - the one refusal that says "written"
            self._accumulator.acknowledge(batch, -1, -1)
        elif verdict is Verdict.SPLIT:
            self._accumulator.divide(batch)
            self._engine.splits += 1
        elif verdict is Verdict.FAIL_NAMED:
            self._accumulator.fail_named(batch, error, record_errors)
        elif verdict is Verdict.EXPIRE:
            late = self._engine.deadline_error(batch)
            self._accumulator.fail(batch, late, refused=True)
        elif verdict is Verdict.FAIL_PRODUCER:
            self._accumulator.fail(batch, error)
            self._fatal = error
        else:
            self._accumulator.fail(batch, error, refused=True, record_errors=record_errors)
