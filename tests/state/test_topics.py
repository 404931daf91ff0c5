"""How topics are handled: by the producer's options, or by their own where they have some."""

from __future__ import annotations

import math
from typing import Any

from krafka import HashPartitioner, ProducerConfig, TopicConfig, UniformStickyPartitioner
from krafka._state.partition import UNCOMPRESSED
from krafka._state.topics import topic_handling
from krafka.compression import bytes_in_a_moment, decompressor


def handling(topics: dict[str, TopicConfig] | None = None, **options: Any) -> Any:
    return topic_handling(ProducerConfig(bootstrap_servers="b:9092", topics=topics or {}, **options))


def test_without_options_of_its_own_a_topic_is_handled_as_all_others() -> None:
    of = handling({"logs": TopicConfig()}, compression="zstd")
    assert of("orders") is of("bills")
    assert of("logs").codec is of("orders").codec
    assert of("logs").make_buffer is of("orders").make_buffer


def test_no_codec_costs_nothing() -> None:
    assert handling()("orders").codec == UNCOMPRESSED == (0, None, math.inf)


def test_a_codec_and_level_is_made_once_for_all_topics_that_have_it() -> None:
    zstd = TopicConfig(compression="zstd", compression_level=3)
    of = handling({"a": zstd, "b": zstd, "c": TopicConfig(compression="zstd")}, compression="gzip")
    assert of("a").codec is of("b").codec
    assert of("a").codec is not of("c").codec
    ids = [of(name).codec.id for name in ("a", "c", "rest")]
    assert ids == [4, 4, 1]


def test_a_level_makes_a_difference_and_so_does_the_moment() -> None:
    levels = {"quick": TopicConfig(compression_level=1), "slow": TopicConfig(compression_level=9)}
    of = handling(levels, compression="gzip")
    text = bytes(range(256)) * 40 + b'{"name": "value"}' * 400
    packed = {name: of(name).codec.compress(text) for name in levels}
    assert len(packed["quick"]) > len(packed["slow"])
    gzip = ProducerConfig(bootstrap_servers="b:9092", compression="gzip").compression
    for name, level in (("quick", 1), ("slow", 9)):
        assert decompressor(gzip)(packed[name], len(text)) == text
        assert of(name).codec.moment == bytes_in_a_moment(gzip, level)


def test_partitions_are_full_at_the_topics_own_size() -> None:
    of = handling({"small": TopicConfig(batch_size=100), "tiny": TopicConfig(batch_size=5)})
    assert of("orders").make_partition("orders", 3).fill_limit == 0
    assert of("small").make_partition("small", 3).fill_limit == 100 - 61
    assert of("tiny").make_partition("tiny", 3).fill_limit == 1
    capped = handling({"large": TopicConfig(batch_size=9000)}, max_request_size=5000)
    partition = capped("large").make_partition("large", 3)
    assert (partition.topic, partition.partition, partition.fill_limit) == ("large", 3, 5000 - 61)


def test_a_partitioner_of_its_own_makes_the_topics_buffer() -> None:
    drawn: list[int] = []

    def seed() -> int:
        drawn.append(1)
        return 7

    config = ProducerConfig(
        bootstrap_servers="b:9092",
        partitioner=HashPartitioner(),
        topics={"logs": TopicConfig(partitioner=UniformStickyPartitioner())},
    )
    of = topic_handling(config, seed=seed)
    assert of("orders").make_buffer("orders").topic == "orders"
    assert drawn == []
    assert of("logs").make_buffer("logs").topic == "logs"
    assert drawn == [1]
