"""What the serializers here have in common: how they say what they cannot take."""

from __future__ import annotations

from reprlib import Repr

from krafka.errors import SerializationError

_SHOWN = 60
_SHORT = Repr()


def refused(topic: str, wanted: str, value: object) -> SerializationError:
    """The error for a value of another kind than a serializer takes."""
    return SerializationError(f"serializer for topic {topic!r} takes {wanted}, got {shown(value)}")


def shown(value: object) -> str:
    """A value with its type, short enough for a log line."""
    try:
        text = _SHORT.repr(value)
    except ValueError:
        # Python does not write out an int of more than some thousand digits.
        text = "a very long number"
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN - 3]}..."
    return f"{text} ({type(value).__name__})"
