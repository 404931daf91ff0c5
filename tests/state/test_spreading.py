"""What a topic's buffer is made with, and how much waits for each partition's leader."""

from __future__ import annotations

from krafka._speedups.batch import ProducerBatch
from krafka._state.partition import Node, Partition
from krafka._state.spreading import buffers_for, leader_loads
from krafka.partitioners import DefaultPartitioner, Fnv1aPartitioner, UniformStickyPartitioner

TOPIC = "orders"


def led_by(*nodes: Node | None) -> list[Partition]:
    partitions = [Partition(TOPIC, number) for number in range(len(nodes))]
    for partition, node in zip(partitions, nodes, strict=True):
        partition.node = node
    return partitions


def batches(count: int) -> list[ProducerBatch]:
    return [ProducerBatch(Partition(TOPIC, 0), 10, 0.0, 1.0) for _ in range(count)]


def test_partitions_of_one_leader_share_its_load() -> None:
    one, two = Node(1), Node(2)
    partitions = led_by(one, two, one)
    partitions[0].pending.extend(batches(3))
    partitions[2].on_wire = 2
    assert leader_loads(partitions) == [5, 0, 5]


def test_what_waits_of_other_topics_counts_too() -> None:
    one, two = Node(1), Node(2)
    partitions = led_by(one, two)
    two.ready.extend([Partition("other", 0), Partition("other", 1)])
    partitions[0].pending.extend(batches(1))
    assert leader_loads(partitions) == [1, 2]


def test_what_nobody_leads_has_its_own() -> None:
    partitions = led_by(None, None)
    partitions[1].pending.extend(batches(4))
    assert leader_loads(partitions) == [4, 4]


def test_a_seed_is_drawn_for_each_topic_where_chance_decides() -> None:
    drawn: list[int] = []

    def seed() -> int:
        drawn.append(len(drawn))
        return drawn[-1]

    make = buffers_for(DefaultPartitioner(), seed)
    make("a")
    assert drawn == []
    for partitioner in (Fnv1aPartitioner(), UniformStickyPartitioner()):
        make = buffers_for(partitioner, seed)
        assert [make(topic).topic for topic in ("a", "b")] == ["a", "b"]
    assert drawn == [0, 1, 2, 3]
    assert buffers_for(Fnv1aPartitioner(), None)("a").partitions == []


def test_another_partitioner_is_asked_by_the_buffer() -> None:
    class First:
        def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
            return 0

    assert buffers_for(First(), None)("a").topic == "a"
