"""JSON, by the fastest library that is installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

from krafka.errors import ConfigError, SerializationError
from krafka.serializers._base import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.records import Headers

    Encoder: TypeAlias = Callable[[Any], bytes]
    Default: TypeAlias = Callable[[Any], Any]


def _msgspec_encoder(msgspec: Any, sort_keys: bool, default: Default | None) -> Encoder:
    encoder = msgspec.json.Encoder(enc_hook=default, order="sorted" if sort_keys else None)
    encode: Encoder = encoder.encode
    return encode


def _orjson_encoder(orjson: Any, sort_keys: bool, default: Default | None) -> Encoder:
    dumps = orjson.dumps
    option = orjson.OPT_SORT_KEYS if sort_keys else None

    def encode(value: Any) -> bytes:
        encoded: bytes = dumps(value, default, option)
        return encoded

    return encode


def _stdlib_encoder(json: Any, sort_keys: bool, default: Default | None) -> Encoder:
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=sort_keys,
        separators=(",", ":"),
        default=default,
    )

    def encode(value: Any) -> bytes:
        text: str = encoder.encode(value)
        return text.encode()

    return encode


_ENCODERS: dict[str, Callable[[Any, bool, Default | None], Encoder]] = {
    # In the order of preference: msgspec takes more of Python's types than orjson, at about its speed.
    "msgspec": _msgspec_encoder,
    "orjson": _orjson_encoder,
    "json": _stdlib_encoder,
}


class JSONSerializer:
    """Plain data to compact JSON in UTF-8, without ASCII escapes.

    `library` is "msgspec", "orjson" or "json" (the standard library's); without it, the first of these that is
    installed. All of them give the same bytes for dicts with str keys, lists, tuples, str, bool, None and
    int of 64 bits, and the same numbers for finite floats; docs/serializers.md says how they differ beyond that.
    `sort_keys` orders the keys of objects. `default` is called with a value that the library does not know and
    returns one that it knows, or raises.

    None makes no JSON but a tombstone, as with all serializers here. Raises `ConfigError` for a library that is
    not installed, and `SerializationError` for a value that cannot be JSON.
    """

    __slots__ = ("_encode", "_library", "_sort_keys")

    def __init__(
        self,
        *,
        library: str | None = None,
        sort_keys: bool = False,
        default: Callable[[Any], Any] | None = None,
    ) -> None:
        self._library, module = _load(library)
        self._sort_keys = sort_keys
        self._encode = _ENCODERS[self._library](module, sort_keys, default)

    def __repr__(self) -> str:
        return f"JSONSerializer(library={self._library!r}, sort_keys={self._sort_keys})"

    @property
    def library(self) -> str:
        """Which library makes the JSON: "msgspec", "orjson" or "json"."""
        return self._library

    def __call__(self, topic: str, value: Any, headers: Headers | None = None) -> bytes | None:
        """The value's JSON; None for None."""
        if value is None:
            return None
        try:
            return self._encode(value)
        except Exception as error:
            # Whatever a library or the caller's `default` raises means the same: this value is no JSON.
            raise SerializationError(
                f"value for topic {topic!r} cannot be JSON ({self._library}): "
                f"{type(error).__name__}: {error}; the value is {shown(value)}"
            ) from error


def _load(library: str | None) -> tuple[str, Any]:
    """The library asked for, or the first that is there, with its module."""
    if library is None:
        for name in _ENCODERS:
            try:
                return name, importlib.import_module(name)
            except ImportError:
                continue
    if library not in _ENCODERS:
        raise ConfigError(
            f"library must be 'msgspec', 'orjson', 'json' or None, got {library!r}", option="library"
        )
    try:
        return library, importlib.import_module(library)
    except ImportError as error:
        raise ConfigError(
            f"library {library!r} cannot be imported: pip install {library}", option="library"
        ) from error
