"""A schema registry with Confluent's REST interface."""

from __future__ import annotations

import json
import math
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from krafka.errors import ConfigError, SchemaRegistryError
from krafka.retry import RetryPolicy, kafka_policy
from krafka.serializers.schema_registry._flights import SharedResults
from krafka.serializers.schema_registry._http import Access, Address, Request, ask
from krafka.serializers.schema_registry._schemas import RegisteredSchema, Schema, SchemaReference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_MAX_ID = 2**31 - 1
_TYPES = {"AVRO", "JSON", "PROTOBUF"}


class SchemaRegistry:
    """A schema registry with Confluent's REST interface: Confluent's own, Karapace, Apicurio, Redpanda's.

    `url` is its address with the path before `/subjects`, or several of one registry, which are tried in their
    order. `auth` is a user and a password; `token` a bearer token, or a function, plain or async, that gives
    one for each attempt. `tls` is the context for https addresses; without it the system's authorities count.
    `headers` go with each request, such as Confluent Cloud's `target-sr-cluster`.

    An attempt has `request_timeout` seconds (10). Where the registry cannot be reached, is late, or answers with
    408, 429 or a passing 5xx status, up to `retries` (3) more rounds over the addresses follow, each after a
    wait between `retry_backoff` (0.1 s) and `retry_backoff_max` (2 s) that doubles; all of it within `timeout`
    (30 s).

    What it once answered is kept, but for the latest version of a subject; what several tasks ask for at the
    same time is asked once. It holds no connection between requests, so there is nothing to close, and it may
    be made before an event loop runs. Use it from one thread at a time. Its constructor raises `ConfigError`, its
    methods `SchemaRegistryError`.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        auth: tuple[str, str] | None = None,
        token: str | Callable[[], str | Awaitable[str]] | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        request_timeout: float = 10.0,
        retries: int = 3,
        retry_backoff: float = 0.1,
        retry_backoff_max: float = 2.0,
    ) -> None:
        _check_ways_in(auth, token, tls)
        addresses = tuple(_checked_address(each, auth, token) for each in _listed(url))
        self._access = Access(
            addresses,
            token,
            tls,
            dict(headers or {}),
            _checked_seconds("timeout", timeout),
            _checked_seconds("request_timeout", request_timeout),
            _checked_retries(retries),
            _policy(retry_backoff, retry_backoff_max),
        )
        self._results = SharedResults()

    def __repr__(self) -> str:
        return f"SchemaRegistry({', '.join(map(repr, self.urls))})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses, without credentials."""
        return tuple(map(str, self._access.addresses))

    async def register(self, subject: str, schema: Schema, *, normalize: bool = False) -> RegisteredSchema:
        """Register the schema under the subject, or find it there; `version` stays None."""
        key = ("register", subject, schema, normalize)
        found: RegisteredSchema = await self._results.get(
            key, lambda: self._register(subject, schema, normalize)
        )
        return found

    async def lookup(self, subject: str, schema: Schema, *, normalize: bool = False) -> RegisteredSchema:
        """Find the schema under the subject, where somebody registered it before."""
        key = ("lookup", subject, schema, normalize)
        found: RegisteredSchema = await self._results.get(
            key, lambda: self._lookup(subject, schema, normalize)
        )
        return found

    async def latest(self, subject: str) -> RegisteredSchema:
        """The subject's latest version, asked for each time."""
        found: RegisteredSchema = await self._results.get(
            ("latest", subject), lambda: self._version(subject, "latest"), keep=False
        )
        return found

    async def version(self, subject: str, version: int) -> RegisteredSchema:
        """One version of a subject."""
        key = ("version", subject, version)
        found: RegisteredSchema = await self._results.get(key, lambda: self._version(subject, str(version)))
        return found

    async def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id; `subject` and `version` stay None."""
        found: RegisteredSchema = await self._results.get(
            ("schema", schema_id), lambda: self._schema(schema_id)
        )
        return found

    async def _register(self, subject: str, schema: Schema, normalize: bool) -> RegisteredSchema:
        request = Request(
            "POST",
            f"/subjects/{quote(subject, safe='')}/versions{_normalized(normalize)}",
            f"register a schema under subject {subject!r}",
            subject,
            _body_of(schema),
        )
        answer = await ask(self._access, request)
        return RegisteredSchema(self._id_in(answer, request), schema, subject)

    async def _lookup(self, subject: str, schema: Schema, normalize: bool) -> RegisteredSchema:
        request = Request(
            "POST",
            f"/subjects/{quote(subject, safe='')}{_normalized(normalize)}",
            f"find the schema under subject {subject!r}",
            subject,
            _body_of(schema),
        )
        answer = await ask(self._access, request)
        return RegisteredSchema(
            self._id_in(answer, request), schema, subject, self._number(answer, "version", request)
        )

    async def _version(self, subject: str, version: str) -> RegisteredSchema:
        request = Request(
            "GET",
            f"/subjects/{quote(subject, safe='')}/versions/{version}",
            f"tell the {'latest version' if version == 'latest' else f'version {version}'} "
            f"of subject {subject!r}",
            subject,
        )
        answer = await ask(self._access, request)
        return RegisteredSchema(
            self._id_in(answer, request),
            self._schema_in(answer, request),
            subject,
            self._number(answer, "version", request),
        )

    async def _schema(self, schema_id: int) -> RegisteredSchema:
        request = Request("GET", f"/schemas/ids/{schema_id}", f"tell the schema of id {schema_id}")
        answer = await ask(self._access, request)
        return RegisteredSchema(schema_id, self._schema_in(answer, request))

    def _id_in(self, answer: Any, request: Request) -> int:
        return self._number(answer, "id", request)

    def _number(self, answer: Any, name: str, request: Request) -> int:
        number = answer.get(name) if isinstance(answer, dict) else None
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_ID:
            raise self._nonsense(answer, f"{name!r}, a number from 0 to {_MAX_ID}", request)
        return number

    def _schema_in(self, answer: Any, request: Request) -> Schema:
        try:
            text, kind = answer["schema"], answer.get("schemaType", "AVRO")
            references = tuple(
                SchemaReference(each["name"], each["subject"], each["version"])
                for each in answer.get("references") or ()
            )
        except (TypeError, KeyError, AttributeError):
            text = kind = references = None
        if not isinstance(text, str) or kind not in _TYPES or references is None:
            raise self._nonsense(answer, "a schema of a known type", request)
        return Schema(text, kind, references)

    def _nonsense(self, answer: Any, missing: str, request: Request) -> SchemaRegistryError:
        shown = json.dumps(answer)[:200]
        return SchemaRegistryError(
            f"schema registry {' or '.join(self.urls)} cannot {request.purpose}: "
            f"its answer has not {missing}: {shown}",
            url=self.urls[0],
            subject=request.subject,
        )


def _normalized(normalize: bool) -> str:
    return "?normalize=true" if normalize else ""


def _body_of(schema: Schema) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": schema.text}
    if schema.type != "AVRO":
        body["schemaType"] = schema.type
    if schema.references:
        body["references"] = [
            {"name": each.name, "subject": each.subject, "version": each.version}
            for each in schema.references
        ]
    return body


def _listed(given: str | Sequence[str]) -> list[str]:
    each = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
    if not each:
        raise ConfigError("url must name at least one address of a schema registry", option="url")
    return each


def _checked_address(given: str, auth: tuple[str, str] | None, token: object) -> Address:
    try:
        url = httpx2.URL(given)
    except (httpx2.InvalidURL, TypeError) as error:
        raise ConfigError(f"url is not an address: {error}", option="url") from error
    # httpx logs the addresses it asks, so none may have a password in it.
    bare = url.copy_with(userinfo=b"")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise ConfigError(
            f"url must be like 'https://registry.example:8081', got {str(bare)!r}", option="url"
        )
    if not url.userinfo:
        return Address(url, auth)
    if auth is not None or token is not None:
        raise ConfigError(
            f"url has a user in it and auth or token is given, too: give one ({bare})", option="url"
        )
    return Address(bare, (url.username, url.password))


def _check_ways_in(auth: object, token: object, tls: object) -> None:
    if auth is not None and token is not None:
        raise ConfigError("auth and token exclude each other; give one", option="token")
    if auth is not None and not (
        isinstance(auth, tuple) and len(auth) == 2 and all(isinstance(part, str) for part in auth)
    ):
        raise ConfigError("auth must be a tuple of user and password, both str", option="auth")
    if token is not None and not isinstance(token, str) and not callable(token):
        raise ConfigError(
            f"token must be str or a function that gives one, got {type(token).__name__}", option="token"
        )
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ConfigError(f"tls must be an ssl.SSLContext, got {type(tls).__name__}", option="tls")


def _policy(first: Any, longest: Any) -> RetryPolicy:
    try:
        return kafka_policy(first, longest)
    except ConfigError as error:
        if error.option == "max_backoff":
            text, option = (
                f"retry_backoff_max must be at least 0 seconds and finite, got {longest!r}",
                "retry_backoff_max",
            )
        else:
            text = (
                f"retry_backoff must be 0 seconds to retry_backoff_max, which is {longest!r}, got {first!r}"
            )
            option = "retry_backoff"
        raise ConfigError(text, option=option) from error


def _checked_retries(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ConfigError(f"retries must be an int of at least 0, got {given!r}", option="retries")
    return given


def _checked_seconds(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise ConfigError(f"{name} must be above 0 seconds and finite, got {given!r}", option=name)
    return float(given)
