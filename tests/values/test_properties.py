"""Kafka's and librdkafka's names for options, from mappings, files and the environment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka._options import OPTIONS
from krafka._properties import parse_properties
from krafka.compression import Compression
from krafka.config import Acks, ProducerConfig
from krafka.errors import ConfigError
from krafka.partitioners import ConsistentRandomPartitioner, DefaultPartitioner, Fnv1aPartitioner

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = {"bootstrap.servers": "a:1"}


def made(properties: dict[str, object]) -> ProducerConfig:
    return ProducerConfig.from_properties({**SERVERS, **properties})


def refusal(properties: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as raised:
        ProducerConfig.from_properties({**SERVERS, **properties})
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "option", "expected"),
    [
        ("client.id", " billing ", "client_id", "billing"),
        ("client.rack", "eu-1a", "rack", "eu-1a"),
        ("acks", "all", "acks", Acks.ALL),
        ("acks", "-1", "acks", Acks.ALL),
        ("acks", 1, "acks", Acks.LEADER),
        ("acks", "0", "acks", Acks.NONE),
        ("request.required.acks", "1", "acks", Acks.LEADER),
        ("linger.ms", "5", "linger", 0.005),
        ("linger.ms", 5, "linger", 0.005),
        ("queue.buffering.max.ms", "0.5", "linger", 0.0005),
        ("batch.size", "65536", "batch_size", 65536),
        ("buffer.memory", 67108864, "buffer_memory", 67108864),
        ("queue.buffering.max.kbytes", "1024", "buffer_memory", 1048576),
        ("max.block.ms", "1000", "max_block", 1.0),
        ("max.block.ms", str(2**63 - 1), "max_block", math.inf),
        ("delivery.timeout.ms", "2500", "delivery_timeout", 2.5),
        ("message.timeout.ms", "2500", "delivery_timeout", 2.5),
        ("message.timeout.ms", "0", "delivery_timeout", math.inf),
        ("request.timeout.ms", "1500", "request_timeout", 1.5),
        ("socket.timeout.ms", "1500", "request_timeout", 1.5),
        ("retries", "3", "retries", 3),
        ("retries", "2147483647", "retries", None),
        ("message.send.max.retries", 2147483647, "retries", None),
        ("retry.backoff.ms", "200", "retry_backoff", 0.2),
        ("retry.backoff.max.ms", "2000", "retry_backoff_max", 2.0),
        ("max.in.flight.requests.per.connection", "1", "max_in_flight", 1),
        ("max.in.flight", "1", "max_in_flight", 1),
        ("enable.idempotence", "FALSE", "idempotent", False),
        ("enable.idempotence", True, "idempotent", True),
        ("max.request.size", "2097152", "max_request_size", 2097152),
        ("message.max.bytes", "2097152", "max_request_size", 2097152),
        ("receive.message.max.bytes", "2048", "max_response_size", 2048),
        ("metadata.max.age.ms", "60000", "metadata_max_age", 60.0),
        ("topic.metadata.refresh.interval.ms", "-1", "metadata_max_age", math.inf),
        ("metadata.max.idle.ms", "60000", "metadata_max_idle", 60.0),
        ("connections.max.idle.ms", "60000", "connections_max_idle", 60.0),
        ("connections.max.idle.ms", "-1", "connections_max_idle", math.inf),
        ("connections.max.idle.ms", "0", "connections_max_idle", math.inf),
        ("compression.type", "ZSTD", "compression", Compression.ZSTD),
        ("compression.codec", "lz4", "compression", Compression.LZ4),
        ("reconnect.backoff.ms", "100", "reconnect_backoff", 0.1),
        ("reconnect.backoff.max.ms", "10000", "reconnect_backoff_max", 10.0),
        ("socket.connection.setup.timeout.ms", "3000", "connect_timeout", 3.0),
        ("send.buffer.bytes", "131072", "send_buffer_bytes", 131072),
        ("send.buffer.bytes", "-1", "send_buffer_bytes", None),
        ("socket.send.buffer.bytes", "0", "send_buffer_bytes", None),
        ("receive.buffer.bytes", "-1", "receive_buffer_bytes", None),
        ("socket.receive.buffer.bytes", "4096", "receive_buffer_bytes", 4096),
        ("security.protocol", "plaintext", "tls", False),
        ("security.protocol", "SSL", "tls", True),
        ("allow.auto.create.topics", "false", "allow_auto_create_topics", False),
        ("partitioner", "consistent_random", "partitioner", ConsistentRandomPartitioner()),
        ("partitioner", " murmur2_random", "partitioner", DefaultPartitioner()),
        ("partitioner", "fnv1a_random", "partitioner", Fnv1aPartitioner()),
    ],
)
def test_a_property_sets_its_option_in_krafkas_units(
    name: str, value: object, option: str, expected: object
) -> None:
    result = getattr(made({name: value}), option)
    assert result == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert type(result) is type(expected)


def test_every_name_of_the_table_is_taken() -> None:
    names = [
        name for option in OPTIONS.values() for name in (option.kafka, *option.librdkafka) if name is not None
    ]
    assert len(names) == len(set(names))
    takes_any_text = {"client.id", "client.rack", "transactional.id"}
    for name in set(names) - takes_any_text:
        assert "unknown" not in refusal({name: "no value is like this"}), name


def test_the_librdkafka_name_of_the_bootstrap_servers() -> None:
    config = ProducerConfig.from_properties({"metadata.broker.list": "a:1,b:2"})
    assert config.bootstrap_servers == (("a", 1), ("b", 2))


def test_levels_count_for_the_codec_in_use() -> None:
    levels: dict[str, object] = {
        "compression.gzip.level": "1",
        "compression.lz4.level": "12",
        "compression.zstd.level": "7",
    }
    chosen = {
        codec: made({**levels, "compression.type": codec}).compression_level
        for codec in ("none", "gzip", "snappy", "lz4", "zstd")
    }
    assert chosen == {"none": None, "gzip": 1, "snappy": None, "lz4": 12, "zstd": 7}
    assert made(levels).compression_level is None


def test_javas_default_level_of_lz4_is_its_fast_mode() -> None:
    assert made({"compression.type": "lz4", "compression.lz4.level": "9"}).compression_level is None


def test_librdkafkas_level_goes_with_any_codec() -> None:
    assert made({"compression.codec": "zstd", "compression.level": "5"}).compression_level == 5
    assert made({"compression.codec": "snappy", "compression.level": "-1"}).compression_level is None
    both: dict[str, object] = {
        "compression.type": "zstd",
        "compression.level": 5,
        "compression.zstd.level": 6,
    }
    assert "both set compression_level" in refusal(both)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"linger.sm": "5"}, "linger.sm is an unknown property; the nearest known one is linger.ms"),
        ({"zzzz": "5"}, "zzzz is an unknown property, and none known is near to it"),
        (
            {"linger.ms": 5, "queue.buffering.max.ms": 6},
            "linger.ms (5) and queue.buffering.max.ms (6) both set linger; keep one of them",
        ),
        ({"linger.ms": "five"}, "linger.ms must be a number of milliseconds, got 'five' (str)"),
        ({"linger.ms": True}, "linger.ms must be a number of milliseconds, got True (bool)"),
        ({"linger.ms": None}, "linger.ms must be a number of milliseconds, got None (NoneType)"),
        (
            {"linger.ms": "nan"},
            "linger must be a finite number of seconds, got nan (set by linger.ms ('nan'))",
        ),
        ({"batch.size": "1.5"}, "batch.size must be a whole number, got '1.5' (str)"),
        ({"batch.size": 1.5}, "batch.size must be a whole number, got 1.5 (float)"),
        ({"batch.size": "0"}, "batch_size must be at least 1 byte, got 0 (set by batch.size ('0'))"),
        ({"enable.idempotence": "yes"}, "enable.idempotence must be true or false, got 'yes'"),
        (
            {"compression.zstd.level": "high"},
            "compression.zstd.level must be a whole number, got 'high' (str)",
        ),
        (
            {"compression.type": "zstd", "compression.zstd.level": 99},
            (
                "compression_level must be between -131072 and 22 for compression 'zstd', got 99 "
                "(set by compression.zstd.level (99))"
            ),
        ),
        (
            {"security.protocol": "TLS"},
            "security.protocol must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, got 'TLS'",
        ),
        (
            {"security.protocol": "SASL_SSL"},
            (
                "sasl.mechanism is missing, which security.protocol ('SASL_SSL') needs: "
                "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM, GSSAPI; or give auth="
            ),
        ),
        (
            {"key.serializer": "org.example.S"},
            (
                "key.serializer cannot be used: Java classes cannot be loaded here; "
                "give a callable as the option key_serializer="
            ),
        ),
        (
            {"interceptor.classes": "org.example.I"},
            (
                "interceptor.classes cannot be used: Java classes cannot be loaded here; "
                "give objects as the option interceptors="
            ),
        ),
        (
            {"ssl.cipher.suites": "x"},
            "ssl.cipher.suites cannot be used: give an ssl.SSLContext as the option tls=",
        ),
        ({"group.id": "g"}, "group.id cannot be used: it belongs to consumers"),
        (
            {"partitioner": "crc"},
            "partitioner must be one of consistent_random, murmur2_random, fnv1a_random, got 'crc'",
        ),
        (
            {"partitioner": "random"},
            (
                "partitioner ('random') cannot be used: it ignores keys; "
                "give RoundRobinPartitioner() as the option partitioner=, which does so too"
            ),
        ),
        (
            {"partitioner": "murmur2"},
            (
                "partitioner ('murmur2') cannot be used: it sends all records without a key to one partition; "
                "murmur2_random differs from it in nothing else"
            ),
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(properties: dict[str, object], text: str) -> None:
    assert refusal(properties) == text


def test_a_secret_never_gets_into_a_text() -> None:
    for name in ("sasl.password", "ssl.key.password", "passwrd"):
        assert "hunter2" not in refusal({name: "hunter2"})
    with pytest.raises(ConfigError) as raised:
        ProducerConfig.from_env(environ={"KAFKA_PASSWORD": "hunter2", "KAFKA_BOOTSTRAP_SERVERS": "a:1"})
    assert "KAFKA_PASSWORD" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_missing_servers_are_asked_for_by_kafkas_name() -> None:
    with pytest.raises(ConfigError, match=r"^bootstrap\.servers is missing"):
        ProducerConfig.from_properties({"acks": "1"})


def test_options_in_code_win() -> None:
    config = ProducerConfig.from_properties({"linger.ms": "5"}, linger=0.25, bootstrap_servers="b:2")
    assert (config.linger, config.bootstrap_servers) == (0.25, (("b", 2),))
    with pytest.raises(ConfigError) as raised:
        ProducerConfig.from_properties({**SERVERS, "linger.ms": "5"}, linger=-1)
    assert str(raised.value) == "linger must be at least 0 seconds, got -1"


def test_kip_679_holds_for_properties() -> None:
    assert made({"acks": "1"}).idempotent is False
    assert "idempotent=True" in refusal({"acks": "1", "enable.idempotence": "true"})


@pytest.mark.parametrize("source", [5, None, ["a"]])
def test_another_kind_of_source_is_refused(source: Any) -> None:
    with pytest.raises(ConfigError, match="a mapping or the path"):
        ProducerConfig.from_properties(source)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be str, got 5 \(int\)"):
        ProducerConfig.from_properties({5: "x"})  # type: ignore[dict-item]


# Files.


def test_a_file_is_read_by_path_or_name(tmp_path: Path) -> None:
    file = tmp_path / "producer.properties"
    file.write_text("# the producer\nbootstrap.servers = a:1,\\\n    b:2\nlinger.ms: 5\nclient.id größe\n")
    for source in (file, str(file)):
        config = ProducerConfig.from_properties(source)
        assert config.bootstrap_servers == (("a", 1), ("b", 2))
        assert (config.linger, config.client_id) == (0.005, "größe")


def test_a_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "producer.properties"
    file.write_text("bootstrap.servers=a:1\nbatch.size=0\n")
    with pytest.raises(ConfigError) as raised:
        ProducerConfig.from_properties(file)
    assert f"(set by batch.size in {file} ('0'))" in str(raised.value)


def test_an_older_java_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "latin.properties"
    file.write_bytes("bootstrap.servers=a:1\nclient.id=größe".encode("iso-8859-1"))
    assert ProducerConfig.from_properties(file).client_id == "größe"


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ProducerConfig.from_properties(tmp_path / "none.properties")


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        ("a = b", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("a\t:\fb", {"a": "b"}),
        ("  a=b", {"a": "b"}),
        ("a=b ", {"a": "b "}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=b", {"": "b"}),
        ("a==b", {"a": "=b"}),
        ("a: =b", {"a": "=b"}),
        ("# c\n  ! d\n\n \t\na=b", {"a": "b"}),
        ("a=b\r\nc=d\re=f", {"a": "b", "c": "d", "e": "f"}),
        ("a=b\\\n   c", {"a": "bc"}),
        ("a=b\\\n# c", {"a": "b# c"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("a=b\\\\\\\nc=d", {"a": "b\\c=d"}),
        ("a=b\\", {"a": "b"}),
        ("# c\\\na=b", {"a": "b"}),
        ("a\\=b\\:c\\ d=e", {"a=b:c d": "e"}),
        ("a=\\t\\n\\r\\f\\q\\\\", {"a": "\t\n\r\fq\\"}),
        ("a=\\u00e4\\u4e2d", {"a": "ä中"}),
        ("a=1\na=2", {"a": "2"}),
    ],
)
def test_the_format_is_javas(text: str, properties: dict[str, str]) -> None:
    assert parse_properties(text) == properties


def test_a_broken_escape_is_refused() -> None:
    with pytest.raises(ConfigError, match="four hexadecimal digits"):
        parse_properties("a=\\u12")


def escaped(text: str) -> str:
    return "".join(
        f"\\u{ord(character):04x}"
        if character in "\r\n"
        else f"\\{character}"
        if character in "\\=: \t\f#!"
        else character
        for character in text
    )


@given(st.dictionaries(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])), st.text()))
def test_any_text_survives_escaping(properties: dict[str, str]) -> None:
    text = "\n".join(f"{escaped(key)}={escaped(value)}" for key, value in properties.items())
    # A tab or form feed after a backslash stands for itself, as any other character does.
    assert parse_properties(text) == properties


@given(st.text(st.sampled_from("ab=:# \\!\n\r\t")))
def test_any_text_is_read_without_another_error(text: str) -> None:
    for key, value in parse_properties(text).items():
        assert isinstance(key, str)
        assert isinstance(value, str)


# The environment.


def test_the_environment_uses_kafkas_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("KAFKA_LINGER_MS", "5")
    monkeypatch.setenv("OTHER_LINGER_MS", "6")
    assert ProducerConfig.from_env() == ProducerConfig(bootstrap_servers="a:1", linger=0.005)


def test_another_prefix() -> None:
    environ = {"APP_KAFKA_BOOTSTRAP_SERVERS": "a:1", "KAFKA_LINGER_MS": "5"}
    assert ProducerConfig.from_env("APP_KAFKA_", environ, acks="none").linger == 0.0
    with pytest.raises(ConfigError, match="prefix must not be empty"):
        ProducerConfig.from_env("", environ)


@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "OPTS",
        "HEAP_OPTS",
        "JVM_PERFORMANCE_OPTS",
        "LOG4J_OPTS",
        "JMX_PORT",
        "VERSION",
        "SCALA_VERSION",
        "CLUSTER_ID",
        "DEBUG",
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_CLIENT",
        "PORT",
        "PORT_9092_TCP",
        "PORT_9092_TCP_ADDR",
        "BROKER_SERVICE_HOST",
        "BROKER_PORT_9092_TCP_PROTO",
    ],
)
def test_variables_of_scripts_images_and_kubernetes_are_passed_over(name: str) -> None:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "a:1", f"KAFKA_{name}": "tcp://10.0.0.1:9092"}
    assert ProducerConfig.from_env(environ=environ) == ProducerConfig(bootstrap_servers="a:1")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            "KAFKA_LINGER_SM",
            "5",
            "KAFKA_LINGER_SM is an unknown property; the nearest known one is linger.ms",
        ),
        (
            "KAFKA_BATCH_SIZE",
            "0",
            "batch_size must be at least 1 byte, got 0 (set by KAFKA_BATCH_SIZE ('0'))",
        ),
        (
            "KAFKA_SASL_MECHANISM",
            "PLAIN",
            "KAFKA_SASL_MECHANISM has no effect without security.protocol: SSL, SASL_SSL or SASL_PLAINTEXT",
        ),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(name: str, value: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ProducerConfig.from_env(environ={"KAFKA_BOOTSTRAP_SERVERS": "a:1", name: value})
    assert str(raised.value) == text
