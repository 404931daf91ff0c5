"""Draws a table of steps between states as an SVG picture, which takes its colours from the page around it.

States stand on a grid; each step is an arrow with a number, and the same number is in the table beneath the picture. An
arrow is bent until it crosses no state and its number lies on no other one.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from krafka._state.lives import State, Step

BOX_WIDTH, BOX_HEIGHT = 132, 38
COLUMN, ROW = 190, 104
MARGIN = 30
BADGE = 10
BENDS = (0, 18, -18, 36, -36, 60, -60, 90, -90, 120, -120, 160, -160, 200, -200)
BADGE_PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
SAMPLES = 40

Place = tuple[float, float]


class Arrow(NamedTuple):
    """A curve from the edge of one state to the edge of another, and where its number lies."""

    start: Place
    bend: Place
    end: Place
    badge: Place

    def at(self, part: float) -> Place:
        """The point after this part of the way."""
        rest = 1 - part
        return (
            rest * rest * self.start[0] + 2 * rest * part * self.bend[0] + part * part * self.end[0],
            rest * rest * self.start[1] + 2 * rest * part * self.bend[1] + part * part * self.end[1],
        )


def ways(steps: Sequence[Step]) -> Iterator[tuple[int, State, State]]:
    """Each arrow: the number of its step, from where, to where."""
    for number, step in enumerate(steps, 1):
        for before in step.before:
            yield number, before, step.after


def draw(title: str, steps: Sequence[Step], places: Mapping[State, tuple[float, float]]) -> str:
    """The picture as SVG. `places` gives each state's column and row; a state without one is a KeyError."""
    states = list(dict.fromkeys(state for step in steps for state in (*step.before, step.after)))
    left, top = min(places[state][0] for state in states), min(places[state][1] for state in states)
    centres = {
        state: (
            MARGIN + BOX_WIDTH / 2 + COLUMN * (places[state][0] - left),
            2 * MARGIN + ROW * (places[state][1] - top),
        )
        for state in states
    }
    arrows: list[tuple[int, Arrow]] = []
    for number, before, after in ways(steps):
        arrows.append((number, _arrow(before, after, centres, [arrow for _, arrow in arrows])))
    lines = [_curve(arrow) for _, arrow in arrows]
    lines += [_start(number, centres[step.after]) for number, step in enumerate(steps, 1) if not step.before]
    ends = set(states) - {before for step in steps for before in step.before}
    lines += [_box(state.name, centres[state], is_end=state in ends) for state in states]
    lines += [_badge(number, arrow.badge) for number, arrow in arrows]
    width, height = _extent(centres.values(), [arrow for _, arrow in arrows])
    return "\n".join([*_head(title, width, height), *lines, "</svg>", ""])


def _arrow(before: State, after: State, centres: Mapping[State, Place], others: Sequence[Arrow]) -> Arrow:
    """The straightest arrow that crosses no other state and whose number can be told from the others' numbers."""
    (x1, y1), (x2, y2) = centres[before], centres[after]
    length = math.hypot(x2 - x1, y2 - y1)
    across = ((y1 - y2) / length, (x2 - x1) / length)
    best: tuple[float, Arrow] | None = None
    for order, bend in enumerate(BENDS):
        middle = ((x1 + x2) / 2 + 2 * bend * across[0], (y1 + y2) / 2 + 2 * bend * across[1])
        start, end = _edge((x1, y1), middle), _edge((x2, y2), middle)
        plain = Arrow(start, middle, end, middle)
        for turn, part in enumerate(BADGE_PLACES):
            arrow = plain._replace(badge=plain.at(part))
            cost = order + turn / 10 + 100 * _faults(arrow, before, after, centres, others)
            if best is None or cost < best[0]:
                best = cost, arrow
    assert best is not None  # noqa: S101 - there are bends to choose from
    return best[1]


def _faults(
    arrow: Arrow, before: State, after: State, centres: Mapping[State, Place], others: Sequence[Arrow]
) -> int:
    """How often an arrow meets what it should not: states, and the numbers of other arrows."""
    points = [arrow.at(step / SAMPLES) for step in range(SAMPLES + 1)]
    boxes = [centre for state, centre in centres.items() if state not in {before, after}]
    faults = sum(_is_inside(point, box, 8) for point in points for box in boxes)
    faults += sum(_is_inside(arrow.badge, box, BADGE) for box in centres.values())
    faults += sum(math.dist(arrow.badge, other.badge) < 2.4 * BADGE for other in others)
    faults += sum(math.dist(point, other.badge) < BADGE + 3 for point in points for other in others)
    faults += sum(
        math.dist(arrow.badge, other.at(step / SAMPLES)) < BADGE + 3
        for other in others
        for step in range(SAMPLES + 1)
    )
    return faults + sum(
        math.dist(tip, end) < 9
        for other in others
        for tip in (arrow.start, arrow.end)
        for end in (other.start, other.end)
    )


def _is_inside(point: Place, centre: Place, around: float) -> bool:
    return (
        abs(point[0] - centre[0]) < BOX_WIDTH / 2 + around
        and abs(point[1] - centre[1]) < BOX_HEIGHT / 2 + around
    )


def _edge(centre: Place, towards: Place) -> Place:
    """Where the line from the middle of a state to a point leaves its box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    part = min(
        (BOX_WIDTH / 2 + 2) / abs(dx) if dx else math.inf, (BOX_HEIGHT / 2 + 2) / abs(dy) if dy else math.inf
    )
    return centre[0] + part * dx, centre[1] + part * dy


def _extent(centres: Iterable[Place], arrows: Iterable[Arrow]) -> Place:
    points = [(x + BOX_WIDTH / 2, y + BOX_HEIGHT / 2) for x, y in centres]
    points += [arrow.at(step / SAMPLES) for arrow in arrows for step in range(SAMPLES + 1)]
    return max(x for x, _ in points) + MARGIN, max(y for _, y in points) + MARGIN


def _head(title: str, width: float, height: float) -> list[str]:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" style="max-width: {width:.0f}px; width: 100%" '
        'font-family="sans-serif" font-size="13" stroke-width="1.4">'
    )
    return [opening, f"<title>{escape(title)}</title>"]


def _curve(arrow: Arrow) -> str:
    points = [f"{value:.1f}" for place in arrow[:3] for value in place]
    path = "M{} {} Q{} {} {} {}".format(*points)
    return f'<path d="{path}" fill="none" stroke="currentColor"/>{_head_of(arrow)}'


def _head_of(arrow: Arrow) -> str:
    # Drawn rather than referred to: several pictures on a page would share the name of one marker.
    angle = math.atan2(arrow.end[1] - arrow.bend[1], arrow.end[0] - arrow.bend[0])
    points = [arrow.end] + [
        (arrow.end[0] - 10 * math.cos(angle + turn), arrow.end[1] - 10 * math.sin(angle + turn))
        for turn in (0.4, -0.4)
    ]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{corners}" fill="currentColor"/>'


def _start(number: int, centre: Place) -> str:
    x, y = centre[0] - BOX_WIDTH / 2 + 18, centre[1] - BOX_HEIGHT / 2
    arrow = Arrow((x, y - 24), (x, y - 12), (x, y - 2), (x, y - 24))
    return _curve(arrow) + _badge(number, arrow.badge)


def _box(name: str, centre: Place, *, is_end: bool) -> str:
    x, y = centre[0] - BOX_WIDTH / 2, centre[1] - BOX_HEIGHT / 2
    around = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" fill="none" stroke="currentColor"'
    inner = (
        f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{BOX_WIDTH - 6}" height="{BOX_HEIGHT - 6}" rx="5" '
        'fill="none" stroke="currentColor" stroke-width="0.8"/>'
        if is_end
        else ""
    )
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" rx="7" {around}/>{inner}'
        f'<text x="{centre[0]:.1f}" y="{centre[1] + 4.5:.1f}" text-anchor="middle" fill="currentColor">'
        f"{escape(name.replace('_', ' '))}</text>"
    )


def _badge(number: int, place: Place) -> str:
    return (
        f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{BADGE}" stroke="currentColor" stroke-width="0.8" '
        'style="fill: var(--color-background-primary, white)"/>'
        f'<text x="{place[0]:.1f}" y="{place[1] + 4:.1f}" text-anchor="middle" font-size="11" '
        f'fill="currentColor">{number}</text>'
    )
