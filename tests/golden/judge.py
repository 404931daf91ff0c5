"""Java's opinion of a record batch: Kafka's own classes read it, and the broker's validator takes or refuses it.

    with JavaJudge() as judge:
        verdict = judge.judge(batch_bytes)
        assert verdict.refusal is None
        assert verdict.batches[0].records[0].value == b"..."

One JVM serves any number of batches: 0.4 s for the first, then about 0.1 ms for a small one.
"""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka.testing._distribution import load_distribution
from krafka.testing._startup import SMALL_JVM, archive_options, java_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

GOLDEN = Path(__file__).parent
# The program is compiled against this version's packages.
KAFKA_VERSION = "4.3.1"
NO_NATIVE_WARNINGS = "--enable-native-access=ALL-UNNAMED"


class JudgedRecord(NamedTuple):
    """One record as Java reads it; ``headers`` hold the keys as bytes of UTF-8."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """One batch as Java reads it. ``compression`` is Kafka's name for the codec."""

    magic: int
    base_offset: int
    last_offset: int
    partition_leader_epoch: int
    compression: str
    timestamp_type: str
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_sequence: int
    transactional: bool
    control: bool
    count: int
    crc: int
    records: tuple[JudgedRecord, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Java says: the batches up to the first it cannot read, and why if there is one.

    ``error`` is what a reader trips over, ``refusal`` what a broker would answer a produce request with; None is good.
    """

    batches: tuple[JudgedBatch, ...]
    error: str | None
    refusal: str | None


class JavaJudge:
    """A running JVM that judges batches; use ``with``. Needs the ``testing`` extra and downloads Kafka once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the judge

    def __enter__(self) -> Self:
        distribution = load_distribution(KAFKA_VERSION)
        options = (*SMALL_JVM, NO_NATIVE_WARNINGS, *archive_options(distribution))
        command = java_command(distribution, "JudgeBatches", (), options)
        # After Kafka's own jars, whose order the class-data archive knows.
        command[command.index("-cp") + 1] += f":{GOLDEN / 'judge.jar'}"
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._complaints.close()

    def judge(self, data: bytes | bytearray | memoryview) -> Verdict:
        """Return Java's verdict on the bytes of one or more batches, as they stand in a produce request."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(struct.pack(">i", len(data)) + bytes(data))
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            raise RuntimeError(f"the Java judge ended: {self._complaints.read().decode(errors='replace')}")
        answer = json.loads(line)
        return Verdict(tuple(map(_batch, answer["batches"])), answer["error"], answer["refusal"])


class GoldenBatch(NamedTuple):
    """One batch made by Java: its bytes, what went into it, and the codec's name."""

    name: str
    data: bytes
    compression: str
    producer_id: int
    producer_epoch: int
    base_sequence: int
    transactional: bool
    records: tuple[JudgedRecord, ...]


def golden_batches() -> Iterator[GoldenBatch]:
    """Yield every batch checked in beside this file."""
    index = json.loads((GOLDEN / "index.json").read_text())
    for entry in index["batches"]:
        case = index["cases"][entry["case"]]
        yield GoldenBatch(
            name=entry["file"].removesuffix(".bin"),
            data=(GOLDEN / entry["file"]).read_bytes(),
            compression=entry["compression"],
            producer_id=case["producer_id"],
            producer_epoch=case["producer_epoch"],
            base_sequence=case["base_sequence"],
            transactional=case["transactional"],
            records=tuple(_record({"offset": i, **record}) for i, record in enumerate(case["records"])),
        )


def murmur2_vectors() -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (key, signed murmur2, partition of 6, partition of 100) as Java computes them."""
    lines = (GOLDEN / "murmur2.tsv").read_text().splitlines()
    for line in lines[1:]:
        key, digest, of_six, of_hundred = line.split("\t")
        yield base64.b64decode(key), int(digest), int(of_six), int(of_hundred)


def many_keys() -> Iterator[bytes]:
    """Yield the 100,000 keys of 0 to 100 bytes that `murmur2_digests` are of: those of a `java.util.Random`."""
    state = (20_261_126 ^ 0x5DEECE66D) & (1 << 48) - 1
    for number in range(100_000):
        key = bytearray()
        for _ in range(0, number % 101, 4):
            state = (state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
            key += (state >> 16).to_bytes(4, "little")
        yield bytes(key[: number % 101])


def murmur2_digests() -> tuple[str, dict[int, str]]:
    """SHA-256 of Java's hashes of `many_keys`, big-endian, and of their partitions of so many, a byte each."""
    rows = [line.split("\t") for line in (GOLDEN / "murmur2-digests.tsv").read_text().splitlines()[1:]]
    return rows[0][1], {int(count): digest for count, digest in rows[1:]}


def _batch(fields: dict[str, Any]) -> JudgedBatch:
    return JudgedBatch(**{**fields, "records": tuple(map(_record, fields["records"]))})


def _record(fields: dict[str, Any]) -> JudgedRecord:
    headers = tuple((_bytes(key) or b"", _bytes(value)) for key, value in fields["headers"])
    return JudgedRecord(
        fields["offset"], fields["timestamp"], _bytes(fields["key"]), _bytes(fields["value"]), headers
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
