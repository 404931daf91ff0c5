"""The benchmark program runs: every row that needs nothing but this project delivers what it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.kafka
def test_a_quick_run_measures_every_verb(kafka: KafkaCluster, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    only = ["krafka asyncio *", "krafka trio one", "floor asyncio *", "aiokafka asyncio one"]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--bootstrap", kafka.bootstrap]
    command += ["--only", *only, "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(kept.read_text())["runs"]
    names = {f"{run['row']['client']} {run['row']['variant']} {run['row']['mode']}" for run in runs}
    assert names == {
        *(f"krafka asyncio {mode}" for mode in ("enqueue", "awaited", "send_many", "one", "tasks")),
        "krafka trio one",
        *(f"floor asyncio {mode}" for mode in ("enqueue", "send_many", "one")),
        "aiokafka asyncio one",
    }
    for run in runs:
        mode, measured = run["row"]["mode"], run["measurement"]
        nobody_counts = run["row"]["client"] == "krafka" and mode == "enqueue"
        assert run["trouble"] is None
        assert measured["acked"] == (None if nobody_counts else run["records"])
        assert measured["cpu_seconds"] > 0
        assert (measured["latency_us"] is not None) == (mode in ("one", "tasks"))


@pytest.mark.kafka
def test_a_run_that_loses_records_is_marked(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is the judge: a client that claims more than arrived is not believed."""
    # The programs are not installed, and this folder has their name.
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.broker import Topics
    from benchmarks.measure import Measurement
    from benchmarks.runner import judged

    topics = Topics(kafka.bootstrap)
    with topics.fresh("bench-judged", 2):
        claimed = Measurement(acked=10, failed=0, seconds=1.0, cpu_seconds=1.0, peak_rss_mib=1.0)
        written = topics.records_in("bench-judged", 2)
        assert judged(claimed, records=10, written=written, warmup=0) == "the log holds 0 records of 10"
    assert judged(claimed, records=10, written=10, warmup=0) is None
    assert judged(claimed, records=11, written=11, warmup=0) == "10 of 11 records were acknowledged"
