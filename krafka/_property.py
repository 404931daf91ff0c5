"""One property under another client's name, as it was found."""

from __future__ import annotations

from typing import NamedTuple

from krafka.errors import ConfigError

_MAY_BE_SECRET = ("sasl.", "ssl.")


class Property(NamedTuple):
    """A name, the value as the user wrote it, and where it stands."""

    name: str
    value: object
    label: str
    """The name as the user wrote it, and the file it is in."""

    @property
    def origin(self) -> str:
        """Where the value is from, and what it is if it cannot be a secret."""
        return self.label if self.name.startswith(_MAY_BE_SECRET) else f"{self.label} ({self.value!r})"

    @property
    def text(self) -> str:
        """The value as text without blanks around it."""
        return str(self.value).strip()


def boolean(entry: Property) -> bool:
    """True or false, as bool or as text. Raises `ConfigError`."""
    raw = entry.value.strip() if isinstance(entry.value, str) else entry.value
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in {"true", "false"}:
        return raw.lower() == "true"
    raise ConfigError(f"{entry.label} must be true or false, got {entry.value!r}")
