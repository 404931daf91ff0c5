"""Java's way of giving credentials: the one line of `sasl.jaas.config`."""

from __future__ import annotations

import re
from typing import NamedTuple

from krafka.auth._secret import Secret
from krafka.errors import ConfigError

_OPTION = r"""([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)"""
_ENTRY = re.compile(
    rf"\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\s*((?:{_OPTION}\s+)*(?:{_OPTION}\s*)?);\s*",
    re.DOTALL | re.IGNORECASE,
)
_OPTIONS = re.compile(_OPTION, re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b"}


class LoginModule(NamedTuple):
    """A login module by the last part of its class's name, and its options."""

    name: str
    options: dict[str, Secret]


def parse_jaas(config: Secret, label: str) -> LoginModule:
    """Read `Class required option="value" ...;`, in which a backslash escapes.

    Raises `ConfigError`, which shows no value.
    """
    match = _ENTRY.fullmatch(config.reveal())
    if match is None:
        raise ConfigError(
            f"{label} must be of the form `org.apache.kafka.common.security.plain.PlainLoginModule required "
            'username="..." password="...";`, with the semicolon and one module only (its value is not shown)',
            option="auth",
        )
    options = {name: Secret(_unquoted(value)) for name, value in _OPTIONS.findall(match[2])}
    return LoginModule(match[1].rpartition(".")[2], options)


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(lambda escape: _CONTROL.get(escape[1], escape[1]), value[1:-1])
