"""Which faults a run of transactions has, and when; those of records are `tests.simulation.faults`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.faults import Event
from tests.simulation.faults import _draw as draw_of_records

if TYPE_CHECKING:
    from random import Random

    from .plan import TransactionPlan

APIS = (
    "FindCoordinator",
    "InitProducerId",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "TxnOffsetCommit",
    "EndTxn",
    "EndTxn",
)
PASSING = (14, 15, 16, 51, 7)
"""Codes of a coordinator that did nothing, and does what it is asked later."""
UNFOUND = (15, 16, 16, 14)
"""Codes of a broker that does not know a coordinator yet."""
DONE_ALL_THE_SAME = (7, 15, 16)
"""Codes of a coordinator whose log took what it was asked for, though it could not be sure of that."""
FINAL = {
    "FindCoordinator": (30, 53, 120),
    "InitProducerId": (53, 120, 47, 90, 42),
    "AddPartitionsToTxn": (29, 55, 3, 120, 59, 47, 90, 49, 53, 48),
    "AddOffsetsToTxn": (30, 120, 59, 47, 90, 49, 53),
    "TxnOffsetCommit": (30, 120, 25, 22, 82, 47, 90, 53),
    "EndTxn": (120, 59, 47, 90, 48, 49, 53, -1),
}
"""Codes that end a request, of a coordinator that did nothing."""

MILD = {
    "code": 6, "disconnect": 6, "delay": 6, "cut": 2, "drop_connections": 5, "move_leader": 6, "propagate": 3,
    "metadata_code": 2, "handshake": 2, "stop_broker": 3,
    "txn_find": 9, "txn_code": 14, "txn_disconnect": 8, "txn_delay": 8, "move_coordinator": 10, "hold_markers": 6,
    "wrong_id": 1, "throttle": 1, "upgrade": 4,
}  # fmt: skip
"""How often each kind comes; `weather` says what each does."""
PASSING_TOO = MILD | {
    "code_after": 5, "out_of_order": 2, "unknown_producer": 2, "stall": 2, "hold": 5, "trickle": 2, "leave_out": 2,
    "stubborn": 4, "duplicate": 3, "no_leader": 2, "pause_broker": 4, "metadata_trouble": 2, "old_epoch": 2,
    "txn_code_after": 12, "txn_hold": 10, "txn_stall": 3, "txn_late": 10, "late": 8,
}  # fmt: skip
FINAL_TOO = PASSING_TOO | {
    "final_code": 8, "final_after": 4, "record_errors": 3, "fatal_code": 2, "txn_final": 20, "group_moves_on": 4,
}  # fmt: skip
KINDS: dict[str, dict[str, int]] = {
    "calm": {},
    "mild": MILD,
    "passing": PASSING_TOO,
    "violent": PASSING_TOO,
    "final": FINAL_TOO,
    "refused": {"final_code": 3, "record_errors": 1},
    "away": PASSING_TOO,
}
STRAY = {
    "EndTxn": 5, "Produce": 3, "TxnOffsetCommit": 2, "AddPartitionsToTxn": 1, "AddOffsetsToTxn": 1, "InitProducerId": 1,
}  # fmt: skip
"""How often requests of each kind go astray."""
COUNTS = {"calm": (0,), "violent": (6, 15, 30), "refused": (1, 2)}
USUAL_COUNTS = (1, 3, 6, 12)


def draw_events(random: Random, plan: TransactionPlan) -> list[Event]:
    """The faults of a plan in the order of their times."""
    kinds = KINDS[plan.mood]
    events: list[Event] = []
    for _ in range(random.choice(COUNTS.get(plan.mood, USUAL_COUNTS))):
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        at = 0.0 if random.random() < 0.25 else round(random.random() * plan.horizon, 4)
        events += _draw(random, plan, kind, at)
    if plan.mood == "away":
        at = round(plan.horizon * random.random(), 4)
        events.append(Event(at, "leave", {"how": random.choice(["stop", "pause", "stall"])}))
    return sorted(events, key=lambda event: event.at)


def draw_strays(random: Random) -> list[Event]:
    """Requests that arrive a transaction later; they take their places before anything else happens."""
    return [
        Event(
            0.0,
            "stray",
            {
                "api": random.choices(list(STRAY), list(STRAY.values()))[0],
                "skip": random.choice([0, 0, 1, 2]),
                "later": random.choice([0, 1, 1, 2, 4]),
            },
        )
        for _ in range(random.choice([1, 1, 2, 3]))
    ]


def _draw(random: Random, plan: TransactionPlan, kind: str, at: float) -> list[Event]:
    request_timeout = plan.options["request_timeout"]
    if kind == "txn_find":
        codes = {"api": "FindCoordinator", "times": random.choice([1, 2, 4]), "code": random.choice(UNFOUND)}
        return [Event(random.choice([0.0, at]), kind, codes)]
    if kind.startswith("txn_"):
        return [Event(at, kind, _of_requests(random, kind, request_timeout))]
    if kind == "move_coordinator":
        return [Event(at, kind, _of_move(random, plan))]
    if kind == "hold_markers":
        lasts = round(random.choice([0.1, 0.5, 2 * request_timeout]) * random.random(), 4)
        return [Event(at, kind, {}), Event(at + lasts, "release_markers", {})]
    if kind == "upgrade":
        return [Event(at, kind, {"to": random.choice([2, 2, 2, 1])})]
    if kind == "old_epoch":
        return [Event(at, "code", {"code": 47, "times": 1, "skip": random.choice([0, 1])})]
    if kind == "late":
        return [Event(at, "delay", {"delay": _long(random, request_timeout), "skip": random.choice([0, 1])})]
    if kind == "group_moves_on":
        return [Event(at, kind, {})]
    return draw_of_records(random, plan, kind, at)


def _of_requests(random: Random, kind: str, request_timeout: float) -> dict[str, Any]:
    api = random.choice(APIS)
    where = {"api": api, "times": random.choice([1, 1, 2, 4]), "skip": random.choice([0, 0, 1, 2])}
    after = {"after_append": random.random() < 0.5}
    if kind == "txn_code":
        return where | {"code": random.choice(PASSING)}
    if kind == "txn_code_after":
        times = random.choice([1, 2, 4, 40])
        return where | {"code": random.choice(DONE_ALL_THE_SAME), "after_append": True, "times": times}
    if kind == "txn_disconnect":
        return where | after | {"disconnect": True}
    if kind == "txn_delay":
        return (
            where
            | after
            | {"delay": round(random.choice([0.002, 0.05, request_timeout]) * random.random(), 5)}
        )
    if kind == "txn_late":
        return where | {"times": 1, "delay": _long(random, request_timeout)}
    if kind == "txn_hold":
        return where | after | {"hold": True}
    if kind == "txn_stall":
        return where | {"cut_at": random.randrange(20), "stall": True}
    return where | {"times": 1, "code": random.choice(FINAL[api])}


def _long(random: Random, request_timeout: float) -> float:
    """Long enough for the request to be given up: it is done when others were."""
    return round(request_timeout * (1 + 3 * random.random()), 4)


def _of_move(random: Random, plan: TransactionPlan) -> dict[str, Any]:
    return {
        "group": random.choice([None, None, 0, 1]),
        "to": random.randint(1, plan.brokers),
        "propagate": random.random() < 0.6,
    }
