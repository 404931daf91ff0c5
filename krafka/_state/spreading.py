"""How the records of a producer's topics are spread over partitions: what each topic's buffer needs for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._speedups.topic_buffer import TopicBuffer
from krafka.partitioners import rule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._state.partition import Node, Partition
    from krafka.partitioners import Partitioner, RecordPartitioner


def buffers_for(
    partitioner: Partitioner | RecordPartitioner, seed: Callable[[], int] | None
) -> Callable[[str], TopicBuffer[Partition]]:
    """What makes a topic's buffer. `seed` gives 64 random bits; without it every topic's chance is the same."""
    rule = rule_of(partitioner)
    if rule is None:
        return lambda topic: TopicBuffer(topic, partitioner)
    if seed is None or not rule.draws:
        return lambda topic: TopicBuffer(topic, rule, loads=leader_loads)
    return lambda topic: TopicBuffer(topic, rule, loads=leader_loads, seed=seed())


def leader_loads(partitions: list[Partition]) -> list[int]:
    """How much waits for each partition's leader, in batches: of these partitions, sent ones included, and of others.

    Of the others it counts only how many have something to send, which costs nothing to know.
    """
    loads: dict[Node | None, int] = {}
    for partition in partitions:
        node = partition.node
        before = loads.get(node)
        if before is None:
            before = 0 if node is None else len(node.ready)
        loads[node] = before + len(partition.pending) + partition.on_wire
    return [loads[partition.node] for partition in partitions]
