"""`pytest docs` runs each Python program of these pages, in the way of tests/repo/test_docs_examples.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from repo.doc_blocks import PAGES, Block, cases, run_on_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krafka.testing import KafkaCluster


class Page(pytest.File):
    """A page, whose tests are its programs on each backend, named by the lines they start on."""

    def collect(self) -> Iterator[pytest.Function]:
        for block, backend in cases(self.path):
            name = f"{block.place.rpartition(':')[2]}-{backend}"
            item = pytest.Function.from_parent(self, name=name, callobj=_test(block, backend))
            item.add_marker("kafka")
            yield item


def _test(block: Block, backend: str) -> Callable[..., None]:
    def test(kafka: KafkaCluster, kafka_topic: str, tmp_path: Path) -> None:
        run_on_kafka(block, backend, kafka, kafka_topic, tmp_path)

    return test


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    """Collect a page of the documentation, and nothing that its build has written."""
    return Page.from_parent(parent, path=file_path) if file_path in PAGES else None
