"""The benchmark program runs: rows that need nothing but this project's extras deliver what they were given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import krafka

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, "-m", "benchmarks", "--quick"]


def quick_run(kafka: KafkaCluster, kept: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a smoke run measured, by scenario and name of the row."""
    command = [*RUN, "--bootstrap", kafka.bootstrap, "--json", str(kept), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        " ".join(filter(None, (run["scenario"], row["client"], row["variant"], row["mode"]))): run
        for run in json.loads(kept.read_text())["runs"]
        if (row := run["row"])
    }


@pytest.mark.kafka
def test_a_quick_run_measures_every_verb(kafka: KafkaCluster, tmp_path: Path) -> None:
    only = ["krafka asyncio *", "krafka trio one", "floor asyncio *", "aiokafka asyncio one"]
    runs = quick_run(kafka, tmp_path / "figures.json", "--only", *only)
    assert set(runs) == {
        *(f"base krafka asyncio {mode}" for mode in ("enqueue", "awaited", "send_many", "one", "tasks")),
        "base krafka trio one",
        *(f"base floor asyncio {mode}" for mode in ("enqueue", "send_many", "one")),
        "base aiokafka asyncio one",
    }
    for name, run in runs.items():
        mode, measured = run["row"]["mode"], run["measurement"]
        assert run["trouble"] is None
        assert measured["acked"] == (None if name == "base krafka asyncio enqueue" else run["records"])
        assert measured["cpu_seconds"] > 0
        assert (measured["latency_us"] is not None) == (mode in ("one", "tasks"))


@pytest.mark.kafka
def test_a_quick_run_of_other_scenarios(kafka: KafkaCluster, tmp_path: Path) -> None:
    only = [
        "krafka asyncio awaited",
        "krafka asyncio idle",
        "krafka trio sustained",
        "confluent-kafka awaited",
    ]
    names = ("headers", "lz4", "idle", "sustained", "tls", "replicated")
    runs = quick_run(kafka, tmp_path / "figures.json", "--scenario", *names, "--only", *only)
    assert set(runs) == {
        *(f"{name} krafka asyncio awaited" for name in ("headers", "lz4")),
        *(f"{name} confluent-kafka awaited" for name in ("headers", "lz4")),
        "idle krafka asyncio idle",
        "sustained krafka trio sustained",
    }
    sustained = runs["sustained krafka trio sustained"]
    assert sustained["measurement"]["records"] == sustained["records"] > 0
    assert 0 < sustained["measurement"]["idle_rss_mib"] <= sustained["measurement"]["peak_rss_mib"]
    assert sustained["memory"]
    assert all(mib > 0 for _, mib in sustained["memory"])
    assert runs["idle krafka asyncio idle"]["measurement"]["seconds"] >= 1


@pytest.mark.kafka
def test_a_row_that_fails_is_marked(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    # The programs are not installed, and this folder has their name.
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.broker import Brokers
    from benchmarks.catalogue import Row
    from benchmarks.report import tables
    from benchmarks.runner import Runner
    from benchmarks.scenarios import BASE

    told: list[str] = []
    runner = Runner(Brokers(1, kafka.bootstrap), 1, told.append)
    (run,) = runner.run_all(BASE.quick(), [Row("krafka", "no_such_module", "enqueue")])
    assert run.measurement is None
    assert run.trouble is not None
    assert run.trouble.startswith("it ended with 1: ")
    assert "FAILED: it ended with 1: " in told[0]
    assert tables([run])[0].rows == [("krafka enqueue 64 KiB", f"FAILED: {run.trouble}")]


@pytest.mark.kafka
def test_a_run_that_loses_records_is_marked(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is the judge: a client that claims more than arrived is not believed."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.broker import Topics
    from benchmarks.measure import Measurement
    from benchmarks.runner import judged

    topics = Topics(kafka.bootstrap)
    with topics.fresh(["bench-judged", "bench-judged-too"], 2):
        claimed = Measurement(acked=10, failed=0, seconds=1.0, cpu_seconds=1.0, peak_rss_mib=1.0)
        written = topics.records_in(["bench-judged", "bench-judged-too"], 2)
        assert judged(claimed, records=10, written=written, warmup=0) == "the log holds 0 records of 10"
    assert judged(claimed, records=10, written=10, warmup=0) is None
    assert judged(claimed, records=11, written=11, warmup=0) == "10 of 11 records were acknowledged"


@pytest.mark.kafka
def test_a_quick_run_of_transactions(kafka: KafkaCluster, tmp_path: Path) -> None:
    only = ["krafka asyncio *", "krafka trio transactions", "confluent-kafka", "aiokafka"]
    names = ("transactions", "transactions-10k")
    runs = quick_run(kafka, tmp_path / "figures.json", "--scenario", *names, "--only", *only)
    assert set(runs) == {
        *(
            f"{name} krafka asyncio {mode}"
            for name in names
            for mode in ("transactions", "chunks", "send_many")
        ),
        "transactions krafka trio transactions",
        *(
            f"{name} {peer} transactions"
            for name in names
            for peer in ("confluent-kafka", "aiokafka asyncio")
        ),
    }
    for run in runs.values():
        mode, measured = run["row"]["mode"], run["measurement"]
        # Each run's records are those that a reader of committed ones finds in the log.
        assert run["trouble"] is None
        assert measured["acked"] == run["records"] > 0
        assert (measured["commit_us"] is not None) == (mode == "transactions")
        if mode == "transactions":
            assert 0 < measured["commit_us"]["p50"] < measured["latency_us"]["p50"]


@pytest.mark.kafka
@pytest.mark.skipif(shutil.which("javac") is None, reason="the Java client's program is compiled first")
def test_the_java_client_makes_transactions(kafka: KafkaCluster, tmp_path: Path) -> None:
    only = ["KafkaProducer"]
    runs = quick_run(kafka, tmp_path / "figures.json", "--scenario", "transactions", "--only", *only)
    (run,) = runs.values()
    measured = run["measurement"]
    assert run["trouble"] is None
    assert measured["acked"] == run["records"] > 0
    assert 0 < measured["commit_us"]["p50"] < measured["latency_us"]["p50"] < measured["seconds"] * 1e6
    assert measured["cpu_seconds"] > 0


@pytest.mark.kafka
def test_only_committed_records_count(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.broker import Topics

    topics = Topics(kafka.bootstrap)
    with topics.fresh(["bench-committed"], 2):

        async def send() -> None:
            async with krafka.TransactionalProducer(kafka.bootstrap, transactional_id="bench") as producer:
                async with producer.transaction():
                    await producer.send_many("bench-committed", [b"kept"] * 5)
                await producer.begin_transaction()
                await producer.send_many("bench-committed", [b"lost"] * 3)
                await producer.abort_transaction()

        anyio.run(send)
        assert topics.committed_in("bench-committed", 2) == 5
        assert topics.records_in(["bench-committed"], 2) > 8
