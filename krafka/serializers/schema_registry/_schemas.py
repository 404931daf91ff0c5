"""Schemas as a registry knows them, and the names of the subjects they are kept under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from krafka.errors import ConfigError

SchemaType: TypeAlias = Literal["AVRO", "JSON", "PROTOBUF"]
Field: TypeAlias = Literal["key", "value"]


@dataclass(frozen=True, slots=True)
class SchemaReference:
    """A schema that another one uses: `name` as the other writes it, and the subject and version it is kept under."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema's text, its type ("AVRO", "JSON" or "PROTOBUF"), and what it refers to.

    The text of a Protobuf schema is the .proto file's, or its `FileDescriptorProto` in Base64.
    """

    text: str
    type: SchemaType = "AVRO"
    references: tuple[SchemaReference, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema in a registry: its id, and the subject and version where the registry was asked by these."""

    id: int
    schema: Schema
    subject: str | None = None
    version: int | None = None

    def reference(self, name: str) -> SchemaReference:
        """A reference to it under the name that another schema writes.

        Raises ValueError where the subject or the version is not known; `SchemaRegistry.lookup` tells both.
        """
        if self.subject is None or self.version is None:
            raise ValueError(
                f"the schema of id {self.id} was not asked for by subject and version: look it up"
            )
        return SchemaReference(name, self.subject, self.version)


class SubjectName(Protocol):
    """Names the subject of a topic's keys or values; any callable of this shape will do.

    `record_name` is the schema's own name: an Avro type's or a Protobuf message's full name, a JSON Schema's
    title, or None where the schema has none.
    """

    def __call__(self, topic: str, field: Field, record_name: str | None, /) -> str:
        """The subject's name."""
        ...


def topic_name(topic: str, field: Field, record_name: str | None) -> str:
    """The topic's name and "-key" or "-value": one schema for each topic; Confluent's `TopicNameStrategy`."""
    return f"{topic}-{field}"


def record_name(topic: str, field: Field, record_name: str | None) -> str:
    """The schema's own name, whatever the topic; Confluent's `RecordNameStrategy`."""
    return _needed(record_name, topic)


def topic_record_name(topic: str, field: Field, record_name: str | None) -> str:
    """The topic's name, "-" and the schema's own name; Confluent's `TopicRecordNameStrategy`."""
    return f"{topic}-{_needed(record_name, topic)}"


def _needed(name: str | None, topic: str) -> str:
    if name is None:
        raise ConfigError(
            f"subject_name cannot name the subject for topic {topic!r}: the schema has no name "
            "(a union, or a JSON Schema without a title) or none was given; "
            "give one that has, or use topic_name",
            option="subject_name",
        )
    return name
