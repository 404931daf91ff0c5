"""Random messages of every API and version, drawn from the same schema tables that the codec reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from krafka._wire.api import APIS
from krafka._wire.schema import Field, Message

INTEGERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}

IntegerStrategy = Callable[[Field], st.SearchStrategy[int]]


def any_integer(field: Field) -> st.SearchStrategy[int]:
    assert isinstance(field.type, str)
    low, high = INTEGERS[field.type]
    return st.sampled_from([low, -1 if low else 1, 0, 127, high]) | st.integers(low, high)


def within(version: int, versions: tuple[int, int] | None) -> bool:
    return versions is not None and versions[0] <= version <= versions[1]


def values(field: Field, version: int, integers: IntegerStrategy = any_integer) -> st.SearchStrategy[Any]:
    """Anything the field can hold on the wire in this version."""
    item: st.SearchStrategy[Any]
    if not isinstance(field.type, str):
        item = structs(field.type, version, integers)
    elif field.type in INTEGERS:
        item = integers(field)
    else:
        item = {
            "bool": st.booleans(),
            "float64": st.floats(allow_nan=False),
            "uuid": st.just(bytes(16)) | st.binary(min_size=16, max_size=16),
            "string": st.text(max_size=9),
            "bytes": st.binary(max_size=9) | st.just(bytes(2000)),
            "records": st.binary(max_size=9) | st.just(bytes(2000)),
        }[field.type]
    if field.array:
        item = st.lists(item, max_size=3)
    return st.none() | item if within(version, field.nullable) else item


def structs(cls: type[Any], version: int, integers: IntegerStrategy = any_integer) -> st.SearchStrategy[Any]:
    """Instances whose fields outside the version hold their defaults."""
    present = [field for field in cls.SCHEMA if within(version, field.versions)]
    return st.builds(cls, **{field.name: values(field, version, integers) for field in present})


MESSAGE_CLASSES: list[type[Message]] = [cls for api in APIS for cls in (api.request, api.response)]

EVERY_VERSION = [
    pytest.param(cls, version, id=f"{cls.__name__}-{version}")
    for cls in MESSAGE_CLASSES
    for version in range(cls.MIN_VERSION, cls.MAX_VERSION + 1)
]


def full(cls: type[Any], version: int) -> Any:
    """One instance with every field of the version set to something that is not its default."""
    message = cls()
    for field in cls.SCHEMA:
        if within(version, field.versions):
            value: Any
            if not isinstance(field.type, str):
                value = full(field.type, version)
            else:
                number = 8 if field.type in INTEGERS else None
                value = number or {
                    "bool": not getattr(message, field.name),
                    "float64": 1.5,
                    "uuid": bytes(range(16)),
                    "string": "naïve",
                    "bytes": b"\x01\x02\x03",
                    "records": b"\x04\x05\x06",
                }.get(field.type, True)
            setattr(message, field.name, [value, value] if field.array else value)
    return message
