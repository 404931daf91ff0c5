"""The table of the guide's statements is whole: every section is in it, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache

import pytest

from .sources import ROOT

TO_COME = "to come"
NAMES = re.compile(r"`([^`]+)`")
SECTIONS = """
Overview; Basic Usage; Authentication; Acknowledgments; Compression; Batching; Linger Timer; Memory Backpressure;
Flushing; Default Partitioner; Custom Partitioners; Implementing Custom Partitioners; Record Validation; Built-in Retry;
Delivery Timeout; Manual Retry; Using RetryPolicy; High Throughput; Low Latency; Durability; Concurrency Control;
Graceful Shutdown; Transactional Producer; Transactional Producer: Basic Usage; Transactional Producer: Configuration;
Transactional Producer: Authentication; Transaction Lifecycle; Graceful Shutdown (Transactional); Built-in Retry Logic;
Coordinator Re-discovery; Timestamps; Consume-Transform-Produce; Transaction States; Producer Interceptors; Next Steps
"""
"""The guide's own, in its order; those that hold nothing but others are left out."""


def rows() -> list[list[str]]:
    """The table's cells, without its head."""
    lines = (ROOT / "docs" / "guide-coverage.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@cache
def names_in(file: str) -> set[str]:
    """The tests of one file as `name` or `Class::name`."""
    path = ROOT / file
    if not (path.name.startswith("test_") and path.is_file()):
        return set()
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found |= {f"{node.name}::{name}" for name in _named(node.body)}
    return found | _named(ast.parse(path.read_text()).body)


def _named(body: list[ast.stmt]) -> set[str]:
    functions = (node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def is_proof(cell: str) -> bool:
    """Whether a cell names tests, each of which exists, and nothing else."""
    names = NAMES.findall(cell)
    parts = [name.partition("::") for name in names]
    return cell == ", ".join(f"`{name}`" for name in names) and all(
        name in names_in(file) for file, _, name in parts
    )


def test_no_cell_is_empty() -> None:
    assert len(rows()) >= 90
    assert [row for row in rows() if len(row) != 3 or not all(row)] == []


def test_every_section_of_the_guide_is_there_in_its_order() -> None:
    sections = [section.strip() for section in SECTIONS.replace("\n", " ").split(";")]
    assert list(dict.fromkeys(row[0] for row in rows())) == sections


def test_no_statement_is_there_twice() -> None:
    statements = Counter((section, statement) for section, statement, _ in rows())
    assert [statement for statement, times in statements.items() if times > 1] == []


def test_every_statement_has_tests_that_exist() -> None:
    without = [
        (section, statement, cell)
        for section, statement, cell in rows()
        if cell != TO_COME and not (cell and is_proof(cell))
    ]
    assert without == []


def test_nothing_is_to_come() -> None:
    assert [section for section, _, cell in rows() if cell == TO_COME] == []


@pytest.mark.parametrize(
    "cell",
    [
        "`tests/repo/test_guide_coverage.py::test_nothing_of_that_name`",
        "`tests/repo/test_guide_coverage.py::rows`",
        "`tests/repo/test_nowhere.py::test_no_cell_is_empty`",
        "`tests/repo/test_guide_coverage.py::test_no_cell_is_empty` and more",
        "`tests/state/test_accumulator.py::TestLinger`",
        "`tests/state/test_accumulator.py::test_a_full_batch_does_not_linger`",
    ],
)
def test_what_is_no_test_is_noticed(cell: str) -> None:
    assert not is_proof(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "`tests/repo/test_guide_coverage.py::test_no_cell_is_empty`",
        "`tests/state/test_accumulator.py::TestLinger::test_a_full_batch_does_not_linger`",
        "`tests/values/test_retry.py::test_the_defaults`, `tests/wire/test_memory.py::test_nothing_is_left_behind`",
    ],
)
def test_what_is_one_is_known(cell: str) -> None:
    assert is_proof(cell)
