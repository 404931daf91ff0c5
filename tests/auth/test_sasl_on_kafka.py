"""Logging in to a real Kafka by each mechanism, and what is said of credentials it does not take."""

from __future__ import annotations

import ssl
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from secured import PASSWORD, USER, every_auth, unsecured_token

from krafka import Producer, TransactionalProducer
from krafka.auth import OAuthBearer, Plain, ScramSha256, ScramSha512
from krafka.errors import (
    AuthenticationError,
    IllegalSaslStateError,
    MetadataTimeoutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from krafka.testing import _startup

if TYPE_CHECKING:
    from pathlib import Path

    from krafka.auth import Auth
    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

WRONG = "not-the-password"


def trusting(cluster: KafkaCluster) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cluster.ca_pem))


@pytest.mark.parametrize("listener", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("name", sorted(every_auth()))
async def test_who_has_the_password_is_let_in(secured_kafka: KafkaCluster, listener: str, name: str) -> None:
    tls = trusting(secured_kafka) if listener == "SASL_SSL" else False
    async with Producer(secured_kafka.bootstrap_of(listener), auth=every_auth()[name], tls=tls) as producer:
        written = await producer.send("secured", f"{listener} {name}".encode())
    there = {(each.partition, each.offset): each.value for each in await secured_kafka.read("secured")}
    assert there[written.partition, written.offset] == f"{listener} {name}".encode()


class Unheard(Plain):
    """A mechanism that no broker has."""

    mechanism = "UNHEARD"


@pytest.mark.parametrize(
    ("auth", "kind", "words"),
    [
        (Plain(USER, WRONG), SaslAuthenticationFailedError, "Invalid username or password"),
        (ScramSha256(USER, WRONG), SaslAuthenticationFailedError, "invalid credentials with SASL mechanism"),
        (ScramSha512("nobody", PASSWORD), SaslAuthenticationFailedError, "invalid credentials with SASL"),
        (OAuthBearer(lambda: unsecured_token(-60)), SaslAuthenticationFailedError, "invalid_token"),
        (
            Unheard(USER, PASSWORD),
            UnsupportedSaslMechanismError,
            "does not offer UNHEARD; it offers: .*SCRAM-SHA-512",
        ),
    ],
    ids=["plain", "scram-256", "scram-512", "oauthbearer", "unheard"],
)
@pytest.mark.parametrize("idempotent", [True, False])
async def test_who_has_not_is_told_so_at_once(
    secured_kafka: KafkaCluster, auth: Auth, kind: type[AuthenticationError], words: str, *, idempotent: bool
) -> None:
    bootstrap = secured_kafka.bootstrap_of("SASL_PLAINTEXT")
    with anyio.fail_after(5), pytest.raises(kind, match=words) as caught:
        async with Producer(bootstrap, auth=auth, idempotent=idempotent) as producer:
            await producer.send("secured", b"never")
    text = str(caught.value)
    assert auth.mechanism in text
    assert bootstrap in text
    assert WRONG not in text
    assert caught.value.is_fatal


async def test_sasl_where_none_is_expected(secured_kafka: KafkaCluster) -> None:
    with anyio.fail_after(5), pytest.raises(IllegalSaslStateError, match="expects no SASL on this port"):
        async with Producer(secured_kafka.bootstrap, auth=Plain(USER, PASSWORD)) as producer:
            await producer.send("secured", b"never")


async def test_no_sasl_where_it_is_expected(secured_kafka: KafkaCluster) -> None:
    options: dict[str, Any] = {"max_block": 1.0}
    with anyio.fail_after(10), pytest.raises(MetadataTimeoutError, match=r"may require SASL .*auth="):
        async with Producer(secured_kafka.bootstrap_of("SASL_PLAINTEXT"), **options) as producer:
            await producer.send("secured", b"never")


def test_the_command_line_logs_in(secured_kafka: KafkaCluster, tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text(
        f"bootstrap.servers={secured_kafka.bootstrap_of('SASL_SSL')}\nsecurity.protocol=SASL_SSL\n"
        f"sasl.mechanism=SCRAM-SHA-512\nssl.ca.location={secured_kafka.ca_pem}\n"
        f"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{USER}" password="{PASSWORD}";\n'
    )

    def produce(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "krafka", "produce", "secured", "-F", str(file), *arguments]
        done = subprocess.run(command, input=b"by command", capture_output=True, check=False, timeout=60)
        return done.returncode, done.stderr.decode()

    code, said = produce()
    assert code == 0, said
    assert b"by command" in {each.value for each in secured_kafka.sync.read("secured")}
    file.write_text(file.read_text().replace(PASSWORD, WRONG))
    code, said = produce()
    assert code == 1
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in said
    assert WRONG not in said
    assert "Traceback" not in said


async def test_a_password_is_taken_as_it_is(secured_kafka: KafkaCluster, tmp_path: Path) -> None:
    """SASLprep would make "a" of the ordinal indicator and a blank of the wide one; Kafka does neither."""
    password = "p\u00aass\u3000word-ß"
    file = tmp_path / "credentials.properties"
    escaped = password.encode("unicode_escape").decode().replace("\\x", "\\u00")
    file.write_text(f"SCRAM-SHA-256=iterations=4096,password={escaped}\n")
    distribution = secured_kafka.sync._distribution
    assert distribution is not None
    arguments = ["--bootstrap-server", secured_kafka.bootstrap, "--alter", "--entity-type", "users"]
    arguments += ["--entity-name", "bob=a,b", "--add-config-file", str(file)]
    await anyio.to_thread.run_sync(_startup.run_tool, distribution, "kafka.admin.ConfigCommand", arguments)
    bootstrap = secured_kafka.bootstrap_of("SASL_PLAINTEXT")
    async with Producer(bootstrap, auth=ScramSha256("bob=a,b", password)) as producer:
        await producer.send("secured", b"as it is")
    prepared = unicodedata.normalize("NFKC", password)
    assert prepared != password
    with pytest.raises(SaslAuthenticationFailedError):
        async with Producer(bootstrap, auth=ScramSha256("bob=a,b", prepared)) as producer:
            await producer.send("secured", b"never")


async def test_transactions_of_who_logs_in(secured_kafka: KafkaCluster) -> None:
    bootstrap = secured_kafka.bootstrap_of("SASL_PLAINTEXT")
    auth = ScramSha512(USER, PASSWORD)
    producer = TransactionalProducer(bootstrap, transactional_id="logged-in", auth=auth)
    async with producer, producer.transaction():
        await producer.enqueue("secured", b"in a transaction")
    assert b"in a transaction" in {each.value for each in await secured_kafka.read("secured")}


async def test_transactions_of_who_has_the_wrong_password(secured_kafka: KafkaCluster) -> None:
    bootstrap = secured_kafka.bootstrap_of("SASL_PLAINTEXT")
    auth = ScramSha512(USER, WRONG)
    producer = TransactionalProducer(bootstrap, transactional_id="logged-out", auth=auth)
    with anyio.fail_after(5), pytest.raises(AuthenticationError, match="refused SCRAM-SHA-512"):
        async with producer, producer.transaction():
            await producer.enqueue("secured", b"never")
