"""Text that must not be shown, held so that no `repr`, and so no log or dump of a traceback, shows it."""

from __future__ import annotations

from krafka.errors import ConfigError


class Secret:
    """A text whose `repr` and `str` hide it; `reveal` gives it to who sends it.

    Whatever holds a secret in a local variable holds it in one of these, so that the variables of a traceback tell
    nothing. The same for bytes on their way is a memoryview, whose `repr` does not show what it is of.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text; use it where it is needed and bind it to no name."""
        return self._text

    def __repr__(self) -> str:
        return "<hidden>"


def hidden(value: object, owner: str, name: str) -> Secret | ConfigError:
    """Return `value` as a secret, or what is wrong with it, for the caller to raise once its own variable is hidden."""
    problem = _problem(value)
    if problem is None:
        return Secret(str(value))
    return ConfigError(f"{owner}: {name} {problem} (its value is not shown)", option="auth")


def taken(found: Secret | ConfigError) -> Secret:
    """Return what `hidden` returned, once the variable it came from is gone. Raises the `ConfigError`."""
    if isinstance(found, ConfigError):
        raise found
    return found


def required_text(value: object, owner: str, name: str) -> str:
    """Return `value` if it is text that can be sent. Raises `ConfigError`."""
    problem = _problem(value)
    if problem is None:
        return str(value)
    raise ConfigError(f"{owner}: {name} {problem}, got {value!r} ({type(value).__name__})", option="auth")


def _problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be str, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if "\0" in value:
        return "must not contain the character NUL, which SASL puts between its parts"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    return None
