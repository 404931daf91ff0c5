"""The pages on migration name every option, default and call of the other libraries, and only what krafka has."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import krafka

from .sources import ROOT

with warnings.catch_warnings():
    # kafka-python reads its messages' definitions by functions that Python 3.11 deprecates.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka
    from kafka.cluster import ClusterMetadata
    from kafka.partitioner import DefaultPartitioner as KafkaPythonPartitioner

import aiokafka
import aiokafka.errors
import confluent_kafka
import kafka.errors
from aiokafka.partitioner import DefaultPartitioner as AiokafkaPartitioner
from confluent_kafka.aio import AIOProducer

LIBRARIES = ("aiokafka", "confluent-kafka", "kafka-python")
TRANSACTIONS = {
    "init_transactions",
    "begin_transaction",
    "commit_transaction",
    "abort_transaction",
    "send_offsets_to_transaction",
}
OPTIONS = {option.name: option for option in krafka.ProducerConfig.describe()}
PROPERTIES = {
    line.split("\t")[0]: line.split("\t")[2]
    for line in (ROOT / "tests/repo/librdkafka_producer_properties.tsv").read_text().splitlines()
}
"""What librdkafka's `rd_kafka_conf_properties_show` lists for producers (P and *), with the defaults."""
SET_IN_C = re.compile(
    r"opaque|default_topic_conf|ssl_(ca|certificate|key|engine_callback_data)|.*_cb|msg_order_cmp|interceptors"
)
CODE = re.compile(r"`([^`]+)`")


def page(library: str) -> str:
    return (ROOT / "docs" / f"migrating-from-{library}.md").read_text()


def rows(library: str, section: str) -> list[list[str]]:
    """The cells of all tables of a section, without their heads."""
    text = page(library).split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for table in tables
        for line in table.splitlines()[2:]
    ]


def named(cells: list[str]) -> list[str]:
    """What stands in code in the first cell."""
    return CODE.findall(cells[0])


def options_of(library: str) -> dict[str, Any]:
    """Every option of the library's producer, with its default."""
    if library == "aiokafka":
        parameters = inspect.signature(aiokafka.AIOKafkaProducer).parameters
        return {name: parameter.default for name, parameter in parameters.items()}
    return dict(PROPERTIES if library == "confluent-kafka" else kafka.KafkaProducer.DEFAULT_CONFIG)


def shown(option: krafka.OptionDescription) -> str:
    """A default of krafka as the pages write it."""
    value = option.default
    if option.required:
        return "required"
    if isinstance(value, krafka.Acks | krafka.Compression):
        return f'`"{value.name.lower()}"`'
    if option.unit == "seconds":
        return f"{value:g} s"
    if option.unit == "bytes" and value is not None:
        size, unit = (value >> 20, "MiB") if value % (1 << 20) == 0 else (value >> 10, "KiB")
        return f"{size} {unit}"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_option_has_one_row(library: str) -> None:
    told = [name for cells in rows(library, "Options") for name in named(cells)]
    assert sorted(told) == sorted(options_of(library))


@pytest.mark.parametrize("library", LIBRARIES)
def test_defaults_are_the_librarys(library: str) -> None:
    defaults = options_of(library)
    told = 0
    for cells in rows(library, "Options"):
        if not (match := CODE.fullmatch(cells[1])):
            continue
        for name in named(cells):
            default = defaults[name]
            if name != "acks" or library != "aiokafka":
                plain = default if library == "confluent-kafka" else repr(default).replace("'", '"')
                assert match[1] == plain, name
                told += 1
    assert told >= 15


async def aiokafkas_acks() -> object:
    producer = aiokafka.AIOKafkaProducer()
    try:
        return producer._sender._acks
    finally:
        await producer.stop()


def test_aiokafka_asks_for_the_leaders_acknowledgement() -> None:
    (cells,) = [cells for cells in rows("aiokafka", "Options") if named(cells) == ["acks"]]
    assert cells[1] == f"`{asyncio.run(aiokafkas_acks())}`"


@pytest.mark.parametrize("library", LIBRARIES)
def test_krafkas_options_and_defaults_are_krafkas(library: str) -> None:
    for cells in rows(library, "Options"):
        assert len(cells) == 5, cells
        if cells[2] == "none":
            assert not cells[3]
            assert cells[4], f"{cells[0]}: why is there none?"
        else:
            (name,) = CODE.findall(cells[2])
            assert shown(OPTIONS[name]) == cells[3], cells[0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_options_named_in_remarks_are_somebodys(library: str) -> None:
    known = {
        *OPTIONS,
        *options_of(library),
        "connector",
        "load_cert_chain",
        "check_hostname",
        "set_ciphers",
        "math.inf",
        "sasl_ssl",
        "sasl_plaintext",
        "krafka",
        "krafka.auth",
        "from_properties",
        "send",
        "enqueue",
        "on_acknowledgement",
        "ssl",
    }
    for cells in rows(library, "Options"):
        words = [word for word in CODE.findall(cells[4]) if re.fullmatch(r"[a-z_][\w.]*", word)]
        assert [word for word in words if word not in known] == []


OAUTH = "sasl.oauthbearer."
TOKENS = {
    "security.protocol": "sasl_ssl",
    "sasl.mechanism": "OAUTHBEARER",
    f"{OAUTH}token.endpoint.url": "https://login.example/token",
}
CLIENT = {f"{OAUTH}client.id": "a", f"{OAUTH}client.secret": "b"}
JWT_BEARER = {f"{OAUTH}grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
CLAIMS = {f"{OAUTH}assertion.claim.{name}": "a" for name in ("iss", "sub", "aud")}
SIGNING = {**JWT_BEARER, **CLAIMS, f"{OAUTH}assertion.private.key.file": "a.pem"}
KERBEROS = {"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI"}


def login_companions(name: str) -> dict[str, str] | None:
    """What must stand beside a property of an identity provider or of Kerberos."""
    if name.startswith("sasl.kerberos."):
        return KERBEROS
    if not name.startswith(OAUTH):
        return None
    if name == f"{OAUTH}assertion.file":
        return TOKENS | JWT_BEARER
    if name.startswith(f"{OAUTH}assertion.private.key.p") and name.endswith("pem"):
        return TOKENS | JWT_BEARER | CLAIMS
    if name.startswith(f"{OAUTH}assertion.") or name == f"{OAUTH}grant.type":
        return TOKENS | SIGNING
    return TOKENS | {
        each: value
        for each, value in CLIENT.items()
        if each.split(".")[-1] != name.rsplit(".", maxsplit=1)[-1]
    }


def test_from_properties_takes_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, each property is the option it is said to be; those without one are refused."""
    kerberos = ModuleType("gssapi")
    kerberos.__spec__ = ModuleSpec("gssapi", None)
    monkeypatch.setitem(sys.modules, "gssapi", kerberos)  # it need not be installed here
    given_values = {
        "security.protocol": "ssl",
        "partitioner": "fnv1a_random",
        "bootstrap.servers": "other:9092",
        "metadata.broker.list": "other:9092",
        "client.rack": "a",
        "client.id": "a",
        "compression.codec": "gzip",
        "compression.type": "gzip",
        "enable.idempotence": "false",
        "acks": "1",
        "request.required.acks": "1",
        "allow.auto.create.topics": "false",
        "compression.level": "3",
        "sasl.mechanism": "PLAIN",
        "sasl.mechanisms": "PLAIN",
        "enable.ssl.certificate.verification": "false",
        "ssl.endpoint.identification.algorithm": "none",
        f"{OAUTH}method": "oidc",
        f"{OAUTH}token.endpoint.url": "https://login.example/token",
        f"{OAUTH}assertion.algorithm": "ES256",
        f"{OAUTH}extensions": "a=b",
        **JWT_BEARER,
    }
    login = {"sasl.username": "a", "sasl.password": "b", "security.protocol": "sasl_plaintext"}
    certificate = {"ssl.certificate.location": "a.pem", "security.protocol": "ssl"}
    companions = {
        "compression.level": {"compression.type": "gzip"},
        "sasl.username": {"sasl.mechanism": "PLAIN", **login},
        "sasl.password": {"sasl.mechanism": "PLAIN", **login},
        "sasl.mechanism": login,
        "sasl.mechanisms": login,
        "ssl.certificate.pem": {"security.protocol": "ssl"},
        **dict.fromkeys(("ssl.key.location", "ssl.key.pem", "ssl.key.password"), certificate),
    }
    plain = krafka.ProducerConfig(bootstrap_servers="localhost:9092")
    for cells in rows("confluent-kafka", "Options"):
        for name in named(cells):
            servers = (
                {}
                if OPTIONS["bootstrap_servers"].name in cells[2]
                else {"bootstrap.servers": "localhost:9092"}
            )
            tls = {"security.protocol": "ssl"} if "ssl." in name else {}
            beside = companions.get(name, tls)
            if cells[2] != "none":
                beside = login_companions(name) or beside
            properties = {**servers, **beside, name: given_values.get(name, "2048")}
            if cells[2] == "none":
                with pytest.raises(krafka.ConfigError, match=re.escape(name)):
                    krafka.ProducerConfig.from_properties(properties)
                continue
            option = cells[2].strip("`")
            config = krafka.ProducerConfig.from_properties(properties)
            assert getattr(config, option) != getattr(plain, option), name


def test_the_list_of_properties_is_librdkafkas() -> None:
    """Each is known to the librdkafka that is installed, or for programs in C only."""
    unknown = []
    for name in PROPERTIES:
        try:
            confluent_kafka.Producer({name: "not a value of anything"})
        except confluent_kafka.KafkaException as error:
            if "No such configuration property" in str(error) and not SET_IN_C.fullmatch(name):
                unknown.append(name)
        except (TypeError, ValueError) as error:
            # confluent-kafka looks at the type of some itself, and names them.
            if name not in str(error):
                unknown.append(name)
    assert unknown == []


# -- calls -------------------------------------------------------------------------------------------------------------


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("library", "kinds"),
    [
        ("aiokafka", [aiokafka.AIOKafkaProducer]),
        ("confluent-kafka", [confluent_kafka.Producer, confluent_kafka.SerializingProducer, AIOProducer]),
        ("kafka-python", [kafka.KafkaProducer]),
    ],
)
def test_every_call_has_its_row(library: str, kinds: list[type]) -> None:
    calls = {
        name
        for cells in rows(library, "Calls")
        for code in named(cells)
        for name in re.findall(r"(?:^|\.)(\w+)(?=\(|$)", code)
    }
    for kind in kinds:
        assert public(kind) - calls == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_called_krafkas_exists(library: str) -> None:
    text = page(library)
    told = " ".join(cells[1] for cells in [*rows(library, "Calls"), *rows(library, "Errors")])
    assert [n for n in re.findall(r"\bkrafka\.([A-Z]\w+)", text) if not hasattr(krafka, n)] == []
    # The names of properties, such as delivery.timeout.ms, are not krafka's.
    prose = text.replace(text.split("\n## Options\n")[1].split("\n## ")[0], "")
    methods = re.findall(r"\bproducer\.(\w+)", told)
    assert len(set(methods)) >= 5
    assert [name for name in methods if not hasattr(krafka.TransactionalProducer, name)] == []
    assert [n for n in re.findall(r"\bdelivery\.(\w+)", prose) if not hasattr(krafka.Delivery, n)] == []
    assert [
        n
        for n in re.findall(r"`(?:error\.)?(is_\w+|requires_abort|possibly_written)`", text)
        if not hasattr(krafka.KafkaError, n)
    ] == []


def test_errors_of_the_other_libraries_exist() -> None:
    for library, module in (("aiokafka", aiokafka.errors), ("kafka-python", kafka.errors)):
        names = [name for cells in rows(library, "Errors") for name in named(cells) if name != "send"]
        assert len(names) >= 7
        assert [name for name in names if not hasattr(module, name)] == []
    for cells in rows("confluent-kafka", "Errors"):
        for name in named(cells):
            if re.fullmatch(r"[A-Z_]+", name):
                assert hasattr(confluent_kafka.KafkaError, name)
            elif name.startswith("error."):
                assert hasattr(confluent_kafka.KafkaError, name[6:-2])


# -- keys --------------------------------------------------------------------------------------------------------------


@given(key=st.binary(max_size=40), count=st.integers(1, 64))
def test_a_key_goes_where_aiokafka_and_kafka_python_send_it(key: bytes, count: int) -> None:
    class Topic(ClusterMetadata):
        def __init__(self) -> None:
            pass

        def topics(self, *_: object) -> set[str]:
            return {"orders"}

        def partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(count))

        available_partitions_for_topic = partitions_for_topic

    ours = krafka.DefaultPartitioner().partition("orders", key, count)
    partitions = list(range(count))
    assert AiokafkaPartitioner()(key, partitions, partitions) == ours
    assert KafkaPythonPartitioner().partition("orders", key, key, None, None, Topic()) == ours


def test_a_name_of_theirs_is_answered_with_krafkas() -> None:
    for name, ours in (("linger_ms", "linger"), ("request_timeout_ms", "request_timeout")):
        with pytest.raises(TypeError, match=f"'{ours}' here, in seconds"):
            krafka.Producer("localhost:9092", **{name: 5})  # type: ignore[arg-type]
