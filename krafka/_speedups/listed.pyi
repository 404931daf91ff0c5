from collections.abc import Iterator

from krafka.records import BytesLike

class ListedValues(Iterator[BytesLike | None]):
    def __init__(self, source: list[BytesLike | None] | tuple[BytesLike | None, ...]) -> None: ...
    def __next__(self) -> BytesLike | None: ...
