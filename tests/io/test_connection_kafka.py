"""A connection to a real Kafka: the handshake, requests, and what a wrong choice of TLS is told."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import anyio
import pytest

from krafka._io.connection import Connection, ConnectionOptions
from krafka._io.transport import TcpConnector
from krafka._wire.metadata import MetadataRequest
from krafka.errors import AuthenticationError, ConnectionFailedError
from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]


@pytest.fixture(scope="module")
def tls_cluster() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(tls=True)
    with cluster.sync:
        yield cluster


def address_of(bootstrap: str) -> tuple[str, int]:
    host, port = bootstrap.split(",", maxsplit=1)[0].rsplit(":", 1)
    return host, int(port)


async def ask_for_brokers(bootstrap: str, tls: ssl.SSLContext | None) -> list[tuple[str, int]]:
    connection = Connection(
        address_of(bootstrap), TcpConnector(tls=tls), ConnectionOptions(software_version="0.1.0")
    )
    async with anyio.create_task_group() as task_group:
        await task_group.start(connection.run)
        response = await connection.request(MetadataRequest(topics=[]))
        assert connection.versions is not None
        assert connection.versions.finalized_features["transaction.version"] == 2
        connection.close()
    return [(broker.host, broker.port) for broker in response.brokers]


def trusting(cluster: KafkaCluster) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cluster.ca_pem))


async def test_plaintext(tls_cluster: KafkaCluster) -> None:
    assert await ask_for_brokers(tls_cluster.bootstrap, None) == [address_of(tls_cluster.bootstrap)]


async def test_tls(tls_cluster: KafkaCluster) -> None:
    brokers = await ask_for_brokers(tls_cluster.tls_bootstrap, trusting(tls_cluster))
    assert brokers == [address_of(tls_cluster.tls_bootstrap)]


async def failure(bootstrap: str, tls: ssl.SSLContext | None) -> str:
    connection = Connection(address_of(bootstrap), TcpConnector(tls=tls), ConnectionOptions())
    with pytest.raises((AuthenticationError, ConnectionFailedError)) as caught:
        await connection.run()
    return str(caught.value)


async def test_plaintext_to_the_tls_listener(tls_cluster: KafkaCluster) -> None:
    assert "set tls=True" in await failure(tls_cluster.tls_bootstrap, None)


async def test_tls_to_the_plaintext_listener(tls_cluster: KafkaCluster) -> None:
    assert "is it a PLAINTEXT listener?" in await failure(tls_cluster.bootstrap, trusting(tls_cluster))


async def test_an_authority_the_client_does_not_know(tls_cluster: KafkaCluster) -> None:
    text = await failure(tls_cluster.tls_bootstrap, ssl.create_default_context())
    assert "certificate verify failed" in text
    assert "give that CA" in text
