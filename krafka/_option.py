"""One option of a producer: its name, bounds and other names, and the checks that several kinds of options share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from krafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what it may be, and what Kafka and librdkafka call it."""

    name: str
    default: Any
    check: Callable[[Option, Any], Any] = field(repr=False)
    unit: str = ""
    """"seconds", "bytes", or a word for what is counted."""
    low: float = 0
    high: float = math.inf
    optional: bool = False
    """None is a value, with a meaning of its own."""
    infinite: bool = False
    """`math.inf` is a value: no limit."""
    kafka: str | None = None
    """The Java client's name."""
    librdkafka: tuple[str, ...] = ()
    """librdkafka's names where they differ from the Java client's."""

    def error(self, rule: str, value: object) -> ConfigError:
        """A ConfigError that names this option, the rule broken and the value given."""
        return ConfigError(f"{self.name} {rule}, got {_shown(value)}", option=self.name)


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:77]}..."
    return text if isinstance(value, int | float | None) else f"{text} ({type(value).__name__})"


def amount(value: float, unit: str) -> str:
    """A number and its unit in words."""
    text = f"{value:g}" if value < 1_000_000 and value != int(value) else str(int(value))
    return f"{text} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def _within(option: Option, value: Any) -> Any:
    if value < option.low:
        raise option.error(f"must be at least {amount(option.low, option.unit)}", value)
    if value > option.high:
        raise option.error(f"must be at most {amount(option.high, option.unit)}", value)
    return value


def whole(option: Option, value: Any) -> int | None:
    """An int within the option's bounds."""
    if value is None and option.optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        hint = f" (write {option.name}={value})" if isinstance(value, str) and value.isdecimal() else ""
        kind = f"int, a number of {option.unit}" if option.unit else "int"
        raise option.error(f"must be {kind}{hint}", value)
    checked: int = _within(option, value)
    return checked


def seconds(option: Option, value: Any) -> float:
    """A number of seconds within the option's bounds, as float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = f" (write {option.name}={value})" if isinstance(value, str) and _is_number(value) else ""
        raise option.error(f"must be a number of seconds{hint}", value)
    if math.isnan(value) or (value == math.inf and not option.infinite):
        raise option.error("must be a finite number of seconds", value)
    return float(_within(option, value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def flag(option: Option, value: Any) -> bool | None:
    """True or False."""
    if isinstance(value, bool) or (value is None and option.optional):
        return value
    raise option.error("must be True or False", value)


def text(option: Option, value: Any) -> str | None:
    """Text whose UTF-8 is as long as the option's bounds say."""
    if value is None and option.optional:
        return None
    if not isinstance(value, str):
        raise option.error("must be str", value)
    try:
        length = len(value.encode())
    except UnicodeEncodeError as error:
        raise option.error("must be valid Unicode text", value) from error
    if not option.low <= length <= option.high:
        raise option.error(f"must be {option.low:g} to {option.high:g} bytes of UTF-8", value)
    return value
