"""What a generated Kafka message is made of: its base classes and the table that describes its fields."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

Buffer: TypeAlias = bytes | bytearray | memoryview
Records: TypeAlias = Buffer | Sequence[Buffer]
"""Encoded record batches: one buffer, or several that follow one another. Decoding always gives `bytes`."""

Uuid: TypeAlias = bytes
"""Sixteen bytes, big-endian, as on the wire; `uuid.UUID(bytes=value)` makes text of it."""

NO_UUID: Uuid = bytes(16)
"""Kafka's "no id": the all-zero UUID."""

Versions: TypeAlias = tuple[int, int]
"""The first and the last version, both included."""


class Struct:  # noqa: PLW1641 - what is compared may change, so there is no hash
    """A group of fields. Every subclass is a `dataclass(slots=True)`: the codec reads the slots directly.

    What dataclasses would compile for each class on its own is here for all of them: it took half the time of
    importing them.
    """

    __slots__ = ()

    SCHEMA: ClassVar[tuple[Field, ...]]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in self.SCHEMA)

    def __repr__(self) -> str:
        values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in self.SCHEMA)
        return f"{type(self).__name__}({values})"


class Field(NamedTuple):
    """How one attribute travels. Its default is the dataclass's own.

    `nullable` are the versions in which None may be sent; `tagged` those in which the field is optional on
    the wire and carries `tag` (KIP-482). An `ignorable` field is dropped in silence when the version lacks
    it; any other is then an error, unless it holds its default.
    """

    name: str
    type: str | type[Struct]
    versions: Versions
    array: bool = False
    nullable: Versions | None = None
    tagged: Versions | None = None
    tag: int | None = None
    ignorable: bool = False


class Message(Struct):
    """A request or a response body, able to speak MIN_VERSION to MAX_VERSION.

    Versions from FLEXIBLE_FROM on use compact lengths and tagged fields (KIP-482); None: no version does.
    """

    __slots__ = ()

    API_KEY: ClassVar[int]
    MIN_VERSION: ClassVar[int]
    MAX_VERSION: ClassVar[int]
    FLEXIBLE_FROM: ClassVar[int | None]


class Response(Message):
    """What a broker answers."""

    __slots__ = ()


ResponseT_co = TypeVar("ResponseT_co", bound=Response, covariant=True)


class Request(Message, Generic[ResponseT_co]):
    """What a client asks, and by its type argument what answers it."""

    __slots__ = ()

    RESPONSE: ClassVar[type[Response]]


class Api(NamedTuple):
    """One request/response pair and the versions this client is willing to speak.

    The range can be narrower than the classes': AddPartitionsToTxn 4 and 5 are for brokers only (KIP-890).
    The classes are imported when they are asked for; most producers use four APIs of fifteen.
    """

    key: int
    name: str
    module: str
    min_version: int
    max_version: int

    @property
    def request(self) -> type[Request[Response]]:
        """The class of its requests."""
        found: type[Request[Response]] = self._class("Request")
        return found

    @property
    def response(self) -> type[Response]:
        """The class of its responses."""
        found: type[Response] = self._class("Response")
        return found

    def _class(self, kind: str) -> Any:
        return getattr(import_module(f"{__package__}.{self.module}"), f"{self.name}{kind}")
