"""The Python programs of README and docs: what they are, and how one is run on a real Kafka."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from auth.secured import PASSWORD, secured, unsecured_token
from serializers.fake_registry import FakeRegistry

from .doc_provider import PROVIDER, provider_and_kafka
from .sources import ROOT, relative, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krafka.testing import KafkaCluster

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>[\w{}-]*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ADDRESS = "localhost:9092"
REGISTRY = "http://localhost:8081"
SECURED = {"kafka.example.org:9094": "SASL_SSL", "kafka.example.org:9093": "SSL"}
"""Addresses of a cluster that asks who is there, and which of its listeners each stands for."""
TOPIC = "orders"
RUN = "anyio.run(main)"
BACKENDS = ("asyncio", "trio")
SECONDS = 120.0
WARNINGS = (
    *("-W", "error"),
    *("-W", "ignore:read_text is deprecated:DeprecationWarning"),
    *("-W", "ignore:open_text is deprecated:DeprecationWarning"),
)
"""Each is an error but those that kafka-python cannot be imported without."""
LOST = re.compile(
    r"broker \d+ at [\d.:]+ closed the connection with \d+ request\(s\) open|.*SASL_AUTHENTICATION_FAILED.*"
)
"""What a producer says of a broker that a program ends, if it does so at the wrong moment, and of a wrong password."""


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
        return ADDRESS in self.code and bool(re.search(r"producer\.(send|enqueue)", self.code))


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


def cases(page: Path) -> Iterator[tuple[Block, str]]:
    """Each block of a page to be run, with each backend it is run on; "own" is the one it names itself."""
    for block in blocks(page):
        if block.language == "python" and block.reason_not_run is None:
            for backend in BACKENDS if RUN in block.code or block.kind != "program" else ("own",):
                yield block, backend


def run(arguments: list[str], folder: Path, **variables: str) -> str:
    """Run Python with every warning an error; return what it printed."""
    finished = subprocess.run(
        [sys.executable, *WARNINGS, *arguments],
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


def run_on_kafka(block: Block, backend: str, kafka: KafkaCluster, topic: str, folder: Path) -> None:
    """Run a block with a topic and an empty folder of its own; it must print, and send if it says so."""
    source = block.code
    if any(address in source for address in SECURED):
        run_on_secured_kafka(block, backend, topic, folder)
        return
    if PROVIDER in source:
        run_with_provider(block, backend, folder)
        return
    if ADDRESS in source:
        source = source.replace(ADDRESS, kafka.bootstrap).replace(f'"{TOPIC}"', f'"{topic}"')
    with contextlib.ExitStack() as stack:
        if REGISTRY in source:
            registry = stack.enter_context(FakeRegistry())
            source = source.replace(REGISTRY, registry.url)
        run_block(block, source, backend, folder)
    if block.sends:
        assert sum(kafka.sync.end_offsets(topic).values()) > 0


@cache
def secured_kafka() -> KafkaCluster:
    """The cluster for programs that log in, started by the first of them."""
    cluster = secured()
    stack = contextlib.ExitStack()
    stack.enter_context(cluster.sync)
    atexit.register(stack.close)
    return cluster


def run_on_secured_kafka(block: Block, backend: str, topic: str, folder: Path) -> None:
    """Run a block that logs in, with the files it names in its folder; it must send, unless it says it is refused."""
    kafka = secured_kafka()
    source = block.code.replace(f'"{TOPIC}"', f'"{topic}"')
    for address, listener in SECURED.items():
        source = source.replace(address, kafka.bootstrap_of(listener))
    shutil.copy(kafka.ca_pem, folder / "ca.pem")
    shutil.copy(kafka.client_pem, folder / "client.pem")
    (folder / "token.jwt").write_text(unsecured_token().value)
    run_block(block, source, backend, folder, KAFKA_PASSWORD=PASSWORD)
    if "not her password" not in source:
        assert sum(kafka.sync.end_offsets(topic).values()) > 0


def run_with_provider(block: Block, backend: str, folder: Path) -> None:
    """Run a block that asks an identity provider for tokens, with a Kafka that takes them; it must send."""
    with provider_and_kafka(folder) as provided:
        source = block.code.replace(PROVIDER, provided.token_url).replace(ADDRESS, provided.bootstrap)
        run_block(block, source, backend, folder, **provided.variables)
        assert sum(provided.kafka.sync.end_offsets(TOPIC).values()) > 0


def run_block(block: Block, source: str, backend: str, tmp_path: Path, **variables: str) -> None:
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
        assert run([str(program)], tmp_path, **variables), "it prints nothing to show that it worked"


def plugin_if_not_installed() -> list[str]:
    """The arguments that load krafka's pytest plugin where no entry point does."""
    installed = any(point.value == "krafka.testing.pytest_plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "krafka.testing.pytest_plugin"]
