"""The documentation's tables and pictures say what the code's tables say, and its figures are the options' defaults."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

import krafka
from krafka._state.lives import BATCH_LIFE, BatchState, Step
from krafka._state.rules import CLIENT_RULES, PRODUCE_RULES
from krafka.errors import error_classes_by_code

from .sources import ROOT
from .test_tools import load

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
INCLUDED = re.compile(r"(?:\{include\} |:file: )_build/(\S+)")
FIGURE = re.compile(r"`(\w+)` \(([\d.]+)(?: (s|KiB|MiB))?\)")
UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024 * 1024}
SVG = "{http://www.w3.org/2000/svg}"

generate_docs = load("generate_docs.py")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("docs")
    generate_docs.write(folder)
    return folder


def cells(path: Path) -> list[list[str]]:
    """The rows of a Markdown table, without its head."""
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_what_is_generated_is_what_pages_include(generated: Path) -> None:
    included = [name for page in DOCS.glob("*.md") for name in INCLUDED.findall(page.read_text())]
    assert sorted(included) == sorted(path.name for path in generated.iterdir())


def test_every_code_has_one_row_on_the_page(generated: Path) -> None:
    rows = [*cells(generated / "rules-by-code.md"), *cells(generated / "other-codes.md")]
    assert {int(row[0]): row[1] for row in rows} == {
        code: f"`{error.__name__}`" for code, error in error_classes_by_code().items()
    }
    assert len(rows) == len(error_classes_by_code())
    assert all(len(row) in {8, 4} and all(row) for row in rows)


def test_every_word_in_the_tables_is_explained(generated: Path) -> None:
    meanings = {(row[0], row[1]) for row in cells(generated / "rules-legend.md")}
    columns = ("batch", "written", "number", "producer", "transaction")
    used = {
        word for row in cells(generated / "rules-by-code.md") for word in zip(columns, row[2:7], strict=True)
    }
    used |= {
        word
        for row in cells(generated / "rules-of-the-client.md")
        for word in zip(columns, row[2:7], strict=True)
    }
    used |= {("batch", row[2]) for row in cells(generated / "other-codes.md")}
    assert used == meanings


def test_every_rule_says_where_it_comes_from(generated: Path) -> None:
    rows = cells(generated / "rules-sources.md")
    assert len(rows) == len(PRODUCE_RULES) + len(CLIENT_RULES)
    assert all(len(row) == 2 and all(row) for row in rows)


# -- the pictures ------------------------------------------------------------------------------------------------------


def curves(picture: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Each arrow as points along it."""
    found = []
    for path in picture.findall(f"{SVG}path"):
        (x1, y1), (x2, y2), (x3, y3) = [
            tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.attrib["d"])
        ]
        found.append(
            [
                (
                    (1 - t) ** 2 * x1 + 2 * t * (1 - t) * x2 + t * t * x3,
                    (1 - t) ** 2 * y1 + 2 * t * (1 - t) * y2 + t * t * y3,
                )
                for t in (step / 50 for step in range(51))
            ]
        )
    return found


def boxes(picture: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Each state's left, top, right and bottom."""
    rects = [rect.attrib for rect in picture.findall(f"{SVG}rect") if "stroke-width" not in rect.attrib]
    values = [tuple(float(rect[name]) for name in ("x", "y", "width", "height")) for rect in rects]
    return [(x, y, x + width, y + height) for x, y, width, height in values]


@pytest.mark.parametrize("name", generate_docs.LIVES)
def test_a_picture_shows_every_state_and_every_step(name: str, generated: Path) -> None:
    _, steps, places = generate_docs.LIVES[name]
    picture = ElementTree.parse(generated / f"life-of-a-{name}.svg").getroot()
    texts = [text.text for text in picture.findall(f"{SVG}text")]
    kind = type(steps[0].after)
    assert set(places) == set(kind)
    numbers = [str(number) for number, step in enumerate(steps, 1) for _ in step.before or (None,)]
    assert sorted(map(str, texts)) == sorted([*numbers, *(state.name.replace("_", " ") for state in kind)])
    assert len(curves(picture)) == len(numbers)
    listed = cells(generated / f"life-of-a-{name}.md")
    assert {row[0] for row in listed} >= {f"`{state.name}`" for state in kind} | set(numbers)


@pytest.mark.parametrize("name", generate_docs.LIVES)
def test_no_arrow_of_a_picture_crosses_a_state(name: str, generated: Path) -> None:
    picture = ElementTree.parse(generated / f"life-of-a-{name}.svg").getroot()
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    for points in curves(picture):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        crossed = [
            box
            for box in boxes(picture)
            if any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in points)
        ]
        assert crossed == []


def test_another_step_is_another_arrow() -> None:
    title, steps, places = generate_docs.LIVES["batch"]
    more = [*steps, Step((BatchState.ACKNOWLEDGED,), BatchState.OPEN, "Never.")]
    before, after = (
        ElementTree.fromstring(generate_docs.draw(title, each, places)) for each in (steps, more)
    )
    assert len(curves(after)) == len(curves(before)) + 1


def test_a_state_without_a_place_is_missed() -> None:
    places = {
        state: place for state, place in generate_docs.LIVES["batch"][2].items() if state.name != "OPEN"
    }
    with pytest.raises(KeyError, match="OPEN"):
        generate_docs.draw("", BATCH_LIFE, places)


# -- options -----------------------------------------------------------------------------------------------------------


def test_every_option_has_an_anchor_a_heading_and_its_facts(generated: Path) -> None:
    text = (generated / "options.md").read_text()
    for option in krafka.ProducerConfig.describe():
        _, _, part = text.partition(f"(option-{option.name})=\n### {option.name}\n\n")
        part = part.partition("\n(option-")[0]
        assert part.startswith(option.meaning)
        for told in (option.type, option.bounds, option.kafka or "", *option.librdkafka):
            assert told in part
    assert "; default `65536` (64 KiB); 1 to 2147483647 bytes\n" in text
    assert "default `33554432` (32 MiB)" in text
    assert "in the environment `KAFKA_MAX_BLOCK_MS`" in text


def test_defaults_in_prose_are_the_defaults() -> None:
    told = {}
    for option in krafka.ProducerConfig.describe():
        for figure, unit in re.findall(r"[Dd]efault (\d[\d.]*\d|\d)(?: (KiB|MiB))?", option.meaning):
            assert float(figure) * UNITS[unit] == option.default, option.name
            told[option.name] = figure
    assert len(told) >= 17


def test_every_preset_has_its_column(generated: Path) -> None:
    head = (generated / "presets.md").read_text().splitlines()[0]
    names = re.findall(r"`(\w+)`", head)
    for row in cells(generated / "presets.md"):
        match = re.match(r"\[`(\w+)`\]\(#option-\1\)", row[0])
        assert match
        for name, cell in zip(names, row[2:], strict=True):
            config = getattr(krafka.ProducerConfig, name)("localhost:9092")
            assert not cell or f"\n{match[1]} = {cell.strip('`')}  #" in config.explain()
            assert bool(cell) == (match[1] in config._given)
    assert names == ["high_throughput", "low_latency", "durable"]


# -- what the pages say ------------------------------------------------------------------------------------------------


def test_figures_are_the_defaults() -> None:
    config = krafka.ProducerConfig(bootstrap_servers="localhost:9092")
    options = {field.name for field in fields(config)}
    seen = set()
    for page in ("what-happens-to-a-record.md", "getting-started.md", "guide.md", "guide-delivery.md"):
        for name, figure, unit in FIGURE.findall((DOCS / page).read_text()):
            assert name in options
            assert float(figure) * UNITS[unit] == getattr(config, name), f"{page}: {name}"
            seen.add(name)
    assert seen >= {"delivery_timeout", "max_block", "buffer_memory", "max_request_size", "close_timeout"}


def test_every_name_of_an_error_exists() -> None:
    for page in ("what-happens-to-a-record.md", "errors.md", "guide.md", "guide-delivery.md"):
        names = re.findall(r"`(?:krafka\.)?(\w+Error)`", (DOCS / page).read_text())
        assert names
        assert [name for name in names if not hasattr(krafka, name)] == []
