"""The documentation's Python programs are run: each on a real Kafka, those for both event loops on both."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from serializers.fake_registry import FakeRegistry

from .sources import ROOT, relative, tracked

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>[\w{}-]*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ADDRESS = "localhost:9092"
REGISTRY = "http://localhost:8081"
TOPIC = "orders"
RUN = "anyio.run(main)"
BACKENDS = ("asyncio", "trio")
SECONDS = 120.0
LOST = re.compile(r"broker \d+ at [\d.:]+ closed the connection with \d+ request\(s\) open")
"""What a producer says of a broker that a program ends, if it does so at the wrong moment."""


class Block(NamedTuple):
    """One fenced block of code."""

    place: str
    language: str
    code: str
    reason_not_run: str | None

    @property
    def kind(self) -> str:
        """How it is run: by pytest, under an ASGI driver, or as a program."""
        if re.search(r"^(async )?def test_", self.code, re.MULTILINE):
            return "pytest"
        return "asgi" if re.search(r"^app = ", self.code, re.MULTILINE) else "program"

    @property
    def sends(self) -> bool:
        """Whether it leaves records in the topic of the shared Kafka."""
        return "producer.send" in self.code and ADDRESS in self.code


def blocks(path: Path) -> list[Block]:
    """The blocks of one Markdown file, named by the line they start on."""
    text = path.read_text()
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        found.append(Block(f"{relative(path)}:{line}", match["language"], match["code"], match["reason"]))
    return found


PAGES = [path for path in tracked(".md") if path.parent in {ROOT, ROOT / "docs"}]
PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]
RUNNABLE = [block for block in PYTHON if block.reason_not_run is None]


def cases() -> list[object]:
    """Each block with the backend it is run on; "own" is the one it names itself."""
    return [
        pytest.param(block, backend, id=f"{block.place}-{backend}")
        for block in RUNNABLE
        for backend in (BACKENDS if RUN in block.code or block.kind != "program" else ("own",))
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


def run(arguments: list[str], folder: Path, **variables: str) -> str:
    """Run Python with every warning an error; return what it printed."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    assert [line for line in finished.stderr.splitlines() if not LOST.fullmatch(line)] == []
    return finished.stdout


def records_in(kafka: KafkaCluster, topic: str) -> int:
    """How many records a topic has."""
    return sum(kafka.sync.end_offsets(topic).values())


@pytest.mark.kafka
@pytest.mark.parametrize(("block", "backend"), cases())
def test_a_block_runs(
    block: Block, backend: str, kafka: KafkaCluster, kafka_topic: str, tmp_path: Path
) -> None:
    source = block.code
    if ADDRESS in source:
        source = source.replace(ADDRESS, kafka.bootstrap).replace(f'"{TOPIC}"', f'"{kafka_topic}"')
    with contextlib.ExitStack() as stack:
        if REGISTRY in source:
            registry = stack.enter_context(FakeRegistry())
            source = source.replace(REGISTRY, registry.url)
        run_block(block, source, backend, tmp_path)
    if block.sends:
        assert records_in(kafka, kafka_topic) > 0


def run_block(block: Block, source: str, backend: str, tmp_path: Path) -> None:
    """Run one block's source in its own way, on one event loop."""
    if block.kind == "pytest":
        (tmp_path / "test_block.py").write_text(source)
        (tmp_path / "conftest.py").write_text(
            f"import pytest\n\n\n@pytest.fixture\ndef anyio_backend():\n    return {backend!r}\n"
        )
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        assert "1 passed" in run(["-m", "pytest", "-q", *plugin_if_not_installed()], tmp_path)
        return
    program = tmp_path / "block.py"
    program.write_text(source.replace(RUN, f'anyio.run(main, backend="{backend}")'))
    if block.kind == "asgi":
        run([str(ROOT / "tests/repo/drive_asgi.py"), str(program), backend, "/orders"], tmp_path)
    else:
        assert run([str(program)], tmp_path), "it prints nothing to show that it worked"


def plugin_if_not_installed() -> list[str]:
    """The arguments that load krafka's pytest plugin where no entry point does."""
    installed = any(point.value == "krafka.testing.pytest_plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "krafka.testing.pytest_plugin"]


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
