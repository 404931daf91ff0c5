"""What there is to say about each option, for documentation, forms and command lines."""

from __future__ import annotations

import ast
import inspect
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from krafka._option import amount, seconds, text, whole
from krafka._options import OPTIONS, Acks
from krafka.compression import Compression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka._option import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionDescription:
    """One option of a producer, as `ProducerConfig.describe` tells it."""

    name: str
    """The keyword argument and attribute."""
    type: str
    """What may be given, as an annotation."""
    default: Any
    """The value of a producer that is told nothing else; None where there is no default (`required`)."""
    required: bool
    """Whether it has to be given."""
    unit: str
    """"seconds", "bytes" or a word for what is counted; "" where nothing is."""
    low: float | None
    """The least number that is taken, of a text's UTF-8 bytes the fewest; None where there is no such bound."""
    high: float | None
    """The largest number that is taken, of a text's UTF-8 bytes the most; None where there is no such bound."""
    infinite: bool
    """Whether `math.inf` is taken, and means no limit."""
    optional: bool
    """Whether None is taken, with the meaning told by `meaning`."""
    meaning: str
    """What it does, in Markdown; paragraphs are apart by a blank line. Empty in a program that was packed without
    its sources."""
    kafka: str | None
    """The name in Kafka's Java client, and for `from_properties`."""
    librdkafka: tuple[str, ...]
    """librdkafka's names where they differ from that one; `from_properties` takes those, too."""

    @property
    def bounds(self) -> str:
        """The bounds in words; "" where there are none but the type's."""
        if self.low is None and self.high is None:
            return ""
        if self.low is None or self.high is None:
            bound = self.high if self.low is None else self.low
            words = f"at {'most' if self.low is None else 'least'} {amount(bound or 0, self.unit)}"
        else:
            words = f"{amount(self.low, '')} to {amount(self.high, self.unit)}"
        if self.unit == "seconds":
            words += ", or `math.inf`" if self.infinite else ", finite" if self.high is None else ""
        return words + (", or None" if self.optional else "")


def described(
    owner: type, types: Mapping[str, str], defaults: Mapping[str, Any]
) -> tuple[OptionDescription, ...]:
    """Each option in the order of the table; `owner` is the class whose attributes' docstrings tell their meanings."""
    meanings = attribute_docs(owner)
    return tuple(
        OptionDescription(
            name=name,
            type=types[name],
            default=defaults.get(name),
            required=name not in defaults,
            unit="bytes of UTF-8" if option.check is text else option.unit,
            low=option.low if _is_bounded(option) else None,
            high=option.high if _is_bounded(option) and option.high < math.inf else None,
            infinite=option.infinite,
            optional=option.optional and defaults.get(name) is None,
            meaning=meanings.get(name, ""),
            kafka=option.kafka,
            librdkafka=option.librdkafka,
        )
        for name, option in OPTIONS.items()
    )


def _is_bounded(option: Option) -> bool:
    return option.check in {whole, seconds, text}


def attribute_docs(owner: type) -> dict[str, str]:
    """The strings behind a class's attributes, which Python itself throws away; none where there is no source."""
    try:
        source = inspect.getsource(owner)
    except OSError:
        return {}
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
    docs = {}
    for node, following in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            paragraphs = inspect.cleandoc(str(following.value.value)).split("\n\n")
            docs[node.target.id] = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return docs


def as_given(value: object) -> str:
    """An option's value as one would write it in Python."""
    if isinstance(value, Acks):
        return repr(value.name.lower())
    if isinstance(value, Compression):
        return repr(value.value)
    return "math.inf" if value == math.inf else repr(value)


def addresses(servers: tuple[tuple[str, int], ...]) -> str:
    """Bootstrap servers as one would write them."""
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers)
