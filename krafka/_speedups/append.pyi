from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from krafka._speedups.batch import PartitionBuffer, ProducerBatch
from krafka._speedups.delivery import Delivery, SendResult
from krafka._speedups.producer_record import ProducerRecord
from krafka._speedups.topic_buffer import TopicBuffer
from krafka._speedups.waiting import EventLoop
from krafka.errors import KafkaError
from krafka.records import BytesLike, Headers

class Appender:
    topics: dict[str, TopicBuffer[Any]]
    batch_size: int
    max_request_size: int
    buffer_memory: int
    available: int
    contended: bool
    loop: EventLoop | None
    @property
    def appended_bytes(self) -> int: ...
    @property
    def refusal(self) -> KafkaError | None: ...
    def __init__(
        self,
        *,
        batch_size: int,
        buffer_memory: int,
        max_request_size: int,
        delivery_timeout: float,
        batch_span: float = ...,
        monotonic: Callable[[], float],
        on_opened: Callable[[ProducerBatch], object],
        on_sealed: Callable[[Any], object],
        on_hastened: Callable[[ProducerBatch], object] | None = None,
        wall_clock: Callable[[], int] | None = None,
    ) -> None: ...
    def admit(self) -> None: ...
    def note_compressed(
        self, partition: PartitionBuffer, size: int, compressed: int, largest: int
    ) -> None: ...
    def refuse_with(self, error: KafkaError, *, granted: bool = False) -> None: ...
    def check_caller(self) -> None: ...
    def drop_topic(self, topic: str) -> TopicBuffer[Any]: ...
    def append(
        self,
        topic: str,
        value: BytesLike | None = None,
        *,
        key: BytesLike | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> Delivery: ...
    def append_fields(
        self,
        topic: str,
        value: BytesLike | None,
        key: BytesLike | None,
        headers: Headers | None,
        partition: int | None,
        timestamp: int | datetime | None,
    ) -> Delivery: ...
    def append_granted(
        self,
        topic: str,
        value: BytesLike | None,
        key: BytesLike | None,
        headers: Headers | None,
        partition: int | None,
        timestamp: int | datetime | None,
        entered: float,
        grant: int,
    ) -> tuple[Delivery, int]: ...
    def append_records(
        self, result: SendResult, records: Iterator[ProducerRecord], limit: int, limit_bytes: int
    ) -> tuple[bool, ProducerRecord | None, KafkaError | None]: ...
    def append_many(
        self, result: SendResult, topic: str, values: Iterator[BytesLike | None], limit: int, limit_bytes: int
    ) -> tuple[bool, BytesLike | None, KafkaError | None]: ...
