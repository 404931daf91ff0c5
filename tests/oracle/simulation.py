"""A producer without event loop, sockets or clock, against partitions in plain Python.

Everything that decides is the real thing: the compiled append path, the accumulator, the numbering, the verdicts and
the sender's reading of requests and answers. Time, connections, brokers and metadata move only when told to.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from krafka._io.sender import ProduceExchange
from krafka._state.cluster import Broker, Cluster, PartitionMetadata, TopicMetadata
from krafka._state.partition import NONE, Partition
from krafka._wire.produce import (
    ProduceResponse,
    ProduceResponseLeaderIdAndEpoch,
    ProduceResponseNodeEndpoint,
    ProduceResponsePartition,
    ProduceResponseTopic,
)
from krafka.config import ProducerConfig
from krafka.errors import BufferFullError, KafkaError, NetworkError

from .broker import PartitionLog, RefusedError
from .parts import Exchange, Fault, Sent, SimulatedEngine, Waiter, Waker, Wire
from .record_batch import decode_batch

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._speedups.delivery import Delivery

TOPIC = "orders"
NOT_LEADER_OR_FOLLOWER = 6
UNKNOWN_PRODUCER_ID = 59
DUPLICATE_SEQUENCE_NUMBER = 46
RINGS_AT_ONE_MOMENT = 50


class Simulation:
    """One producer, its cluster, and all that happened."""

    def __init__(
        self, *, nodes: int = 2, partitions: int = 2, identity: tuple[int, int] = (7, 0), **options: Any
    ) -> None:
        self.now = 1000.0
        self.alarm = math.inf
        self.woken: set[int] = set()
        self.brokers = {n: Broker(n, f"b{n}", 9092) for n in range(1, nodes + 1)}
        self.leaders = [1 + n % nodes for n in range(partitions)]
        self.leader_epochs = [0] * partitions
        self.logs = [PartitionLog() for _ in range(partitions)]
        self.wires = {n: Wire(n) for n in self.brokers}
        self.sent: list[Sent] = []
        self.waiters: list[Waiter] = []
        self.identity = self.next_identity = identity
        self.config = ProducerConfig(bootstrap_servers="b1:9092", **options)
        self.engine = SimulatedEngine(self.config, self)
        self.accumulator = self.engine.accumulator
        self.appender = self.accumulator.appender
        self.count = 0
        self.topic_id = bytes(16)
        self.appended_late = False

    # -- time -----------------------------------------------------------------------------------------------------

    def set_alarm(self, at: float) -> None:
        self.alarm = min(self.alarm, at)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the alarm rings when it was set to."""
        until = self.now + seconds
        rings = 0
        while self.alarm <= until:
            rings = rings + 1 if self.alarm <= self.now else 0
            assert rings < RINGS_AT_ONE_MOMENT, "the alarm rings again and again without time passing"
            self.now = max(self.now, self.alarm)
            self.alarm = math.inf
            self._end_waits()
            self.engine._ring(self.now)
            self.turn()
        self.now = until
        self._end_waits()

    # -- the cluster ----------------------------------------------------------------------------------------------

    def picture(self) -> Cluster:
        """The cluster as an up-to-date broker describes it."""
        partitions = tuple(
            PartitionMetadata(number, leader, self.leader_epochs[number])
            for number, leader in enumerate(self.leaders)
        )
        return Cluster(
            brokers=MappingProxyType(self.brokers),
            topics=MappingProxyType({TOPIC: TopicMetadata(TOPIC, self.topic_id, partitions)}),
        )

    def refresh(self) -> None:
        """The producer fetches metadata."""
        self.engine.metadata.set(self.picture())

    def drop_topic(self) -> bool:
        """Nobody used the topic for a while: the producer lets go of its metadata. False if records are under way."""
        if not self.accumulator.is_idle(TOPIC):
            return False
        self.engine.metadata.set(Cluster(brokers=MappingProxyType(self.brokers)))
        return True

    def move_leader(self, partition: int, node_id: int) -> None:
        """Elect another leader; -1 is none for now."""
        if self.leaders[partition] != node_id:
            self.leaders[partition] = node_id
            self.leader_epochs[partition] += 1

    def give_identity(self) -> None:
        """Answer InitProducerId, if the producer is without an id."""
        if self.engine.needs_identity and self.engine.failure is None:
            producer_id, epoch = self.next_identity
            self.next_identity = (producer_id + 1, 0)
            self.engine.take_identity(producer_id, epoch)

    # -- the producer's callers -----------------------------------------------------------------------------------

    def append(self, partition: int, size: int) -> Sent | None:
        """A caller that does not wait; None if there is no room."""
        value = self._value(size)
        try:
            delivery = self.appender.append(TOPIC, value, partition=partition)
        except BufferFullError:
            return None
        return self._accepted(value, partition, delivery)

    def append_or_wait(self, partition: int, size: int) -> None:
        """A caller that waits for memory in line."""
        waiter = Waiter(partition, self._value(size), self.now)
        self.waiters.append(waiter)
        self._try(waiter, 0)

    def give_up(self, waiter: Waiter) -> None:
        """A caller in line is cancelled."""
        assert waiter.ticket is not None
        self.waiters.remove(waiter)
        self.accumulator.memory.leave(waiter.ticket)

    def _end_waits(self) -> None:
        for waiter in list(self.waiters):
            if waiter.entered + self.config.max_block <= self.now:
                self.give_up(waiter)

    def turn(self) -> None:
        """Callers whose memory was granted go on."""
        while granted := [waiter for waiter in self.waiters if waiter.granted]:
            waiter = granted[0]
            assert waiter.ticket is not None
            waiter.granted = False
            grant, waiter.ticket.granted = waiter.ticket.granted, 0
            self._try(waiter, grant)

    def _try(self, waiter: Waiter, grant: int) -> None:
        memory = self.accumulator.memory
        try:
            delivery, left = self.appender.append_granted(
                TOPIC, waiter.value, None, None, waiter.partition, None, waiter.entered, grant
            )
        except BufferFullError as full:
            memory.release(grant)
            if not memory.waiting:
                self.accumulator.expedite()

            def wake() -> None:
                waiter.granted = True

            waiter.ticket = memory.join(full.needed, wake)
            return
        except KafkaError:
            assert self.engine.failure is not None
            self.waiters.remove(waiter)
            memory.release(grant)
            return
        self.waiters.remove(waiter)
        self._accepted(waiter.value, waiter.partition, delivery)
        memory.release(left)

    def _value(self, size: int) -> bytes:
        self.count += 1
        return b"%d " % self.count + b"." * size

    def _accepted(self, value: bytes, partition: int, delivery: Delivery) -> Sent:
        sent = Sent(value, partition, delivery)
        self.sent.append(sent)
        return sent

    # -- senders and brokers --------------------------------------------------------------------------------------

    def run_sender(self, node_id: int) -> int:
        """What the sender of one broker does when it is woken; returns how many requests it sent."""
        if node_id not in self.woken:
            return 0
        self.woken.discard(node_id)
        node = self.accumulator.nodes[node_id]
        wire = self.wires[node_id]
        requests = 0
        while node.ready and node.in_flight < self.config.max_in_flight and self.engine.failure is None:
            batches = self.accumulator.drain(node, self.now, 1 << 20)
            if not batches:
                continue
            wire.being_sent = ProduceExchange(
                self.engine,
                Waker(self, node_id),
                node,
                wire,
                batches,  # type: ignore[arg-type]
            )
            node.in_flight += 1
            wire.being_sent.send(wire.api_version(None), self.now)
            requests += 1
            self._check_wires()
        return requests

    def process(self, node_id: int, faults: dict[int, Fault] | None = None) -> bool:
        """The broker takes the next request off its socket; False if there is none."""
        exchange = next((e for e in self.wires[node_id].under_way if e.response is None), None)
        if exchange is None:
            return False
        self._take(node_id, exchange, faults or {})
        return True

    def process_late(self, node_id: int) -> bool:
        """A broker takes a request that lay in its socket when the connection broke; its answer goes nowhere."""
        left_behind = self.wires[node_id].left_behind
        if not left_behind:
            return False
        before = [len(log.values) for log in self.logs]
        self._take(node_id, left_behind.popleft(), {})
        self.appended_late = self.appended_late or before != [len(log.values) for log in self.logs]
        return True

    def _take(self, node_id: int, exchange: Exchange, faults: dict[int, Fault]) -> None:
        answers = []
        for topic in exchange.request.topic_data:
            for data in topic.partition_data:
                fault = faults.get(data.index, Fault())
                answer = self._produce(node_id, data.index, b"".join(map(bytes, data.records)), fault)
                if not fault.omitted:
                    answers.append(answer)
        exchange.response = ProduceResponse(
            responses=[ProduceResponseTopic(name=TOPIC, partition_responses=answers)],
            node_endpoints=[
                ProduceResponseNodeEndpoint(node_id=broker.node_id, host=broker.host, port=broker.port)
                for broker in self.brokers.values()
            ],
        )

    def _produce(self, node_id: int, partition: int, data: bytes, fault: Fault) -> ProduceResponsePartition:
        if self.leaders[partition] != node_id:
            hint = ProduceResponseLeaderIdAndEpoch()
            if self.leaders[partition] != NONE:
                hint = ProduceResponseLeaderIdAndEpoch(
                    leader_id=self.leaders[partition], leader_epoch=self.leader_epochs[partition]
                )
            return ProduceResponsePartition(
                index=partition, error_code=NOT_LEADER_OR_FOLLOWER, base_offset=-1, current_leader=hint
            )
        batch = decode_batch(data)
        if fault.code == UNKNOWN_PRODUCER_ID:
            self.logs[partition].forget(batch.producer_id)
            return ProduceResponsePartition(
                index=partition,
                error_code=fault.code,
                base_offset=-1,
                log_start_offset=len(self.logs[partition].values),
            )
        if fault.code and not fault.appended:
            return ProduceResponsePartition(index=partition, error_code=fault.code, base_offset=-1)
        try:
            base_offset, known = self.logs[partition].append(
                [record.value or b"" for record in batch.records],
                producer_id=batch.producer_id,
                producer_epoch=batch.producer_epoch,
                base_sequence=batch.base_sequence,
            )
        except RefusedError as refused:
            return ProduceResponsePartition(index=partition, error_code=refused.code, base_offset=-1)
        code = fault.code
        if code == DUPLICATE_SEQUENCE_NUMBER and not known:
            code = 0
        return ProduceResponsePartition(
            index=partition, error_code=code, base_offset=-1 if code else base_offset
        )

    def answer(self, node_id: int) -> bool:
        """The oldest answer of a broker arrives; False if there is none."""
        under_way = self.wires[node_id].under_way
        if not under_way or under_way[0].response is None:
            return False
        exchange = under_way.popleft()
        exchange.on_response(exchange.response, self.now)
        self.turn()
        return True

    def lose(self, node_id: int, *, processed: int = 0, unsent: int = 0, late: bool = False) -> None:
        """The connection breaks, after the broker took `processed` more requests; the last `unsent` never left.

        With `late` the broker may still take the others, after the producer went on.
        """
        for _ in range(processed):
            self.process(node_id)
        wire = self.wires[node_id]
        lost = list(wire.under_way)
        wire.under_way.clear()
        unprocessed = sum(exchange.response is None for exchange in lost)
        written = len(lost) - min(unsent, unprocessed)
        if late:
            wire.left_behind.extend(exchange for exchange in lost[:written] if exchange.response is None)
        for at, exchange in enumerate(lost):
            error = NetworkError("the connection broke", possibly_written=at < written)
            exchange.on_response(error, self.now)
        self.turn()

    # -- at all times, and in the end -----------------------------------------------------------------------------

    def _check_wires(self) -> None:
        seen: set[ProducerBatch] = set()
        for wire in self.wires.values():
            assert len(wire.under_way) <= self.config.max_in_flight
            for exchange in wire.under_way:
                for batch in exchange.exchange._batches:
                    assert batch not in seen, "a batch is on the wire twice"
                    seen.add(batch)

    def holders(self) -> set[ProducerBatch]:
        """The batches that hold memory: those without an outcome, and those whose answer is still to come."""
        on_wire = {
            batch
            for wire in self.wires.values()
            for exchange in wire.under_way
            for batch in exchange.exchange._batches
        }
        return set(self.accumulator.incomplete) | on_wire

    def check_memory(self) -> None:
        """Every byte is either free, granted to somebody in line, or charged to a batch."""
        granted = sum(w.ticket.granted for w in self.waiters if w.ticket is not None)
        held = sum(batch.charge for batch in self.holders())
        assert self.appender.available >= 0
        assert self.appender.available + granted + held == self.config.buffer_memory

    def check_deadlines(self) -> None:
        """No record is without an outcome after its time."""
        for batch in self.accumulator.incomplete:
            assert batch.deadline > self.now, f"{batch} should have ended {self.now - batch.deadline} s ago"

    def calm_down(self) -> None:
        """Nothing goes wrong any more: let everything come to its end."""
        for partition, leader in enumerate(self.leaders):
            if leader == NONE:
                self.move_leader(partition, 1)
        answered = {
            batch
            for wire in self.wires.values()
            for exchange in wire.under_way
            if exchange.response is not None
            for batch in exchange.exchange._batches
        }
        hopeful = [
            batch
            for batch in self.accumulator.incomplete
            if batch.deadline > self.now + 60 and batch not in answered
        ]
        if answered or self.config.retries is not None or self.engine.failure is not None:
            # Their end may have been settled before.
            hopeful = []
        before = self.now
        for _ in range(400):
            self.turn()
            self.refresh()
            self.give_identity()
            for node_id in self.wires:
                self.run_sender(node_id)
                while self.process(node_id):
                    pass
                while self.answer(node_id):
                    pass
            if not self.holders() and not self.waiters:
                break
            if self.engine.failure is not None and not self.holders():
                break
            self.pass_time(0.1)
        stuck = [batch for batch in hopeful if not batch.done or batch.error is not None]
        assert not stuck, f"not delivered {self.now - before:.1f} s after the last fault: {stuck}"

    def check_outcomes(self) -> None:
        """What callers were told is what lies in the logs."""
        in_log: dict[bytes, list[tuple[int, int]]] = {}
        for number, log in enumerate(self.logs):
            for offset, value in enumerate(log.values):
                in_log.setdefault(value, []).append((number, offset))
        for sent in self.sent:
            assert sent.delivery.done, f"{sent.value!r} has no outcome"
            places = in_log.get(sent.value, [])
            error = sent.delivery.exception
            if self.numbers_hold:
                assert len(places) <= 1, f"{sent.value!r} is in the log {len(places)} times"
            if error is None:
                metadata = sent.delivery.metadata
                assert metadata is not None
                assert places, f"{sent.value!r} is acknowledged and not in the log"
                assert metadata.offset == -1 or (metadata.partition, metadata.offset) in places
            elif not error.possibly_written:
                assert not places, (
                    f"{sent.value!r} is in the log, yet its error says that it is not: {error!r}"
                )
        if self.numbers_hold:
            self._check_order(in_log)

    @property
    def numbers_hold(self) -> bool:
        """Whether sequence numbers rule out duplicates.

        They do not where a broker takes a request after its connection broke, and before it hears of the epoch that
        was raised since: Kafka has no way to call such a request back.
        """
        sequences = self.accumulator.sequences
        if sequences is None:
            return False
        return not self.appended_late or (sequences.producer_id, sequences.producer_epoch) == self.identity

    def _check_order(self, in_log: dict[bytes, list[tuple[int, int]]]) -> None:
        for number in range(len(self.logs)):
            offsets = [
                in_log[sent.value][0][1]
                for sent in self.sent
                if sent.partition == number and sent.value in in_log
            ]
            assert offsets == sorted(offsets), f"partition {number} holds records out of order: {offsets}"

    def check_end(self) -> None:
        """All that must hold once everything came to its end."""
        assert not self.accumulator.incomplete
        if not self.waiters:
            assert self.appender.available == self.config.buffer_memory
        for partition in self.partitions():
            assert not partition.pending
            assert not partition.in_flight
            assert partition.open_batch is None
            assert partition.on_wire == 0
        assert all(node.in_flight == 0 for node in self.accumulator.nodes.values())
        self.check_outcomes()

    def partitions(self) -> list[Partition]:
        """The producer's partitions."""
        return list(self.accumulator.partitions())
