"""Protobuf messages, by Google's library."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from krafka.errors import ConfigError
from krafka.serializers._base import shown
from krafka.serializers.schema_registry._schemas import Schema
from krafka.serializers.schema_registry._serializer import RegistrySerializer, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Unpack

    from krafka.serializers.schema_registry._registry import SchemaRegistry
    from krafka.serializers.schema_registry._schemas import RegisteredSchema, SchemaReference
    from krafka.serializers.schema_registry._serializer import SchemaOptions

MessageT = TypeVar("MessageT", bound=Message)

_KNOWN_EVERYWHERE = ("google/protobuf/", "google/type/", "confluent/")
"""Files that registries have built in, and that therefore are no references."""


class ProtobufSerializer(RegistrySerializer[MessageT], Generic[MessageT]):
    """Protobuf messages, the schema's id and the message's place in its file in front, as Confluent's serializer.

    `message_type` is a class that protoc made. Its file is the schema; the files that it imports are registered
    under subjects of their own names, or looked up there without `auto_register`, but for those that registries
    have built in.

    The other options are those of `SchemaOptions`; with `use_latest_version` or `schema_id` the message's place
    is still that in its own file. Raises `ConfigError` for what is no message class.
    """

    _type = "PROTOBUF"
    _called = "Protobuf schema"

    def __init__(
        self, registry: SchemaRegistry, message_type: type[MessageT], **options: Unpack[SchemaOptions]
    ) -> None:
        _check_class(message_type)
        self._message_type = message_type
        self._file = message_type.DESCRIPTOR.file
        schema = Schema(_text_of(self._file), "PROTOBUF")
        super().__init__(registry, schema, message_type.DESCRIPTOR.full_name, options, brings_schema=False)

    async def _complete(self, schema: Schema) -> Schema:
        return Schema(schema.text, "PROTOBUF", await self._references(self._file))

    async def _references(self, file: Any) -> tuple[SchemaReference, ...]:
        """What a file imports, each in the registry with a version by then."""
        found = []
        for imported in file.dependencies:
            if imported.name.startswith(_KNOWN_EVERYWHERE):
                continue
            references = await self._references(imported)
            schema = Schema(_text_of(imported), "PROTOBUF", references)
            if self._auto_register:
                await self._registry.register(imported.name, schema, normalize=self._normalize)
            kept = await self._registry.lookup(imported.name, schema, normalize=self._normalize)
            found.append(kept.reference(imported.name))
        return tuple(found)

    async def _referred(self, schema: Schema) -> dict[str, str]:
        # A message knows how to encode itself.
        return {}

    def _encoder(
        self, registered: RegisteredSchema, references: Mapping[str, str]
    ) -> Callable[[MessageT], bytes]:
        head = prefix(registered.id) + _place_in_file(self._message_type.DESCRIPTOR)
        message_type, wanted = self._message_type, self._message_type.DESCRIPTOR.full_name

        def encode(value: MessageT) -> bytes:
            if not isinstance(value, message_type):
                raise TypeError(f"a message {wanted!r} is needed")
            return head + value.SerializeToString()

        return encode


def _check_class(given: object) -> None:
    if not (isinstance(given, type) and issubclass(given, Message)):
        raise ConfigError(
            f"message_type must be a class made by protoc, got {shown(given)}", option="message_type"
        )


def _described(file: Any) -> FileDescriptorProto:
    described = FileDescriptorProto()
    file.CopyToProto(described)
    return described


def _text_of(file: Any) -> str:
    return base64.b64encode(_described(file).SerializeToString()).decode("ascii")


def _place_in_file(descriptor: Any) -> bytes:
    """Where a message is declared: its index in the file or in the message around it, from the outside in.

    As zigzag varints, their number in front; the first message of a file, by far the most frequent, is one 0.
    """
    declared = _described(descriptor.file).message_type
    names: list[str] = []
    while descriptor is not None:
        names.insert(0, descriptor.name)
        descriptor = descriptor.containing_type
    indexes: list[int] = []
    for name in names:
        index = [each.name for each in declared].index(name)
        indexes.append(index)
        declared = declared[index].nested_type
    if indexes == [0]:
        return b"\x00"
    return b"".join(map(_zigzag_varint, (len(indexes), *indexes)))


def _zigzag_varint(number: int) -> bytes:
    """A number of at least 0, doubled as zigzag does, seven bits a byte, the lowest first."""
    rest = number << 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
