"""The pool and the refresher against a real Kafka: topics made on demand, leaders that die and come back."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import anyio
import pytest

from krafka._io.brokers import BrokerPool
from krafka._io.connection import Connection, ConnectionOptions
from krafka._io.metadata import MetadataRefresher
from krafka._io.transport import TcpConnector
from krafka._wire.metadata import MetadataRequest
from krafka.config import ProducerConfig
from krafka.errors import ConnectionFailedError, InvalidTopicError, MetadataTimeoutError, NetworkError
from krafka.retry import kafka_policy
from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from krafka._state.cluster import Cluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]


@pytest.fixture(scope="module")
def three_brokers() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(3)
    with cluster.sync:
        yield cluster


class Client:
    """A pool, a refresher, and an event per snapshot."""

    def __init__(self, pool: BrokerPool, config: ProducerConfig) -> None:
        self.pool = pool
        self.changed = anyio.Event()
        self.refresher = MetadataRefresher(
            pool, config, still_used=lambda name: True, on_update=self._on_update
        )

    def _on_update(self, cluster: Cluster) -> None:
        self.changed.set()
        self.changed = anyio.Event()


@contextlib.asynccontextmanager
async def client(bootstrap: str) -> AsyncIterator[Client]:
    config = ProducerConfig(bootstrap_servers=bootstrap)
    connector = TcpConnector(connect_timeout=config.connect_timeout)

    def open_connection(address: tuple[str, int], node_id: int | None) -> Connection:
        return Connection(address, connector, ConnectionOptions(), node_id=node_id)

    async with anyio.create_task_group() as tasks:
        pool = BrokerPool(
            config.bootstrap_servers,
            open_connection,
            tasks,
            backoff=kafka_policy(config.reconnect_backoff, config.reconnect_backoff_max),
        )
        made = Client(pool, config)
        tasks.start_soon(made.refresher.run)
        yield made
        await pool.close()
        tasks.cancel_scope.cancel()


def fresh_name() -> str:
    return f"topic-{uuid.uuid4().hex[:12]}"


async def test_a_topic_is_made_on_demand_and_every_leader_answers(three_brokers: KafkaCluster) -> None:
    # The first address is dead: port 1 of this machine has no listener.
    async with client(f"127.0.0.1:1,{three_brokers.bootstrap}") as at:
        topic = await at.refresher.wait_for_topic(fresh_name(), anyio.current_time() + 90, 5)
        assert len(topic.partitions) == 6
        assert topic.topic_id != bytes(16)
        with anyio.fail_after(90):
            while at.refresher.needs_refresh():
                await at.changed.wait()
        assert set(at.refresher.cluster.brokers) == {1, 2, 3}
        for node_id in (1, 2, 3):
            connection = await at.pool.connection(node_id)
            response = await connection.request(MetadataRequest(topics=[]))
            assert response.cluster_id == at.refresher.cluster.cluster_id
        assert at.pool.connections_created == 3, "the bootstrap connection was not adopted"


async def test_names_that_are_not_legal_and_partitions_that_do_not_exist(three_brokers: KafkaCluster) -> None:
    async with client(three_brokers.bootstrap) as at:
        with pytest.raises(InvalidTopicError, match="no spaces please"):
            await at.refresher.wait_for_topic("no spaces please", anyio.current_time() + 90)
        name = fresh_name()
        await at.refresher.wait_for_topic(name, anyio.current_time() + 90)
        with pytest.raises(MetadataTimeoutError, match=r"has 6 partition\(s\), and no partition 6"):
            await at.refresher.wait_for_topic(name, anyio.current_time() + 1, 6)


async def test_the_leader_dies_and_another_takes_over(three_brokers: KafkaCluster) -> None:
    async with client(three_brokers.bootstrap) as at:
        name = fresh_name()
        await at.refresher.wait_for_topic(name, anyio.current_time() + 90)
        with anyio.fail_after(120):
            while (leader := at.refresher.cluster.leader(name, 0)) is None:
                await at.changed.wait()
            connection = await at.pool.connection(leader.node_id)
            await anyio.to_thread.run_sync(three_brokers.sync.kill, leader.node_id)
            try:
                with pytest.raises(NetworkError):
                    await connection.request(MetadataRequest(topics=[]))
                assert at.pool.usable(leader.node_id) is None
                with pytest.raises(ConnectionFailedError, match="refused"):
                    await at.pool.connection(leader.node_id)
                while at.refresher.cluster.leader(name, 0) in (leader, None):
                    at.refresher.request_update()
                    with anyio.move_on_after(0.2):
                        await at.changed.wait()
                successor = at.refresher.cluster.leader(name, 0)
                assert successor is not None
                assert (await at.pool.connection(successor.node_id)).is_usable
            finally:
                await anyio.to_thread.run_sync(three_brokers.sync.restart, leader.node_id)
            assert (await at.pool.any_connection()).is_usable
