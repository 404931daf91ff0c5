"""Option values of the command line: durations, headers, properties, and the configuration they make."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from krafka.config import ProducerConfig

BACKENDS = ("asyncio", "uvloop", "trio")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
ACKS = ("all", "leader", "none", "-1", "1", "0")
PRESETS = ("high-throughput", "low-latency", "durable")

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|)")
_ESCAPES = {"\\t": "\t", "\\0": "\0", "\\\\": "\\"}


class Duration(click.ParamType[float]):
    """Seconds as `0.005` or `1s`, milliseconds as `5ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds as a float."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or not math.isfinite(float(match[1])):
            self.fail(
                f"{value!r} is no duration; write seconds (0.005, 1s) or milliseconds (5ms)", param, ctx
            )
        return float(match[1]) / (1000 if match[2] == "ms" else 1)


class NameValue(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`, split at the first equals sign; the value may be empty."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, rest


def unescape_separator(text: str) -> bytes:
    """A key separator's bytes; a tab may be written as backslash t, NUL as backslash 0."""
    for escape, meaning in _ESCAPES.items():
        if text == escape:
            return meaning.encode()
    return os.fsencode(text)


def backend_arguments(backend: str) -> dict[str, Any]:
    """The arguments of `anyio.run` for a backend. Raises UsageError naming what to install for it."""
    module = "trio" if backend == "trio" else "uvloop" if backend == "uvloop" else None
    if module is not None:
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            raise click.UsageError(
                f"--backend {backend} needs a package that is not installed; "
                f"install it with: pip install 'krafka[{module}]'"
            ) from error
    if backend == "trio":
        return {"backend": "trio"}
    return {"backend": "asyncio", "backend_options": {"use_uvloop": backend == "uvloop"}}


def make_config(
    bootstrap: str | None,
    properties: tuple[tuple[str, str], ...],
    options: dict[str, Any],
    preset: str | None = None,
    file: str | None = None,
) -> ProducerConfig:
    """The producer's configuration: the preset, over it a file of properties, over that properties, then the options.

    Raises UsageError for a wrong one.
    """
    from krafka._presets import PRESETS as OPTIONS_OF_PRESETS  # noqa: PLC0415  # `krafka --help` need not wait for it
    from krafka._properties import option_for_property_like, read_properties  # noqa: PLC0415  # as above
    from krafka.config import ProducerConfig  # noqa: PLC0415  # as above
    from krafka.errors import ConfigError  # noqa: PLC0415  # as above

    repeated = {name for name, _ in properties if [other for other, _ in properties].count(name) > 1}
    if repeated:
        raise click.UsageError(f"-X gives {', '.join(sorted(repeated))} more than once")
    try:
        named_values = {**({} if file is None else read_properties(file)), **dict(properties)}
    except (ConfigError, OSError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    given = {name: value for name, value in options.items() if value is not None}
    if bootstrap is not None:
        given["bootstrap_servers"] = bootstrap
    elif not named_values.keys() & {"bootstrap.servers", "metadata.broker.list"}:
        raise click.UsageError(
            "Missing option '-b' / '--bootstrap-servers': the brokers to connect to first, as HOST:PORT"
        )
    if preset is not None:
        named = {option_for_property_like(name) for name in named_values}
        sets = OPTIONS_OF_PRESETS[preset.replace("-", "_")]
        given = {**{name: value for name, value in sets.items() if name not in named}, **given}
    try:
        return ProducerConfig.from_properties(named_values, **given)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
