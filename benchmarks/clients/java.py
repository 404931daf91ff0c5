"""Kafka's own Java client, by the tool that comes with it: ProducerPerformance."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.clients import main
from benchmarks.measure import Measurement
from krafka.testing._distribution import load_distribution

if TYPE_CHECKING:
    from benchmarks.workload import Workload

TOOL = "org.apache.kafka.tools.ProducerPerformance"
SUMMARY = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec", re.MULTILINE)


class Finished(NamedTuple):
    """One run of the tool."""

    acked: int
    seconds: float
    cpu_seconds: float
    peak_rss_mib: float


def awaited(workload: Workload) -> Measurement:
    """Send in a loop, a callback for each outcome. The JVM's start and first half of the warm-up count for nobody.

    The tool runs twice, and the difference of the two is what it took to send the records; the second run's time is the
    tool's own figure, which begins with its first record.
    """
    with tempfile.TemporaryDirectory(prefix="krafka-bench-java-") as folder:
        values_file = Path(folder) / "values"
        values_file.write_bytes(b"\n".join(workload.values()))
        half = workload.warmup // 2
        short = _run(workload, values_file, workload.warmup - half)
        long = _run(workload, values_file, half + workload.records)
    return Measurement(
        acked=short.acked + long.acked - workload.warmup,
        failed=0,
        seconds=long.seconds * workload.records / long.acked,
        cpu_seconds=max(long.cpu_seconds - short.cpu_seconds, 0.0),
        peak_rss_mib=long.peak_rss_mib,
    )


def _run(workload: Workload, values_file: Path, records: int) -> Finished:
    distribution = load_distribution()
    command = [str(distribution.java), "-cp", distribution.class_path]
    command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", TOOL]
    command += ["--topic", workload.topic, "--num-records", str(records), "--throughput", "-1"]
    command += ["--payload-file", str(values_file), "--bootstrap-server", workload.bootstrap]
    # All in one option: of several only the last counts.
    command += ["--command-property", *(f"{name}={value}" for name, value in properties(workload).items())]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)  # noqa: S603 - made here
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read()
    # The last line of its kind is about the whole run, the others about a few seconds each.
    found = SUMMARY.findall(output)
    if process.returncode or not found:
        raise RuntimeError(f"{TOOL} ended with {process.returncode}: {output[-2000:]}")
    acked, rate = int(found[-1][0]), float(found[-1][1])
    return Finished(acked, acked / rate, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def properties(workload: Workload) -> dict[str, str]:
    """The Java producer's properties for a workload."""
    tls = {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": workload.ca_file,
    }
    return {
        "acks": "all",
        "enable.idempotence": "true",
        "linger.ms": f"{workload.linger * 1000:g}",
        "batch.size": str(workload.batch_size),
        "compression.type": workload.compression,
        **(tls if workload.ca_file else {}),
    }


if __name__ == "__main__":
    main({run.__name__: run for run in (awaited,)})
