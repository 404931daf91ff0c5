"""What a producer can be told: its options, their defaults and limits, and the ways to give them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack

from krafka._options import OPTIONS, Acks, Address, TopicConfig, check_relations
from krafka.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from krafka._descriptions import OptionDescription
    from krafka._properties import Found, PropertySource
    from krafka.auth import Auth, TlsConfig
    from krafka.compression import Compression
    from krafka.interceptors import ProducerInterceptor
    from krafka.partitioners import Partitioner, RecordPartitioner
    from krafka.records import Serializer

_logger = logging.getLogger(__name__)

__all__ = ["Acks", "Address", "BootstrapServers", "ProducerConfig", "ProducerOptions", "TopicConfig"]

BootstrapServers: TypeAlias = "str | Sequence[str | Address]"
"""`"host:port,host:port"`, or a sequence of `"host:port"` and `(host, port)`; IPv6 as `"[::1]:9092"`."""


class ProducerOptions(TypedDict, total=False):
    """The options of a producer as keyword arguments; `ProducerConfig` says what each means."""

    client_id: str
    acks: Acks | Literal["all", "leader", "none", -1, 0, 1]
    compression: Compression | Literal["none", "gzip", "snappy", "lz4", "zstd"]
    compression_level: int | None
    batch_size: int
    linger: float
    buffer_memory: int
    max_block: float
    delivery_timeout: float
    request_timeout: float
    retries: int | None
    retry_backoff: float
    retry_backoff_max: float
    max_in_flight: int
    idempotent: bool | None
    transactional_id: str | None
    transaction_timeout: float
    max_request_size: int
    max_response_size: int
    tls: bool | ssl.SSLContext | TlsConfig
    auth: Auth | None
    partitioner: Partitioner | RecordPartitioner | None
    topics: Mapping[str, TopicConfig]
    interceptors: Sequence[ProducerInterceptor]
    key_serializer: Serializer | None
    value_serializer: Serializer | None
    rack: str | None
    metadata_max_age: float
    metadata_max_idle: float
    connections_max_idle: float
    connect_timeout: float
    reconnect_backoff: float
    reconnect_backoff_max: float
    send_buffer_bytes: int | None
    receive_buffer_bytes: int | None
    allow_auto_create_topics: bool
    close_timeout: float


class ConfigChanges(ProducerOptions, total=False):
    """What `ProducerConfig.replace` may change: every option."""

    bootstrap_servers: BootstrapServers


@dataclass(frozen=True, slots=True, init=False, repr=False)
class ProducerConfig:
    """Every option of a producer, checked.

    Times are seconds, sizes bytes. Values are as the producer uses them: `acks` is an `Acks`,
    `bootstrap_servers` a tuple of pairs, `idempotent` what it came to. Raises `ConfigError` for a
    value out of bounds, of another type, or at odds with another option, and TypeError for a name
    that is no option.
    """

    bootstrap_servers: tuple[Address, ...]
    """Brokers to ask first for the rest of the cluster. Required; one reachable broker is enough."""
    client_id: str
    """This client's name in brokers' logs and quotas. Default "krafka"."""
    acks: Acks
    """Who must have a record before it counts as sent: "all" (default), "leader" or "none"."""
    compression: Compression
    """Codec of the batches: "none" (default), "gzip", "snappy", "lz4" or "zstd"."""
    compression_level: int | None
    """The codec's level (see `Compression.levels`); None, the default, is the codec's own."""
    batch_size: int
    """Bytes of records at which a batch is full. With a fast codec it is what is left of them, as far as can be
    told: batches then grow, up to what the codec does in half a millisecond. At least 1 and at most
    `buffer_memory`; default 65536, or `buffer_memory` if that is less."""
    linger: float
    """Seconds a batch waits for more records. The default 0 waits for nothing, yet records that
    come while the broker is busy still share a batch. Below `delivery_timeout`."""
    buffer_memory: int
    """Bytes of records that may wait for their outcome; beyond, senders wait. Default 32 MiB."""
    max_block: float
    """Seconds a call may wait for buffer space or for a topic's metadata. Default 60; `math.inf`
    leaves the limit to `delivery_timeout`."""
    delivery_timeout: float
    """Seconds from the call to the record's outcome, all waits and attempts included. Default 120.

    A clock enforces it in every state, so unlike the Java client's it need not be larger than
    `linger + request_timeout`; a small one cuts the last attempt short. `math.inf`: no limit."""
    request_timeout: float
    """Seconds to wait for the response to one request; then its connection is closed. Default 30."""
    retries: int | None
    """Attempts after the first one; None, the default, is as many as `delivery_timeout` has room for."""
    retry_backoff: float
    """Seconds before the first retry; doubled each time with 20 % jitter (KIP-580). Default 0.1."""
    retry_backoff_max: float
    """The longest wait between attempts, in seconds. Default 1, or `retry_backoff` if that is longer."""
    max_in_flight: int
    """Requests under way on one connection. Default 5, the most idempotence allows."""
    idempotent: bool
    """Whether brokers drop duplicates that retries make. Default True, unless `acks` is not "all"
    or `max_in_flight` exceeds 5 (KIP-679); True given together with those is an error."""
    transactional_id: str | None
    """The name under which a `TransactionalProducer` makes transactions; the same after each restart, and that of one
    producer at a time, since a newer one shuts out the older. None, the default, is for a `Producer`."""
    transaction_timeout: float
    """Seconds after which the cluster aborts a transaction that is still open, counted from its first record. Brokers
    take no more than their `transaction.max.timeout.ms`, 900 s by default. Default 60."""
    max_request_size: int
    """The largest request to send, and so the largest record, in bytes before compression. Default 1 MiB."""
    max_response_size: int
    """The largest response to accept, in bytes; a larger one closes its connection. Default 100 MiB."""
    tls: bool | ssl.SSLContext | TlsConfig
    """False (default): no encryption. True: TLS with the system's certificate authorities. A
    `krafka.auth.TlsConfig`: with files or PEM text for a private authority or a client certificate. Or a context of
    your own."""
    auth: Auth | None
    """Who this client is to the brokers: an object of `krafka.auth`, such as `ScramSha512(username, password)`, or None
    (default) where TLS says it or nobody asks."""
    partitioner: Partitioner | RecordPartitioner
    """Chooses partitions for records that name none; default `DefaultPartitioner()`."""
    topics: Mapping[str, TopicConfig]
    """What single topics have in their own way, by topic name (no patterns): a `TopicConfig` each. Default: none."""
    interceptors: tuple[ProducerInterceptor, ...]
    """Hooks that see each record on its way in, in this order, and its outcome. Default: none."""
    key_serializer: Serializer | None
    """Makes bytes of keys: a callable `(topic, key, headers)` that returns bytes or None, or an awaitable of them.
    It is called after the interceptors, for a key of None as well. None (default): keys are bytes."""
    value_serializer: Serializer | None
    """The same for values, with `(topic, value, headers)`. A None that it returns is a tombstone."""
    rack: str | None
    """The rack or zone this client runs in, or None (default)."""
    metadata_max_age: float
    """Seconds after which cluster metadata is fetched anew without an occasion. Default 300."""
    metadata_max_idle: float
    """Seconds without a record after which a topic's metadata is dropped. Default 300."""
    connections_max_idle: float
    """Seconds without a request after which a connection is closed; `math.inf`: never. Default 540."""
    connect_timeout: float
    """Seconds to open a connection, TLS and handshake included. Default 10."""
    reconnect_backoff: float
    """Seconds before connecting again to a broker that failed; doubled each time. Default 0.05."""
    reconnect_backoff_max: float
    """The longest wait before connecting again, in seconds. Default 1, or `reconnect_backoff` if longer."""
    send_buffer_bytes: int | None
    """The socket's send buffer (SO_SNDBUF); None, the default, is the system's choice."""
    receive_buffer_bytes: int | None
    """The socket's receive buffer (SO_RCVBUF); None, the default, is the system's choice."""
    allow_auto_create_topics: bool
    """Let brokers that are set up so create an unknown topic on first use. Default True."""
    close_timeout: float
    """Seconds for delivering what is left when the body of `async with` fails. Default 5."""
    _given: Mapping[str, Any] = field(init=False, compare=False)

    def __init__(self, *, bootstrap_servers: BootstrapServers, **options: Unpack[ProducerOptions]) -> None:
        given: dict[str, Any] = {"bootstrap_servers": bootstrap_servers, **options}
        for name in given:
            if name not in OPTIONS:
                raise TypeError(_unknown_option(name))
        values = {
            name: option.check(option, given.get(name, option.default)) for name, option in OPTIONS.items()
        }
        check_relations(values, given)
        if not isinstance(bootstrap_servers, str):
            given["bootstrap_servers"] = values["bootstrap_servers"]
        if "topics" in given:
            given["topics"] = values["topics"]
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_given", given)

    def __repr__(self) -> str:
        """The options that differ from their defaults, as they were given."""
        shown = {name: value for name, value in self._given.items() if value != OPTIONS[name].default}
        return f"ProducerConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def replace(self, **changes: Unpack[ConfigChanges]) -> ProducerConfig:
        """A copy with some options changed; those never given keep following from the others."""
        merged: dict[str, Any] = {**self._given, **changes}
        return ProducerConfig(**merged)

    @classmethod
    def from_properties(cls, source: PropertySource, **options: Unpack[ConfigChanges]) -> ProducerConfig:
        """A configuration in Kafka's own names, or librdkafka's: a mapping, or a `.properties` file.

        A `str` or path is the file's name. Values are text or numbers in Kafka's units
        (`linger.ms=5` becomes 0.005 s). `options` are krafka's own and win over the source's.

        Raises `ConfigError` for an unknown name (with the nearest known one), two names of the same
        option, and a name whose feature krafka does not have; OSError if the file cannot be read.
        """
        from krafka._properties import options_from_properties  # noqa: PLC0415 - most give keyword arguments

        found = _without_traceback(partial(options_from_properties, source, options))
        del source
        if isinstance(found, ConfigError):
            raise found
        return _configured(found, options)

    @classmethod
    def from_env(
        cls,
        prefix: str = "KAFKA_",
        environ: Mapping[str, str] | None = None,
        **options: Unpack[ConfigChanges],
    ) -> ProducerConfig:
        """A configuration from environment variables: `KAFKA_LINGER_MS` is `linger.ms`.

        `environ` is `os.environ` unless given. `options` win over the environment. Names that
        belong to Kafka's scripts, container images and Kubernetes services (`KAFKA_HEAP_OPTS`,
        `KAFKA_HOME`, `KAFKA_SERVICE_HOST`, ...) are passed over; any other unknown name under the
        prefix is a `ConfigError`, as in `from_properties`.
        """
        from krafka._properties import options_from_environment  # noqa: PLC0415 - most give keyword arguments

        found = _without_traceback(partial(options_from_environment, prefix, environ, options))
        del environ
        if isinstance(found, ConfigError):
            raise found
        return _configured(found, options)

    @classmethod
    def high_throughput(
        cls, bootstrap_servers: BootstrapServers, **overrides: Unpack[ProducerOptions]
    ) -> ProducerConfig:
        """A configuration for many records a second: full batches, compressed with lz4, that wait for 10 ms.

        Sets `compression`, `batch_size`, `linger` and `buffer_memory`; `overrides` win. Records are acknowledged as
        ever by all replicas in sync. What it sets goes to the log at INFO, and `explain` tells it.
        """
        return cls._from_preset("high_throughput", bootstrap_servers, overrides)

    @classmethod
    def low_latency(
        cls, bootstrap_servers: BootstrapServers, **overrides: Unpack[ProducerOptions]
    ) -> ProducerConfig:
        """A configuration for records that are waited for: they leave at once, uncompressed, and retries come sooner.

        Sets `linger`, `compression`, `metadata_max_idle` and `retry_backoff`; `overrides` win. Records are
        acknowledged as ever by all replicas in sync; `acks="leader"` on top saves the copying and may lose what was
        acknowledged. What it sets goes to the log at INFO, and `explain` tells it.
        """
        return cls._from_preset("low_latency", bootstrap_servers, overrides)

    @classmethod
    def durable(
        cls, bootstrap_servers: BootstrapServers, **overrides: Unpack[ProducerOptions]
    ) -> ProducerConfig:
        """A configuration for records that must not be lost: tried for ten minutes, and none given up in haste.

        Sets `acks`, `idempotent`, `retries`, `delivery_timeout`, `max_block` and `close_timeout`; `overrides` win, but
        those that exclude idempotence are a `ConfigError`. How many replicas a record has is the topic's affair
        (`min.insync.replicas`). What it sets goes to the log at INFO, and `explain` tells it.
        """
        return cls._from_preset("durable", bootstrap_servers, overrides)

    @classmethod
    def _from_preset(
        cls, name: str, bootstrap_servers: BootstrapServers, overrides: ProducerOptions
    ) -> ProducerConfig:
        from krafka._descriptions import as_given  # noqa: PLC0415 - most use no preset
        from krafka._presets import PRESETS  # noqa: PLC0415 - as above

        options: dict[str, Any] = {**PRESETS[name], **overrides}
        config = cls(bootstrap_servers=bootstrap_servers, **options)
        sets = [f"{option}={as_given(getattr(config, option))}" for option in PRESETS[name]]
        _logger.info("preset %s: %s", name, ", ".join(sets))
        return config

    def explain(self) -> str:
        """What this configuration changes: a line for each option that was given or is not as by default.

        A line says what the default is, and of an option that was not given that its value follows from others.
        """
        from krafka._descriptions import addresses, as_given  # noqa: PLC0415 - few ask

        defaults = ProducerConfig(bootstrap_servers=self.bootstrap_servers)
        lines = [f"bootstrap_servers = {addresses(self.bootstrap_servers)!r}"]
        for name in list(OPTIONS)[1:]:
            value, default = getattr(self, name), getattr(defaults, name)
            if value == default and name not in self._given:
                continue
            note = "the default" if value == default else f"default {as_given(default)}"
            source = "" if name in self._given else "follows from other options; "
            lines.append(f"{name} = {as_given(value)}  # {source}{note}")
        return "\n".join(lines)

    @classmethod
    def describe(cls) -> tuple[OptionDescription, ...]:
        """Every option: its type, default, bounds, meaning, and its names in other clients.

        Nothing is read but krafka's own source, where the meanings are.
        """
        from krafka._descriptions import described  # noqa: PLC0415 - few ask

        types = {
            name: getattr(annotation, "__forward_arg__", str(annotation))
            for name, annotation in {
                **ConfigChanges.__annotations__,
                **ProducerOptions.__annotations__,
            }.items()
        }
        types["bootstrap_servers"] = "str | Sequence[str | tuple[str, int]]"
        config = cls(bootstrap_servers="localhost:9092")
        defaults = {name: getattr(config, name) for name in OPTIONS if name != "bootstrap_servers"}
        return described(cls, types, defaults)


def _without_traceback(read: Callable[[], Found]) -> Found | ConfigError:
    """What is read, or what is wrong with it, without the traceback: its variables hold what may be passwords."""
    try:
        return read()
    except ConfigError as error:
        return error.with_traceback(None)


def _configured(properties: Mapping[str, tuple[str, Any]], options: Mapping[str, Any]) -> ProducerConfig:
    """The configuration of options found under other names; their faults name where they were found."""
    values: dict[str, Any] = {name: value for name, (_, value) in properties.items()} | dict(options)
    if "bootstrap_servers" not in values:
        raise ConfigError(
            "bootstrap.servers is missing; give the brokers to connect to first, as host:port",
            option="bootstrap_servers",
        )
    try:
        return ProducerConfig(**values)
    except ConfigError as error:
        option = error.option
        if option is None or option in options or option not in properties:
            raise
        raise ConfigError(f"{error} (set by {properties[option][0]})", option=option) from error


def _unknown_option(name: str) -> str:
    import difflib  # noqa: PLC0415 - needed for no other error

    from krafka._properties import option_for_property_like  # noqa: PLC0415 - as above

    text = f"ProducerConfig has no option {name!r}"
    same = option_for_property_like(name)
    if same is not None:
        unit = OPTIONS[same].unit
        return f"{text}; it is called {same!r} here{f', in {unit}' if unit else ''}"
    near = difflib.get_close_matches(name, OPTIONS, n=1)
    return f"{text}; did you mean {near[0]!r}?" if near else text
