"""For any records and any chain of interceptors, each gets exactly one acknowledgement for each `on_send`."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
from faulty import HURRIED, TOPIC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krafka import KafkaError, Producer, ProducerInterceptor, ProducerRecord, RejectRecord
from krafka.testing import FakeCluster

ON_SEND = ["keep", "change", "replace", "spoil", "fail", "reject", "confuse"]
ON_ACKNOWLEDGEMENT = ["take", "fail"]
VALUES: dict[str, Any] = {
    "valid": {"value": b"v" * 60},
    "of no type": {"value": object()},
    "too large": {"value": bytes(30_000)},
    "of no topic": {"topic": "a b"},
    "of an unknown topic": {"topic": "unknown"},
    "to nowhere": {"partition": 99},
    "wrong headers": {"headers": [("a", "text")]},
}
VERBS = ["send", "send_record", "enqueue", "enqueue_nowait", "send_many", "send_many later"]
ENDS = ["clean", "close", "close at once", "error"]
FAULTS: dict[str, dict[str, Any]] = {
    "retry": {"code": 19, "times": 2},
    "refused": {"code": 29},
    "too large": {"code": 10, "times": 2},
    "named": {"code": 87, "record_errors": {0: "bad"}},
    "disconnect": {"disconnect": True, "after_append": True},
    "never answered": {"hold": True, "times": None},
    "slow": {"delay": 0.01},
}


class Actor(ProducerInterceptor):
    """Does with each record the next thing of its part, and counts."""

    def __init__(self, on_send: list[tuple[str, bool]], on_acknowledgement: list[tuple[str, bool]]) -> None:
        self._on_send = on_send
        self._on_acknowledgement = on_acknowledgement
        self.shown = 0
        self.told: list[tuple[Any, Any]] = []
        self.closed: list[int] = []

    def on_send(self, record: ProducerRecord) -> Any:
        act, waits = self._on_send[self.shown % len(self._on_send)]
        self.shown += 1
        return self._later(self._act, act, record) if waits else self._act(act, record)

    def on_acknowledgement(self, metadata: Any, error: Any) -> Any:
        act, waits = self._on_acknowledgement[len(self.told) % len(self._on_acknowledgement)]
        self.told.append((metadata, error))
        return self._later(self._take, act) if waits else self._take(act)

    def close(self) -> None:
        self.closed.append(len(self.told))

    async def _later(self, act: Any, *arguments: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return act(*arguments)

    def _act(self, act: str, record: ProducerRecord) -> Any:
        if act == "change":
            record.add_header("h", b"")
        elif act == "replace":
            return ProducerRecord(TOPIC, b"replaced" * 9)
        elif act == "spoil":
            record.value = object()
        elif act == "fail":
            raise ZeroDivisionError
        elif act == "reject":
            raise RejectRecord("no")
        return 5 if act == "confuse" else None

    def _take(self, act: str) -> None:
        if act == "fail":
            raise ZeroDivisionError


async def send(producer: Producer, verb: str, kinds: list[str]) -> None:
    """Send records by one verb, whatever comes of it."""
    records = [{"topic": TOPIC, "value": b"v", **VALUES[kind]} for kind in kinds]
    if verb.startswith("send_many"):
        of_bulk = [ProducerRecord(**record) for record in records]

        async def coming() -> Any:
            for record in of_bulk:
                yield record

        await producer.send_many(of_bulk if verb == "send_many" else coming())
        return
    for record in records:
        try:
            if verb == "send_record":
                await producer.send_record(ProducerRecord(**record))
            elif verb == "enqueue_nowait":
                producer.enqueue_nowait(**record)
            else:
                await getattr(producer, verb)(**record)
        except KafkaError:
            continue


async def run(plan: dict[str, Any], actors: list[Actor]) -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 2)
        producer = Producer(
            cluster.bootstrap, connector=cluster, interceptors=actors, **{**HURRIED, **plan["options"]}
        )
        try:
            with anyio.fail_after(60):
                await use(producer, cluster, plan)
        except KafkaError:
            pass  # the producer's own end, which ends its records
        except ZeroDivisionError:
            assert plan["end"] == "error"
        judge(actors, cluster)


async def use(producer: Producer, cluster: FakeCluster, plan: dict[str, Any]) -> None:
    async with producer:
        if plan["ready"]:
            await producer.partitions_for(TOPIC)
        for name in plan["faults"]:
            cluster.fail("Produce", **FAULTS[name])
        async with anyio.create_task_group() as task_group:

            async def call(verb: str, kinds: list[str], patience: float) -> None:
                with anyio.move_on_after(patience):
                    await send(producer, verb, kinds)

            for each in plan["calls"]:
                task_group.start_soon(call, *each)
        if plan["end"] == "close":
            await producer.close(timeout=0.02)
        elif plan["end"] == "close at once":
            await producer.close(timeout=0)
        elif plan["end"] == "error":
            raise ZeroDivisionError


def judge(actors: list[Actor], cluster: FakeCluster) -> None:
    in_log = {(partition, record.offset) for partition in (0, 1) for record in cluster.log(TOPIC, partition)}
    for actor in actors:
        assert len(actor.told) == actor.shown
        assert actor.closed == [actor.shown]
        good = Counter(
            (metadata.partition, metadata.offset) for metadata, error in actor.told if error is None
        )
        assert set(good) <= in_log
        assert set(good.values()) <= {1}
        for metadata, error in actor.told:
            assert (metadata.offset == -1) == (error is not None)


def acts(names: list[str]) -> st.SearchStrategy[list[tuple[str, bool]]]:
    return st.lists(st.tuples(st.sampled_from(names), st.booleans()), min_size=1, max_size=4)


plans = st.fixed_dictionaries(
    {
        "options": st.fixed_dictionaries(
            {
                "linger": st.sampled_from([0.0, 0.005]),
                "batch_size": st.sampled_from([64, 300, 16384]),
                "buffer_memory": st.just(20_000),
                "max_request_size": st.just(25_000),
                "max_block": st.just(0.05),
                "allow_auto_create_topics": st.just(False),
                "delivery_timeout": st.sampled_from([0.03, 0.1]),
                "close_timeout": st.sampled_from([0, 0.02]),
                "idempotent": st.booleans(),
            }
        ),
        "ready": st.booleans(),
        "faults": st.lists(st.sampled_from(sorted(FAULTS)), max_size=3),
        "calls": st.lists(
            st.tuples(
                st.sampled_from(VERBS),
                st.lists(st.sampled_from(sorted(VALUES) + ["valid"] * 7), min_size=1, max_size=12),
                st.sampled_from([0.0, 0.0001, 0.001, 0.01, 60.0, 60.0]),
            ),
            min_size=1,
            max_size=5,
        ),
        "end": st.sampled_from(ENDS),
    }
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans, st.lists(st.tuples(acts(ON_SEND), acts(ON_ACKNOWLEDGEMENT)), min_size=1, max_size=4))
def test_one_acknowledgement_for_each_record_shown(
    anyio_backend: tuple[str, dict[str, Any]], plan: dict[str, Any], chain: Any
) -> None:
    logging.getLogger("krafka").setLevel(logging.CRITICAL)
    name, options = anyio_backend
    try:
        anyio.run(run, plan, [Actor(*parts) for parts in chain], backend=name, backend_options=options)
    finally:
        logging.getLogger("krafka").setLevel(logging.NOTSET)
