from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from krafka._speedups.batch import PartitionBuffer
from krafka.partitioners import Partitioner, RecordPartitioner

_PartitionT = TypeVar("_PartitionT", bound=PartitionBuffer)

class SpreadRule:
    def __init__(
        self,
        keys: Literal["murmur2", "siphash13", "fnv1a", "crc32"] | None,
        keyless: Literal["in turn", "at random", "first", "stay for records", "stay for bytes"],
        *,
        empty_is_key: bool = True,
        stay: int = 0,
    ) -> None: ...
    @property
    def draws(self) -> bool: ...

class TopicBuffer(Generic[_PartitionT]):
    topic: str
    partitions: list[_PartitionT]
    appended: int

    def __init__(
        self,
        topic: str,
        partitioner: SpreadRule | Partitioner | RecordPartitioner | None = None,
        *,
        loads: Callable[[list[_PartitionT]], list[int]] | None = None,
        seed: int = 0,
    ) -> None: ...
    def set_partitions(self, partitions: list[_PartitionT], available: list[_PartitionT]) -> None: ...
