"""What is done to three brokers, and how they are made whole again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from random import Random

    from krafka.testing import KafkaCluster

HEAL_SECONDS = 120.0


async def kill_by_turns(kafka: KafkaCluster, random: Random, rounds: int = 3) -> None:
    """Kill one broker after the other with SIGKILL; each is back before the next goes, in sync or not."""
    for node_id in _turns(kafka, random, rounds):
        await kafka.kill(node_id)
        # Longer than a broker's session now and then, so that leaders move, and shorter, so that they do not.
        await anyio.sleep(random.choice([0.2, 5.5]))
        await kafka.restart(node_id)
        await anyio.sleep(random.uniform(0.5, 2))


async def pause_by_turns(kafka: KafkaCluster, random: Random, rounds: int = 2) -> None:
    """Hang one broker after the other, for less than its session, and for longer than that and the request timeout."""
    for node_id in _turns(kafka, random, rounds):
        await kafka.pause(node_id)
        await anyio.sleep(random.choice([1.0, 6.0]))
        await kafka.resume(node_id)
        await anyio.sleep(random.uniform(0.5, 2))


async def roll(kafka: KafkaCluster, random: Random, rounds: int = 3) -> None:
    """Stop and start one broker after the other cleanly, as an upgrade does."""
    for node_id in _turns(kafka, random, rounds):
        await kafka.stop(node_id)
        await kafka.restart(node_id)
        await anyio.sleep(random.uniform(0.5, 1.5))


def _turns(kafka: KafkaCluster, random: Random, rounds: int) -> list[int]:
    nodes = list(kafka.node_ids)
    random.shuffle(nodes)
    return [nodes[number % len(nodes)] for number in range(rounds)]


async def kill_all(kafka: KafkaCluster) -> None:
    """Take the whole cluster away."""
    for node_id in kafka.node_ids:
        await kafka.kill(node_id)


async def revive(kafka: KafkaCluster) -> None:
    """Start and resume whatever does not run, all together: one broker of three alone has no quorum."""
    await anyio.to_thread.run_sync(revive_blocking, kafka)


def revive_blocking(kafka: KafkaCluster) -> None:
    """As `revive`, for fixtures."""
    for node_id in kafka.node_ids:
        broker = kafka.sync.broker(node_id)
        if broker.ending:
            # A test that ran out of time left it so: it would be gone while everybody waits for it to be ready.
            broker.kill()
        if not broker.running:
            broker.start()
        elif not broker.responsive:
            broker.resume()
    kafka.sync.wait_until_ready()


async def heal(kafka: KafkaCluster, topic: str) -> None:
    """Revive every broker and wait until all replicas of the topic are in sync: then the log is what stays."""
    await revive(kafka)
    with anyio.fail_after(HEAL_SECONDS):
        while any(len(replicas) < 3 for replicas in (await kafka.in_sync_replicas(topic)).values()):  # noqa: ASYNC110 - the brokers have no event to wait for
            await anyio.sleep(0.1)
