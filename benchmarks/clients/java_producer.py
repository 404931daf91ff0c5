"""Kafka's own Java client, by a program of ours, as ProducerPerformance tells nothing of commits."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clients import main
from benchmarks.clients.java import properties
from benchmarks.measure import Measurement, percentiles
from benchmarks.peers.build import java_producer
from krafka.testing._distribution import load_distribution

if TYPE_CHECKING:
    from benchmarks.workload import Workload

PROGRAM = "TransactionsOfChunks"
SERIALIZER = "org.apache.kafka.common.serialization.ByteArraySerializer"
NANO = 1e-9


def transactions(workload: Workload) -> Measurement:
    """`beginTransaction`, `send` in a loop, `flush`, `commitTransaction`; a callback for each outcome."""
    chunk = workload.chunk
    with tempfile.TemporaryDirectory(prefix="krafka-bench-java-") as folder:
        options = Path(folder) / "producer.properties"
        options.write_text("".join(f"{name}={value}\n" for name, value in _properties(workload).items()))
        arguments = [str(options), workload.topic, workload.values_file, str(workload.value_size), str(chunk)]
        arguments += [str(workload.warmup // chunk), str(workload.records // chunk)]
        figures, peak_rss_mib = _run(arguments)
    acked, failed, seconds, cpu_seconds, *latencies = figures
    return Measurement(
        acked=acked,
        failed=failed,
        seconds=seconds * NANO,
        cpu_seconds=cpu_seconds * NANO,
        peak_rss_mib=peak_rss_mib,
        latency_us=percentiles([latency * NANO for latency in latencies[::2]]),
        commit_us=percentiles([latency * NANO for latency in latencies[1::2]]),
    )


def _run(arguments: list[str]) -> tuple[list[int], float]:
    distribution = load_distribution()
    class_path = os.pathsep.join([str(java_producer()), distribution.class_path])
    command = [str(distribution.java), "-cp", class_path, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen([*command, PROGRAM, *arguments], stdout=said, stderr=complained)  # noqa: S603 - ours
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            raise RuntimeError(f"{PROGRAM} ended with {process.returncode}: {complained.read()[-2000:]}")
        return [int(figure) for figure in said.read().split()], usage.ru_maxrss / 1024


def _properties(workload: Workload) -> dict[str, str]:
    return {
        **properties(workload),
        "bootstrap.servers": workload.bootstrap,
        "transactional.id": workload.topic,
        "key.serializer": SERIALIZER,
        "value.serializer": SERIALIZER,
    }


if __name__ == "__main__":
    main({run.__name__: run for run in (transactions,)})
