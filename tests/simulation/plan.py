"""What a seed stands for: a cluster, a producer's options, callers, faults with their times, and how it ends."""

from __future__ import annotations

import pprint
from dataclasses import dataclass, field
from random import Random
from typing import Any

from krafka import (
    Compression,
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    TopicConfig,
    UniformStickyPartitioner,
)

from .faults import Event, draw_events

MOODS = {"calm": 12, "passing": 45, "violent": 25, "final": 10, "away": 5, "forgetful": 5, "recreated": 6}
"""What kind of trouble a run has, and how often; `faults` says which faults belong to each.

calm: none. passing: what retries mend. violent: that, and limits so tight that deadlines pass. final: refusals that
are for good, too. away: the cluster goes and stays away. forgetful: brokers forget producers. recreated: topics are
deleted and made anew.
"""
GENEROUS = frozenset({"calm", "passing", "forgetful", "recreated"})
HARSH = frozenset({"violent", "final", "away"})
ENDINGS = {"finish": 60, "close": 12, "exit": 8, "raise": 10, "cancel": 10}
"""finish: after the last caller. The others in the middle: `close()`, the end of the block, an exception or a
cancellation in it."""
VERBS = (
    "send",
    "enqueue",
    "nowait",
    "many",
    "flush",
    "impatient_send",
    "impatient_enqueue",
    "impatient_many",
)
SMALLEST_MESSAGE_LIMIT = 300
ENDLESS = 120.0
PARTITIONERS = (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
)
STREAMS = 0.04
"""How many of the seeds are a single stream."""
HOOKS = {"none": 70, "plain": 12, "refusing": 10, "slow": 8}
"""Who sees the records: nobody, an interceptor, one that refuses some, or one whose `on_send` takes a while."""
UNACKNOWLEDGED = 0.5
"""How many of those without idempotence ask for no acknowledgements."""


@dataclass(frozen=True)
class TopicPlan:
    """A topic as it is created."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True)
class CallerPlan:
    """A task that hands records over, `steps` times one verb or a burst of it."""

    number: int
    steps: int
    burst: int
    pause: float
    verbs: tuple[str, ...]
    largest: int


@dataclass
class Plan:
    """Everything that is decided before the run begins; the rest is drawn from Randoms of the same seed."""

    seed: int
    mood: str
    brokers: int
    cluster: dict[str, Any]
    options: dict[str, Any]
    topics: list[TopicPlan]
    callers: list[CallerPlan]
    horizon: float
    ending: str
    ends_at: float
    close_timeout: float | None
    events: list[Event] = field(default_factory=list)
    hooks: str = "none"

    @property
    def idempotent(self) -> bool:
        """Whether the producer numbers its batches."""
        return self.options.get("acks", "all") == "all" and self.options.get("idempotent", True)

    def compression_of(self, topic: str) -> str:
        """The codec that a topic's batches have."""
        own = self.options.get("topics", {}).get(topic)
        codec = own.compression if own is not None else None
        return str(codec or self.options["compression"])

    @property
    def acknowledged(self) -> bool:
        """Whether brokers say what became of what they were sent."""
        return bool(self.options.get("acks", "all") != "none")

    @property
    def fences_take(self) -> float:
        """Seconds that asking each broker may take whether it has read what it does not acknowledge."""
        return 0.0 if self.acknowledged else float(self.brokers * self.options["request_timeout"])

    @property
    def keeps_unacknowledged(self) -> bool:
        """Whether records that nobody acknowledges arrive all the same, in order: nothing is in their way."""
        return (
            self.mood == "calm" and self.ending == "finish" and not any(topic.config for topic in self.topics)
        )

    @property
    def heals(self) -> bool:
        """Whether the cluster is whole again after the horizon."""
        return self.mood != "away"

    @property
    def must_deliver(self) -> bool:
        """Whether every valid record has to arrive: faults that pass, limits that are far, an end that waits."""
        return (
            self.mood in GENEROUS
            and self.ending in {"finish", "exit"}
            and self.options["delivery_timeout"] >= ENDLESS
            and self.options["max_block"] >= ENDLESS
            and self.options["retries"] is None
        )

    def describe(self) -> str:
        """The plan as text."""
        parts = {name: value for name, value in vars(self).items() if name != "events"}
        events = "\n".join(f"  {event}" for event in self.events)
        return f"{pprint.pformat(parts, width=118, sort_dicts=False)}\nfaults:\n{events or '  none'}"


def choose(random: Random, weights: dict[str, int]) -> str:
    """One of the keys, as often as its weight says."""
    return random.choices(list(weights), list(weights.values()))[0]


def make_plan(seed: int) -> Plan:
    """The plan of a seed; the same for ever, as long as this module and `faults` stay as they are."""
    random = Random(seed)
    mood = choose(random, MOODS)
    horizon = random.choice([0.2, 0.6, 1.5, 4.0])
    options = _options(random, mood)
    plan = Plan(
        seed=seed,
        mood=mood,
        brokers=random.choice([1, 2, 3, 3, 5]),
        cluster=_cluster(random, mood),
        options=options,
        topics=_topics(random),
        callers=_callers(random, horizon, options),
        horizon=horizon,
        ending=choose(random, ENDINGS),
        ends_at=horizon * random.random() * 1.2,
        close_timeout=random.choice([None, 0.0, 0.05, 1.0, 10.0]),
    )
    plan.events = draw_events(random, plan)
    _give_ways_of_their_own(plan, Random(f"{seed} topics"))
    if options.get("idempotent") is False and Random(f"{seed} acks").random() < UNACKNOWLEDGED:
        options["acks"] = "none"
    plan.hooks = choose(Random(f"{seed} hooks"), HOOKS)
    if Random(f"{seed} stream").random() < STREAMS:
        _become_stream(plan, random)
    return plan


def _give_ways_of_their_own(plan: Plan, random: Random) -> None:
    """Draw who chooses partitions, and what single topics have in their own way."""
    if random.random() < 0.4:
        plan.options["partitioner"] = random.choice(PARTITIONERS)()
    if random.random() < 0.6:
        return
    plan.options["topics"] = {
        topic.name: TopicConfig(
            compression=random.choice([None, *Compression]),
            batch_size=random.choice([None, min(700, plan.options["buffer_memory"])]),
            partitioner=random.choice(PARTITIONERS)() if random.random() < 0.5 else None,
        )
        for topic in plan.topics
        if random.random() < 0.7
    }


def _become_stream(plan: Plan, random: Random) -> None:
    """Make it one partition with a steady flow of small batches, and brokers that deny having appended some."""
    plan.mood = "passing"
    plan.topics = [TopicPlan("orders", 1, {})]
    plan.options |= {"batch_size": 64, "buffer_memory": 1 << 25, "max_in_flight": 5, "linger": 0.0}
    plan.options |= {"delivery_timeout": 300.0, "max_block": 300.0, "retries": None, "retry_backoff": 0.001}
    plan.options |= {"acks": "all", "idempotent": True, "request_timeout": 5.0}
    plan.callers = [CallerPlan(number, 12, 25, plan.horizon / 12, ("enqueue",), 20) for number in range(2)]
    plan.events = [
        Event(
            round(plan.horizon * random.random(), 4),
            "stubborn",
            {"code": 7, "after_append": True, "times": times},
        )
        for times in (2, 3, 4, 5)
    ]
    plan.events.sort(key=lambda event: event.at)


def _options(random: Random, mood: str) -> dict[str, Any]:
    generous = mood in GENEROUS and random.random() < 0.7
    request_timeout = random.choice([0.2, 1.0, 5.0] if mood != "forgetful" else [30.0])
    options: dict[str, Any] = {
        "linger": random.choice([0.0, 0.0, 0.001, 0.02, 0.1]),
        "max_in_flight": random.choice([1, 2, 3, 5, 5]),
        "delivery_timeout": 300.0 if generous else random.choice([0.15, 0.5, 1.5, 5.0, 30.0]),
        "max_block": 300.0 if generous else random.choice([0.02, 0.3, 2.0, 60.0]),
        "request_timeout": request_timeout,
        "retries": None if generous or random.random() < 0.8 else random.choice([0, 1, 3]),
        "retry_backoff": random.choice([0.001, 0.02, 0.1]),
        "retry_backoff_max": random.choice([0.1, 1.0]),
        "reconnect_backoff": random.choice([0.001, 0.05]),
        "reconnect_backoff_max": random.choice([0.05, 1.0]),
        "metadata_max_age": random.choice([0.3, 300.0]),
        "metadata_max_idle": random.choice([0.3, 300.0]),
        "connections_max_idle": random.choice([0.1, 2.0, 540.0]),
        "connect_timeout": random.choice([0.2, 5.0]),
        "close_timeout": random.choice([0.0, 0.1, 5.0]),
        "compression": random.choice(["none", "none", "none", "gzip", "snappy", "lz4", "zstd"]),
        **_sizes(random),
    }
    if random.random() < 0.2:
        options["idempotent"] = False
        options["acks"] = random.choice(["all", "leader"])
    return options


def _sizes(random: Random) -> dict[str, int]:
    memory = random.choice([2100, 4000, 9000, 40_000, 1 << 25])
    batch = random.choice([1, 64, 200, 1000, 16_384, 65_536])
    return {
        "buffer_memory": memory,
        "batch_size": min(batch, memory),
        "max_request_size": random.choice([600, 5000, 1 << 20]),
    }


def _cluster(random: Random, mood: str) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "auto_create_topics": random.random() < 0.5,
        "default_partitions": random.randint(1, 8),
        "leader_hints": random.random() < 0.7,
        # Brokers that do know nothing of topic ids, so a topic made anew would take what was meant for the old one.
        "answers_old_duplicates": random.random() < 0.3 and mood != "recreated",
        "refuses_unknown_producers": random.random() < 0.3,
        "capacity": random.choice([150, 4000, 1 << 20, 1 << 20]),
    }
    if mood != "recreated" and random.random() < 0.3:
        cluster["api_versions"] = {"Produce": (3, random.choice([7, 8, 9, 11, 12]))}
    return cluster


def _topics(random: Random) -> list[TopicPlan]:
    topics = []
    for name in ["orders", "bills", "logs"][: random.choice([1, 1, 2, 3])]:
        config: dict[str, str] = {}
        if random.random() < 0.09:
            config["max.message.bytes"] = str(random.choice([SMALLEST_MESSAGE_LIMIT, 600, 2000]))
        if random.random() < 0.06:
            config["cleanup.policy"] = "compact"
        if random.random() < 0.1:
            config["message.timestamp.type"] = "LogAppendTime"
        topics.append(TopicPlan(name, random.choice([1, 1, 2, 3, 8]), config))
    return topics


def _callers(random: Random, horizon: float, options: dict[str, Any]) -> list[CallerPlan]:
    callers = []
    for number in range(random.choice([1, 2, 3, 4, 6])):
        steps = random.choice([3, 6, 12])
        callers.append(
            CallerPlan(
                number=number,
                steps=steps,
                burst=random.choice([1, 1, 3, 10, 25]),
                pause=random.choice([0.0, horizon / steps, 2 * horizon / steps]),
                verbs=tuple(random.sample(VERBS, random.randint(1, 4))),
                largest=random.choice([0, 20, 150, 700, options["buffer_memory"] + 10]),
            )
        )
    return callers
