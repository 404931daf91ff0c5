"""The programs of `examples/migration`: what was written for aiokafka and what it became leave the same in a topic."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from .sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from krafka.testing import KafkaCluster

FOLDER = ROOT / "examples" / "migration"
BEFORE = {path.name for path in (FOLDER / "before").glob("*.py")}
AFTER = {path.name for path in (FOLDER / "after").glob("*.py")}
PARTITIONS = 4
SECONDS = 120.0
TOO_LARGE = {1: b"x" * 2_000_000, 500: b"y" * 1_500_000}
SET_TIMESTAMP = 1_700_000_000_000


def start(program: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a program with every warning an error."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(program)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes], given: bytes | None = None) -> str:
    """Wait for a program's end, which has to be a good one and silent on standard error; return what it printed."""
    try:
        printed, complaints = process.communicate(given, timeout=SECONDS)
    finally:
        process.kill()
    assert (process.returncode, complaints.decode()) == (0, "")
    return printed.decode()


def without_input(process: subprocess.Popen[bytes]) -> str:
    return finish(process)


def bulk(process: subprocess.Popen[bytes]) -> str:
    lines = [
        b"key-%d,%s" % (number % 50, TOO_LARGE.get(number, b"row %d" % number)) for number in range(3_000)
    ]
    return finish(process, b"".join(line + b"\n" for line in lines))


def served(process: subprocess.Popen[bytes]) -> str:
    """Two customers order, then the service is told to end."""
    try:
        assert process.stdout is not None
        word, port = process.stdout.readline().split()
        assert word == b"port"
        answers = []
        for table in (b"table-7", b"table-8"):
            with socket.create_connection(("localhost", int(port)), SECONDS) as customer:
                customer.settimeout(SECONDS)
                with customer.makefile("rb") as lines:
                    for cup in range(3):
                        customer.sendall(b"%s coffee %d\n" % (table, cup))
                        answers.append(lines.readline().decode())
        process.send_signal(signal.SIGTERM)
    except BaseException:
        process.kill()
        raise
    return "".join(answers) + finish(process)


DRIVERS: dict[str, Callable[[subprocess.Popen[bytes]], str]] = {
    "fire_and_wait.py": without_input,
    "fire_and_forget.py": without_input,
    "keyed_json.py": without_input,
    "service.py": served,
    "bulk_load.py": bulk,
}
LAST_LINE = {
    "fire_and_wait.py": "coffee 24: partition ",
    "fire_and_forget.py": "[('written', 2000)]",
    "keyed_json.py": "8 customers",
    "service.py": "closed",
    "bulk_load.py": "2998 of 3000 lines written",
}
RECORDS = {
    "fire_and_wait.py": 25,
    "fire_and_forget.py": 2000,
    "keyed_json.py": 8,
    "service.py": 7,
    "bulk_load.py": 2998,
}


def by_key(kafka: KafkaCluster, topic: str) -> dict[object, list[object]]:
    """What lies under each key, in order: partition, value, headers, and the timestamp where the program set it."""
    found = defaultdict(list)
    records = kafka.sync.read(topic)
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        timestamp = record.timestamp if record.timestamp == SET_TIMESTAMP else None
        found[record.key].append((record.partition, record.value, record.headers, timestamp))
    return dict(found)


def run_in_new_topic(
    kafka: KafkaCluster, program: Path, topic: str
) -> tuple[str, dict[object, list[object]]]:
    kafka.sync.create_topic(topic, partitions=PARTITIONS)
    try:
        printed = DRIVERS[program.name](start(program, BOOTSTRAP=kafka.bootstrap, TOPIC=topic))
        return printed, by_key(kafka, topic)
    finally:
        kafka.sync.delete_topic(topic, wait=False)


def test_there_is_a_pair_of_each() -> None:
    assert BEFORE == AFTER == set(DRIVERS)


@pytest.mark.kafka
@pytest.mark.parametrize("name", sorted(BEFORE))
def test_the_ported_program_does_the_same(name: str, kafka: KafkaCluster, tmp_path: Path) -> None:
    printed, records = run_in_new_topic(kafka, FOLDER / "before" / name, f"{name}-before")
    assert printed.splitlines()[-1].startswith(LAST_LINE[name])
    assert sum(map(len, records.values())) == RECORDS[name]
    source = (FOLDER / "after" / name).read_text()
    assert source.count("anyio.run(main)") == 1
    for backend in ("asyncio", "trio"):
        program = tmp_path / name
        program.write_text(source.replace("anyio.run(main)", f'anyio.run(main, backend="{backend}")'))
        topic = f"{name}-{backend}"
        assert run_in_new_topic(kafka, program, topic) == (printed, records), backend
