"""Which batches exist, which may go to which broker now, and what time will change about that.

It takes the time as an argument and tells its owner through two callbacks: `wake(node_id)` when a broker's queue has
something new to look at (-1: a partition without a leader has), `wake_at(time)` when `advance` should be called.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from krafka._speedups.append import Appender
from krafka._state.memory import PATIENCE, BufferMemory
from krafka._state.outcomes import in_doubt
from krafka._state.partition import NONE, Node
from krafka._state.topics import batch_span
from krafka.config import Acks
from krafka.records import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka._speedups.batch import ProducerBatch
    from krafka._state.cluster import Cluster, TopicMetadata
    from krafka._state.partition import Partition
    from krafka._state.sequences import Sequences
    from krafka._state.topics import TopicHandling
    from krafka.config import ProducerConfig
    from krafka.errors import KafkaError


class RecordAccumulator:
    """The records on their way: appended by the compiled path, drained by broker, completed once."""

    def __init__(
        self,
        config: ProducerConfig,
        *,
        sequences: Sequences | None,
        handling: Callable[[str], TopicHandling],
        monotonic: Callable[[], float],
        wake: Callable[[int], object],
        wake_at: Callable[[float], object],
        wall_clock: Callable[[], int] | None = None,
        compress_elsewhere: Callable[[list[ProducerBatch]], object] | None = None,
        enlist: Callable[[Partition], object] | None = None,
        failed: Callable[[ProducerBatch, KafkaError], object] | None = None,
    ) -> None:
        self._enlist = enlist
        self._failed = failed
        self._linger = config.linger
        self._handling = handling
        self._awaits_answers = config.acks != Acks.NONE
        self.sequences = sequences
        # How much of the moment is left for which the event loop may stand still.
        self._moment_left = 1.0
        self._compress_elsewhere = compress_elsewhere
        self._wake = wake
        self._wake_at = wake_at
        self.appender = Appender(
            batch_size=config.batch_size,
            buffer_memory=config.buffer_memory,
            max_request_size=config.max_request_size,
            delivery_timeout=config.delivery_timeout,
            batch_span=batch_span(config),
            monotonic=monotonic,
            on_opened=self._opened,
            on_sealed=self._mark_ready,
            on_hastened=self._note_deadline,
            wall_clock=wall_clock,
        )
        self.memory = BufferMemory(self.appender, lambda: wake_at(monotonic() + PATIENCE))
        self.nodes: dict[int, Node] = {}
        self.incomplete: dict[ProducerBatch, None] = {}
        # Partitions of topics that were dropped or made anew smaller: their numbering must not start over.
        self._retired: dict[TopicPartition, Partition] = {}
        self._lingering: deque[ProducerBatch] = deque()
        self._delayed: list[tuple[float, int, Partition]] = []
        self._next_deadline = math.inf
        self._ties = count()
        self._drained_records = 0

    def partitions(self) -> Iterable[Partition]:
        """Every partition of the topics in use, and those of others whose numbering still counts."""
        for topic in self.appender.topics.values():
            yield from topic.partitions
        yield from self._retired.values()

    # -- records come in ------------------------------------------------------------------------------------------

    def _opened(self, batch: ProducerBatch) -> None:
        self.incomplete[batch] = None
        self._note_deadline(batch)
        if self._enlist is not None and not batch.partition.enrolled:
            self._enlist(batch.partition)
        if self._linger == 0 or self.appender.contended:
            batch.expedited = True
            self._mark_ready(batch.partition)
            return
        while self._lingering and not self._is_open(self._lingering[0]):
            self._lingering.popleft()
        self._lingering.append(batch)
        self._wake_at(batch.created + self._linger)

    def _note_deadline(self, batch: ProducerBatch) -> None:
        if batch.deadline < self._next_deadline:
            self._next_deadline = batch.deadline
            self._wake_at(batch.deadline)

    def _mark_ready(self, partition: Partition) -> None:
        node = partition.node
        if node is None:
            self._wake(NONE)
            return
        if not partition.queued:
            partition.queued = True
            node.ready.append(partition)
            self._wake(node.node_id)

    @staticmethod
    def _is_open(batch: ProducerBatch) -> bool:
        return batch.partition.open_batch is batch

    def expedite(self) -> None:
        """Let open batches go now, whatever is left of their linger: somebody waits for them or for their memory."""
        while self._lingering:
            batch = self._lingering.popleft()
            if self._is_open(batch):
                batch.expedited = True
                self._mark_ready(batch.partition)

    # -- batches go out -------------------------------------------------------------------------------------------

    def drain(self, node: Node, now: float, max_bytes: int) -> list[ProducerBatch]:
        """Take the batches of one request to a broker: at most one a partition, at most `max_bytes`, but one at least.

        What takes longer to compress than a moment (`BatchCodec.moment`) waits for the next turn; a batch that does so
        by itself is left to `compress_elsewhere`, and comes to `compressed`.
        Partitions that had their turn go to the end of the broker's queue, so that each gets its turn.
        """
        drained: list[ProducerBatch] = []
        elsewhere: list[ProducerBatch] = []
        size = 0
        for _ in range(len(node.ready)):
            partition = node.ready[0]
            batch = self._sendable(partition, node, now)
            if batch is not None:
                batch = self._closed(batch)
                if batch.body is None:
                    moment = partition.codec.moment
                    if len(batch.records) > moment:
                        batch.in_compression = True
                        elsewhere.append(batch)
                        batch = None
                    elif len(batch.records) / moment > self._moment_left:
                        self._moment_left = 0.0
                        break
                    else:
                        self._moment_left -= len(batch.records) / moment
                        self._take_body(batch, self._compressed(batch))
            if batch is None:
                node.ready.popleft()
                partition.queued = False
                continue
            assert batch.body is not None  # noqa: S101 - for the type checker; it was just made, or before
            batch_bytes = len(batch.body)
            if drained and size + batch_bytes > max_bytes:
                break
            node.ready.popleft()
            self._send(partition, node, batch)
            drained.append(batch)
            size += batch_bytes
            if self._due(partition, now) is None:
                partition.queued = False
            else:
                node.ready.append(partition)
        if elsewhere and self._compress_elsewhere is not None:
            self._compress_elsewhere(elsewhere)
        return drained

    def begin_turn(self) -> None:
        """Whoever drains has let others run since, so that it may compress for as long as it may at a stretch again."""
        self._moment_left = 1.0

    @property
    def needs_turn(self) -> bool:
        """Whether `begin_turn` is due: much was compressed since."""
        return self._moment_left < 0.5

    def prune(self, node: Node) -> None:
        """Take partitions that have nothing left to send out of a broker's queue."""
        for partition in list(node.ready):
            if not partition.pending and partition.open_batch is None:
                node.ready.remove(partition)
                partition.queued = False

    def _due(self, partition: Partition, now: float) -> ProducerBatch | None:
        if partition.pending:
            return partition.pending[0]
        batch = partition.open_batch
        if batch is not None and (batch.expedited or now >= batch.created + self._linger):
            return batch
        return None

    def _sendable(self, partition: Partition, node: Node, now: float) -> ProducerBatch | None:
        batch = self._due(partition, now)
        if batch is None or batch.in_compression:
            return None
        if partition.backoff_until > now:
            self._delay(partition, partition.backoff_until)
            return None
        is_waited_for = self._awaits_answers and partition.on_wire > 0
        if is_waited_for and partition.wire_node_id != node.node_id:
            # The old leader may still append what it was sent; its answers come before the new leader's turn.
            return None
        if self.sequences is None:
            # Without sequence numbers only one batch at a time keeps the order across a retry.
            return None if is_waited_for else batch
        return batch if self.sequences.may_send(partition, batch) else None

    def _closed(self, batch: ProducerBatch) -> ProducerBatch:
        """The batch to send: nothing more is appended to it, and it is no larger than its broker takes."""
        partition = batch.partition
        if partition.open_batch is batch:
            partition.pending.append(partition.take_open())
        if (
            batch.drain_order == NONE
            and len(batch.records) > partition.records_limit
            and batch.record_count > 1
        ):
            # It was full before a batch of its size was refused.
            partition.pending.popleft()
            parts = batch.divide(partition.records_limit)
            partition.pending.extendleft(reversed(parts))
            self._exchange(batch, parts)
            batch = parts[0]
        return batch

    def _compressed(self, batch: ProducerBatch) -> memoryview | bytes:
        compress, records = batch.partition.codec.compress, memoryview(batch.records)
        return records if compress is None else compress(records)

    def _take_body(self, batch: ProducerBatch, body: memoryview | bytes) -> None:
        batch.body = body
        codec = batch.partition.codec
        if codec.compress is not None:
            largest = int(min(codec.moment, self.appender.max_request_size // 2))
            self.appender.note_compressed(batch.partition, len(batch.records), len(body), largest)

    def compressed(self, batch: ProducerBatch, body: bytes) -> None:
        """Take what somebody else made of a batch's records, and let it go out."""
        batch.in_compression = False
        if not batch.done:
            self._take_body(batch, body)
            self.settle(batch.partition)

    def _send(self, partition: Partition, node: Node, batch: ProducerBatch) -> None:
        partition.pending.popleft()
        if self.sequences is not None:
            self.sequences.stamp(partition, batch)
        if batch.drain_order == NONE:
            # Counted in records, so that what a batch is divided into finds its place between the others.
            batch.drain_order = self._drained_records
            self._drained_records += batch.record_count
        batch.attempts += 1
        batch.attempt_leader_epoch = partition.leader_epoch
        batch.on_wire = True
        partition.on_wire += 1
        partition.wire_node_id = node.node_id

    def _delay(self, partition: Partition, until: float) -> None:
        heappush(self._delayed, (until, next(self._ties), partition))
        self._wake_at(until)

    # -- batches end ----------------------------------------------------------------------------------------------

    def left_wire(self, batch: ProducerBatch) -> None:
        """The answer to a batch is here, or will never come."""
        if batch.on_wire:
            batch.on_wire = False
            batch.partition.on_wire -= 1

    def settle(self, partition: Partition) -> None:
        """Look again at a partition after batches of it left the wire: heal its numbering, queue what may go now."""
        if self.sequences is not None and partition.on_wire == 0:
            self.sequences.settle(partition)
        if partition.pending or partition.open_batch is not None:
            self._mark_ready(partition)

    def reenqueue(self, batch: ProducerBatch, *, not_before: float) -> None:
        """Put a batch back to be sent again, in front of everything that was first sent after it."""
        pending = batch.partition.pending
        at = 0
        while at < len(pending) and NONE < pending[at].drain_order < batch.drain_order:
            at += 1
        pending.insert(at, batch)
        batch.partition.backoff_until = max(batch.partition.backoff_until, not_before)
        batch.look_again()

    def acknowledge(self, batch: ProducerBatch, base_offset: int, log_append_time: int) -> None:
        """The batch is in the log. A batch whose deadline passed before keeps the outcome it had."""
        batch.partition.last_error = None
        if self.sequences is not None and batch.base_sequence != NONE:
            self.sequences.acknowledged(batch.partition, batch)
        if not batch.done:
            batch.complete(base_offset, log_append_time)
        self._forget(batch)

    def fail(
        self,
        batch: ProducerBatch,
        error: KafkaError,
        *,
        refused: bool = False,
        record_errors: dict[int, KafkaError] | None = None,
    ) -> None:
        """The batch ends with an error. `refused`: a broker's answer says that it did not append what it was sent.

        `record_errors` are the errors of the records to blame, by their index in the batch. After an earlier attempt
        whose outcome is unknown a refusal is no proof, and the errors say so by `possibly_written`.
        """
        if batch.possibly_written:
            refused = False
            error = in_doubt(error)
            record_errors = {index: in_doubt(each) for index, each in (record_errors or {}).items()}
        self._note_failure(batch, error)
        if self.sequences is not None and batch.base_sequence != NONE and batch in batch.partition.in_flight:
            if refused:
                self.sequences.refused(batch.partition, batch)
            else:
                self.sequences.lost(batch.partition, batch)
        if not batch.done:
            batch.fail(error, record_errors)
        self._forget(batch)

    def divide(self, batch: ProducerBatch) -> None:
        """Send a batch that is too large for its broker as several, in its place, and make none as large again.

        How large one may be is the topic's affair and not told: halves find it in a few rounds.
        """
        limit = max(batch.records.used // 2, 1)
        batch.partition.limit_records(limit)
        self._replace(batch, batch.divide(limit))

    def fail_named(
        self, batch: ProducerBatch, error: KafkaError, record_errors: dict[int, KafkaError]
    ) -> None:
        """Fail the records that a broker named (KIP-467); send the rest of their batch, which it did not append."""
        self._note_failure(batch, error)
        rest = batch.without(record_errors)
        if rest is not None:
            self._replace(batch, [rest])
            return
        self.fail(batch, error, refused=True, record_errors=record_errors)

    def _replace(self, batch: ProducerBatch, parts: list[ProducerBatch]) -> None:
        order = batch.drain_order
        for part in parts:
            part.drain_order = order
            order += part.record_count
        if self.sequences is not None:
            self.sequences.replaced(batch.partition, batch, parts)
        self._exchange(batch, parts)
        for part in parts:
            self.reenqueue(part, not_before=0.0)

    def _exchange(self, batch: ProducerBatch, parts: list[ProducerBatch]) -> None:
        self.incomplete.pop(batch, None)
        self.incomplete.update(dict.fromkeys(parts))

    def _note_failure(self, batch: ProducerBatch, error: KafkaError) -> None:
        if self._failed is not None and not batch.done:
            self._failed(batch, error)

    def _forget(self, batch: ProducerBatch) -> None:
        self.incomplete.pop(batch, None)
        self.memory.release(batch.charge)

    def withdraw(self, batch: ProducerBatch, error: KafkaError) -> None:
        """End a batch whose deadline passed, wherever it is.

        One that is on the wire keeps its memory and its numbers until the answer comes or the connection ends;
        only its callers are told.
        """
        partition = batch.partition
        if batch.on_wire:
            self._note_failure(batch, error)
            batch.fail(error)
            self.incomplete.pop(batch, None)
            return
        if partition.open_batch is batch:
            partition.take_open()
        elif batch in partition.pending:
            partition.pending.remove(batch)
        self.fail(batch, error)
        self.settle(partition)

    # -- time passes, leaders move --------------------------------------------------------------------------------

    def advance(self, now: float) -> list[ProducerBatch]:
        """Queue what has lingered or backed off long enough; return the batches whose deadline has passed."""
        while self._delayed and self._delayed[0][0] <= now:
            partition = heappop(self._delayed)[2]
            if partition.pending or partition.open_batch is not None:
                self._mark_ready(partition)
        while self._lingering:
            batch = self._lingering[0]
            if self._is_open(batch) and now < batch.created + self._linger:
                self._wake_at(batch.created + self._linger)
                break
            self._lingering.popleft()
            if self._is_open(batch):
                self._mark_ready(batch.partition)
        if self._delayed:
            self._wake_at(self._delayed[0][0])
        if self.memory.waiting:
            self.memory.serve()
        return self._expired(now)

    def _expired(self, now: float) -> list[ProducerBatch]:
        if now < self._next_deadline:
            if self._next_deadline < math.inf:
                self._wake_at(self._next_deadline)
            return []
        expired = [batch for batch in self.incomplete if batch.deadline <= now]
        self._next_deadline = min(
            (batch.deadline for batch in self.incomplete if batch.deadline > now), default=math.inf
        )
        if self._next_deadline < math.inf:
            self._wake_at(self._next_deadline)
        return expired

    def update(self, cluster: Cluster) -> None:
        """Follow a new picture of the cluster: new partitions, moved leaders."""
        for topic in cluster.topics.values():
            if topic.partitions:
                self._update_topic(topic, cluster)
        gone = [name for name in self.appender.topics if name not in cluster.topics]
        for name in filter(self.is_idle, gone):
            self._retire(self.appender.drop_topic(name).partitions)

    def _retire(self, partitions: list[Partition]) -> None:
        """Keep of these partitions, and of those kept before, what still has records or numbers under this epoch.

        A broker would take the first numbers of a partition that starts over for the duplicates of its first batches,
        and answer with success.
        """
        for partition in [*self._retired.values(), *partitions]:
            place = TopicPartition(partition.topic, partition.partition)
            if not partition.is_idle or (self.sequences is not None and self.sequences.is_current(partition)):
                self._retired[place] = partition
            else:
                self._retired.pop(place, None)

    def _partition(self, topic: str, number: int) -> Partition:
        retired = self._retired.pop(TopicPartition(topic, number), None)
        return retired or self._handling(topic).make_partition(topic, number)

    def _update_topic(self, topic: TopicMetadata, cluster: Cluster) -> None:
        buffer = self.appender.topics.get(topic.name)
        if buffer is None:
            buffer = self._handling(topic.name).make_buffer(topic.name)
        partitions: list[Partition] = list(buffer.partitions)
        partitions.extend(
            self._partition(topic.name, number) for number in range(len(partitions), len(topic.partitions))
        )
        for partition, metadata in zip(partitions, topic.partitions, strict=False):
            if self.sequences is not None:
                self.sequences.note_log(partition, topic.topic_id)
            partition.leader_epoch = metadata.leader_epoch
            self._move(partition, metadata.leader_id if metadata.leader_id in cluster.brokers else NONE)
        # A topic made anew may have fewer; what is buffered for the others keeps its leader, and its deadline.
        if len(partitions) > len(topic.partitions):
            self._retire(partitions[len(topic.partitions) :])
            partitions = partitions[: len(topic.partitions)]
        buffer.set_partitions(
            partitions, [partition for partition in partitions if partition.node is not None]
        )
        self.appender.topics[topic.name] = buffer

    def _move(self, partition: Partition, leader_id: int) -> None:
        old = partition.node
        if (NONE if old is None else old.node_id) == leader_id:
            return
        if old is not None and partition.queued:
            old.ready.remove(partition)
        partition.queued = False
        partition.node = None if leader_id == NONE else self.nodes.setdefault(leader_id, Node(leader_id))
        # A new leader has not refused anything yet (KIP-951): what waits need not back off from it.
        partition.backoff_until = 0.0
        if partition.pending or partition.open_batch is not None:
            self._mark_ready(partition)

    def is_idle(self, topic: str) -> bool:
        """Whether nothing of a topic is buffered or under way."""
        buffer = self.appender.topics.get(topic)
        return buffer is None or all(partition.is_idle for partition in buffer.partitions)
