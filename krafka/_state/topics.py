"""What each topic has in its own way: how its batches are compressed, how large they become, how records are spread."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from krafka._options import codec_of
from krafka._speedups.record_batch import HEADER_SIZE
from krafka._state.partition import BatchCodec, Partition
from krafka._state.spreading import buffers_for
from krafka.compression import Compression, bytes_in_a_moment, compressor

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._speedups.topic_buffer import TopicBuffer
    from krafka.config import ProducerConfig


class TopicHandling:
    """How a topic's buffer and partitions are made.

    `fill_to` are the bytes of records in a full batch where that is not as the producer has it.
    """

    def __init__(
        self,
        codec: BatchCodec,
        make_buffer: Callable[[str], TopicBuffer[Partition]],
        fill_to: int | None = None,
    ) -> None:
        self.codec = codec
        self.make_buffer = make_buffer
        self._fill_to = fill_to

    def make_partition(self, topic: str, number: int) -> Partition:
        """A partition that has neither records nor numbers yet."""
        partition = Partition(topic, number)
        partition.codec = self.codec
        if self._fill_to is not None:
            partition.fill_to(self._fill_to)
        return partition


def topic_handling(
    config: ProducerConfig, *, seed: Callable[[], int] | None = None
) -> Callable[[str], TopicHandling]:
    """What tells how a topic is handled, by the producer's options and the topic's own.

    `seed` is as for `buffers_for`.
    """

    @cache
    def codec(compression: Compression, level: int | None) -> BatchCodec:
        return batch_codec(compression, level)

    rest = TopicHandling(
        codec(config.compression, config.compression_level), buffers_for(config.partitioner, seed)
    )
    own: dict[str, TopicHandling] = {}
    for name, topic in config.topics.items():
        make_buffer = rest.make_buffer if topic.partitioner is None else buffers_for(topic.partitioner, seed)
        own[name] = TopicHandling(
            codec(*codec_of(topic, config.compression, config.compression_level)),
            make_buffer,
            None
            if topic.batch_size is None
            else max(min(topic.batch_size, config.max_request_size) - HEADER_SIZE, 1),
        )
    return lambda topic: own.get(topic, rest)


def batch_codec(compression: Compression, level: int | None) -> BatchCodec:
    """How batches are compressed with a codec and level."""
    if compression is Compression.NONE:
        return BatchCodec()
    return BatchCodec(compression.id, compressor(compression, level), bytes_in_a_moment(compression, level))


def batch_span(config: ProducerConfig) -> float:
    """Seconds from a batch's first record to its last: all share one deadline, which is the first one's.

    A batch that lingers, or whose broker takes it, is closed long before.
    """
    return config.linger + max(config.delivery_timeout / 100, 0.01)
