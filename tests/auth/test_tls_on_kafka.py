"""TLS with a real Kafka: who is trusted, who has to show a certificate, and what is said of a wrong one."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from secured import PASSWORD, USER, secured

from krafka import Producer
from krafka.auth import Plain, TlsConfig
from krafka.errors import AuthenticationError, MetadataTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Certificates:
    """An authority of the test's own, since a certificate that has expired is to be of the same as one that has not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        self.stranger = folder / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(self.stranger)
        self.server = self._issue("server", "localhost", "127.0.0.1")
        self.expired_server = self._issue("expired", "localhost", "127.0.0.1", past=True)
        self.client = self._issue("client", "client@example.org")
        self.expired_client = self._issue("expired-client", "client@example.org", past=True)

    def _issue(self, name: str, *hosts: str, past: bool = False) -> Path:
        times: dict[str, Any] = (
            {"not_before": PAST, "not_after": PAST + datetime.timedelta(days=1)} if past else {}
        )
        issued = self._authority.issue_cert(*hosts, **times)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(key + b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka_with_certificates(certificates: Certificates) -> Iterator[KafkaCluster]:
    cluster = secured(
        listeners={"EXPIRED": "SSL"},
        **{
            "ssl.keystore.location": str(certificates.server),
            "ssl.truststore.location": str(certificates.ca),
            "listener.name.expired.ssl.keystore.location": str(certificates.expired_server),
            "listener.name.expired.ssl.keystore.type": "PEM",
        },
    )
    with cluster.sync:
        cluster.sync.create_topic("certified", partitions=1)
        yield cluster


async def test_a_client_certificate_is_who_this_client_is(
    kafka_with_certificates: KafkaCluster, certificates: Certificates
) -> None:
    tls = TlsConfig(ca=certificates.ca, certificate=certificates.client)
    async with Producer(kafka_with_certificates.tls_bootstrap, tls=tls) as producer:
        written = await producer.send("certified", b"by certificate")
    there = {each.offset: each.value for each in await kafka_with_certificates.read("certified")}
    assert there[written.offset] == b"by certificate"


async def test_sasl_inside_of_tls(kafka_with_certificates: KafkaCluster, certificates: Certificates) -> None:
    async with Producer(
        kafka_with_certificates.bootstrap_of("SASL_SSL"),
        tls=TlsConfig(ca=certificates.ca),
        auth=Plain(USER, PASSWORD),
    ) as producer:
        await producer.send("certified", b"by password")


def wrong(name: str, certificates: Certificates) -> tuple[str, TlsConfig | bool]:
    trusting = {"ca": certificates.ca}
    return {
        "none": ("SSL", TlsConfig(**trusting)),
        "expired client": ("SSL", TlsConfig(**trusting, certificate=certificates.expired_client)),
        "expired server": ("EXPIRED", TlsConfig(**trusting, certificate=certificates.client)),
        "stranger": ("SSL", TlsConfig(ca=certificates.stranger, certificate=certificates.client)),
        "system": ("SSL", True),
        "another host": ("SSL", TlsConfig(**trusting, server_name="kafka.example")),
    }[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none", r"client certificate.*tls=TlsConfig\(certificate="),
        ("expired client", r"client's certificate.*(expired|not accept)|not accept.*client's certificate"),
        ("expired server", "the broker's certificate has expired"),
        ("stranger", "unknown CA; give that CA as"),
        ("system", "unknown CA; give that CA as"),
        ("another host", "not for 'kafka.example'"),
    ],
)
async def test_a_wrong_certificate_is_told_of_at_once(
    kafka_with_certificates: KafkaCluster, certificates: Certificates, name: str, text: str
) -> None:
    listener, tls = wrong(name, certificates)
    bootstrap = kafka_with_certificates.bootstrap_of(listener)
    with anyio.fail_after(10), pytest.raises(AuthenticationError, match=text):
        async with Producer(bootstrap, tls=tls) as producer:
            await producer.send("certified", b"never")


async def test_no_tls_where_it_is_expected(kafka_with_certificates: KafkaCluster) -> None:
    with anyio.fail_after(10), pytest.raises(MetadataTimeoutError, match="TLS"):
        async with Producer(kafka_with_certificates.tls_bootstrap, max_block=1.0) as producer:
            await producer.send("certified", b"never")


async def test_tls_where_it_is_not_expected(
    kafka_with_certificates: KafkaCluster, certificates: Certificates
) -> None:
    """Kafka closes such a connection without a word, so that it may as well be the network."""
    tls = TlsConfig(ca=certificates.ca)
    with anyio.fail_after(10), pytest.raises(MetadataTimeoutError, match="is it a PLAINTEXT listener"):
        async with Producer(kafka_with_certificates.bootstrap, tls=tls, max_block=1.0) as producer:
            await producer.send("certified", b"never")
