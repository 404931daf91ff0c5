"""What serializers with a registry have in common: which schema, where from, and bytes at once when it is known."""

from __future__ import annotations

import logging
import math
import struct
import time
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from krafka.errors import ConfigError, KafkaError, SchemaRegistryError, SerializationError
from krafka.serializers._base import shown
from krafka.serializers.schema_registry._schemas import topic_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping
    from typing import Self

    from krafka.records import Headers
    from krafka.serializers.schema_registry._registry import SchemaRegistry
    from krafka.serializers.schema_registry._schemas import (
        Field,
        RegisteredSchema,
        Schema,
        SchemaReference,
        SchemaType,
        SubjectName,
    )

logger = logging.getLogger(__name__)

_PREFIX = struct.Struct(">bI")
_MAGIC = 0
_MAX_ID = 2**31 - 1
_SHOWN = 300

ValueT = TypeVar("ValueT")


class SchemaOptions(TypedDict, total=False):
    """Where a serializer's schema comes from. The same for Avro, JSON Schema and Protobuf."""

    field: Field
    """Which part of the record it makes, "key" or "value"; "value" unless given. It is part of the subject's name."""
    subject_name: SubjectName
    """Names the subject: `topic_name` unless given, `record_name`, `topic_record_name`, or a function of one's own."""
    auto_register: bool
    """Register the schema where the subject has it not, as is done unless another option says where the schema
    is to come from. False only looks it up: it is an error where nobody has registered it."""
    normalize: bool
    """Let the registry bring the schema into its normal form before it compares it; False unless given."""
    use_latest_version: bool
    """Write by the subject's latest version, whatever it is; False unless given. With Avro and JSON Schema the
    serializer needs no schema of its own then, but for the name that some subjects are named by."""
    latest_ttl: float
    """With `use_latest_version`: after so many seconds the latest version is asked for again. Without it the
    first answer counts as long as the serializer lives."""
    schema_id: int
    """Write by the schema of this id. With Avro and JSON Schema the serializer has no schema of its own then."""


class Writer:
    """One topic's schema, and the function that encodes by it."""

    __slots__ = ("encode", "good_until", "registered")

    def __init__(
        self, registered: RegisteredSchema, encode: Callable[[Any], bytes], good_until: float
    ) -> None:
        self.registered = registered
        self.encode = encode
        self.good_until = good_until


class _Later(Generic[ValueT]):
    """The bytes of a value whose schema has to be asked for first; nothing happens until it is awaited."""

    __slots__ = ("_serializer", "_topic", "_value")

    def __init__(self, serializer: RegistrySerializer[ValueT], topic: str, value: ValueT) -> None:
        self._serializer = serializer
        self._topic = topic
        self._value = value

    def __await__(self) -> Generator[Any, Any, bytes]:
        return self._encoded().__await__()

    async def _encoded(self) -> bytes:
        writer = await self._serializer._writer(self._topic)  # noqa: SLF001 - the other half of this class
        return self._serializer._write(writer, self._topic, self._value)  # noqa: SLF001 - the same


class RegistrySerializer(Generic[ValueT]):
    """The schema of each topic, asked for once; the subclasses say how values are encoded by it."""

    _type: SchemaType
    _called: str

    def __init__(
        self,
        registry: SchemaRegistry,
        schema: Schema | None,
        record_name: str | None,
        options: SchemaOptions,
        *,
        brings_schema: bool = True,
    ) -> None:
        _check(options)
        latest = options.get("use_latest_version", False)
        schema_id = options.get("schema_id")
        if schema is None and not latest and schema_id is None:
            raise ConfigError("schema must be given, or use_latest_version, or schema_id", option="schema")
        if schema_id is not None and brings_schema and schema is not None:
            raise ConfigError("schema and schema_id exclude each other; give one", option="schema_id")
        if schema is not None and schema.type != self._type:
            raise ConfigError(f"schema must be of type {self._type}, got {schema.type}", option="schema")
        self._registry = registry
        self._schema = schema
        self._record_name = record_name
        self._field: Field = options.get("field", "value")
        self._subject_name = options.get("subject_name", topic_name)
        self._auto_register = options.get("auto_register", True)
        self._normalize = options.get("normalize", False)
        self._latest = latest
        self._schema_id = schema_id
        self._latest_ttl = options.get("latest_ttl", math.inf)
        self._expires = latest and self._latest_ttl != math.inf
        self._writers: dict[str, Writer] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._registry!r}, field={self._field!r})"

    def __call__(
        self, topic: str, value: ValueT | None, headers: Headers | None = None
    ) -> bytes | Awaitable[bytes] | None:
        """The value's bytes where the topic's schema is known, else an awaitable of them; None for None.

        Raises `SerializationError` for a value that does not fit the schema, and `SchemaRegistryError`.
        """
        if value is None:
            return None
        writer = self._writers.get(topic)
        if writer is None or (self._expires and time.monotonic() >= writer.good_until):
            return _Later(self, topic, value)
        return self._write(writer, topic, value)

    async def prepare(self, *topics: str) -> Self:
        """Ask for the schemas of these topics now, so that values for them are bytes at once; gives itself.

        Raises `SchemaRegistryError`; `ConfigError` where the subject cannot be named.
        """
        for topic in topics:
            await self._writer(topic)
        return self

    def _write(self, writer: Writer, topic: str, value: ValueT) -> bytes:
        try:
            return writer.encode(value)
        except SerializationError:
            raise
        except Exception as error:
            # Whatever a library or the caller's `to_dict` raises means the same: the value does not fit.
            raise SerializationError(
                f"{self._field} for topic {topic!r} does not fit its {self._called} "
                f"({_place(writer.registered)}): {_told(error)}; it is {shown(value)}"
            ) from error

    async def _writer(self, topic: str) -> Writer:
        writer = self._writers.get(topic)
        if writer is not None and time.monotonic() < writer.good_until:
            return writer
        try:
            registered = await self._find(topic)
            references = await self._referred(registered.schema)
        except SchemaRegistryError as error:
            if writer is None or not error.is_retriable:
                raise
            logger.warning("the latest schema for topic %r stays as it was: %s", topic, error)
            writer.good_until = time.monotonic() + self._latest_ttl
            return writer
        try:
            encode = self._encoder(registered, references)
        except KafkaError:
            raise
        except Exception as error:
            # The text comes from a registry, and each library has errors of its own for one that it cannot use.
            raise SerializationError(
                f"the {self._called} for the {self._field} in topic {topic!r} "
                f"({_place(registered)}) cannot be used: {_told(error)}"
            ) from error
        good_until = time.monotonic() + self._latest_ttl if self._latest else math.inf
        writer = self._writers[topic] = Writer(registered, encode, good_until)
        return writer

    async def _find(self, topic: str) -> RegisteredSchema:
        """The schema for a topic, as the registry has it."""
        if self._schema_id is not None:
            registered = await self._registry.schema(self._schema_id)
        else:
            named = self._subject_name(topic, self._field, self._record_name)
            subject = _checked_subject(named, topic)
            if self._latest or self._schema is None:
                registered = await self._registry.latest(subject)
            else:
                registered = await self._registered(subject, await self._complete(self._schema))
        if registered.schema.type != self._type:
            raise SerializationError(
                f"the schema for the {self._field} in topic {topic!r} ({_place(registered)}) "
                f"is of type {registered.schema.type}, {type(self).__name__} needs {self._type}"
            )
        return registered

    async def _registered(self, subject: str, schema: Schema) -> RegisteredSchema:
        verb = self._registry.register if self._auto_register else self._registry.lookup
        return await verb(subject, schema, normalize=self._normalize)

    async def _complete(self, schema: Schema) -> Schema:
        """The serializer's own schema, with references for what it uses."""
        return schema

    async def _referred(self, schema: Schema) -> dict[str, str]:
        """The texts of all that a schema refers to, by name: what others need before those that need them."""
        texts: dict[str, str] = {}
        seen: set[tuple[str, int]] = set()

        async def follow(references: tuple[SchemaReference, ...]) -> None:
            for reference in references:
                if (reference.subject, reference.version) in seen:
                    continue
                seen.add((reference.subject, reference.version))
                found = await self._registry.version(reference.subject, reference.version)
                await follow(found.schema.references)
                texts[reference.name] = found.schema.text

        await follow(schema.references)
        return texts

    def _encoder(
        self, registered: RegisteredSchema, references: Mapping[str, str]
    ) -> Callable[[ValueT], bytes]:
        """The function that makes a value's bytes, the schema's id in front."""
        raise NotImplementedError


def prefix(schema_id: int) -> bytes:
    """What goes in front of the data: a zero, and the schema's id in 4 bytes (Confluent's wire format)."""
    return _PREFIX.pack(_MAGIC, schema_id)


def _check(options: Mapping[str, object]) -> None:
    unknown = options.keys() - SchemaOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    field, schema_id, ttl = options.get("field", "value"), options.get("schema_id"), options.get("latest_ttl")
    if field not in {"key", "value"}:
        raise ConfigError(f"field must be 'key' or 'value', got {field!r}", option="field")
    if not callable(options.get("subject_name", topic_name)):
        raise ConfigError("subject_name must be a function", option="subject_name")
    if schema_id is not None and (
        isinstance(schema_id, bool) or not isinstance(schema_id, int) or not 0 <= schema_id <= _MAX_ID
    ):
        raise ConfigError(
            f"schema_id must be an int from 0 to {_MAX_ID}, got {schema_id!r}", option="schema_id"
        )
    sources = [name for name in ("auto_register", "use_latest_version") if options.get(name)]
    sources += [] if schema_id is None else ["schema_id"]
    if len(sources) > 1:
        raise ConfigError(f"{' and '.join(sources)} exclude each other; give one", option=sources[1])
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0):
        raise ConfigError(f"latest_ttl must be above 0 seconds, got {ttl!r}", option="latest_ttl")
    if ttl is not None and not options.get("use_latest_version"):
        raise ConfigError("latest_ttl needs use_latest_version=True", option="latest_ttl")


def _checked_subject(given: object, topic: str) -> str:
    if not isinstance(given, str) or not given:
        raise ConfigError(
            f"subject_name must give a str that is not empty, got {given!r} for topic {topic!r}",
            option="subject_name",
        )
    return given


def _place(registered: RegisteredSchema) -> str:
    subject = "" if registered.subject is None else f"subject {registered.subject!r}, "
    version = "" if registered.version is None else f"version {registered.version}, "
    return f"{subject}{version}id {registered.id}"


def _told(error: Exception) -> str:
    """An error's text in one line that fits a log: libraries write some over many."""
    text = " ".join(str(error).split())
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
