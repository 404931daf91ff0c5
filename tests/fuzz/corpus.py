"""Sound responses to spoil: every API and version that krafka decodes, each a few times with different contents."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka._wire.api import APIS
from krafka._wire.frames import encode_response

if TYPE_CHECKING:
    from krafka._wire.schema import Field, Request, Response

CORRELATION_ID = 7
_SIZE_BYTES = 4
_VARIANTS = 6
_INTEGER_BITS = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64}
_TEXTS = ["", "orders", "broker-1.example", "naïve", "事件", "\N{GRINNING FACE}", "x" * 130]


class Specimen(NamedTuple):
    """One sound response: what it answers, and its frame without the size in front."""

    request: type[Request[Any]]
    version: int
    frame: bytes

    @property
    def response(self) -> type[Response]:
        """What the frame holds."""
        return self.request.RESPONSE


@cache
def corpus(seed: int = 0) -> tuple[Specimen, ...]:
    """Every response in every version: once with all it can hold, then with random contents."""
    random = Random(seed)
    return tuple(
        _specimen(random, api.request, version, fullness)
        for api in APIS
        for version in range(api.response.MIN_VERSION, api.response.MAX_VERSION + 1)
        for fullness in (1.0, *(random.random() for _ in range(_VARIANTS - 1)))
    )


def _specimen(random: Random, request: type[Request[Any]], version: int, fullness: float) -> Specimen:
    message = random_struct(random, request.RESPONSE, version, fullness)
    frame = b"".join(encode_response(message, version, CORRELATION_ID))[_SIZE_BYTES:]
    return Specimen(request, version, frame)


def random_struct(random: Random, cls: type[Any], version: int, fullness: float = 0.7) -> Any:
    """A struct whose fields hold anything the version allows; the fuller, the fewer nulls and empty lists."""
    struct = cls()
    for field in cls.SCHEMA:
        if _within(version, field.versions) and random.random() <= fullness + 0.3:
            setattr(struct, field.name, _value(random, field, version, fullness))
    return struct


def _within(version: int, versions: tuple[int, int] | None) -> bool:
    return versions is not None and versions[0] <= version <= versions[1]


def _value(random: Random, field: Field, version: int, fullness: float) -> Any:
    if _within(version, field.nullable) and random.random() > fullness:
        return None
    if not field.array:
        return _item(random, field, version, fullness)
    count = random.randint(1 if random.random() < fullness else 0, 3)
    if random.random() < 0.01 and not isinstance(field.type, str):
        count = 40
    return [_item(random, field, version, fullness) for _ in range(count)]


def _item(random: Random, field: Field, version: int, fullness: float) -> Any:
    kind = field.type
    if not isinstance(kind, str):
        return random_struct(random, kind, version, fullness)
    if kind in _INTEGER_BITS:
        return _integer(random, kind)
    if kind == "bool":
        return random.random() < 0.5
    if kind == "float64":
        return random.uniform(-1e9, 1e9)
    if kind == "uuid":
        return random.randbytes(16)
    if kind == "string":
        return random.choice(_TEXTS)
    return random.randbytes(random.choice([0, 1, 20, 200]))


def _integer(random: Random, kind: str) -> int:
    bits = _INTEGER_BITS[kind]
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = random.choice([0, 1, 3, 9092, low, high, random.randint(low, high)])
    return min(max(number, low), high)
