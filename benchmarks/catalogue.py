"""Which clients run which workloads."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.floor import build as floor_build
from benchmarks.peers import build as peer_build

if TYPE_CHECKING:
    from collections.abc import Callable

MODES = {
    "enqueue": "one call a record, then flush; the log tells that all arrived",
    "awaited": "one call a record; the outcome of each taken from the client",
    "send_many": "records given in bulk; the outcome of each taken from the client",
    "one": "one record after the other, each awaited before the next",
    "tasks": "many tasks, each awaiting its own records one by one",
}
THROUGHPUT = ("enqueue", "awaited", "send_many")
EVENT_LOOPS = ("asyncio", "uvloop", "trio")


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


@dataclass(frozen=True, slots=True)
class Client:
    """A producer and what it can be asked for; `missing` says what it lacks on this machine, None if nothing."""

    name: str
    module: str
    modes: tuple[str, ...]
    missing: Callable[[], str | None]
    variants: tuple[str, ...] = ("",)
    compresses: bool = True


def _needs(package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        try:
            found = importlib.util.find_spec(package) is not None
        except ModuleNotFoundError:
            found = False
        return None if found else f"no Python package {package}"

    return missing


def _needs_compiler() -> str | None:
    if importlib.util.find_spec("Cython") is None:
        return "no Python package Cython"
    return None if shutil.which("cc") or shutil.which("gcc") or shutil.which("clang") else "no C compiler"


def _needs_go() -> str | None:
    return None if shutil.which("go") else "no Go tool chain"


CLIENTS = (
    Client("krafka", "krafka_", tuple(MODES), lambda: None, EVENT_LOOPS),
    Client(
        "floor", "floor_", ("enqueue", "send_many", "one"), _needs_compiler, EVENT_LOOPS, compresses=False
    ),
    Client("franz-go", "franz_go", ("awaited", "one", "tasks"), _needs_go),
    Client("confluent-kafka", "confluent_", ("awaited", "one"), _needs("confluent_kafka")),
    # Not one by one: with nothing else to send, it looks for outcomes every 0.1 s.
    Client("AIOProducer", "confluent_aio", ("awaited", "tasks"), _needs("confluent_kafka.aio")),
    Client("aiokafka", "aiokafka_", ("awaited", "one", "tasks"), _needs("aiokafka"), ("asyncio",)),
    Client("kafka-python", "kafka_python", ("awaited", "one"), _needs("kafka")),
)


def rows(compression: str) -> tuple[list[Row], dict[str, str]]:
    """The rows this machine can run, and for each client it cannot what is missing."""
    found: list[Row] = []
    missing: dict[str, str] = {}
    for client in CLIENTS:
        if compression != "none" and not client.compresses:
            missing[client.name] = "it does not compress"
        elif (lacking := client.missing()) is not None:
            missing[client.name] = lacking
        else:
            found += [
                Row(client.name, client.module, mode, variant)
                for mode in client.modes
                for variant in client.variants
                if variant != "uvloop" or importlib.util.find_spec("uvloop") is not None
                if variant != "trio" or importlib.util.find_spec("trio") is not None
            ]
    return found, missing


def command(row: Row) -> list[str]:
    """What runs a row; the workload is the argument to add."""
    if row.module == "franz_go":
        return [str(peer_build.franz_go())]
    if row.module == "floor_":
        floor_build.least()
    return [sys.executable, "-m", f"benchmarks.clients.{row.module}"]
