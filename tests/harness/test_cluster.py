"""A real cluster starts, keeps what it is given, breaks on demand, and is gone afterwards."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from confluent_kafka import Producer

from harness.clients import SECONDS, produce
from krafka.testing import KafkaCluster, KafkaClusterError, _startup
from krafka.testing._admin import AdminConnection, TopicState
from krafka.testing._ports import ClaimedPorts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]


def exists(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Any, what: str, seconds: float = SECONDS) -> None:
    """Ask again until ``condition`` holds: only the brokers know when that is, and they send no event."""
    with anyio.move_on_after(seconds):
        while not await condition():  # noqa: ASYNC110  # the event would be another process's
            await anyio.sleep(0.1)
        return
    pytest.fail(f"not within {seconds:g} s: {what}")


class TestRecords:
    async def test_null_empty_and_large_come_back_as_they_were(
        self, kafka: KafkaCluster, kafka_topic: str
    ) -> None:
        large = os.urandom(900 * 1024)
        written: list[Any] = [
            (None, b"value", ()),
            (b"key", None, ()),
            (b"", b"", ()),
            (None, None, (("none", None), ("empty", b""), ("none", b"\x00\xff"), ("ключ", b"1"))),
            (b"large", large, ()),
        ]
        produce(kafka.bootstrap, kafka_topic, written, partition=2)

        records = await kafka.read(kafka_topic)

        assert [(r.key, r.value, r.headers) for r in records] == written
        assert [(r.partition, r.offset) for r in records] == [(2, offset) for offset in range(5)]
        assert all(r.timestamp > 1_600_000_000_000 for r in records)
        assert await kafka.end_offsets(kafka_topic) == {0: 0, 1: 0, 2: 5, 3: 0, 4: 0, 5: 0}
        assert await kafka.read(kafka_topic, partition=2, from_offset=3) == records[3:]
        assert await kafka.read(kafka_topic, partition=0) == []

    @pytest.mark.parametrize("anyio_backend", ["trio"])
    async def test_a_hundred_thousand_records_in_order(self, kafka: KafkaCluster, kafka_topic: str) -> None:
        produce(kafka.bootstrap, kafka_topic, ((None, b"%d" % i, ()) for i in range(100_000)))
        records = await kafka.read(kafka_topic, timeout=SECONDS)
        assert [r.value for r in records] == [b"%d" % i for i in range(100_000)]

    async def test_committed_readers_miss_aborted_records(
        self, kafka: KafkaCluster, kafka_topic: str
    ) -> None:
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "transactional.id": kafka_topic, "log_level": 0}
        )
        await anyio.to_thread.run_sync(producer.init_transactions, SECONDS)
        for value, end in (
            (b"aborted", producer.abort_transaction),
            (b"committed", producer.commit_transaction),
        ):
            producer.begin_transaction()
            producer.produce(kafka_topic, value, partition=0)
            assert producer.flush(SECONDS) == 0
            await anyio.to_thread.run_sync(end, SECONDS)

        committed = await kafka.read(kafka_topic, isolation="read_committed")
        everything = await kafka.read(kafka_topic)

        assert [r.value for r in committed] == [b"committed"]
        assert [r.value for r in everything] == [b"aborted", b"committed"]
        assert (await kafka.end_offsets(kafka_topic))[0] == 4

    async def test_kafkas_own_dump_shows_the_batch(self, kafka: KafkaCluster, kafka_topic: str) -> None:
        produce(
            kafka.bootstrap, kafka_topic, [(b"k", b"seen-by-kafka" * 50, ())], **{"compression.type": "zstd"}
        )
        dump = await kafka.dump_log(kafka_topic, 0)
        assert "payload: seen-by-kafka" in dump
        assert "compresscodec: zstd" in dump
        assert "isvalid: true" in dump

    async def test_a_deleted_topic_is_gone(self, kafka: KafkaCluster) -> None:
        await kafka.create_topic("short-lived", partitions=1, config={"max.message.bytes": "1000"})
        with pytest.raises(KafkaClusterError, match=r"'short-lived' was not created: TOPIC_ALREADY_EXISTS"):
            await kafka.create_topic("short-lived")
        await kafka.delete_topic("short-lived")
        with pytest.raises(KafkaClusterError, match="UNKNOWN_TOPIC_OR_PARTITION"):
            await kafka.leaders("short-lived")

    async def test_an_unknown_isolation_or_partition_is_refused(
        self, kafka: KafkaCluster, kafka_topic: str
    ) -> None:
        with pytest.raises(ValueError, match="read_uncommitted"):
            await kafka.read(kafka_topic, isolation="dirty")
        with pytest.raises(KafkaClusterError, match=r"no partition 6; it has \[0, 1, 2, 3, 4, 5\]"):
            await kafka.read(kafka_topic, partition=6)


class TestLife:
    async def test_nothing_is_left_after_the_block(self) -> None:
        async with KafkaCluster(auto_create_topics=False) as cluster:
            process_id = cluster.sync.broker(1).process_id
            folder = cluster.sync.data_folder(1)
            assert process_id is not None
            assert exists(process_id)
            assert folder.is_dir()
            with pytest.raises(KafkaClusterError, match="started already"):
                cluster.sync.start()
        assert not exists(process_id)
        assert not folder.parent.exists()

    async def test_an_error_in_the_block_keeps_the_logs(self, capsys: pytest.CaptureFixture[str]) -> None:
        cluster = KafkaCluster(log_level="info")
        with pytest.raises(ZeroDivisionError):  # the block around it is what is tested
            async with cluster:
                raise ZeroDivisionError
        assert not cluster.sync.broker(1).running
        kept = cluster.sync.kept_logs
        assert kept is not None
        assert str(kept) in capsys.readouterr().err
        log = kept / "broker-1.log"
        # It answers before it says that it has started.
        assert "QuorumController id=1" in log.read_text()
        log.unlink()
        kept.rmdir()

    async def test_cancelling_a_start_or_a_block_leaves_nothing(
        self, tmp_path: Path, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        cluster = KafkaCluster()
        with anyio.move_on_after(0.3) as scope:
            async with cluster:
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert os.listdir(tmp_path) == []  # blocks for nothing worth a thread
        assert not any(cluster.sync.broker(n).running for n in cluster.node_ids)

    async def test_a_start_that_cannot_succeed_says_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        cluster = KafkaCluster(properties={"num.network.threads": "-3"})
        with pytest.raises(
            KafkaClusterError, match=r"(?s)broker 1 ended with exit code 1.*num\.network\.threads"
        ):
            await cluster.__aenter__()
        assert cluster.sync.kept_logs is not None
        for log in cluster.sync.kept_logs.iterdir():
            log.unlink()
        cluster.sync.kept_logs.rmdir()
        assert "logs are kept" in capsys.readouterr().err


@pytest.mark.parametrize("anyio_backend", [("trio", {})], ids=["trio"])
class TestConfiguration:
    async def test_a_lost_port_is_replaced(self, monkeypatch: Any) -> None:
        from krafka.testing import _engine

        chosen: list[list[int]] = []
        with socket.socket() as squatter:
            squatter.bind(("127.0.0.1", 0))
            squatter.listen()

            class FirstTaken(ClaimedPorts):
                def __init__(self, count: int) -> None:
                    super().__init__(count)
                    chosen.append(self.ports)
                    if len(chosen) == 1:
                        self.ports = [squatter.getsockname()[1], *self.ports[1:]]

            monkeypatch.setattr(_engine, "ClaimedPorts", FirstTaken)
            async with KafkaCluster() as cluster:
                assert len(chosen) == 2
                assert cluster.bootstrap == f"127.0.0.1:{chosen[1][0]}"

    async def test_tls_and_scram_listeners(self) -> None:
        module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        async with KafkaCluster(
            tls=True,
            listeners={"SASL_SSL": "SASL_SSL"},
            format_arguments=("--add-scram", "SCRAM-SHA-256=[name=alice,password=alice-secret]"),
            properties={
                "sasl.enabled.mechanisms": "SCRAM-SHA-256",
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": module,
                "listener.name.ssl.ssl.client.auth": "required",
            },
        ) as cluster:
            await cluster.create_topic("secure", partitions=1)
            trust = {"ssl.ca.location": str(cluster.ca_pem)}
            certificate = {
                name: str(cluster.client_pem) for name in ("ssl.certificate.location", "ssl.key.location")
            }
            alice = {
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": "alice",
                "sasl.password": "alice-secret",
            }
            produce(
                cluster.tls_bootstrap,
                "secure",
                [(None, b"tls", ())],
                **{"security.protocol": "SSL"},
                **trust,
                **certificate,
            )
            produce(
                cluster.bootstrap_of("SASL_SSL"),
                "secure",
                [(None, b"scram", ())],
                **{"security.protocol": "SASL_SSL"},
                **trust,
                **alice,
            )
            assert [r.value for r in await cluster.read("secure")] == [b"tls", b"scram"]
            context = ssl.create_default_context(cafile=str(cluster.ca_pem))
            assert context.cert_store_stats()["x509_ca"] == 1
            with pytest.raises(
                KafkaClusterError, match="no listener 'SASL'; it has PLAINTEXT, SSL, SASL_SSL"
            ):
                cluster.bootstrap_of("SASL")

    async def test_transaction_version_and_no_auto_creation(self) -> None:
        async with KafkaCluster(transaction_version=1, auto_create_topics=False) as cluster:
            distribution = cluster.sync._distribution
            assert distribution is not None
            arguments = ["--bootstrap-server", cluster.bootstrap, "describe"]
            features = await anyio.to_thread.run_sync(
                _startup.run_tool, distribution, "org.apache.kafka.tools.FeatureCommand", arguments
            )
            levels = {line.split()[1]: line for line in features.splitlines() if line.startswith("Feature:")}
            assert "FinalizedVersionLevel: 1" in levels["transaction.version"]
            settings = {"topic.metadata.propagation.max.ms": 300}
            with pytest.raises(AssertionError, match="Unknown topic"):
                produce(cluster.bootstrap, "absent", [(None, b"", ())], **settings)


def topic_on(port: int, name: str) -> TopicState:
    """A topic as the broker at one port sees it."""
    with AdminConnection(port, SECONDS) as connection:
        return connection.metadata([name]).topics[name]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})], ids=["asyncio"])
class TestThreeBrokers:
    async def test_leaders_move_and_return(self) -> None:
        async with KafkaCluster(3) as cluster:
            await cluster.create_topic("replicated", partitions=3)
            everyone = {1, 2, 3}
            assert set((await cluster.leaders("replicated")).values()) == everyone

            async def views() -> list[TopicState]:
                """What each broker says that answers: a client asks any of them, and believes it."""
                ports = cluster.sync._live_ports().values()
                return [await anyio.to_thread.run_sync(topic_on, port, "replicated") for port in ports]

            async def led_without(gone: int) -> bool:
                leaders = {state.leader for view in await views() for state in view.partitions.values()}
                return gone not in leaders and -1 not in leaders

            async def all_in_sync() -> bool:
                return all(
                    set(state.isr) == everyone for view in await views() for state in view.partitions.values()
                )

            async def write(value: bytes) -> None:
                """Write with the brokers that answer: one that hangs takes a client's connection all the same."""
                ports = cluster.sync._live_ports().values()
                bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)
                records = [(None, value, ())]
                await anyio.to_thread.run_sync(lambda: produce(bootstrap, "replicated", records, acks="all"))

            await write(b"before")
            await cluster.kill(1)
            await until(lambda: led_without(1), "partitions without leader 1 after it was killed")
            await write(b"killed")
            await cluster.restart(1)
            await until(all_in_sync, "replicas in sync after a restart")

            await cluster.pause(2)
            await until(lambda: led_without(2), "partitions without leader 2 while it hangs")
            await write(b"paused")
            await cluster.resume(2)
            await until(all_in_sync, "replicas in sync after a pause")

            await cluster.stop(3)
            # It handed its leaderships over before it ended; the others may yet have to hear of it.
            await until(lambda: led_without(3), "partitions without leader 3 after a clean stop")
            await write(b"stopped")
            assert "payload: stopped" in await cluster.dump_log("replicated", 0)
            assert "payload: paused" in await cluster.dump_log("replicated", 0, broker=3)
            with pytest.raises(
                KafkaClusterError, match="broker 3 is not running, so it cannot be sent SIGSTOP"
            ):
                await cluster.pause(3)
            await cluster.restart(3)

            values = [record.value for record in await cluster.read("replicated", partition=0)]
            assert values == [b"before", b"killed", b"paused", b"stopped"]
