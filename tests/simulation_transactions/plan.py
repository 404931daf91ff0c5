"""What a seed stands for: a cluster, the producers of one transactional id, their transactions, faults and ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.plan import CallerPlan, Plan, TopicPlan, choose

from .faults import draw_events
from .shapes import SETTLED, shape

TRANSACTIONAL_ID = "billing-1"
MOODS = {"calm": 12, "mild": 25, "passing": 30, "violent": 18, "final": 12, "away": 3}
"""What kind of trouble a run has; `faults` says which faults belong to each.

calm: none. mild: what a producer gets over without anybody noticing. passing: that, and what ends a transaction.
violent: that, with limits so tight that they pass. final: refusals that are for good, too; some of these seeds are
refused: a record is, and nothing else is in the way. away: the cluster goes.
"""
ENDINGS = {"finish": 55, "close": 15, "exit": 10, "raise": 10, "cancel": 10}
"""finish: after the last transaction. The others in the middle, as those of `tests.simulation.plan`."""
WAYS = {
    "commit": 40,
    "abort": 15,
    "scope": 25,
    "raise": 8,
    "cancel": 6,
    "impatient_commit": 12,
    "impatient_abort": 5,
    "impatient_scope": 6,
}
"""How a transaction is ended: by the calls, or as a scope; `impatient`: the call is cancelled after a while."""
VERBS = ("send", "enqueue", "nowait", "many", "impatient_send", "impatient_enqueue", "impatient_many")
UNDISTURBED = ("send", "enqueue", "many")
HOOKS = {"none": 75, "plain": 15, "refusing": 10}
"""As those of `tests.simulation.plan`."""
ENDLESS = 120.0
REFUSED = 0.4
"""How many of the seeds with refusals for good have nothing but those of records."""
SHORTEST_TRANSACTION = 1.0
LAST_EPOCH = 2**15 - 2
NO_SENDER = CallerPlan(0, 0, 0, 0.0, (), 0)


@dataclass(frozen=True)
class LifePlan:
    """A producer of the transactional id, and its transactions.

    `overlaps`: it begins while the one before it still goes on, which is fenced by that.
    """

    number: int
    transactions: int
    ways: tuple[str, ...]
    senders: int
    offsets: float
    careless: float
    pause: float
    ending: str
    ends_at: float
    close_timeout: float | None
    overlaps: bool


@dataclass
class TransactionPlan(Plan):
    """Everything that is decided before the run begins."""

    lives: list[LifePlan] = field(default_factory=list)
    version: int = 2
    first_epoch: int | None = None
    sender: CallerPlan = NO_SENDER

    @property
    def must_succeed(self) -> bool:
        """Whether every transaction has to end as it was meant to: nothing is in the way for long."""
        return (
            self.mood in SETTLED
            and not any(life.overlaps for life in self.lives)
            and self.options["delivery_timeout"] >= ENDLESS
            and self.options["max_block"] >= ENDLESS
            and self.options["transaction_timeout"] >= ENDLESS
            and self.options["retries"] is None
        )


def make_plan(seed: int) -> TransactionPlan:
    """The plan of a seed; the same for ever, as long as this module and `faults` stay as they are."""
    random = Random(f"{seed} transactions")
    mood = choose(random, MOODS)
    if mood == "final" and Random(f"{seed} refused").random() < REFUSED:
        mood = "refused"
    horizon = random.choice([0.3, 1.0, 3.0])
    options = _options(random, mood)
    version = random.choice([0, 1, 1, 2, 2, 2])
    plan = TransactionPlan(
        seed=seed,
        mood=mood,
        brokers=random.choice([1, 2, 3, 3]),
        cluster=_cluster(random, version),
        options=options,
        topics=_topics(random),
        callers=[],
        horizon=horizon,
        ending="finish",
        ends_at=horizon,
        close_timeout=None,
        version=version,
        first_epoch=LAST_EPOCH - random.randrange(4) if random.random() < 0.12 else None,
    )
    plan.sender = _caller(random, mood, options)
    plan.lives = _lives(random, plan)
    plan.events = draw_events(random, plan)
    plan.hooks = choose(Random(f"{seed} hooks"), HOOKS)
    shape(plan)
    return plan


def _options(random: Random, mood: str) -> dict[str, Any]:
    generous = mood in SETTLED or (mood == "passing" and random.random() < 0.5)
    memory = random.choice([4000, 40_000, 1 << 25])
    return {
        "transactional_id": TRANSACTIONAL_ID,
        "transaction_timeout": 300.0 if generous else random.choice([SHORTEST_TRANSACTION, 5.0, 60.0, 60.0]),
        "linger": random.choice([0.0, 0.0, 0.001, 0.02]),
        "max_in_flight": random.choice([1, 2, 5, 5]),
        "delivery_timeout": 300.0 if generous else random.choice([0.5, 1.5, 5.0, 30.0]),
        "max_block": 300.0 if generous else random.choice([0.05, 0.5, 2.0, 60.0]),
        "request_timeout": random.choice([0.2, 1.0, 5.0]),
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
        "compression": random.choice(["none", "none", "none", "lz4", "zstd"]),
        "buffer_memory": memory,
        "batch_size": min(random.choice([1, 200, 1000, 16_384]), memory),
        "max_request_size": random.choice([5000, 1 << 20]),
    }


def _cluster(random: Random, version: int) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "transaction_version": version,
        "auto_create_topics": False,
        "leader_hints": random.random() < 0.7,
        "capacity": random.choice([150, 4000, 1 << 20, 1 << 20]),
    }
    if version < 2 and random.random() < 0.4:
        cluster["api_versions"] = {
            "Produce": (3, random.choice([8, 9, 11])),
            "EndTxn": (0, random.choice([1, 3, 4])),
            "TxnOffsetCommit": (0, random.choice([3, 4])),
            "AddPartitionsToTxn": (0, random.choice([1, 3, 5])),
        }
    return cluster


def _topics(random: Random) -> list[TopicPlan]:
    names = ["orders", "bills"][: random.choice([1, 2])]
    return [TopicPlan(name, random.choice([1, 2, 4]), {}) for name in names]


def _caller(random: Random, mood: str, options: dict[str, Any]) -> CallerPlan:
    verbs = UNDISTURBED if mood in SETTLED and random.random() < 0.7 else VERBS
    return CallerPlan(
        number=0,
        steps=random.choice([1, 2, 4]),
        burst=random.choice([1, 1, 3, 8]),
        pause=random.choice([0.0, 0.001, 0.02]),
        verbs=tuple(random.sample(verbs, random.randint(1, min(3, len(verbs))))),
        largest=random.choice([0, 20, 150, 700, 700, options["buffer_memory"] + 10]),
    )


def _lives(random: Random, plan: TransactionPlan) -> list[LifePlan]:
    lives = []
    for number in range(random.choice([1, 1, 1, 2, 3])):
        ways = random.choices(list(WAYS), list(WAYS.values()), k=random.randint(1, 4))
        lives.append(
            LifePlan(
                number=number,
                transactions=random.choice([1, 2, 4, 7]),
                ways=tuple(ways),
                senders=random.choice([1, 1, 2, 3]),
                offsets=random.choice([0.0, 0.3, 0.8]),
                careless=random.choice([0.0, 0.0, 0.3, 1.0]),
                pause=random.choice([0.0, 0.0, 0.01, plan.horizon / 4]),
                ending=choose(random, ENDINGS),
                ends_at=plan.horizon * random.random() * 1.2,
                close_timeout=random.choice([None, 0.0, 0.05, 1.0, 10.0]),
                overlaps=number > 0 and random.random() < 0.5,
            )
        )
    return lives
