"""ProducerConfig: defaults, every bound, and texts that name the option, the value and the bound."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import math
import pickle
import ssl
import sys
from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import krafka.config
from krafka._options import OPTIONS
from krafka.compression import Compression
from krafka.config import Acks, ProducerConfig, ProducerOptions
from krafka.errors import ConfigError
from krafka.interceptors import ProducerInterceptor
from krafka.partitioners import DefaultPartitioner, HashPartitioner, StickyPartitioner

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULTS: dict[str, Any] = {
    "client_id": "krafka",
    "acks": Acks.ALL,
    "compression": Compression.NONE,
    "compression_level": None,
    "batch_size": 65536,
    "linger": 0.0,
    "buffer_memory": 33554432,
    "max_block": 60.0,
    "delivery_timeout": 120.0,
    "request_timeout": 30.0,
    "retries": None,
    "retry_backoff": 0.1,
    "retry_backoff_max": 1.0,
    "max_in_flight": 5,
    "idempotent": True,
    "transactional_id": None,
    "transaction_timeout": 60.0,
    "max_request_size": 1048576,
    "max_response_size": 104857600,
    "tls": False,
    "auth": None,
    "partitioner": DefaultPartitioner(),
    "topics": {},
    "interceptors": (),
    "key_serializer": None,
    "value_serializer": None,
    "rack": None,
    "metadata_max_age": 300.0,
    "metadata_max_idle": 300.0,
    "connections_max_idle": 540.0,
    "connect_timeout": 10.0,
    "reconnect_backoff": 0.05,
    "reconnect_backoff_max": 1.0,
    "send_buffer_bytes": None,
    "receive_buffer_bytes": None,
    "allow_auto_create_topics": True,
    "close_timeout": 5.0,
}

SECONDS = [option.name for option in OPTIONS.values() if option.unit == "seconds"]
WHOLE = [option.name for option in OPTIONS.values() if option.unit not in {"", "seconds"}] + ["retries"]


def config(**options: Any) -> ProducerConfig:
    return ProducerConfig(**{"bootstrap_servers": "localhost:9092", **options})


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        config(**options)
    assert raised.value.option in {*options, "batch_size", "linger", "compression_level"}
    assert str(raised.value).startswith(str(raised.value.option))
    return str(raised.value)


def test_the_defaults() -> None:
    made = config()
    assert {name: getattr(made, name) for name in DEFAULTS} == DEFAULTS
    assert made.bootstrap_servers == (("localhost", 9092),)


def test_the_table_the_fields_and_the_keywords_are_the_same_options() -> None:
    names = set(DEFAULTS) | {"bootstrap_servers"}
    assert set(OPTIONS) == names
    assert {field.name for field in fields(ProducerConfig)} - {"_given"} == names
    assert set(ProducerOptions.__annotations__) == set(DEFAULTS)


def test_every_option_is_documented_where_it_is_declared() -> None:
    tree = ast.parse(inspect.getsource(krafka.config))
    body = next(node.body for node in tree.body if getattr(node, "name", "") == "ProducerConfig")
    documented = {
        node.target.id
        for node, following in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    assert documented == set(OPTIONS)


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_have_a_lower_bound_and_must_be_numbers(name: str) -> None:
    option = OPTIONS[name]
    below = option.low - 0.0001
    assert refusal(**{name: below}).endswith(f"seconds, got {below!r}")
    assert f"must be at least {option.low:g} seconds" in refusal(**{name: below})
    assert refusal(**{name: math.nan}) == f"{name} must be a finite number of seconds, got nan"
    assert refusal(**{name: "5"}) == f"{name} must be a number of seconds (write {name}=5), got '5' (str)"
    assert refusal(**{name: True}) == f"{name} must be a number of seconds, got True"
    assert refusal(**{name: None}) == f"{name} must be a number of seconds, got None"
    assert getattr(config(**{name: 1}), name) == 1.0
    assert type(getattr(config(**{name: 1}), name)) is float


@pytest.mark.parametrize("name", SECONDS)
def test_infinity_is_taken_where_it_means_no_limit(name: str) -> None:
    if OPTIONS[name].infinite:
        assert getattr(config(**{name: math.inf}), name) == math.inf
    else:
        assert refusal(**{name: math.inf}) == f"{name} must be a finite number of seconds, got inf"


def test_which_times_may_be_without_limit() -> None:
    assert {name for name in SECONDS if OPTIONS[name].infinite} == {
        "max_block",
        "delivery_timeout",
        "metadata_max_age",
        "metadata_max_idle",
        "connections_max_idle",
        "close_timeout",
    }


@pytest.mark.parametrize("name", WHOLE)
def test_counts_and_sizes_have_bounds_and_must_be_ints(name: str) -> None:
    option = OPTIONS[name]
    low = int(option.low)
    assert f"{name} must be at least {low}" in refusal(**{name: low - 1})
    assert refusal(**{name: low - 1}).endswith(f", got {low - 1}")
    if option.high < math.inf:
        high = int(option.high)
        assert f"{name} must be at most {high} {option.unit}, got {high + 1}" == refusal(**{name: high + 1})
    assert refusal(**{name: "7"}).startswith(f"{name} must be int")
    assert f"(write {name}=7), got '7' (str)" in refusal(**{name: "7"})
    assert refusal(**{name: 7.0}).endswith("got 7.0")
    assert refusal(**{name: True}).endswith("got True")
    if option.optional:
        assert getattr(config(**{name: None}), name) is None
    else:
        assert refusal(**{name: None}).endswith("got None")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1 byte, got 0"),
        ({"retries": -1}, "retries must be at least 0, got -1"),
        ({"max_in_flight": 0}, "max_in_flight must be at least 1 request, got 0"),
        ({"acks": "1"}, 'acks must be "all", "leader" or "none" (or -1, 1 or 0), got \'1\' (str)'),
        ({"acks": 2}, 'acks must be "all", "leader" or "none" (or -1, 1 or 0), got 2'),
        ({"acks": True}, 'acks must be "all", "leader" or "none" (or -1, 1 or 0), got True'),
        ({"acks": None}, 'acks must be "all", "leader" or "none" (or -1, 1 or 0), got None'),
        (
            {"compression": "lzma"},
            'compression must be one of "none", "gzip", "snappy", "lz4", "zstd", got \'lzma\' (str)',
        ),
        (
            {"compression": None},
            'compression must be one of "none", "gzip", "snappy", "lz4", "zstd", got None',
        ),
        (
            {"compression": "gzip", "compression_level": 10},
            "compression_level must be between -1 and 9 for compression 'gzip', got 10",
        ),
        (
            {"compression_level": 3},
            "compression_level must be left out for compression 'none', which has no levels, got 3",
        ),
        ({"client_id": 5}, "client_id must be str, got 5"),
        ({"client_id": None}, "client_id must be str, got None"),
        ({"rack": ""}, "rack must be 1 to 32767 bytes of UTF-8, got '' (str)"),
        ({"idempotent": 1}, "idempotent must be True or False, got 1"),
        ({"allow_auto_create_topics": None}, "allow_auto_create_topics must be True or False, got None"),
        (
            {"tls": "yes"},
            "tls must be False, True, a krafka.auth.TlsConfig or an ssl.SSLContext, got 'yes' (str)",
        ),
        (
            {"batch_size": 101, "buffer_memory": 100},
            "batch_size must not exceed buffer_memory (100 bytes), got 101",
        ),
        ({"linger": 120}, "linger must be below delivery_timeout (120 seconds), got 120.0"),
        (
            {"linger": 2, "delivery_timeout": 1.5},
            "linger must be below delivery_timeout (1.5 seconds), got 2.0",
        ),
        (
            {"retry_backoff": 2, "retry_backoff_max": 1},
            "retry_backoff_max must not be below retry_backoff (2 seconds), got 1.0",
        ),
        (
            {"reconnect_backoff_max": 0.01},
            "reconnect_backoff_max must not be below reconnect_backoff (0.05 seconds), got 0.01",
        ),
        ({"request_timeout": 1e308}, "request_timeout must be at most 2147483 seconds, got 1e+308"),
        (
            {"buffer_memory": sys.maxsize + 1},
            f"buffer_memory must be at most {sys.maxsize} bytes, got {sys.maxsize + 1}",
        ),
        ({"client_id": "\ud800"}, "client_id must be valid Unicode text, got '\\ud800' (str)"),
        (
            {"idempotent": True, "acks": "leader"},
            (
                'idempotent=True must go with acks="all", got acks="leader"; '
                'leave idempotent out, or set acks="all"'
            ),
        ),
        (
            {"idempotent": True, "max_in_flight": 6},
            (
                "idempotent=True must go with max_in_flight of at most 5, got max_in_flight=6; "
                "a broker remembers no more batches"
            ),
        ),
    ],
    ids=lambda item: None if isinstance(item, str) else ",".join(item),
)
def test_each_refusal_names_option_value_and_bound(options: dict[str, Any], text: str) -> None:
    assert refusal(**options) == text


def test_a_client_id_is_measured_in_bytes_as_sent() -> None:
    assert config(client_id="ä" * 16383).client_id == "ä" * 16383
    assert "0 to 32767 bytes" in refusal(client_id="ä" * 16384)
    assert config(client_id="").client_id == ""


@pytest.mark.parametrize(
    ("given_acks", "acks"),
    [
        ("all", Acks.ALL), ("leader", Acks.LEADER), ("none", Acks.NONE),
        (-1, Acks.ALL), (1, Acks.LEADER), (0, Acks.NONE),
        (Acks.ALL, Acks.ALL), (Acks.LEADER, Acks.LEADER), (Acks.NONE, Acks.NONE),
    ],
)  # fmt: skip  # one row for each way of writing
def test_acks_become_one_kind(given_acks: Any, acks: Acks) -> None:
    made = config(acks=given_acks).acks
    assert made is acks


@pytest.mark.parametrize("codec", Compression)
def test_compression_becomes_one_kind(codec: Compression) -> None:
    assert config(compression=codec.value).compression is codec
    assert config(compression=codec).compression is codec


def test_a_codec_without_its_library_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert "pip install lz4" in refusal(compression="lz4")


@pytest.mark.parametrize(
    ("options", "idempotent"),
    [
        ({}, True),
        ({"idempotent": None}, True),
        ({"idempotent": True, "max_in_flight": 5}, True),
        ({"idempotent": False}, False),
        ({"idempotent": False, "acks": "none", "max_in_flight": 100}, False),
        ({"acks": "leader"}, False),
        ({"acks": "none"}, False),
        ({"max_in_flight": 6}, False),
        ({"retries": 0}, True),
    ],
)
def test_idempotence_gives_way_unless_asked_for(options: dict[str, Any], idempotent: bool) -> None:
    assert config(**options).idempotent is idempotent


def test_a_backoff_above_the_default_maximum_raises_the_maximum() -> None:
    assert config(retry_backoff=3).retry_backoff_max == 3.0
    assert config(reconnect_backoff=3).reconnect_backoff_max == 3.0


def test_a_delivery_timeout_may_be_shorter_than_a_request() -> None:
    made = config(delivery_timeout=0.5, request_timeout=30)
    assert (made.delivery_timeout, made.request_timeout) == (0.5, 30.0)


@pytest.mark.parametrize(
    ("servers", "addresses"),
    [
        ("localhost:9092", (("localhost", 9092),)),
        (" a:1 , b:2,", (("a", 1), ("b", 2))),
        ("a:1,a:1,b:2", (("a", 1), ("b", 2))),
        ("[::1]:9092", (("::1", 9092),)),
        ("[fe80::1%eth0]:9092", (("fe80::1%eth0", 9092),)),
        ("127.0.0.1:65535", (("127.0.0.1", 65535),)),
        (["a:1", ("b", 2), "[::1]:3"], (("a", 1), ("b", 2), ("::1", 3))),
        ((("::1", 3),), (("::1", 3),)),
    ],
)
def test_bootstrap_servers_become_pairs(servers: Any, addresses: Any) -> None:
    assert ProducerConfig(bootstrap_servers=servers).bootstrap_servers == addresses


@pytest.mark.parametrize(
    ("servers", "named"),
    [
        ("", "at least one broker"),
        (" , ", "at least one broker"),
        ([], "at least one broker"),
        ("localhost", "give host:port, such as localhost:9092"),
        ("a:1,b", "such as b:9092"),
        (":9092", "a host name or IP address"),
        ("a b:1", "a host name or IP address"),
        ("a/b:1", "a host name or IP address"),
        ("a:", "a port that is a number"),
        ("a:kafka", "a port that is a number"),
        ("a:+1", "a port that is a number"),
        ("a:٣", "a port that is a number"),
        ("a:0", "between 1 and 65535"),
        ("a:65536", "between 1 and 65535"),
        ("::1:9092", "brackets, as in [::1]:9092"),
        ("[::1]", "after an IPv6 address"),
        ("[::1:9092", "after an IPv6 address"),
        ("SSL://a:1", "without a scheme"),
        (5, "host:port,host:port"),
        (None, "host:port,host:port"),
        (b"a:1", "host:port,host:port"),
        ([5], "entries such as"),
        ([("a", "1")], "a str host and an int port"),
        ([("a", True)], "a str host and an int port"),
    ],
)
def test_bootstrap_servers_that_name_no_broker_are_refused(servers: Any, named: str) -> None:
    text = refusal(bootstrap_servers=servers)
    assert named in text
    assert ", got " in text


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.integers(1, 65535)),
        min_size=1,
        unique=True,
    )
)
def test_bootstrap_servers_keep_their_order(addresses: list[tuple[str, int]]) -> None:
    text = ",".join(f"{host}:{port}" for host, port in addresses)
    assert ProducerConfig(bootstrap_servers=text).bootstrap_servers == tuple(addresses)
    assert ProducerConfig(bootstrap_servers=addresses).bootstrap_servers == tuple(addresses)


def test_tls_takes_a_context_for_clients_only() -> None:
    context = ssl.create_default_context()
    assert config(tls=context).tls is context
    assert config(tls=True).tls is True
    assert "for clients" in refusal(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_a_partitioner_is_an_object_with_the_method() -> None:
    class Last:
        def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
            return partition_count - 1

    last = Last()
    assert config(partitioner=last).partitioner is last
    assert config(partitioner=None).partitioner == DefaultPartitioner()
    for wrong in (Last, last.partition, "murmur2", HashPartitioner, 100):
        assert "a method partition" in refusal(partitioner=wrong)


def test_a_partitioner_may_be_shown_the_record_instead() -> None:
    class First:
        def partition_record(
            self, record: krafka.ProducerRecord, available: Sequence[int], partition_count: int
        ) -> int:
            return available[0]

    first = First()
    assert config(partitioner=first).partitioner is first


def test_interceptors_are_a_sequence_of_objects() -> None:
    class Audit(ProducerInterceptor):
        pass

    audit = Audit()
    assert config(interceptors=[audit]).interceptors == (audit,)
    wrong_ones: list[Any] = [audit, Audit, None, "Audit", {audit}]
    for wrong in wrong_ones:
        assert "must be a sequence of ProducerInterceptor objects" in refusal(interceptors=wrong)
    for wrong in (Audit, None, object()):
        assert "objects of subclasses of ProducerInterceptor only" in refusal(interceptors=[audit, wrong])


@pytest.mark.parametrize("name", ["key_serializer", "value_serializer"])
def test_a_serializer_takes_topic_value_and_headers(name: str) -> None:
    class Serializer:
        async def __call__(self, topic: str, value: object, headers: object) -> bytes:
            return b""

    takes: list[Any] = [Serializer(), lambda *fields: b"", lambda topic, value, headers, more=1: b""]
    for serializer in takes:
        assert getattr(config(**{name: serializer}), name) is serializer
    assert "must take (topic, value, headers), not (value)" in refusal(**{name: lambda value: b""})
    not_callable: list[Any] = [Serializer, "str", 5, object()]
    for wrong in not_callable:
        assert "must be a function or other callable object" in refusal(**{name: wrong})


def test_partitioners_that_choose_alike_make_equal_configurations() -> None:
    assert config(partitioner=StickyPartitioner(5)) == config(partitioner=StickyPartitioner(5))
    assert config(partitioner=StickyPartitioner(5)) != config(partitioner=StickyPartitioner(6))
    assert config(partitioner=DefaultPartitioner()) == config()
    assert "partitioner=StickyPartitioner(batch_threshold=5)" in repr(
        config(partitioner=StickyPartitioner(5))
    )


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(config()) == "ProducerConfig(bootstrap_servers='localhost:9092')"
    made = config(acks="leader", linger=0.005, batch_size=65536)
    assert repr(made) == "ProducerConfig(bootstrap_servers='localhost:9092', acks='leader', linger=0.005)"


def test_replace_keeps_following_what_was_never_given() -> None:
    made = config(retry_backoff=0.2)
    relaxed = made.replace(acks="leader", bootstrap_servers="b:1")
    assert (made.idempotent, relaxed.idempotent, relaxed.retry_backoff) == (True, False, 0.2)
    assert relaxed.bootstrap_servers == (("b", 1),)
    assert relaxed.replace(acks="all").idempotent is True
    with pytest.raises(ConfigError, match="batch_size"):
        made.replace(batch_size=0)


def test_a_list_given_may_change_afterwards() -> None:
    servers = ["a:1"]
    made = ProducerConfig(bootstrap_servers=servers)
    servers.append("b:2")
    assert made.replace(linger=1).bootstrap_servers == (("a", 1),)


def test_a_config_is_a_frozen_value() -> None:
    made = config(acks="leader")
    with pytest.raises(FrozenInstanceError):
        made.linger = 1.0  # type: ignore[misc]
    for twin in (copy.copy(made), pickle.loads(pickle.dumps(made)), config(acks=1)):
        assert twin == made
        assert hash(twin) == hash(made)
    assert made != config()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lingr", "no option 'lingr'; did you mean 'linger'?"),
        ("linger_ms", "no option 'linger_ms'; it is called 'linger' here, in seconds"),
        ("enable_idempotence", "no option 'enable_idempotence'; it is called 'idempotent' here"),
        ("zzzz", "no option 'zzzz'"),
    ],
)
def test_an_unknown_option_is_a_type_error_with_a_hint(name: str, text: str) -> None:
    with pytest.raises(TypeError) as raised:
        config(**{name: 5})
    assert str(raised.value).endswith(text)


def test_the_keywords_for_acks_are_those_that_are_taken() -> None:
    for value in ("all", "leader", "none", -1, 0, 1):
        assert value in get_args(_literal("acks"))
        assert isinstance(config(acks=value).acks, Acks)
    for codec in get_args(_literal("compression")):
        assert isinstance(config(compression=codec).compression, Compression)


def _literal(name: str) -> Any:
    from typing import Literal  # the annotation is text until it is evaluated here

    namespace = {"Acks": Acks, "Compression": Compression, "Literal": Literal}
    annotation = ProducerOptions.__annotations__[name].__forward_arg__
    union = eval(annotation, namespace)
    return next(part for part in get_args(union) if get_args(part))


def test_a_batch_size_not_given_follows_a_smaller_buffer_memory() -> None:
    assert config(buffer_memory=1000).batch_size == 1000
    assert config(buffer_memory=1000).replace(buffer_memory=200_000).batch_size == 65536
    assert config(batch_size=10, buffer_memory=1000).batch_size == 10
