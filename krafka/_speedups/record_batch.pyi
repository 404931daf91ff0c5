from collections.abc import Mapping, Sequence

from typing_extensions import Buffer

HEADER_SIZE: int
MAX_FIELD_SIZE: int

class RecordBuffer(Buffer):
    used: int
    capacity: int
    count: int
    base_timestamp: int
    max_timestamp: int

    def __init__(self, capacity: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def append(
        self,
        timestamp: int,
        key: bytes | bytearray | memoryview | None,
        value: bytes | bytearray | memoryview | None,
        headers: Sequence[tuple[str, bytes | bytearray | memoryview | None]]
        | Mapping[str, bytes | bytearray | memoryview | None]
        | None = None,
    ) -> None: ...

class RecordCursor:
    index: int

    def __init__(self, source: RecordBuffer) -> None: ...
    @property
    def source(self) -> RecordBuffer: ...
    def skip(self, count: int) -> None: ...
    def move(self, target: RecordBuffer, count: int, limit: int) -> int: ...

def batch_header(
    body: Buffer,
    *,
    count: int,
    base_timestamp: int,
    max_timestamp: int,
    attributes: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytes: ...
def next_sequence(sequence: int, increment: int) -> int: ...
