"""Seeds that are about one thing: what has to come together for some breach to be seen, and seldom does by chance."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka.testing.fake.transactions import EPOCH_BUMP_FROM
from tests.simulation.faults import Event
from tests.simulation.plan import TopicPlan

from .faults import draw_strays

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan import TransactionPlan

SETTLED = frozenset({"calm", "mild", "refused"})
"""The moods whose faults nobody notices, but for what a record is refused for."""
GROUP_REFUSED = (25, 30, 82)
"""Codes of a group's coordinator after which a transaction can only be aborted."""
AT_ONCE = 0.0


class Shape(NamedTuple):
    """One of them: `share` of the seeds it `fits` are bent so."""

    name: str
    share: float
    fits: Callable[[TransactionPlan], bool]
    bend: Callable[[TransactionPlan, Random], None]


def shape(plan: TransactionPlan) -> None:
    """Bend a plan into the first shape that its seed is chosen for, or leave it as it is."""
    for each in SHAPES:
        if each.fits(plan) and Random(f"{plan.seed} {each.name}").random() < each.share:
            each.bend(plan, Random(f"{plan.seed} bent {each.name}"))
            return


def _is_first_kind(plan: TransactionPlan) -> bool:
    return plan.version < EPOCH_BUMP_FROM


def _is_disturbed(plan: TransactionPlan) -> bool:
    return plan.mood not in SETTLED


def _bend_lives(plan: TransactionPlan, **changes: Any) -> None:
    plan.lives = [replace(life, **changes) for life in plan.lives]


def _begin_with(plan: TransactionPlan, kind: str, **args: Any) -> None:
    plan.events = [Event(AT_ONCE, kind, args), *plan.events]


def _let_requests_go_astray(plan: TransactionPlan, random: Random) -> None:
    """Have requests whose connection broke arrive while a later transaction is open."""
    plan.events = draw_strays(random) + plan.events


def _slow_the_wires_down(plan: TransactionPlan, random: Random) -> None:
    """Have records be on the wire for longer than their transactions last, and the next be sent to the same place."""
    delay = round(0.05 + random.random() * 0.1, 4)
    _begin_with(plan, "delay", delay=delay, times=12, skip=random.randrange(3))
    _bend_lives(plan, ways=("abort", "commit", "abort", "scope"), careless=1.0, pause=0.0)
    if random.random() < 0.5:
        return
    plan.brokers = 3
    plan.topics = [TopicPlan("orders", 1, {})]
    # A coordinator that leads the partition would be asked for the end behind the records.
    _begin_with(plan, "move_coordinator", group=None, to=2, propagate=True)
    plan.options |= {"linger": 0.0, "request_timeout": 5.0, "compression": "none", "max_in_flight": 5}
    plan.sender = replace(plan.sender, steps=2, burst=1, pause=0.002, verbs=("enqueue",), largest=20)
    _bend_lives(plan, ways=("abort", "commit"), transactions=7, careless=0.0)


def _leave_in_a_commit(plan: TransactionPlan, random: Random) -> None:
    """Have the first producer be closed while the coordinator takes its time over a commit."""
    delay = round(0.1 + random.random(), 4)
    _begin_with(plan, "txn_delay", api="EndTxn", times=1, skip=random.choice([0, 0, 1]), delay=delay)
    plan.sender = replace(plan.sender, verbs=("enqueue",), largest=20)
    first = replace(
        plan.lives[0],
        ways=("commit", "scope"),
        ending="close",
        ends_at=round(0.1 * random.random(), 4),
        close_timeout=random.choice([0.0, 0.05, 1.0]),
    )
    plan.lives = [first, *plan.lives[1:]]


def _fail_offsets_late(plan: TransactionPlan, random: Random) -> None:
    """Have offsets be under way for so long that a commit waits for them, and then come to nothing."""
    api = random.choice(
        ["AddOffsetsToTxn", "TxnOffsetCommit"] if _is_first_kind(plan) else ["TxnOffsetCommit"]
    )
    delay: dict[str, Any] = {"delay": round(0.03 + random.random(), 4), "after_append": random.random() < 0.5}
    where: dict[str, Any] = {"api": api, "times": 8, "skip": random.choice([0, 1])}
    if random.random() < 0.5:
        _begin_with(
            plan,
            "txn_final",
            **where,
            code=random.choice(GROUP_REFUSED[: 1 + 2 * (api != "AddOffsetsToTxn")]),
        )
    _begin_with(plan, "txn_delay", **where, **delay)
    _bend_lives(plan, ways=("commit", "impatient_commit", "commit"), offsets=1.0, careless=1.0)


def _announce_in_doubt(plan: TransactionPlan, random: Random) -> None:
    """Have the last transaction be aborted while the coordinator is told what takes part in it."""
    api = "AddOffsetsToTxn" if _is_first_kind(plan) else "TxnOffsetCommit"
    has_records = _is_first_kind(plan) and random.random() < 0.5
    if has_records:
        api = "AddPartitionsToTxn"
    else:
        # Where records take part as well, they are reason enough to end the transaction.
        plan.sender = replace(plan.sender, steps=0)
    _begin_with(
        plan,
        "txn_delay",
        api=api,
        times=4,
        skip=random.choice([0, 0, 1]),
        delay=round(plan.options["request_timeout"] * 0.9 * random.random(), 4),
        after_append=random.random() < 0.5,
    )
    _bend_lives(
        plan,
        ways=("abort", "impatient_commit"),
        transactions=random.choice([1, 1, 2]),
        offsets=0.0 if has_records else 1.0,
        careless=1.0,
        ending="finish",
        overlaps=False,
    )


def _complete_slowly(plan: TransactionPlan, random: Random) -> None:
    """Have transactions be aborted while the one before is decided and not completed yet."""
    lasts = round(plan.horizon * (0.5 + random.random()), 4)
    plan.events = [
        Event(AT_ONCE, "hold_markers", {}),
        *(event for event in plan.events if event.at < lasts),
        Event(lasts, "release_markers", {}),
        *(event for event in plan.events if event.at >= lasts),
    ]
    _bend_lives(plan, ways=("commit", "abort"), transactions=4, careless=1.0, pause=plan.horizon / 4)


SHAPES = (
    Shape("astray", 0.35, _is_disturbed, _let_requests_go_astray),
    Shape("leaving", 0.1, _is_disturbed, _leave_in_a_commit),
    Shape("offsets", 0.1, _is_disturbed, _fail_offsets_late),
    Shape("announcing", 0.25, lambda plan: plan.mood == "mild", _announce_in_doubt),
    Shape("completing", 0.2, lambda plan: plan.mood == "mild" and not _is_first_kind(plan), _complete_slowly),
    Shape("wire", 0.3, lambda plan: plan.mood != "calm" and _is_first_kind(plan), _slow_the_wires_down),
)
