"""Transactions of several producers while their brokers are killed and coordinators move; then everything is judged.

`python -m tests.transactions.chaos --help` says how to run more of it than the tests do.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from krafka.testing import KafkaCluster

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaos.brokers import heal, kill_by_turns, pause_by_turns, roll

from .clients import CLIENTS
from .judge import Sent, Transaction, check
from .readers import gather

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskStatus

    from .clients import Client
    from .judge import Tally

STATE_TOPIC = "__transaction_state"
PROPERTIES = {
    # A replica that hangs holds up every write until it is thrown out: 30 s by default.
    "replica.lag.time.max.ms": "4000",
    # How soon the brokers end what a producer left open, once its time is over.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}
ABORTED_SHARE = 1 / 3
ELECTION_SECONDS = 30.0
FAULT_SECONDS = 60.0
"""About how long the faults take, over which the transactions are spread."""
RECORDS = 60
FILLER = bytes(range(32, 127)) * 4


@dataclass(frozen=True)
class Plan:
    """How much there is to do, and by which dice."""

    seed: int
    transactions: int = 500
    topics: int = 4
    producers: int = 4
    partitions: int = 3


async def move_coordinators(kafka: KafkaCluster, random: Random, rounds: int = 2) -> None:
    """Stop the broker that is coordinator of the most transactional ids and start it; then give it them back."""
    for _ in range(rounds):
        leaders = list((await kafka.leaders(STATE_TOPIC)).values())
        node_id = max(kafka.node_ids, key=leaders.count)
        await kafka.stop(node_id)
        await anyio.sleep(random.uniform(0.5, 2))
        await kafka.restart(node_id)
        await anyio.to_thread.run_sync(_elect_preferred_leaders, kafka.bootstrap)
        await anyio.sleep(random.uniform(0.5, 1.5))


def _elect_preferred_leaders(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    with suppress(KafkaException):
        # A replica that is not in sync again cannot be elected, which is no fault of anybody's.
        admin.elect_leaders(ElectionType.PREFERRED, None).result(ELECTION_SECONDS)


FAULTS = (kill_by_turns, move_coordinators, pause_by_turns, roll)


class Workload:
    """At least so many transactions as planned, by several producers side by side, and on until `finish()`."""

    def __init__(self, plan: Plan, topics: Sequence[str], fault_seconds: float) -> None:
        self.transactions: list[Transaction] = []
        self.replaced = 0
        self._plan = plan
        self._topics = topics
        self._seconds = fault_seconds
        self._finished = False

    def finish(self) -> None:
        """Begin no more transactions than planned."""
        self._finished = True

    async def run(self, client: Client, name: str) -> None:
        """One producer's part."""
        random = Random(f"{self._plan.seed}/{name}")
        began = anyio.current_time()
        share = self._plan.transactions // self._plan.producers
        number = 0
        while number < share or not self._finished:
            transaction = Transaction(name, number)
            for index in range(int(RECORDS ** random.uniform(0, 1))):
                value = b"%s %d %d %s" % (name.encode(), number, index, FILLER[: random.randrange(300)])
                topic = random.choice(self._topics)
                transaction.records.append(Sent(topic, random.randrange(self._plan.partitions), value))
            self.transactions.append(transaction)
            await client.run(transaction, commit=random.random() > ABORTED_SHARE, flush=random.random() < 0.5)
            number += 1
            await anyio.sleep(max(0.0, began + number / share * self._seconds - anyio.current_time()))
        self.replaced += client.replaced


async def run(
    kafka: KafkaCluster,
    plan: Plan,
    client: str,
    faults: Sequence[Callable[[KafkaCluster, Random], Awaitable[object]]] = FAULTS,
    **options: Any,
) -> Tally:
    """Run the plan with a client of `CLIENTS` while the faults happen; raise AssertionError for what is not right."""
    topics = [f"chaos-{plan.seed}-{number}" for number in range(plan.topics)]
    for topic in topics:
        await kafka.create_topic(topic, partitions=plan.partitions)
    workload = Workload(plan, topics, FAULT_SECONDS * len(faults) / len(FAULTS))
    random = Random(plan.seed)

    async def produce(name: str, *, task_status: TaskStatus[None]) -> None:
        async with CLIENTS[client](kafka.bootstrap, f"{topics[0]}-{name}", **options) as producer:
            task_status.started()
            await workload.run(producer, name)

    async with anyio.create_task_group() as tasks:
        for number in range(plan.producers):
            await tasks.start(produce, f"producer-{number}")
        for fault in faults:
            await fault(kafka, random)
        workload.finish()
    for topic in topics:
        await heal(kafka, topic)
    context = f"with seed {plan.seed}, {client}, options {options}, {workload.replaced} producers replaced"
    tally = check(workload.transactions, await gather(kafka, topics), context=context)
    print(context, tally, sep="\n  ")
    return tally


async def _main(arguments: argparse.Namespace) -> None:
    plan = Plan(
        arguments.seed,
        transactions=arguments.transactions,
        topics=arguments.topics,
        producers=arguments.producers,
    )
    async with KafkaCluster(
        3, properties=PROPERTIES, transaction_version=arguments.transaction_version
    ) as kafka:
        await run(kafka, plan, arguments.client)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.transactions.chaos", description=__doc__)
    parser.add_argument("--transactions", type=int, default=Plan.transactions)
    parser.add_argument("--topics", type=int, default=Plan.topics)
    parser.add_argument("--producers", type=int, default=Plan.producers)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--client", choices=sorted(CLIENTS), default="krafka")
    parser.add_argument("--transaction-version", type=int, choices=(1, 2), default=2)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    arguments = parser.parse_args()
    print(arguments)
    anyio.run(_main, arguments, backend=arguments.backend)


if __name__ == "__main__":
    main()
