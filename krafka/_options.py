"""The table of the producer's options, and the checks that make a given value valid or refuse it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from krafka.compression import Compression, check_level, load_codec
from krafka.errors import ConfigError
from krafka.partitioners import DefaultPartitioner, Partitioner, RecordPartitioner

if TYPE_CHECKING:
    import ssl

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


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what it may be, and what Kafka and librdkafka call it."""

    name: str
    default: Any
    check: Callable[[Option, Any], Any] = field(repr=False)
    unit: str = ""
    """"seconds", "bytes", or a word for what is counted."""
    low: float = 0
    high: float = math.inf
    optional: bool = False
    """None is a value, with a meaning of its own."""
    infinite: bool = False
    """`math.inf` is a value: no limit."""
    kafka: str | None = None
    """The Java client's name."""
    librdkafka: tuple[str, ...] = ()
    """librdkafka's names where they differ from the Java client's."""

    def error(self, rule: str, value: object) -> ConfigError:
        """A ConfigError that names this option, the rule broken and the value given."""
        return ConfigError(f"{self.name} {rule}, got {_shown(value)}", option=self.name)


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:77]}..."
    return text if isinstance(value, int | float | None) else f"{text} ({type(value).__name__})"


def _amount(value: float, unit: str) -> str:
    text = f"{value:g}" if value < 1_000_000 and value != int(value) else str(int(value))
    return f"{text} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def _within(option: Option, value: Any) -> Any:
    if value < option.low:
        raise option.error(f"must be at least {_amount(option.low, option.unit)}", value)
    if value > option.high:
        raise option.error(f"must be at most {_amount(option.high, option.unit)}", value)
    return value


def _whole(option: Option, value: Any) -> int | None:
    if value is None and option.optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        hint = f" (write {option.name}={value})" if isinstance(value, str) and value.isdecimal() else ""
        kind = f"int, a number of {option.unit}" if option.unit else "int"
        raise option.error(f"must be {kind}{hint}", value)
    whole: int = _within(option, value)
    return whole


def _seconds(option: Option, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = f" (write {option.name}={value})" if isinstance(value, str) and _is_number(value) else ""
        raise option.error(f"must be a number of seconds{hint}", value)
    if math.isnan(value) or (value == math.inf and not option.infinite):
        raise option.error("must be a finite number of seconds", value)
    return float(_within(option, value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _flag(option: Option, value: Any) -> bool | None:
    if isinstance(value, bool) or (value is None and option.optional):
        return value
    raise option.error("must be True or False", value)


def _text(option: Option, value: Any) -> str | None:
    if value is None and option.optional:
        return None
    if not isinstance(value, str):
        raise option.error("must be str", value)
    try:
        length = len(value.encode())
    except UnicodeEncodeError as error:
        raise option.error("must be valid Unicode text", value) from error
    if not option.low <= length <= option.high:
        raise option.error(f"must be {option.low:g} to {option.high:g} bytes of UTF-8", value)
    return value


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


def _tls(option: Option, value: Any) -> bool | ssl.SSLContext:
    if isinstance(value, bool):
        return value
    import ssl  # noqa: PLC0415 - costs as much to import as half of krafka, and most producers do without

    if not isinstance(value, ssl.SSLContext):
        raise option.error("must be False, True or an ssl.SSLContext", value)
    if value.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise option.error("must be a context for clients, as ssl.create_default_context() makes", value)
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
    Option("client_id", "krafka", _text, high=32767, kafka="client.id"),
    Option("acks", Acks.ALL, _acks, kafka="acks", librdkafka=("request.required.acks",)),
    Option(
        "compression",
        Compression.NONE,
        _compression,
        kafka="compression.type",
        librdkafka=("compression.codec",),
    ),
    Option("compression_level", None, _left_to_relations, optional=True, librdkafka=("compression.level",)),
    Option("batch_size", 64 * KIB, _whole, "bytes", low=1, high=INT32_MAX, kafka="batch.size"),
    Option("linger", 0.0, _seconds, "seconds", kafka="linger.ms", librdkafka=("queue.buffering.max.ms",)),
    Option(
        "buffer_memory",
        32 * MIB,
        _whole,
        "bytes",
        low=1,
        high=sys.maxsize,
        kafka="buffer.memory",
        librdkafka=("queue.buffering.max.kbytes",),
    ),
    Option("max_block", 60.0, _seconds, "seconds", infinite=True, kafka="max.block.ms"),
    Option(
        "delivery_timeout",
        120.0,
        _seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="delivery.timeout.ms",
        librdkafka=("message.timeout.ms",),
    ),
    Option(
        "request_timeout",
        30.0,
        _seconds,
        "seconds",
        low=0.001,
        # It travels as 32 bits of milliseconds.
        high=INT32_MAX // 1000,
        kafka="request.timeout.ms",
        librdkafka=("socket.timeout.ms",),
    ),
    Option("retries", None, _whole, optional=True, kafka="retries", librdkafka=("message.send.max.retries",)),
    Option("retry_backoff", 0.1, _seconds, "seconds", low=0.001, kafka="retry.backoff.ms"),
    Option("retry_backoff_max", 1.0, _seconds, "seconds", low=0.001, kafka="retry.backoff.max.ms"),
    Option(
        "max_in_flight",
        5,
        _whole,
        "requests",
        low=1,
        high=1_000_000,
        kafka="max.in.flight.requests.per.connection",
        librdkafka=("max.in.flight",),
    ),
    Option("idempotent", None, _flag, optional=True, kafka="enable.idempotence"),
    Option(
        "max_request_size",
        MIB,
        _whole,
        "bytes",
        low=1,
        high=INT32_MAX,
        kafka="max.request.size",
        librdkafka=("message.max.bytes",),
    ),
    Option(
        "max_response_size",
        100 * MIB,
        _whole,
        "bytes",
        low=KIB,
        high=INT32_MAX,
        librdkafka=("receive.message.max.bytes",),
    ),
    Option("tls", False, _tls, kafka="security.protocol"),
    Option("partitioner", None, _partitioner, optional=True, librdkafka=("partitioner",)),
    Option("rack", None, _text, low=1, high=32767, optional=True, kafka="client.rack"),
    Option(
        "metadata_max_age",
        300.0,
        _seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="metadata.max.age.ms",
        librdkafka=("topic.metadata.refresh.interval.ms",),
    ),
    Option(
        "metadata_max_idle",
        300.0,
        _seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="metadata.max.idle.ms",
    ),
    Option(
        "connections_max_idle",
        540.0,
        _seconds,
        "seconds",
        low=0.001,
        infinite=True,
        kafka="connections.max.idle.ms",
    ),
    Option(
        "connect_timeout", 10.0, _seconds, "seconds", low=0.001, kafka="socket.connection.setup.timeout.ms"
    ),
    Option("reconnect_backoff", 0.05, _seconds, "seconds", low=0.001, kafka="reconnect.backoff.ms"),
    Option("reconnect_backoff_max", 1.0, _seconds, "seconds", low=0.001, kafka="reconnect.backoff.max.ms"),
    Option(
        "send_buffer_bytes",
        None,
        _whole,
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
        _whole,
        "bytes",
        low=1,
        high=INT32_MAX,
        optional=True,
        kafka="receive.buffer.bytes",
        librdkafka=("socket.receive.buffer.bytes",),
    ),
    Option("allow_auto_create_topics", True, _flag, kafka="allow.auto.create.topics"),
    Option("close_timeout", 5.0, _seconds, "seconds", infinite=True),
)

OPTIONS = {option.name: option for option in _TABLE}
"""Every option by name, in the order of the documentation."""
