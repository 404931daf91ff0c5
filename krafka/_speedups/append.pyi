from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, final, overload

from krafka._speedups.record_batch import RecordBuffer
from krafka.errors import KafkaError
from krafka.partitioners import Partitioner
from krafka.records import BytesLike, Headers, RecordMetadata

_ErrorT = TypeVar("_ErrorT", bound=KafkaError)
_PartitionT = TypeVar("_PartitionT", bound=PartitionBuffer)

class ProducerBatch:
    created: float
    deadline: float
    charge: int
    base_sequence: int
    producer_id: int
    producer_epoch: int
    drain_order: int
    attempts: int
    attempt_leader_epoch: int
    on_wire: bool
    expedited: bool
    possibly_written: bool
    body: memoryview | bytes | None
    last_error: KafkaError | None

    def __init__(
        self, partition: PartitionBuffer, capacity: int, created: float, deadline: float
    ) -> None: ...
    @property
    def partition(self) -> Any: ...
    @property
    def records(self) -> RecordBuffer: ...
    @property
    def record_count(self) -> int: ...
    @property
    def done(self) -> bool: ...
    @property
    def error(self) -> KafkaError | None: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def log_append_time(self) -> int: ...
    def complete(self, base_offset: int, log_append_time: int) -> None: ...
    def fail(self, error: KafkaError, record_errors: dict[int, KafkaError] | None = None) -> None: ...
    async def wait(self) -> None: ...
    def error_of(self, index: int) -> KafkaError | None: ...

@final
class Delivery:
    @property
    def done(self) -> bool: ...
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def metadata(self) -> RecordMetadata | None: ...
    @property
    def exception(self) -> KafkaError | None: ...
    def __await__(self) -> Generator[Any, Any, RecordMetadata]: ...

class PartitionBuffer:
    topic: str
    partition: int
    pending: deque[ProducerBatch]

    def __init__(self, topic: str, partition: int) -> None: ...
    @property
    def open_batch(self) -> ProducerBatch | None: ...
    def take_open(self) -> ProducerBatch | None: ...

class TopicBuffer(Generic[_PartitionT]):
    topic: str
    partitions: list[_PartitionT]
    appended: int

    def __init__(self, topic: str, partitioner: Partitioner | None = None) -> None: ...
    def set_partitions(self, partitions: list[_PartitionT], available: list[_PartitionT]) -> None: ...

class Appender:
    topics: dict[str, TopicBuffer[Any]]
    batch_size: int
    max_request_size: int
    buffer_memory: int
    available: int
    contended: bool

    def __init__(
        self,
        *,
        batch_size: int,
        buffer_memory: int,
        max_request_size: int,
        delivery_timeout: float,
        monotonic: Callable[[], float],
        on_opened: Callable[[ProducerBatch], object],
        on_sealed: Callable[[Any], object],
        on_hastened: Callable[[ProducerBatch], object] | None = None,
        wall_clock: Callable[[], int] | None = None,
    ) -> None: ...
    def admit(self) -> None: ...
    def refuse_with(self, error: KafkaError) -> None: ...
    def check_caller(self) -> None: ...
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
    def append_many(
        self, result: SendResult, topic: str, values: Iterator[BytesLike | None], limit: int
    ) -> tuple[int, BytesLike | None, KafkaError | None]: ...

@final
class SendResult(Sequence[RecordMetadata]):
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> RecordMetadata: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordMetadata]: ...
    @property
    def failed(self) -> list[tuple[int, KafkaError]]: ...
    def raise_for_errors(self) -> None: ...
    def add_delivery(self, delivery: Delivery) -> None: ...
    def add_refused(self, error: KafkaError) -> None: ...
    async def wait(self) -> None: ...

def for_raising(error: _ErrorT) -> _ErrorT: ...
