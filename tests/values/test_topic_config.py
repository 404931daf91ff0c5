"""TopicConfig and the option topics: what single topics have in their own way, checked as a producer's options."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from krafka import Compression, HashPartitioner, ProducerConfig, StickyPartitioner, TopicConfig
from krafka._options import codec_of
from krafka.errors import ConfigError


def config(**options: Any) -> ProducerConfig:
    return ProducerConfig(**{"bootstrap_servers": "localhost:9092", **options})


def refusal(**options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        config(**options)
    return raised.value


def test_nothing_set_is_as_the_producer_has_it() -> None:
    topic = TopicConfig()
    assert (topic.compression, topic.compression_level, topic.batch_size, topic.partitioner) == (None,) * 4
    assert repr(topic) == "TopicConfig()"


def test_values_become_of_the_producers_kinds() -> None:
    topic = TopicConfig(
        compression="zstd", compression_level=3, batch_size=1000, partitioner=HashPartitioner()
    )
    assert topic.compression is Compression.ZSTD
    assert repr(topic) == (
        "TopicConfig(compression='zstd', compression_level=3, batch_size=1000, partitioner=HashPartitioner())"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"compression": "lzma"},
            'compression must be one of "none", "gzip", "snappy", "lz4", "zstd", got \'lzma\' (str)',
        ),
        ({"batch_size": 0}, "batch_size must be at least 1 byte, got 0"),
        ({"batch_size": 1.0}, "batch_size must be int, a number of bytes, got 1.0"),
        (
            {"compression": "gzip", "compression_level": 10},
            "compression_level must be between -1 and 9 for compression 'gzip', got 10",
        ),
        (
            {"compression": "snappy", "compression_level": 1},
            "compression_level must be left out for compression 'snappy', which has no levels, got 1",
        ),
    ],
    ids=str,
)
def test_a_topics_option_has_the_producers_bounds(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TopicConfig(**options)
    assert str(raised.value) == text


def test_a_partitioner_is_an_object_here_too() -> None:
    with pytest.raises(ConfigError, match=r"^partitioner must be an object with a method partition"):
        TopicConfig(partitioner=HashPartitioner)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("topics", "text"),
    [
        ([TopicConfig()], "topics must be a mapping such as"),
        ({"logs": {"compression": "zstd"}}, "topics must have a TopicConfig for 'logs', got"),
        ({"logs.*": TopicConfig()}, "topics must have legal names of topics, and no patterns: "),
        ({"": TopicConfig()}, "topics must have legal names of topics"),
        ({"x" * 250: TopicConfig()}, "Kafka's limit is 249"),
        ({5: TopicConfig()}, "topic must be str, got 5"),
        (
            {"logs": TopicConfig(compression_level=3)},
            "topics['logs']: compression_level must be left out for compression 'none'",
        ),
        (
            {"logs": TopicConfig(batch_size=101)},
            "topics['logs']: batch_size must not exceed buffer_memory (100 bytes), got 101",
        ),
    ],
    ids=str,
)
def test_each_refusal_names_the_topic_or_the_rule(topics: Any, text: str) -> None:
    error = refusal(topics=topics, buffer_memory=100)
    assert text in str(error)
    assert error.option == "topics"


def test_a_level_goes_with_its_codec() -> None:
    producers = (Compression.ZSTD, 19)
    assert codec_of(TopicConfig(), *producers) == producers
    assert codec_of(TopicConfig(compression_level=1), *producers) == (Compression.ZSTD, 1)
    assert codec_of(TopicConfig(compression="gzip"), *producers) == (Compression.GZIP, None)
    assert codec_of(TopicConfig(compression="zstd"), *producers) == (Compression.ZSTD, None)
    assert codec_of(TopicConfig(compression="none"), *producers) == (Compression.NONE, None)


def test_a_level_alone_is_checked_against_the_producers_codec() -> None:
    logs = {"logs": TopicConfig(compression_level=20)}
    assert config(compression="zstd", topics=logs).topics == logs
    assert "between -1 and 9" in str(refusal(compression="gzip", topics=logs))
    assert "compression_level must be int" in str(
        refusal(topics={"logs": TopicConfig(compression_level="3")})  # type: ignore[arg-type]
    )


def test_topics_are_a_frozen_value() -> None:
    given = {"logs": TopicConfig(compression="zstd"), "audit": TopicConfig(partitioner=StickyPartitioner(7))}
    made = config(topics=given)
    for twin in (copy.copy(made), pickle.loads(pickle.dumps(made)), config(topics=dict(given))):
        assert twin == made
        assert hash(twin) == hash(made)
    assert made != config()
    assert made.replace(linger=1).topics == given
    given.clear()
    assert list(made.topics) == ["logs", "audit"]
    assert made.replace(linger=1).topics == made.topics
    assert "topics={'logs': TopicConfig(compression='zstd'), 'audit': " in repr(made)
    with pytest.raises(TypeError):
        made.topics["x"] = TopicConfig()  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        made.topics["logs"].compression = None  # type: ignore[misc]


def test_properties_have_no_spelling_for_it_and_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="give TopicConfig objects by name as the option topics="):
        ProducerConfig.from_properties(
            {"bootstrap.servers": "a:1", "topics.logs.compression.type": "zstd"},
        )
    made = ProducerConfig.from_properties(
        {"bootstrap.servers": "a:1"}, topics={"logs": TopicConfig(compression="zstd")}
    )
    assert made.topics["logs"].compression is Compression.ZSTD


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"snappy", "lz4", "zstandard"} or name == "compression.zstd":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import krafka

for make in (
    lambda codec: krafka.Producer("localhost:9092", compression=codec),
    lambda codec: krafka.TopicConfig(compression=codec),
    lambda codec: krafka.ProducerConfig.from_properties({"bootstrap.servers": "a:1", "compression.type": codec}),
):
    for codec in sys.argv[1:]:
        try:
            make(codec)
        except krafka.ConfigError as error:
            print(error)
        else:
            print(codec, "is taken")
"""


def test_where_no_library_is_installed_its_codec_is_refused_at_construction() -> None:
    codecs = ["none", "gzip", "snappy", "lz4"] + (["zstd"] if sys.version_info < (3, 14) else [])
    printed = subprocess.run(
        [sys.executable, "-c", WITHOUT, *codecs], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    needs = "needs a library that cannot be imported: pip install"
    expected = ["none is taken", "gzip is taken"]
    for codec, package in [("snappy", "python-snappy"), ("lz4", "lz4"), ("zstd", "zstandard")]:
        if codec in codecs:
            expected.append(f"compression {codec!r} {needs} {package}")
    count = len(expected)
    assert printed[:count] == expected
    assert printed[count : 2 * count] == expected
    assert [line.partition(" (set by ")[0] for line in printed[2 * count :]] == expected
