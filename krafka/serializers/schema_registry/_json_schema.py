"""JSON that fits a JSON Schema, checked by jsonschema-rs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import jsonschema_rs

from krafka.errors import ConfigError
from krafka.serializers._json import JSONSerializer
from krafka.serializers.schema_registry._schemas import Schema
from krafka.serializers.schema_registry._serializer import RegistrySerializer, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias, Unpack

    from krafka.serializers.schema_registry._registry import SchemaRegistry
    from krafka.serializers.schema_registry._schemas import RegisteredSchema
    from krafka.serializers.schema_registry._serializer import SchemaOptions

    Declaration: TypeAlias = str | Mapping[str, Any] | Schema

_WITHOUT_ID = "json-schema:///"
"""The address that jsonschema-rs gives a schema that names none of its own."""


class JSONSchemaSerializer(RegistrySerializer[Any]):
    """Values in JSON, the schema's id in front: Confluent's wire format, as `KafkaJsonSchemaSerializer` writes it.

    `schema` is the JSON Schema as text or as Python's data, of draft 4, 6, 7, 2019-09 or 2020-12 as its `$schema`
    says, or a `Schema` where it refers to others. `to_dict` is called with each value before anything else, and
    gives plain data. `validate` (True) checks each value by the schema; a value has to be plain data for that.
    `json` makes the bytes, a `JSONSerializer` without options unless given. A schema may refer to what its
    references name; nothing is fetched from other addresses.

    The other options are those of `SchemaOptions`. Raises `ConfigError` for what is no JSON Schema.
    """

    _type = "JSON"
    _called = "JSON Schema"

    def __init__(
        self,
        registry: SchemaRegistry,
        schema: Declaration | None = None,
        *,
        to_dict: Callable[[Any], Any] | None = None,
        validate: bool = True,
        json: JSONSerializer | None = None,
        **options: Unpack[SchemaOptions],
    ) -> None:
        declared = None if schema is None else _declared(schema)
        super().__init__(registry, declared, None if declared is None else _title_in(declared), options)
        self._to_dict = to_dict
        self._validate = validate
        self._json = JSONSerializer() if json is None else json

    def _encoder(self, registered: RegisteredSchema, references: Mapping[str, str]) -> Callable[[Any], bytes]:
        check = _validator(registered.schema.text, references).validate if self._validate else None
        head = prefix(registered.id)
        to_dict, encode_json = self._to_dict, self._json._encode  # noqa: SLF001 - without its own words for errors

        def encode(value: Any) -> bytes:
            if to_dict is not None:
                value = to_dict(value)
            if check is not None:
                check(value)
            return head + encode_json(value)

        return encode


def _declared(schema: Declaration) -> Schema:
    """The schema as the registry takes it, checked as far as it can be without what it refers to."""
    if isinstance(schema, str):
        declared = Schema(schema, "JSON")
    elif isinstance(schema, Schema):
        declared = schema
    else:
        declared = Schema(json.dumps(schema, ensure_ascii=False), "JSON")
    if declared.type == "JSON":
        try:
            json.loads(declared.text) if declared.references else _validator(declared.text, {})
        except ValueError as error:
            first = str(error).split("\n", 1)[0]
            raise ConfigError(f"schema is no JSON Schema: {first}", option="schema") from error
    return declared


def _validator(text: str, references: Mapping[str, str]) -> jsonschema_rs.Validator:
    schema = json.loads(text)
    own = schema.get("$id") if isinstance(schema, dict) else None
    known = {}
    for name, each in references.items():
        contents = json.loads(each)
        known[name] = known[_WITHOUT_ID + name] = contents
        if isinstance(own, str):
            known[urljoin(own, name)] = contents

    def retrieve(address: str) -> Any:
        if address in known:
            return known[address]
        raise LookupError(f"{address} is none of the schema's references: {sorted(references)}")

    return jsonschema_rs.validator_for(schema, retriever=retrieve)


def _title_in(schema: Schema) -> str | None:
    contents = json.loads(schema.text) if schema.type == "JSON" else None
    title = contents.get("title") if isinstance(contents, dict) else None
    return title if isinstance(title, str) else None
