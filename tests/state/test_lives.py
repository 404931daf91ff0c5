"""The steps of batches and of sequence numbers are those of the tables: no other is ever seen, and each is seen."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from oracle import parts
from oracle.parts import Fault
from oracle.simulation import Simulation

from krafka._state.accumulator import RecordAccumulator
from krafka._state.lives import (
    BATCH_LIFE,
    CONNECTION_LIFE,
    NUMBERING_LIFE,
    PRODUCER_LIFE,
    BatchState,
    ConnectionState,
    NumberingState,
    ProducerState,
    State,
    Step,
    batch_state,
    numbering_state,
)
from krafka._state.rules import PRODUCE_RULES
from krafka._state.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Partition

LIVES = {
    BatchState: BATCH_LIFE,
    NumberingState: NUMBERING_LIFE,
    ProducerState: PRODUCER_LIFE,
    ConnectionState: CONNECTION_LIFE,
}
ENDED = {BatchState.ACKNOWLEDGED, BatchState.FAILED, BatchState.DIVIDED}
WORLDS = 120
MOST_WORLDS = 4000
"""How many it may take until each rare step has been seen."""
CODES = sorted({rule.code for rule in PRODUCE_RULES if rule.code and not rule.ends_producer} - {7, 20, 46})
FAULTS = [
    *(Fault(code) for code in [*CODES, 4321]),
    *(Fault(code, appended=True) for code in (-1, 7, 20, 56)),
    Fault(omitted=True),
    Fault(46, appended=True),
]


def listed(life: Iterable[Step]) -> set[tuple[State | None, State]]:
    return {(before, step.after) for step in life for before in step.before or (None,)}


class Watcher:
    """Looks at every batch and every partition of a world after each change, and keeps the steps it saw."""

    def __init__(self) -> None:
        self.batch_steps: set[tuple[State | None, State]] = set()
        self.numbering_steps: set[tuple[State | None, State]] = set()
        self.accumulator: RecordAccumulator | None = None
        self.looks_away = 0
        self._batches: dict[ProducerBatch, BatchState | None] = {}
        self._partitions: dict[Partition, NumberingState | None] = {}

    def watch(self, accumulator: RecordAccumulator) -> None:
        self.accumulator = accumulator
        self._batches = {}
        self._partitions = {}

    def look(self) -> None:
        accumulator = self.accumulator
        if accumulator is None or self.looks_away:
            return
        for batch in {**self._batches, **accumulator.incomplete}:
            state = batch_state(batch)
            self._note(self._batches, batch, state, self.batch_steps)
            if state in ENDED:
                del self._batches[batch]
        if accumulator.sequences is not None:
            for partition in accumulator.partitions():
                numbering = numbering_state(accumulator.sequences, partition)
                self._note(self._partitions, partition, numbering, self.numbering_steps)

    @staticmethod
    def _note(known: dict[Any, Any], item: object, state: State, steps: set[Any]) -> None:
        if known.get(item) is not state:
            steps.add((known.get(item), state))
            known[item] = state


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Watcher:
    """Sees every step of the worlds it is told to watch."""
    watcher = Watcher()

    def watched(method: Callable[..., Any], *, as_one: bool = False) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            watcher.looks_away += as_one
            result = method(*arguments, **options)
            watcher.looks_away -= as_one
            watcher.look()
            return result

        return call

    changing: dict[type, str] = {
        RecordAccumulator: "_opened _mark_ready _closed _send left_wire reenqueue acknowledge fail "
        "withdraw settle update",
        Sequences: "stamp acknowledged refused replaced lost out_of_order forgotten settle set_identity",
    }
    for owner, names in changing.items():
        methods = {name: watched(getattr(owner, name)) for name in names.split()}
        if owner is RecordAccumulator:
            # A batch and its parts change places one after the other, which nobody sees.
            methods["_replace"] = watched(RecordAccumulator._replace, as_one=True)
        # Compiled classes cannot be changed, but inherited from.
        monkeypatch.setattr(parts, owner.__name__, type(owner.__name__, (owner,), methods))
    return watcher


def exchange(world: Simulation, node_id: int, faults: dict[int, Fault] | None = None) -> None:
    """One request to a broker and its answer."""
    world.run_sender(node_id)
    world.process(node_id, faults)
    world.answer(node_id)


def happen(world: Simulation, random: Random) -> None:
    """Let anything happen to a world."""
    node_id, partition = random.randint(1, 2), random.randint(0, 1)

    def append() -> None:
        if world.engine.failure is None and world.engine.knows_topic("orders"):
            for _ in range(random.randint(1, 4)):
                world.append(partition, random.choice([0, 10, 100, 400]))

    def lose() -> None:
        processed, unsent = random.randint(0, 3), random.randint(0, 2)
        world.lose(node_id, processed=processed, unsent=unsent, late=random.random() < 0.5)

    happenings: list[tuple[float, Callable[[], object]]] = [
        (25, append),
        (20, lambda: exchange(world, node_id)),
        (10, lambda: world.run_sender(node_id)),
        (7, lambda: world.process(node_id, {partition: random.choice(FAULTS)})),
        (8, lambda: world.answer(node_id)),
        (4, lose),
        (3, lambda: world.move_leader(partition, random.choice([1, 2, -1]))),
        (5, world.refresh),
        (5, world.give_identity),
        (3, world.accumulator.expedite),
        (8, lambda: world.pass_time(random.choice([0.01, 0.2, 1.5, 40.0]))),
        (0.2, lambda: exchange(world, node_id, {partition: Fault(31)})),
    ]
    weights, actions = zip(*happenings, strict=True)
    random.choices(actions, weights)[0]()


def test_batches_and_numbers_take_the_steps_of_the_tables_and_no_others(watcher: Watcher) -> None:
    resolve_while_another_raises_the_epoch(watcher)
    make_the_topic_anew(watcher)
    refuse_a_size(watcher)
    for seed in range(MOST_WORLDS):
        unseen = (listed(BATCH_LIFE) - watcher.batch_steps) | (
            listed(NUMBERING_LIFE) - watcher.numbering_steps
        )
        if seed >= WORLDS and not unseen:
            break
        random = Random(seed)
        watcher.accumulator = None
        world = Simulation(
            identity=(7, random.choice([0, 32764])),
            linger=random.choice([0.0, 0.05]),
            max_in_flight=random.choice([1, 2, 5]),
            retries=random.choice([None, None, 2]),
            batch_size=300,
            buffer_memory=random.choice([3000, 100_000]),
            idempotent=random.random() < 0.8,
        )
        watcher.watch(world.accumulator)
        world.refresh()
        if random.random() < 0.7:
            world.give_identity()
        for _ in range(60):
            happen(world, random)
    assert watcher.batch_steps == listed(BATCH_LIFE)
    assert watcher.numbering_steps == listed(NUMBERING_LIFE)


def make_the_topic_anew(watcher: Watcher) -> None:
    """What these worlds do not do by themselves."""
    world = Simulation()
    watcher.watch(world.accumulator)
    world.give_identity()
    for topic_id in (b"a", b"b"):
        world.topic_id = topic_id * 16
        world.refresh()
        watcher.look()
        world.append(0, 10)
        exchange(world, 1)


def resolve_while_another_raises_the_epoch(watcher: Watcher) -> None:
    """What chance hardly brings about: a doubt is dispelled under an epoch that is no longer the producer's."""
    world = Simulation(delivery_timeout=3.0)
    watcher.watch(world.accumulator)
    world.refresh()
    world.give_identity()
    for partition, node_id in ((0, 1), (1, 2)):
        world.append(partition, 10)
        exchange(world, node_id)
    for _ in range(2):
        world.append(0, 10)
        world.run_sender(1)
    # The first of the two is in the log, but its answer says so to nobody; the second is on its way still.
    world.process(1, {0: Fault(7, appended=True)})
    world.answer(1)
    world.pass_time(3.0)
    world.append(1, 10)
    exchange(world, 2, {1: Fault(17)})
    world.process(1)
    world.answer(1)


def refuse_a_size(watcher: Watcher) -> None:
    """A broker finds a batch too large, while others of its size are full, and one is as large already."""
    world = Simulation(nodes=1, partitions=1, max_in_flight=1, batch_size=600)
    watcher.watch(world.accumulator)
    world.refresh()
    world.give_identity()
    world.append(0, 100)
    exchange(world, 1)
    for _ in range(9):
        world.append(0, 150)
    exchange(world, 1, {0: Fault(10)})
    while world.accumulator.incomplete:
        exchange(world, 1)


@pytest.mark.parametrize(("states", "life"), LIVES.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_life_leads_from_its_first_step_to_every_state(states: type[State], life: tuple[Step, ...]) -> None:
    assert life[0].before == ()
    reached: set[State] = {life[0].after}
    for _ in life:
        reached |= {step.after for step in life if reached & set(step.before)}
    assert reached == set(states)
    ways = [(before, step.after) for step in life for before in step.before]
    assert len(ways) == len(set(ways))
    assert all(step.when.endswith(".") for step in life)
