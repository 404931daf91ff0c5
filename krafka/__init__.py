"""krafka: a Kafka producer for structured-concurrency Python, the same under asyncio and trio."""

from __future__ import annotations

from krafka import errors
from krafka._descriptions import OptionDescription
from krafka._speedups.producer_record import ProducerRecord
from krafka._speedups.record_metadata import RecordMetadata
from krafka._version import __version__
from krafka.compression import Compression
from krafka.config import Acks, ProducerConfig, TopicConfig
from krafka.errors import *  # noqa: F403 - its __all__ is part of this one
from krafka.groups import ConsumerGroupMetadata, OffsetAndMetadata
from krafka.interceptors import ProducerInterceptor, RejectRecord
from krafka.partitioners import (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    Partitioner,
    RecordPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
)
from krafka.producer import Delivery, Producer, SendResult
from krafka.records import PartitionInfo, TopicPartition
from krafka.retry import RetryContext, RetryPolicy
from krafka.transactions import TransactionalProducer, TransactionState

__all__ = [
    "Acks",
    "Compression",
    "ConsistentRandomPartitioner",
    "ConsumerGroupMetadata",
    "DefaultPartitioner",
    "Delivery",
    "Fnv1aPartitioner",
    "HashPartitioner",
    "OffsetAndMetadata",
    "OptionDescription",
    "PartitionInfo",
    "Partitioner",
    "Producer",
    "ProducerConfig",
    "ProducerInterceptor",
    "ProducerRecord",
    "RecordMetadata",
    "RecordPartitioner",
    "RejectRecord",
    "RetryContext",
    "RetryPolicy",
    "RoundRobinPartitioner",
    "SendResult",
    "StickyPartitioner",
    "TopicConfig",
    "TopicPartition",
    "TransactionState",
    "TransactionalProducer",
    "UniformStickyPartitioner",
    "__version__",
]
__all__ += errors.__all__
