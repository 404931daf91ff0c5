"""Serializers: callables that make the bytes of keys and values, for `key_serializer` and `value_serializer`.

Those with a schema registry are in `krafka.serializers.schema_registry`, which needs the extra of that name.
"""

from __future__ import annotations

from krafka.serializers._json import JSONSerializer
from krafka.serializers._plain import (
    BooleanSerializer,
    BytesSerializer,
    DoubleSerializer,
    FloatSerializer,
    IntegerSerializer,
    LongSerializer,
    ShortSerializer,
    StringSerializer,
    UUIDSerializer,
)

__all__ = [
    "BooleanSerializer",
    "BytesSerializer",
    "DoubleSerializer",
    "FloatSerializer",
    "IntegerSerializer",
    "JSONSerializer",
    "LongSerializer",
    "ShortSerializer",
    "StringSerializer",
    "UUIDSerializer",
]
