"""Which faults a run has, and when: drawn before it begins, so that they can be printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

    from .plan import Plan

BEFORE_APPEND = (2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 51, 56, 72, 74, 75, 89, 100, 103)
"""Codes that pass, of a broker that appended nothing."""
AFTER_APPEND = (3, 6, 7, 20, 56)
"""Codes that pass, of a broker that appended the batch all the same."""
FINAL = (-1, 10, 17, 18, 29, 32, 42, 43, 44, 48, 76, 87, 120, 4242)
"""Codes that end the batch."""
FATAL = (31, 35, 49, 53, 90)
"""Codes that end the producer."""
METADATA = (3, 5, 7, 9, 15)
INIT = (7, 14, 15, 16, 51)

PASSING = {
    "code": 10, "code_after": 6, "out_of_order": 2, "unknown_producer": 2, "disconnect": 8, "cut": 4, "stall": 3,
    "delay": 8, "hold": 3, "trickle": 3, "throttle": 2, "leave_out": 2, "stubborn": 7, "duplicate": 4,
    "wrong_id": 1, "wrong_size": 1,
    "move_leader": 8, "no_leader": 2, "stop_broker": 4, "pause_broker": 4, "drop_connections": 5, "propagate": 3,
    "metadata_code": 4, "metadata_trouble": 4, "init_code": 3, "init_trouble": 2, "handshake": 2,
    "add_partitions": 1, "delete_records": 2, "late_epoch": 2,
}  # fmt: skip
"""How often each kind comes; `weather` says what each does."""
FINAL_TOO = PASSING | {
    "final_code": 15,
    "final_after": 3,
    "record_errors": 5,
    "fatal_code": 3,
    "metadata_refusal": 3,
}
FORGETFUL = {"disconnect": 6, "drop_connections": 3, "cut": 3, "forget": 10, "delete_records": 4}
RECREATED = {
    "code": 4, "disconnect": 4, "drop_connections": 2, "delay": 3, "move_leader": 2, "recreate": 6, "propagate": 1,
}  # fmt: skip
KINDS = {
    "calm": {},
    "passing": PASSING,
    "violent": PASSING,
    "final": FINAL_TOO,
    "away": PASSING,
    "forgetful": FORGETFUL,
    "recreated": RECREATED,
}
BEFORE_THE_START = {
    "init_code",
    "init_trouble",
    "late_epoch",
    "handshake",
    "metadata_code",
    "metadata_trouble",
}
COUNTS = {"calm": (0,), "violent": (8, 20, 40)}
USUAL_COUNTS = (1, 3, 8, 20)


@dataclass(frozen=True)
class Event:
    """Something done to the cluster, `at` seconds after the producer was opened."""

    at: float
    kind: str
    args: dict[str, Any]

    def __str__(self) -> str:
        args = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"{self.at:9.4f} {self.kind}({args})"


def draw_events(random: Random, plan: Plan) -> list[Event]:
    """The faults of a plan in the order of their times; before the horizon, but that what was stopped goes on."""
    kinds = KINDS[plan.mood]
    events: list[Event] = []
    for _ in range(random.choice(COUNTS.get(plan.mood, USUAL_COUNTS))):
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        at = random.random() * plan.horizon
        if kind in BEFORE_THE_START and random.random() < 0.6:
            at = 0.0
        events += _draw(random, plan, kind, round(at, 4))
    if plan.mood == "away":
        at = round(plan.horizon * random.random(), 4)
        events.append(Event(at, "leave", {"how": random.choice(["stop", "pause", "stall"])}))
    if kinds and plan.ending != "finish" and random.random() < 0.5:
        # Something is on the wire, and in the log, when the producer is left.
        silence = {"hold": True, "after_append": True, "times": 5, "skip": random.randrange(2)}
        events.append(Event(round(plan.ends_at * 0.8, 4), "hold", silence))
    return sorted(events, key=lambda event: event.at)


def _draw(random: Random, plan: Plan, kind: str, at: float) -> list[Event]:
    """One fault, with the event that ends it where it does not end by itself."""
    broker = random.randint(1, plan.brokers)
    lasts = round(random.choice([0.01, 0.2, 1.5 * plan.options["request_timeout"]]) * random.random(), 4)
    if kind == "stop_broker":
        told = random.random() < 0.7
        return [
            Event(at, kind, {"broker": broker, "propagate": told}),
            Event(at + lasts, "start_broker", {"broker": broker, "propagate": told}),
        ]
    if kind == "pause_broker":
        return [Event(at, kind, {"broker": broker}), Event(at + lasts, "resume_broker", {"broker": broker})]
    if kind in {"move_leader", "no_leader"}:
        topic, partition = _place(random, plan)
        args = {"topic": topic, "partition": partition, "propagate": random.random() < 0.6}
        moves = [Event(at, "move_leader", {**args, "to": broker if kind == "move_leader" else -1})]
        if kind == "no_leader":
            moves.append(Event(at + lasts, "move_leader", {**args, "to": broker, "propagate": True}))
        return moves
    return [Event(at, kind, _args(random, plan, kind, broker))]


def _args(random: Random, plan: Plan, kind: str, broker: int) -> dict[str, Any]:
    if kind in _OF_PRODUCE:
        return _where(random, plan) | _OF_PRODUCE[kind](random, plan)
    if kind in {"drop_connections", "handshake"}:
        return {"broker": random.choice([None, broker])}
    if kind in {"metadata_code", "init_code"}:
        code = random.choice(METADATA if kind == "metadata_code" else INIT)
        return {"code": code, "times": random.randint(1, 3)}
    if kind == "metadata_refusal":
        return {"code": random.choice([17, 29]), "times": 1}
    if kind in {"metadata_trouble", "init_trouble"}:
        return {"times": random.randint(1, 3)} | random.choice(
            [{"disconnect": True}, {"delay": random.choice([0.05, 2.0])}, {"cut_at": 6, "stall": True}]
        )
    if kind in {"add_partitions", "delete_records", "forget", "recreate"}:
        topic, partition = _place(random, plan)
        return {"topic": topic, "partition": partition, "share": round(random.random(), 2)}
    return {}


def _place(random: Random, plan: Plan) -> tuple[str, int]:
    topic = random.choice(plan.topics)
    return topic.name, random.randrange(topic.partitions)


def _where(random: Random, plan: Plan) -> dict[str, Any]:
    """Which Produce requests are struck."""
    where: dict[str, Any] = {"skip": random.choice([0, 0, 1, 3]), "times": random.choice([1, 1, 1, 2, 4])}
    if random.random() < 0.5:
        where["topic"], where["partition"] = _place(random, plan)
    return where


def _delay(random: Random, plan: Plan) -> float:
    return round(
        0.0001 + random.random() * random.choice([0.002, 0.05, 2 * plan.options["request_timeout"]]), 5
    )


_OF_PRODUCE: dict[str, Any] = {
    "code": lambda random, _: {"code": random.choice(BEFORE_APPEND)},
    "code_after": lambda random, _: {"code": random.choice(AFTER_APPEND), "after_append": True},
    "final_code": lambda random, _: {"code": random.choice(FINAL)},
    "final_after": lambda _, __: {"code": -1, "after_append": True},
    "fatal_code": lambda random, _: {"code": random.choice(FATAL)},
    "record_errors": lambda _, __: {"code": 87, "record_errors": {0: "the first is to blame"}},
    "out_of_order": lambda _, __: {"code": 45},
    "stubborn": lambda random, _: {
        "code": random.choice([7, 20]),
        "after_append": True,
        "times": random.randint(2, 5),
        "skip": 0,
    },
    "duplicate": lambda _, __: {"code": 46, "times": 1, "skip": 0},
    "unknown_producer": lambda random, _: {"code": 59, "log_start_offset": random.choice([None, None, -1])},
    "disconnect": lambda random, _: {"disconnect": True, "after_append": random.random() < 0.5},
    "cut": lambda random, _: {"cut_at": random.randrange(60), "after_append": random.random() < 0.5},
    "stall": lambda random, _: {"cut_at": random.randrange(60), "stall": True},
    "delay": lambda random, plan: {"delay": _delay(random, plan), "after_append": random.random() < 0.5},
    "hold": lambda random, _: {"hold": True, "after_append": random.random() < 0.5},
    "trickle": lambda random, plan: {
        "chunk_size": random.choice([3, 20]),
        "chunk_delay": _delay(random, plan) / 9,
    },
    "throttle": lambda random, _: {"throttle_time_ms": random.choice([1, 30, 700])},
    "leave_out": lambda _, __: {"leave_out": True},
    "wrong_id": lambda _, __: {"correlation_id": 987_654},
    "wrong_size": lambda random, _: {"frame_size": random.choice([-1, 3, 2**31 - 1])},
}
"""The faults of Produce requests: their arguments for `FakeCluster.fail`, but that `leave_out` is an edit."""
