"""What a test broker is configured with: pure functions from choices to Kafka's properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INTERNAL_LISTENER = "PLAINTEXT"
CONTROLLER_LISTENER = "CONTROLLER"
TLS_LISTENER = "SSL"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """The ports of one node, by listener name."""

    node_id: int
    ports: Mapping[str, int]


def default_replication(brokers: int) -> int:
    """Return how many replicas a topic of a cluster of so many brokers gets unless told otherwise."""
    return min(3, brokers)


def broker_properties(
    node: NodeAddress,
    nodes: tuple[NodeAddress, ...],
    protocols: Mapping[str, str],
    data_folder: Path,
    *,
    auto_create_topics: bool,
) -> dict[str, str]:
    """Return the properties of one node that is both broker and controller.

    ``protocols`` gives the security protocol of every listener but the controllers'.
    """
    replication = default_replication(len(nodes))
    in_sync = max(1, replication - 1)
    listeners = [f"{name}://127.0.0.1:{node.ports[name]}" for name in (*protocols, CONTROLLER_LISTENER)]
    protocol_map = {**protocols, CONTROLLER_LISTENER: "PLAINTEXT"}
    voters = ",".join(f"{peer.node_id}@127.0.0.1:{peer.ports[CONTROLLER_LISTENER]}" for peer in nodes)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": voters,
        "listeners": ",".join(listeners),
        "inter.broker.listener.name": INTERNAL_LISTENER,
        "controller.listener.names": CONTROLLER_LISTENER,
        "listener.security.protocol.map": ",".join(f"{name}:{value}" for name, value in protocol_map.items()),
        "log.dirs": str(data_folder),
        "auto.create.topics.enable": str(auto_create_topics).lower(),
        "num.partitions": "6",
        "default.replication.factor": str(replication),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.replication.factor": str(replication),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(replication),
        "transaction.state.log.min.isr": str(in_sync),
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": str(replication),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker loses its leaderships when its session ends: 9 s by default, which makes failover
        # tests slow.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # The default takes 128 MiB of heap at start, compaction or not.
        "log.cleaner.dedupe.buffer.size": str(2 * 1024 * 1024),
    }


def tls_properties(server_pem: Path, ca_pem: Path) -> dict[str, str]:
    """Return what a broker's TLS listeners need: its certificate chain and the authority that signed it."""
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server_pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca_pem),
    }


def render_properties(properties: Mapping[str, str]) -> str:
    """Return the text of a Java properties file."""
    return "".join(f"{_escape(key, key=True)}={_escape(value)}\n" for key, value in properties.items())


def _escape(text: str, *, key: bool = False) -> str:
    named = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    if key:
        named |= {":": "\\:", "=": "\\=", " ": "\\ ", "#": "\\#", "!": "\\!"}
    escaped = "".join(named.get(character, character) for character in text)
    if escaped.startswith(" "):
        escaped = "\\" + escaped
    units = escaped.encode("utf-16-be")
    pairs = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in pairs)
