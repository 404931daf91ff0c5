"""The few Kafka requests a test cluster is run with, over one blocking socket per question.

Written by hand, at versions every Kafka that runs without ZooKeeper speaks, so that starting a cluster needs
no Kafka client at all and shares no code with the one under test.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krafka.testing.errors import KafkaClusterError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self

API_LIST_OFFSETS = (2, 2)
API_METADATA = (3, 4)
API_VERSIONS = (18, 0)
API_CREATE_TOPICS = (19, 4)
API_DELETE_TOPICS = (20, 1)

LATEST_TIMESTAMP = -1
READ_UNCOMMITTED = 0
MAX_RESPONSE_BYTES = 64 * 1024 * 1024

NONE = 0
UNKNOWN_TOPIC_OR_PARTITION = 3
LEADER_NOT_AVAILABLE = 5
REQUEST_TIMED_OUT = 7
TOPIC_ALREADY_EXISTS = 36
INVALID_REPLICATION_FACTOR = 38
NOT_CONTROLLER = 41
ERROR_NAMES = {
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    5: "LEADER_NOT_AVAILABLE",
    6: "NOT_LEADER_OR_FOLLOWER",
    7: "REQUEST_TIMED_OUT",
    17: "INVALID_TOPIC_EXCEPTION",
    36: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    38: "INVALID_REPLICATION_FACTOR",
    40: "INVALID_CONFIG",
    41: "NOT_CONTROLLER",
    44: "POLICY_VIOLATION",
    73: "TOPIC_DELETION_DISABLED",
}


def error_name(code: int) -> str:
    return ERROR_NAMES.get(code, "error") + f" ({code})"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition as a broker sees it; ``leader`` is -1 while there is none."""

    error: int
    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as a broker sees it."""

    error: int
    partitions: Mapping[int, PartitionState]

    @property
    def has_all_leaders(self) -> bool:
        return self.error == NONE and all(p.leader >= 0 for p in self.partitions.values())


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The live brokers' addresses, and the topics asked about, as one broker sees them."""

    brokers: Mapping[int, tuple[str, int]]
    controller_id: int
    topics: Mapping[str, TopicState]


class Reader:
    """Takes a response apart, big-endian, with two-byte string lengths."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self._position)
        self._position += struct.calcsize(layout)
        return int(value)

    def int8(self) -> int:
        return self._number(">b")

    def int16(self) -> int:
        return self._number(">h")

    def int32(self) -> int:
        return self._number(">i")

    def int64(self) -> int:
        return self._number(">q")

    def string(self) -> str | None:
        length = self.int16()
        if length < 0:
            return None
        start = self._position
        self._position += length
        return self._data[start : self._position].decode()

    def int32s(self) -> tuple[int, ...]:
        return tuple(self.int32() for _ in range(self.int32()))


def encode_string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def encode_strings(texts: Sequence[str]) -> bytes:
    return struct.pack(">i", len(texts)) + b"".join(map(encode_string, texts))


class AdminConnection:
    """One connection to one broker. Any trouble on the way is an :class:`OSError`."""

    def __init__(self, port: int, timeout: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def call(self, api: tuple[int, int], body: bytes) -> Reader:
        key, version = api
        self._correlation_id += 1
        header = struct.pack(">hhi", key, version, self._correlation_id) + encode_string("krafka-testing")
        self._socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        (length,) = struct.unpack(">i", self._receive(4))
        if not 4 <= length <= MAX_RESPONSE_BYTES:
            raise ConnectionError(f"a broker announced a response of {length} bytes")
        response = Reader(self._receive(length))
        if response.int32() != self._correlation_id:
            raise ConnectionError("a broker answered another request than the one asked")
        return response

    def _receive(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            chunk = self._socket.recv(min(count - len(parts), 1 << 20))
            if not chunk:
                raise ConnectionError(f"a broker closed the connection after {len(parts)} of {count} bytes")
            parts += chunk
        return bytes(parts)

    def api_versions_error(self) -> int:
        """Ask for ApiVersions and return its error code: the first request a broker answers."""
        return self.call(API_VERSIONS, b"").int16()

    def metadata(self, topics: Sequence[str] | None = ()) -> ClusterState:
        """Return the cluster with the ``topics`` named, or with all for None; creates none."""
        wanted = struct.pack(">i", -1) if topics is None else encode_strings(topics)
        response = self.call(API_METADATA, wanted + struct.pack(">?", False))
        response.int32()  # throttle time
        brokers: dict[int, tuple[str, int]] = {}
        for _ in range(response.int32()):
            node_id = response.int32()
            brokers[node_id] = (response.string() or "", response.int32())
            response.string()  # rack
        response.string()  # cluster id
        controller_id = response.int32()
        found = dict(_read_topic(response) for _ in range(response.int32()))
        return ClusterState(brokers, controller_id, found)

    def create_topic(
        self, name: str, partitions: int, replication: int, config: Mapping[str, str], timeout: float
    ) -> None:
        """Create one topic; -1 for either number takes the broker's default. Raises RefusedError."""
        settings = b"".join(encode_string(key) + encode_string(value) for key, value in config.items())
        body = struct.pack(">i", 1) + encode_string(name) + struct.pack(">ihi", partitions, replication, 0)
        body += struct.pack(">i", len(config)) + settings
        response = self.call(API_CREATE_TOPICS, body + struct.pack(">i?", int(timeout * 1000), False))
        response.int32()  # throttle time
        for _ in range(response.int32()):
            response.string()
            code = response.int16()
            reason = response.string()
            if code != NONE:
                raise RefusedError(
                    f"topic {name!r} was not created: {error_name(code)}" + (f": {reason}" if reason else ""),
                    code,
                )

    def delete_topic(self, name: str, timeout: float) -> None:
        """Delete one topic. Raises RefusedError."""
        body = encode_strings([name]) + struct.pack(">i", int(timeout * 1000))
        response = self.call(API_DELETE_TOPICS, body)
        response.int32()  # throttle time
        for _ in range(response.int32()):
            response.string()
            code = response.int16()
            if code != NONE:
                raise RefusedError(f"topic {name!r} was not deleted: {error_name(code)}", code)

    def end_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the high watermarks of partitions this broker leads. Raises KafkaClusterError."""
        wanted = list(partitions)
        body = struct.pack(">ib", -1, READ_UNCOMMITTED) + struct.pack(">i", 1) + encode_string(topic)
        body += struct.pack(">i", len(wanted))
        body += b"".join(struct.pack(">iq", partition, LATEST_TIMESTAMP) for partition in wanted)
        response = self.call(API_LIST_OFFSETS, body)
        response.int32()  # throttle time
        offsets: dict[int, int] = {}
        for _ in range(response.int32()):
            response.string()
            for _ in range(response.int32()):
                partition, code = response.int32(), response.int16()
                response.int64()  # timestamp
                offset = response.int64()
                if code != NONE:
                    raise KafkaClusterError(
                        f"no end offset of {topic!r} partition {partition}: {error_name(code)}"
                    )
                offsets[partition] = offset
        return offsets


def _read_topic(response: Reader) -> tuple[str, TopicState]:
    error = response.int16()
    name = response.string() or ""
    response.int8()  # internal or not
    partitions: dict[int, PartitionState] = {}
    for _ in range(response.int32()):
        partition_error, partition, leader = response.int16(), response.int32(), response.int32()
        partitions[partition] = PartitionState(partition_error, leader, response.int32s(), response.int32s())
    return name, TopicState(error, partitions)
