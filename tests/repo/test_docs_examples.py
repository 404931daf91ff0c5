"""The documentation's Python programs are run: each on a real Kafka, those for both event loops on both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .doc_blocks import BACKENDS, PAGES, PYTHON, RUNNABLE, TOPIC, Block, blocks, cases, run, run_on_kafka
from .sources import ROOT, tracked

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

CASES = [
    pytest.param(block, backend, id=f"{block.place}-{backend}")
    for page in PAGES
    for block, backend in cases(page)
]


def test_there_are_programs_to_run() -> None:
    assert len(RUNNABLE) >= 10
    assert {block.kind for block in RUNNABLE} == {"pytest", "asgi", "program"}
    assert any("trio.run(" in block.code for block in RUNNABLE)
    assert any("asyncio.run(" in block.code for block in RUNNABLE)


def test_every_block_says_its_language() -> None:
    assert [block.place for page in PAGES for block in blocks(page) if not block.language] == []


def test_a_block_that_is_not_run_says_why(tmp_path: Path) -> None:
    page = ROOT / "docs" / "getting-started.md"
    reasons = [block.reason_not_run for block in blocks(page) if block.reason_not_run]
    assert reasons == ["the files exist on the reader's machine only"]
    for block in PYTHON:
        compile(block.code, block.place, "exec")


@pytest.mark.kafka
@pytest.mark.parametrize(("block", "backend"), CASES)
def test_a_block_runs(
    block: Block, backend: str, kafka: KafkaCluster, kafka_topic: str, tmp_path: Path
) -> None:
    run_on_kafka(block, backend, kafka, kafka_topic, tmp_path)


def test_pytest_docs_runs_the_same(tmp_path: Path) -> None:
    arguments = ["-m", "pytest", "--collect-only", "-q", "--rootdir", str(ROOT), str(ROOT / "docs")]
    collected = re.findall(r"^(docs/\S+\.md)::(\S+)$", run(arguments, tmp_path), re.MULTILINE)
    assert [f"{page}:{name}" for page, name in collected] == [
        case.id for case in CASES if str(case.id).startswith("docs/")
    ]


@pytest.mark.kafka
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_web_service_takes_an_order(
    kafka: KafkaCluster, kafka_topic: str, backend: str, tmp_path: Path
) -> None:
    service = tmp_path / "web_service.py"
    source = (ROOT / "examples" / "web_service.py").read_text()
    service.write_text(source.replace(f'"{TOPIC}"', f'"{kafka_topic}"'))
    printed = run(
        [str(ROOT / "tests/repo/drive_asgi.py"), str(service), backend, "/orders/table-7"],
        tmp_path,
        KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap,
    )
    assert printed.endswith("status 201\n")
    (record,) = kafka.sync.read(kafka_topic)
    assert (record.key, record.value) == (b"table-7", b"two coffees")


@pytest.mark.kafka
def test_a_file_is_loaded_line_by_line(kafka: KafkaCluster, kafka_topic: str, tmp_path: Path) -> None:
    lines = [b"", b"two coffees", '"quoted", \N{HOT BEVERAGE}'.encode(), b"\r", b"last, without an end"]
    (tmp_path / "lines.txt").write_bytes(b"\n".join(lines))
    run([str(ROOT / "examples" / "load_file.py"), kafka.bootstrap, kafka_topic, "lines.txt"], tmp_path)
    assert sorted(record.value or b"" for record in kafka.sync.read(kafka_topic)) == sorted(lines)


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()
    assert [
        path.name for path in tracked(".py") if path.parent == ROOT / "examples" and path.name not in here
    ] == []
