"""Logging in with Kerberos to a real Kafka; where the machine has MIT Kerberos."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import kdc
import pytest

from krafka import Producer
from krafka.auth import Gssapi
from krafka.errors import AuthenticationError
from krafka.testing import KafkaCluster
from krafka.testing._startup import SMALL_JVM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REASON = kdc.missing()
JAVA = None if REASON is not None else kdc.java()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.skipif(REASON is not None, reason=f"no Kerberos here: {REASON}"),
    pytest.mark.skipif(REASON is None and JAVA is None, reason="no Java with Kerberos here"),
]
ALICE = f"alice@{kdc.REALM}"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kdc.Kdc]:
    with kdc.running(tmp_path_factory.mktemp("kdc")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="module")
def cluster(realm: kdc.Kdc) -> Iterator[KafkaCluster]:
    login = (
        "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true "
        f'keyTab="{realm.keytab(kdc.SERVICE)}" principal="{kdc.SERVICE}";'
    )
    found = KafkaCluster(
        listeners={"SASL_PLAINTEXT": "SASL_PLAINTEXT"},
        properties={
            "sasl.enabled.mechanisms": "GSSAPI",
            "sasl.kerberos.service.name": "kafka",
            "listener.name.sasl_plaintext.gssapi.sasl.jaas.config": login,
            "connections.max.reauth.ms": "2000",
        },
        java_options=(*SMALL_JVM, f"-Djava.security.krb5.conf={realm.configuration}"),
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr("krafka.testing._distribution.java_runtime", lambda: JAVA)
        stack.enter_context(found.sync)
        found.sync.create_topic("orders", partitions=3)
        yield found


@pytest.fixture(scope="module")
def alice(realm: kdc.Kdc) -> Path:
    return realm.keytab(ALICE)


async def test_who_has_a_ticket_is_let_in_and_stays(
    cluster: KafkaCluster, alice: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="krafka")
    bootstrap = cluster.bootstrap_of("SASL_PLAINTEXT")
    async with Producer(bootstrap, auth=Gssapi(principal=ALICE, keytab=alice), retries=0) as producer:
        written = [await producer.send("orders", b"first")]
        await anyio.sleep(2.5)
        written.append(await producer.send("orders", b"second"))
    there = {(each.partition, each.offset): each.value for each in await cluster.read("orders")}
    assert [there[each.partition, each.offset] for each in written] == [b"first", b"second"]
    assert any("authenticated again" in each.getMessage() for each in caplog.records)


async def test_who_has_none_is_told_so_at_once(cluster: KafkaCluster) -> None:
    bootstrap = cluster.bootstrap_of("SASL_PLAINTEXT")
    with anyio.fail_after(5), pytest.raises(AuthenticationError, match="no ticket for kafka/127"):
        async with Producer(bootstrap, auth=Gssapi()) as producer:
            await producer.send("orders", b"never")
