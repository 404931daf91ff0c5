"""Links between the project's own pages lead somewhere, and the design names rooms that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .sources import PACKAGE, ROOT, relative, tracked

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PAGES = tracked(".md")


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub and MyST name them in links."""
    found = HEADING.findall(CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


def test_rooms_in_the_design_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    drawing = text.split("## Rooms", 1)[1].split("\n\n", 2)[1]
    names = re.findall(r"(?<=\s)\w+(?:\.py|/)(?=\s)", drawing.split("\n", 2)[2])
    assert "producer.py" in names
    assert "records.py" in names
    assert [name for name in names if not (PACKAGE / name).exists()] == []


def test_rooms_that_exist_are_in_the_design() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    rooms = {path.relative_to(PACKAGE).parts[0] for path in tracked(".py") if path.is_relative_to(PACKAGE)}
    packages = {room for room in rooms if (PACKAGE / room).is_dir()}
    assert {room for room in packages if f"{room}/" not in text} == set()
