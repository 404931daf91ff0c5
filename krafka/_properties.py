"""Options under Kafka's and librdkafka's names: from mappings, `.properties` files and the environment."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from krafka._options import KIB, OPTIONS
from krafka._property import Property, boolean
from krafka.compression import Compression
from krafka.errors import ConfigError
from krafka.partitioners import ConsistentRandomPartitioner, DefaultPartitioner, Fnv1aPartitioner

if TYPE_CHECKING:
    from krafka._option import Option

PropertySource: TypeAlias = Mapping[str, object] | str | os.PathLike[str]
"""Names and values, or the path of a `.properties` file."""

Found: TypeAlias = dict[str, tuple[str, Any]]
"""By option: where its value was found (for error texts), and the value in krafka's terms."""

_JAVA_INT_MAX = 2**31 - 1
_JAVA_LONG_MAX = 2**63 - 1

_OPTION_BY_PROPERTY = {
    spelling: option
    for option in OPTIONS.values()
    for spelling in (option.kafka, *option.librdkafka)
    if spelling is not None
}

_LEVEL_OF_CODEC = {
    f"compression.{codec.value}.level": codec for codec in Compression if codec.levels is not None
}
"""Kafka's level properties (KIP-390); each counts only while its codec is the one chosen."""

_JAVA_LZ4_DEFAULT = 9
"""Java takes this level of lz4 for the fast mode, not for the ninth step of the slow one."""

_SPECIAL_VALUES: dict[str, dict[int, object]] = {
    "connections.max.idle.ms": {-1: math.inf, 0: math.inf},
    "message.timeout.ms": {0: math.inf},
    "topic.metadata.refresh.interval.ms": {-1: math.inf},
    "retries": {_JAVA_INT_MAX: None},
    "message.send.max.retries": {_JAVA_INT_MAX: None},
    "send.buffer.bytes": {-1: None},
    "receive.buffer.bytes": {-1: None},
    "socket.send.buffer.bytes": {0: None},
    "socket.receive.buffer.bytes": {0: None},
    "compression.level": {-1: None},
}
"""Numbers that mean "no limit" or "your choice" to Kafka or librdkafka."""

_ACKS = {"all": "all", "-1": "all", "1": "leader", "0": "none"}

_PARTITIONERS = {
    "consistent_random": ConsistentRandomPartitioner,
    "murmur2_random": DefaultPartitioner,
    "fnv1a_random": Fnv1aPartitioner,
}
"""librdkafka's partitioners whose keys go to the same partitions here; where records without a key go is nobody's
business but that they are spread."""

_KEYLESS_TO_ONE = (
    "it sends all records without a key to one partition; {name}_random differs from it in nothing else"
)
_NO_PARTITIONERS = {
    "random": "it ignores keys; give RoundRobinPartitioner() as the option partitioner=, which does so too",
    **{name: _KEYLESS_TO_ONE.format(name=name) for name in ("consistent", "murmur2", "fnv1a")},
}

_NO_TWIN = {
    "key.serializer": "Java classes cannot be loaded here; give a callable as the option key_serializer=",
    "value.serializer": "Java classes cannot be loaded here; give a callable as the option value_serializer=",
    "partitioner.class": "give an object as the option partitioner=",
    "partitioner.ignore.keys": "give RoundRobinPartitioner() as the option partitioner=",
    "partitioner.adaptive.partitioning.enable": "give UniformStickyPartitioner() as the option partitioner=",
    "partitioner.availability.timeout.ms": "partitions without a leader are avoided at once",
    "sticky.partitioning.linger.ms": "give UniformStickyPartitioner() as the option partitioner=, which stays by bytes",
    "interceptor.classes": "Java classes cannot be loaded here; give objects as the option interceptors=",
    "metric.reporters": "Java classes cannot be loaded here",
    "metrics.num.samples": "krafka's metrics are plain counters",
    "metrics.recording.level": "krafka's metrics are plain counters",
    "metrics.sample.window.ms": "krafka's metrics are plain counters",
    "security.providers": "Java classes cannot be loaded here",
    "client.dns.lookup": "every address of a name is tried",
    "enable.metrics.push": "this version of krafka does not push metrics",
    "debug": "set the level of the logger krafka",
    "log_level": "set the level of the logger krafka",
    "statistics.interval.ms": "krafka has no statistics callback",
    "queue.buffering.max.messages": "buffer_memory bounds what waits by bytes (buffer.memory)",
    "group.id": "it belongs to consumers",
    "auto.offset.reset": "it belongs to consumers",
    "enable.auto.commit": "it belongs to consumers",
    "session.timeout.ms": "it belongs to consumers",
    "key.deserializer": "it belongs to consumers",
    "value.deserializer": "it belongs to consumers",
}
"""Properties of other clients that have nothing to act on here, and why."""

_NO_TWIN_PREFIXES = {
    "topics.": "give TopicConfig objects by name as the option topics=",
    "sasl.kerberos.": "give an object of krafka.auth as the option auth=",
    "sasl.login.": "Java classes cannot be loaded here, and tokens are renewed without being told when; give an object "
    "of krafka.auth as the option auth=",
    "sasl.client.": "Java classes cannot be loaded here; give an object of krafka.auth as the option auth=",
    "sasl.oauthbearer.": "give an object of krafka.auth as the option auth=",
    "ssl.protocol": "give an ssl.SSLContext as the option tls=",
    "ssl.enabled.protocols": "give an ssl.SSLContext as the option tls=",
    "ssl.cipher.suites": "give an ssl.SSLContext as the option tls=",
    "ssl.curves.list": "give an ssl.SSLContext as the option tls=",
    "ssl.sigalgs.list": "give an ssl.SSLContext as the option tls=",
    "ssl.crl.location": "give an ssl.SSLContext as the option tls=",
    "ssl.ca.certificate.stores": "the system's authorities are the default; give a TlsConfig as the option tls=",
    "ssl.engine": "give an ssl.SSLContext as the option tls=",
    "ssl.provider": "Java classes cannot be loaded here",
    "ssl.keymanager.": "Java classes cannot be loaded here",
    "ssl.trustmanager.": "Java classes cannot be loaded here",
    "ssl.secure.random.": "Java classes cannot be loaded here",
}

_SECURITY = ("security.protocol", "sasl.", "ssl.", "enable.ssl.")
"""What the names of properties begin with that come to the options `tls` and `auth`, together."""

_OTHERS_VARIABLES = re.compile(
    r"HOME|OPTS|DEBUG|CLASSPATH|VERSION|CLUSTER_ID|NODE_ID|JMX_PORT|JMX_HOSTNAME|GC_LOG_ENABLED"
    r"|.+_OPTS|SCALA_VERSION|LOG4J_.+|LOG_DIR"
    r"|(.+_)?SERVICE_(HOST|PORT(_.+)?)"
    r"|(.+_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)
"""What Kafka's scripts, its container images, and Kubernetes (for a service `kafka`) put under `KAFKA_`."""


def options_from_properties(source: PropertySource, overridden: Collection[str] = ()) -> Found:
    """The options a mapping or a file sets, by krafka's names; those `overridden` need not be whole.

    Raises `ConfigError`, OSError.
    """
    if isinstance(source, Mapping):
        return _translated(
            [Property(_property_name(name), value, name) for name, value in source.items()], overridden
        )
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"properties must be a mapping or the path of a .properties file, got {source!r} "
            f"({type(source).__name__})"
        )
    path = os.fspath(source)
    properties = read_properties(path)
    entries = [Property(name, value, f"{name} in {path}") for name, value in properties.items()]
    return _translated(entries, overridden)


def read_properties(path: str) -> dict[str, str]:
    """Keys and values of a `.properties` file. Raises `ConfigError`, OSError."""
    with open(path, "rb") as file:
        return parse_properties(_decoded(file.read()))


def options_from_environment(
    prefix: str, environ: Mapping[str, str] | None, overridden: Collection[str] = ()
) -> Found:
    """As `options_from_properties`, of the variables under `prefix`. Raises `ConfigError`."""
    if not prefix:
        raise ConfigError("prefix must not be empty: every environment variable would be an option, got ''")
    variables = os.environ if environ is None else environ
    return _translated(
        [
            Property(name.removeprefix(prefix).lower().replace("_", "."), value, name)
            for name, value in variables.items()
            if name.startswith(prefix) and not _OTHERS_VARIABLES.fullmatch(name.removeprefix(prefix))
        ],
        overridden,
    )


def option_for_property_like(name: str) -> str | None:
    """The option meant by a name of another client, dotted or underscored (`linger_ms` is `linger`)."""
    option = _OPTION_BY_PROPERTY.get(name.replace("_", "."))
    return None if option is None else option.name


def _property_name(name: object) -> str:
    if not isinstance(name, str):
        raise ConfigError(f"a property's name must be str, got {name!r} ({type(name).__name__})")
    return name


def _decoded(data: bytes) -> str:
    """Text of a `.properties` file: UTF-8, or ISO 8859-1 as older Java writes it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("iso-8859-1")


def _translated(properties: list[Property], overridden: Collection[str]) -> Found:
    found: Found = {}
    levels: dict[Compression, Property] = {}
    security: dict[str, Property] = {}
    for entry in properties:
        if entry.name.startswith(_SECURITY):
            security[entry.name] = entry
            continue
        if entry.name in _LEVEL_OF_CODEC:
            levels[_LEVEL_OF_CODEC[entry.name]] = entry
            continue
        option = _OPTION_BY_PROPERTY.get(entry.name)
        if option is None:
            raise ConfigError(_no_such_property(entry))
        if option.name in found:
            raise ConfigError(
                f"{found[option.name][0]} and {entry.origin} both set {option.name}; keep one of them",
                option=option.name,
            )
        found[option.name] = (entry.origin, _value(option, entry))
    _choose_level(found, levels)
    if security:
        found.update(_security(security, overridden))
    return found


def _security(entries: Mapping[str, Property], overridden: Collection[str]) -> Found:
    from krafka._security_properties import (  # noqa: PLC0415 - needs TLS and SASL, and most have neither
        SECURITY_PROPERTIES,
        security_options,
    )

    for entry in entries.values():
        if entry.name not in SECURITY_PROPERTIES:
            raise ConfigError(_no_such_property(entry, SECURITY_PROPERTIES))
    return security_options(entries, overridden)


def _choose_level(found: Found, levels: Mapping[Compression, Property]) -> None:
    """Take the level of the codec in use; the other codecs' levels wait for their turn, as in Kafka."""
    chosen = found.get("compression", ("", "none"))[1]
    for codec, entry in levels.items():
        level = _number(entry, int)
        if codec.value != chosen:
            continue
        if "compression_level" in found:
            raise ConfigError(
                f"{found['compression_level'][0]} and {entry.origin} both set compression_level; "
                "keep one of them",
                option="compression_level",
            )
        if codec is Compression.LZ4 and level == _JAVA_LZ4_DEFAULT:
            level = None
        found["compression_level"] = (entry.origin, level)


def _no_such_property(entry: Property, security: Collection[str] = ()) -> str:
    reason = _NO_TWIN.get(entry.name)
    for prefix, prefix_reason in _NO_TWIN_PREFIXES.items():
        if entry.name.startswith(prefix):
            reason = prefix_reason
    if reason is not None:
        return f"{entry.label} cannot be used: {reason}"
    import difflib  # noqa: PLC0415 - needed for no other error

    known = [*_OPTION_BY_PROPERTY, *_LEVEL_OF_CODEC, *security]
    near = difflib.get_close_matches(entry.name, known, n=1)
    hint = f"; the nearest known one is {near[0]}" if near else ", and none known is near to it"
    return f"{entry.label} is an unknown property{hint}"


def _value(option: Option, entry: Property) -> Any:
    """The value in krafka's terms; its bounds are checked later, with those of values given directly."""
    raw = entry.value.strip() if isinstance(entry.value, str) else entry.value
    if option.name == "partitioner":
        return _partitioner(raw, entry)
    if option.name == "acks":
        return _ACKS.get(str(raw).lower(), raw)
    if option.name == "compression":
        return raw.lower() if isinstance(raw, str) else raw
    if option.name in {"idempotent", "allow_auto_create_topics"}:
        return boolean(entry)
    if option.unit == "seconds":
        return _seconds(option, entry)
    if option.unit or option.name in {"retries", "compression_level"}:
        number = _number(entry, int)
        special = _SPECIAL_VALUES.get(entry.name, {})
        if number in special:
            return special[number]
        return number * KIB if entry.name.endswith(".kbytes") else number
    return raw


def _seconds(option: Option, entry: Property) -> Any:
    milliseconds = _number(entry, float)
    special = _SPECIAL_VALUES.get(entry.name, {})
    if milliseconds in special:
        return special[int(milliseconds)]
    if option.infinite and milliseconds >= _JAVA_LONG_MAX:
        return math.inf
    return milliseconds / 1000


def _number(entry: Property, kind: type[int | float]) -> Any:
    value = entry.value
    if isinstance(value, str | int | kind) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return kind(value)
    expected = "a whole number" if kind is int else "a number of milliseconds"
    raise ConfigError(f"{entry.label} must be {expected}, got {value!r} ({type(value).__name__})")


def _partitioner(raw: object, entry: Property) -> Any:
    kind = _PARTITIONERS.get(str(raw))
    if kind is not None:
        return kind()
    if str(raw) in _NO_PARTITIONERS:
        raise ConfigError(
            f"{entry.origin} cannot be used: {_NO_PARTITIONERS[str(raw)]}", option="partitioner"
        )
    names = ", ".join(_PARTITIONERS)
    raise ConfigError(f"{entry.label} must be one of {names}, got {entry.value!r}", option="partitioner")


_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")
_KEY_AND_VALUE = re.compile(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values of Java's `.properties` format; the last of equal keys counts.

    The format is that of `java.util.Properties.load`. Raises `ConfigError` for a broken `\\u` escape.
    """
    properties: dict[str, str] = {}
    for line in _logical_lines(text):
        match = cast("re.Match[str]", _KEY_AND_VALUE.fullmatch(line))  # all its parts may be empty
        key, value = match.groups()
        properties[_unescaped(key)] = _unescaped(value)
    return properties


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments and blanks, those ending in a backslash joined with the next."""
    pending = ""
    for line in re.split(r"\r\n|\r|\n", text):
        part = line.lstrip(" \t\f")
        if not pending and (not part or part[0] in "#!"):
            continue
        pending += part
        if _CONTINUED.search(pending):
            pending = pending[:-1]
        elif pending:
            yield pending
            pending = ""
    if pending:
        yield pending


def _unescaped(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape == "u":
            raise ConfigError(f"{text!r} has a \\u escape without four hexadecimal digits")
        return _CONTROL.get(escape, escape)

    return _ESCAPE.sub(replace, text)
