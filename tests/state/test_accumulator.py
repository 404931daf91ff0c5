"""When batches may go, to which broker, in what order, and what time changes about it."""

from __future__ import annotations

import math
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from krafka._state.accumulator import PATIENCE, RecordAccumulator
from krafka._state.cluster import Broker, Cluster, PartitionMetadata, TopicMetadata
from krafka._state.partition import BatchCodec
from krafka._state.sequences import Sequences
from krafka._state.spreading import buffers_for
from krafka._state.topics import TopicHandling
from krafka.config import ProducerConfig
from krafka.errors import BufferFullError, DeliveryTimeoutError, KafkaError

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._speedups.delivery import Delivery
    from krafka._state.partition import Node, Partition

TOPIC = "orders"
NONE = -1
MUCH = 1 << 20


class World:
    """An accumulator with time, wakes and the cluster in the test's hands."""

    def __init__(
        self,
        *,
        leaders: tuple[int, ...] = (1,),
        idempotent: bool = False,
        compress: Any = None,
        inline_bytes: float = math.inf,
        **options: Any,
    ) -> None:
        self.now = 100.0
        self.elsewhere: list[ProducerBatch] = []
        self.woken: list[int] = []
        self.alarms: list[float] = []
        sequences = Sequences() if idempotent else None
        if sequences is not None:
            sequences.set_identity(7, 0)
        self.config = ProducerConfig(bootstrap_servers="b:9092", idempotent=idempotent, **options)
        codec = BatchCodec(0, compress, inline_bytes)
        handling = TopicHandling(codec, buffers_for(self.config.partitioner, None))
        self.accumulator = RecordAccumulator(
            self.config,
            sequences=sequences,
            handling=lambda _: handling,
            monotonic=lambda: self.now,
            wake=self.woken.append,
            wake_at=self.alarms.append,
            wall_clock=lambda: 1,
            compress_elsewhere=self.elsewhere.extend,
        )
        self.lead(*leaders)

    def lead(self, *leaders: int, epoch: int = 0, topic_id: bytes = bytes(16)) -> None:
        partitions = tuple(PartitionMetadata(n, leader, epoch) for n, leader in enumerate(leaders))
        self.accumulator.update(
            Cluster(
                brokers=MappingProxyType({n: Broker(n, "b", 9092) for n in (1, 2)}),
                topics=MappingProxyType({TOPIC: TopicMetadata(TOPIC, topic_id, partitions)}),
            )
        )

    def forget_topics(self) -> None:
        self.accumulator.update(Cluster(brokers=MappingProxyType({1: Broker(1, "b", 9092)})))

    def append(self, partition: int = 0, size: int = 10) -> Delivery:
        return self.accumulator.appender.append(TOPIC, bytes(size), partition=partition)

    def node(self, node_id: int = 1) -> Node:
        return self.accumulator.nodes[node_id]

    def drain(self, node_id: int = 1, max_bytes: int = MUCH) -> list[ProducerBatch]:
        return self.accumulator.drain(self.node(node_id), self.now, max_bytes)

    def numbers(self, batches: list[ProducerBatch]) -> list[int]:
        return [batch.partition.partition for batch in batches]

    def acknowledge(self, batches: list[ProducerBatch]) -> None:
        for batch in batches:
            self.accumulator.left_wire(batch)
            self.accumulator.acknowledge(batch, 0, -1)
            self.accumulator.settle(batch.partition)

    def send_again(self, batch: ProducerBatch, *, after: float) -> None:
        self.accumulator.left_wire(batch)
        self.accumulator.reenqueue(batch, not_before=self.now + after)
        self.accumulator.settle(batch.partition)

    @property
    def partitions(self) -> list[Partition]:
        return list(self.accumulator.partitions())


class TestLinger:
    def test_without_linger_the_first_record_wakes_its_broker_and_may_go(self) -> None:
        world = World()
        world.append()
        assert world.woken == [1]
        assert world.numbers(world.drain()) == [0]

    def test_records_of_an_open_batch_wake_nobody(self) -> None:
        world = World()
        for _ in range(50):
            world.append()
        assert world.woken == [1]

    def test_without_linger_records_share_a_batch_while_the_wire_is_busy(self) -> None:
        world = World()
        world.append()
        first = world.drain()
        for _ in range(5):
            world.append()
        assert world.drain() == []
        world.acknowledge(first)
        (second,) = world.drain()
        assert second.record_count == 5

    def test_a_lingering_batch_goes_when_its_time_is_up_and_not_before(self) -> None:
        world = World(linger=0.5)
        world.append()
        assert world.woken == []
        assert 100.5 in world.alarms
        world.now = 100.25
        assert world.accumulator.advance(world.now) == []
        assert world.woken == []
        world.now = 100.5
        world.accumulator.advance(world.now)
        assert world.woken == [1]
        assert world.numbers(world.drain()) == [0]

    def test_the_next_alarm_is_for_the_next_lingering_batch(self) -> None:
        world = World(leaders=(1, 1), linger=0.5)
        world.append(0)
        world.now = 100.25
        world.append(1)
        world.now = 100.5
        world.alarms.clear()
        world.accumulator.advance(world.now)
        assert 100.75 in world.alarms
        assert world.numbers(world.drain()) == [0]

    def test_a_full_batch_does_not_linger(self) -> None:
        world = World(linger=10.0, batch_size=500)
        world.append(size=400)
        assert world.woken == []
        world.append(size=400)
        assert world.woken == [1]
        (batch,) = world.drain()
        assert batch.record_count == 1

    def test_a_record_as_large_as_a_batch_does_not_linger(self) -> None:
        world = World(linger=10.0, batch_size=500)
        world.append(size=5000)
        assert world.woken == [1]
        assert len(world.drain()) == 1

    def test_somebody_who_waits_ends_the_linger(self) -> None:
        world = World(linger=10.0)
        world.append()
        (batch,) = world.accumulator.incomplete
        world.accumulator.expedite()
        world.accumulator.expedite()
        assert world.woken == [1]
        assert world.drain() == [batch]
        world.accumulator.expedite()
        assert world.woken == [1]

    def test_nothing_lingers_while_others_wait_for_memory(self) -> None:
        world = World(linger=10.0)
        world.accumulator.memory.join(world.config.buffer_memory, lambda: None)
        waiting = world.accumulator.memory.join(1000, lambda: None)
        world.accumulator.appender.append_granted(TOPIC, b"x", None, None, 0, None, world.now, 1000)
        assert world.woken == [1]
        world.accumulator.memory.leave(waiting)


class TestDraining:
    def test_one_batch_a_partition_in_one_request(self) -> None:
        world = World(leaders=(1, 1, 1), batch_size=200)
        for partition in range(3):
            for _ in range(3):
                world.append(partition, 120)
        assert sorted(world.numbers(world.drain())) == [0, 1, 2]

    def test_every_partition_gets_its_turn(self) -> None:
        world = World(leaders=(1,) * 4, idempotent=True, batch_size=200)
        for partition in range(4):
            world.append(partition, 120)
        world.acknowledge(world.drain())
        for partition in range(4):
            for _ in range(4):
                world.append(partition, 120)
        turns = []
        for _ in range(8):
            batches = world.drain(max_bytes=300)
            assert len(batches) == 2
            turns += world.numbers(batches)
        assert [sorted(turns[at : at + 4]) for at in range(0, 16, 4)] == [[0, 1, 2, 3]] * 4

    def test_a_request_holds_what_fits_but_one_batch_at_least(self) -> None:
        world = World(leaders=(1,) * 3)
        for partition in range(3):
            world.append(partition, 1000)
        assert len(world.drain(max_bytes=1)) == 1
        assert len(world.drain(max_bytes=2500)) == 2

    def test_what_did_not_fit_goes_first_next_time(self) -> None:
        world = World(leaders=(1,) * 3)
        for partition, size in enumerate((1000, 3000, 10)):
            world.append(partition, size)
        assert world.numbers(world.drain(max_bytes=2000)) == [0]
        assert world.numbers(world.drain(max_bytes=MUCH)) == [1, 2]

    def test_without_sequence_numbers_one_batch_of_a_partition_is_on_the_wire(self) -> None:
        world = World(batch_size=200)
        for _ in range(3):
            world.append(size=120)
        first = world.drain()
        assert len(first) == 1
        assert world.drain() == []
        world.acknowledge(first)
        assert len(world.drain()) == 1

    def test_without_answers_nothing_waits_for_them(self) -> None:
        world = World(acks="none", batch_size=200)
        for _ in range(3):
            world.append(size=120)
        assert [len(world.drain()) for _ in range(4)] == [1, 1, 1, 0]

    def test_a_batch_is_compressed_once(self) -> None:
        calls: list[int] = []

        def compress(records: Any) -> bytes:
            calls.append(len(records))
            return b"compressed"

        world = World(compress=compress)
        world.append()
        (batch,) = world.drain()
        assert batch.body == b"compressed"
        world.send_again(batch, after=0)
        assert world.drain() == [batch]
        assert len(calls) == 1
        world.acknowledge([batch])


def halved(records: Any) -> bytes:
    """What a codec makes of records: half of them."""
    return bytes(records[: len(records) // 2])


class TestCompressionElsewhere:
    def test_a_batch_goes_once_it_comes_back(self) -> None:
        world = World(compress=halved, inline_bytes=0)
        world.append(size=100)
        assert world.drain() == []
        (batch,) = world.elsewhere
        world.woken.clear()
        assert world.drain() == [], "it was sent before it was compressed"
        assert world.elsewhere == [batch], "it was handed over twice"
        world.accumulator.compressed(batch, b"less")
        assert world.woken == [1]
        assert world.drain() == [batch]
        assert batch.body == b"less"

    def test_nothing_passes_it_in_its_partition_and_others_do(self) -> None:
        world = World(leaders=(1, 1), compress=halved, inline_bytes=400, batch_size=700)
        world.append(0, size=600)
        world.append(0, size=100)
        world.append(1, size=100)
        drained = world.drain()
        assert world.numbers(drained) == [1]
        (slow,) = world.elsewhere
        world.acknowledge(drained)
        assert world.drain() == []
        world.accumulator.compressed(slow, b"less")
        assert world.drain() == [slow]

    def test_what_fits_into_a_moment_is_compressed_at_once_and_the_rest_in_the_next_turn(self) -> None:
        world = World(leaders=(1,) * 5, compress=halved, inline_bytes=2500)
        for partition in range(5):
            world.append(partition, size=1000)
        assert world.numbers(world.drain()) == [0, 1]
        assert world.accumulator.needs_turn
        assert world.drain() == []
        world.accumulator.begin_turn()
        assert not world.accumulator.needs_turn
        assert world.numbers(world.drain()) == [2, 3]
        world.accumulator.begin_turn()
        assert world.numbers(world.drain()) == [4]
        assert world.elsewhere == []

    def test_a_moment_is_shared_by_all_brokers(self) -> None:
        world = World(leaders=(1, 2), compress=halved, inline_bytes=1200)
        for partition in range(2):
            world.append(partition, size=1000)
        assert world.numbers(world.drain(1)) == [0]
        assert world.drain(2) == []
        assert world.accumulator.needs_turn
        world.accumulator.begin_turn()
        assert world.numbers(world.drain(2)) == [1]

    def test_a_batch_that_has_to_wait_asks_for_a_turn_however_little_was_compressed(self) -> None:
        world = World(leaders=(1, 1), compress=halved, inline_bytes=1200)
        world.append(0, size=400)
        world.append(1, size=1000)
        assert world.numbers(world.drain()) == [0]
        assert world.accumulator.needs_turn

    def test_one_that_was_compressed_before_costs_nothing_of_the_moment(self) -> None:
        world = World(leaders=(1, 1), compress=halved, inline_bytes=1200)
        world.append(0, size=1000)
        (batch,) = world.drain()
        world.accumulator.begin_turn()
        world.send_again(batch, after=0)
        world.append(1, size=1000)
        assert world.numbers(world.drain()) == [0, 1]
        assert world.elsewhere == []

    def test_one_whose_time_is_up_meanwhile_is_not_sent(self) -> None:
        world = World(compress=halved, inline_bytes=0, delivery_timeout=5.0)
        delivery = world.append(size=100)
        world.drain()
        (batch,) = world.elsewhere
        world.now = 105.0
        for late in world.accumulator.advance(world.now):
            world.accumulator.withdraw(late, DeliveryTimeoutError("late"))
        assert isinstance(delivery.exception, DeliveryTimeoutError)
        world.accumulator.compressed(batch, b"less")
        assert world.drain() == []
        assert world.accumulator.memory.available == world.config.buffer_memory

    def test_the_next_batch_of_the_partition_goes_when_one_was_withdrawn(self) -> None:
        world = World(compress=halved, inline_bytes=800, batch_size=1200)
        world.append(size=1000)
        assert world.drain() == []
        (slow,) = world.elsewhere
        world.append(size=500)
        world.accumulator.withdraw(slow, KafkaError("gone"))
        assert [batch.record_count for batch in world.drain()] == [1]


class TestSeveralCodecs:
    def world(self, *codecs: BatchCodec) -> World:
        world = World(leaders=(1,) * len(codecs), batch_size=1 << 16)
        for partition, codec in zip(world.partitions, codecs, strict=True):
            partition.codec = codec
        return world

    def test_each_batch_is_compressed_with_its_own(self) -> None:
        world = self.world(BatchCodec(1, lambda _: b"one"), BatchCodec(), BatchCodec(4, lambda _: b"four"))
        for partition in range(3):
            world.append(partition)
        first, plain, last = world.drain()
        assert (first.body, last.body) == (b"one", b"four")
        assert bytes(plain.body or b"") == bytes(plain.records)

    def test_they_share_a_moment_by_the_time_they_take(self) -> None:
        fast, slow = BatchCodec(3, halved, 10_000), BatchCodec(1, halved, 1_000)
        world = self.world(slow, fast, slow, fast)
        for partition, size in enumerate((400, 4_000, 400, 100)):
            world.append(partition, size=size)
        assert world.numbers(world.drain()) == [0, 1]
        assert world.accumulator.needs_turn
        world.accumulator.begin_turn()
        assert world.numbers(world.drain()) == [2, 3]

    def test_what_is_not_compressed_waits_for_no_turn(self) -> None:
        world = self.world(BatchCodec(1, halved, 1_000), BatchCodec(), BatchCodec(1, halved, 1_000))
        world.append(0, size=900)
        world.append(2, size=900)
        assert world.numbers(world.drain()) == [0]
        world.append(1, size=5_000)
        world.node().ready.rotate(1)
        assert world.numbers(world.drain()) == [1]
        assert world.accumulator.needs_turn

    def test_what_takes_one_codec_too_long_is_no_trouble_to_another(self) -> None:
        world = self.world(BatchCodec(1, halved, 100), BatchCodec(3, halved, 10_000))
        world.append(0, size=500)
        world.append(1, size=500)
        assert world.numbers(world.drain()) == [1]
        assert [batch.partition.partition for batch in world.elsewhere] == [0]


class TestSizeOnceCompressed:
    def fill(self, world: World, count: int) -> list[int]:
        """Bytes of records in each batch of so many records of 100 bytes."""
        sizes = []
        for _ in range(count):
            world.append(size=100)
        while drained := world.drain():
            sizes += [len(batch.records) for batch in drained]
            world.acknowledge(drained)
        return sizes

    def test_batches_grow_until_they_are_of_batch_size_once_compressed(self) -> None:
        world = World(compress=lambda records: bytes(len(records) // 4), batch_size=1061)
        self.fill(world, 9)
        grown = self.fill(world, 100)
        assert max(grown) > 3800
        assert max(grown) <= 4000

    def test_they_are_as_before_when_records_do_not_compress_any_more(self) -> None:
        share = 4

        def compress(records: Any) -> bytes:
            return bytes(len(records) // share)

        world = World(compress=compress, batch_size=1061)
        self.fill(world, 9)
        share = 1
        self.fill(world, 36)
        assert max(self.fill(world, 100)) <= 1000

    def test_better_compression_is_believed_bit_by_bit(self) -> None:
        share = 1

        def compress(records: Any) -> bytes:
            return bytes(len(records) // share)

        world = World(compress=compress, batch_size=1061)
        self.fill(world, 9)
        share = 10
        first = max(self.fill(world, 9))
        later = [max(self.fill(world, 100)) for _ in range(20)]
        assert first <= 1000
        assert later[0] < later[-1]
        assert later[-1] > 8000

    def test_they_never_outgrow_half_a_request(self) -> None:
        world = World(compress=lambda _: b"1", batch_size=1061, max_request_size=6000)
        self.fill(world, 9)
        assert 2800 < max(self.fill(world, 200)) <= 3000

    def test_nor_what_is_compressed_in_a_moment(self) -> None:
        world = World(compress=lambda _: b"1", batch_size=1061, inline_bytes=4000)
        world.append(size=100)
        world.acknowledge(world.drain())
        for _ in range(200):
            world.accumulator.begin_turn()
            world.append(size=100)
        sizes = []
        while True:
            world.accumulator.begin_turn()
            if not (drained := world.drain()):
                break
            sizes += [len(batch.records) for batch in drained]
            world.acknowledge(drained)
        assert 3800 < max(sizes) <= 4000
        assert world.elsewhere == []

    def test_a_limit_of_the_broker_holds_all_the_same(self) -> None:
        world = World(compress=lambda _: b"1", batch_size=1061)
        self.fill(world, 9)
        world.partitions[0].limit_records(1500)
        assert max(self.fill(world, 200)) <= 1500

    def test_without_a_codec_they_stay_as_they_are(self) -> None:
        world = World(batch_size=1061)
        self.fill(world, 9)
        assert max(self.fill(world, 100)) <= 1000


class TestRetries:
    def test_a_batch_is_held_back_until_its_time(self) -> None:
        world = World()
        world.append()
        (batch,) = world.drain()
        world.send_again(batch, after=0.5)
        assert world.drain() == []
        assert 100.5 in world.alarms
        world.now = 100.5
        world.woken.clear()
        world.accumulator.advance(world.now)
        assert world.woken == [1]
        assert world.drain() == [batch]
        assert batch.attempts == 2

    def test_what_came_later_waits_behind_it(self) -> None:
        world = World()
        world.append()
        (first,) = world.drain()
        world.append()
        world.send_again(first, after=0.5)
        assert world.drain() == []
        world.now = 101.0
        world.accumulator.advance(world.now)
        assert world.drain() == [first]

    def test_batches_come_back_in_the_order_they_were_first_sent(self) -> None:
        world = World(idempotent=True, batch_size=200)
        world.append(size=120)
        world.acknowledge(world.drain())
        for _ in range(4):
            world.append(size=120)
        first, second, third, fourth = (world.drain()[0] for _ in range(4))
        for batch in (third, first, fourth, second):
            world.accumulator.left_wire(batch)
            world.accumulator.reenqueue(batch, not_before=0.0)
        assert list(world.partitions[0].pending) == [first, second, third, fourth]

    def test_a_new_leader_is_not_made_to_wait_for_what_the_old_one_refused(self) -> None:
        world = World()
        world.append()
        (batch,) = world.drain()
        world.send_again(batch, after=5.0)
        world.lead(2, epoch=1)
        assert world.drain(2) == [batch]


class TestLeaders:
    def test_without_a_leader_metadata_is_asked_for_and_the_record_waits(self) -> None:
        world = World(leaders=(NONE,))
        world.append()
        assert world.woken == [NONE]
        world.lead(1)
        assert world.woken == [NONE, 1]
        assert len(world.drain()) == 1

    def test_an_unknown_broker_is_no_leader(self) -> None:
        world = World(leaders=(99,))
        world.append()
        assert world.woken == [NONE]

    def test_what_was_queued_for_the_old_leader_goes_to_the_new_one(self) -> None:
        world = World()
        world.append()
        world.lead(2, epoch=1)
        assert world.drain(1) == []
        assert len(world.drain(2)) == 1

    def test_the_new_leader_waits_for_the_old_ones_answers(self) -> None:
        world = World(idempotent=True)
        world.append()
        first = world.drain()
        world.acknowledge(first)
        world.append()
        second = world.drain()
        world.append()
        world.lead(2, epoch=1)
        assert world.drain(2) == []
        world.acknowledge(second)
        assert len(world.drain(2)) == 1

    def test_new_partitions_are_added_and_those_known_stay(self) -> None:
        world = World()
        known = world.partitions[0]
        world.lead(1, 2)
        assert world.partitions[0] is known
        world.append(1)
        assert len(world.drain(2)) == 1

    @pytest.mark.parametrize("acks", ["all", "none"])
    def test_a_topic_with_records_outlives_its_metadata(self, acks: str) -> None:
        world = World(acks=acks)
        world.append()
        world.forget_topics()
        assert not world.accumulator.is_idle(TOPIC)
        batches = world.drain()
        world.forget_topics()
        assert TOPIC in world.accumulator.appender.topics
        world.acknowledge(batches)
        world.forget_topics()
        assert TOPIC not in world.accumulator.appender.topics
        assert world.accumulator.is_idle(TOPIC)

    def test_records_of_a_partition_that_is_no_more_are_not_lost_sight_of(self) -> None:
        world = World(leaders=(1, 1))
        delivery = world.append(1)
        world.lead(1)
        (batch,) = world.drain()
        # Grown again, the topic has the partition it had, and one buffer for it, not two.
        world.lead(1, 1)
        assert world.partitions[1] is batch.partition
        world.acknowledge([batch])
        assert delivery.metadata is not None

    def test_queues_are_cleared_of_partitions_with_nothing_to_send(self) -> None:
        world = World(leaders=(1, 1))
        world.append(0)
        world.append(1)
        batch = next(iter(world.accumulator.incomplete))
        world.accumulator.withdraw(batch, KafkaError("gone"))
        world.accumulator.prune(world.node())
        assert [partition.partition for partition in world.node().ready] == [1]
        world.append(0)
        assert sorted(world.numbers(world.drain())) == [0, 1]


class TestDeadlines:
    def test_a_batch_is_named_when_its_deadline_comes_and_not_before(self) -> None:
        world = World(delivery_timeout=10.0)
        world.append()
        assert 110.0 in world.alarms
        assert world.accumulator.advance(109.9) == []
        (batch,) = world.accumulator.advance(110.0)
        assert batch.deadline == 110.0

    def test_the_alarm_is_set_for_the_next_deadline(self) -> None:
        world = World(leaders=(1, 1), delivery_timeout=10.0)
        world.append(0)
        world.now = 105.0
        world.append(1)
        world.alarms.clear()
        (batch,) = world.accumulator.advance(110.0)
        world.accumulator.withdraw(batch, DeliveryTimeoutError("too late"))
        assert 115.0 in world.alarms

    def test_a_record_that_waited_long_is_not_kept_longer_than_it_may_be(self) -> None:
        # It joins a batch that was opened while it waited, and whose own deadline is later.
        world = World(delivery_timeout=10.0)
        world.append()
        world.alarms.clear()
        world.accumulator.appender.append_granted(TOPIC, b"x", None, None, 0, None, 95.0, 0)
        assert 105.0 in world.alarms
        assert len(world.accumulator.advance(105.0)) == 1

    def test_withdrawn_before_it_is_sent_it_gives_its_memory_back(self) -> None:
        world = World()
        delivery = world.append()
        (batch,) = world.accumulator.incomplete
        world.accumulator.withdraw(batch, DeliveryTimeoutError("too late"))
        assert isinstance(delivery.exception, DeliveryTimeoutError)
        assert world.accumulator.memory.available == world.config.buffer_memory
        assert world.drain() == []
        assert not world.accumulator.incomplete

    @pytest.mark.parametrize("acknowledged", [True, False])
    def test_withdrawn_on_the_wire_it_holds_its_memory_until_the_answer(self, acknowledged: bool) -> None:
        world = World()
        delivery = world.append()
        (batch,) = world.drain()
        world.accumulator.withdraw(batch, DeliveryTimeoutError("too late", possibly_written=True))
        assert isinstance(delivery.exception, DeliveryTimeoutError)
        assert world.accumulator.memory.available < world.config.buffer_memory
        world.accumulator.left_wire(batch)
        if acknowledged:
            world.accumulator.acknowledge(batch, 5, -1)
        else:
            world.accumulator.fail(batch, KafkaError("refused"), refused=True)
        assert world.accumulator.memory.available == world.config.buffer_memory
        assert isinstance(delivery.exception, DeliveryTimeoutError)

    def test_nothing_to_wait_for_sets_no_alarm(self) -> None:
        world = World()
        assert world.accumulator.advance(1e9) == []
        assert world.alarms == []

    def test_no_limit_is_no_alarm(self) -> None:
        world = World(delivery_timeout=math.inf)
        world.append()
        assert [at for at in world.alarms if at < math.inf] == []
        assert world.accumulator.advance(1e12) == []


def test_memory_that_comes_back_goes_to_who_waits() -> None:
    world = World(buffer_memory=3000, batch_size=1000, leaders=(1, 1, 1, 1))
    full: BufferFullError | None = None
    for partition in range(4):
        try:
            world.append(partition, 900)
        except BufferFullError as error:
            full = error
    assert full is not None
    granted: list[bool] = []
    ticket = world.accumulator.memory.join(full.needed, lambda: granted.append(True))
    assert granted == []
    world.acknowledge(world.drain())
    assert granted == [True]
    assert ticket.granted == full.needed
    world.accumulator.memory.leave(ticket)
    assert world.accumulator.memory.available == 3000


class TestDivision:
    def started(self, records: int = 8, **options: Any) -> tuple[World, ProducerBatch]:
        world = World(idempotent=True, linger=1.0, **options)
        world.append()
        world.accumulator.expedite()
        world.acknowledge(world.drain())
        for _ in range(records):
            world.append(size=100)
        return world, self.next(world)

    def next(self, world: World) -> ProducerBatch:
        world.accumulator.expedite()
        (batch,) = world.drain()
        return batch

    def test_parts_go_in_its_place_under_its_numbers(self) -> None:
        world, batch = self.started()
        world.append(size=100)
        behind = self.next(world)
        world.append(size=100)
        last = self.next(world)
        world.accumulator.left_wire(batch)
        world.accumulator.divide(batch)
        world.accumulator.settle(batch.partition)
        world.send_again(behind, after=0)
        world.send_again(last, after=0)
        sent: list[tuple[int, int]] = []
        while batches := world.drain():
            sent += [(each.base_sequence, each.record_count) for each in batches]
            world.acknowledge(batches)
        # Each takes up where the one before it ended, under the epoch it had.
        assert sent[0][0] == 1
        assert all(number + count == after for (number, count), (after, _) in pairwise(sent))
        assert sum(count for _, count in sent) == 10
        assert [each.base_sequence for each in (behind, last)] == [9, 10]
        assert world.accumulator.sequences is not None
        assert world.accumulator.sequences.producer_epoch == 0
        assert not world.accumulator.incomplete
        assert world.accumulator.memory.available == world.config.buffer_memory

    def test_numbers_left_over_are_given_again_if_they_were_the_last(self) -> None:
        world, batch = self.started()
        world.accumulator.left_wire(batch)
        world.accumulator.fail_named(batch, KafkaError("x"), {2: KafkaError("a"), 5: KafkaError("b")})
        world.accumulator.settle(batch.partition)
        rest = self.next(world)
        assert (rest.base_sequence, rest.record_count, rest.producer_epoch) == (1, 6, 0)
        world.acknowledge([rest])
        world.append()
        assert self.next(world).base_sequence == 7

    def test_numbers_left_over_before_others_take_a_new_epoch(self) -> None:
        world, batch = self.started()
        world.append()
        behind = self.next(world)
        world.accumulator.left_wire(batch)
        world.accumulator.fail_named(batch, KafkaError("x"), {2: KafkaError("a")})
        world.accumulator.settle(batch.partition)
        assert world.drain() == []
        world.send_again(behind, after=0)
        rest = self.next(world)
        assert (rest.base_sequence, rest.record_count, rest.producer_epoch) == (0, 7, 1)
        assert (behind.base_sequence, behind.producer_epoch) == (7, 1)
        world.acknowledge([rest])
        assert self.next(world) is behind

    def test_numbers_wrap_within_the_parts(self) -> None:
        world, batch = self.started()
        batch.partition.next_sequence = 3
        batch.base_sequence = 2**31 - 5
        world.accumulator.left_wire(batch)
        world.accumulator.divide(batch)
        numbers = [(part.base_sequence, part.record_count) for part in batch.partition.in_flight]
        assert numbers == [(2**31 - 5, 4), (2**31 - 1, 4)]

    def test_without_numbers_the_parts_keep_their_order(self) -> None:
        world = World(linger=1.0)
        deliveries = [world.append(size=100) for _ in range(8)]
        batch = self.next(world)
        world.append(size=100)
        world.accumulator.left_wire(batch)
        world.accumulator.divide(batch)
        world.accumulator.settle(batch.partition)
        ended: list[int] = []
        while batches := world.drain():
            world.acknowledge(batches)
            ended.append(sum(delivery.done for delivery in deliveries))
        assert ended == [4, 8]

    def test_later_batches_are_no_larger_than_its_parts(self) -> None:
        world, batch = self.started()
        world.accumulator.left_wire(batch)
        size = len(batch.records)
        world.accumulator.divide(batch)
        for _ in range(20):
            world.append(size=100)
        assert len(world.partitions[0].pending) > 5
        assert all(len(each.records) <= size // 2 for each in world.partitions[0].pending)
        assert world.partitions[0].open_batch is not None
        assert len(world.partitions[0].open_batch.records) <= size // 2

    def test_a_part_that_expires_before_it_was_sent_again_leaves_its_numbers_in_doubt(self) -> None:
        world, batch = self.started()
        world.accumulator.left_wire(batch)
        world.accumulator.divide(batch)
        world.accumulator.settle(batch.partition)
        first = self.next(world)
        for part in list(world.accumulator.incomplete):
            if part is not first:
                world.accumulator.withdraw(part, DeliveryTimeoutError("late"))
        assert not batch.done
        world.acknowledge([first])
        assert batch.done
        world.append()
        assert self.next(world).producer_epoch == 1
        assert world.accumulator.memory.available < world.config.buffer_memory

    def test_batches_that_were_full_before_are_divided_before_they_are_sent(self) -> None:
        world, batch = self.started(batch_size=1000)
        size = len(batch.records)
        for _ in range(20):
            world.append(size=100)
        world.accumulator.left_wire(batch)
        world.accumulator.divide(batch)
        sent: list[tuple[int, int]] = []
        while batches := world.drain():
            (each,) = batches
            assert len(each.records) <= size // 2
            assert each.attempts == 1
            sent.append((each.base_sequence, each.record_count))
            world.acknowledge(batches)
        assert all(number + count == after for (number, count), (after, _) in pairwise(sent))
        assert sum(count for _, count in sent) == 28 - sum(
            delivery.records.count for delivery in world.accumulator.incomplete
        )


class TestTopicMadeAnew:
    def acknowledged(self, topic_id: bytes) -> World:
        world = World(idempotent=True)
        world.lead(1, topic_id=topic_id)
        world.append()
        world.acknowledge(world.drain())
        return world

    def under_way(self, world: World) -> int:
        for _ in range(3):
            world.append()
            world.drain()
        return world.partitions[0].on_wire

    def test_one_batch_goes_ahead_of_the_others_in_its_empty_log(self) -> None:
        world = self.acknowledged(b"1" * 16)
        world.lead(1, topic_id=b"2" * 16)
        assert self.under_way(world) == 1
        world.acknowledge(list(world.partitions[0].in_flight))
        assert self.under_way(world) == 3

    def test_under_the_same_id_they_go_together(self) -> None:
        world = self.acknowledged(b"1" * 16)
        world.lead(1, topic_id=b"1" * 16)
        assert self.under_way(world) == 3

    @pytest.mark.parametrize("before", [bytes(16), b"1" * 16])
    def test_an_id_that_is_not_told_says_nothing(self, before: bytes) -> None:
        world = self.acknowledged(before)
        world.lead(1, topic_id=bytes(16))
        assert self.under_way(world) == 3


def test_a_little_memory_goes_to_who_waits_after_a_moment() -> None:
    world = World()
    memory = world.accumulator.memory
    everything = memory.join(world.config.buffer_memory, lambda: None)
    granted: list[bool] = []
    ticket = memory.join(1000, lambda: granted.append(True))
    del world.alarms[:]
    memory.release(2000)
    assert granted == []
    assert world.alarms == [world.now + PATIENCE]
    world.now += PATIENCE
    world.accumulator.advance(world.now)
    assert granted == [True]
    assert ticket.granted == 1000
    everything.granted -= 2000
    memory.leave(ticket)
    memory.leave(everything)
    assert memory.available == world.config.buffer_memory
