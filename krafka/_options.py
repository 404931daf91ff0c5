"""The table of the producer's options, and the checks that make a given value valid or refuse it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from krafka._option import Option, flag, seconds, text, whole
from krafka._security import check_auth, check_tls
from krafka.compression import Compression, check_level, load_codec
from krafka.errors import ConfigError
from krafka.interceptors import ProducerInterceptor
from krafka.partitioners import DefaultPartitioner, Partitioner, RecordPartitioner
from krafka.records import explain_invalid

if TYPE_CHECKING:
    from krafka.records import Serializer

Address: TypeAlias = tuple[str, int]
"""Host (a name or an IP address, without brackets) and port of a broker."""

KIB = 1024
MIB = 1024 * KIB
INT32_MAX = 2**31 - 1
MAX_IN_FLIGHT_IDEMPOTENT = 5
"""Batches of one producer whose sequence numbers a broker remembers for each partition (KIP-98)."""


class Acks(IntEnum):
    """Who must have a record before it counts as sent; the values are those of the wire."""

    ALL = -1
    """Every replica in sync."""
    NONE = 0
    """Nobody: the record counts as sent once its request is handed to the connection."""
    LEADER = 1
    """The partition's leader alone; the record is lost if the leader fails before it is copied."""


_ACKS = {"all": Acks.ALL, "leader": Acks.LEADER, "none": Acks.NONE}


def _acks(option: Option, value: Any) -> Acks:
    acks: Acks | None = None
    if isinstance(value, str):
        acks = _ACKS.get(value)
    elif isinstance(value, int) and not isinstance(value, bool) and value in set(Acks):
        acks = Acks(value)
    if acks is None:
        raise option.error('must be "all", "leader" or "none" (or -1, 1 or 0)', value)
    return acks


def _compression(option: Option, value: Any) -> Compression:
    try:
        compression = Compression(value)
    except ValueError:
        names = ", ".join(f'"{codec.value}"' for codec in Compression)
        raise option.error(f"must be one of {names}", value) from None
    load_codec(compression)
    return compression


def _left_to_relations(_option: Option, value: Any) -> Any:
    return value


def _partitioner(option: Option, value: Any) -> Partitioner | RecordPartitioner:
    if value is None:
        return DefaultPartitioner()
    # str and bytes have a method of that name too, for another purpose.
    if isinstance(value, type | str | bytes | bytearray) or not isinstance(
        value, Partitioner | RecordPartitioner
    ):
        raise option.error(
            "must be an object with a method partition(topic, key, partition_count) "
            "or partition_record(record, available, partition_count)",
            value,
        )
    return value


def _topics(option: Option, value: Any) -> TopicConfigs:
    if not isinstance(value, Mapping):
        raise option.error('must be a mapping such as {"logs": TopicConfig(compression="zstd")}', value)
    for name, topic in value.items():
        problem = explain_invalid(name, None, None, (), None, None)
        if problem is not None:
            raise option.error(f"must have legal names of topics, and no patterns: {problem}", name)
        if not isinstance(topic, TopicConfig):
            raise option.error(f"must have a TopicConfig for {name!r}", topic)
    return TopicConfigs(value)


def _interceptors(option: Option, value: Any) -> tuple[ProducerInterceptor, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray | memoryview):
        raise option.error("must be a sequence of ProducerInterceptor objects", value)
    for interceptor in value:
        if not isinstance(interceptor, ProducerInterceptor):
            raise option.error("must have objects of subclasses of ProducerInterceptor only", interceptor)
    return tuple(value)


def _serializer(option: Option, value: Any) -> Serializer | None:
    if value is None:
        return None
    if isinstance(value, type) or not callable(value):
        raise option.error("must be a function or other callable object (topic, value, headers)", value)
    import inspect  # noqa: PLC0415 - most producers have no serializer

    try:
        signature = inspect.signature(value)
    except ValueError:
        # Some of those that are compiled do not tell what they take.
        signature = None
    if signature is not None:
        try:
            signature.bind("topic", None, [])
        except TypeError as error:
            raise option.error(f"must take (topic, value, headers), not {signature}", value) from error
    return cast("Serializer", value)


def _bootstrap_servers(option: Option, value: Any) -> tuple[Address, ...]:
    if isinstance(value, str):
        entries: Iterable[Any] = [entry for entry in value.split(",") if entry.strip()]
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        entries = value
    else:
        raise option.error('must be "host:port,host:port" or a sequence of such entries', value)
    addresses = tuple(dict.fromkeys(_address(option, entry) for entry in entries))
    if not addresses:
        raise option.error("must name at least one broker as host:port", value)
    return addresses


def _address(option: Option, entry: Any) -> Address:
    if isinstance(entry, tuple) and len(entry) == 2:
        host, port = entry
        if not isinstance(host, str) or not isinstance(port, int) or isinstance(port, bool):
            raise option.error("must have pairs of a str host and an int port", entry)
    elif isinstance(entry, str):
        host, port = _split_address(option, entry.strip())
    else:
        raise option.error("must have entries such as 'localhost:9092'", entry)
    if not host or any(character.isspace() or character in "/,@" for character in host):
        raise option.error("must have a host name or IP address in each entry", entry)
    if not 1 <= port <= 65535:
        raise option.error("must have a port between 1 and 65535 in each entry", entry)
    return host, port


def _split_address(option: Option, entry: str) -> tuple[str, int]:
    if "://" in entry:
        raise option.error("must be host:port without a scheme (encryption is chosen by tls=)", entry)
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise option.error("must have a port after an IPv6 address, as in [::1]:9092", entry)
        port = rest[1:]
    else:
        host, colon, port = entry.rpartition(":")
        if not colon:
            raise option.error(f"must have a port (give host:port, such as {entry}:9092)", entry)
        if ":" in host:
            raise option.error("must have an IPv6 address in brackets, as in [::1]:9092", entry)
    if not (port.isascii() and port.isdecimal() and len(port) <= 5):
        raise option.error("must have a port that is a number (host:port)", entry)
    return host, int(port)


def check_relations(values: dict[str, Any], given: Iterable[str]) -> None:
    """Check options against each other, and fill in those whose default follows from others.

    `values` holds every option, valid by itself; `given` names those the caller set.
    """
    given = set(given)
    check_level(values["compression"], values["compression_level"])
    if "batch_size" not in given:
        values["batch_size"] = min(values["batch_size"], values["buffer_memory"])
    if values["batch_size"] > values["buffer_memory"]:
        raise OPTIONS["batch_size"].error(
            f"must not exceed buffer_memory ({values['buffer_memory']} bytes)", values["batch_size"]
        )
    _check_topics(values)
    if values["linger"] >= values["delivery_timeout"]:
        raise OPTIONS["linger"].error(
            f"must be below delivery_timeout ({values['delivery_timeout']:g} seconds)", values["linger"]
        )
    for low, high in (("retry_backoff", "retry_backoff_max"), ("reconnect_backoff", "reconnect_backoff_max")):
        if values[high] < values[low]:
            if high in given:
                raise OPTIONS[high].error(f"must not be below {low} ({values[low]:g} seconds)", values[high])
            values[high] = values[low]
    values["idempotent"] = _resolved_idempotence(values)
    if values["transactional_id"] is not None and not values["idempotent"]:
        raise OPTIONS["transactional_id"].error(
            'needs idempotence: leave idempotent, acks="all" and max_in_flight of at most 5 as they are by default',
            values["transactional_id"],
        )


def _check_topics(values: dict[str, Any]) -> None:
    topics: TopicConfigs = values["topics"]
    for name, topic in topics.items():
        try:
            check_level(*codec_of(topic, values["compression"], values["compression_level"]))
        except ConfigError as error:
            raise ConfigError(f"topics[{name!r}]: {error}", option="topics") from error
        if topic.batch_size is not None and topic.batch_size > values["buffer_memory"]:
            raise ConfigError(
                f"topics[{name!r}]: batch_size must not exceed buffer_memory ({values['buffer_memory']} bytes), "
                f"got {topic.batch_size}",
                option="topics",
            )


def _resolved_idempotence(values: dict[str, Any]) -> bool:
    """Not asked for, idempotence gives way to options that exclude it (KIP-679); asked for, it insists."""
    asked: bool | None = values["idempotent"]
    if asked is False:
        return False
    if values["acks"] is not Acks.ALL:
        if asked:
            acks: Acks = values["acks"]
            raise ConfigError(
                f'idempotent=True must go with acks="all", got acks="{acks.name.lower()}"; '
                'leave idempotent out, or set acks="all"',
                option="idempotent",
            )
        return False
    if values["max_in_flight"] > MAX_IN_FLIGHT_IDEMPOTENT:
        if asked:
            raise ConfigError(
                f"idempotent=True must go with max_in_flight of at most {MAX_IN_FLIGHT_IDEMPOTENT}, "
                f"got max_in_flight={values['max_in_flight']}; a broker remembers no more batches",
                option="idempotent",
            )
        return False
    return True


_TABLE = (
    Option(
        "bootstrap_servers",
        None,
        _bootstrap_servers,
        kafka="bootstrap.servers",
        librdkafka=("metadata.broker.list",),
    ),
    Option("client_id", "krafka", text, high=32767, kafka="client.id"),
    Option("acks", Acks.ALL, _acks, kafka="acks", librdkafka=("request.required.acks",)),
    Option(
        "compression",
        Compression.NONE,
        _compression,
        kafka="compression.type",
        librdkafka=("compression.codec",),
    ),
    Option("compression_level", None, _left_to_relations, optional=True, librdkafka=("compression.level",)),
    Option("batch_size", 64 * KIB, whole, "bytes", low=1, high=INT32_MAX, kafka="batch.size"),
    Option("linger", 0.0, seconds, "seconds", kafka="linger.ms", librdkafka=("queue.buffering.max.ms",)),
    Option(
        "buffer_memory",
        32 * MIB,
        whole,
        "bytes",
        low=1,
        high=sys.maxsize,
        kafka="buffer.memory",
        librdkafka=("queue.buffering.max.kbytes",),
    ),
    Option("max_block", 60.0, seconds, "seconds", infinite=True, kafka="max.block.ms"),
    Option(
        "delivery_timeout",
        120.0,
        seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="delivery.timeout.ms",
        librdkafka=("message.timeout.ms",),
    ),
    Option(
        "request_timeout",
        30.0,
        seconds,
        "seconds",
        low=0.001,
        # It travels as 32 bits of milliseconds.
        high=INT32_MAX // 1000,
        kafka="request.timeout.ms",
        librdkafka=("socket.timeout.ms",),
    ),
    Option("retries", None, whole, optional=True, kafka="retries", librdkafka=("message.send.max.retries",)),
    Option("retry_backoff", 0.1, seconds, "seconds", low=0.001, kafka="retry.backoff.ms"),
    Option("retry_backoff_max", 1.0, seconds, "seconds", low=0.001, kafka="retry.backoff.max.ms"),
    Option(
        "max_in_flight",
        5,
        whole,
        "requests",
        low=1,
        high=1_000_000,
        kafka="max.in.flight.requests.per.connection",
        librdkafka=("max.in.flight",),
    ),
    Option("idempotent", None, flag, optional=True, kafka="enable.idempotence"),
    Option("transactional_id", None, text, low=1, high=32767, optional=True, kafka="transactional.id"),
    Option(
        "transaction_timeout",
        60.0,
        seconds,
        "seconds",
        low=0.001,
        # It travels as 32 bits of milliseconds.
        high=INT32_MAX // 1000,
        kafka="transaction.timeout.ms",
    ),
    Option(
        "max_request_size",
        MIB,
        whole,
        "bytes",
        low=1,
        high=INT32_MAX,
        kafka="max.request.size",
        librdkafka=("message.max.bytes",),
    ),
    Option(
        "max_response_size",
        100 * MIB,
        whole,
        "bytes",
        low=KIB,
        high=INT32_MAX,
        librdkafka=("receive.message.max.bytes",),
    ),
    Option("tls", False, check_tls, kafka="security.protocol"),
    Option("auth", None, check_auth, optional=True, kafka="sasl.mechanism", librdkafka=("sasl.mechanisms",)),
    Option("partitioner", None, _partitioner, optional=True, librdkafka=("partitioner",)),
    Option("topics", {}, _topics),
    Option("interceptors", (), _interceptors),
    Option("key_serializer", None, _serializer, optional=True),
    Option("value_serializer", None, _serializer, optional=True),
    Option("rack", None, text, low=1, high=32767, optional=True, kafka="client.rack"),
    Option(
        "metadata_max_age",
        300.0,
        seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="metadata.max.age.ms",
        librdkafka=("topic.metadata.refresh.interval.ms",),
    ),
    Option(
        "metadata_max_idle",
        300.0,
        seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="metadata.max.idle.ms",
    ),
    Option(
        "connections_max_idle",
        540.0,
        seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="connections.max.idle.ms",
    ),
    Option(
        "connect_timeout", 10.0, seconds, "seconds", low=0.001, kafka="socket.connection.setup.timeout.ms"
    ),
    Option("reconnect_backoff", 0.05, seconds, "seconds", low=0.001, kafka="reconnect.backoff.ms"),
    Option("reconnect_backoff_max", 1.0, seconds, "seconds", low=0.001, kafka="reconnect.backoff.max.ms"),
    Option(
        "send_buffer_bytes",
        None,
        whole,
        "bytes",
        low=1,
        high=INT32_MAX,
        optional=True,
        kafka="send.buffer.bytes",
        librdkafka=("socket.send.buffer.bytes",),
    ),
    Option(
        "receive_buffer_bytes",
        None,
        whole,
        "bytes",
        low=1,
        high=INT32_MAX,
        optional=True,
        kafka="receive.buffer.bytes",
        librdkafka=("socket.receive.buffer.bytes",),
    ),
    Option("allow_auto_create_topics", True, flag, kafka="allow.auto.create.topics"),
    Option("close_timeout", 5.0, seconds, "seconds", infinite=True),
)

OPTIONS = {option.name: option for option in _TABLE}
"""Every option by name, in the order of the documentation."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class TopicConfig:
    """What one topic has in its own way, as a value of the option `topics`.

    None, the default of each, leaves an option as the producer has it. Values have the producer's types and bounds;
    raises `ConfigError` as `ProducerConfig` does, also for a codec whose library is missing.
    """

    compression: Compression | None
    """Codec of the topic's batches."""
    compression_level: int | None
    """The codec's level. With `compression` it is the topic's own, and None is that codec's default: the producer's
    level belongs to the producer's codec."""
    batch_size: int | None
    """Bytes of records at which a batch is full; at most the producer's `buffer_memory`."""
    partitioner: Partitioner | RecordPartitioner | None
    """Chooses the topic's partitions for records that name none."""

    def __init__(
        self,
        *,
        compression: Compression | Literal["none", "gzip", "snappy", "lz4", "zstd"] | None = None,
        compression_level: int | None = None,
        batch_size: int | None = None,
        partitioner: Partitioner | RecordPartitioner | None = None,
    ) -> None:
        given = {"compression": compression, "batch_size": batch_size, "partitioner": partitioner}
        for name, value in given.items():
            checked = None if value is None else OPTIONS[name].check(OPTIONS[name], value)
            object.__setattr__(self, name, checked)
        object.__setattr__(self, "compression_level", compression_level)
        if self.compression is not None:
            check_level(self.compression, compression_level)

    def __repr__(self) -> str:
        """The options that are set."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shown = [
            f"{name}={value.value if isinstance(value, Compression) else value!r}"
            for name, value in values.items()
            if value is not None
        ]
        return f"TopicConfig({', '.join(shown)})"


class TopicConfigs(Mapping[str, TopicConfig]):
    """The topics with options of their own, by name; equal to any mapping of the same."""

    __slots__ = ("_topics",)

    def __init__(self, topics: Mapping[str, TopicConfig]) -> None:
        self._topics = dict(topics)

    def __getitem__(self, name: str) -> TopicConfig:
        return self._topics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def __len__(self) -> int:
        return len(self._topics)

    def __hash__(self) -> int:
        return hash(frozenset(self._topics.items()))

    def __repr__(self) -> str:
        return repr(self._topics)


def codec_of(
    topic: TopicConfig, compression: Compression, level: int | None
) -> tuple[Compression, int | None]:
    """The codec and level of a topic of a producer that has these."""
    if topic.compression is not None:
        return topic.compression, topic.compression_level
    return compression, level if topic.compression_level is None else topic.compression_level
