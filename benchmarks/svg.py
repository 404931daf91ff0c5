"""Draws rows of marks on a logarithmic axis, and lines over time, as SVG with the colours of the page around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 760
MARGIN = 16
FONT = 13
CHARACTER = 7.4
"""More than a character of the font is wide on the average; labels are given this much room."""
ROW, HEADING, LINE = 21, 30, 17
PLOT_HEIGHT = 320
TITLE = 26
# A page with colours of its own gives them through currentColor; an image by itself has to ask for them.
BY_ITSELF = (
    "<style>svg:root { color: #1f2328 } "
    "@media (prefers-color-scheme: dark) { svg:root { color: #d8dee4 } }</style>"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart: a dot for each value, joined by a line from the least to the greatest."""

    label: str
    colour: str
    text: str
    """Written at the right."""
    values: tuple[float, ...] = ()
    """The first has the largest dot."""
    spread: tuple[float, float] | None = None
    """How far the first value varies."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the rows beneath have in common."""

    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over time."""

    label: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashes: str = ""


def rows(title: str, axis: str, lines: Sequence[Row | Heading]) -> str:
    """A chart of rows beneath each other. Without any value above 0 there is no axis."""
    shown = [line for line in lines if isinstance(line, Row)]
    left = MARGIN + max((len(row.label) for row in shown), default=0) * CHARACTER
    right = WIDTH - MARGIN - max((len(row.text) for row in shown), default=0) * CHARACTER - 8
    heights = [ROW if isinstance(line, Row) else HEADING for line in lines]
    top = MARGIN + TITLE + LINE
    bottom = top + sum(heights)
    scale = _Scale.of(
        [value for row in shown for value in (*row.values, *(row.spread or ()))], left + 8, right
    )
    drawn = [_text(MARGIN, MARGIN + LINE - 2, title, weight="bold")]
    drawn.append(_text(MARGIN, MARGIN + LINE + 16, axis, opacity=0.75))
    drawn += _grid(scale, top, bottom)
    middle = float(top)
    for line, height in zip(lines, heights, strict=True):
        if isinstance(line, Heading):
            drawn.append(_text(MARGIN, middle + height - 9, line.label, weight="bold"))
        else:
            drawn += _row(line, middle + height / 2, left, scale)
        middle += height
    return _document(title, bottom + LINE + MARGIN, drawn)


def curves(title: str, axis: str, lines: Sequence[Curve]) -> str:
    """A chart of values over time, both from 0 on; each curve has its name at its end."""
    drawn = [_text(MARGIN, MARGIN + LINE - 2, title, weight="bold")]
    drawn.append(_text(MARGIN, MARGIN + LINE + 16, axis, opacity=0.75))
    left, right = MARGIN + 40.0, WIDTH - MARGIN - max(len(line.label) for line in lines) * CHARACTER - 12
    top, bottom = float(MARGIN + TITLE + LINE + 8), float(MARGIN + TITLE + LINE + 8 + PLOT_HEIGHT)
    last = max(seconds for line in lines for seconds, _ in line.points) or 1.0
    most = max(value for line in lines for _, value in line.points) or 1.0
    for value in _round_steps(most):
        y = bottom - value / most * PLOT_HEIGHT
        drawn.append(_stroke(left, y, right, y, 0.15))
        drawn.append(_text(left - 6, y + 4, f"{value:g}", anchor="end", opacity=0.75))
    for seconds in _round_steps(last):
        x = left + seconds / last * (right - left)
        drawn.append(_text(x, bottom + LINE, f"{seconds:g}", anchor="middle", opacity=0.75))
    places = _apart([bottom - line.points[-1][1] / most * PLOT_HEIGHT for line in lines], top, bottom)
    for line, place in zip(lines, places, strict=True):
        points = " ".join(
            f"{left + seconds / last * (right - left):.1f},{bottom - value / most * PLOT_HEIGHT:.1f}"
            for seconds, value in line.points
        )
        dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"{dashes}/>'
        )
        end_x, end_y = points.rpartition(" ")[2].split(",")
        drawn.append(f'<circle cx="{end_x}" cy="{end_y}" r="3" fill="{line.colour}"/>')
        drawn.append(_text(right + 8, place + 4, line.label, colour=line.colour))
    return _document(title, bottom + LINE + MARGIN, drawn)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where a value lies on a logarithmic axis of whole decades, or parts of one."""

    least: float
    most: float
    left: float
    right: float

    @classmethod
    def of(cls, values: Iterable[float], left: float, right: float) -> _Scale:
        positive = [value for value in values if value > 0]
        marks = _marks(min(positive, default=1.0), max(positive, default=1.0))
        return cls(marks[0], marks[-1], left, right)

    def place(self, value: float) -> float:
        least, most = math.log(self.least), math.log(self.most)
        part = (math.log(max(value, self.least)) - least) / (most - least)
        return self.left + part * (self.right - self.left)


def _marks(least: float, most: float) -> list[float]:
    """1, 2, 5, 10 … from the last that is not above the least value to the first that is not below the greatest."""
    decade = math.floor(math.log10(least))
    every = [
        digit * 10.0**power for power in range(decade, math.ceil(math.log10(most)) + 2) for digit in (1, 2, 5)
    ]
    first = max(number for number, mark in enumerate(every) if mark <= least * 1.0001)
    last = min(number for number, mark in enumerate(every) if mark >= most * 0.9999)
    return every[first : max(last, first + 1) + 1]


def _grid(scale: _Scale, top: float, bottom: float) -> list[str]:
    marks = _marks(scale.least, scale.most)
    # Where there is no room for all of them, the tens alone have their figures.
    room = min(scale.place(after) - scale.place(before) for before, after in pairwise(marks))
    drawn: list[str] = []
    for mark in marks:
        x = scale.place(mark)
        is_ten = math.isclose(math.log10(mark), round(math.log10(mark)))
        drawn.append(_stroke(x, top, x, bottom, 0.25 if is_ten else 0.1))
        if is_ten or room > 5 * CHARACTER:
            drawn.append(_text(x, bottom + LINE, _short(mark), anchor="middle", opacity=0.75))
    return drawn


def _short(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g}"


def _row(row: Row, y: float, left: float, scale: _Scale) -> list[str]:
    drawn = [
        _text(left, y + 4.5, row.label, anchor="end"),
        _text(WIDTH - MARGIN, y + 4.5, row.text, anchor="end"),
    ]
    places = [scale.place(value) for value in row.values]
    if places:
        drawn.append(_stroke(min(places), y, max(places), y, 0.9, row.colour))
    if row.spread is not None:
        low, high = map(scale.place, row.spread)
        drawn += [_stroke(low, y, high, y, 0.9, row.colour)]
        drawn += [_stroke(x, y - 4, x, y + 4, 0.9, row.colour) for x in (low, high)]
    drawn += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if number else 5}" fill="{row.colour}"/>'
        for number, x in enumerate(places)
    ]
    return drawn


def _round_steps(most: float) -> list[float]:
    """Some round figures from 0 up to the greatest value."""
    rough = most / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(int(most / step) + 1)]


def _apart(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Places for labels near where they are wanted, none on another, none beyond the plot."""
    placed = list(wanted)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    lowest = top
    for number in order:
        lowest = placed[number] = max(placed[number], lowest)
        lowest += LINE
    highest = bottom
    for number in reversed(order):
        highest = placed[number] = min(placed[number], highest)
        highest -= LINE
    return placed


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    opacity: float = 1.0,
    colour: str = "currentColor",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" opacity="{opacity:g}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _stroke(x1: float, y1: float, x2: float, y2: float, opacity: float, colour: str = "currentColor") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="1.6" opacity="{opacity:g}"/>'
    )


def _document(title: str, height: float, drawn: Iterable[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" style="max-width: {WIDTH}px; width: 100%" '
        f'font-family="sans-serif" font-size="{FONT}">'
    )
    return "\n".join([opening, f"<title>{escape(title)}</title>", BY_ITSELF, *drawn, "</svg>", ""])
