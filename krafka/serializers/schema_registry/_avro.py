"""Avro, encoded by fastavro."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import load_schema
from fastavro.validation import validate as check

from krafka.errors import ConfigError
from krafka.serializers.schema_registry._schemas import Schema
from krafka.serializers.schema_registry._serializer import RegistrySerializer, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias, Unpack

    from krafka.serializers.schema_registry._registry import SchemaRegistry
    from krafka.serializers.schema_registry._schemas import RegisteredSchema
    from krafka.serializers.schema_registry._serializer import SchemaOptions

    Declaration: TypeAlias = str | Mapping[str, Any] | Sequence[Any] | Schema


_ROOT = "<the schema>"
"""What the schema itself is called where its references are called by their names: no type can be called that."""


class AvroSerializer(RegistrySerializer[Any]):
    """Values in Avro, the schema's id in front: Confluent's wire format, as `KafkaAvroSerializer` writes it.

    `schema` is the declaration in JSON or as Python's data, or a `Schema` where it refers to others. `to_dict`
    is called with each value before it is encoded, and gives plain data: dicts for records, and so on, with
    fastavro's rules for unions and logical types. `validate` (True) checks each value first, because fastavro
    by itself writes some that do not fit, such as an int of more than 32 bits, in bytes that no other client reads;
    it costs three times what encoding costs. `strict` (False) refuses records with fields that the schema has not.
    A schema that is just "bytes" writes the bytes as they are, as Confluent's serializers do.

    The other options are those of `SchemaOptions`. Raises `ConfigError` for a declaration that is no Avro schema.
    """

    _type = "AVRO"
    _called = "Avro schema"

    def __init__(
        self,
        registry: SchemaRegistry,
        schema: Declaration | None = None,
        *,
        to_dict: Callable[[Any], Any] | None = None,
        validate: bool = True,
        strict: bool = False,
        **options: Unpack[SchemaOptions],
    ) -> None:
        declared = None if schema is None else _declared(schema)
        name = None if declared is None else _name_in(json.loads(declared.text))
        super().__init__(registry, declared, name, options)
        self._to_dict = to_dict
        self._validate = validate
        self._strict = strict

    def _encoder(self, registered: RegisteredSchema, references: Mapping[str, str]) -> Callable[[Any], bytes]:
        parsed = _parsed(registered.schema.text, references)
        head = prefix(registered.id)
        to_dict, validate, strict = self._to_dict, self._validate, self._strict
        raw = parsed == "bytes" or (
            isinstance(parsed, dict) and parsed.get("type") == "bytes" and "logicalType" not in parsed
        )

        def encode(value: Any) -> bytes:
            if to_dict is not None:
                value = to_dict(value)
            if validate:
                check(value, parsed, strict=strict)
            if raw:
                return bytes(head + value)
            out = BytesIO()
            out.write(head)
            fastavro.schemaless_writer(out, parsed, value, strict_allow_default=strict)
            return out.getvalue()

        return encode


def _declared(schema: Declaration) -> Schema:
    """The schema as the registry takes it, checked as far as it can be without what it refers to."""
    if isinstance(schema, str):
        declared = Schema(schema)
    elif isinstance(schema, Schema):
        declared = schema
    else:
        declared = Schema(json.dumps(schema))
    if declared.type == "AVRO":
        try:
            json.loads(declared.text) if declared.references else _parsed(declared.text, {})
        except Exception as error:
            # fastavro raises what it meets, KeyError included.
            raise ConfigError(
                f"schema is no Avro schema: {type(error).__name__}: {error}", option="schema"
            ) from error
    return declared


class _Known(AbstractSchemaRepository):
    """The declarations that fastavro may put in the place of a name."""

    def __init__(self, declarations: dict[str, Any]) -> None:
        self._declarations = declarations

    def load(self, name: str) -> Any:
        if name not in self._declarations:
            raise SchemaRepositoryError(
                f"{name!r} is neither declared in the schema nor one of its references"
            )
        return self._declarations[name]


def _parsed(text: str, references: Mapping[str, str]) -> Any:
    """The schema with what it refers to written out in it: the writer finds names in records only."""
    declarations = {_ROOT: json.loads(text)}
    for name, each in references.items():
        # Read afresh for each name, as fastavro changes what it is given.
        declarations[name] = json.loads(each)
        declarations.setdefault(_name_in(declarations[name]) or name, json.loads(each))
    return load_schema(_ROOT, repo=_Known(declarations))


def _name_in(declaration: Any) -> str | None:
    """A type's full name; a primitive type's is the type itself (Avro's specification), and a union has none."""
    if isinstance(declaration, str):
        return declaration
    if not isinstance(declaration, dict):
        return None
    name = declaration.get("name")
    if not isinstance(name, str):
        kind = declaration.get("type")
        return kind if isinstance(kind, str) else None
    namespace = declaration.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name
