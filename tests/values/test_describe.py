"""What a configuration tells about itself: every option's description, and what one changes."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from krafka import Acks, Compression, OptionDescription, ProducerConfig, TopicConfig
from krafka._descriptions import attribute_docs
from krafka._options import OPTIONS
from krafka.errors import ConfigError

DESCRIBED = {option.name: option for option in ProducerConfig.describe()}
EACH = pytest.mark.parametrize("name", DESCRIBED)


def config(**options: Any) -> ProducerConfig:
    return ProducerConfig(**{"bootstrap_servers": "localhost:9092", **options})


def test_every_option_is_described_once_in_the_order_of_the_table() -> None:
    assert [option.name for option in ProducerConfig.describe()] == list(OPTIONS)


@EACH
def test_a_description_has_a_meaning_a_type_and_the_default_in_force(name: str) -> None:
    described = DESCRIBED[name]
    assert described.meaning.endswith((".", "`"))
    assert "\n" not in described.meaning.replace("\n\n", "")
    assert described.type
    assert described.required == (name == "bootstrap_servers")
    if not described.required:
        assert described.default == getattr(config(), name)
        assert type(described.default) is type(getattr(config(), name))


@EACH
def test_the_bounds_told_are_those_that_are_checked(name: str) -> None:
    described = DESCRIBED[name]
    if described.unit == "bytes of UTF-8":
        for length, bound in ((described.low, -1), (described.high, 1)):
            assert length is not None
            assert getattr(config(**{name: "x" * int(length)}), name) == "x" * int(length)
            if length + bound >= 0:
                with pytest.raises(ConfigError):
                    config(**{name: "x" * int(length + bound)})
        return
    if described.low is not None:
        with pytest.raises(ConfigError, match=f"{name} must be at least"):
            config(**{name: type(described.default or 0)(described.low) - 1})
    if described.high is not None:
        with pytest.raises(ConfigError, match=f"{name} must be at most"):
            config(**{name: int(described.high) + 1})
    if described.infinite:
        assert getattr(config(**{name: math.inf}), name) == math.inf
    if described.optional:
        assert getattr(config(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("linger", "at least 0 seconds, finite"),
        ("max_block", "at least 0 seconds, or `math.inf`"),
        ("request_timeout", "0.001 to 2147483 seconds"),
        ("batch_size", "1 to 2147483647 bytes"),
        ("send_buffer_bytes", "1 to 2147483647 bytes, or None"),
        ("retries", "at least 0, or None"),
        ("client_id", "0 to 32767 bytes of UTF-8"),
        ("acks", ""),
        ("idempotent", ""),
        ("compression_level", ""),
    ],
)
def test_bounds_in_words(name: str, bounds: str) -> None:
    assert DESCRIBED[name].bounds == bounds


def test_an_upper_bound_alone_in_words() -> None:
    fields = {name: getattr(DESCRIBED["retries"], name) for name in OptionDescription.__dataclass_fields__}
    assert OptionDescription(**{**fields, "low": None, "high": 7.0}).bounds == "at most 7, or None"


def test_names_of_other_clients_are_those_of_from_properties() -> None:
    linger = DESCRIBED["linger"]
    assert (linger.kafka, linger.librdkafka) == ("linger.ms", ("queue.buffering.max.ms",))
    for name in (linger.kafka, *linger.librdkafka):
        made = ProducerConfig.from_properties({"bootstrap.servers": "a:1", name: 7})
        assert made.linger == 0.007


def test_types_are_what_may_be_given() -> None:
    assert DESCRIBED["bootstrap_servers"].type == "str | Sequence[str | tuple[str, int]]"
    assert "'all', 'leader', 'none'" in DESCRIBED["acks"].type.replace('"', "'")
    assert DESCRIBED["retries"].type == "int | None"


def test_a_description_is_a_frozen_value() -> None:
    assert ProducerConfig.describe() == ProducerConfig.describe()
    with pytest.raises(FrozenInstanceError):
        DESCRIBED["linger"].unit = "years"  # type: ignore[misc]


def test_meanings_are_the_attributes_own_paragraphs() -> None:
    assert DESCRIBED["linger"].meaning.startswith("Seconds a batch waits for more records. The default 0")
    assert len(DESCRIBED["delivery_timeout"].meaning.split("\n\n")) == 2
    assert "compression" in attribute_docs(TopicConfig)


def test_without_its_source_a_meaning_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", gone)
    assert {option.meaning for option in ProducerConfig.describe()} == {""}


def test_optimised_bytecode_still_has_its_meanings() -> None:
    code = "import krafka; print(all(option.meaning for option in krafka.ProducerConfig.describe()))"
    printed = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "True\n"


# -- explain -----------------------------------------------------------------------------------------------------------


def test_explain_tells_what_was_given_and_what_follows() -> None:
    made = config(acks="leader", linger=0.0, compression=Compression.ZSTD, max_block=math.inf)
    assert made.explain().splitlines() == [
        "bootstrap_servers = 'localhost:9092'",
        "acks = 'leader'  # default 'all'",
        "compression = 'zstd'  # default 'none'",
        "linger = 0.0  # the default",
        "max_block = math.inf  # default 60.0",
        "idempotent = False  # follows from other options; default True",
    ]


def test_explain_tells_of_defaults_nothing() -> None:
    made = ProducerConfig(bootstrap_servers=["a:1", ("::1", 2)])
    assert made.explain() == "bootstrap_servers = 'a:1,[::1]:2'"


def test_what_explain_writes_makes_the_same_configuration() -> None:
    made = config(acks=Acks.NONE, retry_backoff=3, topics={"logs": TopicConfig(compression="gzip")})
    lines = [line.partition("  #")[0].split(" = ", 1) for line in made.explain().splitlines()]
    again = {name: eval(value, {"math": math, "TopicConfig": TopicConfig}) for name, value in lines}
    assert ProducerConfig(**again) == made
