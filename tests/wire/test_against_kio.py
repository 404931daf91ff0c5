"""kio, an independent codec generated from the same definitions, writes the bytes that krafka writes."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka._wire.frames import decode_message, encode_message

from .strategies import EVERY_VERSION, any_integer, full, structs, within

if TYPE_CHECKING:
    from krafka._wire.schema import Field, Message

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)


def kio_class(cls: type[Message], version: int) -> Any:
    kind = "Request" if cls.__name__.endswith("Request") else "Response"
    name = cls.__name__.removesuffix(kind)
    api = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return getattr(importlib.import_module(f"kio.schema.{api}.v{version}.{kind.lower()}"), cls.__name__)


def kio_integers(field: Field) -> st.SearchStrategy[int]:
    """What kio's narrower types can hold: known error codes, and times that datetime can hold exactly."""
    from kio.schema.errors import ErrorCode

    if field.name.endswith("error_code"):
        return st.sampled_from([code.value for code in ErrorCode])
    if field.name in {"log_append_time_ms", "transaction_start_time_ms"}:
        times = st.integers(0, 250_000_000_000).map(lambda seconds: 1000 * seconds)
        return times if field.name == "transaction_start_time_ms" else st.just(-1) | times
    if field.name == "session_lifetime_ms":
        return st.integers(-(2**40), 2**40)
    return any_integer(field)


def to_kio(value: Any, hint: Any) -> Any:
    """One value in kio's type, told by the field of kio's class it is meant for."""
    from kio.schema.errors import ErrorCode

    kind = hint.metadata.get("kafka_type")
    if isinstance(value, list):
        return tuple(to_kio(item, hint) for item in value)
    if kind == "error_code":
        return ErrorCode(value)
    if kind in {"timedelta_i32", "timedelta_i64"}:
        return value * MILLISECOND
    if kind == "datetime_i64":
        return None if value == -1 else EPOCH + value * MILLISECOND
    if kind == "uuid":
        return uuid.UUID(bytes=value) if any(value) else None
    return value


def kio_struct_type(hint: Any, module: Any) -> Any:
    """The class behind `X`, `X | None` or `tuple[X, ...]` among the struct classes of kio's module."""
    for name in re.findall(r"\w+", str(hint.type)):
        candidate = getattr(module, name, None)
        if dataclasses.is_dataclass(candidate):
            return candidate
    raise AssertionError(f"no struct class in {hint.type}")


def as_kio(struct: Any, target: Any, version: int) -> Any:
    """The same struct as an instance of kio's class, field by field in schema order."""
    module = importlib.import_module(target.__module__)
    present = [field for field in struct.SCHEMA if within(version, field.versions)]
    hints = dataclasses.fields(target)
    assert len(present) == len(hints)
    arguments = {}
    for field, hint in zip(present, hints, strict=True):
        value = getattr(struct, field.name)
        if not isinstance(field.type, str) and value is not None:
            nested = kio_struct_type(hint, module)
            converted: Any = (
                tuple(as_kio(item, nested, version) for item in value)
                if field.array
                else as_kio(value, nested, version)
            )
        else:
            converted = to_kio(value, hint)
        arguments[hint.name] = converted
    return target(**arguments)


def check_against_kio(message: Message, version: int) -> None:
    from kio.serial import entity_reader, entity_writer

    target = kio_class(type(message), version)
    theirs = as_kio(message, target, version)
    buffer = io.BytesIO()
    entity_writer(target)(buffer, theirs)
    ours = b"".join(encode_message(message, version))
    assert ours == buffer.getvalue()
    assert entity_reader(target)(ours, 0) == (theirs, len(ours))
    assert decode_message(type(message), version, buffer.getvalue()) == message


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_random_messages_are_the_same_bytes(cls: type[Message], version: int, data: st.DataObject) -> None:
    check_against_kio(data.draw(structs(cls, version, kio_integers)), version)


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_messages_with_every_field_set_are_the_same_bytes(cls: type[Message], version: int) -> None:
    check_against_kio(full(cls, version), version)
