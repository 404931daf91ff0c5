"""`krafka produce` as its users run it: a process of its own, a real Kafka, and another client reading back."""

from __future__ import annotations

import array
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krafka.testing import ConsumedRecord, KafkaCluster

pytestmark = pytest.mark.kafka

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BACKENDS = ["asyncio", "trio"]
SECONDS = 180


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    output: bytes
    errors: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "krafka", *arguments]


def run(*arguments: str, data: bytes = b"") -> Outcome:
    done = subprocess.run(command(*arguments), input=data, capture_output=True, check=False, timeout=SECONDS)
    errors = done.stderr.decode()
    assert "Traceback" not in errors
    return Outcome(done.returncode, done.stdout, errors)


def entries(report: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.splitlines()]


def by_place(records: list[ConsumedRecord]) -> dict[tuple[int, int], ConsumedRecord]:
    return {(record.partition, record.offset): record for record in records}


def nasty_lines(count: int) -> list[bytes]:
    chance = random.Random(7)
    special = [b"", b'"', b"\r", b"\x00\xff", '{"a": "\\"😀"}'.encode(), b"x" * 900 * 1024, "é, ü\t".encode()]
    return special + [
        bytes(chance.choices(b'ab"\r\t ,{}\xf0\x9f', k=chance.randrange(40)))
        for _ in range(count - len(special))
    ]


@pytest.mark.parametrize(("codec", "backend"), [*((codec, "asyncio") for codec in CODECS), ("none", "trio")])
def test_every_line_is_in_the_topic_once_where_the_report_says(
    kafka: KafkaCluster, kafka_topic: str, tmp_path: Path, codec: str, backend: str
) -> None:
    lines = nasty_lines(20_000)
    source, report = tmp_path / "input", tmp_path / "report"
    source.write_bytes(b"\n".join(lines))
    outcome = run(
        *("produce", kafka_topic, str(source), "-b", kafka.bootstrap, "--report", str(report)),
        *("--compression", codec, "--backend", backend),
    )
    assert outcome.code == 0, outcome.errors
    assert "20,000 records acknowledged" in outcome.errors
    found = by_place(kafka.sync.read(kafka_topic))
    reported = entries(report.read_bytes())
    assert [entry["line"] for entry in reported] == list(range(1, len(lines) + 1))
    assert [found[entry["partition"], entry["offset"]].value for entry in reported] == lines
    assert len(found) == len(lines)


@pytest.mark.parametrize("backend", [*BACKENDS, "uvloop"])
def test_keys_headers_and_partition_from_a_pipe(kafka: KafkaCluster, kafka_topic: str, backend: str) -> None:
    outcome = run(
        *("produce", kafka_topic, "-b", kafka.bootstrap, "--key-separator", "\\t", "--backend", backend),
        *(
            "--header",
            "a=1",
            "--header",
            "a=",
            "--header",
            "b=x=ü",
            "--partition",
            "3",
            "--report",
            "-",
            "--quiet",
        ),
        data=b"k\tv\n\t\nlast\tx",
    )
    assert (outcome.code, outcome.errors) == (0, "")
    headers = (("a", b"1"), ("a", b""), ("b", "x=ü".encode()))
    records = kafka.sync.read(kafka_topic)
    assert [(r.partition, r.offset, r.key, r.value, r.headers) for r in records] == [
        (3, 0, b"k", b"v", headers),
        (3, 1, b"", b"", headers),
        (3, 2, b"last", b"x", headers),
    ]
    assert entries(outcome.output) == [{"line": n + 1, "partition": 3, "offset": n} for n in range(3)]


def test_csv_rows_become_json_objects(kafka: KafkaCluster, kafka_topic: str) -> None:
    outcome = run(
        *(
            "produce",
            kafka_topic,
            "-b",
            kafka.bootstrap,
            "--format",
            "csv",
            "--key-field",
            "id",
            "--report",
            "-",
        ),
        data='id,text\r\n7,"two\r\nlines, ""ü"""\r\n8\r\n9,\r\n'.encode(),
    )
    assert outcome.code == 1
    assert "standard input: line 4: the row has 1 fields, the header 2" in outcome.errors
    reported = entries(outcome.output)
    assert [entry["line"] for entry in reported] == [2, 4, 5]
    found = by_place(kafka.sync.read(kafka_topic))
    first, last = (found[reported[n]["partition"], reported[n]["offset"]] for n in (0, 2))
    assert (first.key, first.value) == (b"7", '{"id":"7","text":"two\\r\\nlines, \\"ü\\""}'.encode())
    assert (last.key, last.value) == (b"9", b'{"id":"9","text":""}')


def test_lines_fail_alone_with_their_number_and_reason(kafka: KafkaCluster, kafka_topic: str) -> None:
    data = b'{"a":1}\n' + b"{\n" * 30 + b'"' + b"x" * 1048570 + b'"\n"' + b"y" * 2_000_000 + b'"\n[]\n'
    outcome = run(
        "produce", kafka_topic, "-b", kafka.bootstrap, "--format", "jsonl", "--report", "-", data=data
    )
    assert outcome.code == 1
    assert outcome.errors.count("standard input: line ") == 20
    assert "... and 12 more lines" in outcome.errors
    assert "32 of 34 lines were not acknowledged" in outcome.errors
    reported = entries(outcome.output)
    assert [entry["line"] for entry in reported if "error" not in entry] == [1, 34]
    # Too large for its record overhead only, and too large by itself: both name the limit.
    assert "max_request_size" in reported[31]["error"]
    assert reported[32]["error"] == "the line is 2000002 bytes long; max_request_size is 1048576 bytes"
    assert sorted(r.value or b"" for r in kafka.sync.read(kafka_topic)) == [b"[]", b'{"a":1}']


# -- live: a pipe that stays open -----------------------------------------------------------------------------


class Live:
    """A `krafka produce` that reads from a pipe and reports to another."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.stdin = process, process.stdin
        self.stdout, self.stderr = process.stdout, process.stderr

    def feed(self, data: bytes) -> None:
        """Write, and return once the process has read it all."""
        import fcntl
        import termios

        self.stdin.write(data)
        self.stdin.flush()
        left = array.array("i", [1])
        deadline = time.monotonic() + SECONDS
        while left[0] and time.monotonic() < deadline:
            fcntl.ioctl(self.stdin, termios.FIONREAD, left)
            time.sleep(0.001)  # a pipe does not tell its writer when it was read
        assert not left[0]

    def reported(self, count: int) -> list[dict[str, Any]]:
        return entries(b"".join(self.stdout.readline() for _ in range(count)))

    def end(self) -> Outcome:
        """What is left to read, once the process has ended."""
        output, errors = self.stdout.read(), self.stderr.read().decode()
        assert "Traceback" not in errors
        return Outcome(self.process.wait(SECONDS), output, errors)


@contextmanager
def live(kafka: KafkaCluster, topic: str, *arguments: str) -> Iterator[Live]:
    process = subprocess.Popen(
        command("produce", topic, "-b", kafka.bootstrap, "--report", "-", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield Live(process)
        finally:
            process.kill()


@contextmanager
def paused(kafka: KafkaCluster) -> Iterator[None]:
    kafka.sync.pause(1)
    try:
        yield
    finally:
        kafka.sync.resume(1)


@pytest.mark.parametrize(
    ("number", "backend"),
    [*((signal.SIGINT, backend) for backend in (*BACKENDS, "uvloop")), (signal.SIGTERM, "asyncio")],
)
def test_a_signal_ends_it_after_what_was_read(
    kafka: KafkaCluster, kafka_topic: str, backend: str, number: signal.Signals
) -> None:
    with live(kafka, kafka_topic, "--backend", backend) as produce:
        produce.feed(b"line\n" * 5_000 + b"unfinished")
        # The pipe is still open: what was sent is reported while the next input is waited for.
        assert [entry["line"] for entry in produce.reported(5_000)] == list(range(1, 5_001))
        produce.process.send_signal(number)
        outcome = produce.end()
    assert outcome.code == 128 + number
    assert f"ended by {number.name}; every line up to 5,000 is acknowledged" in outcome.errors
    assert [record.value for record in kafka.sync.read(kafka_topic)] == [b"line"] * 5_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_waits_no_longer_than_the_close_timeout(
    kafka: KafkaCluster, kafka_topic: str, backend: str
) -> None:
    with live(kafka, kafka_topic, "--backend", backend, "--close-timeout", "200ms") as produce:
        produce.feed(b"a\nb\n")
        produce.reported(2)
        with paused(kafka):
            produce.feed(b"c\nd\n")
            # What was only read when the signal comes is nobody's yet; it reads on once these lines are sent.
            produce.feed(b"unfinished")
            produce.process.send_signal(signal.SIGINT)
            outcome = produce.end()
    assert outcome.code == 130
    assert "every line up to 2 is acknowledged" in outcome.errors
    reported = entries(outcome.output)
    assert [entry["line"] for entry in reported] == [3, 4]
    assert all("closed before" in entry["error"] for entry in reported)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_does_not_wait_for_the_linger(kafka: KafkaCluster, kafka_topic: str, backend: str) -> None:
    with live(kafka, kafka_topic, "--backend", backend, "--linger", "100s") as produce:
        produce.feed(b"a\nb\nc\n")
        # It is known to have been taken once the next chunk is.
        produce.feed(b"unfinished")
        produce.process.send_signal(signal.SIGINT)
        outcome = produce.end()
    assert outcome.code == 130
    assert "every line up to 3 is acknowledged" in outcome.errors
    assert [record.value for record in kafka.sync.read(kafka_topic)] == [b"a", b"b", b"c"]


def test_the_end_of_the_input_does_not_wait_for_the_linger(kafka: KafkaCluster, kafka_topic: str) -> None:
    began = time.monotonic()
    outcome = run("produce", kafka_topic, "-b", kafka.bootstrap, "--linger", "100s", data=b"a\nb\n")
    assert outcome.code == 0
    assert time.monotonic() - began < 90
    assert sorted(r.value or b"" for r in kafka.sync.read(kafka_topic)) == [b"a", b"b"]


def test_the_report_is_not_written_over_the_input(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"precious\n")
    (tmp_path / "link").symlink_to(file)
    for report in (file, tmp_path / "link", tmp_path / "." / "lines"):
        outcome = run("produce", "orders", str(file), "-b", "127.0.0.1:1", "--report", str(report))
        assert outcome.code == 2
        assert "is the input file" in outcome.errors
        assert file.read_bytes() == b"precious\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_signal_ends_it_at_once(kafka: KafkaCluster, kafka_topic: str, backend: str) -> None:
    with live(kafka, kafka_topic, "--backend", backend, "--close-timeout", "1000") as produce:
        produce.feed(b"a\n")
        produce.reported(1)
        with paused(kafka):
            produce.feed(b"b\n")
            produce.process.send_signal(signal.SIGINT)
            assert b"waiting at most 1000 s" in produce.stderr.readline()
            produce.process.send_signal(signal.SIGINT)
            outcome = produce.end()
    assert outcome.code == 130
    assert "ended at once" in outcome.errors


@pytest.mark.parametrize("backend", BACKENDS)
def test_trouble_that_is_no_lines_own_stops_it(kafka: KafkaCluster, kafka_topic: str, backend: str) -> None:
    with live(kafka, kafka_topic, "--backend", backend, "-X", "delivery.timeout.ms=2000") as produce:
        produce.feed(b"a\n")
        produce.reported(1)
        with paused(kafka):
            produce.feed(b"b\n")
            # The input stays open, and yet it ends.
            outcome = produce.end()
    assert outcome.code == 1
    assert "error: stopped after line 2, the rest of standard input was not sent" in outcome.errors
    assert "delivery_timeout" in outcome.errors


def test_nobody_reading_the_report_ends_it(kafka: KafkaCluster, kafka_topic: str) -> None:
    with live(kafka, kafka_topic) as produce:
        produce.feed(b"a\n")
        produce.reported(1)
        produce.stdout.close()
        produce.feed(b"b\n")
        errors = produce.stderr.read().decode()
        code = produce.process.wait(SECONDS)
    assert code == 1
    assert "writing the report failed: [Errno 32] Broken pipe" in errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


# -- what goes wrong before the first line --------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_at_the_port_is_one_error_line(backend: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = run(
            "produce", "t", "-b", address, "-X", "max.block.ms=1500", "--backend", backend, data=b"x"
        )
    assert outcome.code == 1
    (line,) = [line for line in outcome.errors.splitlines() if line.startswith("krafka: error:")]
    assert address in line
    assert "refused" in line
    # Said at once, for the error may take a minute to come; and once.
    assert outcome.errors.count("krafka: warning:") == 1


def test_a_partition_the_topic_lacks(kafka: KafkaCluster, kafka_topic: str) -> None:
    outcome = run("produce", kafka_topic, "-b", kafka.bootstrap, "--partition", "6", data=b"x")
    assert outcome.code == 2
    assert "has no partition 6; it has partitions 0 to 5" in outcome.errors


@pytest.mark.parametrize(
    ("source", "backend"), [*(("-", backend) for backend in (*BACKENDS, "uvloop")), (os.devnull, "asyncio")]
)
def test_an_empty_input_is_no_failure(
    kafka: KafkaCluster, kafka_topic: str, source: str, backend: str
) -> None:
    arguments = ("produce", kafka_topic, source, "-b", kafka.bootstrap, "--backend", backend)
    assert run(*arguments) == Outcome(0, b"", "")


def test_a_closed_standard_input_is_a_usage_error() -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command("produce", "t", "-b", "127.0.0.1:1")]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr


def test_a_report_that_cannot_be_written(kafka: KafkaCluster, kafka_topic: str) -> None:
    outcome = run("produce", kafka_topic, "-b", kafka.bootstrap, "--report", "/dev/full", data=b"a\nb\n")
    assert outcome.code == 1
    assert "krafka: error: writing the report failed: [Errno 28] No space left on device" in outcome.errors
    assert len(kafka.sync.read(kafka_topic)) == 2


def peak_memory(kafka: KafkaCluster, topic: str, source: Path) -> int:
    """The largest resident set of a run, in KiB."""
    arguments = command("produce", topic, str(source), "-b", kafka.bootstrap, "--report", os.devnull, "-q")
    process = os.posix_spawn(arguments[0], arguments, os.environ)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_input(kafka: KafkaCluster, kafka_topic: str, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 99 + b"\n")
    # Held whole, the values alone would be 80 MB, the deliveries as much again.
    large.write_bytes((b"x" * 99 + b"\n") * 800_000)
    growth = peak_memory(kafka, kafka_topic, large) - peak_memory(kafka, kafka_topic, small)
    # The buffer (32 MiB), the window, and what the memory allocator keeps.
    assert growth < 56 * 1024
