"""What each fault of a schedule does to the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from krafka._wire.frames import joined_records
from krafka.testing.fake.batches import read_batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.testing.fake import FakeCluster, FakeRecord, ReceivedRequest
    from krafka.testing.fake.log import PartitionLog

    from .faults import Event
    from .world import World

LATE_EPOCH = 2**15 - 4
FAIL_OPTIONS = frozenset(
    {"code", "times", "skip", "topic", "partition", "after_append", "record_errors", "log_start_offset", "disconnect",
     "delay", "hold", "throttle_time_ms", "correlation_id", "frame_size", "cut_at", "stall", "chunk_size",
     "chunk_delay", "broker"}
)  # fmt: skip


class Weather:
    """The faults of a run, done to its cluster, and every log the cluster ever had."""

    def __init__(self, world: World, cluster: FakeCluster) -> None:
        self._world = world
        self._cluster = cluster
        self._deleted: dict[PartitionLog, list[FakeRecord]] = {}
        self._gone: list[PartitionLog] = []
        self._most_partitions: dict[str, int] = {}
        self.is_away = False

    async def run(self, events: list[Event]) -> None:
        """Do each fault at its time."""
        began = anyio.current_time()
        for event in events:
            await anyio.sleep_until(began + event.at)
            if self.is_away:
                return
            self.do(event)

    def do(self, event: Event) -> None:
        """Do one fault now."""
        self._world.note("fault", event.kind, sorted(event.args.items(), key=str))
        act: Callable[..., None] = getattr(self, f"_{event.kind}", self._produce)
        act(**event.args)

    def heal(self) -> None:
        """The cluster is whole again, and everybody is told."""
        cluster = self._cluster
        self._world.note("heal")
        cluster.heal()
        for topic in self._world.plan.topics:
            if topic.name not in cluster.topics:
                cluster.create_topic(topic.name, topic.partitions, config=topic.config)
        for node_id in cluster.brokers:
            cluster.resume_broker(node_id)
            cluster.start_broker(node_id)
        for name, count in self._most_partitions.items():
            if len(cluster.topics[name].partitions) < count:
                # A record that was bound for a partition that is gone could not arrive otherwise.
                cluster.add_partitions(name, count)
        cluster.propagate()

    def logs(self) -> list[tuple[PartitionLog, list[FakeRecord]]]:
        """Every log there was, with the records retention deleted."""
        present = [each.log for topic in self._cluster.topics.values() for each in topic.partitions]
        return [(log, self._deleted.get(log, []) + log.records) for log in self._gone + present]

    # -- Produce --------------------------------------------------------------------------------------------------

    def _produce(self, **args: Any) -> None:
        options = {name: value for name, value in args.items() if name in FAIL_OPTIONS}
        if args.get("leave_out"):
            options["edit"] = _leave_one_out
        if args.get("code") in {45, 59}:
            # A broker that has a batch, or may still come to it, does not say this about it.
            options["when"] = self._is_news
        self._cluster.fail("Produce", **options)

    def _stubborn(self, **options: Any) -> None:
        """The broker appends a batch and says that it did not; the same to each attempt, while others pass it."""
        chosen: list[tuple[Any, ...]] = []

        def is_chosen(request: ReceivedRequest) -> bool:
            keys = self._keys(request)
            if not chosen:
                chosen.append(keys[0])
            return chosen[0] in keys

        self._cluster.fail("Produce", when=is_chosen, **options)

    def _duplicate(self, **options: Any) -> None:
        """An answer is lost, and to the next attempt the broker says no more than that it has the batch."""
        seen: list[tuple[Any, ...]] = []

        def is_first(request: ReceivedRequest) -> bool:
            found = not seen and self._appends(request)
            if found:
                seen.extend(self._keys(request))
            return found

        where = {name: value for name, value in options.items() if name in {"topic", "partition"}}
        self._cluster.fail("Produce", when=is_first, code=7, after_append=True, **where)
        self._cluster.fail(
            "Produce", when=lambda request: self._keys(request)[0] in seen and self._has(request), **options
        )

    def _keys(self, request: ReceivedRequest) -> list[tuple[Any, ...]]:
        """Of each batch in a Produce request its producer id, epoch and sequence, its topic and its partition."""
        keys = []
        for topic in request.body.topic_data:
            known = self._cluster.topic_by_id(topic.topic_id)
            name = topic.name or (known.name if known else "")
            for data in topic.partition_data:
                batch = read_batch(joined_records(data.records or b""))
                keys.append((batch.producer_id, batch.producer_epoch, batch.base_sequence, name, data.index))
        return keys

    def _appends(self, request: ReceivedRequest) -> bool:
        """Whether a request is about one batch of a producer with numbers, which its broker will take."""
        return len(self._keys(request)) == 1 and self._world.plan.idempotent and not self._has(request)

    def _has(self, request: ReceivedRequest) -> bool:
        """Whether every batch of a request is in a log."""
        keys = self._keys(request)
        logs = [each.log for topic in self._cluster.topics.values() for each in topic.partitions]
        lying = {
            (r.producer_id, r.producer_epoch, r.sequence, log.topic, log.partition)
            for log in logs
            for r in log.records
        }
        return all(key in lying for key in keys)

    def _is_news(self, request: ReceivedRequest) -> bool:
        attempts: dict[tuple[Any, ...], int] = {}
        for partition in self._world.engine.accumulator.partitions():
            for each in partition.in_flight:
                key = (each.producer_id, each.producer_epoch, each.base_sequence)
                attempts[*key, partition.topic, partition.partition] = each.attempts
        return all(attempts.get(key) == 1 for key in self._keys(request))

    # -- brokers and leaders --------------------------------------------------------------------------------------

    def _stop_broker(self, broker: int, *, propagate: bool) -> None:
        self._cluster.stop_broker(broker, propagate=propagate)

    def _start_broker(self, broker: int, *, propagate: bool) -> None:
        self._cluster.start_broker(broker, propagate=propagate)

    def _pause_broker(self, broker: int) -> None:
        self._cluster.pause_broker(broker)

    def _resume_broker(self, broker: int) -> None:
        self._cluster.resume_broker(broker)

    def _move_leader(self, topic: str, partition: int, to: int, *, propagate: bool) -> None:
        found = self._cluster.topics.get(topic)
        is_there = found is not None and partition < len(found.partitions)
        if is_there and (to < 0 or self._cluster.brokers[to].is_up):
            self._cluster.move_leader(topic, partition, to, propagate=propagate)

    def _drop_connections(self, broker: int | None) -> None:
        self._cluster.drop_connections(broker)

    def _propagate(self) -> None:
        self._cluster.propagate()

    def _handshake(self, broker: int | None) -> None:
        self._cluster.fail("ApiVersions", broker=broker, disconnect=True)

    def _leave(self, how: str) -> None:
        self.is_away = True
        for node_id in self._cluster.brokers:
            if how == "stop":
                self._cluster.stop_broker(node_id, propagate=False)
            elif how == "pause":
                self._cluster.pause_broker(node_id)
        if how == "stall":
            self._cluster.fail("Produce", times=None, cut_at=0, stall=True)

    # -- other requests -------------------------------------------------------------------------------------------

    def _metadata_code(self, **options: Any) -> None:
        self._cluster.fail("Metadata", **options)

    _metadata_trouble = _metadata_refusal = _metadata_code

    def _init_code(self, **options: Any) -> None:
        self._cluster.fail("InitProducerId", **options)

    _init_trouble = _init_code

    def _late_epoch(self) -> None:
        """The next producer id comes with nearly the last epoch there is."""

        def edit(response: Any) -> None:
            if not response.error_code:
                response.producer_epoch = LATE_EPOCH

        self._cluster.fail("InitProducerId", edit=edit)

    # -- topics ---------------------------------------------------------------------------------------------------

    def _add_partitions(self, topic: str, partition: int, share: float) -> None:
        if found := self._cluster.topics.get(topic):
            self._cluster.add_partitions(topic, len(found.partitions) + 1 + partition % 2)

    def _delete_records(self, topic: str, partition: int, share: float) -> None:
        found = self._cluster.topics.get(topic)
        if found is None or partition >= len(found.partitions):
            return
        log = found.partitions[partition].log
        before = int(log.next_offset * share)
        self._deleted.setdefault(log, []).extend(record for record in log.records if record.offset < before)
        self._cluster.delete_records(topic, partition, before)

    def _forget(self, topic: str, partition: int, share: float) -> None:
        """Forget the producers of a partition, if nothing is under way there: a broker does after a day without any."""
        busy = any(
            (each.topic, each.partition) == (topic, partition) and (each.in_flight or each.on_wire)
            for each in self._world.engine.accumulator.partitions()
        )
        if busy or any(broker.unread_requests for broker in self._cluster.brokers.values()):
            self._world.note("busy")
            return
        self._cluster.forget_producers(topic, partition)

    def _recreate(self, topic: str, partition: int, share: float) -> None:
        """Delete a topic, or create it again with more partitions, or fewer."""
        found = self._cluster.topics.get(topic)
        if found is not None:
            self._most_partitions[topic] = max(len(found.partitions), self._most_partitions.get(topic, 0))
            self._gone += [each.log for each in found.partitions]
            self._cluster.delete_topic(topic)
            if share < 0.5:
                return
        self._cluster.create_topic(topic, 1 + int(share * 8))


def _leave_one_out(response: Any) -> None:
    """Take the first partition out of a Produce response."""
    for topic in response.responses:
        if topic.partition_responses:
            del topic.partition_responses[0]
            return
