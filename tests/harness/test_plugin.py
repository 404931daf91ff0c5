"""The pytest plugin gives one cluster per session, a topic per test, and the brokers' logs with a failure."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import pytest

from krafka.testing._distribution import cache_folder

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from krafka.testing import KafkaCluster

seen = []

@pytest.fixture(scope="session")
def kafka_options():
    return {"log_level": "info"}

@pytest.mark.parametrize("letter", ["a", "b/ü"])
def test_topic(kafka, kafka_topic, letter):
    assert isinstance(kafka, KafkaCluster)
    assert set(kafka.sync.end_offsets(kafka_topic).values()) == {0}
    seen.append((kafka.bootstrap, kafka_topic))

def test_shared():
    assert len({bootstrap for bootstrap, _ in seen}) == 1
    assert len({topic for _, topic in seen}) == 2

def test_failing(kafka):
    assert kafka.bootstrap == "elsewhere"
"""


CACHE = str(cache_folder())
"""Before `pytester` gives its tests a home of their own, in which all of Kafka would be downloaded once more."""


@pytest.mark.kafka
def test_fixtures_and_logs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAFKA_CACHE_DIR", CACHE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    pytester.makepyfile(SUITE)
    installed = {entry_point.value for entry_point in entry_points(group="pytest11")}
    load = () if "krafka.testing.pytest_plugin" in installed else ("-p", "krafka.testing.pytest_plugin")
    result = pytester.runpytest_subprocess(*load, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*log of Kafka broker 1*", "*QuorumController id=1*"])
