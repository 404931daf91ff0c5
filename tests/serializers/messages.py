"""Protobuf messages of two files, one of which imports the other, made without protoc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.message import Message

ADDRESS_FILE = "cafe/address.proto"
ORDER_FILE = "cafe/order.proto"


def _field(
    name: str, number: int, kind: int, type_name: str | None = None, repeated: bool = False
) -> FieldDescriptorProto:
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    return FieldDescriptorProto(name=name, number=number, type=kind, type_name=type_name, label=label)


def _pool() -> DescriptorPool:
    whole, text, other = (
        FieldDescriptorProto.TYPE_INT64,
        FieldDescriptorProto.TYPE_STRING,
        FieldDescriptorProto.TYPE_MESSAGE,
    )
    address = DescriptorProto(name="Address", field=[_field("street", 1, text)])
    order = DescriptorProto(
        name="Order",
        field=[
            _field("id", 1, whole),
            _field("lines", 2, text, repeated=True),
            _field("to", 3, other, ".cafe.Address"),
            _field("at", 4, other, ".google.protobuf.Timestamp"),
        ],
    )
    contact = DescriptorProto(name="Contact", field=[_field("mail", 1, text)])
    card = DescriptorProto(name="Card", field=[_field("number", 1, text)])
    customer = DescriptorProto(name="Customer", field=[_field("name", 1, text)], nested_type=[contact, card])
    pool = DescriptorPool()
    pool.Add(FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(FileDescriptorProto(name=ADDRESS_FILE, package="cafe", syntax="proto3", message_type=[address]))
    pool.Add(
        FileDescriptorProto(
            name=ORDER_FILE,
            package="cafe",
            syntax="proto3",
            dependency=[ADDRESS_FILE, "google/protobuf/timestamp.proto"],
            message_type=[order, customer],
        )
    )
    return pool


POOL = _pool()


def message_class(name: str) -> type[Message]:
    """The class of a message of these files, by its full name."""
    descriptor: Any = POOL.FindMessageTypeByName(name)
    found: type[Message] = GetMessageClass(descriptor)
    return found
