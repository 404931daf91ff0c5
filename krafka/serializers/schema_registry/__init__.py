"""Serializers that keep their schemas in a schema registry: Avro, JSON Schema, Protobuf, in Confluent's wire format.

Needs the extra: pip install 'krafka[schema-registry]'.
"""

from __future__ import annotations

try:
    import fastavro as _  # noqa: F401 - only whether it is there
    import google.protobuf  # noqa: F401 - the same
    import httpx2  # noqa: F401 - the same
    import jsonschema_rs  # noqa: F401 - the same
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"krafka.serializers.schema_registry needs the package {_error.name!r}, which is not installed; "
        f"install it with: pip install 'krafka[schema-registry]'",
        name=_error.name,
    ) from _error

from krafka.errors import SchemaRegistryError
from krafka.serializers.schema_registry._avro import AvroSerializer
from krafka.serializers.schema_registry._json_schema import JSONSchemaSerializer
from krafka.serializers.schema_registry._protobuf import ProtobufSerializer
from krafka.serializers.schema_registry._registry import SchemaRegistry
from krafka.serializers.schema_registry._schemas import (
    RegisteredSchema,
    Schema,
    SchemaReference,
    SubjectName,
    record_name,
    topic_name,
    topic_record_name,
)
from krafka.serializers.schema_registry._serializer import SchemaOptions

__all__ = [
    "AvroSerializer",
    "JSONSchemaSerializer",
    "ProtobufSerializer",
    "RegisteredSchema",
    "Schema",
    "SchemaOptions",
    "SchemaReference",
    "SchemaRegistry",
    "SchemaRegistryError",
    "SubjectName",
    "record_name",
    "topic_name",
    "topic_record_name",
]
