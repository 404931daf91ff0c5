"""What the readers see of transactions on a real Kafka: ended ones, open ones, and those that nothing will end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krafka.testing import KafkaCluster

from . import readers
from .judge import Evidence, find_violations
from .raw import RawProducer
from .readers import gather

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"]),
]


@pytest.fixture(scope="module")
def careless() -> Iterator[KafkaCluster]:
    """A broker that takes records of a transaction that its coordinator knows nothing of, as those before 3.6 do."""
    kafka = KafkaCluster(
        transaction_version=1, properties={"transaction.partition.verification.enable": "false"}
    )
    with kafka.sync:
        yield kafka


@pytest.fixture
async def writer(careless: KafkaCluster, request: pytest.FixtureRequest) -> RawProducer:
    """A producer with a topic of its own name."""
    name = f"topic-{abs(hash(request.node.nodeid))}"
    await careless.create_topic(name, partitions=1)
    producer = RawProducer(careless.bootstrap, name)
    await producer.init()
    return producer


def values(evidence: Evidence) -> tuple[list[bytes | None], list[bytes | None]]:
    return list(evidence.committed.values()), list(evidence.uncommitted.values())


async def test_ended_ones(careless: KafkaCluster, writer: RawProducer) -> None:
    for commit in (True, False):
        await writer.write(writer.name, 0, b"%d" % commit)
        await writer.end(commit=commit)
    evidence = await gather(careless, [writer.name])
    assert values(evidence) == ([b"1"], [b"1", b"0"])
    assert [end.last_stable_offset for end in evidence.ends] == [4]
    assert not any(line.startswith("hanging:") for line in find_violations([], evidence))


async def test_an_open_one(
    careless: KafkaCluster, writer: RawProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SETTLE_SECONDS", 1.0)
    await writer.write(writer.name, 0, b"open")
    evidence = await gather(careless, [writer.name])
    await writer.end(commit=False)
    assert values(evidence) == ([], [b"open"])
    hanging = [line for line in find_violations([], evidence) if line.startswith("hanging:")]
    assert len(hanging) == 2
    assert "is committed up to offset 0, and goes on to 1" in hanging[0]
    assert f"{writer.name} (producer id {writer.producer_id}) is Ongoing at coordinator 1" in hanging[1]


async def test_one_that_nothing_will_end(
    careless: KafkaCluster, writer: RawProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SETTLE_SECONDS", 1.0)
    await writer.ask(writer.produce_request(writer.name, 0, b"hanging"), 11)
    evidence = await gather(careless, [writer.name])
    await writer.add(writer.name, 0)
    await writer.end(commit=False)
    hanging = [line for line in find_violations([], evidence) if line.startswith("hanging:")]
    assert len(hanging) == 2
    assert f"has {writer.name}-0 held open by producer id {writer.producer_id}" in hanging[1]
